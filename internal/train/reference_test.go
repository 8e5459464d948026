package train_test

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/train"
)

// reference is what testdata/reference.py writes.
type reference struct {
	Optimizers map[string][]map[string][]float64
	Schedules  map[string][][2]float64
	Logits     []float32
	Labels     []int
	Soft       []float32
	Weight     []float64
	Losses     map[string]struct {
		Loss float64
		Grad []float64
	}
	Averaged map[string][]float64
	Clipped  map[string]map[string][]float64
}

func readReference(t *testing.T) (r reference) {
	t.Helper()
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// near compares numbers with PyTorch's.
func near(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d numbers, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= tol*(1+math.Abs(w))) {
			t.Errorf("%s[%d] is %v, want %v", what, i, got[i], w)
		}
	}
}

// values, parameters and gradients are the script's.
func values(seed, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(1.3*float64(seed) + 0.7*float64(i*(seed+1))))
	}
	return v
}

func parameters() []*graph.Param {
	return []*graph.Param{
		{Name: "weight", Shape: []int{4, 3}, Data: values(0, 12), RequiresGrad: true},
		{Name: "bias", Shape: []int{4}, Data: values(1, 4), RequiresGrad: true},
	}
}

func gradients(params []*graph.Param, step int) func(*graph.Param) []float32 {
	grads := map[*graph.Param][]float32{}
	for i, p := range params {
		grads[p] = values(10+2*step+i, p.Numel())
		for j := range grads[p] {
			grads[p][j] *= 0.3
		}
	}
	return func(p *graph.Param) []float32 { return grads[p] }
}

func TestOptimizers(t *testing.T) {
	oneCycle := train.Schedule{Name: "onecycle"}
	for name, c := range map[string]struct {
		train.OptimizerConfig
		train.Schedule
	}{
		"adam":                    {},
		"adam, weight decay":      {OptimizerConfig: train.OptimizerConfig{LR: 0.01, WeightDecay: 0.1, Betas: [2]float64{0.8, 0.99}, Eps: 1e-6}},
		"adamw":                   {OptimizerConfig: train.OptimizerConfig{Name: "adamw", LR: 0.01}},
		"adamw, vectors spared":   {OptimizerConfig: train.OptimizerConfig{Name: "adamw", LR: 0.01, WeightDecay: 0.3, SpareVectors: true}},
		"sgd":                     {OptimizerConfig: train.OptimizerConfig{Name: "sgd"}},
		"sgd, momentum":           {OptimizerConfig: train.OptimizerConfig{Name: "sgd", LR: 0.05, Momentum: 0.9}},
		"sgd, weight decay":       {OptimizerConfig: train.OptimizerConfig{Name: "sgd", LR: 0.05, WeightDecay: 0.2}},
		"sgd, Nesterov":           {OptimizerConfig: train.OptimizerConfig{Name: "sgd", LR: 0.05, Momentum: 0.8, WeightDecay: 0.1, Nesterov: true}},
		"sgd, rates of their own": {OptimizerConfig: train.OptimizerConfig{Name: "sgd", LR: 0.05, Momentum: 0.9, LRScale: tenthForBias}},
		"adam, onecycle":          {OptimizerConfig: train.OptimizerConfig{LR: 0.01}, Schedule: oneCycle},
	} {
		want := readReference(t).Optimizers[name]
		if len(want) != 3 {
			t.Fatalf("%s: the reference has %d", name, len(want))
		}
		optimizer, err := train.NewOptimizer(c.OptimizerConfig)
		if err != nil {
			t.Fatal(err)
		}
		momentum := optimizer.Momentum
		if optimizer.Name != "sgd" {
			momentum = optimizer.Betas[0]
		}
		rates, err := c.Rates(optimizer.LR, momentum, 21, 1)
		if err != nil {
			t.Fatal(err)
		}
		params := parameters()
		for step := range 20 {
			lr, momentum := rates(step)
			optimizer.Step(params, gradients(params, step), lr, momentum)
			if i := map[int]int{0: 1, 9: 2, 19: 3}[step]; i > 0 {
				for _, p := range params {
					near(t, name+": "+p.Name, p.Data, want[i-1][p.Name], 1e-6)
				}
			}
		}
	}
}

func tenthForBias(p *graph.Param) float64 {
	if p.Name == "bias" {
		return 0.1
	}
	return 1
}

func TestSchedules(t *testing.T) {
	for name, s := range map[string]train.Schedule{
		"constant":             {},
		"constant, warm-up":    {Warmup: 1},
		"step":                 {Name: "step", StepSize: 2},
		"step, warm-up":        {Name: "step", StepSize: 1, Gamma: 0.5, Warmup: 1.6, WarmupFactor: 0.01},
		"cosine":               {Name: "cosine"},
		"cosine, warm-up":      {Name: "cosine", MinLR: 0.001, Warmup: 1, WarmupFactor: 0.1},
		"onecycle":             {Name: "onecycle"},
		"onecycle, early peak": {Name: "onecycle", PctStart: 0.15},
	} {
		rates, err := s.Rates(0.1, 0.9, 5, 6)
		if err != nil {
			t.Fatal(err)
		}
		want := readReference(t).Schedules[name]
		if len(want) != 30 {
			t.Fatalf("%s: the reference has %d steps", name, len(want))
		}
		for step, w := range want {
			if lr, momentum := rates(step); math.Abs(lr-w[0]) > 1e-10 || math.Abs(momentum-w[1]) > 1e-10 {
				t.Errorf("%s: step %d has rate %v and momentum %v, want %v", name, step, lr, momentum, w)
			}
		}
	}
}

