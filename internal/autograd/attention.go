package autograd

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// An attention keeps nothing of the forward pass but its inputs: the backward pass computes each
// head's weights again.
type attention struct {
	*compiler
	op      graph.Attention
	q, k, v *tensor
	bias    *tensor // nil for none
	biases  int
	y       *tensor
	n, l, s int // samples, queries and keys of each
	d, e    int // features of a head's keys and values
}

func (c *compiler) attention(n *graph.Node, op graph.Attention, in []*tensor) *tensor {
	for i := range in {
		in[i] = c.ordered(in[i], natural(len(in[i].shape)))
	}
	a := &attention{compiler: c, op: op, q: in[0], k: in[1], v: in[2]}
	a.n, a.l, a.s = a.q.shape[0], a.q.shape[1], a.k.shape[1]
	a.d, a.e = a.q.shape[2]/op.Heads, a.v.shape[2]/op.Heads
	wants := a.q.wants || a.k.wants || a.v.wants
	if len(in) > 3 {
		a.bias, a.biases = in[3], in[3].shape[0]
		wants = wants || a.bias.wants
	}
	a.y = c.newTensor(n.Shape, natural(3), wants)
	h := a.inputs()
	c.emit(&step{op: "attention", units: a.n * op.Heads, run: func(t *thread, unit int) {
		sample, head := unit/op.Heads, unit%op.Heads
		_, weights := h.weights(t, sample, head)
		values := c.set.PackColumns(t.take(c.set.PackedLen(a.e, a.s)), h.head(h.v, a.s, a.e, sample, head), a.e, a.s, op.Heads*a.e)
		c.set.Gemm(&kernels.Gemm{M: a.l, A: weights, LDA: a.s, B: values,
			C: h.head(a.y.buffer, a.l, a.e, sample, head), LDC: op.Heads * a.e})
	}}, h.reads(), a.y.buffer)
	c.then(a.backward)
	return a.y
}

// inputs are an attention's inputs as they lie in memory.
type inputs struct {
	*attention
	q, k, v, bias *buffer
}

func (a *attention) inputs() *inputs {
	h := &inputs{attention: a, q: a.settled(a.q).buffer, k: a.settled(a.k).buffer, v: a.settled(a.v).buffer}
	if a.bias != nil {
		h.bias = a.settled(a.bias).buffer
	}
	return h
}

func (h *inputs) reads() []*buffer {
	all := []*buffer{h.q, h.k, h.v}
	if h.bias != nil {
		all = append(all, h.bias)
	}
	return all
}

// head returns a head's features of a sample of b, which has rows of so many features for each head.
func (a *attention) head(b *buffer, rows, features, sample, head int) []float32 {
	width := a.op.Heads * features
	return b.data()[sample*rows*width+head*features : (sample+1)*rows*width]
}

// weights computes scale·q, [l, d], and softmax(scale·q·kᵀ + bias), [l, s].
func (h *inputs) weights(t *thread, sample, head int) (scaled, weights []float32) {
	width := h.op.Heads * h.d
	queries := h.head(h.q, h.l, h.d, sample, head)
	scaled = t.take(h.l * h.d)
	for i := range h.l {
		for j, x := range queries[i*width : i*width+h.d] {
			scaled[i*h.d+j] = x * float32(h.op.Scale)
		}
	}
	keys := h.set.PackRows(t.take(h.set.PackedLen(h.s, h.d)), h.head(h.k, h.s, h.d, sample, head), h.s, h.d, width)
	weights = t.take(h.l * h.s)
	g := kernels.Gemm{M: h.l, A: scaled, LDA: h.d, B: keys, C: weights, LDC: h.s}
	if h.bias != nil {
		g.Res, g.LDR = h.bias.data()[(sample%h.biases*h.op.Heads+head)*h.l*h.s:], h.s
	}
	h.set.Gemm(&g)
	h.set.Softmax(weights, h.s, 1)
	return scaled, weights
}

