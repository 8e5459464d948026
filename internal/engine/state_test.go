package engine_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// TestStatesAtOnce runs two states of one plan at the same time, each on several threads.
func TestStatesAtOnce(t *testing.T) {
	b := newNet(1)
	x := b.Input(1, 6, 11, 13)
	y := b.depthwise(b.conv1(x, 20)).Act(graph.SiLU)
	y = y.Mul(b.conv1(b.op(graph.AdaptiveAvgPool{Size: [2]int{1, 1}}, y), 20).Act(graph.Sigmoid))
	y = b.linear(y.Flatten(2).Permute(0, 2, 1), 24, true).Attend(2, 0.5)
	b.Output = b.layerNorm(y)
	for _, set := range kernels.All() {
		plan := compile(t, engine.Options{Kernels: set}, &b.Graph, b.Output)
		var inputs [2][]tensor
		var wants [2][]float32
		for i := range inputs {
			inputs[i] = b.inputs()
			wants[i] = run(plan.NewState(1), plan, inputs[i])[0]
		}
		if sameBits(wants[0], wants[1]) {
			t.Fatal("two inputs give one result")
		}
		var group sync.WaitGroup
		for i := range inputs {
			s := plan.NewState(i + 1)
			group.Go(func() {
				for range 20 {
					if !sameBits(run(s, plan, inputs[i])[0], wants[i]) {
						t.Errorf("%s: state %d gives other numbers beside another state", set.Name, i)
						return
					}
				}
			})
		}
		group.Wait()
	}
}

// TestMemory reuses the memory of values that aren't needed any more, but not that of outputs, of what
// a later step reads, or of another output that has the same value.
func TestMemory(t *testing.T) {
	const size = 16 * 10 * 10
	b := newNet(1)
	late := b.Input(1, 16, 10, 10)
	x := b.Input(1, 16, 10, 10)
	first := x
	for i := range 20 {
		if x = b.conv1(x, 16).Act(graph.ReLU); i == 1 {
			first = x
		}
	}
	b.Output = x.Add(late)
	same := b.op(graph.Dropout{P: 0.5}, b.Output)
	known := b.constant(16)
	outputs := []*graph.Node{first, b.Output, same, late, known, first.Flatten(1)}
	inputs := b.inputs()
	set := kernels.All()[0]
	plan := compile(t, engine.Options{Kernels: set}, &b.Graph, outputs...)
	together := run(plan.NewState(2), plan, inputs)
	for i, out := range outputs {
		plan := compile(t, engine.Options{Kernels: set}, &b.Graph, out)
		if !sameBits(run(plan.NewState(1), plan, inputs)[0], together[i]) {
			t.Errorf("output %d is another beside others than alone", i)
		}
	}

	plan = compile(t, engine.Options{Kernels: set}, &b.Graph, b.Output)
	if most := 4 * 4 * size; plan.Bytes(1) < 3*4*size || plan.Bytes(1) > most {
		t.Errorf("a chain of 20 layers takes %d bytes, want %d at most", plan.Bytes(1), most)
	}
	s := plan.NewState(1)
	if plan.InputLen(0) != size || plan.OutputLen(0) != size || plan.Outputs() != 1 || plan.OutputsLen() != size || len(s.Input(1)) != size {
		t.Errorf("lengths: %d, %d, %d, %d, %d", plan.InputLen(0), plan.OutputLen(0), plan.Outputs(), plan.OutputsLen(), len(s.Input(1)))
	}
}

func TestProfile(t *testing.T) {
	b := newNet(1)
	b.Output = b.conv1(b.conv1(b.Input(1, 8, 9, 9), 8), 8).Act(graph.ReLU).Flatten(1).Act(graph.Tanh)
	plan := compile(t, engine.Options{Kernels: kernels.All()[0]}, &b.Graph, b.Output)
	shares, err := plan.NewState(1).Profile(3)
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string]int{}
	for _, s := range shares {
		runs[s.Op] = s.Runs
		if s.Time < 0 {
			t.Errorf("%s took %v", s.Op, s.Time)
		}
	}
	if runs["conv 1x1"] != 2 || runs["activation"] != 1 {
		t.Errorf("the steps are %v", runs)
	}
	if _, err := plan.NewState(2).Profile(1); err == nil {
		t.Error("two threads were profiled")
	}
}

type unknown struct{}

func (unknown) Infer(in [][]int, _ []*graph.Param) ([]int, error) { return in[0], nil }

func TestCompileErrors(t *testing.T) {
	empty := func(n *graph.Node, i int) *graph.Node {
		n.Params[i].Name, n.Params[i].Data = "layer.empty", nil
		return n
	}
	for name, test := range map[string]struct {
		build builder
		want  string
	}{
		"weight":       {func(b *net) *graph.Node { return empty(b.conv1(image(b), 3), 0) }, "layer.empty has no values"},
		"bias":         {func(b *net) *graph.Node { return empty(b.linear(tokens(b), 3, true), 1) }, "layer.empty has no values"},
		"norm":         {func(b *net) *graph.Node { return empty(b.batchNorm(image(b)), 3) }, "layer.empty has no values"},
		"fused norm":   {func(b *net) *graph.Node { return empty(b.batchNorm(b.conv1(image(b), 3)), 2) }, "layer.empty has no values"},
		"parameter":    {func(b *net) *graph.Node { return empty(b.Apply(graph.Parameter{}, []*graph.Param{b.param(3)}), 0) }, "layer.empty has no values"},
		"unknown node": {func(b *net) *graph.Node { return b.op(unknown{}, image(b)) }, "engine_test.unknown"},
	} {
		b := newNet(1)
		b.Output = test.build(b)
		if _, err := engine.Compile(&b.Graph, kernels.All()[0], b.Output); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		// What the outputs don't need isn't compiled.
		if _, err := engine.Compile(&b.Graph, kernels.All()[0], b.Nodes[0]); len(b.Inputs) > 0 && err != nil {
			t.Errorf("%s isn't needed: %v", name, err)
		}
	}
}

// TestConcatOfRanks belongs to graph.Concat, which random graphs found lax.
func TestConcatOfRanks(t *testing.T) {
	defer func() {
		err, _ := recover().(error)
		if shape := (*graph.ShapeError)(nil); !errors.As(err, &shape) {
			t.Errorf("joining a row and an image: %v", err)
		}
	}()
	b := newNet(1)
	graph.Cat(0, b.Input(3), image(b))
}
