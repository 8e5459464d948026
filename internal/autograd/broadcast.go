package autograd

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// broadcast finds for two operands the one that has the result's shape, a, and rows that hold the other
// for each row of a. Those are the rows of b, which may be repeated.
func (c *compiler) broadcast(first, second *tensor, shape []int) (a, b *tensor, r rows) {
	a, b = first, second
	if !slices.Equal(a.shape, shape) && slices.Equal(b.shape, shape) {
		a, b = b, a
	}
	a = c.expand(a, shape)
	// Dimensions are aligned from the last.
	b = c.reshape(b, append(slices.Repeat([]int{1}, len(shape)-len(b.shape)), b.shape...))
	b = c.ordered(b, a.order)
	if slices.Equal(b.shape, shape) {
		return a, b, b.rows
	}
	if last := a.order[len(a.order)-1]; b.shape[last] != shape[last] {
		part := slices.Clone(b.shape)
		part[last] = shape[last]
		b = c.expand(b, part)
	}
	// Outside the row, b may be the same along leading and along trailing dimensions.
	sizesA, sizesB := physical(shape, a.order), physical(b.shape, a.order)
	i, each, count := len(sizesA)-2, 1, 1
	for ; i >= 0 && sizesB[i] == 1; i-- {
		each *= sizesA[i]
	}
	for ; i >= 0 && sizesB[i] == sizesA[i]; i-- {
		count *= sizesA[i]
	}
	for ; i >= 0 && sizesB[i] == 1; i-- {
	}
	if i >= 0 {
		b = c.expand(b, shape)
		return a, b, b.rows
	}
	if count == 1 {
		each = always
	}
	r = c.settled(b).rows
	r.repeat = repeat{each, count}
	return a, b, r
}

// add is a sum, and the ReLU after it if there is one.
func (c *compiler) add(n *graph.Node, first, second *tensor) *tensor {
	a, b, other := c.broadcast(first, second, n.Shape)
	y := c.newTensor(n.Shape, a.order, a.wants || b.wants)
	sum := rows{sum: []rows{a.rows, other}, width: y.width, set: c.set}
	next := c.only(n)
	relu := next != nil && next.Op == graph.ReLU
	if relu {
		sum = sum.then(actMap{c.set, kernels.ReLU})
		c.values[next] = y
	}
	w := y.width
	c.byRows("add", y.parts(3*w), sum.buffers(), y.buffer, func(t *thread, from, to int) {
		sum.loadTo(t, y.buffer.data()[from*w:to*w], from, to)
	})
	c.then(func() {
		g := c.take(y)
		if g == nil {
			return
		}
		if relu {
			*g = g.then(actGradMap{kernels.ReLU, y}) // the result is positive where the sum is
		}
		if other.repeat.count > 0 {
			c.sumRows(*g, nil, y, b, other.repeat)
		} else {
			c.contribute(b, *g)
		}
		c.contribute(a, *g)
	})
	return y
}

func (c *compiler) mul(n *graph.Node, first, second *tensor) *tensor {
	a, b, other := c.broadcast(first, second, n.Shape)
	y := c.like(a, a.rows.then(mulMap{other}))
	y.wants = a.wants || b.wants
	c.then(func() {
		g := c.take(y)
		if g == nil {
			return
		}
		if other.repeat.count > 0 {
			c.sumRows(*g, a, y, b, other.repeat)
		} else {
			c.contribute(b, g.then(mulMap{a.rows}))
		}
		c.contribute(a, g.then(mulMap{other}))
	})
	return y
}

// sumRows contributes to b, whose rows were repeated, what the derivative g by y comes to for each of them:
// the sum over the places where it was used, multiplied by what stood there in a if that isn't nil.
func (c *compiler) sumRows(g rows, a, y, b *tensor, by repeat) {
	if !b.wants {
		return
	}
	reads, width := g.buffers(), y.width
	if a != nil {
		reads = append(reads, a.buffers()...)
	}
	c.contribute(b, c.totals("sum", g.sources()[0], reads, y, by, 1, func(t *thread, sum []float32, from, to int) {
		if a == nil {
			c.set.SumColumns(sum, g.load(t, from, to))
		} else {
			c.set.DotColumns(sum, g.load(t, from, to), a.load(t, from, to))
		}
	}, width))
}

