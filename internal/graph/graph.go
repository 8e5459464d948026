// Package graph is the seam between describing a network and executing it.
//
// Running a module tree on a symbolic value (package nn) records a [Graph]: typed operations
// with shapes, parameters and the path of the module that made them. Everything that describes
// (names, summary, export) stands on one side of it, everything that executes (fusing, memory,
// kernels, gradients) on the other.
//
// Shapes are PyTorch's logical ones: images are [N, C, H, W], token sequences [N, L, C]. How a
// value lies in memory is the executing side's business.
package graph

import (
	"fmt"
	"slices"
)

// A Param is a named tensor of a network: a parameter that training may change, or a buffer
// (such as a batch norm's running mean) that no gradient reaches.
type Param struct {
	Name         string    // full path, as in PyTorch's state_dict: "features.0.0.weight"
	Shape        []int     // row-major
	Data         []float32 // nil until loaded or initialised
	Buffer       bool      // not a parameter: no gradient, not counted
	Counter      bool      // a scalar int64 in checkpoints, which may lack it: num_batches_tracked
	Index        []int     // the values of an int64 buffer, set once by its module: what a checkpoint holds is the same
	RequiresGrad bool
	// Init fills Data as PyTorch's constructor would; next yields uniform numbers in [0, 1).
	Init func(data []float32, next func() float64)
}

// Numel returns the number of elements.
func (p *Param) Numel() int { return Numel(p.Shape) }

// Numel returns the number of elements of a shape.
func Numel(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// A Node is one value of a graph: the result of an operation on other values.
type Node struct {
	ID     int // position in Graph.Nodes
	Op     Op
	In     []*Node
	Params []*Param // in the order that the Op documents
	Shape  []int
	Path   string // path of the module that made it, "" for the root
	graph  *Graph
}

// A Graph lists its nodes in an order in which each comes after its inputs.
type Graph struct {
	Nodes  []*Node
	Inputs []*Node
	Output *Node
	Calls  []Call // one for each module that ran, in the order in which they began

	path string // of the module that runs now
}

// A Call records that a module ran: what a summary lists.
type Call struct {
	Path    string
	In, Out []int // shapes
	First   int   // the nodes made while it ran: Nodes[First:Last]
	Last    int
}

// An Op is a typed operation. Infer returns the shape of its result.
type Op interface {
	Infer(in [][]int, params []*Param) ([]int, error)
}

// A ShapeError says that an operation can't take the shapes it was given.
type ShapeError struct {
	Path string
	Op   Op
	In   [][]int
	Err  error
}

func (e *ShapeError) Error() string {
	return fmt.Sprintf("%s: %T on %v: %v", e.Path, e.Op, e.In, e.Err)
}

func (e *ShapeError) Unwrap() error { return e.Err }

// Input adds an input of the given shape.
func (g *Graph) Input(shape ...int) *Node {
	n := g.Apply(Input{Shape: shape}, nil)
	g.Inputs = append(g.Inputs, n)
	return n
}

// Apply adds the result of an operation. It panics with a *[ShapeError] where the shapes don't
// fit; tracing recovers it, so that a module's forward function reads like PyTorch's.
func (g *Graph) Apply(op Op, params []*Param, in ...*Node) *Node {
	shapes := make([][]int, len(in))
	for i, n := range in {
		shapes[i] = n.Shape
	}
	shape, err := op.Infer(shapes, params)
	if err == nil && slices.ContainsFunc(shape, func(d int) bool { return d <= 0 }) {
		err = fmt.Errorf("%w: the result would have shape %v", ErrTooSmall, shape)
	}
	if err != nil {
		panic(&ShapeError{Path: g.path, Op: op, In: shapes, Err: err})
	}
	n := &Node{ID: len(g.Nodes), Op: op, In: in, Params: params, Shape: shape, Path: g.path, graph: g}
	g.Nodes = append(g.Nodes, n)
	return n
}

// Enter notes that the module at path begins to run on in; the function it returns is called with
// the result when the module is done.
func (g *Graph) Enter(path string, in *Node) (leave func(out *Node)) {
	outer, i := g.path, len(g.Calls)
	g.path = path
	g.Calls = append(g.Calls, Call{Path: path, In: in.Shape, First: len(g.Nodes)})
	return func(out *Node) {
		g.Calls[i].Out, g.Calls[i].Last = out.Shape, len(g.Nodes)
		g.path = outer
	}
}

// Graph returns the graph that the node belongs to.
func (n *Node) Graph() *Graph { return n.graph }

// Split finds the cut of a graph for training: it reports for each node whether it belongs to the
// tail, that is, whether a trainable parameter or an operation that varies while training (dropout, or
// a norm by the batch's statistics) stands at it or before it. Everything else is the trunk, whose
// values never change while training. The frontier lists the trunk's nodes that the tail reads, in
// order, but not those that depend on no input, such as an attention mask: they are the same for all
// samples, and whoever reads them computes them.
func (g *Graph) Split() (tail []bool, frontier []*Node) {
	tail = make([]bool, len(g.Nodes))
	varies := make([]bool, len(g.Nodes)) // from sample to sample
	for i, n := range g.Nodes {
		_, input := n.Op.(Input)
		varies[i] = input || slices.ContainsFunc(n.In, func(in *Node) bool { return varies[in.ID] })
		op, ok := n.Op.(interface{ Varies() bool })
		tail[i] = ok && op.Varies() ||
			slices.ContainsFunc(n.Params, func(p *Param) bool { return p.RequiresGrad }) ||
			slices.ContainsFunc(n.In, func(in *Node) bool { return tail[in.ID] })
	}
	for _, n := range g.Nodes {
		if !tail[n.ID] {
			continue
		}
		for _, in := range n.In {
			if varies[in.ID] && !tail[in.ID] && !slices.Contains(frontier, in) {
				frontier = append(frontier, in)
			}
		}
	}
	if !tail[g.Output.ID] {
		frontier = []*Node{g.Output}
	}
	return tail, frontier
}
