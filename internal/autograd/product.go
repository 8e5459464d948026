package autograd

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A product is a linear layer, or a convolution as one on the pixels' neighbourhoods: Y = X·Wᵀ + b with
// a row of X for each token or pixel, by groups of features or channels.
type product struct {
	*compiler
	op           string
	weight, bias *graph.Param
	window       *window // gathers the rows of X from an image, nil if they lie ready
	groups       int
	in, taps     int // inputs of a group: channels, and how many of their pixels are seen
	out          int // outputs of a group
	x, y         *tensor
	wantsW       bool
	wantsB       bool
}

func (c *compiler) newProduct(n *graph.Node, op string) *product {
	p := &product{compiler: c, op: op, weight: n.Params[0], groups: 1, taps: 1}
	if len(n.Params) > 1 {
		p.bias = n.Params[1]
		p.wantsB = p.bias.RequiresGrad
	}
	p.wantsW = p.weight.RequiresGrad
	p.in, p.out = p.weight.Shape[1], p.weight.Shape[0]
	return p
}

func (c *compiler) linear(n *graph.Node, x *tensor) *tensor {
	p := c.newProduct(n, "linear")
	p.x = c.lastInner(x, len(x.shape)-1)
	return p.compile(n.Shape)
}

func (c *compiler) convolution(n *graph.Node, op graph.Conv2d, x *tensor) *tensor {
	x = c.ordered(x, channelsLast)
	if op.Groups == x.shape[1] && op.Groups == n.Shape[1] && op.Groups > 1 && (op.Stride == [2]int{1, 1} || op.Dilation == [2]int{1, 1}) {
		return c.depthwise(n, op, x)
	}
	p := c.newProduct(n, "conv 1x1")
	p.x = x
	p.groups, p.taps = op.Groups, op.Kernel[0]*op.Kernel[1]
	p.out /= op.Groups
	if p.taps > 1 || op.Stride != [2]int{1, 1} || op.Pad != [4]int{} {
		p.op = "conv"
		p.window = &window{conv: op, h: x.shape[2], w: x.shape[3], c: x.shape[1], outH: n.Shape[2], outW: n.Shape[3], channels: p.in}
	}
	return p.compile(n.Shape)
}

// inner returns the length of a row of X of a group, and outs how many outputs all groups have.
func (p *product) inner() int { return p.in * p.taps }
func (p *product) outs() int  { return p.out * p.groups }

func (p *product) compile(shape []int) *tensor {
	p.y = p.newTensor(shape, p.x.order, p.x.wants || p.wantsW || p.wantsB)
	p.forward()
	if p.y.wants {
		p.then(p.backward)
	}
	return p.y
}

// source returns X as it is read: an image must lie in memory, rows are computed where they are needed.
func (p *product) source() rows {
	if p.window != nil {
		return p.settled(p.x).rows
	}
	return p.x.rows
}

// load returns the rows [from, to) of X of a group, and how far apart they lie.
func (p *product) load(t *thread, source rows, group, from, to int) (x []float32, ld int) {
	if p.window == nil {
		return source.load(t, from, to)[group*p.in:], source.width
	}
	x = t.take((to - from) * p.inner())
	p.window.gather(x, source.buffer.data(), from, to-from, group*p.in)
	return x, p.inner()
}

// parts divides the rows of Y into parts of at least so many, where there are.
func (p *product) parts(least int) division {
	samples, rows := p.y.samples()
	width := p.x.width + p.y.width
	if p.window != nil {
		width = max(p.inner()/4, p.y.width) // rows of X overlap, and a large weight should be read seldom
	}
	return divide(samples, rows, max(blockRows(width), least))
}

func (p *product) forward() {
	if p.suitsWinograd() {
		p.forwardTiles()
		return
	}
	size := p.set.PackedLen(p.out, p.inner())
	packed := p.newBuffer(p.groups * size)
	p.pack(packed)
	source := p.source()
	p.byRows(p.op, p.parts(0), append(source.buffers(), packed), p.y.buffer, func(t *thread, from, to int) {
		y := p.y.buffer.data()[from*p.outs():]
		for group := range p.groups {
			mark := t.used
			x, ld := p.load(t, source, group, from, to)
			p.set.Gemm(&kernels.Gemm{M: to - from, A: x, LDA: ld,
				B: p.set.Packed(p.out, p.inner(), packed.data()[group*size:(group+1)*size]),
				C: y[group*p.out:], LDC: p.outs()})
			t.used = mark
		}
	})
}

