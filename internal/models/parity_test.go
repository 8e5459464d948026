package models_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/torchrand"
)

// A reference is what testdata/parity.py writes for an architecture.
type reference struct {
	Size     [2]int
	Gain     float64
	Logits   [][]float64
	Features [][]float64

	LogitsNorm   []float64 `json:"logits_norm"`
	FeaturesNorm []float64 `json:"features_norm"`
}

// TestParity computes every architecture with the weights and images of a formula, with each kernel
// set, and compares logits and pooled features with PyTorch's.
func TestParity(t *testing.T) {
	references := readReferences(t)
	for _, name := range models.Names() {
		if name == "tinyvgg" { // no library has it
			continue
		}
		t.Run(name, func(t *testing.T) {
			ref, ok := references[name]
			if !ok {
				t.Fatal("testdata/parity.json has no reference; run testdata/parity.py")
			}
			var all []engine.Options
			for _, set := range kernels.All() {
				all = append(all, engine.Options{Kernels: set})
			}
			parity(t, name, ref, all, 1e-4)
		})
	}
}

// TestParityBF16 is TestParity in bfloat16, for a network of each family.
func TestParityBF16(t *testing.T) {
	set, err := kernels.BestBF16()
	if err != nil {
		t.Skip(err)
	}
	references := readReferences(t)
	for _, name := range []string{"alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_lite0", "googlenet",
		"inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "mobilenetv4_conv_small", "regnet_x_400mf",
		"resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_16"} {
		t.Run(name, func(t *testing.T) {
			parity(t, name, references[name], []engine.Options{{Kernels: set, Precision: engine.BF16}}, 0.03)
		})
	}
}

func readReferences(t *testing.T) (references map[string]reference) {
	data, err := os.ReadFile("testdata/parity.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &references); err != nil {
		t.Fatal(err)
	}
	return references
}

func parity(t *testing.T, name string, ref reference, all []engine.Options, tolerance float64) {
	network, err := models.New(name, 1000)
	if err != nil {
		t.Fatal(err)
	}
	testutil.FormulaWeights(network.Params(), ref.Gain)
	network.Initialise(torchrand.New(0)) // for buffers that their modules compute
	shape := []int{2, 3, ref.Size[0], ref.Size[1]}
	g, err := nn.Trace(network.Module, shape...)
	if err != nil {
		t.Fatal(err)
	}
	features := network.Features(g)
	input := channelsLast(testutil.FormulaInput(shape...), shape)
	for _, o := range all {
		set := o.Kernels
		if n, most := products(g), affordable[set.Name]; n > most && os.Getenv("GRAFT_TEST") != "full" {
			t.Logf("%.1f billion products are too many for the %s kernels here: set GRAFT_TEST=full", n, set.Name)
			continue
		}
		plan, err := o.Compile(g, g.Output, features)
		if err != nil {
			t.Fatal(err)
		}
		s := plan.NewState(2)
		copy(s.Input(0), input)
		s.Run()
		check(t, set.Name+" logits", s.Output(0), ref.Logits, ref.LogitsNorm, tolerance)
		check(t, set.Name+" features", s.Output(1), ref.Features, ref.FeaturesNorm, tolerance)
	}
}

// affordable is how many products, in 10⁹, the kernels of a set may compute in a usual run. The
// fastest set of a machine has no limit.
var affordable = func() map[string]float64 {
	most := map[string]float64{"avx512": 20, "avx2": 20, "portable": 1}
	most[kernels.All()[0].Name] = math.Inf(1)
	return most
}()

// products counts the products of convolutions and linear layers, in 10⁹.
func products(g *graph.Graph) float64 {
	n := 0
	for _, node := range g.Nodes {
		switch node.Op.(type) {
		case graph.Conv2d, graph.Linear:
			w := node.Params[0]
			n += graph.Numel(node.Shape) * w.Numel() / w.Shape[0]
		}
	}
	return float64(n) / 1e9
}

// check compares the first numbers of each image, and the norm of all of them.
func check(t *testing.T, what string, got []float32, want [][]float64, norms []float64, tolerance float64) {
	t.Helper()
	size := len(got) / len(want)
	for i, first := range want {
		row := got[i*size : (i+1)*size]
		var norm, diff, scale float64
		for j, v := range row {
			norm += float64(v) * float64(v)
			if j < len(first) {
				diff += (float64(v) - first[j]) * (float64(v) - first[j])
				scale += first[j] * first[j]
			}
		}
		if e := math.Sqrt(diff / scale); !(e < tolerance) {
			t.Errorf("%s of image %d are off by %.2g of their size", what, i, e)
		}
		if e := math.Abs(math.Sqrt(norm)/norms[i] - 1); !(e < tolerance) {
			t.Errorf("%s of image %d have a norm that is off by %.2g", what, i, e)
		}
	}
}

// channelsLast brings [N, C, H, W] into the order in which the engine reads images.
func channelsLast(x []float32, shape []int) []float32 {
	n, c, pixels := shape[0], shape[1], shape[2]*shape[3]
	y := make([]float32, len(x))
	for i := range n {
		for ch := range c {
			for p := range pixels {
				y[(i*pixels+p)*c+ch] = x[(i*c+ch)*pixels+p]
			}
		}
	}
	return y
}
