package autograd

import (
	"fmt"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A compiler turns the tail of a graph into steps: those of the forward pass, then those of the
// backward pass.
type compiler struct {
	net     *Net
	set     *kernels.Set
	buffers []*buffer
	steps   []*step
	path    string // of the node that steps are emitted for
	values  map[*graph.Node]*tensor
	users   map[*graph.Node][]*graph.Node
	derive  []func() // emit the steps that derive each node, in the order of the nodes

	backward bool
	derived  map[*graph.Param]bool // has a derivative, to which more is added
}

func (c *compiler) newBuffer(size int) *buffer {
	b := &buffer{size: size, memory: c.net.memory, first: int(^uint(0) >> 1), last: -1, made: -1}
	c.buffers = append(c.buffers, b)
	return b
}

// fixed returns a buffer of memory that isn't in the arena.
func (c *compiler) fixed(data []float32) *buffer {
	b := c.newBuffer(len(data))
	b.fixed = data
	return b
}

// newTensor returns a tensor whose rows will be written to a buffer of its own.
func (c *compiler) newTensor(shape, order []int, wants bool) *tensor {
	return c.tensorOf(shape, order, wants, c.plain(c.newBuffer(graph.Numel(shape)), rowLen(shape, order)))
}

func (c *compiler) tensorOf(shape, order []int, wants bool, r rows) *tensor {
	return &tensor{shape: slices.Clone(shape), order: slices.Clone(order), rows: r, wants: wants, copies: map[bool]*tensor{}}
}

// like returns a tensor that is made of x's rows by maps.
func (c *compiler) like(x *tensor, r rows) *tensor { return c.tensorOf(x.shape, x.order, x.wants, r) }

func (c *compiler) plain(b *buffer, width int) rows { return rows{buffer: b, width: width, set: c.set} }

// emit adds a step that reads and writes buffers.
func (c *compiler) emit(s *step, reads []*buffer, writes ...*buffer) *step {
	s.path, s.index = c.path, len(c.steps)
	c.steps = append(c.steps, s)
	s.touch(reads, writes...)
	return s
}

// touch notes that buffers are needed when the step runs.
func (s *step) touch(reads []*buffer, writes ...*buffer) {
	for _, b := range slices.Concat(reads, writes) {
		b.first, b.last = min(b.first, s.index), max(b.last, s.index)
	}
	for _, b := range writes {
		b.made = max(b.made, s.index)
	}
}

// byRows emits a step that writes a buffer by the parts of a division.
func (c *compiler) byRows(op string, parts division, reads []*buffer, write *buffer, run func(t *thread, from, to int)) *step {
	s := &step{op: op, units: parts.count(), parts: parts}
	s.run = func(t *thread, part int) {
		from, to := parts.bounds(part)
		run(t, from, to)
		s.done(t, part)
	}
	write.producer = s
	return c.emit(s, reads, write)
}

// onRows has f called for all parts of the rows that a buffer holds: by the step that writes the buffer,
// while a part is in the core's cache, if what f reads besides is known by then, and otherwise by a
// step of its own. It returns the step, which the caller tells what else f writes. If f changes the
// rows, nothing else may need them as they were.
func (c *compiler) onRows(op string, b *buffer, parts division, changes bool, reads []*buffer, f func(t *thread, part, from, to int)) *step {
	if s := b.producer; s != nil && b.made == s.index && s.parts.samples*s.parts.rows == parts.samples*parts.rows &&
		(!changes || b.last == s.index) &&
		!slices.ContainsFunc(reads, func(r *buffer) bool { return r != b && r.made >= s.index }) {
		s.after = append(s.after, f)
		s.touch(reads)
		return s
	}
	s := &step{op: op, units: parts.count(), parts: parts}
	s.run = func(t *thread, part int) {
		from, to := parts.bounds(part)
		f(t, part, from, to)
		s.done(t, part)
	}
	c.emit(s, reads)
	if changes {
		s.touch(nil, b)
		b.producer = s
	}
	return s
}

// contribute adds to the derivative by x.
func (c *compiler) contribute(x *tensor, r rows) {
	if !x.wants {
		return
	}
	x.grad = append(x.grad, r)
	for _, b := range r.sources() {
		b.readers++
	}
}

// take returns the derivative by y, complete since all that uses y has contributed; nil if nothing has.
func (c *compiler) take(y *tensor) *rows {
	if len(y.grad) == 0 {
		return nil
	}
	r := y.grad[0]
	if len(y.grad) > 1 {
		r = rows{sum: y.grad, width: y.width, set: c.set}
	}
	for _, b := range r.sources() {
		b.readers--
	}
	y.grad, y.mosaic = nil, nil
	return &r
}

// own returns the buffer that g was the last to need, if g's rows can be computed in its place; nil if
// there is none.
func (g *rows) own() *buffer {
	if g.buffer != nil {
		if g.repeat.count == 0 && g.buffer.readers == 0 && g.buffer.fixed == nil {
			return g.buffer
		}
		return nil
	}
	for i := range g.sum {
		if b := g.sum[i].own(); b != nil {
			others := slices.Delete(slices.Clone(g.sum), i, i+1)
			if slices.ContainsFunc(others, func(r rows) bool { return slices.Contains(r.buffers(), b) }) {
				continue
			}
			g.sum = append([]rows{g.sum[i]}, others...) // computed first
			return b
		}
	}
	return nil
}

// settle returns rows that lie in memory as they are: r itself, or computed by a step.
func (c *compiler) settle(r rows, parts division) rows {
	if r.plain() {
		return r
	}
	b := (*buffer)(nil)
	if c.backward {
		b = r.own()
	}
	if b == nil {
		b = c.newBuffer(parts.samples * parts.rows * r.width)
	}
	w := r.width
	c.byRows("settle", parts, r.buffers(), b, func(t *thread, from, to int) {
		r.loadTo(t, b.data()[from*w:to*w], from, to)
	})
	return c.plain(b, w)
}

// settled returns x with its values in memory. In the backward pass they are computed again: that is
// cheap, and keeping them would take memory.
func (c *compiler) settled(x *tensor) *tensor {
	if x.plain() {
		return x
	}
	if x.copies[c.backward] == nil {
		b := c.newBuffer(graph.Numel(x.shape))
		r, w := x.rows, x.width
		c.byRows("settle", x.parts(2*w), r.buffers(), b, func(t *thread, from, to int) {
			r.loadTo(t, b.data()[from*w:to*w], from, to)
		})
		x.copies[c.backward] = c.like(x, c.plain(b, w))
	}
	return x.copies[c.backward]
}

// settledGrad takes the derivative by y and puts it in memory.
func (c *compiler) settledGrad(y *tensor) *rows {
	g := c.take(y)
	if g != nil {
		*g = c.settle(*g, y.parts(2*y.width))
	}
	return g
}

// view returns x's memory seen as another shape, or with its dimensions named in another order.
func (c *compiler) view(x *tensor, shape, order []int) *tensor {
	r, width := x.rows, rowLen(shape, order)
	if width != x.width {
		r = c.settled(x).rows
		r.width = width
	}
	y := c.tensorOf(shape, order, x.wants, r)
	c.then(func() {
		g := c.take(y)
		if g == nil {
			return
		}
		if y.width != x.width {
			*g = c.settle(*g, y.parts(2*y.width))
			g.width = x.width
		}
		c.contribute(x, *g)
	})
	return y
}

// then has f emit steps of the backward pass, before what was handed to then earlier does.
func (c *compiler) then(f func()) {
	path := c.path
	c.derive = append(c.derive, func() {
		c.path = path
		f()
	})
}

// ordered returns x in the given order, copied if it lies otherwise.
func (c *compiler) ordered(x *tensor, order []int) *tensor {
	if slices.Equal(x.order, order) {
		return x
	}
	if sameOrder(x.shape, x.order, order) {
		return c.view(x, x.shape, order)
	}
	y := c.newTensor(x.shape, order, x.wants)
	c.move(c.settled(x).rows.buffer, y.buffer, x.shape, x.order, order)
	c.then(func() {
		if g := c.settledGrad(y); g != nil {
			b := c.newBuffer(g.buffer.size)
			c.move(g.buffer, b, x.shape, order, x.order)
			c.contribute(x, c.plain(b, x.width))
		}
	})
	return y
}

// move emits a copy of a tensor that lies in one order into another.
func (c *compiler) move(from, to *buffer, shape, order, by []int) {
	sizes, all := physical(shape, by), strides(shape, order)
	steps := make([]int, len(by))
	for i, d := range by {
		steps[i] = all[d]
	}
	for len(sizes) > 1 && sizes[0] == 1 { // that would leave nothing to divide among threads
		sizes, steps = sizes[1:], steps[1:]
	}
	c.emit(&step{op: "copy", units: sizes[0], run: func(_ *thread, unit int) {
		copyStrided(to.data(), from.data(), sizes, steps, unit, unit+1)
	}}, []*buffer{from}, to)
}

// lastInner returns x with dimension d innermost in memory.
func (c *compiler) lastInner(x *tensor, d int) *tensor {
	for i := len(x.order) - 1; i >= 0; i-- {
		if x.order[i] == d {
			return c.ordered(x, append(slices.Delete(slices.Clone(x.order), i, i+1), d))
		}
		if x.shape[x.order[i]] != 1 {
			break
		}
	}
	return c.ordered(x, append(slices.DeleteFunc(natural(len(x.shape)), func(i int) bool { return i == d }), d))
}

// only returns the one node that uses n, nil if there are more or n is the output.
func (c *compiler) only(n *graph.Node) *graph.Node {
	if len(c.users[n]) != 1 {
		return nil
	}
	return c.users[n][0]
}

// accumulate returns the memory of a parameter's derivative, and whether to add to what it holds.
func (c *compiler) accumulate(p *graph.Param) (grad []float32, add bool) {
	add = c.derived[p]
	c.derived[p] = true
	return c.net.memory.grad(p), add
}

// A transposing brings [outer, rows, columns] into the order [outer, columns, rows].
type transposing struct{ outer, rows, columns int }

// reduce emits a step that sums count partial results of n numbers, which lie one after the other from
// first on, in their order, and stores or adds the sum as a parameter's derivative.
func (c *compiler) reduce(partial *buffer, first, count, n int, p *graph.Param) {
	grad, add := c.accumulate(p)
	const chunk = 16 << 10
	c.emit(&step{op: "reduce", units: (n + chunk - 1) / chunk, run: func(t *thread, unit int) {
		from, to := unit*chunk, min((unit+1)*chunk, n)
		c.keep(grad[from:to], c.sumPartials(t, partial.data()[first:], count, n, from, to), add)
	}}, []*buffer{partial})
}

// reduceRows is reduce for partial results of outer rows that lie ld apart, and are transposed.
func (c *compiler) reduceRows(partial *buffer, count, ld int, p *graph.Param, by transposing) {
	grad, add := c.accumulate(p)
	const chunk = 16 << 10
	size := by.rows * by.columns
	per := max(1, chunk/size)
	c.emit(&step{op: "reduce", units: (by.outer + per - 1) / per, run: func(t *thread, unit int) {
		for outer := unit * per; outer < min((unit+1)*per, by.outer); outer++ {
			mark := t.used
			sum := c.sumPartials(t, partial.data(), count, by.outer*ld, outer*ld, outer*ld+size)
			if by.rows > 1 {
				turned := t.take(size)
				for r := range by.rows {
					for i, v := range sum[r*by.columns : (r+1)*by.columns] {
						turned[i*by.rows+r] = v
					}
				}
				sum = turned
			}
			c.keep(grad[outer*size:(outer+1)*size], sum, add)
			t.used = mark
		}
	}}, []*buffer{partial})
}

// keep stores x in grad, or adds it.
func (c *compiler) keep(grad, x []float32, add bool) {
	if add {
		c.set.Add(grad, grad, x, kernels.None)
	} else {
		copy(grad, x)
	}
}

// sumPartials adds the numbers [from, to) of all partial results.
func (c *compiler) sumPartials(t *thread, data []float32, count, n, from, to int) []float32 {
	if count == 1 {
		return data[from:to]
	}
	sum := t.take(to - from)
	c.set.Add(sum, data[from:to], data[n+from:n+to], kernels.None)
	for i := 2; i < count; i++ {
		c.set.Add(sum, sum, data[i*n+from:i*n+to], kernels.None)
	}
	return sum
}

// node emits the forward steps of a node, and says how to derive it.
func (c *compiler) node(n *graph.Node) error {
	c.path = n.Path
	in := make([]*tensor, len(n.In))
	for i, m := range n.In {
		in[i] = c.values[m]
	}
	var x *tensor
	if len(in) > 0 {
		x = in[0]
	}
	for _, p := range n.Params {
		if p.Data == nil && p.Index == nil && !p.Counter {
			return fmt.Errorf("parameter %s has no values yet", p.Name)
		}
	}
	var y *tensor
	switch op := n.Op.(type) {
	case graph.Parameter:
		y = c.parameter(n.Params[0])
	case graph.Constant:
		y = c.tensorOf(op.Shape, natural(len(op.Shape)), false, c.plain(c.fixed(op.Data), rowLen(op.Shape, natural(len(op.Shape)))))
	case graph.Conv2d:
		y = c.convolution(n, op, x)
	case graph.Linear:
		y = c.linear(n, x)
	case graph.BatchNorm:
		y = c.batchNorm(n, op, x)
	case graph.LayerNorm:
		y = c.layerNorm(n, op, x)
	case graph.Affine:
		y = c.affine(op, x)
	case graph.Act:
		y = c.act(op, x)
	case graph.Exp:
		y = c.exp(op, x)
	case graph.Add:
		y = c.add(n, in[0], in[1])
	case graph.Mul:
		y = c.mul(n, in[0], in[1])
	case graph.Expand:
		y = c.expand(x, n.Shape)
	case graph.AdaptiveAvgPool:
		y = c.adaptiveAvgPool(n, op, x)
	case graph.AvgPool:
		y = c.avgPool(n, op, x)
	case graph.MaxPool:
		y = c.maxPool(n, op, x)
	case graph.Mean:
		y = c.mean(n, op.Dims, x)
	case graph.Flatten, graph.Reshape:
		y = c.reshape(x, n.Shape)
	case graph.Permute:
		shape, order := x.permuted(op.Order)
		y = c.view(x, shape, order)
	case graph.Concat:
		y = c.concat(n, op, in)
	case graph.Slice:
		y = c.slice(n, op, x)
	case graph.Pad:
		y = c.pad(n, op, x)
	case graph.Roll:
		y = c.roll(n, op, x)
	case graph.Gather:
		y = c.gather(n, x)
	case graph.Attention:
		y = c.attention(n, op, in)
	case graph.Softmax:
		y = c.softmax(op, x)
	case graph.L2Norm:
		y = c.l2norm(op, x)
	case graph.Dropout:
		y = c.dropout(op, x)
	case graph.StochasticDepth:
		y = c.stochasticDepth(op, x)
	default:
		return fmt.Errorf("training through %T isn't possible", op)
	}
	c.values[n] = y
	return nil
}

// parameter gives a parameter as a value.
func (c *compiler) parameter(p *graph.Param) *tensor {
	order := natural(len(p.Shape))
	y := c.tensorOf(p.Shape, order, p.RequiresGrad, c.plain(c.fixed(p.Data), rowLen(p.Shape, order)))
	c.then(func() {
		if g := c.settledGrad(y); g != nil && p.RequiresGrad {
			c.reduce(g.buffer, 0, 1, p.Numel(), p)
		}
	})
	return y
}
