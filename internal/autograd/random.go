package autograd

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
)

// dropout multiplies each element by 0 or 1/(1-p), which are drawn in the order of a row-major tensor.
func (c *compiler) dropout(op graph.Dropout, x *tensor) *tensor {
	if !op.Varies() { // at p = 0 PyTorch draws no number
		return x
	}
	mask := c.newBuffer(graph.Numel(x.shape))
	sizes, places := physical(x.shape, natural(len(x.shape))), strides(x.shape, x.order)
	inOrder := slices.Equal(x.order, natural(len(x.shape)))
	c.emit(&step{op: "random", units: 1, run: func(t *thread, _ int) {
		m := mask.data()
		if !t.train {
			for i := range m {
				m[i] = 1
			}
			return
		}
		index := make([]int, len(sizes))
		for i := range m {
			at := i
			if !inOrder {
				at = 0
				for d, rest := len(sizes)-1, i; d >= 0; d-- {
					index[d], rest = rest%sizes[d], rest/sizes[d]
					at += index[d] * places[d]
				}
			}
			m[at] = c.survives(op.P)
		}
	}}, nil, mask)
	return c.masked(x, c.plain(mask, x.width))
}

// stochasticDepth multiplies each sample by 0 or 1/(1-p).
func (c *compiler) stochasticDepth(op graph.StochasticDepth, x *tensor) *tensor {
	if !op.Varies() {
		return x
	}
	x = c.ordered(x, append([]int{0}, slices.DeleteFunc(slices.Clone(x.order), func(d int) bool { return d == 0 })...))
	samples := x.shape[0]
	mask := c.newBuffer(samples * x.width)
	c.emit(&step{op: "random", units: 1, run: func(t *thread, _ int) {
		for i := range samples {
			scale := float32(1)
			if t.train {
				scale = c.survives(op.P)
			}
			row := mask.data()[i*x.width : (i+1)*x.width]
			for j := range row {
				row[j] = scale
			}
		}
	}}, nil, mask)
	r := c.plain(mask, x.width)
	r.repeat = repeat{max(1, graph.Numel(x.shape)/x.width/samples), samples}
	return c.masked(x, r)
}

// survives draws whether something is kept, and returns what to multiply it by.
func (c *compiler) survives(p float64) float32 {
	if c.net.random.Bernoulli(1 - p) {
		return float32(1 / (1 - p))
	}
	return 0
}

func (c *compiler) masked(x *tensor, mask rows) *tensor {
	y := c.like(x, x.rows.then(mulMap{mask}))
	c.then(func() {
		if g := c.take(y); g != nil {
			c.contribute(x, g.then(mulMap{mask}))
		}
	})
	return y
}
