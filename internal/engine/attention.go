package engine

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// evenHeads reports whether the queries, keys and values of each head make whole words.
func evenHeads(n *graph.Node, op graph.Attention) bool {
	return n.In[0].Shape[2]/op.Heads%2 == 0 && n.In[2].Shape[2]/op.Heads%2 == 0
}

// attentionBF16 is attention with products of bfloat16. Scores are float32 until softmax has made
// probabilities of them.
func (c *compiler) attentionBF16(n *graph.Node, op graph.Attention, in []value) {
	var reads []int
	for i, v := range in {
		if in[i] = c.ordered(v, natural(len(v.shape))); i < 3 {
			in[i] = c.narrowed(in[i])
		} else {
			in[i] = c.widened(in[i])
		}
		reads = append(reads, in[i].buffer)
	}
	q, k, v := in[0], in[1], in[2]
	l, s := q.shape[1], k.shape[1]
	d, e := q.shape[2]/op.Heads/2, v.shape[2]/op.Heads // d in words
	out := c.newTyped(n.Shape, natural(3), c.yieldsBF16(n, e))
	pairs := (s + 1) / 2
	set, scale := c.plan.kernels, float32(op.Scale)
	lenK, lenV := set.PackedLen(s, d), set.PackedLen(e, pairs)
	c.needScratch(lenK + lenV + l*s + l*pairs)
	var scales []float32
	biases := 0
	if len(in) > 3 {
		biases, scales, scale = in[3].shape[0], slices.Repeat([]float32{scale}, l*s), 1
	}
	c.emit(step{op: "attention", path: n.Path, units: q.shape[0] * op.Heads, reads: reads, write: out.buffer,
		run: func(st *State, thread, from, to int) {
			scratch := st.scratch[thread]
			packedK, scratch := scratch[:lenK], scratch[lenK:]
			packedV, scratch := scratch[:lenV], scratch[lenV:]
			scores, probabilities := scratch[:l*s], scratch[l*s:]
			for unit := from; unit < to; unit++ {
				sample, head := unit/op.Heads, unit%op.Heads
				rows := func(v value, rows, width int) []float32 {
					return st.buffer(v.buffer)[v.first+sample*rows*v.pitch()+head*width:]
				}
				keys := set.PackRows(packedK, rows(k, s, d), s, d, k.pitch())
				keys.BF16 = true
				set.Gemm(&kernels.Gemm{M: l, A: rows(q, l, d), LDA: q.pitch(), B: keys, C: scores, LDC: s})
				if biases > 0 { // which aren't scaled
					set.Affine(scores, scores, scales, st.buffer(in[3].buffer)[(sample%biases*op.Heads+head)*l*s:], kernels.None)
				}
				set.Softmax(scores, s, scale)
				for i := range l {
					row := probabilities[i*pairs : (i+1)*pairs]
					row[pairs-1] = 0 // for a number alone
					c.bf16.Narrow(row, scores[i*s:(i+1)*s])
				}
				values := c.bf16.PackColumns(packedV, rows(v, s, e/2), e, s, v.pitch())
				set.Gemm(&kernels.Gemm{M: l, A: probabilities, LDA: pairs, B: values,
					C: rows(out, l, words(e, out.bf16)), LDC: out.pitch(), CBF16: out.bf16})
			}
		}})
	c.set(n, out)
}
