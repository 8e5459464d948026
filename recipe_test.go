package graft_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/checkpoint"
)

// arguments are what a model's file says that it was trained with.
func arguments(t *testing.T, m *graft.Model) graft.Arguments {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	file := must(checkpoint.Open(path))
	defer file.Close()
	var metadata struct {
		Arguments graft.Arguments `json:"arguments"`
	}
	if err := json.Unmarshal([]byte(file.Metadata["graft"]), &metadata); err != nil {
		t.Fatal(err)
	}
	return metadata.Arguments
}

// TestRecipes trains other weights with each recipe than with any other, and records it.
func TestRecipes(t *testing.T) {
	d := dataset(t)
	d.Train = slices.Concat(d.Train[:3], d.Train[6:8], d.Train[12:13])
	d.Test = few(t).Test
	byWeights := map[string]string{}
	for name, recipe := range map[string]graft.TrainOptions{
		"adam":            {},
		"adamw":           {Optimizer: "adamw"},
		"sgd":             {Optimizer: "sgd"},
		"momentum":        {Optimizer: "sgd", Momentum: 0.9},
		"Nesterov":        {Optimizer: "sgd", Momentum: 0.9, Nesterov: true},
		"weight decay":    {WeightDecay: 0.1},
		"step":            {Schedule: graft.Schedule{Name: "step", StepSize: 1, Gamma: 0.5}},
		"cosine":          {Schedule: graft.Schedule{Name: "cosine"}},
		"onecycle":        {Schedule: graft.Schedule{Name: "onecycle"}},
		"warm-up":         {Schedule: graft.Schedule{Warmup: 1}},
		"rates of stages": {LRMult: 0.1},
		"smoothing":       {LabelSmoothing: 0.1},
		"balance":         {Balance: true},
		"clipping":        {ClipNorm: 0.01},
		"accumulation":    {Accumulate: 2},
		"average":         {EMA: 0.9},
		"augmentation":    {Augment: "light"},
		"views":           {Augment: "light", Views: 1},
		"mixing":          {Augment: "MixUp,CutMix"},
		"seed":            {Seed: 2},
	} {
		recipe.Epochs, recipe.BatchSize, recipe.LR = 2, 2, 0.01
		run := train(t, tinyVGG(t), d, recipe)
		weights := fmt.Sprint(tensors(t, run.Model))
		if other, ok := byWeights[weights]; ok {
			t.Errorf("%s trains the weights of %s", name, other)
		}
		byWeights[weights] = name

		if recipe.Optimizer == "" {
			recipe.Optimizer = "adam"
		}
		if a := arguments(t, run.Model); !reflect.DeepEqual(a.TrainOptions, recipe) || a.Train != 6 || a.Test != 3 {
			t.Errorf("%s: the file says %+v", name, a)
		}
	}
}

// TestRates has the schedule's rates in the history.
func TestRates(t *testing.T) {
	d := few(t)
	for _, test := range []struct {
		schedule graft.Schedule
		want     []float64
	}{
		{graft.Schedule{}, []float64{0.01, 0.01, 0.01, 0.01}},
		{graft.Schedule{Name: "step", StepSize: 2, Gamma: 0.5}, []float64{0.01, 0.01, 0.005, 0.005}},
		{graft.Schedule{Warmup: 2, WarmupFactor: 0.5}, []float64{0.005, 0.0075, 0.01, 0.01}},
		{graft.Schedule{Name: "cosine"}, []float64{0.01, 0.01 * (1 + math.Sqrt(0.5)) / 2, 0.005, 0.01 * (1 - math.Sqrt(0.5)) / 2}},
		{graft.Schedule{Name: "onecycle", PctStart: 0.5}, []float64{0.0004, 0.01, 0.005, 0.0004 / 1e4}},
	} {
		run := train(t, tinyVGG(t), d, graft.TrainOptions{Epochs: 4, LR: 0.01, Schedule: test.schedule})
		for i, e := range run.History {
			if math.Abs(e.LR-test.want[i]) > 1e-4 {
				t.Errorf("%+v: epoch %d has the rate %g, want %g", test.schedule, i+1, e.LR, test.want[i])
			}
		}
	}
}

