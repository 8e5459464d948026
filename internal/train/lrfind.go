package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
)

// LRRange says which learning rates [FindLR] tries. Zero fields have fast.ai's defaults.
type LRRange struct {
	Start float64 // 0 means 1e-7
	End   float64 // 0 means 10
	Steps int     // 0 means 100
}

// An LRPoint is a step of [FindLR].
type LRPoint struct {
	LR   float64 `json:"lr"`
	Loss float64 `json:"loss"` // smoothed
}

// An LRCurve is what [FindLR] found.
type LRCurve struct {
	Points []LRPoint `json:"points"`
	// Steep is the rate at which the loss falls fastest before it is lowest, and Minimum a tenth of the one
	// at which it is lowest; a good rate lies near or between the two. Zero where there are too few points
	// to say.
	Steep   float64 `json:"steep"`
	Minimum float64 `json:"minimum"`
}

const (
	lossSmoothing = 0.98 // fast.ai's beta
	lossLimit     = 4    // the multiple of the lowest loss at which the test ends
)

// FindLR is the range test of https://arxiv.org/abs/1506.01186 as fast.ai's lr_find does it: each step
// has a higher learning rate, in equal ratios, until the smoothed loss is four times its lowest or no
// longer a number. The schedule of cfg plays no part. Parameters, running statistics and cfg.Random are
// afterwards as they were.
func FindLR(ctx context.Context, build Builder, s Source, cfg Config, span LRRange) (LRCurve, error) {
	span = LRRange{cmp.Or(span.Start, 1e-7), cmp.Or(span.End, 10), cmp.Or(span.Steps, 100)}
	if !(span.Start > 0 && span.Start < span.End) || math.IsInf(span.End, 1) || span.Steps < 2 {
		return LRCurve{}, fmt.Errorf("learning rates from %g to %g in %d steps: they must rise, and be two at least", span.Start, span.End, span.Steps)
	}
	cfg.Epochs, cfg.State, cfg.EMA = 1, StateConfig{}, 0
	f, err := newFitter(build, s, s, cfg)
	if err != nil {
		return LRCurve{}, err
	}
	state := f.random.State()
	f.rates = func(step int) (float64, float64) {
		return span.Start * math.Pow(span.End/span.Start, float64(step)/float64(span.Steps-1)), f.cfg.Optimizer.momentum()
	}
	points, err := f.findLR(ctx, span.Steps)
	f.last.Restore()
	if err := errors.Join(err, f.random.SetState(state)); err != nil {
		return LRCurve{}, err
	}
	steep, minimum := suggest(points)
	return LRCurve{points, steep, minimum}, nil
}

// findLR makes so many steps, in as many epochs as they take.
func (f *fitter) findLR(ctx context.Context, steps int) (points []LRPoint, err error) {
	average, lowest := 0.0, math.Inf(1)
	for ; ; f.Epoch, f.Step = f.Epoch+1, 0 {
		groups, r, err := f.open(ctx)
		if err != nil {
			return nil, err
		}
		defer r.close()
		for _, group := range groups {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			lr, _ := f.rates(len(points))
			loss, err := f.step(r, group)
			if errors.Is(err, ErrDiverged) {
				return points, nil
			} else if err != nil {
				return nil, err
			}
			average += (1 - lossSmoothing) * (loss - average)
			smooth := average / (1 - math.Pow(lossSmoothing, float64(len(points)+1)))
			points = append(points, LRPoint{lr, smooth})
			lowest = min(lowest, smooth)
			if smooth > lossLimit*lowest || len(points) == steps {
				return points, nil
			}
		}
	}
}

// suggest finds the rates, as fast.ai does, among all points but the first tenth and the last five. The
// steepest is before the lowest: where the loss exploded, it may fall faster.
func suggest(points []LRPoint) (steep, minimum float64) {
	first, last := len(points)/10, len(points)-5
	if last-first < 2 {
		return 0, 0
	}
	points = points[first:last]
	lowest := 0
	for i, p := range points {
		if p.Loss < points[lowest].Loss {
			lowest = i
		}
	}
	fastest := math.Inf(1)
	for i, p := range points[1 : lowest+1] {
		q := points[i]
		if slope := (p.Loss - q.Loss) / math.Log(p.LR/q.LR); slope < fastest {
			fastest, steep = slope, q.LR
		}
	}
	return steep, points[lowest].LR / 10
}
