// Package models holds the architectures, one file a family, with PyTorch's module names: a
// torchvision or timm checkpoint loads by name, and what graft saves loads back.
package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/nn"
)

// A Network is a module tree and what its family knows about it.
type Network struct {
	*nn.Module
	Name string
	Size int // pixels a side of the images that it takes by default

	// Head is the path of the last layer, a Linear or a 1×1 Conv2d, and Dropout that of the
	// Dropout before it ("" for none).
	Head, Dropout string
	// Rename gives the name here of a tensor in a checkpoint of another naming, "" if it has none.
	Rename map[string]func(name string) string
}

// An architecture builds a network for a number of classes.
type architecture func(classes int) *Network

var architectures = map[string]architecture{}

// register adds an architecture; each family's file does so in its init.
func register(name string, build architecture) {
	if _, ok := architectures[name]; ok {
		panic("models: " + name + " is registered twice")
	}
	architectures[name] = build
}

// Names lists the architectures in alphabetical order.
func Names() []string {
	var names []string
	for name := range architectures {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// New builds an architecture without values in its parameters: load a checkpoint, then call
// Initialise for the parameters that it doesn't hold.
func New(name string, classes int) (*Network, error) {
	build, ok := architectures[name]
	if !ok {
		return nil, fmt.Errorf("there is no model %q; graft models lists them", name)
	}
	if classes < 1 {
		return nil, fmt.Errorf("model %s: %d classes: there must be at least one", name, classes)
	}
	n := build(classes)
	n.Name = name
	return n, nil
}

// ReplaceHead puts a new layer for a number of classes at the end, and sets the Dropout before it
// to p; p < 0 leaves the family's own. Where the family has no Dropout, a Sequential of Dropout and
// layer takes the layer's place if p > 0.
func (n *Network) ReplaceHead(classes int, p float64) error {
	old := n.Child(n.Head)
	if old == nil {
		return fmt.Errorf("model %s has no module %q to replace", n.Name, n.Head)
	}
	shape := old.Own()[0].Shape
	head := nn.Linear(shape[1], classes, true)
	if old.Type == "Conv2d" {
		head = nn.Conv2d(nn.Conv{In: shape[1], Out: classes, Kernel: nn.Square(1)})
	}
	switch {
	case p < 0:
	case n.Dropout != "":
		inplace := strings.Contains(n.Child(n.Dropout).Extra, "inplace=True")
		if err := n.Replace(n.Dropout, nn.Dropout(p, inplace)); err != nil {
			return err
		}
	case p > 0:
		path := n.Head
		n.Dropout, n.Head = nn.Join(path, "0"), nn.Join(path, "1")
		return n.Replace(path, nn.Sequential(nn.Dropout(p, false), head))
	}
	return n.Replace(n.Head, head)
}

// Freeze keeps the parameters of the modules at the given paths from training. "features" names
// the trunk of every family: where no module is called so, it is all but the head.
func (n *Network) Freeze(paths ...string) error {
	for _, path := range paths {
		switch m := n.Child(path); {
		case m != nil:
			m.Freeze(true)
		case path == "features":
			n.Module.Freeze(true)
			n.Child(n.Head).Freeze(false)
		default:
			return fmt.Errorf("model %s has no module %q to freeze; graft summary %s lists them", n.Name, path, n.Name)
		}
	}
	return nil
}

// makeDivisible rounds channels to a multiple of 8 without losing more than a tenth
// (https://arxiv.org/abs/1801.04381, reference implementation).
func makeDivisible(v float64) int {
	n := max(8, int(v+4)/8*8)
	if float64(n) < 0.9*v {
		n += 8
	}
	return n
}