// TestShortSchedules asks for rates where there are hardly any steps.
func TestShortSchedules(t *testing.T) {
	for _, name := range []string{"constant", "step", "cosine", "onecycle"} {
		for steps := range 5 {
			for _, warmup := range []float64{0, 0.5, 1, 1e9} {
				for _, pct := range []float64{0.3, 0.5, 0.25} {
					s := train.Schedule{Name: name, StepSize: 0.01, Warmup: warmup, PctStart: pct}
					rates, err := s.Rates(0.1, 0.9, steps+1, 1)
					if err != nil {
						t.Fatal(err)
					}
					for step := range steps + 2 {
						if lr, momentum := rates(step); !(lr >= 0 && lr <= 0.1 && momentum >= 0.85 && momentum <= 0.95+1e-9) {
							t.Errorf("%+v: step %d of %d has rate %v and momentum %v", s, step, steps+1, lr, momentum)
						}
					}
				}
			}
		}
	}
}

func TestLosses(t *testing.T) {
	r := readReference(t)
	for name, want := range r.Losses {
		var c train.CrossEntropy
		if strings.Contains(name, "weighted") {
			c.Weight = r.Weight
		}
		if strings.Contains(name, "smoothed") {
			c.LabelSmoothing = 0.1
			if c.Weight != nil {
				c.LabelSmoothing = 0.2
			}
		}
		grad := make([]float32, len(r.Logits))
		loss, _ := c.Labels(r.Logits, r.Labels, grad)
		if strings.HasPrefix(name, "soft") {
			loss, _ = c.Soft(r.Logits, r.Soft, grad, 5)
		}
		near(t, name+" loss", []float32{float32(loss)}, []float64{want.Loss}, 1e-6)
		near(t, name+" gradient", grad, want.Grad, 1e-7)
	}
	if len(r.Losses) != 7 {
		t.Errorf("the reference has %d losses", len(r.Losses))
	}
}

// TestCrossEntropy compares with torch.nn.functional.cross_entropy where logits are far apart.
func TestCrossEntropy(t *testing.T) {
	grad := make([]float32, 6)
	logits := []float32{1, 2, 3, 1000, 0, -1000}
	loss, correct := train.CrossEntropy{}.Labels(logits, []int{2, 1}, grad)
	// >>> F.cross_entropy(torch.tensor([[1., 2, 3], [1000, 0, -1000]]), torch.tensor([2, 1]))
	if math.Abs(loss-500.2038) > 1e-3 || correct != 1 {
		t.Errorf("loss %v with %d correct", loss, correct)
	}
	near(t, "gradient", grad, []float64{0.0450, 0.1224, -0.1674, 0.5, -0.5, 0}, 1e-4)
	soft, correct := train.CrossEntropy{}.Soft(logits, []float32{0, 0, 1, 0, 1, 0}, grad, 2)
	if soft != loss || correct != 1 {
		t.Errorf("as soft targets: loss %v with %d correct", soft, correct)
	}
}

// TestBalanced compares with sklearn.utils.class_weight.compute_class_weight("balanced", ...).
func TestBalanced(t *testing.T) {
	got := train.Balanced([]int{0, 0, 0, 1, 2, 2, 0, 0}, 4)
	for i, w := range []float64{8. / 20, 8. / 4, 8. / 8, 1} {
		if got[i] != w {
			t.Errorf("the weight of class %d is %v, want %v", i, got[i], w)
		}
	}
}

func TestClip(t *testing.T) {
	for limit, text := range map[float64]string{0.25: "0.25", 100: "100"} {
		params := parameters()
		grad := gradients(params, 0)
		if err := train.Clip(params, grad, limit); err != nil {
			t.Fatal(err)
		}
		for _, p := range params {
			near(t, "the gradient of "+p.Name+" up to "+text, grad(p), readReference(t).Clipped[text][p.Name], 1e-7)
		}
	}
}

func TestAverage(t *testing.T) {
	params := parameters()
	mean := &graph.Param{Name: "running_mean", Shape: []int{4}, Data: values(7, 4), Buffer: true}
	average, update := train.Average(0.8)
	optimizer, err := train.NewOptimizer(train.OptimizerConfig{Name: "sgd"})
	if err != nil {
		t.Fatal(err)
	}
	all := append(params, mean)
	for step := range 6 {
		optimizer.Step(params, gradients(params, step), 0.5, 0)
		for i := range mean.Data {
			mean.Data[i] = mean.Data[i]*0.9 + 0.1*float32(step+1)
		}
		update(all)
	}
	for _, p := range all {
		near(t, "the average of "+p.Name, average()[p], readReference(t).Averaged[p.Name], 1e-6)
	}
}

// TestSettings refuses what makes no sense.
func TestSettings(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []train.OptimizerConfig{{Name: "lion"}, {LR: -1}, {LR: nan}, {LR: inf}, {WeightDecay: -1}, {WeightDecay: nan}, {Betas: [2]float64{1, 0}},
		{Betas: [2]float64{0, nan}}, {Eps: -1}, {Name: "sgd", Momentum: -1}, {Name: "sgd", Nesterov: true}} {
		if _, err := train.NewOptimizer(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	for _, s := range []train.Schedule{{Name: "linear"}, {Name: "step"}, {Name: "step", StepSize: nan}, {Gamma: -1}, {MinLR: -1}, {PctStart: 1}, {PctStart: nan},
		{Warmup: -1}, {Warmup: inf}, {WarmupFactor: 2}, {WarmupFactor: nan}} {
		if _, err := s.Rates(0.1, 0, 1, 1); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}