// totals sums rows of x, of a width, that are the same row of a repeat: add adds the rows [from, to) to
// sum. The sums are multiplied by scale. It goes by parts, which are added in their order.
func (c *compiler) totals(op string, source *buffer, reads []*buffer, x *tensor, by repeat, scale float32,
	add func(t *thread, sum []float32, from, to int), width int) rows {
	var partial *buffer
	slots := 0 // runs of a part
	s := c.onRows(op, source, x.parts(3*width), false, reads, func(t *thread, part, from, to int) {
		at := part * slots * width
		for a := from; a < to; {
			b := min((a/by.each+1)*by.each, to)
			sum := partial.data()[at : at+width]
			clear(sum)
			mark := t.used
			add(t, sum, a, b)
			t.used = mark
			a, at = b, at+width
		}
	})
	for part := range s.parts.count() {
		from, to := s.parts.bounds(part)
		slots = max(slots, (to-1)/by.each-from/by.each+1)
	}
	runs := make([][]int, by.count) // for each row, the slots that belong to it
	for part := range s.parts.count() {
		from, to := s.parts.bounds(part)
		for i := from / by.each; i <= (to-1)/by.each; i++ {
			runs[i%by.count] = append(runs[i%by.count], part*slots+i-from/by.each)
		}
	}
	partial = c.newBuffer(s.parts.count() * slots * width)
	s.touch(nil, partial)
	out := c.newBuffer(by.count * width)
	c.emit(&step{op: op, units: by.count, run: func(_ *thread, row int) {
		sum := out.data()[row*width : (row+1)*width]
		clear(sum)
		for _, slot := range runs[row] {
			c.set.Add(sum, sum, partial.data()[slot*width:(slot+1)*width], kernels.None)
		}
		if scale != 1 {
			for i := range sum {
				sum[i] *= scale
			}
		}
	}}, []*buffer{partial}, out)
	return c.plain(out, width)
}

// expand repeats x to a shape.
func (c *compiler) expand(x *tensor, shape []int) *tensor {
	x = c.reshape(x, append(slices.Repeat([]int{1}, len(shape)-len(x.shape)), x.shape...))
	if slices.Equal(x.shape, shape) {
		return x
	}
	x = c.settled(x)
	y := c.newTensor(shape, x.order, x.wants)
	sizes, all := physical(shape, x.order), strides(x.shape, x.order)
	steps := make([]int, len(sizes))
	for i, d := range x.order {
		if x.shape[d] != 1 {
			steps[i] = all[d]
		}
	}
	c.emit(&step{op: "copy", units: sizes[0], run: func(_ *thread, unit int) {
		copyStrided(y.buffer.data(), x.buffer.data(), sizes, steps, unit, unit+1)
	}}, []*buffer{x.buffer}, y.buffer)
	c.then(func() {
		g := c.settledGrad(y)
		if g == nil {
			return
		}
		dx := c.newBuffer(x.buffer.size)
		c.emit(&step{op: "sum", units: 1, run: func(*thread, int) {
			clear(dx.data())
			addStrided(dx.data(), g.buffer.data(), sizes, steps)
		}}, []*buffer{g.buffer}, dx)
		c.contribute(x, c.plain(dx, x.width))
	})
	return y
}

// addStrided adds the elements of src, which has the given sizes, to those of dst that lie strides apart.
func addStrided(dst, src []float32, sizes, strides []int) {
	if len(sizes) == 1 {
		for i, v := range src[:sizes[0]] {
			dst[i*strides[0]] += v
		}
		return
	}
	inner := graph.Numel(sizes[1:])
	for i := range sizes[0] {
		addStrided(dst[i*strides[0]:], src[i*inner:], sizes[1:], strides[1:])
	}
}
