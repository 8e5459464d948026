package metrics

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
)

type reference struct {
	Name         string
	Classes      int
	Truth        []int
	Logits       [][]float32
	Accuracy     float64
	TopK         int     `json:"top_k"`
	TopKAccuracy float64 `json:"top_k_accuracy"`
	Loss         float64
	PerClass     [][4]float64 `json:"per_class"` // precision, recall, F1, support
	Macro        [4]float64
	Weighted     [4]float64
	Confusion    [][]int
	ECE          float64
	Calibration  [][3]float64 // count, confidence, accuracy
}

func references(t *testing.T) []reference {
	t.Helper()
	text, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []reference }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

func names(n int) (names []string) {
	for i := range n {
		names = append(names, strconv.Itoa(i))
	}
	return names
}

// report measures a case's samples.
func report(c reference) Report {
	m := NewMeter(names(c.Classes))
	for i, logits := range c.Logits {
		m.Add(Judge(logits, c.Truth[i]), c.Truth[i])
	}
	return m.Report()
}

func TestReference(t *testing.T) {
	for _, c := range references(t) {
		t.Run(c.Name, func(t *testing.T) {
			r := report(c)
			near := func(what string, got, want float64) {
				t.Helper()
				if !(math.Abs(got-want) <= 1e-12) {
					t.Errorf("%s is %v, scikit-learn has %v", what, got, want)
				}
			}
			scores := func(what string, got Scores, want [4]float64) {
				t.Helper()
				near(what+": precision", got.Precision, want[0])
				near(what+": recall", got.Recall, want[1])
				near(what+": F1", got.F1, want[2])
				near(what+": support", float64(got.Support), want[3])
			}
			near("accuracy", r.Accuracy, c.Accuracy)
			near("top-k accuracy", r.TopKAccuracy, c.TopKAccuracy)
			near("loss", r.Loss, c.Loss)
			near("ECE", r.ECE, c.ECE)
			scores("macro", r.Macro, c.Macro)
			scores("weighted", r.Weighted, c.Weighted)
			if r.TopK != c.TopK || len(r.PerClass) != c.Classes || len(r.Calibration) != len(c.Calibration) {
				t.Fatalf("top %d of %d classes, %d bins", r.TopK, len(r.PerClass), len(r.Calibration))
			}
			for i, want := range c.PerClass {
				scores("class "+r.PerClass[i].Class, r.PerClass[i].Scores, want)
			}
			if !slices.EqualFunc(r.Confusion, c.Confusion, slices.Equal[[]int]) {
				t.Errorf("the confusion matrix is %v, want %v", r.Confusion, c.Confusion)
			}
			for i, want := range c.Calibration {
				b := r.Calibration[i]
				near("bin's count", float64(b.Count), want[0])
				near("bin's confidence", b.Confidence, want[1])
				near("bin's accuracy", b.Accuracy, want[2])
				near("bin's edges", b.Low+b.High, float64(2*i+1)/Bins)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	const ln2 = math.Ln2
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		logits []float32
		truth  int
		want   Outcome
	}{
		{[]float32{0, 0}, 0, Outcome{0, 0.5, 0.5, 0, ln2}},
		{[]float32{0, 0}, 1, Outcome{0, 0.5, 0.5, 1, ln2}},
		{[]float32{-1, 3, 3, 2}, 3, Outcome{1, 0.41908, 0.15417, 2, 1.86970}},
		{[]float32{1000, 0}, 1, Outcome{0, 1, 0, 1, 1000}}, // where exp overflows
		{[]float32{-1e30, -1e30}, 1, Outcome{0, 0.5, 0.5, 1, ln2}},
		{[]float32{7}, 0, Outcome{0, 1, 1, 0, 0}},
		{[]float32{-inf, 0}, 0, Outcome{1, 1, 0, 1, math.Inf(1)}},
	} {
		got := Judge(c.logits, c.truth)
		near := func(a, b float64) bool { return a == b || math.Abs(a-b) < 1e-5 }
		if got.Predicted != c.want.Predicted || got.Rank != c.want.Rank || !near(got.Loss, c.want.Loss) ||
			!near(got.Probability, c.want.Probability) || !near(got.TrueProbability, c.want.TrueProbability) {
			t.Errorf("%v, class %d: %+v, want %+v", c.logits, c.truth, got, c.want)
		}
	}
	nan := float32(math.NaN())
	for _, logits := range [][]float32{{nan, 0}, {0, nan}, {inf, 0}, {-inf, -inf}} {
		if got := Judge(logits, 1); !math.IsNaN(got.Loss) && !math.IsInf(got.Loss, 0) {
			t.Errorf("%v: loss %v", logits, got.Loss)
		}
	}
}

// TestBinEdges has probabilities that lie on edges: they belong to the bin below.
func TestBinEdges(t *testing.T) {
	for p, want := range map[float64]int{1.0 / 3: 4, 0.2: 2, 0.4: 5, 0.6: 8, 0.8: 11, 1: 14, 0.99: 14, 0.21: 3, 1e-9: 0} {
		m := NewMeter(names(3))
		m.Add(Outcome{Probability: p}, 0)
		for i, b := range m.Report().Calibration {
			if (b.Count == 1) != (i == want) {
				t.Errorf("bin %d has %d samples of probability %v, which belongs to bin %d", i, b.Count, p, want)
			}
		}
	}
}

func TestEmpty(t *testing.T) {
	r := NewMeter(names(3)).Report()
	if r.Accuracy != 0 || r.Loss != 0 || r.ECE != 0 || r.Macro != (Scores{}) || r.Weighted != (Scores{}) || r.TopK != 3 {
		t.Errorf("no samples come to %+v", r)
	}
}

func TestMostConfused(t *testing.T) {
	want := []Confused{{1, 0, 2}, {2, 1, 2}, {0, 1, 1}, {1, 2, 1}}
	if got := MostConfused([][]int{{9, 1, 0}, {2, 9, 1}, {0, 2, 9}}); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
