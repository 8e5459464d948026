package autograd_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/train"
)

// traced returns an architecture with the formula's weights, all of which train.
func traced(t *testing.T, name string, batch, size int) (*models.Network, *graph.Graph) {
	t.Helper()
	network, err := models.New(name, 10)
	if err != nil {
		t.Fatal(err)
	}
	testutil.FormulaWeights(network.Params(), 1.2)
	network.Initialise(torchrand.New(0))
	g, err := nn.Trace(network.Module, batch, 3, size, size)
	if err != nil {
		t.Fatal(err)
	}
	return network, g
}

// pass fills the input with the formula's, computes a training step's derivatives and returns its loss.
func pass(net *autograd.Net, batch int, random *torchrand.Generator) float64 {
	in := net.Input(0)
	copy(in, channelsLast(testutil.FormulaInput(batch, 3, len(in)/batch/3, 1), []int{batch, 3, len(in) / batch / 3, 1}))
	labels := make([]int, batch)
	for i := range labels {
		labels[i] = i
	}
	logits := net.Forward(true, random)
	grad := make([]float32, len(logits))
	loss, _ := train.CrossEntropy{}.Labels(logits, labels, grad)
	net.Backward(grad)
	return loss
}

// TestThreads expects the same bits from any number of threads, dropout and stochastic depth included.
func TestThreads(t *testing.T) {
	for _, name := range []string{"efficientnet_b0", "swin_t", "shufflenet_v2_x0_5"} {
		var want [][]float32
		for _, threads := range []int{1, 2, 3, 8} {
			_, g := traced(t, name, 3, 64)
			net, err := autograd.New(g, kernels.All()[0], threads)
			if err != nil {
				t.Fatal(err)
			}
			pass(net, 3, torchrand.New(5))
			var got [][]float32
			for _, p := range net.Params() {
				got = append(got, net.Grad(p))
			}
			for _, p := range net.Buffers() {
				got = append(got, p.Data)
			}
			if want == nil {
				want = got
			}
			if !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("%s: %d threads give other numbers than one", name, threads)
			}
		}
	}
}

// TestMemory has nets of two batch sizes take turns in the same memory: each computes what it does alone.
func TestMemory(t *testing.T) {
	alone := func(batch int) (loss float64, grad []float32) {
		_, g := traced(t, "mobilenet_v3_small", batch, 64)
		net, err := autograd.New(g, kernels.All()[0], 1)
		if err != nil {
			t.Fatal(err)
		}
		loss = pass(net, batch, torchrand.New(1))
		return loss, net.Grad(net.Params()[0])
	}
	var memory autograd.Memory
	network, large := traced(t, "mobilenet_v3_small", 4, 64)
	small, err := nn.Trace(network.Module, 2, 3, 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	var nets []*autograd.Net
	for _, g := range []*graph.Graph{small, large} {
		net, err := memory.New(g, kernels.All()[0], 1)
		if err != nil {
			t.Fatal(err)
		}
		nets = append(nets, net)
	}
	for range 2 {
		for i, batch := range []int{2, 4} {
			wantLoss, want := alone(batch)
			loss := pass(nets[i], batch, torchrand.New(1))
			if loss != wantLoss || !slices.Equal(nets[i].Grad(nets[i].Params()[0]), want) {
				t.Errorf("a batch of %d: loss %v, alone %v", batch, loss, wantLoss)
			}
		}
	}
}

// TestEvaluationOfNorms computes with running statistics, and leaves them as they are.
func TestEvaluationOfNorms(t *testing.T) {
	n := networks["batch norm"]
	net, params := n.net(t, kernels.All()[0])
	before := make([][]float32, len(params))
	for i, p := range params {
		before[i] = slices.Clone(p.Data)
	}
	out := channelsFirst(net.Forward(false, nil), net.Shape())
	for i, p := range params {
		if !slices.Equal(p.Data, before[i]) {
			t.Errorf("%s changes", p.Name)
		}
	}
	x := testutil.FormulaInput(n.shape...)
	weight, scale, shift, mean, variance := before[0], before[1], before[2], before[3], before[4]
	last, bias := before[6], before[7]
	want := make([]float64, len(out))
	for i := range want {
		image, channel, pixel := i/36, i/12%3, i%12
		want[i] = float64(bias[channel])
		for c := range 5 {
			v := float64(weight[2*c])*float64(x[image*24+pixel]) + float64(weight[2*c+1])*float64(x[image*24+12+pixel])
			v = (v-float64(mean[c]))/math.Sqrt(float64(variance[c])+1e-5)*float64(scale[c]) + float64(shift[c])
			want[i] += v * float64(last[channel*5+c])
		}
	}
	near(t, "output", out, want, 2e-6, 0)
	if got := net.Buffers(); len(got) != 2 || got[0] != params[3] || got[1] != params[4] {
		t.Errorf("%d buffers change", len(got))
	}
}

// TestTenSteps takes ten steps of SGD with EfficientNet-B0, all of it, as testdata/tensteps.py does.
func TestTenSteps(t *testing.T) {
	data, err := os.ReadFile("testdata/tensteps.json")
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	if err := json.Unmarshal(data, &losses); err != nil {
		t.Fatal(err)
	}
	_, g := traced(t, "efficientnet_b0", 4, 64)
	net, err := autograd.New(untouched(g), kernels.All()[0], 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range losses {
		loss := pass(net, 4, nil)
		if e := math.Abs(loss - want); !(e < 2e-3*losses[0]) {
			t.Errorf("the loss of step %d is %v, want %v", i+1, loss, want)
		}
		for _, p := range net.Params() {
			for j, v := range net.Grad(p) {
				p.Data[j] -= 0.01 * v
			}
		}
	}
}
