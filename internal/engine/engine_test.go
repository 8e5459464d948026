package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A net is a graph of operations with random parameters.
type net struct {
	graph.Graph
	random *rand.Rand
}

func newNet(seed uint64) *net { return &net{random: rand.New(rand.NewPCG(seed, 0))} }

// values are uniform in [centre-spread, centre+spread).
func (b *net) values(n int, centre, spread float64) []float32 {
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(centre + spread*(2*b.random.Float64()-1))
	}
	return data
}

// param has numbers that keep the variance of what a matrix of that shape multiplies.
func (b *net) param(shape ...int) *graph.Param {
	spread := math.Sqrt(3 / float64(graph.Numel(shape[1:])))
	return &graph.Param{Name: "p", Shape: shape, Data: b.values(graph.Numel(shape), 0, spread)}
}

func (b *net) constant(shape ...int) *graph.Node {
	return b.Apply(graph.Constant{Shape: shape, Data: b.values(graph.Numel(shape), 0, 1)}, nil)
}

// weights are a matrix or kernel and, if wanted, a bias for each output.
func (b *net) weights(bias bool, shape ...int) []*graph.Param {
	params := []*graph.Param{b.param(shape...)}
	if bias {
		params = append(params, b.param(shape[0]))
	}
	return params
}

// conv makes out channels; zero Stride, Dilation and Groups mean 1.
func (b *net) conv(x *graph.Node, out int, op graph.Conv2d, bias bool) *graph.Node {
	for i := range 2 {
		op.Stride[i], op.Dilation[i] = max(op.Stride[i], 1), max(op.Dilation[i], 1)
	}
	op.Groups = max(op.Groups, 1)
	return b.Apply(op, b.weights(bias, out, x.Shape[1]/op.Groups, op.Kernel[0], op.Kernel[1]), x)
}

func (b *net) conv1(x *graph.Node, out int) *graph.Node {
	return b.conv(x, out, graph.Conv2d{Kernel: [2]int{1, 1}}, true)
}

func (b *net) depthwise(x *graph.Node) *graph.Node {
	return b.conv(x, x.Shape[1], graph.Conv2d{Kernel: [2]int{3, 3}, Pad: [4]int{1, 1, 1, 1}, Groups: x.Shape[1]}, true)
}

func (b *net) linear(x *graph.Node, out int, bias bool) *graph.Node {
	return b.Apply(graph.Linear{}, b.weights(bias, out, x.Shape[len(x.Shape)-1]), x)
}

func (b *net) batchNorm(x *graph.Node) *graph.Node {
	c := x.Shape[1]
	variance := &graph.Param{Name: "running_var", Shape: []int{c}, Data: b.values(c, 1, 0.5)}
	return b.Apply(graph.BatchNorm{Eps: 1e-5}, []*graph.Param{b.param(c), b.param(c), b.param(c), variance}, x)
}

// layerNorm has an eps that keeps rounding errors small where a row hardly varies.
func (b *net) layerNorm(x *graph.Node) *graph.Node {
	c := x.Shape[len(x.Shape)-1]
	return b.Apply(graph.LayerNorm{Eps: 0.01}, []*graph.Param{b.param(c), b.param(c)}, x)
}

func (b *net) op(op graph.Op, in ...*graph.Node) *graph.Node { return b.Apply(op, nil, in...) }

// inputs draws a value for each input.
func (b *net) inputs() []tensor {
	var all []tensor
	for _, in := range b.Inputs {
		all = append(all, fromMemory(in.Shape, b.values(graph.Numel(in.Shape), 0, 2)))
	}
	return all
}

// options are those that a set of kernels can be used with.
func options(set *kernels.Set) []engine.Options {
	all := []engine.Options{{Kernels: set, Precision: engine.FP32}}
	if set.BF16 != nil {
		all = append(all, engine.Options{Kernels: set, Precision: engine.BF16})
	}
	return all
}

func compile(t *testing.T, o engine.Options, g *graph.Graph, outputs ...*graph.Node) *engine.Plan {
	t.Helper()
	plan, err := o.Compile(g, outputs...)
	if err != nil {
		t.Fatal(err)
	}
	for i, out := range outputs {
		if !slices.Equal(plan.Shape(i), out.Shape) {
			t.Fatalf("output %d has shape %v, want %v", i, plan.Shape(i), out.Shape)
		}
	}
	return plan
}