// TestBest keeps the weights of the best epoch, which predict as it says.
func TestBest(t *testing.T) {
	d := dataset(t)
	for _, recipe := range []graft.TrainOptions{{}, {Monitor: "acc"}, {EMA: 0.5}, {Patience: 2}} {
		recipe.Epochs, recipe.BatchSize, recipe.LR = 6, 6, 0.01
		recipe.Schedule = graft.Schedule{Name: "step", StepSize: 3, Gamma: 300} // from the fourth epoch on it gets worse
		run := train(t, tinyVGG(t), d, recipe)
		score := func(e graft.Epoch) float64 {
			if recipe.Monitor == "acc" {
				return -e.TestAcc
			}
			return e.TestLoss
		}
		best := slices.MinFunc(run.History, func(a, b graft.Epoch) int { return cmp.Compare(score(a), score(b)) })
		last := run.History[len(run.History)-1]
		if run.Best != best.Epoch {
			t.Errorf("%+v: the best is %d of %+v", recipe, run.Best, run.History)
		}
		if recipe.Patience > 0 && len(run.History) != best.Epoch+2 {
			t.Errorf("with patience for two more there are %d epochs, of which %d is the best", len(run.History), best.Epoch)
		}
		if best.Epoch == last.Epoch {
			t.Fatalf("%+v: the last epoch is the best, which shows nothing", recipe)
		}
		dir := filepath.Join(t.TempDir(), "run")
		if err := run.Save(dir, false); err != nil {
			t.Fatal(err)
		}
		for name, e := range map[string]graft.Epoch{"best.safetensors": best, "model.safetensors": last} {
			m := must(graft.Open(filepath.Join(dir, name)))
			evaluation := must(m.Evaluate(t.Context(), d.Test, nil))
			if evaluation.Accuracy != e.TestAcc || math.Abs(evaluation.Loss-e.TestLoss) > 1e-5 || !slices.Equal(m.Classes(), d.Classes) {
				t.Errorf("%+v: %s has accuracy %v and loss %v, epoch %+v", recipe, name, evaluation.Accuracy, evaluation.Loss, e)
			}
		}
		// Saving the best leaves the model as the last epoch did.
		if e := must(run.Model.Evaluate(t.Context(), d.Test, nil)); math.Abs(e.Loss-last.TestLoss) > 1e-5 {
			t.Errorf("%+v: after saving, the loss is %v, of the last epoch %v", recipe, e.Loss, last.TestLoss)
		}
	}
}

// TestViews shows each epoch new photos, or takes turns with views that are computed once. With a
// learning rate of next to nothing, the loss tells which photos an epoch saw.
func TestViews(t *testing.T) {
	d := dataset(t)
	for views, want := range map[int][]int{0: {0, 1, 2, 3, 4}, 1: {0, 0, 0, 0, 0}, 3: {0, 1, 2, 0, 1}} {
		progress := &recorder{}
		run := train(t, small(t, "squeezenet1_1", 0), d, graft.TrainOptions{Epochs: 5, LR: 1e-30, Augment: "light", Views: views, Progress: progress})
		var seen []float64
		for i, e := range run.History {
			kind := slices.IndexFunc(seen, func(loss float64) bool { return math.Abs(loss-e.TrainLoss) < 1e-10*loss })
			if kind < 0 {
				kind = len(seen)
				seen = append(seen, e.TrainLoss)
			}
			if kind != want[i] {
				t.Errorf("%d views: epoch %d sees view %d, want %d; %+v", views, i+1, kind, want[i], run.History)
			}
		}
		if photos := max(views, 1)*18 + 9; progress.done != photos || progress.calls[0] != fmt.Sprint("start Computing features 0/", photos) {
			t.Errorf("%d views: progress is told %q and of %d photos", views, progress.calls, progress.done)
		}
	}
}

