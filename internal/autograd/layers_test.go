package autograd_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/torchrand"
)

// A network is one of those in testdata/layers.py.
type network struct {
	gain   float64
	shape  []int
	frozen []string
	layers []*nn.Module
}

var shared = nn.Linear(5, 5, true)

var networks = map[string]network{
	"linear":       {1, []int{6, 7}, nil, []*nn.Module{nn.Linear(7, 5, true)}},
	"linear twice": {1, []int{6, 7}, nil, []*nn.Module{nn.Linear(7, 40, false), nn.Linear(40, 4, true)}},
	"shared":       {1, []int{3, 5}, nil, []*nn.Module{shared, nn.Act(graph.SiLU, false), shared}},
	"conv":         {1, []int{2, 3, 6, 5}, nil, []*nn.Module{nn.Conv2d(nn.Conv{In: 3, Out: 4, Kernel: nn.Square(3)}), nn.Flatten(1)}},
	"conv, padded at a stride": {1, []int{2, 3, 6, 5}, nil, []*nn.Module{
		nn.Conv2d(nn.Conv{In: 3, Out: 4, Kernel: nn.Pair{3, 2}, Stride: nn.Pair{2, 1}, Padding: nn.Pair{1, 2}}),
		nn.Conv2d(nn.Conv{In: 4, Out: 2, Kernel: nn.Square(1), NoBias: true}), nn.Flatten(1)}},
	"conv, dilated": {1, []int{2, 2, 7, 6}, nil, []*nn.Module{
		nn.Conv2d(nn.Conv{In: 2, Out: 3, Kernel: nn.Square(3), Padding: nn.Square(2), Dilation: nn.Pair{2, 1}}),
		nn.Conv2d(nn.Conv{In: 3, Out: 5, Kernel: nn.Pair{2, 3}, Stride: nn.Square(2), Padding: nn.Square(1), Dilation: nn.Pair{1, 2}}), nn.Flatten(1)}},
	"ReLU":                 {1, []int{6, 7}, nil, []*nn.Module{nn.Linear(7, 9, true), nn.Act(graph.ReLU, false), nn.Linear(9, 3, true)}},
	"ReLU6":                {4, []int{6, 7}, nil, []*nn.Module{nn.Linear(7, 9, true), nn.Act(graph.ReLU6, false), nn.Linear(9, 3, true)}},
	"SiLU":                 {2, []int{6, 7}, nil, []*nn.Module{nn.Linear(7, 9, true), nn.Act(graph.SiLU, false), nn.Linear(9, 3, true)}},
	"Hardswish":            {2, []int{6, 7}, nil, []*nn.Module{nn.Linear(7, 9, true), nn.Act(graph.HardSwish, false), nn.Linear(9, 3, true)}},
	"dropout":              {1, []int{6, 7}, nil, []*nn.Module{nn.Linear(7, 20, true), nn.Dropout(0.4, false), nn.Linear(20, 3, true)}},
	"dropout of the input": {1, []int{6, 30}, nil, []*nn.Module{nn.Dropout(0.3, false), nn.Linear(30, 3, true)}},
	"dropout of nothing":   {1, []int{6, 7}, nil, []*nn.Module{nn.Linear(7, 20, true), nn.Dropout(0, false), nn.Dropout(0.5, false), nn.Linear(20, 3, true)}},
	"inert dropout": {1, []int{6, 7}, []string{"1.1.weight", "1.1.bias"}, []*nn.Module{nn.Linear(7, 20, true),
		nn.Sequential(nn.Dropout(0.5, false), nn.Linear(20, 3, true))}},
	"max pool": {1, []int{2, 2, 6, 7}, nil, []*nn.Module{nn.Conv2d(nn.Conv{In: 2, Out: 3, Kernel: nn.Square(3), Padding: nn.Square(1)}),
		nn.MaxPool2d(3, 2, 1, false), nn.Flatten(1), nn.Linear(36, 3, true)}},
	"max pool, ceil": {1, []int{2, 2, 6, 7}, nil, []*nn.Module{nn.Conv2d(nn.Conv{In: 2, Out: 3, Kernel: nn.Square(1)}),
		nn.MaxPool2d(3, 2, 0, true), nn.Flatten(1), nn.Linear(27, 3, true)}},
	"average pool": {1, []int{2, 2, 5, 7}, nil, []*nn.Module{nn.Conv2d(nn.Conv{In: 2, Out: 8, Kernel: nn.Square(3)}),
		nn.Act(graph.ReLU, false), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(8, 3, true)}},
	"frozen between": {1, []int{2, 2, 5, 4}, []string{"0.bias", "2.weight", "2.bias", "4.weight"}, []*nn.Module{
		nn.Conv2d(nn.Conv{In: 2, Out: 3, Kernel: nn.Square(3), Padding: nn.Square(1)}), nn.Act(graph.ReLU, false),
		nn.Conv2d(nn.Conv{In: 3, Out: 3, Kernel: nn.Square(2)}), nn.Flatten(1), nn.Linear(36, 3, true)}},
}

