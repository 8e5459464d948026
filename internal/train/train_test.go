package train_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
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

type digest struct {
	First []float64
	Norm  float64
}

// compare checks the first numbers and the norm of data against PyTorch's.
func compare(t *testing.T, what string, data []float32, want digest, tol float64) {
	t.Helper()
	norm := 0.0
	for _, v := range data {
		norm += float64(v) * float64(v)
	}
	norm = math.Sqrt(norm)
	if math.Abs(norm-want.Norm) > tol*want.Norm {
		t.Errorf("%s has norm %v, want %v", what, norm, want.Norm)
	}
	for i, w := range want.First {
		if math.Abs(float64(data[i])-w) > tol*want.Norm {
			t.Errorf("%s[%d] is %v, want %v", what, i, data[i], w)
		}
	}
}

// TestTinyVGG takes ten steps of Adam from the same start as PyTorch.
func TestTinyVGG(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "autograd", "testdata", "tinyvgg.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Losses             []float64
		Gradients, Weights map[string]digest
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	for _, set := range kernels.All() {
		network, err := models.New("tinyvgg", 3)
		if err != nil {
			t.Fatal(err)
		}
		testutil.FormulaWeights(network.Params(), 1.4)
		shape := []int{4, 3, 64, 64}
		g, err := nn.Trace(network.Module, shape...)
		if err != nil {
			t.Fatal(err)
		}
		net, err := autograd.New(g, set, 2)
		if err != nil {
			t.Fatal(err)
		}
		x := testutil.FormulaInput(shape...)
		for i := range 4 { // channels last
			for c := range 3 {
				for p := range 64 * 64 {
					net.Input(0)[(i*64*64+p)*3+c] = x[(i*3+c)*64*64+p]
				}
			}
		}
		labels := []int{0, 1, 2, 1}
		adam := train.NewAdam(1e-3)
		for step, w := range want.Losses {
			logits := net.Forward(true, nil)
			grad := make([]float32, len(logits))
			loss, _ := train.CrossEntropy(logits, labels, grad)
			if math.Abs(loss-w) > 1e-3*w {
				t.Errorf("%s: the loss of step %d is %v, want %v", set.Name, step+1, loss, w)
			}
			net.Backward(grad)
			if step == 0 {
				for _, p := range net.Params() {
					compare(t, set.Name+" gradient of "+p.Name, net.Grad(p), want.Gradients[p.Name], 1e-5)
				}
			}
			adam.Step(net.Params(), net.Grad)
		}
		for _, p := range network.Params() {
			compare(t, set.Name+" "+p.Name, p.Data, want.Weights[p.Name], 1e-3)
		}
	}
}

// head returns a tracer of Dropout and Linear, and samples that it can tell apart.
func head(t *testing.T, dropout float64) (train.Tracer, *nn.Module, train.Samples) {
	m := nn.Sequential(nn.Dropout(dropout, false), nn.Linear(8, 3, true))
	m.Initialise(torchrand.New(1))
	rows := testutil.FormulaInput(70, 8)
	s := train.Samples{Rows: func(i int) [][]float32 { return [][]float32{rows[i*8 : (i+1)*8]} }}
	for i := range 70 {
		label := slices.Index(rows[i*8:i*8+3], slices.Max(rows[i*8:i*8+3]))
		s.Labels = append(s.Labels, label)
	}
	return func(batch int) (*graph.Graph, error) { return nn.Trace(m, batch, 8) }, m, s
}

func TestFitLearnsAndRepeats(t *testing.T) {
	cfg := train.Config{Epochs: 40, BatchSize: 32, LR: 0.02}
	var weights [2][]float32
	for i := range weights {
		trace, m, s := head(t, 0.2)
		cfg.Random = torchrand.New(7)
		var last train.Epoch
		if err := train.Fit(context.Background(), trace, kernels.All()[0], s, s, cfg, func(e train.Epoch) { last = e }); err != nil {
			t.Fatal(err)
		}
		if last.Epoch != 40 || last.TestAcc < 0.9 || last.TrainAcc < 0.7 || last.TestLoss > last.TrainLoss {
			t.Errorf("after 40 epochs: %+v", last)
		}
		weights[i] = m.Params()[0].Data
	}
	if !slices.Equal(weights[0], weights[1]) {
		t.Error("the same seed gave other weights")
	}
}

func TestFitStops(t *testing.T) {
	trace, m, s := head(t, 0)
	ctx, cancel := context.WithCancel(context.Background())
	var kept []float32
	err := train.Fit(ctx, trace, kernels.All()[0], s, s, train.Config{Epochs: 9, BatchSize: 16, LR: 0.01, Random: torchrand.New(1)}, func(e train.Epoch) {
		if e.Epoch == 2 {
			kept = slices.Clone(m.Params()[0].Data)
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(kept, m.Params()[0].Data) {
		t.Errorf("after cancelling in epoch 2: %v, weights kept: %v", err, slices.Equal(kept, m.Params()[0].Data))
	}

	trace, m, s = head(t, 0)
	before := slices.Clone(m.Params()[0].Data)
	err = train.Fit(t.Context(), trace, kernels.All()[0], s, s, train.Config{Epochs: 9, BatchSize: 16, LR: 1e38, Random: torchrand.New(1)}, func(train.Epoch) {})
	if !errors.Is(err, train.ErrDiverged) || !slices.Equal(before, m.Params()[0].Data) {
		t.Errorf("with an absurd learning rate: %v", err)
	}
}

// TestCrossEntropy compares with torch.nn.functional.cross_entropy.
func TestCrossEntropy(t *testing.T) {
	grad := make([]float32, 6)
	loss, correct := train.CrossEntropy([]float32{1, 2, 3, 1000, 0, -1000}, []int{2, 1}, grad)
	// >>> F.cross_entropy(torch.tensor([[1., 2, 3], [1000, 0, -1000]]), torch.tensor([2, 1]))
	if math.Abs(loss-500.2038) > 1e-3 || correct != 1 {
		t.Errorf("loss %v with %d correct", loss, correct)
	}
	for i, w := range []float64{0.0450, 0.1224, -0.1674, 0.5, -0.5, 0} {
		if math.Abs(float64(grad[i])-w) > 1e-4 {
			t.Errorf("grad[%d] is %v, want %v", i, grad[i], w)
		}
	}
}
