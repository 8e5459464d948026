package autograd_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/train"
)

// A trainingStep is what testdata/steps.py writes for a network.
type trainingStep struct {
	Batch, Size int
	Gain, Error float64
	Loss        float64
	Gradients   [][2]float64
	Weights     float64
	Statistics  []float64
}

// long lists the networks whose steps take seconds.
var long = []string{"maxvit_t", "vgg11_bn", "vit_b_16", "vit_small_patch14_dinov2"}

// checksum is the product with the formula's input of as many numbers.
func checksum(x []float32) (sum float64) {
	for i, f := range testutil.FormulaInput(len(x)) {
		sum += float64(f) * float64(x[i])
	}
	return sum
}

// TestSteps trains a network of each family for a step, all of it, and compares loss, gradients, weights
// and running statistics with PyTorch's.
func TestSteps(t *testing.T) {
	data, err := os.ReadFile("testdata/steps.json")
	if err != nil {
		t.Fatal(err)
	}
	var steps map[string]trainingStep
	if err := json.Unmarshal(data, &steps); err != nil {
		t.Fatal(err)
	}
	set := kernels.All()[0]
	for name, want := range steps {
		t.Run(name, func(t *testing.T) {
			if slices.Contains(long, name) && os.Getenv("GRAFT_TEST") != "full" {
				t.Skip("takes long: set GRAFT_TEST=full")
			}
			compareStep(t, name, want, set)
		})
	}
}

// untouched is g without what is random in it.
func untouched(g *graph.Graph) *graph.Graph {
	for _, n := range g.Nodes {
		switch n.Op.(type) {
		case graph.Dropout:
			n.Op = graph.Dropout{}
		case graph.StochasticDepth:
			n.Op = graph.StochasticDepth{}
		}
	}
	return g
}

// fillCut fills the net's inputs with what the graph has at its cut.
func fillCut(t *testing.T, net *autograd.Net, g *graph.Graph, set *kernels.Set, input []float32) {
	_, frontier := g.Split()
	plan, err := engine.Compile(g, set, frontier...)
	if err != nil {
		t.Fatal(err)
	}
	s := plan.NewState(1)
	copy(s.Input(0), input)
	s.Run()
	for i := range frontier {
		copy(net.Input(i), s.Output(i))
	}
}

func compareStep(t *testing.T, name string, want trainingStep, set *kernels.Set) {
	network, err := models.New(name, 1000)
	if err != nil {
		t.Fatal(err)
	}
	testutil.FormulaWeights(network.Params(), want.Gain)
	network.Initialise(torchrand.New(0)) // for buffers that their modules compute
	shape := []int{want.Batch, 3, want.Size, want.Size}
	g, err := nn.Trace(network.Module, shape...)
	if err != nil {
		t.Fatal(err)
	}
	net, err := autograd.New(untouched(g), set, 2)
	if err != nil {
		t.Fatal(err)
	}
	fillCut(t, net, g, set, channelsLast(testutil.FormulaInput(shape...), shape))
	labels := make([]int, want.Batch)
	for i := range labels {
		labels[i] = i
	}
	logits := net.Forward(true, nil)
	grad := make([]float32, len(logits))
	loss, _ := train.CrossEntropy{}.Labels(logits, labels, grad)
	if e := math.Abs(loss/want.Loss - 1); !(e < 1e-5+want.Error/10) {
		t.Errorf("the loss is %v, want %v", loss, want.Loss)
	}
	net.Backward(grad)

	tolerance := 4*want.Error + 2e-5
	var worst, weights float64
	used := map[*graph.Param]bool{}
	for _, p := range net.Params() {
		used[p] = true
	}
	i, largest := 0, 0.0
	for _, w := range want.Gradients {
		largest = max(largest, w[0])
	}
	for _, p := range network.Params() { // PyTorch's order
		if !used[p] {
			continue
		}
		if i == len(want.Gradients) {
			t.Fatalf("%d parameters train here, in PyTorch %d", len(used), len(want.Gradients))
		}
		norm := 0.0
		for j, v := range net.Grad(p) {
			norm += float64(v) * float64(v)
			p.Data[j] -= 0.01 * v
		}
		norm = math.Sqrt(norm)
		e := max(math.Abs(norm-want.Gradients[i][0]), math.Abs(checksum(net.Grad(p))-want.Gradients[i][1]))
		e = max(e-1e-6*largest, 0) / want.Gradients[i][0] // a sum of large terms may come to nothing
		worst = max(worst, e)
		if !(e < tolerance) {
			t.Errorf("the gradient of %s is off by %.2g of its norm %.2g", p.Name, e, norm)
		}
		weights += checksum(p.Data)
		i++
	}
	if i != len(want.Gradients) {
		t.Errorf("%d parameters train here, in PyTorch %d", i, len(want.Gradients))
	}
	if e := math.Abs(weights/want.Weights - 1); !(e < 1e-4) {
		t.Errorf("the weights' checksum is %v, want %v", weights, want.Weights)
	}
	i = 0
	changed := map[*graph.Param]bool{}
	for _, b := range net.Buffers() {
		changed[b] = true
	}
	for _, p := range network.Params() {
		if changed[p] {
			if e := math.Abs(checksum(p.Data)-want.Statistics[i]) / math.Sqrt(float64(p.Numel())); !(e < 1e-4) {
				t.Errorf("%s is off by %.2g", p.Name, e)
			}
			i++
		}
	}
	if i != len(want.Statistics) {
		t.Errorf("%d running statistics change here, in PyTorch %d", i, len(want.Statistics))
	}
	t.Logf("gradients are off by %.2g at most, PyTorch's in float32 by %.2g; %d MB", worst, want.Error, net.Bytes()>>20)
}
