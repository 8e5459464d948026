package autograd_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/train"
)

// TestEveryNetwork moves all weights of a network a little along the loss's derivative by them: the loss
// must change as much as the derivative says.
func TestEveryNetwork(t *testing.T) {
	data, err := os.ReadFile("../models/testdata/parity.json")
	if err != nil {
		t.Fatal(err)
	}
	var references map[string]struct {
		Size [2]int
		Gain float64
	}
	if err := json.Unmarshal(data, &references); err != nil {
		t.Fatal(err)
	}
	most := 6_000_000 // parameters
	if os.Getenv("GRAFT_TEST") == "full" {
		most = 100_000_000
	}
	for _, name := range models.Names() {
		network, err := models.New(name, 10)
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, p := range network.Params() {
			count += p.Numel()
		}
		ref, ok := references[name]
		if !ok || count > most {
			continue
		}
		t.Run(name, func(t *testing.T) {
			testutil.FormulaWeights(network.Params(), ref.Gain)
			network.Initialise(torchrand.New(0))
			shape := []int{3, 3, ref.Size[0], ref.Size[1]}
			g, err := nn.Trace(network.Module, shape...)
			if err != nil {
				t.Fatal(err)
			}
			set := kernels.All()[0]
			net, err := autograd.New(untouched(g), set, 2)
			if err != nil {
				t.Fatal(err)
			}
			input := channelsLast(testutil.FormulaInput(shape...), shape)
			var grad []float32
			loss := func() float64 {
				fillCut(t, net, g, set, input)
				logits := net.Forward(true, nil)
				grad = make([]float32, len(logits))
				loss, _ := train.CrossEntropy{}.Labels(logits, []int{1, 2, 3}, grad)
				return loss
			}
			loss()
			net.Backward(grad)
			square := 0.0
			start := make([][]float32, len(net.Params()))
			for i, p := range net.Params() {
				start[i] = slices.Clone(p.Data)
				for _, v := range net.Grad(p) {
					square += float64(v) * float64(v)
				}
			}
			move := func(by float64) float64 {
				for i, p := range net.Params() {
					for j, v := range net.Grad(p) {
						p.Data[j] = start[i][j] + float32(by/square)*v
					}
				}
				return loss()
			}
			// The loss bends in large steps, and is rounded in small ones.
			var ratios []float64
			for _, change := range []float64{1e-2, 1e-3, 2e-4} {
				ratios = append(ratios, (move(change)-move(-change))/(2*change))
			}
			if !slices.ContainsFunc(ratios, func(r float64) bool { return math.Abs(r-1) < 0.05 }) {
				t.Errorf("the loss changes by %.3f times as much as the derivatives say", ratios)
			}
		})
	}
}

// TestPart trains the last layers alone: their derivatives are those of training everything.
func TestPart(t *testing.T) {
	for name, last := range map[string][]string{
		"convnext_tiny":        {"features.7", "classifier"},
		"swin_v2_t":            {"features.5.3", "features.7", "head", "norm"},
		"vit_tiny_patch16_224": {"blocks.10.attn", "norm", "head"},
	} {
		size := 64
		if name == "vit_tiny_patch16_224" {
			size = 224
		}
		var want map[string][]float32
		for _, part := range []bool{false, true} {
			network, g := traced(t, name, 2, size)
			if part {
				if err := network.Freeze("*"); err != nil {
					t.Fatal(err)
				}
				if err := network.Unfreeze(last...); err != nil {
					t.Fatal(err)
				}
				var err error
				if g, err = nn.Trace(network.Module, 2, 3, size, size); err != nil {
					t.Fatal(err)
				}
			}
			set := kernels.All()[0]
			net, err := autograd.New(untouched(g), set, 2)
			if err != nil {
				t.Fatal(err)
			}
			shape := []int{2, 3, size, size}
			fillCut(t, net, g, set, channelsLast(testutil.FormulaInput(shape...), shape))
			logits := net.Forward(true, nil)
			grad := make([]float32, len(logits))
			train.CrossEntropy{}.Labels(logits, []int{3, 7}, grad)
			net.Backward(grad)
			got := map[string][]float32{}
			for _, p := range net.Params() {
				got[p.Name] = net.Grad(p)
			}
			if !part {
				want = got
				continue
			}
			if len(got) == 0 || len(got) >= len(want) {
				t.Errorf("%s: %d of %d parameters train", name, len(got), len(want))
			}
			for p, g := range got {
				near(t, name+": gradient of "+p, g, float64s(want[p]), 1e-4, 1e-4)
			}
		}
	}
}
