// Package nn describes networks as trees of named modules, with PyTorch's names.
//
// A [Module] is one node of the tree: its parameters, its children and what it computes. Nothing
// is executed here: [Trace] runs the tree on a symbolic value and gives a graph, from which
// everything else derives.
package nn

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/graph"
)

// A Value is a symbolic tensor that flows through modules while they are traced.
type Value = *graph.Node

// A Module is one node of a network.
type Module struct {
	Type  string // PyTorch's class name, such as "Conv2d"
	Extra string // what PyTorch's repr shows between the parentheses

	params   []*param
	children []child
	forward  func(m *Module, x Value) Value

	// Norms says when batch norms use the batch's own statistics while training; only the root's counts.
	Norms NormMode

	path   string // where in the tree it stands; set by the walk before tracing
	active bool   // behaves as in training: it isn't in a frozen part
	norms  bool   // a batch norm uses the batch's statistics in training
}

// A NormMode says which batch norms use, and update by, the statistics of the batch while training;
// the others use their running statistics.
type NormMode string

// The modes: norms whose own parameters train, as freezing suggests; all, as after PyTorch's model.train()
// whatever is frozen; none.
const (
	NormsAuto  NormMode = ""
	NormsTrain NormMode = "train"
	NormsEval  NormMode = "eval"
)

type param struct {
	name string // "weight"
	*graph.Param
}

type child struct {
	name string
	*Module
}

// New makes a module of PyTorch's class name typ that computes forward. Children and parameters are
// added by [Module.Add] and [Module.AddParam], in the order in which PyTorch registers them.
func New(typ string, forward func(m *Module, x Value) Value) *Module {
	return &Module{Type: typ, forward: forward}
}

// Add appends a child and returns m.
func (m *Module) Add(name string, c *Module) *Module {
	m.children = append(m.children, child{name, c})
	return m
}

// AddParam appends a parameter of the given shape and returns m. Without init it starts as zeros.
func (m *Module) AddParam(name string, init Init, shape ...int) *Module {
	m.params = append(m.params, &param{name, &graph.Param{Shape: shape, RequiresGrad: true, Init: init}})
	return m
}

// AddBuffer appends a buffer, filled with value, and returns m.
func (m *Module) AddBuffer(name string, value float32, shape ...int) *Module {
	m.params = append(m.params, &param{name, &graph.Param{Shape: shape, Buffer: true, Init: Fill(value)}})
	return m
}

// AddIndex appends an int64 buffer of the given shape whose values never change, and returns m.
func (m *Module) AddIndex(name string, index []int, shape ...int) *Module {
	m.params = append(m.params, &param{name, &graph.Param{Shape: shape, Buffer: true, Index: index}})
	return m
}

func (m *Module) addCounter(name string) *Module {
	m.AddBuffer(name, 0)
	m.params[len(m.params)-1].Counter = true
	return m
}

// Child returns the descendant at a dotted path, or nil.
func (m *Module) Child(path string) *Module {
	name, rest, deeper := strings.Cut(path, ".")
	for _, c := range m.children {
		if c.name == name {
			if deeper {
				return c.Child(rest)
			}
			return c.Module
		}
	}
	return nil
}

// Replace puts another module in the place of the descendant at path.
func (m *Module) Replace(path string, by *Module) error {
	parent, name := m, path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		parent, name = m.Child(path[:i]), path[i+1:]
	}
	if parent != nil {
		for i := range parent.children {
			if parent.children[i].name == name {
				parent.children[i].Module = by
				return nil
			}
		}
	}
	return fmt.Errorf("the network has no module %q", path)
}

// Children yields the names and modules below m, in order.
func (m *Module) Children() iter.Seq2[string, *Module] {
	return func(yield func(string, *Module) bool) {
		for _, c := range m.children {
			if !yield(c.name, c.Module) {
				return
			}
		}
	}
}

// Walk yields every module of the tree with its path, parents before children; the root's is "".
func (m *Module) Walk() iter.Seq2[string, *Module] {
	return func(yield func(string, *Module) bool) { m.walk("", yield) }
}

func (m *Module) walk(path string, yield func(string, *Module) bool) bool {
	if !yield(path, m) {
		return false
	}
	for _, c := range m.children {
		if !c.walk(Join(path, c.name), yield) {
			return false
		}
	}
	return true
}

