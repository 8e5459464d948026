package train

import "math"

// CrossEntropy returns the mean over the rows of logits [n, classes] of -log softmax(row)[label], its
// derivative by the logits in grad if that isn't nil, and how many rows are highest at their label.
func CrossEntropy(logits []float32, labels []int, grad []float32) (loss float64, correct int) {
	n := len(labels)
	classes := len(logits) / n
	for i, label := range labels {
		row := logits[i*classes : (i+1)*classes]
		best := 0
		for j, v := range row {
			if v > row[best] {
				best = j
			}
		}
		if best == label {
			correct++
		}
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(float64(v - row[best]))
		}
		loss += math.Log(sum) - float64(row[label]-row[best])
		if grad == nil {
			continue
		}
		for j, v := range row {
			g := math.Exp(float64(v-row[best])) / sum
			if j == label {
				g--
			}
			grad[i*classes+j] = float32(g / float64(n))
		}
	}
	return loss / float64(n), correct
}