// run computes the outputs of a plan.
func run(s *engine.State, plan *engine.Plan, inputs []tensor) [][]float32 {
	for i, in := range inputs {
		copy(s.Input(i), in.memory())
	}
	s.Run()
	outputs := make([][]float32, plan.Outputs())
	for i := range outputs {
		outputs[i] = slices.Clone(s.Output(i))
	}
	return outputs
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// compare reports the largest difference, if it is more than tolerance times the size of the numbers.
func compare(t *testing.T, what string, got, want tensor, size, tolerance float64) {
	t.Helper()
	worst, at := 0.0, 0
	for i, v := range got.data {
		if d := math.Abs(v - want.data[i]); v != want.data[i] && !(d <= worst) { // also if it is NaN
			worst, at = d, i
		}
	}
	if !(worst <= tolerance*size) {
		t.Errorf("%s: element %d of %v is %v, want %v", what, at, got.shape, got.data[at], want.data[at])
	}
}

// verify checks a graph with every kernel set and precision. Nothing is fused where every node is an
// output: each is then compared with what the reference makes of the engine's own inputs to it. With the
// graph's output alone, everything is fused that can be: it must come to the same, in a second run of a
// state too, and to the same bits with any number of threads.
func verify(t *testing.T, b *net) {
	t.Helper()
	g, inputs := &b.Graph, b.inputs()
	for _, set := range kernels.All() {
		for _, o := range options(set) {
			verifyWith(t, o, g, inputs)
		}
	}
	if t.Failed() {
		for i, n := range g.Nodes {
			t.Log(describe(i, n))
		}
	}
}

func verifyWith(t *testing.T, o engine.Options, g *graph.Graph, inputs []tensor) {
	t.Helper()
	name := o.Kernels.Name + " " + string(o.Precision)
	single, together := 2e-5, 1e-4 // tolerances, of a node and of all
	if o.Precision == engine.BF16 {
		single, together = 1.0/64, 1.0/16
	}
	all := compile(t, o, g, g.Nodes...)
	unfused := map[*graph.Node]tensor{}
	for i, v := range run(all.NewState(1), all, inputs) {
		unfused[g.Nodes[i]] = fromMemory(g.Nodes[i].Shape, v)
	}
	for i, n := range g.Inputs {
		compare(t, name+": an input that is an output", unfused[n], inputs[i], 1, 0)
	}
	for i, n := range g.Nodes {
		if _, ok := n.Op.(graph.Input); ok {
			continue
		}
		in, size := make([]tensor, len(n.In)), 1.0
		for j, m := range n.In {
			in[j] = unfused[m]
			size = max(size, in[j].most())
		}
		want := reference(n, in)
		compare(t, name+": "+describe(i, n), unfused[n], want, max(size, want.most()), single)
	}
	plan := compile(t, o, g, g.Output)
	s := plan.NewState(1)
	fused := run(s, plan, inputs)[0]
	want := unfused[g.Output]
	compare(t, name+": fused "+describe(g.Output.ID, g.Output), fromMemory(g.Output.Shape, fused), want, max(1, want.most()), together)
	if !sameBits(run(s, plan, inputs)[0], fused) {
		t.Errorf("%s: a second run gives other bits", name)
	}
	for _, threads := range []int{2, 3, 7} {
		if !sameBits(run(plan.NewState(threads), plan, inputs)[0], fused) {
			t.Errorf("%s: %d threads give other bits than one", name, threads)
		}
	}
}

func describe(i int, n *graph.Node) string {
	in := make([]int, len(n.In))
	for j, m := range n.In {
		in[j] = m.ID
	}
	op := fmt.Sprintf("%T%+v", n.Op, n.Op)
	if c, ok := n.Op.(graph.Constant); ok {
		op = fmt.Sprintf("graph.Constant%v", c.Shape)
	}
	return fmt.Sprintf("node %d = %s of %v: %v", i, op, in, n.Shape)
}