// pack emits the step that packs Wᵀ and the bias for Y = X·Wᵀ + b.
func (p *product) pack(packed *buffer) {
	panels := (p.out + p.set.Width - 1) / p.set.Width
	k, size := p.inner(), (p.inner()+1)*p.set.Width
	p.emit(&step{op: "pack", units: p.groups * panels, run: func(_ *thread, unit int) {
		first := unit / panels * p.out
		from := first + unit%panels*p.set.Width
		outs := min(p.set.Width, first+p.out-from)
		panel := packed.data()[unit*size : (unit+1)*size]
		clear(panel)
		if p.bias != nil {
			copy(panel[:outs], p.bias.Data[from:])
		}
		for j := range outs {
			row := p.weight.Data[(from+j)*k : (from+j+1)*k]
			at := p.set.Width + j
			if p.taps == 1 {
				for i, w := range row {
					panel[at+i*p.set.Width] = w
				}
				continue
			}
			for i, w := range row {
				panel[at+(i%p.taps*p.in+i/p.taps)*p.set.Width] = w
			}
		}
	}}, nil, packed)
}

// packColumns emits the step that packs W for dX = dY·W.
func (p *product) packColumns(packed *buffer) {
	panels := (p.inner() + p.set.Width - 1) / p.set.Width
	k, size := p.inner(), (p.out+1)*p.set.Width
	p.emit(&step{op: "pack", units: p.groups * panels, run: func(_ *thread, unit int) {
		from := unit % panels * p.set.Width
		columns := min(p.set.Width, k-from)
		panel := packed.data()[unit*size : (unit+1)*size]
		clear(panel)
		for o := range p.out {
			row := p.weight.Data[(unit/panels*p.out+o)*k:][:k]
			dst := panel[(o+1)*p.set.Width:][:columns]
			if p.taps == 1 {
				copy(dst, row[from:])
				continue
			}
			for j := range dst {
				i := from + j
				dst[j] = row[i%p.in*p.taps+i/p.in]
			}
		}
	}}, nil, packed)
}

// A gradient is what the backward pass of a product works on.
type gradient struct {
	product
	dy     rows
	source rows // X, if the weights want a derivative
	parts  division

	packed *buffer // W, if X wants a derivative
	dx     *buffer
	more   *rows // what else dX is the sum of; nil for nothing

	dw, db *buffer // partial results of each chunk
	ldw    int     // distance of the rows of dw
}

// The derivative by the weights is summed in chunks of parts, each by one thread into memory of its own.
const (
	mostChunks     = 16
	partialMemory  = 16 << 20 // floats that the chunks' results may take
	largestPartial = 4 << 20  // larger ones are computed once, divided by outputs
	largeWeight    = 1 << 18  // from here on a part has at least leastRows, since each reads and writes a chunk's result
	leastRows      = 192
)

func (p *product) backward() {
	taken := p.take(p.y)
	if taken == nil {
		return
	}
	g := &gradient{product: *p, dy: *taken, parts: p.parts(0)}
	if p.outs()*p.inner() > largeWeight {
		g.parts = p.parts(leastRows)
	}
	reads := g.dy.buffers()
	if p.wantsW {
		g.source = p.source()
		reads = append(reads, g.source.buffers()...)
	}
	size := p.outs() * p.inner()
	if p.x.wants && p.suitsWinograd() {
		g.dy = p.settle(g.dy, p.y.parts(3*p.y.width))
		g.backwardTiles()
		if !p.wantsW && !p.wantsB {
			return
		}
		reads = append(reads, g.dy.buffer)
	} else if p.x.wants {
		g.packed = p.newBuffer(p.groups * p.set.PackedLen(p.inner(), p.out))
		p.packColumns(g.packed)
		g.prepareDX()
		reads = append(reads, g.packed)
		if g.more != nil {
			reads = append(reads, g.more.buffers()...)
		}
	}
	pieces := g.parts.pieces()
	sets := g.parts.count() / pieces // of samples, which no chunk divides
	chunks := 1                      // a power of two, so that they divide evenly among threads
	for 2*chunks <= min(sets, mostChunks, partialMemory/size) {
		chunks *= 2
	}
	apart := size > largestPartial && p.wantsW
	if apart {
		chunks = 1
	}
	var writes []*buffer
	if p.wantsW {
		// Rows a power of two apart share few places in the caches.
		if g.ldw = p.inner(); g.ldw%512 == 0 {
			g.ldw += 16
		}
		g.dw = p.newBuffer(chunks * p.outs() * g.ldw)
		writes = append(writes, g.dw)
	}
	if p.wantsB {
		g.db = p.newBuffer(chunks * p.outs())
		writes = append(writes, g.db)
	}
	if g.dx != nil {
		writes = append(writes, g.dx)
	}
	if apart {
		g.byOutputs(reads, writes)
	} else {
		g.byChunks(chunks, sets, reads, writes)
	}
	if g.dx != nil {
		p.contribute(p.x, p.compiler.plain(g.dx, p.x.width))
	}
	if p.wantsW {
		p.reduceRows(g.dw, chunks, g.ldw, p.weight, transposing{p.outs(), p.taps, p.in})
	}
	if p.wantsB {
		p.reduce(g.db, 0, chunks, p.outs(), p.bias)
	}
}

