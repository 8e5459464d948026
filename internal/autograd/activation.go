package autograd

import (
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

var acts = map[graph.Act]kernels.Act{
	graph.ReLU: kernels.ReLU, graph.ReLU6: kernels.ReLU6, graph.SiLU: kernels.SiLU, graph.Sigmoid: kernels.Sigmoid,
	graph.HardSwish: kernels.HardSwish, graph.HardSigmoid: kernels.HardSigmoid, graph.GELU: kernels.GELU,
	graph.GELUTanh: kernels.GELUTanh, graph.Tanh: kernels.Tanh,
}

// actMap is an activation.
type actMap struct {
	set *kernels.Set
	act kernels.Act
}

func (m actMap) reads() []*buffer { return nil }

func (m actMap) apply(_ *thread, dst, src []float32, _, _ int) {
	dst = dst[:len(src)]
	if &dst[0] != &src[0] {
		copy(dst, src)
	}
	m.set.Act(m.act, dst)
}

// actGradMap multiplies a derivative by act'(z).
type actGradMap struct {
	act kernels.Act
	z   *tensor
}

func (m actGradMap) reads() []*buffer { return m.z.buffers() }

func (m actGradMap) apply(t *thread, dst, src []float32, from, to int) {
	m.z.set.ActGrad(m.act, dst[:len(src)], src, m.z.load(t, from, to))
}

func (c *compiler) act(op graph.Act, z *tensor) *tensor {
	act := acts[op]
	y := c.like(z, z.rows.then(actMap{c.set, act}))
	if last := len(z.maps) - 1; last >= 0 {
		if affine, ok := z.maps[last].(affineMap); ok && affine.act == kernels.None {
			affine.act = act
			y.maps[last] = affine
			y.maps = y.maps[:last+1]
		}
	}
	c.then(func() {
		if g := c.take(y); g != nil {
			c.contribute(z, g.then(actGradMap{act, z}))
		}
	})
	return y
}

// afterAffine splits a derivative by y, the result of an affine map, into an activation that follows,
// and the derivative by that activation's result. Without one the activation is None.
func afterAffine(g *rows, y *tensor) (kernels.Act, *rows) {
	if last := len(g.maps) - 1; last >= 0 {
		if m, ok := g.maps[last].(actGradMap); ok && m.z == y {
			inner := *g
			inner.maps = inner.maps[:last]
			return m.act, &inner
		}
	}
	return kernels.None, g
}

// expMap is exp(min(x, most)).
type expMap struct{ most float64 }

func (m expMap) reads() []*buffer { return nil }

func (m expMap) apply(_ *thread, dst, src []float32, _, _ int) {
	for i, v := range src {
		dst[i] = float32(math.Exp(min(float64(v), m.most)))
	}
}

// expGradMap multiplies a derivative by the exponential, where x isn't cut off.
type expGradMap struct {
	most float64
	x    rows
}

func (m expGradMap) reads() []*buffer { return m.x.buffers() }

func (m expGradMap) apply(t *thread, dst, src []float32, from, to int) {
	for i, v := range m.x.load(t, from, to) {
		if float64(v) <= m.most {
			dst[i] = src[i] * float32(math.Exp(float64(v)))
		} else {
			dst[i] = 0
		}
	}
}

func (c *compiler) exp(op graph.Exp, x *tensor) *tensor {
	y := c.like(x, x.rows.then(expMap{op.Max}))
	c.then(func() {
		if g := c.take(y); g != nil {
			c.contribute(x, g.then(expGradMap{op.Max, x.rows}))
		}
	})
	return y
}

// softmaxMap is softmax over a row.
type softmaxMap struct {
	set *kernels.Set
	n   int
}

func (m softmaxMap) reads() []*buffer { return nil }

func (m softmaxMap) apply(_ *thread, dst, src []float32, _, _ int) {
	dst = dst[:len(src)]
	if &dst[0] != &src[0] {
		copy(dst, src)
	}
	m.set.Softmax(dst, m.n, 1)
}

// softmaxGradMap derives softmax by its result y.
type softmaxGradMap struct{ y rows }

func (m softmaxGradMap) reads() []*buffer { return m.y.buffers() }

func (m softmaxGradMap) apply(t *thread, dst, src []float32, from, to int) {
	m.y.set.SoftmaxGrad(dst[:len(src)], src, m.y.load(t, from, to), m.y.width)
}

func (c *compiler) softmax(op graph.Softmax, x *tensor) *tensor {
	x = c.lastInner(x, op.Dim)
	y := c.like(x, x.rows.then(softmaxMap{c.set, x.width}))
	c.then(func() {
		if g := c.take(y); g != nil {
			c.contribute(x, g.then(softmaxGradMap{y.rows}))
		}
	})
	return y
}

// l2Map divides rows by their norms, and l2GradMap derives that.
type (
	l2Map     struct{ eps float64 }
	l2GradMap struct {
		eps float64
		x   rows
	}
)

func (m l2Map) reads() []*buffer     { return nil }
func (m l2GradMap) reads() []*buffer { return m.x.buffers() }

func norm(row []float32) float64 {
	sum := 0.0
	for _, v := range row {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

func (m l2Map) apply(_ *thread, dst, src []float32, from, to int) {
	n := len(src) / (to - from)
	for i := 0; i < len(src); i += n {
		scale := float32(1 / max(norm(src[i:i+n]), m.eps))
		for j, v := range src[i : i+n] {
			dst[i+j] = v * scale
		}
	}
}

func (m l2GradMap) apply(t *thread, dst, src []float32, from, to int) {
	x, n := m.x.load(t, from, to), m.x.width
	for i := 0; i < len(src); i += n {
		row, d := x[i:i+n], src[i:i+n]
		size, along := norm(row), 0.0
		scale := 1 / max(size, m.eps)
		if size > m.eps {
			for j, v := range row {
				along += float64(v) * float64(d[j])
			}
			along *= scale * scale
		}
		for j, v := range row {
			dst[i+j] = float32((float64(d[j]) - along*float64(v)) * scale)
		}
	}
}

func (c *compiler) l2norm(op graph.L2Norm, x *tensor) *tensor {
	x = c.lastInner(x, len(x.shape)-1)
	y := c.like(x, x.rows.then(l2Map{op.Eps}))
	c.then(func() {
		if g := c.take(y); g != nil {
			c.contribute(x, g.then(l2GradMap{op.Eps, x.rows}))
		}
	})
	return y
}