func (a *attention) backward() {
	g := a.settledGrad(a.y)
	if g == nil {
		return
	}
	h := a.inputs()
	var writes []*buffer
	derivative := func(x *tensor) *buffer {
		if !x.wants {
			return nil
		}
		b := a.newBuffer(graph.Numel(x.shape))
		writes = append(writes, b)
		a.contribute(x, a.plain(b, x.width))
		return b
	}
	dq, dk, dv := derivative(a.q), derivative(a.k), derivative(a.v)
	// Samples with the same bias follow each other at a distance; a chunk takes some of each.
	var dbias *buffer // of each chunk
	groups, per := a.n, 1
	chunks := groups
	if a.bias != nil && a.bias.wants {
		groups, per = a.n/a.biases, a.biases
		chunks = min(groups, 4)
		dbias = a.newBuffer(chunks * graph.Numel(a.bias.shape))
		writes = append(writes, dbias)
	}
	a.emit(&step{op: "attention backward", units: chunks * a.op.Heads, run: func(t *thread, unit int) {
		chunk, head := unit/a.op.Heads, unit%a.op.Heads
		first, last := chunk*groups/chunks, (chunk+1)*groups/chunks
		for sample := first * per; sample < last*per; sample++ {
			mark := t.used
			var db []float32
			if dbias != nil {
				db = dbias.data()[((chunk*a.biases+sample%a.biases)*a.op.Heads+head)*a.l*a.s:][:a.l*a.s]
				if sample < first*per+a.biases {
					clear(db)
				}
			}
			h.derive(t, sample, head, g.buffer, dq, dk, dv, db)
			t.used = mark
		}
	}}, append(h.reads(), g.buffer), writes...)
	if dbias == nil {
		return
	}
	size := graph.Numel(a.bias.shape)
	sum := a.newBuffer(size)
	a.emit(&step{op: "attention backward", units: 1, run: func(*thread, int) {
		copy(sum.data(), dbias.data()[:size])
		for i := 1; i < chunks; i++ {
			a.set.Add(sum.data(), sum.data(), dbias.data()[i*size:(i+1)*size], kernels.None)
		}
	}}, []*buffer{dbias}, sum)
	a.contribute(a.bias, a.plain(sum, a.bias.width))
}

// derive computes a head's derivatives for a sample, and adds to those of the bias. With P the weights,
// O = P·V and Z what softmax was taken of: dV = Pᵀ·dO, dZ = P ∘ (dO·Vᵀ - rowsum(P ∘ dO·Vᵀ)), dQ = scale·dZ·K and
// dK = scale·dZᵀ·Q.
func (h *inputs) derive(t *thread, sample, head int, dy, dq, dk, dv *buffer, dbias []float32) {
	scaled, weights := h.weights(t, sample, head)
	dout, ldo := h.head(dy, h.l, h.e, sample, head), h.op.Heads*h.e
	ldk := h.op.Heads * h.d
	if dv != nil {
		h.set.GemmT(&kernels.GemmT{M: h.s, N: h.e, K: h.l, A: weights, LDA: h.s, B: dout, LDB: ldo,
			C: h.head(dv, h.s, h.e, sample, head), LDC: ldo})
	}
	if dq == nil && dk == nil && dbias == nil {
		return
	}
	values := h.set.PackRows(t.take(h.set.PackedLen(h.s, h.e)), h.head(h.v, h.s, h.e, sample, head), h.s, h.e, ldo)
	dz := t.take(h.l * h.s)
	h.set.Gemm(&kernels.Gemm{M: h.l, A: dout, LDA: ldo, B: values, C: dz, LDC: h.s})
	h.set.SoftmaxGrad(dz, dz, weights, h.s)
	if dbias != nil {
		h.set.Add(dbias, dbias, dz, kernels.None)
	}
	if dq != nil {
		keys := h.set.PackColumns(t.take(h.set.PackedLen(h.d, h.s)), h.head(h.k, h.s, h.d, sample, head), h.d, h.s, ldk)
		for i := range keys.Data {
			keys.Data[i] *= float32(h.op.Scale)
		}
		h.set.Gemm(&kernels.Gemm{M: h.l, A: dz, LDA: h.s, B: keys, C: h.head(dq, h.l, h.d, sample, head), LDC: ldk})
	}
	if dk != nil {
		h.set.GemmT(&kernels.GemmT{M: h.s, N: h.d, K: h.l, A: dz, LDA: h.s, B: scaled, LDB: h.d,
			C: h.head(dk, h.s, h.d, sample, head), LDC: ldk})
	}
}
