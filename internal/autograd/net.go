// Package autograd computes the part of a network that trains, forward and backward.
//
// A [Net] is made from a traced graph: it reads the values at the graph's cut (see
// [graph.Graph.Split]) and computes what comes after it. Images lie channels-last, as in the engine.
// All sums run in an order that the shapes alone decide.
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
	inputs []*tensor
	layers []layer
	output *tensor
	params []*graph.Param // that train, in the graph's order
	grads  map[*graph.Param][]float32
}

// A tensor is a value and the derivative of the loss by it.
type tensor struct {
	shape []int // logical; four dimensions lie channels-last
	data  []float32
	grad  []float32 // nil where no derivative is wanted
}

func newTensor(shape []int, grad bool) *tensor {
	t := &tensor{shape: slices.Clone(shape), data: make([]float32, graph.Numel(shape))}
	if grad {
		t.grad = make([]float32, len(t.data))
	}
	return t
}

// A layer is one operation. Backward adds to the inputs' and parameters' derivatives; the result's
// derivative is complete by then.
type layer interface {
	forward(train bool, random *torchrand.Generator)
	backward()
}

// New prepares the tail of g.
func New(g *graph.Graph, set *kernels.Set) (*Net, error) {
	tail, frontier := g.Split()
	net := &Net{grads: map[*graph.Param][]float32{}}
	values := map[*graph.Node]*tensor{}
	for _, n := range frontier {
		values[n] = newTensor(n.Shape, false)
		net.inputs = append(net.inputs, values[n])
	}
	for _, n := range g.Nodes {
		if !tail[n.ID] {
			continue
		}
		in := make([]*tensor, len(n.In))
		for i, m := range n.In {
			if in[i] = values[m]; in[i] == nil {
				return nil, fmt.Errorf("%s: training through %T isn't possible yet: freeze more of the network", n.Path, m.Op)
			}
		}
		params := make([]*parameter, len(n.Params))
		for i, p := range n.Params {
			params[i] = net.parameter(p)
		}
		out := newTensor(n.Shape, true)
		l, err := newLayer(n, set, in, params, out)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Path, err)
		}
		net.layers = append(net.layers, l)
		values[n] = out
	}
	net.output = values[g.Output]
	return net, nil
}

// A parameter is a weight and the derivative of the loss by it, nil if it doesn't train.
type parameter struct {
	*graph.Param
	grad []float32
}

func (net *Net) parameter(p *graph.Param) *parameter {
	if !p.RequiresGrad {
		return &parameter{Param: p}
	}
	if net.grads[p] == nil {
		net.grads[p] = make([]float32, p.Numel())
		net.params = append(net.params, p)
	}
	return &parameter{p, net.grads[p]}
}

// Input returns the memory of an input, a value at the graph's cut, for the caller to fill.
func (net *Net) Input(i int) []float32 { return net.inputs[i].data }

// Params returns the parameters that train.
func (net *Net) Params() []*graph.Param { return net.params }

// Grad returns the derivative of the loss by a parameter, which the next Backward overwrites.
func (net *Net) Grad(p *graph.Param) []float32 { return net.grads[p] }

// Forward computes the output, [batch, classes], which the next Forward overwrites. In training,
// random operations draw from random.
func (net *Net) Forward(train bool, random *torchrand.Generator) []float32 {
	for _, l := range net.layers {
		l.forward(train, random)
	}
	return net.output.data
}

// Backward computes the parameters' derivatives, from the loss's by the output of the last Forward.
func (net *Net) Backward(grad []float32) {
	for _, g := range net.grads {
		clear(g)
	}
	for _, l := range net.layers {
		if r, ok := l.(interface{ reset() }); ok {
			r.reset()
		}
	}
	copy(net.output.grad, grad)
	for _, l := range slices.Backward(net.layers) {
		l.backward()
	}
}