// TestRepeatableRecipes gives the same bits with any number of threads and whatever is in the cache.
func TestRepeatableRecipes(t *testing.T) {
	t.Setenv("GRAFT_CACHE", t.TempDir())
	d := dataset(t)
	frozen := func() *graft.Model { return small(t, "shufflenet_v2_x0_5", 0.3) }
	whole := func() *graft.Model { return tinyVGG(t) }
	for name, test := range map[string]struct {
		model func() *graft.Model
		opts  graft.TrainOptions
	}{
		"augmentation": {frozen, graft.TrainOptions{Augment: "trivial"}},
		"views":        {frozen, graft.TrainOptions{Augment: "light", Views: 2}},
		"mixing":       {whole, graft.TrainOptions{Augment: "light,MixUp,CutMix", LabelSmoothing: 0.1, ClipNorm: 1}},
		"average":      {frozen, graft.TrainOptions{EMA: 0.9, Schedule: graft.Schedule{Name: "onecycle"}, Balance: true}},
		"solver":       {frozen, graft.TrainOptions{Solver: "lbfgs", Augment: "light", Views: 2}},
	} {
		test.opts.Epochs, test.opts.BatchSize = 3, 4
		var want map[string][]float32
		for _, division := range []struct {
			threads int
			cache   bool
		}{{1, false}, {3, false}, {3, true}, {1, true}} {
			if name == "mixing" && division.cache && division.threads == 1 {
				continue // takes long
			}
			m := test.model()
			m.Threads, test.opts.Cache = division.threads, division.cache
			got := tensors(t, train(t, m, d, test.opts).Model)
			if want == nil {
				want = got
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: other bits with %+v", name, division)
			}
		}
	}
}

// TestSolver computes an optimum: training by steps for long comes near it, but not below. The penalty
// is the one with the lowest loss in cross-validation, and the gradient there is zero.
func TestSolver(t *testing.T) {
	d := dataset(t)
	m := pretrained(t, "squeezenet1_1", 0.5) // whose head is a convolution
	if _, err := m.Train(t.Context(), d, graft.TrainOptions{Solver: "lbfgs"}); err == nil || !strings.Contains(err.Error(), "its head is a Conv2d") {
		t.Errorf("a convolution: %v", err)
	}
	const architecture = "shufflenet_v2_x0_5"
	run := train(t, pretrained(t, architecture, 0.5), d, graft.TrainOptions{Solver: "lbfgs", Epochs: 7})
	if len(run.History) != 1 || run.Best != 1 || run.History[0].TestAcc != 1 {
		t.Errorf("the history is %+v", run.History)
	}
	s := run.Solution
	least := s.Scores[0]
	for _, score := range s.Scores {
		if score.Loss < least.Loss {
			least = score
		}
	}
	if s.C != least.C {
		t.Errorf("the penalty is %v, the scores are %+v", s.C, s.Scores)
	}
	if a := arguments(t, run.Model); a.Solver != "lbfgs" || a.Optimizer != "" {
		t.Errorf("the file says %+v", a)
	}
	evaluation := must(run.Model.Evaluate(t.Context(), d.Test, nil))
	if evaluation.Accuracy != 1 || math.Abs(evaluation.Loss-run.History[0].TestLoss) > 1e-5 {
		t.Errorf("it evaluates to accuracy %v, loss %v; solving said %+v", evaluation.Accuracy, evaluation.Loss, run.History[0])
	}
	before := tensors(t, pretrained(t, architecture, 0.5))
	for name, values := range tensors(t, run.Model) {
		if slices.Equal(values, before[name]) == strings.HasPrefix(name, "fc.") {
			t.Errorf("%s: all changes but the trunk", name)
		}
	}
}

