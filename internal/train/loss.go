package train

import (
	"fmt"
	"math"
)

// CrossEntropy is torch.nn.CrossEntropyLoss with the reduction "mean". The zero value is the usual
// one.
type CrossEntropy struct {
	LabelSmoothing float64   // takes this share of each target and divides it among all classes
	Weight         []float64 // of each class; nil for 1
}

func (c CrossEntropy) check(classes int) error {
	if !(c.LabelSmoothing >= 0 && c.LabelSmoothing < 1) {
		return fmt.Errorf("label smoothing %g: it must be at least 0 and below 1", c.LabelSmoothing)
	}
	if c.Weight != nil && len(c.Weight) != classes {
		return fmt.Errorf("there are %d class weights for %d classes", len(c.Weight), classes)
	}
	for i, w := range c.Weight {
		if !(w > 0) || math.IsInf(w, 1) { // a batch of nothing but weights of 0 has no mean
			return fmt.Errorf("the weight %g of class %d: it must be above 0", w, i)
		}
	}
	return nil
}

// Balanced returns class weights that give each class the same influence however many samples it has,
// as scikit-learn's class_weight="balanced" does: n / (classes · the class's samples). A class without
// samples has weight 1.
func Balanced(labels []int, classes int) []float64 {
	count := make([]int, classes)
	for _, l := range labels {
		count[l]++
	}
	weight := make([]float64, classes)
	for i, n := range count {
		weight[i] = 1
		if n > 0 {
			weight[i] = float64(len(labels)) / float64(classes*n)
		}
	}
	return weight
}

// mass is what the sum of the losses of samples with these labels is divided by: their weights, which
// is their number without weights.
func (c CrossEntropy) mass(labels []int) float64 {
	if c.Weight == nil {
		return float64(len(labels))
	}
	sum := 0.0
	for _, l := range labels {
		sum += c.Weight[l]
	}
	return sum
}

// Labels returns the mean over the rows of logits [n, classes] of -log softmax(row)[label], its
// derivative by the logits in grad if that isn't nil, and how many rows are highest at their label.
func (c CrossEntropy) Labels(logits []float32, labels []int, grad []float32) (loss float64, correct int) {
	return c.labels(logits, labels, grad, c.mass(labels))
}

// labels divides by mass, which may be that of a batch of which these rows are a part.
func (c CrossEntropy) labels(logits []float32, labels []int, grad []float32, mass float64) (loss float64, correct int) {
	classes := len(logits) / len(labels)
	target := make([]float64, classes)
	for i, label := range labels {
		for j := range target {
			target[j] = c.LabelSmoothing / float64(classes) * c.weight(j)
		}
		target[label] += (1 - c.LabelSmoothing) * c.weight(label)
		l, best := row(logits[i*classes:(i+1)*classes], target, slice(grad, i, classes), mass)
		loss += l
		if best == label {
			correct++
		}
	}
	return loss / mass, correct
}

// Soft is [CrossEntropy.Labels] for targets [n, classes] that are probabilities, whose losses are
// divided by n whatever the weights. A row is correct if it is highest where its target is.
func (c CrossEntropy) Soft(logits, targets, grad []float32, n int) (loss float64, correct int) {
	return c.soft(logits, targets, grad, n, float64(n))
}

func (c CrossEntropy) soft(logits, targets, grad []float32, n int, mass float64) (loss float64, correct int) {
	classes := len(logits) / n
	target := make([]float64, classes)
	for i := range n {
		given := targets[i*classes : (i+1)*classes]
		for j, t := range given {
			target[j] = (float64(t)*(1-c.LabelSmoothing) + c.LabelSmoothing/float64(classes)) * c.weight(j)
		}
		l, best := row(logits[i*classes:(i+1)*classes], target, slice(grad, i, classes), mass)
		loss += l
		if best == highest(given) {
			correct++
		}
	}
	return loss / mass, correct
}

func (c CrossEntropy) weight(class int) float64 {
	if c.Weight == nil {
		return 1
	}
	return c.Weight[class]
}

// row returns -Σ target · log softmax(logits), and its derivative divided by mass in grad if that
// isn't nil, and the highest logit.
func row(logits []float32, target []float64, grad []float32, mass float64) (loss float64, best int) {
	best = highest(logits)
	sum, total := 0.0, 0.0
	for j, v := range logits {
		sum += math.Exp(float64(v - logits[best]))
		total += target[j]
	}
	log := math.Log(sum)
	for j, v := range logits {
		if target[j] != 0 {
			loss += target[j] * (log - float64(v-logits[best]))
		}
	}
	for j := range grad {
		g := total*(math.Exp(float64(logits[j]-logits[best]))/sum) - target[j]
		grad[j] = float32(g / mass)
	}
	return loss, best
}

func highest(row []float32) int {
	best := 0
	for j, v := range row {
		if v > row[best] {
			best = j
		}
	}
	return best
}

// slice returns row i of a matrix that may be nil.
func slice(m []float32, i, columns int) []float32 {
	if m == nil {
		return nil
	}
	return m[i*columns : (i+1)*columns]
}