// Join returns the path of a child.
func Join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Own returns the module's own parameters and buffers, without its children's.
func (m *Module) Own() []*graph.Param {
	own := make([]*graph.Param, len(m.params))
	for i, p := range m.params {
		own[i] = p.Param
	}
	return own
}

// Params returns all parameters and buffers below m in the order of PyTorch's state_dict, with
// their full names set. A module that stands in two places gives its parameters once.
func (m *Module) Params() []*graph.Param {
	var all []*graph.Param
	seen := map[*Module]bool{}
	for path, mod := range m.Walk() {
		if seen[mod] {
			continue
		}
		seen[mod] = true
		for _, p := range mod.params {
			p.Name = Join(path, p.name)
			all = append(all, p.Param)
		}
	}
	return all
}

// Freeze sets whether training leaves the module's parameters (and its children's) as they are.
func (m *Module) Freeze(frozen bool) {
	for _, mod := range m.Walk() {
		for _, p := range mod.params {
			p.RequiresGrad = !frozen && !p.Buffer
		}
	}
}

// trainable reports whether a parameter below m trains, and whether there is any parameter.
func (m *Module) trainable() (some, params bool) {
	for _, mod := range m.Walk() {
		for _, p := range mod.params {
			params = params || !p.Buffer
			some = some || p.RequiresGrad
		}
	}
	return some, params
}

// place notes each module's path and whether it is active in training. A module without
// parameters, such as a Dropout, follows the nearest one around it that has some: it is active
// where something trains beside it and inert inside a frozen part.
func (m *Module) place(path string, active bool, norms NormMode) {
	m.path = path
	if some, params := m.trainable(); params {
		active = some
	}
	m.active = active
	m.norms = active && norms == NormsAuto || norms == NormsTrain
	for _, c := range m.children {
		c.place(Join(path, c.name), active, norms)
	}
}

// Trace runs the tree on a symbolic input of the given shape ([N, C, H, W] for images).
func Trace(m *Module, shape ...int) (g *graph.Graph, err error) {
	m.Params()
	m.place("", false, m.Norms)
	g = &graph.Graph{}
	defer func() {
		if r := recover(); r != nil {
			shapeErr, ok := r.(*graph.ShapeError)
			if !ok {
				panic(r)
			}
			g, err = nil, fmt.Errorf("%s doesn't take an input of shape %v: %w", m.Type, shape, shapeErr)
		}
	}()
	g.Output = m.Call(g.Input(shape...))
	return g, nil
}

// Call runs the module on x, while tracing.
func (m *Module) Call(x Value) Value { return m.CallAs(x, x) }

// CallAs runs the module on x where PyTorch hands it a list of tensors and it joins them to x; the
// call is recorded with the first of them as its input, which is what a summary shows.
func (m *Module) CallAs(first, x Value) Value {
	leave := x.Graph().Enter(m.path, first)
	y := m.forward(m, x)
	leave(y)
	return y
}

// Sub runs the child of that name.
func (m *Module) Sub(name string, x Value) Value {
	c := m.Child(name)
	if c == nil {
		panic(fmt.Sprintf("nn: %s has no child %q", m.Type, name))
	}
	return c.Call(x)
}

// Apply adds an operation on x that uses the module's own parameters.
func (m *Module) Apply(op graph.Op, x Value) Value {
	return x.Graph().Apply(op, m.Own(), x)
}

// Param gives one of the module's own parameters as a value in x's graph.
func (m *Module) Param(name string, x Value) Value {
	return x.Graph().Apply(graph.Parameter{}, m.own(name))
}

// Gather takes the rows of a table that one of the module's own index buffers lists.
func (m *Module) Gather(index string, table Value) Value {
	return table.Graph().Apply(graph.Gather{}, m.own(index), table)
}

// own returns the module's own parameter of that name.
func (m *Module) own(name string) []*graph.Param {
	i := slices.IndexFunc(m.params, func(p *param) bool { return p.name == name })
	if i < 0 {
		panic(fmt.Sprintf("nn: %s has no parameter %q", m.Type, name))
	}
	return []*graph.Param{m.params[i].Param}
}

// LeastInput returns the smallest square image, in pixels a side, that the network takes.
func LeastInput(m *Module, channels int) int {
	least := 1
	for ; least < 1024; least++ {
		if _, err := Trace(m, 1, channels, least, least); err == nil {
			break
		}
	}
	return least
}