// TestRecipeErrors come before photos are read, and leave the model as it was.
func TestRecipeErrors(t *testing.T) {
	d := few(t)
	for _, p := range slices.Concat(d.Train, d.Test) {
		if err := os.Remove(p.Path); err != nil {
			t.Fatal(err)
		}
	}
	whole := func() *graft.Model { return tinyVGG(t) }
	head := func() *graft.Model {
		m := tinyVGG(t)
		m.FreezeTrunk()
		return m
	}
	for want, test := range map[string]struct { // by what the error says
		model func() *graft.Model
		opts  graft.TrainOptions
	}{
		`optimizer "lion": there are adam, adamw and sgd`:             {whole, graft.TrainOptions{Optimizer: "lion"}},
		`schedule "linear": there are constant, step, cosine and one`: {whole, graft.TrainOptions{Schedule: graft.Schedule{Name: "linear"}}},
		"step size of 0 epochs must be above 0":                       {whole, graft.TrainOptions{Schedule: graft.Schedule{Name: "step"}}},
		"of the schedule step, and it is cosine":                      {whole, graft.TrainOptions{Schedule: graft.Schedule{Name: "cosine", Gamma: 0.5}}},
		"-1 epochs of warm-up":                                        {whole, graft.TrainOptions{Schedule: graft.Schedule{Warmup: -1}}},
		"5 epochs of warm-up: that is all of the training":            {whole, graft.TrainOptions{Schedule: graft.Schedule{Warmup: 5}}},
		"so that a learning rate has no meaning":                      {head, graft.TrainOptions{Solver: "lbfgs", LR: 0.1}},
		"momentum is of the optimizer sgd, and it is adam":            {whole, graft.TrainOptions{Momentum: 0.9}},
		"momentum 0: Nesterov's needs one above 0":                    {whole, graft.TrainOptions{Optimizer: "sgd", Nesterov: true}},
		"weight decay -1":                                             {whole, graft.TrainOptions{WeightDecay: -1}},
		"learning rate multiple 2":                                    {whole, graft.TrainOptions{LRMult: 2}},
		"label smoothing":                                             {whole, graft.TrainOptions{LabelSmoothing: 1.5}},
		"gradients of norm -1":                                        {whole, graft.TrainOptions{ClipNorm: -1}},
		"steps of -1 batches":                                         {whole, graft.TrainOptions{Accumulate: -1}},
		"decay of 1: it must be at least 0 and below 1":               {whole, graft.TrainOptions{EMA: 1}},
		`epochs can't be compared by "f1"`:                            {whole, graft.TrainOptions{Monitor: "f1"}},
		"a patience of -1 epochs":                                     {whole, graft.TrainOptions{Patience: -1}},
		`no mode "frozen" of norms`:                                   {whole, graft.TrainOptions{Norms: "frozen"}},
		`unknown step "Flip": did you mean`:                           {whole, graft.TrainOptions{Augment: "Flip"}},
		"2 views are of augmented photos":                             {whole, graft.TrainOptions{Views: 2}},
		"3 views are of augmented photos":                             {whole, graft.TrainOptions{Views: 3, Augment: "none"}},
		"-2 views":                                                    {whole, graft.TrainOptions{Views: -2, Augment: "light"}},
		"MixUp and CutMix mix pixels":                                 {head, graft.TrainOptions{Augment: "MixUp"}},
		`no solver "newton": it is lbfgs`:                             {head, graft.TrainOptions{Solver: "newton"}},
		"frozen but for its head, and conv_block_1.0.weight isn't":    {whole, graft.TrainOptions{Solver: "lbfgs"}},
		"the solver needs all photos at once":                         {head, graft.TrainOptions{Solver: "lbfgs", Augment: "light"}},
		"the solver lbfgs makes no steps, so that a schedule":         {head, graft.TrainOptions{Solver: "lbfgs", Schedule: graft.Schedule{Name: "cosine"}}},
		"so that the optimizer sgd has no meaning":                    {head, graft.TrainOptions{Solver: "lbfgs", Optimizer: "sgd"}},
		"resuming needs the folder of the training's state":           {whole, graft.TrainOptions{Resume: true}},
	} {
		m := test.model()
		before := tensors(t, m)
		run, err := m.Train(t.Context(), d, test.opts)
		if err == nil || !strings.Contains(err.Error(), want) || run != nil {
			t.Errorf("%s: %v", want, err)
		}
		if after := tensors(t, m); !reflect.DeepEqual(before, after) {
			t.Errorf("%s: the model had %d tensors and has %d", want, len(before), len(after))
		}
	}
	if err := tinyVGG(t).Unfreeze("conv_block_3"); err == nil || !strings.Contains(err.Error(), "did you mean conv_block_1 or conv_block_2") {
		t.Errorf("a name that is near others: %v", err)
	}
}

