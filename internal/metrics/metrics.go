// Package metrics measures how well a classifier does on samples whose classes are known.
//
// Accuracy, precision, recall, F1, their averages and the confusion matrix are scikit-learn's
// (classification_report with zero_division=0, confusion_matrix), and so is top-k accuracy but for ties, where
// scikit-learn prefers the last class to the first. The loss is PyTorch's CrossEntropyLoss. Calibration is that of
// Guo et al., On Calibration of Modern Neural Networks, 2017 (https://arxiv.org/abs/1706.04599).
package metrics

import (
	"math"
	"slices"
)

// Scores say how well a class is found. Each is 0 where its denominator is.
type Scores struct {
	Precision float64 `json:"precision"` // share of the samples predicted to be of the class that are
	Recall    float64 `json:"recall"`    // share of the class's samples that were found
	F1        float64 `json:"f1"`        // harmonic mean of the two
	Support   int     `json:"support"`   // samples of the class
}

// ClassScores are the scores of a class.
type ClassScores struct {
	Class string `json:"class"`
	Scores
}

// A Bin holds the samples whose predicted class has a probability above Low and up to High.
type Bin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Count      int     `json:"count"`
	Confidence float64 `json:"confidence"` // mean probability of the predicted class; 0 without samples
	Accuracy   float64 `json:"accuracy"`   // share of samples predicted rightly; 0 without samples
}

// Bins is the number of bins that calibration is measured in, as in Guo et al.
const Bins = 15

// A Report is what all samples come to.
type Report struct {
	Accuracy     float64       // share of samples whose most probable class is theirs
	TopK         int           // 5, or the number of classes if there are fewer
	TopKAccuracy float64       // share of samples whose class is among the TopK most probable
	Loss         float64       // mean cross-entropy
	Classes      []string      // names, by index
	PerClass     []ClassScores // by index
	Macro        Scores        // mean over the classes that occur, as true or as predicted ones
	Weighted     Scores        // mean weighted by support
	Confusion    [][]int       // samples by true class, then by predicted class
	ECE          float64       // expected calibration error: mean of |accuracy - confidence| over the bins, by their samples
	Calibration  []Bin         // bins of equal width, from 0 to 1
}

// An Outcome is what the outputs for one sample mean. Of classes with equal outputs, the first is the
// more probable one.
type Outcome struct {
	Predicted       int     // the most probable class
	Probability     float64 // its probability
	TrueProbability float64 // that of the true class
	Rank            int     // classes more probable than the true one
	Loss            float64 // cross-entropy; infinite or NaN where outputs are
}

// Judge compares a sample's outputs (logits) with its true class. The probabilities are their softmax.
func Judge(logits []float32, truth int) Outcome {
	predicted := 0
	for i, v := range logits {
		if v > logits[predicted] {
			predicted = i
		}
	}
	top, sum, rank := float64(logits[predicted]), 0.0, 0
	for i, v := range logits {
		sum += math.Exp(float64(v) - top)
		if v > logits[truth] || v == logits[truth] && i < truth {
			rank++
		}
	}
	loss := math.Log(sum) - (float64(logits[truth]) - top)
	return Outcome{predicted, 1 / sum, math.Exp(float64(logits[truth])-top) / sum, rank, loss}
}

// A Meter adds up outcomes.
type Meter struct {
	classes   []string
	confusion [][]int
	bins      [Bins]struct {
		count, right int
		confidence   float64
	}
	topK int // samples whose class is among the most probable
	loss float64
}

// NewMeter returns a meter for classes of these names.
func NewMeter(classes []string) *Meter {
	m := &Meter{classes: classes, confusion: make([][]int, len(classes))}
	for i := range m.confusion {
		m.confusion[i] = make([]int, len(classes))
	}
	return m
}

func (m *Meter) k() int { return min(5, len(m.classes)) }

// Add counts a sample, whose loss must be finite.
func (m *Meter) Add(o Outcome, truth int) {
	m.confusion[truth][o.Predicted]++
	m.loss += o.Loss
	if o.Rank < m.k() {
		m.topK++
	}
	b := &m.bins[max(int(math.Ceil(o.Probability*Bins)), 1)-1]
	b.count++
	b.confidence += o.Probability
	if o.Predicted == truth {
		b.right++
	}
}

// Report returns what the samples so far come to; all shares of none are 0. It shares the confusion matrix
// with the meter.
func (m *Meter) Report() Report {
	n, right := 0, 0
	for i, row := range m.confusion {
		n += sum(row)
		right += row[i]
	}
	r := Report{
		Accuracy: ratio(float64(right), n), TopK: m.k(), TopKAccuracy: ratio(float64(m.topK), n), Loss: ratio(m.loss, n),
		Classes: m.classes, Confusion: m.confusion,
	}
	r.scores()
	for i, b := range m.bins {
		bin := Bin{float64(i) / Bins, float64(i+1) / Bins, b.count, ratio(b.confidence, b.count), ratio(float64(b.right), b.count)}
		r.Calibration = append(r.Calibration, bin)
		r.ECE += ratio(math.Abs(bin.Accuracy-bin.Confidence)*float64(b.count), n)
	}
	return r
}

// scores derives the scores and their averages from the confusion matrix.
func (r *Report) scores() {
	predicted := make([]int, len(r.Classes))
	for _, row := range r.Confusion {
		for j, n := range row {
			predicted[j] += n
		}
	}
	occurring, total := 0, 0
	for i, name := range r.Classes {
		right, support := r.Confusion[i][i], sum(r.Confusion[i])
		s := Scores{
			Precision: ratio(float64(right), predicted[i]), Recall: ratio(float64(right), support),
			F1: ratio(2*float64(right), predicted[i]+support), Support: support,
		}
		r.PerClass = append(r.PerClass, ClassScores{name, s})
		r.Macro.add(s, 1)
		r.Weighted.add(s, support)
		total += support
		if support+predicted[i] > 0 {
			occurring++
		}
	}
	r.Macro.divide(occurring)
	r.Weighted.divide(total)
	r.Macro.Support, r.Weighted.Support = total, total
}

func (s *Scores) add(t Scores, weight int) {
	s.Precision += float64(weight) * t.Precision
	s.Recall += float64(weight) * t.Recall
	s.F1 += float64(weight) * t.F1
}

func (s *Scores) divide(n int) {
	s.Precision, s.Recall, s.F1 = ratio(s.Precision, n), ratio(s.Recall, n), ratio(s.F1, n)
}

// Confused is how often a class was taken for another; both are indices.
type Confused struct{ True, Predicted, Count int }

// MostConfused returns the pairs of classes that were mixed up, the most frequent first, and of equally
// frequent ones those of lower classes.
func MostConfused(confusion [][]int) []Confused {
	var pairs []Confused
	for i, row := range confusion {
		for j, n := range row {
			if i != j && n > 0 {
				pairs = append(pairs, Confused{i, j, n})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b Confused) int { return b.Count - a.Count })
	return pairs
}

func sum(values []int) (total int) {
	for _, v := range values {
		total += v
	}
	return total
}

// ratio is 0 where the denominator is.
func ratio(a float64, b int) float64 {
	if b == 0 {
		return 0
	}
	return a / float64(b)
}
