package engine

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// With precision bf16 products multiply bfloat16, two numbers to a word. What lies between them in
// memory is bfloat16 where all that read it are products; everything else reads and writes float32, and
// values are converted where one meets the other.

// words returns how many words n numbers take; n is even for bfloat16.
func words(n int, bf16 bool) int {
	if bf16 {
		return n / 2
	}
	return n
}

// takesBF16 reports whether a node reads bfloat16 as it lies or converts it by itself.
func takesBF16(n *graph.Node) bool {
	switch op := n.Op.(type) {
	case graph.Linear:
		return evenRows(n)
	case graph.Conv2d:
		return !depthwise(n) && !stem(n, op) && evenRows(n)
	case graph.Flatten, graph.Reshape, graph.Permute, graph.Slice:
		return true
	case graph.Attention:
		return evenHeads(n, op)
	}
	return false
}

// evenRows reports whether a layer's input channels, in each group, make whole words.
func evenRows(n *graph.Node) bool { return n.Params[0].Shape[1]%2 == 0 }

// yieldsBF16 reports whether the value of a node, rows of so many numbers, is kept as bfloat16.
func (c *compiler) yieldsBF16(n *graph.Node, row int) bool {
	if c.bf16 == nil || row%2 != 0 {
		return false
	}
	if slices.Contains(c.outputs.nodes, n) {
		return c.outputs.bf16
	}
	return !slices.ContainsFunc(c.users[n.ID], func(user *graph.Node) bool {
		return !c.wantsBF16(user)
	})
}

// wantsBF16 reports whether a node is best served by bfloat16.
func (c *compiler) wantsBF16(n *graph.Node) bool {
	switch op := n.Op.(type) {
	case graph.Conv2d, graph.Linear, graph.Attention:
		return takesBF16(n)
	case graph.Slice: // of queries, keys and values that were computed together
		even := op.Dim < len(n.Shape)-1 || op.From%2 == 0 && op.To%2 == 0
		return even && !slices.ContainsFunc(c.users[n.ID], func(user *graph.Node) bool { return !c.wantsBF16(user) })
	case graph.Add: // most likely as a product's residual
		return true
	}
	return false
}

// narrowed returns v as bfloat16, which must have an even innermost dimension.
func (c *compiler) narrowed(v value) value {
	if v.bf16 {
		return v
	}
	return c.retyped(v)
}

// widened returns v as float32.
func (c *compiler) widened(v value) value {
	if !v.bf16 {
		return v
	}
	return c.retyped(v)
}

// retyped emits a step that converts v to the other type, with its rows together.
func (c *compiler) retyped(v value) value {
	if o, ok := c.twins[v.buffer]; ok && v.ld == 0 {
		v.buffer, v.bf16 = o.buffer, o.bf16
		return v
	}
	out := c.newTyped(v.shape, v.order, !v.bf16)
	convert := c.bf16.Narrow
	if v.bf16 {
		convert = c.bf16.Widen
	}
	const chunk = 8 << 10 // numbers of a unit
	row, pitch := v.shape[v.order[len(v.order)-1]], v.pitch()
	rows := graph.Numel(v.shape) / row
	if v.ld == 0 { // one row is as good as many
		row, pitch = rows*row, rows*pitch
		rows = 1
	}
	parts := (row + chunk - 1) / chunk // of a row
	c.emit(step{op: "convert", units: rows * parts, reads: []int{v.buffer}, write: out.buffer,
		run: func(s *State, _, from, to int) {
			x, y := s.buffer(v.buffer)[v.first:], s.buffer(out.buffer)
			for u := from; u < to; u++ {
				r, a := u/parts, u%parts*chunk
				b := min(a+chunk, row)
				convert(y[words(r*row+a, out.bf16):words(r*row+b, out.bf16)], x[r*pitch+words(a, v.bf16):][:words(b-a, v.bf16)])
			}
		}})
	if v.ld == 0 {
		c.twins[v.buffer] = out
	}
	return out
}

// writing lets f compute the numbers [from, to) of v: into v itself or, if that is bfloat16, into scratch,
// from where they are rounded.
func (c *compiler) writing(s *State, thread int, v value, from, to int, f func(dst []float32)) {
	dst := s.buffer(v.buffer)
	if !v.bf16 {
		f(dst[from:to])
		return
	}
	numbers := s.scratch[thread][:to-from]
	f(numbers)
	c.bf16.Narrow(dst[from/2:to/2], numbers)
}

// factor returns the input of a layer in the type that its product multiplies.
func (c *compiler) factor(n *graph.Node, in value) value {
	if c.bf16 != nil && evenRows(n) {
		return c.narrowed(in)
	}
	return c.widened(in)
}

// pack packs the weights of rows of k numbers for a product in the given type.
func (c *compiler) pack(weights, bias []float32, n, k int, bf16 bool) kernels.Packed {
	if bf16 {
		return c.plan.kernels.PackBF16(weights, bias, n, k)
	}
	return c.plan.kernels.Pack(weights, bias, n, k)
}

// packPieces packs weights by pieces of so many words of each row. The bias belongs to the first.
func (c *compiler) packPieces(weights, bias []float32, piece int, bf16 bool) (packed []kernels.Packed) {
	n, set := len(bias), c.plan.kernels
	if bf16 {
		weights = kernels.Pairs(weights)
	}
	k := len(weights) / n
	for from := 0; from < k; from += piece {
		size := min(piece, k-from)
		b := set.PackRows(make([]float32, set.PackedLen(n, size)), weights[from:], n, size, k)
		if b.BF16 = bf16; from == 0 {
			b.SetBias(bias)
		}
		packed = append(packed, b)
	}
	return packed
}