// TestUnfreezeLast names the stages whose parameters train then.
func TestUnfreezeLast(t *testing.T) {
	m := pretrained(t, "efficientnet_b0", 0.2)
	frozen := func() int {
		_, n := m.Parameters()
		return n
	}
	all := frozen()
	if paths, err := m.UnfreezeLast(0); err != nil || paths != nil || frozen() != all {
		t.Errorf("none: %v, %v", paths, err)
	}
	if paths, err := m.UnfreezeLast(2); err != nil || !slices.Equal(paths, []string{"features.7", "features.8"}) || frozen() != 2878156 {
		t.Errorf("two of them: %v, %v; %d are frozen", paths, err, frozen())
	}
	for _, n := range []int{-1, 99} {
		if _, err := m.UnfreezeLast(n); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("so that the last %d can't be unfrozen", n)) {
			t.Errorf("%d of them: %v", n, err)
		}
	}
}

// TestDiverged keeps what the last whole epoch left.
func TestDiverged(t *testing.T) {
	d := dataset(t)
	m := tinyVGG(t)
	run, err := m.Train(t.Context(), d, graft.TrainOptions{Epochs: 5, BatchSize: 6, LR: 0.001, Schedule: graft.Schedule{Name: "step", StepSize: 2, Gamma: 1e30}})
	if !errors.Is(err, graft.ErrDiverged) || run == nil || len(run.History) != 2 {
		t.Fatalf("a rate that rises in the third epoch: %v", err)
	}
	last := run.History[1]
	if text := err.Error(); !strings.Contains(text, " in epoch 3, step ") || !strings.HasSuffix(text, ": try a lower learning rate than 0.001") {
		t.Error(err)
	}
	if e := must(m.Evaluate(t.Context(), d.Test, nil)); math.Abs(e.Loss-last.TestLoss) > 1e-5 {
		t.Errorf("the loss is %v, in the last whole epoch it was %v", e.Loss, last.TestLoss)
	}
}

// TestFindLR finds a rate, draws the curve, and leaves the model as it was.
func TestFindLR(t *testing.T) {
	d := few(t)
	m := tinyVGG(t)
	opts := graft.TrainOptions{Seed: 1, Norms: "eval"}
	curve, err := m.FindLR(t.Context(), d, opts, graft.LRRange{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(curve.Points); n < 20 || n > 100 || curve.Points[0].LR != 1e-7 {
		t.Errorf("the curve has %d points, the first %+v", n, curve.Points[0])
	}
	if !(curve.Steep > 1e-6 && curve.Steep < 1 && curve.Minimum > 1e-6 && curve.Minimum < 1) {
		t.Errorf("it suggests %g and %g", curve.Steep, curve.Minimum)
	}
	var png bytes.Buffer
	if err := curve.Draw(&png); err != nil || !bytes.HasPrefix(png.Bytes(), []byte("\x89PNG")) {
		t.Errorf("drawing: %v", err)
	}
	// What is drawn anew for another seed shows that nothing stayed.
	other := graft.TrainOptions{Epochs: 1, Seed: 2}
	if !maps.EqualFunc(tensors(t, train(t, m, d, other).Model), tensors(t, train(t, tinyVGG(t), d, other).Model), slices.Equal) {
		t.Error("a model whose rate was looked for trains other weights")
	}
	for want, rates := range map[string]graft.LRRange{"they must rise": {Start: 1, End: 0.1}, "in 1 steps": {Steps: 1}} {
		if _, err := m.FindLR(t.Context(), d, opts, rates); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", rates, err)
		}
	}
}
