package engine

import (
	"fmt"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A compiler turns a graph into the steps of a plan.
type compiler struct {
	plan    Plan
	bf16    *kernels.BF16 // nil in a plan of float32
	graph   *graph.Graph
	given   values // the plan's inputs
	outputs values
	same    []*graph.Node // for each node, the one that has its value: itself, or what an inert Dropout passes on
	users   [][]*graph.Node
	done    []bool // computed as part of another node's step
	values  map[*graph.Node]value
	twins   map[int]value       // for a buffer, the same value in the other type of number
	sums    map[*graph.Node]int // for the result of a depthwise convolution, the buffer of its rows' sums
}

func (o Options) newCompiler(g *graph.Graph, given, outputs values) (*compiler, error) {
	c := &compiler{
		plan:    Plan{kernels: o.Kernels},
		graph:   g,
		given:   given,
		outputs: outputs,
		same:    make([]*graph.Node, len(g.Nodes)),
		users:   make([][]*graph.Node, len(g.Nodes)),
		done:    make([]bool, len(g.Nodes)),
		values:  map[*graph.Node]value{},
		twins:   map[int]value{},
		sums:    map[*graph.Node]int{},
	}
	switch o.Precision {
	case FP32, "":
	case BF16:
		if c.bf16 = o.Kernels.BF16; c.bf16 == nil {
			return nil, fmt.Errorf("the %s kernels know no bfloat16", o.Kernels.Name)
		}
	default:
		return nil, fmt.Errorf("precision %q: it must be %s or %s", o.Precision, FP32, BF16)
	}
	for i, n := range g.Nodes {
		c.same[i] = n
		switch n.Op.(type) {
		case graph.Dropout, graph.StochasticDepth:
			c.same[i] = c.same[n.In[0].ID]
		}
	}
	// Only what the outputs need counts as a use, and is computed.
	needed := make([]bool, len(g.Nodes))
	var mark func(n *graph.Node)
	mark = func(n *graph.Node) {
		n = c.same[n.ID]
		if needed[n.ID] {
			return
		}
		needed[n.ID] = true
		if slices.Contains(given.nodes, n) {
			return
		}
		for _, in := range n.In {
			in = c.same[in.ID]
			c.users[in.ID] = append(c.users[in.ID], n)
			mark(in)
		}
	}
	for _, out := range outputs.nodes {
		mark(out)
	}
	for i := range c.done {
		c.done[i] = !needed[i]
	}
	return c, nil
}

func (c *compiler) lower() error {
	for _, in := range c.given.nodes {
		v := c.newTyped(in.Shape, usual(len(in.Shape)), c.given.bf16)
		c.plan.inputs = append(c.plan.inputs, v.buffer)
		c.values[in], c.done[in.ID] = v, true
	}
	for _, n := range c.graph.Nodes {
		if c.done[n.ID] {
			continue
		}
		if err := c.node(n); err != nil {
			return fmt.Errorf("%s: %w", n.Path, err)
		}
	}
	for _, out := range c.outputs.nodes {
		v := c.value(out)
		if !c.outputs.bf16 {
			v = c.ordered(c.widened(v), usual(len(out.Shape)))
		}
		// An output has a buffer of its own: it mustn't be an input, a constant or another output.
		if c.plan.buffers[v.buffer].constant != nil || slices.Contains(c.plan.inputs, v.buffer) || slices.Contains(c.plan.outputs, v.buffer) {
			v = c.copied(v, v.order)
		}
		c.plan.outputs = append(c.plan.outputs, v.buffer)
		c.plan.shapes = append(c.plan.shapes, out.Shape)
	}
	return nil
}

// value returns what has been computed for a node, with its rows together.
func (c *compiler) value(n *graph.Node) value {
	v := c.rowsOf(n)
	if v.ld != 0 {
		v = c.copied(v, v.order)
		c.values[c.same[n.ID]] = v
	}
	return v
}

// rowsOf returns what has been computed for a node, whose rows may lie apart.
func (c *compiler) rowsOf(n *graph.Node) value {
	n = c.same[n.ID]
	v, ok := c.values[n]
	if !ok {
		panic(fmt.Sprintf("engine: %T at %q is used before it is computed", n.Op, n.Path))
	}
	return v
}

// takesRows reports whether an operation reads a value whose rows lie apart as its i-th input.
func takesRows(n *graph.Node, i int) bool {
	_, attention := n.Op.(graph.Attention)
	return attention && i < 3 || readsRows(n)
}

// set notes the value of a node.
func (c *compiler) set(n *graph.Node, v value) {
	c.values[n], c.done[n.ID] = v, true
}

func (c *compiler) newBuffer(size int) int {
	c.plan.buffers = append(c.plan.buffers, buffer{size: size})
	return len(c.plan.buffers) - 1
}

func (c *compiler) newValue(shape, order []int) value { return c.newTyped(shape, order, false) }

// newTyped is newValue of either type of number.
func (c *compiler) newTyped(shape, order []int, bf16 bool) value {
	return value{shape: slices.Clone(shape), order: slices.Clone(order), buffer: c.newBuffer(words(graph.Numel(shape), bf16)), bf16: bf16}
}

// newConstant is a value in natural order that is known now. The data is not copied.
func (c *compiler) newConstant(data []float32, shape []int) value {
	c.plan.buffers = append(c.plan.buffers, buffer{size: len(data), constant: data})
	return value{shape: slices.Clone(shape), order: natural(len(shape)), buffer: len(c.plan.buffers) - 1}
}

// constant returns the data of a value that is known now, nil if it isn't.
func (c *compiler) constant(v value) []float32 { return c.plan.buffers[v.buffer].constant }

// needScratch makes sure that each thread has so many floats of scratch.
func (c *compiler) needScratch(n int) { c.plan.scratch = max(c.plan.scratch, n) }

// emit adds a step. One that reads nothing but constants runs right away: its result is a constant.
func (c *compiler) emit(s step) {
	for _, r := range s.reads {
		if c.plan.buffers[r].constant == nil {
			c.plan.steps = append(c.plan.steps, s)
			return
		}
	}
	result := make([]float32, c.plan.buffers[s.write].size)
	c.plan.buffers[s.write].constant = result
	s.run(&State{plan: &c.plan, scratch: [][]float32{make([]float32, c.plan.scratch)}}, 0, 0, s.units)
}

// copied returns a copy of v that lies in the given order.
func (c *compiler) copied(v value, order []int) value {
	v = c.widened(v)
	out := c.newValue(v.shape, order)
	sizes, all := out.physical(), v.strides()
	strides := make([]int, len(order))
	for i, d := range order {
		strides[i] = all[d]
	}
	c.gather(v, out, sizes, strides)
	return out
}

// gather emits a step that copies elements of v which lie strides apart.
func (c *compiler) gather(v, out value, sizes, strides []int) {
	// Leading sizes of 1 would leave nothing to divide among threads.
	for len(sizes) > 1 && sizes[0] == 1 {
		sizes, strides = sizes[1:], strides[1:]
	}
	units := 1
	if len(sizes) > 0 {
		units = sizes[0]
	}
	c.emit(step{op: "copy", units: units, reads: []int{v.buffer}, write: out.buffer,
		run: func(s *State, _, from, to int) {
			copyStrided(s.buffer(out.buffer), s.buffer(v.buffer)[v.first:], sizes, strides, from, to)
		}})
}

// ordered returns v in the given order, copying it only if it lies otherwise.
func (c *compiler) ordered(v value, order []int) value {
	if sameOrder(v.shape, v.order, order) {
		v.order = slices.Clone(order)
		return v
	}
	return c.copied(v, order)
}

// lastInner returns v with dimension d innermost in memory.
func (c *compiler) lastInner(v value, d int) value {
	for i := len(v.order) - 1; i >= 0; i-- {
		if v.order[i] == d {
			v.order = append(slices.Delete(slices.Clone(v.order), i, i+1), d)
			return v
		}
		if v.shape[v.order[i]] != 1 {
			break
		}
	}
	order := slices.DeleteFunc(natural(len(v.shape)), func(i int) bool { return i == d })
	return c.copied(v, append(order, d))
}

// only returns the one node that uses n, nil if there are more or n is an output.
func (c *compiler) only(n *graph.Node) *graph.Node {
	for _, out := range c.outputs.nodes {
		if c.same[out.ID] == n {
			return nil
		}
	}
	if len(c.users[n.ID]) != 1 {
		return nil
	}
	return c.users[n.ID][0]
}

var kernelActs = map[graph.Act]kernels.Act{
	graph.ReLU: kernels.ReLU, graph.ReLU6: kernels.ReLU6, graph.SiLU: kernels.SiLU, graph.Sigmoid: kernels.Sigmoid,
	graph.HardSwish: kernels.HardSwish, graph.HardSigmoid: kernels.HardSigmoid, graph.GELU: kernels.GELU,
	graph.GELUTanh: kernels.GELUTanh, graph.Tanh: kernels.Tanh,
}

// followingAct returns the activation that is all that uses n, and the node that has the activated
// value: n itself if there is none.
func (c *compiler) followingAct(n *graph.Node) (kernels.Act, *graph.Node) {
	if next := c.only(n); next != nil {
		if act, ok := next.Op.(graph.Act); ok {
			c.done[next.ID] = true
			return kernelActs[act], next
		}
	}
	return kernels.None, n
}

// node emits the steps for a node, and for those after it that are computed along with it.
func (c *compiler) node(n *graph.Node) error {
	in := make([]value, len(n.In))
	for i, m := range n.In {
		if takesRows(n, i) {
			in[i] = c.rowsOf(m)
		} else {
			in[i] = c.value(m)
		}
		if !takesBF16(n) {
			in[i] = c.widened(in[i])
		}
	}
	switch op := n.Op.(type) {
	case graph.Parameter:
		p := n.Params[0]
		if p.Data == nil {
			return fmt.Errorf("parameter %s has no values yet", p.Name)
		}
		c.set(n, c.newConstant(p.Data, p.Shape))
	case graph.Constant:
		c.set(n, c.newConstant(op.Data, op.Shape))
	case graph.Conv2d, graph.Linear:
		return c.product(n, in[0])
	case graph.BatchNorm:
		scale, shift, err := foldNorm(op, n.Params)
		if err != nil {
			return err
		}
		c.affine(n, in[0], scale, shift)
	case graph.Affine:
		c.affine(n, in[0], op.Scale, op.Shift)
	case graph.LayerNorm:
		c.layerNorm(n, op, in[0])
	case graph.Act:
		c.act(n, op, in[0])
	case graph.Add:
		act, end := c.followingAct(n)
		c.set(end, c.binary("add", end, in[0], in[1], func(dst, a, b []float32) { c.plan.kernels.Add(dst, a, b, act) }))
	case graph.Mul:
		c.set(n, c.binary("mul", n, in[0], in[1], c.plan.kernels.Mul))
	case graph.AdaptiveAvgPool:
		c.adaptiveAvgPool(n, op, in[0])
	case graph.MaxPool:
		c.maxPool(n, op, in[0])
	case graph.AvgPool:
		c.avgPool(n, op, in[0])
	case graph.Mean:
		c.mean(n, op.Dims, in[0])
	case graph.Flatten, graph.Reshape:
		v, ok := in[0].reshaped(n.Shape)
		if !ok {
			v, _ = c.ordered(in[0], natural(len(in[0].shape))).reshaped(n.Shape)
		}
		c.set(n, v)
	case graph.Permute:
		c.set(n, in[0].permuted(op.Order))
	case graph.Expand:
		c.expand(n, in[0])
	case graph.Concat:
		c.concat(n, op, in)
	case graph.Slice:
		c.slice(n, op, in[0])
	case graph.Pad:
		c.pad(n, op, in[0])
	case graph.Roll:
		c.roll(n, op, in[0])
	case graph.Gather:
		c.gatherRows(n, in[0])
	case graph.Attention:
		c.attention(n, op, in)
	case graph.Softmax:
		c.softmax(n, op, in[0])
	case graph.L2Norm:
		c.l2norm(n, op, in[0])
	case graph.Exp:
		c.exp(n, op, in[0])
	default:
		return fmt.Errorf("the engine doesn't know %T", n.Op)
	}
	return nil
}
