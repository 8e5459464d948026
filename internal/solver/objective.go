package solver

import (
	"context"
	"math"
	"sync"

	"github.com/graft-ml/graft/internal/kernels"
)

// matrix holds the features of all samples, centred, in the two orders that products need.
type matrix struct {
	samples, features int
	rows              kernels.Packed // for W·Xᵀ
	columns           kernels.Packed // for G·X
	mean              []float64
	variance          float64 // mean of all features'
}

func newMatrix(set *kernels.Set, features [][]float32) *matrix {
	m := &matrix{samples: len(features), features: len(features[0])}
	m.mean = make([]float64, m.features)
	for _, row := range features {
		for j, v := range row {
			m.mean[j] += float64(v) / float64(m.samples)
		}
	}
	x := make([]float32, m.samples*m.features)
	for i, row := range features {
		for j, v := range row {
			centred := float64(v) - m.mean[j]
			x[i*m.features+j] = float32(centred)
			m.variance += centred * centred / float64(len(x))
		}
	}
	m.rows = set.PackRows(make([]float32, set.PackedLen(m.samples, m.features)), x, m.samples, m.features, m.features)
	m.columns = set.PackColumns(make([]float32, set.PackedLen(m.features, m.samples)), x, m.features, m.samples, m.features)
	return m
}

// An objective is the penalised loss of the samples that aren't held out,
//
//	Σ -log softmax(W·x + b)[label] / n + |W|² / (2·C·n),
//
// of which scikit-learn minimises the C·n-fold. Its parameters are W [classes, features], then b.
type objective struct {
	*matrix
	set     *kernels.Set
	labels  []int
	classes int
	heldOut func(sample int) bool
	trained float64 // number of samples that aren't
	c       float64
	threads int

	weight []float32 // [classes, features]
	logits []float32 // [classes, samples], then the derivatives by them
	slope  []float32 // [classes, features]
	losses []float64 // of each sample
}

func newObjective(m *matrix, set *kernels.Set, labels []int, classes, threads int, heldOut func(int) bool) *objective {
	o := &objective{matrix: m, set: set, labels: labels, classes: classes, threads: threads, heldOut: heldOut}
	o.weight = make([]float32, classes*m.features)
	o.slope = make([]float32, classes*m.features)
	o.logits = make([]float32, classes*m.samples)
	o.losses = make([]float64, m.samples)
	for i := range m.samples {
		if !heldOut(i) {
			o.trained++
		}
	}
	return o
}

// dimensions is the number of parameters.
func (o *objective) dimensions() int { return o.classes * (o.features + 1) }

// value returns the objective, and its derivative in grad.
func (o *objective) value(params, grad []float64) float64 {
	weights := params[:len(o.weight)]
	o.forward(params)
	o.divide(o.samples, 64, o.residuals)
	o.divide(o.features, o.set.Width, func(from, to int) {
		o.product(o.logits, o.samples, o.columns, o.slope, o.features, from, to)
	})
	penalty, scale := 0.0, 1/(o.c*o.trained)
	for i, w := range weights {
		grad[i] = float64(o.slope[i])/o.trained + scale*w
		penalty += w * w
	}
	for k := range o.classes {
		sum := 0.0
		for _, g := range o.logits[k*o.samples : (k+1)*o.samples] {
			sum += float64(g)
		}
		grad[len(weights)+k] = sum / o.trained
	}
	loss := 0.0
	for i, l := range o.losses {
		if !o.heldOut(i) {
			loss += l
		}
	}
	return loss/o.trained + scale*penalty/2
}

// fit minimises the objective for a strength, from params on, which it changes, and leaves the losses
// of the samples at the minimum. The tolerance is how far the weights may be from it, as a part of
// themselves: no curvature is below the penalty's, 1/(C·n), so they are at most C·n gradients away.
func (o *objective) fit(ctx context.Context, c float64, params []float64, tolerance float64) (iterations int, err error) {
	o.c = c
	enough := func(grad []float64) bool {
		return c*o.trained*norm(grad) <= tolerance*norm(params[:len(o.weight)])
	}
	iterations, err = minimize(ctx, o.value, params, enough)
	o.value(params, make([]float64, len(params)))
	return iterations, err
}

// layer returns parameters as a linear layer of features that aren't centred.
func (o *objective) layer(params []float64) (weight, bias []float32) {
	weight = make([]float32, len(o.weight))
	for i := range weight {
		weight[i] = float32(params[i])
	}
	for k, b := range params[len(weight):] {
		bias = append(bias, float32(b-dot(params[k*o.features:(k+1)*o.features], o.mean)))
	}
	return weight, bias
}

// forward computes the logits of all samples.
func (o *objective) forward(params []float64) {
	for i := range o.weight {
		o.weight[i] = float32(params[i])
	}
	bias := params[len(o.weight):]
	o.divide(o.samples, o.set.Width, func(from, to int) {
		o.product(o.weight, o.features, o.rows, o.logits, o.samples, from, to)
		for k, b := range bias {
			row := o.logits[k*o.samples : (k+1)*o.samples]
			for i := from; i < to; i++ {
				row[i] += float32(b)
			}
		}
	})
}

// product computes columns [from, to) of c = a·b, from a multiple of a panel's width on.
func (o *objective) product(a []float32, lda int, b kernels.Packed, c []float32, ldc, from, to int) {
	b.Data = b.Data[o.set.PackedLen(from, b.K):]
	b.N = to - from
	o.set.Gemm(&kernels.Gemm{M: o.classes, A: a, LDA: lda, B: b, C: c[from:], LDC: ldc})
}

// residuals puts the derivative of the loss in the place of the logits of samples [from, to), zero for
// those that are held out, and notes their losses.
func (o *objective) residuals(from, to int) {
	p := make([]float64, o.classes)
	for i := from; i < to; i++ {
		highest := math.Inf(-1)
		for k := range p {
			p[k] = float64(o.logits[k*o.samples+i])
			highest = max(highest, p[k])
		}
		own, sum := p[o.labels[i]], 0.0
		for k, v := range p {
			p[k] = math.Exp(v - highest)
			sum += p[k]
		}
		o.losses[i] = math.Log(sum) - (own - highest)
		out := o.heldOut(i)
		for k, v := range p {
			g := v / sum
			if k == o.labels[i] {
				g--
			}
			if out {
				g = 0
			}
			o.logits[k*o.samples+i] = float32(g)
		}
	}
}

// divide does [0, n) in parts of a multiple of unit, one for each thread.
func (o *objective) divide(n, unit int, do func(from, to int)) {
	units := (n + unit - 1) / unit
	threads := min(o.threads, units)
	var wait sync.WaitGroup
	for t := 1; t < threads; t++ {
		wait.Go(func() { do(units*t/threads*unit, min(units*(t+1)/threads*unit, n)) })
	}
	do(0, min(units/threads*unit, n))
	wait.Wait()
}