// net fills the network's parameters, and its input, by the formula.
func (n network) net(t *testing.T, set *kernels.Set) (*autograd.Net, []*graph.Param) {
	t.Helper()
	m := nn.Sequential(n.layers...)
	params := m.Params()
	testutil.FormulaWeights(params, n.gain)
	for _, p := range params {
		p.RequiresGrad = !p.Buffer && !slices.Contains(n.frozen, p.Name)
	}
	g, err := nn.Trace(m, n.shape...)
	if err != nil {
		t.Fatal(err)
	}
	net, err := autograd.New(g, set, 2)
	if err != nil {
		t.Fatal(err)
	}
	n.fill(net)
	return net, params
}

// fill fills the input.
func (n network) fill(net *autograd.Net) {
	copy(net.Input(0), channelsLast(testutil.FormulaInput(n.shape...), n.shape))
}

func channelsLast(x []float32, shape []int) []float32 {
	if len(shape) < 4 {
		return x
	}
	c, pixels := shape[1], shape[2]*shape[3]
	y := make([]float32, len(x))
	for i, v := range x {
		y[(i/(c*pixels)*pixels+i%pixels)*c+i/pixels%c] = v
	}
	return y
}

// channelsFirst is the inverse of channelsLast.
func channelsFirst(x []float32, shape []int) []float32 {
	if len(shape) < 4 {
		return x
	}
	return channelsLast(x, []int{shape[0], shape[2] * shape[3], shape[1], 1})
}

// forward computes in training mode, with PyTorch's random numbers of the seed in layers.py.
func forward(net *autograd.Net) []float32 { return net.Forward(true, torchrand.New(7)) }

// near compares to a share of the largest number, or of least.
func near(t *testing.T, what string, got []float32, want []float64, tolerance, least float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d elements, want %d", what, len(got), len(want))
	}
	size := least
	for _, v := range want {
		size = max(size, math.Abs(v))
	}
	for i, v := range got {
		if !(math.Abs(float64(v)-want[i]) <= tolerance*size) {
			t.Errorf("%s: element %d is %v, want %v", what, i, v, want[i])
			return
		}
	}
}

