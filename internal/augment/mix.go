package augment

import (
	"fmt"
	"math"
)

// MixUp blends each sample of a batch with its neighbour (https://arxiv.org/abs/1710.09412).
type MixUp struct {
	Alpha float64 `json:"alpha"` // of the Beta distribution that weights come from
}

func (MixUp) name() string     { return "MixUp" }
func (s MixUp) String() string { return text(s) }
func (s MixUp) check() error   { return checkAlpha(s.Alpha) }

func (s MixUp) applyBatch(r *random, x []float32, n, _, _, _ int, targets []float32) {
	lambda := r.beta(s.Alpha)
	blendRolled(x, n, lambda)
	blendRolled(targets, n, lambda)
}

// CutMix pastes a rectangle of its neighbour into each sample of a batch (https://arxiv.org/abs/1905.04899).
type CutMix struct {
	Alpha float64 `json:"alpha"` // of the Beta distribution that areas come from
}

func (CutMix) name() string     { return "CutMix" }
func (s CutMix) String() string { return text(s) }
func (s CutMix) check() error   { return checkAlpha(s.Alpha) }

func (s CutMix) applyBatch(r *random, x []float32, n, h, w, c int, targets []float32) {
	lambda := r.beta(s.Alpha)
	middleX, middleY := r.intn(w), r.intn(h)
	half := 0.5 * math.Sqrt(1-lambda)
	halfX, halfY := int(half*float64(w)), int(half*float64(h))
	x1, x2 := max(middleX-halfX, 0), min(middleX+halfX, w)
	y1, y2 := max(middleY-halfY, 0), min(middleY+halfY, h)
	for y := y1; y < y2; y++ {
		roll(x, n, (y*w+x1)*c, (x2-x1)*c, func(sample, neighbour []float32) { copy(sample, neighbour) })
	}
	blendRolled(targets, n, 1-float64((x2-x1)*(y2-y1))/float64(w*h))
}

func checkAlpha(alpha float64) error {
	if !(alpha > 0 && alpha <= 1000) {
		return fmt.Errorf("alpha=%v: it must be above 0, and up to 1000", alpha)
	}
	return nil
}

// A batchStep changes a batch x [n, h, w, c] and its targets [n, classes].
type batchStep interface {
	Step
	applyBatch(r *random, x []float32, n, h, w, c int, targets []float32)
}

// A Mixer mixes the samples of batches with MixUp or CutMix, and, where it has both, with one of them at random, half of
// the batches each, as torchvision's reference training does. It may be used by many goroutines at once.
type Mixer struct{ choices []batchStep }

// Apply mixes each sample of a batch x [n, h, w, c], channels last, with the one before it, the first with the last, and
// their targets [n, classes], which are probabilities, in the same proportion. The pairs are neighbours as in torchvision,
// so the batch must have been shuffled. Both are changed in place.
func (m *Mixer) Apply(key Key, x []float32, n, h, w, c int, targets []float32, classes int) error {
	if min(n, h, w, c, classes) < 1 || len(x) != n*h*w*c || len(targets) != n*classes {
		return fmt.Errorf("augment: %d values and %d targets for [%d, %d, %d, %d] and [%d, %d]", len(x), len(targets), n, h, w, c, n, classes)
	}
	r := key.random("batch")
	choice := m.choices[0]
	if len(m.choices) > 1 {
		choice = m.choices[r.intn(len(m.choices))]
	}
	choice.applyBatch(r, x, n, h, w, c, targets)
	return nil
}

// blendRolled is x.roll(1, 0).mul_(1 - lambda).add_(x.mul(lambda)) for x of n rows.
func blendRolled(x []float32, n int, lambda float64) {
	own, other := float32(lambda), float32(1-lambda)
	roll(x, n, 0, len(x)/n, func(row, neighbour []float32) {
		for i, v := range neighbour {
			row[i] = float32(v*other) + float32(row[i]*own)
		}
	})
}

// roll calls f for the length values from offset on in each of n rows with those that the row before had, in pieces.
func roll(x []float32, n, offset, length int, f func(row, neighbour []float32)) {
	var last [2048]float32
	stride := len(x) / n
	for ; length > 0; length -= len(last) {
		size := min(length, len(last))
		row := func(i int) []float32 { return x[i*stride+offset:][:size] }
		copy(last[:], row(n-1))
		for i := n - 1; i > 0; i-- {
			f(row(i), row(i-1))
		}
		f(row(0), last[:size])
		offset += size
	}
}
