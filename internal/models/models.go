// Package models holds the architectures, one file a family, with PyTorch's module names: a
// torchvision or timm checkpoint loads by name, and what graft saves loads back.
package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/weights"
)

// A Network is a module tree and what its family knows about it.
type Network struct {
	*nn.Module
	Name string
	Size int // pixels a side of the images that it takes by default

	// Head is the path of the last layer, a Linear or a 1×1 Conv2d, and Dropout that of the
	// Dropout before it ("" for none).
	Head, Dropout string
	// Headless says that the pretrained weights hold no head: a checkpoint may lack what lies there.
	Headless bool
	// Rename gives the name here of a tensor in a checkpoint of another naming, "" if it has none.
	Rename map[string]func(name string) string

	// resize adapts the parameters to images of another size; nil if none depends on it.
	resize func(size int) error
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
		if near := weights.Suggest(name, Names()); near != nil {
			return nil, fmt.Errorf("there is no model %q: did you mean %s? graft models lists them all", name, strings.Join(near, " or "))
		}
		return nil, fmt.Errorf("there is no model %q; graft models lists them", name)
	}
	if classes < 1 {
		return nil, fmt.Errorf("model %s: %d classes: there must be at least one", name, classes)
	}
	n := build(classes)
	n.Name = name
	return n, nil
}

// maxSize is the largest image, in pixels a side, that networks are made for.
const maxSize = 4096

// Resize makes the network take images of another size, in pixels a side. Position embeddings that
// are loaded are interpolated as the family's source does, so load a checkpoint at the size that it
// was made for and call Resize then. The error says which sizes the network takes instead, where
// that is known.
func (n *Network) Resize(size int) error {
	if size < 1 || size > maxSize {
		return fmt.Errorf("model %s: an image size of %d pixels is outside 1 to %d", n.Name, size, maxSize)
	}
	if n.resize != nil {
		if err := n.resize(size); err != nil {
			return fmt.Errorf("model %s: %w", n.Name, err)
		}
	}
	if _, err := nn.Trace(n.Module, 1, 3, size, size); err != nil {
		return fmt.Errorf("model %s: %w", n.Name, err)
	}
	n.Size = size
	return nil
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
	head := nn.Linear(shape[1], classes, len(old.Own()) > 1)
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

// Features returns the node of a traced graph that holds the pooled features: what the head reads,
// averaged over rows and columns where the head is a convolution.
func (n *Network) Features(g *graph.Graph) *graph.Node {
	i := slices.IndexFunc(g.Nodes, func(node *graph.Node) bool { return node.Path == n.Head })
	features := g.Nodes[i].In[0]
	if len(features.Shape) == 4 {
		features = features.Mean(2, 3)
	}
	return features
}

// FreezeTrunk keeps all parameters but the head's from training.
func (n *Network) FreezeTrunk() {
	n.Module.Freeze(true)
	n.Child(n.Head).Freeze(false)
}

// Freeze keeps the parameters of the modules at the given paths from training. Where no module is
// called "features", that means the trunk.
func (n *Network) Freeze(paths ...string) error {
	for _, path := range paths {
		switch m := n.Child(path); {
		case m != nil:
			m.Freeze(true)
		case path == "features":
			n.FreezeTrunk()
		default:
			return fmt.Errorf("model %s has no module %q to freeze; graft summary %s lists them", n.Name, path, n.Name)
		}
	}
	return nil
}
