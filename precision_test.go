package graft

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/graft-ml/graft/internal/hub"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/testutil"
)

// inBF16 skips a test where the processor has no instructions for bfloat16.
func inBF16(t *testing.T) {
	if _, err := kernels.BestBF16(); err != nil {
		t.Skip(err)
	}
}

// TestPrecision compares ImageNet photos in bfloat16 with float32, with published weights: how far the
// logits move, and that the best class stays the same but where float32 hardly tells two apart.
func TestPrecision(t *testing.T) {
	inBF16(t)
	root, err := hub.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for name, weights := range map[string]string{
		"mobilenet_v2": "", "squeezenet1_0": "", // where these are, tests know
		"efficientnet_lite0": "tf_efficientnet_lite0.in1k",
	} {
		t.Run(name, func(t *testing.T) {
			options := &LoadOptions{}
			if weights == "" {
				options.File = testutil.Shared(t, "weights", name+".safetensors")
			} else if _, err := os.Stat(filepath.Join(root, "weights", weights)); err != nil {
				t.Skipf("the weights aren't in the cache: graft pull %s", name)
			}
			m, err := Load(t.Context(), name, options)
			if err != nil {
				t.Fatal(err)
			}
			comparePrecisions(t, m, testutil.Shared(t, "data", "imagenet_samples"))
		})
	}
}

func comparePrecisions(t *testing.T, m *Model, folder string) {
	all := map[Precision][]Prediction{}
	for _, m.Precision = range []Precision{FP32, BF16} {
		predictions, err := m.PredictFiles(t.Context(), Files(folder))
		if err != nil {
			t.Fatal(err)
		}
		for p := range predictions {
			if p.Err != nil {
				t.Fatal(p.Err)
			}
			all[m.Precision] = append(all[m.Precision], p)
		}
	}
	worst, sum, squares, n, changed := 0.0, 0.0, 0.0, 0, 0
	for i, p := range all[FP32] {
		q := all[BF16][i]
		for c, v := range p.Logits {
			d := math.Abs(float64(v - q.Logits[c]))
			worst, sum, squares, n = max(worst, d), sum+d, squares+float64(v)*float64(v), n+1
		}
		if p.Best().Index != q.Best().Index {
			changed++
			t.Logf("%s was %v before %v, is %v", filepath.Base(p.File), p.Best(), p.Classes[1], q.Best())
			if p.Best().Probability > 1.1*p.Classes[1].Probability {
				t.Errorf("%s is %s in bfloat16 and %s in float32", p.File, q.Best().Name, p.Best().Name)
			}
		}
	}
	size, mean := math.Sqrt(squares/float64(n)), sum/float64(n)
	t.Logf("logits of size %.3g move by %.3g at most and %.3g on average; the best class of %d of %d photos changes",
		size, worst, mean, changed, len(all[FP32]))
	if !(mean < 0.02*size && worst < 0.2*size) {
		t.Error("that is too much")
	}
}
