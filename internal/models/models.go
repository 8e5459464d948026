// Package models holds the architectures, one file a family, with PyTorch's module names: a
// torchvision or timm checkpoint loads by name, and what graft saves loads back.
package models

import (
	"errors"
	"fmt"
	"path"
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

	dropoutAdded bool // by ReplaceHead, where the family has none

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
	if err := Known(name); err != nil {
		return nil, err
	}
	if classes < 1 {
		return nil, fmt.Errorf("model %s: %d classes: there must be at least one", name, classes)
	}
	n := architectures[name](classes)
	n.Name = name
	return n, nil
}

// Known returns an error that suggests other names if there is no architecture of that name.
func Known(name string) error {
	if architectures[name] != nil {
		return nil
	}
	if near := weights.Suggest(name, Names()); near != nil {
		return fmt.Errorf("there is no model %q: did you mean %s? graft models lists them all", name, strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no model %q; graft models lists them", name)
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
	if _, err := n.Trace(1, 3, size, size); err != nil {
		return err
	}
	n.Size = size
	return nil
}

// Trace is [nn.Trace] for images, [N, 3, H, W]. The error for a size that the network doesn't take says
// which it does.
func (n *Network) Trace(shape ...int) (*graph.Graph, error) {
	if len(shape) != 4 || slices.Min(shape) < 1 || shape[1] != 3 || max(shape[2], shape[3]) > maxSize {
		return nil, fmt.Errorf("model %s takes inputs of shape [N, 3, H, W] with sides of 1 to %d pixels, not %v", n.Name, maxSize, shape)
	}
	g, err := nn.Trace(n.Module, shape...)
	switch {
	case errors.Is(err, graph.ErrTooSmall):
		least := nn.LeastInput(n.Module, 3)
		err = fmt.Errorf("model %s: %w; the smallest images that it takes have %d × %d pixels", n.Name, err, least, least)
	case err != nil:
		err = fmt.Errorf("model %s: %w; it is made for images of %d × %d pixels", n.Name, err, n.Size, n.Size)
	}
	return g, err
}

// ReplaceHead puts a new layer for a number of classes at the end, and sets the Dropout before it
// to p; p < 0 leaves the family's own. Where the family has no Dropout, a Sequential of Dropout and
// layer takes the layer's place if p > 0.
func (n *Network) ReplaceHead(classes int, p float64) error {
	if !(p < 1) {
		return fmt.Errorf("dropout %g: the probability must be below 1", p)
	}
	old := n.Child(n.Head)
	if old == nil {
		return fmt.Errorf("model %s has no module %q to replace", n.Name, n.Head)
	}
	if n.dropoutAdded {
		n.dropoutAdded, n.Dropout, n.Head = false, "", strings.TrimSuffix(n.Head, ".1")
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
		n.dropoutAdded, n.Dropout, n.Head = true, nn.Join(path, "0"), nn.Join(path, "1")
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

// Freeze keeps the parameters that the patterns match from training. A pattern is the path of a module,
// which means all parameters in it, or of a parameter; its elements may have the wildcards of
// [path.Match]: "features.[0-5]", "blocks.*.*.bn1", "*". Where the network has no module of the name
// "features", that means the trunk: everything but the head.
func (n *Network) Freeze(patterns ...string) error { return n.setFrozen(true, patterns) }

// Unfreeze lets the parameters that the patterns of [Network.Freeze] match train.
func (n *Network) Unfreeze(patterns ...string) error { return n.setFrozen(false, patterns) }

func (n *Network) setFrozen(frozen bool, patterns []string) error {
	for _, pattern := range patterns {
		matched, err := n.match(pattern)
		if err != nil {
			return fmt.Errorf("model %s: %w", n.Name, err)
		}
		for _, p := range matched {
			p.RequiresGrad = !frozen && !p.Buffer
		}
	}
	return nil
}

// match returns the parameters that a pattern matches.
func (n *Network) match(pattern string) ([]*graph.Param, error) {
	depth := strings.Count(pattern, ".") + 1
	var matched, trunk []*graph.Param
	for _, p := range n.Params() {
		elements := strings.Split(p.Name, ".")
		start := strings.Join(elements[:min(depth, len(elements))], "/")
		ok, err := path.Match(strings.ReplaceAll(pattern, ".", "/"), start)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if ok {
			matched = append(matched, p)
		}
		if !strings.HasPrefix(p.Name, n.Head+".") {
			trunk = append(trunk, p)
		}
	}
	switch {
	case matched != nil:
		return matched, nil
	case pattern == "features":
		return trunk, nil
	}
	return nil, n.noMatch(pattern)
}

func (n *Network) noMatch(pattern string) error {
	var paths, top []string
	for _, p := range n.Params() {
		for i, c := range p.Name {
			if c == '.' {
				paths = append(paths, p.Name[:i])
			}
		}
		first, _, _ := strings.Cut(p.Name, ".")
		top = append(top, first)
	}
	hint := "it consists of " + strings.Join(slices.Compact(top), ", ")
	if near := weights.Suggest(pattern, paths); near != nil {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("no module with parameters is called %q: %s (graft summary %s lists all)", pattern, hint, n.Name)
}
