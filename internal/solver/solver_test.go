package solver_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/hub"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/solver"
	"github.com/graft-ml/graft/internal/testutil"
)

// reference is what testdata/sklearn_reference.py writes.
type reference struct {
	Features [][]float32
	Labels   []int
	Fits     []struct {
		C      float64
		Weight [][]float64
		Bias   []float64
	}
	Strengths, Scores []float64
	Chosen            float64
	Uneven, Folds     []int
}

func readReference(t *testing.T) (r reference) {
	t.Helper()
	data, err := os.ReadFile("testdata/sklearn.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r reference) data() solver.Data {
	return solver.Data{Features: r.Features, Labels: r.Labels, Classes: 4}
}

// distance is |a - b| / |b|.
func distance(a []float32, b []float64) float64 {
	num, den := 0.0, 0.0
	for i, w := range b {
		num += (float64(a[i]) - w) * (float64(a[i]) - w)
		den += w * w
	}
	return math.Sqrt(num / den)
}

// TestOptimum compares with scikit-learn's LogisticRegression.
func TestOptimum(t *testing.T) {
	r := readReference(t)
	for _, set := range kernels.All() {
		for _, want := range r.Fits {
			s, err := solver.Solve(t.Context(), set, r.data(), solver.Options{Strengths: []float64{want.C}})
			if err != nil {
				t.Fatal(err)
			}
			if s.C != want.C || s.Scores != nil {
				t.Errorf("with C %v alone, C is %v and scores are %v", want.C, s.C, s.Scores)
			}
			weight := distance(s.Weight, slices.Concat(want.Weight...))
			bias := distance(s.Bias, want.Bias)
			t.Logf("%s, C %v: %.2g and %.2g in %d iterations", set.Name, want.C, weight, bias, s.Iterations)
			if !(weight < 1e-4 && bias < 1e-4) {
				t.Errorf("%s, C %v: weights differ by %v, biases by %v", set.Name, want.C, weight, bias)
			}
		}
	}
}

// TestCrossValidation compares with scikit-learn's LogisticRegressionCV.
func TestCrossValidation(t *testing.T) {
	r := readReference(t)
	var told []int
	s, err := solver.Solve(t.Context(), kernels.All()[0], r.data(), solver.Options{Strengths: r.Strengths, Progress: func(done, total int) {
		told = append(told, done, total)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s.C != r.Chosen {
		t.Errorf("C is %v, want %v", s.C, r.Chosen)
	}
	for i, score := range s.Scores {
		if score.C != r.Strengths[i] || math.Abs(score.Loss-r.Scores[i]) > 5e-3*r.Scores[i] {
			t.Errorf("strength %d is %+v, want %v with loss %v", i, score, r.Strengths[i], r.Scores[i])
		}
	}
	best := slices.Index(r.Strengths, r.Chosen)
	if len(s.Scores) != min(best+3, 8) {
		t.Errorf("%d strengths were tried; the best is number %d", len(s.Scores), best+1)
	}
	if len(told) != 2*len(s.Scores)+2 || !slices.Equal(told[:2], []int{5, 41}) || !slices.Equal(told[len(told)-2:], []int{41, 41}) {
		t.Errorf("progress is told %v", told)
	}
}

// TestThreads gives the same bits with any number.
func TestThreads(t *testing.T) {
	d := solver.Data{Classes: 5}
	x := testutil.FormulaInput(110, 150) // several panels of samples and of features
	for row := range slices.Chunk(x, 150) {
		d.Features, d.Labels = append(d.Features, row), append(d.Labels, slices.Index(row[:5], slices.Max(row[:5])))
	}
	for _, set := range kernels.All() {
		var first *solver.Solution
		for _, threads := range []int{1, 2, 3, 16} {
			s, err := solver.Solve(t.Context(), set, d, solver.Options{Threads: threads, Strengths: []float64{1e-4, 1e-3}})
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = s
			} else if !slices.Equal(s.Weight, first.Weight) || !slices.Equal(s.Bias, first.Bias) || !slices.Equal(s.Scores, first.Scores) {
				t.Errorf("%s: %d threads come to other numbers than one", set.Name, threads)
			}
		}
	}
}

// TestGroups judges no view of a photo by a fit to another view of it: with five copies of every
// sample, each a group, the choice is as without copies.
func TestGroups(t *testing.T) {
	r := readReference(t)
	once, err := solver.Solve(t.Context(), kernels.All()[0], r.data(), solver.Options{Strengths: r.Strengths})
	if err != nil {
		t.Fatal(err)
	}
	d := solver.Data{Classes: 4}
	for range 5 {
		for i := range r.Labels {
			d.Features, d.Labels, d.Groups = append(d.Features, r.Features[i]), append(d.Labels, r.Labels[i]), append(d.Groups, 1000-i)
		}
	}
	strengths := slices.Clone(r.Strengths)
	for i := range strengths {
		strengths[i] /= 5 // five times the loss
	}
	copies, err := solver.Solve(t.Context(), kernels.All()[0], d, solver.Options{Strengths: strengths})
	if err != nil {
		t.Fatal(err)
	}
	if len(copies.Scores) != len(once.Scores) {
		t.Fatalf("%v with copies, %v without", copies.Scores, once.Scores)
	}
	for i, s := range copies.Scores {
		if math.Abs(s.Loss-once.Scores[i].Loss) > 5e-3*s.Loss {
			t.Errorf("C %v has loss %v with copies, %v without", s.C, s.Loss, once.Scores[i].Loss)
		}
	}
	if math.Abs(copies.C*5/once.C-1) > 1e-12 {
		t.Errorf("C is %v with copies, %v without", copies.C, once.C)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := solver.Solve(ctx, kernels.All()[0], readReference(t).data(), solver.Options{Progress: func(int, int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestExtremes takes features that say nothing, and as few samples as there can be.
func TestExtremes(t *testing.T) {
	for name, d := range map[string]solver.Data{
		"equal":     {Features: [][]float32{{1, 2}, {1, 2}, {1, 2}, {1, 2}, {1, 2}}, Labels: []int{0, 1, 0, 1, 0}, Classes: 2},
		"one class": {Features: [][]float32{{1}, {2}, {3}, {4}, {5}}, Labels: []int{0, 0, 0, 0, 0}, Classes: 1},
		"absent":    {Features: [][]float32{{1}, {2}, {3}, {4}, {5}}, Labels: []int{0, 2, 0, 2, 0}, Classes: 3},
		"large":     {Features: [][]float32{{1e18}, {2e18}, {-3e18}, {4e18}, {-5e18}}, Labels: []int{0, 0, 1, 0, 1}, Classes: 2},
	} {
		s, err := solver.Solve(t.Context(), kernels.All()[0], d, solver.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, v := range append(slices.Concat(s.Weight, s.Bias), float32(s.C)) {
			if v-v != 0 {
				t.Errorf("%s: %+v", name, s)
				break
			}
		}
	}
}

func TestBadData(t *testing.T) {
	rows := func(n int) (x [][]float32) {
		for i := range n {
			x = append(x, []float32{float32(i), 1})
		}
		return x
	}
	nan := rows(5)
	nan[3][1] = float32(math.NaN())
	labels := []int{0, 1, 0, 1, 0}
	for want, test := range map[string]struct {
		solver.Data
		solver.Options
	}{
		"no features":                {},
		"classes of 4":               {Data: solver.Data{Features: rows(5), Labels: labels[:4], Classes: 2}},
		"groups of 1":                {Data: solver.Data{Features: rows(5), Labels: labels, Classes: 2, Groups: []int{1}}},
		"0 classes":                  {Data: solver.Data{Features: rows(5), Labels: labels}},
		"sample 1 is of class 1":     {Data: solver.Data{Features: rows(5), Labels: labels, Classes: 1}},
		"sample 5 has 1 features":    {Data: solver.Data{Features: append(rows(5), []float32{1}), Labels: append(labels, 0), Classes: 2}},
		"feature 1 of sample 3":      {Data: solver.Data{Features: nan, Labels: labels, Classes: 2}},
		"5 folds of 4 photos":        {Data: solver.Data{Features: rows(4), Labels: labels[:4], Classes: 2}},
		"5 folds of 2 photos":        {Data: solver.Data{Features: rows(5), Labels: labels, Classes: 2, Groups: []int{7, 8, 7, 8, 7}}},
		"1 folds of 5":               {Data: solver.Data{Features: rows(5), Labels: labels, Classes: 2}, Options: solver.Options{Folds: 1}},
		"[1 0.5]: they must be":      {Data: solver.Data{Features: rows(5), Labels: labels, Classes: 2}, Options: solver.Options{Strengths: []float64{1, 0.5}}},
		"[NaN]: they must be":        {Data: solver.Data{Features: rows(5), Labels: labels, Classes: 2}, Options: solver.Options{Strengths: []float64{math.NaN()}}},
		"[-1 +Inf]: they must be ab": {Data: solver.Data{Features: rows(5), Labels: labels, Classes: 2}, Options: solver.Options{Strengths: []float64{-1, math.Inf(1)}}},
	} {
		if _, err := solver.Solve(t.Context(), kernels.All()[0], test.Data, test.Options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestFoodVisionMini fits a head to EfficientNet-Lite0's features of 225 photos. On 75 others
// scikit-learn's LogisticRegressionCV(Cs=8, cv=5, scoring="neg_log_loss") has a loss of 0.127, and five
// epochs of Adam 0.302 (mean of ten seeds).
func TestFoodVisionMini(t *testing.T) {
	if testing.Short() {
		t.Skip("computes the features of 300 photos")
	}
	photos := testutil.Shared(t, "data", "pizza_steak_sushi")
	cache, err := hub.CacheDir()
	if err != nil {
		t.Skip(err)
	}
	weights := filepath.Join(cache, "weights", "tf_efficientnet_lite0.in1k", "efficientnet-lite0-57934424.pth")
	if _, err := os.Stat(weights); err != nil {
		t.Skipf("needs EfficientNet-Lite0's weights (graft pull efficientnet_lite0): %v", err)
	}
	data, err := graft.OpenDataset(photos, graft.DatasetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := graft.Load(t.Context(), "efficientnet_lite0", &graft.LoadOptions{File: weights})
	if err != nil {
		t.Fatal(err)
	}
	features := func(photos []graft.Photo) (rows [][]float32, labels []int) {
		each, err := m.PredictFiles(t.Context(), func(yield func(string, error) bool) {
			for _, p := range photos {
				if !yield(p.Path, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for p := range each {
			rows, labels = append(rows, p.Features), append(labels, photos[len(labels)].Class)
		}
		return rows, labels
	}
	d := solver.Data{Classes: 3}
	d.Features, d.Labels = features(data.Train)
	begin := time.Now()
	s, err := solver.Solve(t.Context(), kernels.All()[0], d, solver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	seconds := time.Since(begin).Seconds()
	loss, correct := 0.0, 0
	rows, labels := features(data.Test)
	for i, row := range rows {
		var logits [3]float64
		sum, best := 0.0, 0
		for k := range logits {
			logits[k] = float64(s.Bias[k])
			for j, v := range row {
				logits[k] += float64(v) * float64(s.Weight[k*len(row)+j])
			}
			sum += math.Exp(logits[k])
			if logits[k] > logits[best] {
				best = k
			}
		}
		loss += (math.Log(sum) - logits[labels[i]]) / float64(len(rows))
		if best == labels[i] {
			correct++
		}
	}
	t.Logf("C %.3g in %.2f s: test loss %.4f, %d of %d correct; scores %.4v", s.C, seconds, loss, correct, len(rows), s.Scores)
	if !(loss <= 0.14) || correct < 69 {
		t.Errorf("the test loss is %.4f, with %d of %d correct", loss, correct, len(rows))
	}
}