// TestPyTorch compares outputs and gradients with those in testdata/layers.json.
func TestPyTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/layers.json")
	if err != nil {
		t.Fatal(err)
	}
	var wants map[string]struct {
		Output             []float64
		Gradients, Buffers map[string][]float64
	}
	if err := json.Unmarshal(data, &wants); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(networks)), slices.Sorted(maps.Keys(wants)); !slices.Equal(got, want) {
		t.Fatalf("here are %q, in layers.json %q", got, want)
	}
	for _, set := range kernels.All() {
		for name, n := range networks {
			want, name := wants[name], set.Name+": "+name
			net, params := n.net(t, set)
			out := forward(net)
			out = channelsFirst(out, net.Shape())
			near(t, name+": output", out, want.Output, 4e-6, 0)
			net.Backward(channelsLast(testutil.FormulaInput(len(out)), net.Shape()))
			largest := 0.0 // a sum of large terms may come to nothing
			for _, w := range want.Gradients {
				for _, v := range w {
					largest = max(largest, math.Abs(v))
				}
			}
			var trained []string
			for _, p := range net.Params() {
				trained = append(trained, p.Name)
			}
			if len(trained) != len(want.Gradients) {
				t.Errorf("%s: %q train, want %d parameters", name, trained, len(want.Gradients))
			}
			for _, p := range params {
				switch w, ok := want.Gradients[p.Name]; {
				case ok:
					near(t, name+": gradient of "+p.Name, net.Grad(p), w, 1e-5, largest/5)
				case want.Buffers[p.Name] != nil:
					near(t, name+": "+p.Name, p.Data, want.Buffers[p.Name], 1e-6, 0)
				case net.Grad(p) != nil:
					t.Errorf("%s: %s is frozen and has a gradient", name, p.Name)
				}
			}
		}
	}
}

// TestFiniteDifferences compares the gradients with how much the loss changes with a parameter.
func TestFiniteDifferences(t *testing.T) {
	const step = 1.0 / 4096
	for name, n := range networks {
		net, _ := n.net(t, kernels.All()[0])
		out := forward(net)
		weights := testutil.FormulaInput(len(out)) // in the order of the output
		loss := func() (sum float64) {
			n.fill(net)
			for i, v := range forward(net) {
				sum += float64(v) * float64(weights[i])
			}
			return sum
		}
		net.Backward(weights)
		for _, p := range net.Params() {
			var got []float32
			var want []float64
			for i := 0; i < p.Numel(); i += max(1, p.Numel()/20) {
				value := p.Data[i]
				p.Data[i] = value + step
				up := loss()
				p.Data[i] = value - step
				down := loss()
				p.Data[i] = value
				got, want = append(got, net.Grad(p)[i]), append(want, (up-down)/(2*step))
			}
			near(t, name+": gradient of "+p.Name, got, want, 0.01, 0.5)
		}
	}
}

// TestEvaluation passes on what dropout would take in training.
func TestEvaluation(t *testing.T) {
	n := networks["dropout of the input"]
	net, params := n.net(t, kernels.All()[0])
	training := slices.Clone(forward(net))
	n.fill(net)
	got := net.Forward(false, nil)
	x := testutil.FormulaInput(n.shape...)
	want := make([]float64, len(got))
	for i := range want {
		want[i] = float64(params[1].Data[i%3])
		for j := range 30 {
			want[i] += float64(x[i/3*30+j]) * float64(params[0].Data[i%3*30+j])
		}
	}
	near(t, "output", got, want, 1e-6, 0)
	if slices.Equal(training, got) {
		t.Error("dropout takes nothing in training")
	}
}

// TestUsedTwice has a value that another operation reads beside the one that leads to the output.
func TestUsedTwice(t *testing.T) {
	n := networks["ReLU"]
	alone, params := n.net(t, kernels.All()[0])
	weights := testutil.FormulaInput(len(forward(alone)))
	alone.Backward(weights)

	m := nn.Sequential(n.layers...)
	twice := nn.New("Twice", func(_ *nn.Module, x nn.Value) nn.Value {
		for name, c := range m.Children() {
			y := c.Call(x)
			if name == "1" {
				n.layers[2].Call(x)
			}
			x = y
		}
		return x
	})
	g, err := nn.Trace(twice, n.shape...)
	if err != nil {
		t.Fatal(err)
	}
	net, err := autograd.New(g, kernels.All()[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	copy(net.Input(0), testutil.FormulaInput(n.shape...))
	forward(net)
	net.Backward(weights)
	for _, p := range params {
		if !slices.Equal(net.Grad(p), alone.Grad(p)) {
			t.Errorf("what else reads a value changes the gradient of %s", p.Name)
		}
	}
}
