package graft

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/testutil"
)

// TestRealCheckpoints loads torchvision's weights, and compares what the networks make of ImageNet photos
// with what PyTorch does (testdata/imagenet.py).
func TestRealCheckpoints(t *testing.T) {
	data, err := os.ReadFile("testdata/imagenet.json")
	if err != nil {
		t.Fatal(err)
	}
	var references map[string]struct {
		Photos map[string]struct {
			Classes []int
			Logits  []float64
		}
		Formula []float64
	}
	if err := json.Unmarshal(data, &references); err != nil {
		t.Fatal(err)
	}
	if len(references) != 2 {
		t.Fatalf("testdata/imagenet.json has %d networks, want 2", len(references))
	}
	folder := testutil.Shared(t, "data", "imagenet_samples")
	for name, want := range references {
		architecture, _, _ := strings.Cut(name, ".")
		m, err := Load(t.Context(), name, &LoadOptions{File: testutil.Shared(t, "weights", architecture+".safetensors")})
		if err != nil {
			t.Fatal(err)
		}

		// The same input: only the order of additions differs.
		plan, err := m.compiled()
		if err != nil {
			t.Fatal(err)
		}
		s := plan.NewState(1)
		size := m.network.Size
		planar := testutil.FormulaInput(1, 3, size, size)
		for i := range size * size {
			for c := range 3 {
				s.Input(0)[3*i+c] = planar[c*size*size+i]
			}
		}
		s.Run()
		if e := relative(s.Output(0), want.Formula); !(e < 1e-5) {
			t.Errorf("%s: the logits of the formula are off by %.2g of their size", name, e)
		}

		// The same photos: a JPEG decoder rounds grey levels up or down by one, which a network amplifies.
		photos, worst := 0, 0.0
		predictions, err := m.PredictFiles(t.Context(), Files(folder))
		if err != nil {
			t.Fatal(err)
		}
		for p := range predictions {
			ref, ok := want.Photos[filepath.Base(p.File)]
			if !ok || p.Err != nil {
				t.Fatalf("%s: %v", p.File, p.Err)
			}
			photos++
			if p.Best().Index != ref.Classes[0] {
				t.Errorf("%s: %s is class %d, in PyTorch %d", name, p.File, p.Best().Index, ref.Classes[0])
			}
			logits := make([]float32, len(ref.Classes))
			for i, c := range ref.Classes {
				logits[i] = p.Logits[c]
			}
			worst = max(worst, relative(logits, ref.Logits))
			top := make([]int, 0, 5)
			for _, c := range p.Classes[:5] {
				top = append(top, c.Index)
			}
			if n := common(top, ref.Classes); n < 4 {
				t.Errorf("%s: %s has %d of PyTorch's five best classes", name, p.File, n)
			}
		}
		if photos != 40 || len(want.Photos) != 40 {
			t.Errorf("%s: %d photos, %d in PyTorch; want 40", name, photos, len(want.Photos))
		}
		const tolerance = 0.01
		if !(worst < tolerance) {
			t.Errorf("%s: the best logits of a photo are off by %.2g of their size", name, worst)
		}
		t.Logf("%s: the best logits of a photo are off by at most %.2g of their size", name, worst)
	}
}

// relative returns the norm of got − want as a share of want's.
func relative(got []float32, want []float64) float64 {
	var diff, norm float64
	for i, v := range want {
		diff += (float64(got[i]) - v) * (float64(got[i]) - v)
		norm += v * v
	}
	return math.Sqrt(diff / norm)
}

func common(a, b []int) int {
	n := 0
	for _, v := range a {
		if slices.Contains(b, v) {
			n++
		}
	}
	return n
}