// prepareDX finds the memory for dX, and what has already been contributed to it.
func (g *gradient) prepareDX() {
	g.more = g.take(g.x)
	if g.more != nil && g.more.plain() {
		if g.dx = g.more.own(); slices.Contains(g.dy.buffers(), g.dx) {
			g.dx = nil
		}
	}
	if g.dx == nil {
		g.dx = g.newBuffer(graph.Numel(g.x.shape))
	}
}

// byChunks emits a step that computes everything, with a unit for each chunk.
func (g *gradient) byChunks(chunks, sets int, reads, writes []*buffer) {
	pieces := g.parts.pieces()
	s := &step{op: g.op + " backward", units: chunks}
	s.parts = g.partsDX()
	s.run = func(t *thread, chunk int) {
		from, to := chunk*sets/chunks, (chunk+1)*sets/chunks
		for set := from; set < to; set++ {
			for part := set * pieces; part < (set+1)*pieces; part++ {
				g.part(t, s, part, chunk, part == from*pieces, true, 0, g.out)
			}
			if g.dx != nil && g.window != nil {
				s.done(t, set)
			}
		}
	}
	g.emit(s, reads, writes...)
	if g.dx != nil {
		g.dx.producer = s
	}
}

// byOutputs emits a step for dX, and one for dW with a unit for some outputs of each group.
func (g *gradient) byOutputs(reads, writes []*buffer) {
	if g.dx != nil {
		pieces := g.parts.pieces()
		s := &step{op: g.op + " backward", units: g.parts.count() / pieces, parts: g.partsDX()}
		s.run = func(t *thread, set int) {
			for part := set * pieces; part < (set+1)*pieces; part++ {
				g.part(t, s, part, 0, false, true, 0, 0)
			}
			if g.window != nil {
				s.done(t, set)
			}
		}
		g.emit(s, reads, g.dx)
		g.dx.producer = s
		writes = writes[:len(writes)-1]
	}
	const outputs = 192 // a multiple of the tile
	units := (g.out + outputs - 1) / outputs
	g.emit(&step{op: g.op + " backward", units: units, run: func(t *thread, unit int) {
		for part := range g.parts.count() {
			g.part(t, nil, part, 0, part == 0, false, unit*outputs, min((unit+1)*outputs, g.out))
		}
	}}, reads, writes...)
}

// partsDX divides the rows of dX: as those of Y if each row of X is a row of it, and otherwise, as
// convolutions reach across the image, by samples.
func (g *gradient) partsDX() division {
	if g.window == nil {
		return g.parts
	}
	h := g.window.h * g.window.w
	return division{g.parts.samples, h, g.parts.group, h}
}

