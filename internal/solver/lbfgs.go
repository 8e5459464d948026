package solver

import (
	"context"
	"math"
	"slices"
)

const (
	memory    = 10   // pairs of steps and changes of the gradient
	armijo    = 1e-4 // of the decrease that the slope promises
	curvature = 0.9  // of the slope, at most, is left
	noise     = 1e-7 // that float32 products leave in the value, of it or of 1
	patience  = 30   // iterations below the noise that don't lower the gradient

	maxIterations = 1000
)

// minimize finds the minimum of a convex function from x on, which it changes, by L-BFGS (Nocedal and
// Wright, Numerical Optimization, algorithm 7.4). It ends where the gradient is small enough, or rounding
// hides what is left to gain, and returns the number of iterations.
func minimize(ctx context.Context, f func(x, grad []float64) float64, x []float64, enough func(grad []float64) bool) (iterations int, err error) {
	grad := make([]float64, len(x))
	value := f(x, grad)
	lowest, stalled := norm(grad), 0
	var pairs []pair
	for i := range maxIterations {
		if err := ctx.Err(); err != nil {
			return i, err
		}
		if enough(grad) || stalled == patience {
			return i, nil
		}
		direction := descent(grad, pairs)
		slope := dot(grad, direction)
		step := 1.0
		if pairs == nil {
			step = min(1, 1/math.Sqrt(-slope))
		}
		next, nextGrad, nextValue, ok := search(f, x, value, direction, slope, step)
		if !ok {
			return i, nil
		}
		p := pair{s: difference(next, x), y: difference(nextGrad, grad)}
		if p.sy = dot(p.s, p.y); p.sy > 0 {
			pairs = append(pairs, p)
			pairs = pairs[max(0, len(pairs)-memory):]
		}
		if g := norm(nextGrad); g < lowest {
			lowest, stalled = g, 0
		} else if -slope < noise*(1+math.Abs(value)) {
			stalled++
		}
		copy(x, next)
		grad, value = nextGrad, nextValue
	}
	return maxIterations, nil
}

// A pair is a step and how it changed the gradient.
type pair struct {
	s, y []float64
	sy   float64
}

// descent is the two-loop recursion: minus the gradient times what the pairs tell of the inverse
// Hessian.
func descent(grad []float64, pairs []pair) []float64 {
	d := slices.Clone(grad)
	alpha := make([]float64, len(pairs))
	for i, p := range slices.Backward(pairs) {
		alpha[i] = dot(p.s, d) / p.sy
		add(d, -alpha[i], p.y)
	}
	scale := -1.0
	if n := len(pairs); n > 0 {
		last := pairs[n-1]
		scale = -last.sy / dot(last.y, last.y)
	}
	for i := range d {
		d[i] *= scale
	}
	for i, p := range pairs {
		add(d, -alpha[i]-dot(p.y, d)/p.sy, p.s)
	}
	return d
}

// search finds a point along a direction that fulfils the weak Wolfe conditions, by bisection
// (https://doi.org/10.1007/s10107-012-0514-2).
func search(f func(x, grad []float64) float64, x []float64, value float64, direction []float64, slope, step float64) (next, nextGrad []float64, nextValue float64, ok bool) {
	if !(slope < 0) {
		return nil, nil, 0, false
	}
	next, nextGrad = make([]float64, len(x)), make([]float64, len(x))
	low, high := 0.0, math.Inf(1)
	for range 12 {
		copy(next, x)
		add(next, step, direction)
		nextValue = f(next, nextGrad)
		switch {
		case !(nextValue <= value+armijo*step*slope+noise*(1+math.Abs(value))):
			high = step
		case dot(nextGrad, direction) < curvature*slope:
			low = step
		default:
			return next, nextGrad, nextValue, true
		}
		if step = (low + high) / 2; math.IsInf(high, 1) {
			step = 2 * low
		}
	}
	return nil, nil, 0, false
}

func norm(v []float64) float64 { return math.Sqrt(dot(v, v)) }

func dot(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + (s2 + s3)
}

// add adds a multiple of b to a.
func add(a []float64, scale float64, b []float64) {
	for i, v := range b {
		a[i] += scale * v
	}
}

func difference(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}
