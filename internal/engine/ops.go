package engine

import (
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// rowwise emits a step that computes out from in by rows of the given size.
func (c *compiler) rowwise(op string, in, out value, row int, f func(dst, x []float32)) {
	const chunk = 8 << 10 // floats that a unit has at least, to be worth the call
	rows := graph.Numel(out.shape) / row
	per := max(1, chunk/row)
	if out.bf16 {
		c.needScratch(per * row)
	}
	c.emit(step{op: op, units: (rows + per - 1) / per, reads: []int{in.buffer}, write: out.buffer,
		run: func(s *State, thread, from, to int) {
			for u := from; u < to; u++ {
				a, b := u*per*row, min((u+1)*per, rows)*row
				c.writing(s, thread, out, a, b, func(dst []float32) { f(dst, s.buffer(in.buffer)[a:b]) })
			}
		}})
}

// affine emits act(x · scale + shift) by channel.
func (c *compiler) affine(n *graph.Node, in value, scale, shift []float32) {
	in = c.lastInner(in, 1)
	act, end := c.followingAct(n)
	out := c.newTyped(n.Shape, in.order, c.yieldsBF16(end, len(scale)))
	c.rowwise("norm", in, out, len(scale), func(dst, x []float32) { c.plan.kernels.Affine(dst, x, scale, shift, act) })
	c.set(end, out)
}

func (c *compiler) layerNorm(n *graph.Node, op graph.LayerNorm, in value) {
	in = c.lastInner(in, len(in.shape)-1)
	weight, bias := n.Params[0].Data, n.Params[1].Data
	out := c.newTyped(n.Shape, in.order, c.yieldsBF16(n, len(weight)))
	c.rowwise("norm", in, out, len(weight), func(dst, x []float32) {
		c.plan.kernels.Norm(dst, x, weight, bias, float32(op.Eps))
	})
	c.set(n, out)
}

func (c *compiler) softmax(n *graph.Node, op graph.Softmax, in value) {
	in = c.lastInner(in, op.Dim)
	out := c.newValue(n.Shape, in.order)
	size := n.Shape[op.Dim]
	c.rowwise("softmax", in, out, size, func(dst, x []float32) {
		copy(dst, x)
		c.plan.kernels.Softmax(dst, size, 1)
	})
	c.set(n, out)
}

func (c *compiler) act(n *graph.Node, op graph.Act, in value) {
	out := c.newTyped(n.Shape, in.order, c.yieldsBF16(n, in.shape[in.order[len(in.order)-1]]))
	act := kernelActs[op]
	c.rowwise("activation", in, out, 1, func(dst, x []float32) {
		copy(dst, x)
		c.plan.kernels.Act(act, dst)
	})
	c.set(n, out)
}

func (c *compiler) exp(n *graph.Node, op graph.Exp, in value) {
	out := c.newValue(n.Shape, in.order)
	c.rowwise("activation", in, out, 1, func(dst, x []float32) {
		for i, v := range x {
			dst[i] = float32(math.Exp(min(float64(v), op.Max)))
		}
	})
	c.set(n, out)
}

func (c *compiler) l2norm(n *graph.Node, op graph.L2Norm, in value) {
	in = c.lastInner(in, len(in.shape)-1)
	out := c.newValue(n.Shape, in.order)
	size := in.shape[len(in.shape)-1]
	c.rowwise("norm", in, out, size, func(dst, x []float32) {
		for ; len(dst) > 0; dst, x = dst[size:], x[size:] {
			sum := 0.0
			for _, v := range x[:size] {
				sum += float64(v) * float64(v)
			}
			scale := float32(1 / max(math.Sqrt(sum), op.Eps))
			for i, v := range x[:size] {
				dst[i] = v * scale
			}
		}
	})
	c.set(n, out)
}

// binary emits an elementwise operation with broadcasting: f on runs of equal length.
func (c *compiler) binary(op string, n *graph.Node, a, b value, f func(dst, a, b []float32)) value {
	shape := n.Shape
	if !slices.Equal(a.shape, shape) && slices.Equal(b.shape, shape) {
		a, b = b, a
	}
	if !slices.Equal(a.shape, shape) {
		a = c.expanded(a, shape)
	}
	// b's dimensions, aligned with a's from the last.
	ones := slices.Repeat([]int{1}, len(shape)-len(b.shape))
	b, _ = b.reshaped(append(ones, b.shape...))
	b = c.ordered(b, a.order)
	// In memory order, b may repeat in the middle: outer × times × inner.
	outer, times, inner := 1, 1, 1
	sizesA, sizesB := a.physical(), b.physical()
	i := 0
	for ; i < len(sizesA) && sizesA[i] == sizesB[i]; i++ {
		outer *= sizesA[i]
	}
	for ; i < len(sizesA) && sizesB[i] == 1; i++ {
		times *= sizesA[i]
	}
	for ; i < len(sizesA) && sizesA[i] == sizesB[i]; i++ {
		inner *= sizesA[i]
	}
	if i < len(sizesA) { // it repeats in more than one place
		b = c.ordered(c.expanded(b, shape), a.order)
		outer, times, inner = graph.Numel(shape), 1, 1
	}
	out := c.newTyped(shape, a.order, c.yieldsBF16(n, shape[a.order[len(a.order)-1]]))
	if times == 1 {
		outer, inner = 1, outer*inner
	}
	const chunk = 8 << 10 // floats of a unit, at least
	single := outer*times == 1
	runs, size := outer*times, inner
	if single {
		runs, size = inner, 1
	}
	per := max(1, chunk/size)
	compute := func(s *State, dst []float32, from, to int) {
		x, y := s.buffer(a.buffer), s.buffer(b.buffer)
		if single {
			f(dst, x[from:to], y[from:to])
			return
		}
		for r := from; r < to; r++ {
			at, other := r*inner, r/times*inner
			f(dst[at-from*inner:][:inner], x[at:at+inner], y[other:other+inner])
		}
	}
	if out.bf16 {
		c.needScratch(per * size)
	}
	c.emit(step{op: op, units: (runs + per - 1) / per, reads: []int{a.buffer, b.buffer}, write: out.buffer,
		run: func(s *State, thread, from, to int) {
			for u := from; u < to; u++ {
				first, last := u*per, min((u+1)*per, runs)
				c.writing(s, thread, out, first*size, last*size, func(dst []float32) { compute(s, dst, first, last) })
			}
		}})
	return out
}

// expanded repeats v to a shape.
func (c *compiler) expanded(v value, shape []int) value {
	ones := slices.Repeat([]int{1}, len(shape)-len(v.shape))
	v, _ = v.reshaped(append(ones, v.shape...))
	out := c.newValue(shape, v.order)
	all, sizes := v.strides(), out.physical()
	strides := make([]int, len(sizes))
	for i, d := range out.order {
		if v.shape[d] != 1 {
			strides[i] = all[d]
		}
	}
	c.gather(v, out, sizes, strides)
	return out
}

func (c *compiler) expand(n *graph.Node, in value) { c.set(n, c.expanded(in, n.Shape)) }

// span returns how a dimension lies in memory: in outer pieces, each of its size times inner.
func (v value) span(dim int) (outer, inner int) {
	outer, inner = 1, 1
	at := slices.Index(v.order, dim)
	for i, d := range v.order {
		switch {
		case i < at:
			outer *= v.shape[d]
		case i > at:
			inner *= v.shape[d]
		}
	}
	return outer, inner
}

func (c *compiler) concat(n *graph.Node, op graph.Concat, in []value) {
	out := c.newValue(n.Shape, in[0].order)
	reads := make([]int, len(in))
	for i, v := range in {
		in[i] = c.ordered(v, out.order)
		reads[i] = in[i].buffer
	}
	outer, inner := out.span(op.Dim)
	c.emit(step{op: "copy", units: outer, reads: reads, write: out.buffer,
		run: func(s *State, _, from, to int) {
			dst, line := s.buffer(out.buffer), out.shape[op.Dim]*inner
			at := 0
			for _, v := range in {
				size := v.shape[op.Dim] * inner
				src := s.buffer(v.buffer)
				for o := from; o < to; o++ {
					copy(dst[o*line+at:o*line+at+size], src[o*size:])
				}
				at += size
			}
		}})
	c.set(n, out)
}

func (c *compiler) slice(n *graph.Node, op graph.Slice, in value) {
	innermost := op.Dim == in.order[len(in.order)-1]
	if innermost && !slices.ContainsFunc(c.users[n.ID], func(user *graph.Node) bool { return !takesRows(user, slices.Index(user.In, n)) }) {
		if in.bf16 && (op.From%2 != 0 || op.To%2 != 0) {
			in = c.widened(in)
		}
		c.set(n, value{shape: n.Shape, order: in.order, buffer: in.buffer, first: words(op.From, in.bf16), ld: in.pitch(), bf16: in.bf16})
		return
	}
	if innermost {
		in = c.widened(in)
	}
	out := c.newTyped(n.Shape, in.order, in.bf16)
	outer, inner := in.span(op.Dim)
	inner = words(inner, in.bf16)
	c.emit(step{op: "copy", units: outer, reads: []int{in.buffer}, write: out.buffer,
		run: func(s *State, _, from, to int) {
			dst, src := s.buffer(out.buffer), s.buffer(in.buffer)
			line, size := in.shape[op.Dim]*inner, (op.To-op.From)*inner
			for o := from; o < to; o++ {
				copy(dst[o*size:(o+1)*size], src[o*line+op.From*inner:])
			}
		}})
	c.set(n, out)
}

// pad and roll look up, for each index of the result along each dimension, the index it comes from.
func (c *compiler) pad(n *graph.Node, op graph.Pad, in value) {
	from := identities(n.Shape)
	for i := 0; i+1 < len(op.Sides); i += 2 {
		d := len(n.Shape) - 1 - i/2
		for j := range from[d] {
			if from[d][j] = j - op.Sides[i]; from[d][j] < 0 || from[d][j] >= in.shape[d] {
				from[d][j] = -1
			}
		}
	}
	c.remap(n, in, from)
}

func (c *compiler) roll(n *graph.Node, op graph.Roll, in value) {
	from := identities(n.Shape)
	for i, d := range op.Dims {
		size := n.Shape[d]
		for j := range from[d] {
			from[d][j] = ((j-op.Shifts[i])%size + size) % size
		}
	}
	c.remap(n, in, from)
}

func identities(shape []int) [][]int {
	all := make([][]int, len(shape))
	for i, size := range shape {
		all[i] = natural(size)
	}
	return all
}

// remap emits a copy in which index i of dimension d comes from index from[d][i], -1 for zero.
func (c *compiler) remap(n *graph.Node, in value, from [][]int) {
	out := c.newValue(n.Shape, in.order)
	strides := in.strides()
	var copyDim func(dst, src []float32, depth, a, b int) int
	copyDim = func(dst, src []float32, depth, a, b int) int {
		if depth == len(out.order) {
			dst[0] = src[0]
			return 1
		}
		d := out.order[depth]
		inner := 1
		for _, e := range out.order[depth+1:] {
			inner *= out.shape[e]
		}
		whole := !slices.ContainsFunc(out.order[depth+1:], func(e int) bool {
			return out.shape[e] != in.shape[e] || !slices.Equal(from[e], natural(out.shape[e]))
		})
		for i := a; i < b; i++ {
			to := dst[i*inner : (i+1)*inner]
			switch f := from[d][i]; {
			case f < 0:
				clear(to)
			case whole:
				copy(to, src[f*strides[d]:])
			default:
				next := 0
				if depth+1 < len(out.order) {
					next = out.shape[out.order[depth+1]]
				}
				copyDim(to, src[f*strides[d]:], depth+1, 0, next)
			}
		}
		return 0
	}
	c.emit(step{op: "copy", units: out.shape[out.order[0]], reads: []int{in.buffer}, write: out.buffer,
		run: func(s *State, _, a, b int) { copyDim(s.buffer(out.buffer), s.buffer(in.buffer), 0, a, b) }})
	c.set(n, out)
}

// gatherRows takes rows of a table by the indices of a buffer.
func (c *compiler) gatherRows(n *graph.Node, table value) {
	table = c.ordered(table, natural(len(table.shape)))
	out := c.newValue(n.Shape, natural(len(n.Shape)))
	index, row := n.Params[0].Index, graph.Numel(table.shape[1:])
	c.emit(step{op: "copy", units: len(index), reads: []int{table.buffer}, write: out.buffer,
		run: func(s *State, _, from, to int) {
			dst, src := s.buffer(out.buffer), s.buffer(table.buffer)
			for i := from; i < to; i++ {
				copy(dst[i*row:(i+1)*row], src[index[i]*row:])
			}
		}})
	c.set(n, out)
}

// attention emits a step with a unit for each sample and head.
func (c *compiler) attention(n *graph.Node, op graph.Attention, in []value) {
	if c.bf16 != nil && evenHeads(n, op) {
		c.attentionBF16(n, op, in)
		return
	}
	var reads []int
	for i := range in {
		in[i] = c.ordered(in[i], natural(len(in[i].shape)))
		reads = append(reads, in[i].buffer)
	}
	q, k, v := in[0], in[1], in[2]
	l, s, d, e := q.shape[1], k.shape[1], q.shape[2]/op.Heads, v.shape[2]/op.Heads
	out := c.newValue(n.Shape, natural(3))
	set, scale := c.plan.kernels, float32(op.Scale)
	lenK, lenV := set.PackedLen(s, d), set.PackedLen(e, s)
	c.needScratch(lenK + lenV + l*s + l*d)
	biases := 0
	if len(in) > 3 {
		biases = in[3].shape[0]
	}
	c.emit(step{op: "attention", path: n.Path, units: q.shape[0] * op.Heads, reads: reads, write: out.buffer,
		run: func(st *State, thread, from, to int) {
			scratch := st.scratch[thread]
			packedK, scratch := scratch[:lenK], scratch[lenK:]
			packedV, scratch := scratch[:lenV], scratch[lenV:]
			scores, scaled := scratch[:l*s], scratch[l*s:]
			for unit := from; unit < to; unit++ {
				sample, head := unit/op.Heads, unit%op.Heads
				queries := st.buffer(q.buffer)[q.first+sample*l*q.pitch()+head*d:]
				keys := set.PackRows(packedK, st.buffer(k.buffer)[k.first+sample*s*k.pitch()+head*d:], s, d, k.pitch())
				values := set.PackColumns(packedV, st.buffer(v.buffer)[v.first+sample*s*v.pitch()+head*e:], e, s, v.pitch())
				g := kernels.Gemm{M: l, A: queries, LDA: q.pitch(), B: keys, C: scores, LDC: s}
				if biases > 0 { // which isn't scaled
					for i := range l {
						for j, x := range queries[i*q.pitch():][:d] {
							scaled[i*d+j] = x * scale
						}
					}
					g.A, g.LDA = scaled, d
					g.Res, g.LDR = st.buffer(in[3].buffer)[(sample%biases*op.Heads+head)*l*s:], s
				}
				set.Gemm(&g)
				if biases > 0 {
					set.Softmax(scores, s, 1)
				} else {
					set.Softmax(scores, s, scale)
				}
				set.Gemm(&kernels.Gemm{M: l, A: scores, LDA: s, B: values,
					C: st.buffer(out.buffer)[sample*l*n.Shape[2]+head*e:], LDC: n.Shape[2]})
			}
		}})
	c.set(n, out)
}