// part does a part's share: of dX if it is asked for, and of dW and db for the outputs [first, last) of
// each group.
func (g *gradient) part(t *thread, s *step, part, chunk int, begins, dx bool, first, last int) {
	mark := t.used
	from, to := g.parts.bounds(part)
	outs, k := g.outs(), g.inner()
	dy := g.dy.load(t, from, to)
	if g.wantsB && first == 0 && last > 0 {
		db := g.db.data()[chunk*outs : (chunk+1)*outs]
		if begins {
			clear(db)
		}
		g.set.SumColumns(db, dy)
	}
	for group := range g.groups {
		mark := t.used
		if g.wantsW && last > first {
			x, ld := g.load(t, g.source, group, from, to)
			g.set.GemmT(&kernels.GemmT{M: last - first, N: k, K: to - from, A: dy[group*g.out+first:], LDA: outs, B: x, LDB: ld,
				C: g.dw.data()[(chunk*outs+group*g.out+first)*g.ldw:], LDC: g.ldw, Add: !begins,
				Scratch: t.take((to - from) * (last - first + g.set.Width))})
		}
		if g.dx != nil && dx {
			g.partDX(t, part, group, from, to, dy)
		}
		t.used = mark
	}
	if g.dx != nil && dx && g.window == nil {
		s.done(t, part)
	}
	t.used = mark
}

// partDX computes dX for the rows [from, to) of dY.
func (g *gradient) partDX(t *thread, part, group, from, to int, dy []float32) {
	size := g.set.PackedLen(g.inner(), g.out)
	m := kernels.Gemm{M: to - from, A: dy[group*g.out:], LDA: g.outs(),
		B: g.set.Packed(g.inner(), g.out, g.packed.data()[group*size:(group+1)*size])}
	w := g.x.width
	if g.window == nil {
		m.C, m.LDC = g.dx.data()[from*w+group*g.in:], w
		if g.more != nil {
			m.Res, m.LDR = g.more.load(t, from, to)[group*g.in:], w
		}
		g.set.Gemm(&m)
		return
	}
	if parts := g.partsDX(); group == 0 && part%g.parts.pieces() == 0 {
		a, b := parts.bounds(part / g.parts.pieces())
		dx := g.dx.data()[a*w : b*w]
		switch {
		case g.more == nil:
			clear(dx)
		default:
			g.more.loadTo(t, dx, a, b)
		}
	}
	m.C, m.LDC = t.take((to-from)*g.inner()), g.inner()
	g.set.Gemm(&m)
	g.window.scatter(g.set, g.dx.data(), m.C, from, to-from, group*g.in)
}

// A window says which input a convolution's pixels see.
type window struct {
	conv       graph.Conv2d
	h, w, c    int // of the input; c counts all groups
	outH, outW int
	channels   int // of a group
}

// gather writes what the pixels [first, first+count) of the result see of the channels from c on: a
// row of kernel height × kernel width × channels numbers for each, zeros outside the image.
func (g *window) gather(dst, x []float32, first, count, c int) {
	g.visit(first, count, func(at, image, run int) {
		to := dst[at : at+run]
		if image < 0 {
			clear(to)
		} else {
			copy(to, x[image+c:])
		}
	})
}

// scatter adds what gather would write of x to x.
func (g *window) scatter(set *kernels.Set, x, src []float32, first, count, c int) {
	g.visit(first, count, func(at, image, run int) {
		if image >= 0 {
			to := x[image+c : image+c+run]
			set.Add(to, to, src[at:at+run], kernels.None)
		}
	})
}

// visit calls f for each run of numbers that lie together both in the gathered rows, from at on, and in
// the image, from its first channel at image on; image is -1 outside the image.
func (g *window) visit(first, count int, f func(at, image, run int)) {
	kh, kw := g.conv.Kernel[0], g.conv.Kernel[1]
	sh, sw := g.conv.Stride[0], g.conv.Stride[1]
	dh, dw := g.conv.Dilation[0], g.conv.Dilation[1]
	line := kw * g.channels
	together := dw == 1 && g.channels == g.c // neighbouring taps lie together
	at := 0
	for r := first; r < first+count; r++ {
		n, oy, ox := r/(g.outH*g.outW), r/g.outW%g.outH, r%g.outW
		ix := ox*sw - g.conv.Pad[1]
		for ky := range kh {
			iy := oy*sh - g.conv.Pad[0] + ky*dh
			row := (n*g.h + iy) * g.w
			switch {
			case iy < 0 || iy >= g.h:
				f(at, -1, line)
			case together && ix >= 0 && ix+kw <= g.w:
				f(at, (row+ix)*g.c, line)
			default:
				for kx := range kw {
					image := -1
					if x := ix + kx*dw; x >= 0 && x < g.w {
						image = (row + x) * g.c
					}
					f(at+kx*g.channels, image, g.channels)
				}
			}
			at += line
		}
	}
}
