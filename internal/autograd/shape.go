package autograd

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

func (c *compiler) reshape(x *tensor, shape []int) *tensor {
	if slices.Equal(x.shape, shape) {
		return x
	}
	order, ok := x.reshaped(shape)
	if !ok {
		x = c.ordered(x, natural(len(x.shape)))
		order = natural(len(shape))
	}
	return c.view(x, shape, order)
}

// lines returns how the lines along a dimension lie in memory: outer pieces of the dimension's size times
// inner floats.
func (x *tensor) lines(dim int) (outer, inner int) {
	outer, inner = 1, 1
	at := slices.Index(x.order, dim)
	for i, d := range x.order {
		switch {
		case i < at:
			outer *= x.shape[d]
		case i > at:
			inner *= x.shape[d]
		}
	}
	return outer, inner
}

// copyLines emits a step that copies size floats of each of outer lines, or adds them.
func (c *compiler) copyLines(outer, size int, dst *buffer, dstLine, dstAt int, src *buffer, srcLine, srcAt int, add, clears bool) {
	const chunk = 32 << 10
	per := max(1, chunk/size)
	c.emit(&step{op: "copy", units: (outer + per - 1) / per, run: func(_ *thread, unit int) {
		for i := unit * per; i < min((unit+1)*per, outer); i++ {
			from := src.data()[i*srcLine+srcAt:][:size]
			to := dst.data()[i*dstLine+dstAt:][:size]
			switch {
			case add:
				c.set.Add(to, to, from, kernels.None)
			default:
				if clears {
					clear(dst.data()[i*dstLine : (i+1)*dstLine])
				}
				copy(to, from)
			}
		}
	}}, []*buffer{src}, dst)
}

func (c *compiler) concat(n *graph.Node, op graph.Concat, in []*tensor) *tensor {
	y := c.newTensor(n.Shape, in[0].order, false)
	outer, inner := y.lines(op.Dim)
	line, at := n.Shape[op.Dim]*inner, 0
	starts := make([]int, len(in))
	for i := range in {
		in[i] = c.ordered(in[i], y.order)
		y.wants = y.wants || in[i].wants
		size := in[i].shape[op.Dim] * inner
		c.copyLines(outer, size, y.buffer, line, at, c.settled(in[i]).buffer, size, 0, false, false)
		starts[i] = at
		at += size
	}
	c.then(func() {
		g := c.settledGrad(y)
		if g == nil {
			return
		}
		for i, x := range in {
			if x.wants {
				size := x.shape[op.Dim] * inner
				dx := c.newBuffer(graph.Numel(x.shape))
				c.copyLines(outer, size, dx, size, 0, g.buffer, line, starts[i], false, false)
				c.contribute(x, c.plain(dx, x.width))
			}
		}
	})
	return y
}

func (c *compiler) slice(n *graph.Node, op graph.Slice, x *tensor) *tensor {
	y := c.newTensor(n.Shape, x.order, x.wants)
	outer, inner := x.lines(op.Dim)
	line, at, size := x.shape[op.Dim]*inner, op.From*inner, (op.To-op.From)*inner
	c.copyLines(outer, size, y.buffer, size, 0, c.settled(x).buffer, line, at, false, false)
	c.then(func() {
		g := c.settledGrad(y)
		if g == nil || !x.wants {
			return
		}
		// Slices of one value share the memory of its derivative.
		first := x.mosaic == nil
		if first {
			x.mosaic = c.newBuffer(graph.Numel(x.shape))
			c.contribute(x, c.plain(x.mosaic, x.width))
		}
		c.copyLines(outer, size, x.mosaic, line, at, g.buffer, size, 0, !first, first)
	})
	return y
}

// pad and roll look up, for each index of the result along each dimension, the index that it comes from.
func (c *compiler) pad(n *graph.Node, op graph.Pad, x *tensor) *tensor {
	from := identities(n.Shape)
	for i := 0; i+1 < len(op.Sides); i += 2 {
		d := len(n.Shape) - 1 - i/2
		for j := range from[d] {
			if from[d][j] = j - op.Sides[i]; from[d][j] < 0 || from[d][j] >= x.shape[d] {
				from[d][j] = -1
			}
		}
	}
	return c.remapped(n, x, from)
}

