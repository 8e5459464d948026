// Package autograd computes the part of a network that trains, forward and backward.
//
// A [Net] is made from a traced graph: it reads the values at the graph's cut (see
// [graph.Graph.Split]) and computes what comes after it. Images lie channels-last, as in the engine.
//
// The graph becomes a list of steps, whose work is divided among threads. What is cheap to compute from
// something in memory (a norm or an activation of a convolution's result, say) has no memory of its
// own: whoever reads it computes it, block by block, in the forward pass and again in the backward
// pass. All else lies in one arena, where values that aren't needed at the same time share memory.
// Sums run in an order that the shapes alone decide, whatever the number of threads.
package autograd

import (
	"fmt"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/torchrand"
)

// A Net computes the tail of a graph for batches of the size that the graph was traced with. It is
// for one goroutine at a time.
type Net struct {
	memory  *Memory
	threads []*thread
	inputs  []*buffer
	steps   []*step
	first   int // step of the backward pass
	output  *buffer
	shape   []int          // of the output
	seed    *buffer        // the loss's derivative by the output
	params  []*graph.Param // that train, in the graph's order
	unused  []*graph.Param // parameters that the output doesn't depend on
	buffers []*graph.Param
	random  *torchrand.Generator // of the Forward that runs
}

// New prepares the tail of g for passes that are divided among threads.
func New(g *graph.Graph, set *kernels.Set, threads int) (*Net, error) {
	return new(Memory).New(g, set, threads)
}

// New is like [New] for a net that shares m with the others made from it.
func (m *Memory) New(g *graph.Graph, set *kernels.Set, threads int) (*Net, error) {
	net := &Net{memory: m}
	for range max(threads, 1) {
		net.threads = append(net.threads, &thread{})
	}
	c := &compiler{net: net, set: set, values: map[*graph.Node]*tensor{}, users: map[*graph.Node][]*graph.Node{}, derived: map[*graph.Param]bool{}}
	tail, frontier := g.Split()
	if err := c.forward(g, tail, frontier); err != nil {
		return nil, err
	}
	net.first = len(c.steps)
	c.backward = true
	for _, derive := range slices.Backward(c.derive) {
		derive()
	}
	net.steps = c.steps
	for _, n := range g.Nodes {
		for _, p := range n.Params {
			if !p.RequiresGrad || slices.Contains(net.params, p) {
				continue
			}
			net.params = append(net.params, p)
			if m.grad(p); !c.derived[p] {
				net.unused = append(net.unused, p)
			}
		}
	}
	if size := place(c.buffers); size > len(m.arena) {
		m.arena = aligned(size)
	}
	return net, nil
}

// forward emits the steps of the forward pass: those of the tail, and of what it needs that depends on
// no input.
func (c *compiler) forward(g *graph.Graph, tail []bool, frontier []*graph.Node) error {
	needed := make([]bool, len(g.Nodes))
	var need func(n *graph.Node)
	need = func(n *graph.Node) {
		if !needed[n.ID] && !slices.Contains(frontier, n) {
			needed[n.ID] = true
			for _, in := range n.In {
				c.users[in] = append(c.users[in], n)
				need(in)
			}
		}
	}
	need(g.Output)
	for _, n := range frontier {
		x := c.newTensor(n.Shape, usual(len(n.Shape)), false)
		c.values[n] = x
		c.net.inputs = append(c.net.inputs, x.buffer)
	}
	c.emit(&step{op: "input"}, nil, c.net.inputs...)
	c.users[g.Output] = append(c.users[g.Output], nil, nil) // used by the caller
	for _, n := range g.Nodes {
		if !needed[n.ID] || c.values[n] != nil {
			continue
		}
		if err := c.node(n); err != nil {
			return fmt.Errorf("%s: %w", n.Path, err)
		}
	}
	result := c.ordered(c.values[g.Output], usual(len(g.Output.Shape)))
	y := c.settled(result)
	c.net.output, c.net.seed, c.net.shape = y.buffer, c.newBuffer(y.buffer.size), y.shape
	c.emit(&step{op: "output"}, []*buffer{y.buffer}, c.net.seed)
	c.contribute(result, c.plain(c.net.seed, y.width))
	return nil
}

// Input returns the memory of an input, a value at the graph's cut, for the caller to fill before each
// Forward. It is valid until another net is made that shares the memory.
func (net *Net) Input(i int) []float32 { return net.inputs[i].data() }

// Shape returns the output's shape.
func (net *Net) Shape() []int { return net.shape }

// Params returns the parameters that train.
func (net *Net) Params() []*graph.Param { return net.params }

// Buffers returns the running statistics that Forward changes in training.
func (net *Net) Buffers() []*graph.Param { return net.buffers }

// Grad returns the derivative of the loss by a parameter, which the next Backward overwrites; nil if the
// parameter doesn't train.
func (net *Net) Grad(p *graph.Param) []float32 {
	if !p.RequiresGrad {
		return nil
	}
	return net.memory.grads[p]
}

// Bytes returns how much memory the values of a pass take.
func (net *Net) Bytes() int { return 4 * len(net.memory.arena) }

// Forward computes the output, which the next pass overwrites; an image lies channels-last. In training, norms that
// train use the batch's statistics and update their running ones, and random operations draw from
// random.
func (net *Net) Forward(train bool, random *torchrand.Generator) []float32 {
	net.random = random
	for _, t := range net.threads {
		t.train = train
	}
	net.run(net.steps[:net.first])
	return net.output.data()
}

// Backward computes the parameters' derivatives, from the loss's by the output of the last Forward. It
// can follow each Forward once.
func (net *Net) Backward(grad []float32) {
	for _, p := range net.unused {
		clear(net.memory.grads[p])
	}
	copy(net.seed.data(), grad)
	net.run(net.steps[net.first:])
}

func (net *Net) run(steps []*step) {
	for _, s := range steps {
		s.do(net.threads)
	}
}
