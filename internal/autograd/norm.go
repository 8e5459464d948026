package autograd

import (
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// affineMap is act(x·scale + shift) by columns.
type affineMap struct {
	set          *kernels.Set
	scale, shift *buffer
	act          kernels.Act
}

func (m affineMap) reads() []*buffer { return []*buffer{m.scale, m.shift} }

func (m affineMap) apply(_ *thread, dst, src []float32, _, _ int) {
	m.set.Affine(dst[:len(src)], src, m.scale.data(), m.shift.data(), m.act)
}

// combineMap is the derivative by x of a norm that uses x's own statistics: a·dz + b·x + c by columns.
type combineMap struct {
	x       rows
	a, b, c *buffer
}

func (m combineMap) reads() []*buffer { return append(m.x.buffers(), m.a, m.b, m.c) }

func (m combineMap) apply(t *thread, dst, src []float32, from, to int) {
	m.x.set.Combine(dst[:len(src)], src, m.a.data(), m.x.load(t, from, to), m.b.data(), m.c.data())
}

// A batchNorm is x·scale + shift by channels. While training, scale and shift follow from the batch.
type batchNorm struct {
	*compiler
	op                       graph.BatchNorm
	weight, bias             *graph.Param
	runningMean, runningVar  *graph.Param
	x, y                     *tensor
	n, channels              int // numbers of a channel
	mean, rstd, scale, shift *buffer
	factor, slope, offset    *buffer // of the derivative by x
	dz                       *buffer
	wantsWeight, wantsBias   bool
}

func (c *compiler) batchNorm(n *graph.Node, op graph.BatchNorm, x *tensor) *tensor {
	x = c.lastInner(x, 1)
	b := &batchNorm{compiler: c, op: op, weight: n.Params[0], bias: n.Params[1], runningMean: n.Params[2], runningVar: n.Params[3],
		x: x, channels: x.shape[1], n: graph.Numel(x.shape) / x.shape[1]}
	b.wantsWeight, b.wantsBias = b.weight.RequiresGrad, b.bias.RequiresGrad
	for _, v := range []**buffer{&b.mean, &b.rstd, &b.scale, &b.shift} {
		*v = c.fixed(make([]float32, b.channels))
	}
	b.forward()
	b.y = c.like(x, x.rows.then(affineMap{c.set, b.scale, b.shift, kernels.None}))
	b.y.wants = x.wants || b.wantsWeight || b.wantsBias
	if b.y.wants {
		c.then(b.backward)
	}
	return b.y
}

// forward emits the steps that find mean and deviation, and scale and shift.
func (b *batchNorm) forward() {
	var reads []*buffer
	var parts division
	var partial *buffer // for each part, a pivot near the mean and what moments around it come to
	if b.op.Training {
		b.net.buffers = append(b.net.buffers, b.runningMean, b.runningVar)
		source := b.x.sources()[0]
		s := b.onRows("statistics", source, b.x.parts(2*b.channels), false, b.x.buffers(), func(t *thread, part, from, to int) {
			if !t.train {
				return
			}
			x, p := b.x.load(t, from, to), partial.data()[3*part*b.channels:][:3*b.channels]
			pivot, moments := p[:b.channels], p[b.channels:]
			copy(pivot, x)
			clear(moments)
			b.set.Moments(moments[:b.channels], moments[b.channels:], x, pivot)
		})
		parts = s.parts
		partial = b.newBuffer(3 * parts.count() * b.channels)
		s.touch(nil, partial)
		reads = append(reads, partial)
	}
	const chunk = 32 // channels of a unit
	b.emit(&step{op: "statistics", units: (b.channels + chunk - 1) / chunk, run: func(t *thread, unit int) {
		for ch := unit * chunk; ch < min((unit+1)*chunk, b.channels); ch++ {
			mean, variance := float64(b.runningMean.Data[ch]), float64(b.runningVar.Data[ch])
			if t.train && b.op.Training {
				mean, variance = b.statistics(partial.data(), ch, parts)
				unbiased := variance * float64(b.n) / float64(max(b.n-1, 1))
				update(&b.runningMean.Data[ch], mean, b.op.Momentum)
				update(&b.runningVar.Data[ch], unbiased, b.op.Momentum)
			}
			rstd := 1 / math.Sqrt(variance+b.op.Eps)
			scale := float64(b.weight.Data[ch]) * rstd
			b.mean.data()[ch], b.rstd.data()[ch], b.scale.data()[ch] = float32(mean), float32(rstd), float32(scale)
			b.shift.data()[ch] = float32(float64(b.bias.Data[ch]) - mean*scale)
		}
	}}, reads, b.mean, b.rstd, b.scale, b.shift)
}

func update(running *float32, value, momentum float64) {
	*running = float32((1-momentum)*float64(*running) + momentum*value)
}

// statistics joins the parts' moments of a channel
// (https://en.wikipedia.org/wiki/Algorithms_for_calculating_variance#Parallel_algorithm).
func (b *batchNorm) statistics(data []float32, ch int, parts division) (mean, variance float64) {
	var count, squares float64
	for part := range parts.count() {
		from, to := parts.bounds(part)
		n := float64(to - from)
		at := 3*part*b.channels + ch
		shift := float64(data[at+b.channels]) / n
		partMean := float64(data[at]) + shift
		delta := partMean - mean
		squares += float64(data[at+2*b.channels]) - n*shift*shift + delta*delta*count*n/(count+n)
		count += n
		mean += delta * n / count
	}
	return mean, max(squares, 0) / count
}

func (b *batchNorm) backward() {
	g := b.take(b.y)
	if g == nil {
		return
	}
	if !b.op.Training && !b.wantsWeight && !b.wantsBias {
		b.contribute(b.x, g.then(mulMap{b.repeated(b.scale)}))
		return
	}
	// The derivative by the norm's result, with that of an activation after it.
	act, g := afterAffine(g, b.y)
	if b.dz = g.own(); b.dz == nil {
		b.dz = b.newBuffer(graph.Numel(b.x.shape))
	}
	var partial *buffer // for each part, the sums of dz and dz·(x - mean)
	reads := append(append(g.buffers(), b.x.buffers()...), b.scale, b.shift, b.mean)
	w := b.channels
	s := b.onRows("norm backward", b.dz, b.x.parts(3*w), true, reads, func(t *thread, part, from, to int) {
		sums := partial.data()[2*part*w:][:2*w]
		clear(sums)
		b.set.AffineGrad(&kernels.AffineGrad{Dst: b.dz.data()[from*w : to*w], DY: g.load(t, from, to), X: b.x.load(t, from, to),
			Scale: b.scale.data(), Shift: b.shift.data(), Mean: b.mean.data(), Sum: sums[:w], Product: sums[w:], Act: act})
	})
	count := s.parts.count()
	partial = b.newBuffer(2 * count * w)
	s.touch(nil, partial)
	for _, v := range []**buffer{&b.factor, &b.slope, &b.offset} {
		*v = b.newBuffer(w)
	}
	b.totals(partial, count)
	b.contribute(b.x, b.plain(b.dz, w).then(combineMap{b.x.rows, b.factor, b.slope, b.offset}))
}

// totals emits the step that sums the parts' results: the derivatives by weight and bias, and how that
// by x follows from dz: dx = weight·rstd·(dz - mean(dz) - x̂·mean(dz·x̂)).
func (b *batchNorm) totals(sums *buffer, parts int) {
	var dWeight, dBias []float32
	var addWeight, addBias bool
	if b.wantsWeight {
		dWeight, addWeight = b.accumulate(b.weight)
	}
	if b.wantsBias {
		dBias, addBias = b.accumulate(b.bias)
	}
	const chunk = 32
	b.emit(&step{op: "norm backward", units: (b.channels + chunk - 1) / chunk, run: func(t *thread, unit int) {
		partial := sums.data()
		for ch := unit * chunk; ch < min((unit+1)*chunk, b.channels); ch++ {
			var sum, product float64
			for p := range parts {
				sum += float64(partial[2*p*b.channels+ch])
				product += float64(partial[(2*p+1)*b.channels+ch])
			}
			rstd := float64(b.rstd.data()[ch])
			product *= rstd // of dz·x̂
			if dWeight != nil {
				store(&dWeight[ch], product, addWeight)
			}
			if dBias != nil {
				store(&dBias[ch], sum, addBias)
			}
			factor, slope, offset := float64(b.scale.data()[ch]), 0.0, 0.0
			if t.train && b.op.Training {
				slope = -factor * rstd * product / float64(b.n)
				offset = -factor*sum/float64(b.n) - slope*float64(b.mean.data()[ch])
			}
			b.factor.data()[ch], b.slope.data()[ch], b.offset.data()[ch] = float32(factor), float32(slope), float32(offset)
		}
	}}, []*buffer{sums, b.scale, b.mean, b.rstd}, b.factor, b.slope, b.offset)
}

func store(to *float32, v float64, add bool) {
	if add {
		v += float64(*to)
	}
	*to = float32(v)
}

// repeated gives rows that all equal a buffer.
func (c *compiler) repeated(b *buffer) rows {
	r := c.plain(b, b.size)
	r.repeat = repeat{always, 1}
	return r
}

// affine is x·Scale + Shift by channels, with numbers that never change.
func (c *compiler) affine(op graph.Affine, x *tensor) *tensor {
	x = c.lastInner(x, 1)
	shift := op.Shift
	if shift == nil {
		shift = make([]float32, len(op.Scale))
	}
	scale := c.fixed(op.Scale)
	y := c.like(x, x.rows.then(affineMap{c.set, scale, c.fixed(shift), kernels.None}))
	c.then(func() {
		if g := c.take(y); g != nil {
			c.contribute(x, g.then(mulMap{c.repeated(scale)}))
		}
	})
	return y
}

// normMap is layer norm.
type normMap struct {
	set          *kernels.Set
	weight, bias *graph.Param
	eps          float32
}

func (m normMap) reads() []*buffer { return nil }

func (m normMap) apply(_ *thread, dst, src []float32, _, _ int) {
	m.set.Norm(dst[:len(src)], src, m.weight.Data, m.bias.Data, m.eps)
}

func (c *compiler) layerNorm(n *graph.Node, op graph.LayerNorm, x *tensor) *tensor {
	x = c.lastInner(x, len(x.shape)-1)
	m := normMap{c.set, n.Params[0], n.Params[1], float32(op.Eps)}
	y := c.like(x, x.rows.then(m))
	wantsWeight, wantsBias := m.weight.RequiresGrad, m.bias.RequiresGrad
	y.wants = x.wants || wantsWeight || wantsBias
	c.then(func() {
		g := c.take(y)
		if g == nil {
			return
		}
		w := x.width
		dx := g.own()
		if dx == nil {
			dx = c.newBuffer(graph.Numel(x.shape))
		}
		var partial *buffer // for each part, the derivatives by weight and bias
		s := c.onRows("norm backward", dx, x.parts(3*w), true, append(g.buffers(), x.buffers()...), func(t *thread, part, from, to int) {
			p := partial.data()
			count := len(p) / 2
			dWeight, dBias := p[part*w:(part+1)*w], p[count+part*w:][:w]
			clear(dWeight)
			clear(dBias)
			c.set.NormGrad(dx.data()[from*w:to*w], g.load(t, from, to), x.load(t, from, to), m.weight.Data, m.eps, dWeight, dBias)
		})
		count := s.parts.count()
		partial = c.newBuffer(2 * count * w)
		s.touch(nil, partial)
		if wantsWeight {
			c.reduce(partial, 0, count, w, m.weight)
		}
		if wantsBias {
			c.reduce(partial, count*w, count, w, m.bias)
		}
		c.contribute(x, c.plain(dx, w))
	})
	return y
}