func (c *compiler) roll(n *graph.Node, op graph.Roll, x *tensor) *tensor {
	from := identities(n.Shape)
	for i, d := range op.Dims {
		size := n.Shape[d]
		for j := range from[d] {
			from[d][j] = ((j-op.Shifts[i])%size + size) % size
		}
	}
	return c.remapped(n, x, from)
}

func identities(shape []int) [][]int {
	all := make([][]int, len(shape))
	for i, size := range shape {
		all[i] = natural(size)
	}
	return all
}

// remapped gives the value in which index i of dimension d comes from index from[d][i] of x, -1 for zero;
// nothing of x is used twice.
func (c *compiler) remapped(n *graph.Node, x *tensor, from [][]int) *tensor {
	y := c.newTensor(n.Shape, x.order, x.wants)
	back := make([][]int, len(from))
	for d := range back {
		back[d] = slices.Repeat([]int{-1}, x.shape[d])
		for i, j := range from[d] {
			if j >= 0 {
				back[d][j] = i
			}
		}
	}
	c.remap(y.buffer, c.settled(x).buffer, y.shape, x.shape, x.order, from)
	c.then(func() {
		if g := c.settledGrad(y); g != nil && x.wants {
			dx := c.newBuffer(graph.Numel(x.shape))
			c.remap(dx, g.buffer, x.shape, y.shape, x.order, back)
			c.contribute(x, c.plain(dx, x.width))
		}
	})
	return y
}

// remap emits the copy from src to dst, which have their own shapes and lie in the same order.
func (c *compiler) remap(dst, src *buffer, dstShape, srcShape, order []int, from [][]int) {
	sizes, step0 := physical(dstShape, order), strides(srcShape, order)
	whole := make([]bool, len(order)) // from this depth on, indices stay as they are
	for i := len(order) - 1; i >= 0; i-- {
		d := order[i]
		whole[i] = (i == len(order)-1 || whole[i+1]) && dstShape[d] == srcShape[d] && slices.Equal(from[d], natural(dstShape[d]))
	}
	var fill func(dst, src []float32, depth, a, b int)
	fill = func(dst, src []float32, depth, a, b int) {
		inner := graph.Numel(sizes[depth+1:])
		for i := a; i < b; i++ {
			to := dst[i*inner : (i+1)*inner]
			f := from[order[depth]][i]
			switch {
			case f < 0:
				clear(to)
			case depth+1 == len(order) || whole[depth+1]:
				copy(to, src[f*step0[order[depth]]:])
			default:
				fill(to, src[f*step0[order[depth]]:], depth+1, 0, sizes[depth+1])
			}
		}
	}
	c.emit(&step{op: "copy", units: sizes[0], run: func(_ *thread, unit int) {
		fill(dst.data(), src.data(), 0, unit, unit+1)
	}}, []*buffer{src}, dst)
}

// gather takes rows of a table by the indices of a buffer.
func (c *compiler) gather(n *graph.Node, table *tensor) *tensor {
	table = c.ordered(table, natural(len(table.shape)))
	y := c.newTensor(n.Shape, natural(len(n.Shape)), table.wants)
	index, row := n.Params[0].Index, graph.Numel(table.shape[1:])
	src := c.settled(table).buffer
	c.emit(&step{op: "copy", units: 1, run: func(*thread, int) {
		for i, j := range index {
			copy(y.buffer.data()[i*row:(i+1)*row], src.data()[j*row:])
		}
	}}, []*buffer{src}, y.buffer)
	c.then(func() {
		g := c.settledGrad(y)
		if g == nil || !table.wants {
			return
		}
		dx := c.newBuffer(graph.Numel(table.shape))
		c.emit(&step{op: "sum", units: 1, run: func(*thread, int) {
			d := dx.data()
			clear(d)
			for i, j := range index {
				to := d[j*row : (j+1)*row]
				c.set.Add(to, to, g.buffer.data()[i*row:(i+1)*row], kernels.None)
			}
		}}, []*buffer{g.buffer}, dx)
		c.contribute(table, c.plain(dx, table.width))
	})
	return y
}
