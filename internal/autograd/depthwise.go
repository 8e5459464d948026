package autograd

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A depthwise convolution treats each channel by itself. It goes by bands, some lines of the result and
// the lines of the input that they see, so that a band stays in a core's cache.
type depthwise struct {
	*compiler
	op           graph.Conv2d
	weight, bias *graph.Param
	x, y         *tensor
	h, w, c      int // of the input
	outH, outW   int
	lines        int // of the result in a band
}

func (c *compiler) depthwise(n *graph.Node, op graph.Conv2d, x *tensor) *tensor {
	d := &depthwise{compiler: c, op: op, weight: n.Params[0], x: x,
		h: x.shape[2], w: x.shape[3], c: x.shape[1], outH: n.Shape[2], outW: n.Shape[3]}
	wants := x.wants || d.weight.RequiresGrad
	if len(n.Params) > 1 {
		d.bias = n.Params[1]
		wants = wants || d.bias.RequiresGrad
	}
	d.divide(128 << 10)
	d.y = c.newTensor(n.Shape, channelsLast, wants)
	d.forward()
	if wants {
		c.then(d.backward)
	}
	return d.y
}

// divide makes bands of about so many floats of the input.
func (d *depthwise) divide(size int) {
	lines := max(1, min(size/(d.w*d.c*d.op.Stride[0]), d.outH))
	bands := (d.outH + lines - 1) / lines
	d.lines = (d.outH + bands - 1) / bands
	d.lines += d.lines % kernels.DepthwiseRows
}

func (d *depthwise) taps() int { return d.op.Kernel[0] * d.op.Kernel[1] }

// sees returns the lines of the input that the lines [from, to) of the result see, at least one.
func (d *depthwise) sees(from, to int) (first, last int) {
	first = from*d.op.Stride[0] - d.op.Pad[0]
	last = (to-1)*d.op.Stride[0] - d.op.Pad[0] + (d.op.Kernel[0]-1)*d.op.Dilation[0] + 1
	first = max(0, min(first, d.h-1))
	return first, max(first+1, min(last, d.h))
}

func (d *depthwise) forward() {
	op := d.op
	parts := division{d.x.shape[0], d.outH * d.outW, 1, d.lines * d.outW}
	like := kernels.Depthwise{W: d.w, C: d.c, OutW: d.outW, KernelH: op.Kernel[0], KernelW: op.Kernel[1],
		StrideH: op.Stride[0], StrideW: op.Stride[1], DilationH: op.Dilation[0], DilationW: op.Dilation[1], Left: op.Pad[1]}
	d.emit(&step{op: "pack", units: 1, run: func(*thread, int) {
		var bias []float32
		if d.bias != nil {
			bias = d.bias.Data
		}
		like.Pack(d.weight.Data, bias)
	}}, nil)
	x := d.x.rows
	d.byRows("depthwise", parts, x.buffers(), d.y.buffer, func(t *thread, from, to int) {
		n := from / parts.rows
		a, b := from%parts.rows/d.outW, (to-n*parts.rows)/d.outW
		first, last := d.sees(a, b)
		conv := like
		conv.X, conv.H = x.load(t, (n*d.h+first)*d.w, (n*d.h+last)*d.w), last-first
		conv.Y, conv.OutH, conv.To = d.y.buffer.data()[from*d.c:to*d.c], b-a, b-a
		conv.Top = first - a*op.Stride[0] + op.Pad[0]
		d.set.Depthwise(&conv)
	})
}

// A depthwiseGradient is what the backward pass works on.
type depthwiseGradient struct {
	depthwise
	dy, source rows
	dx         *buffer
	more       *rows
	dw, db     *buffer
	phases     []phase
}

func (d *depthwise) backward() {
	taken := d.take(d.y)
	if taken == nil {
		return
	}
	g := &depthwiseGradient{depthwise: *d, dy: *taken, source: d.x.rows}
	g.divide(48 << 10) // more values of a band are at hand than in the forward pass
	samples := d.x.shape[0]
	chunks := min(samples, mostChunks)
	reads := g.dy.buffers()
	var writes []*buffer
	if d.weight.RequiresGrad {
		g.dw = d.newBuffer(chunks * d.taps() * d.c)
		writes = append(writes, g.dw)
		reads = append(reads, g.source.buffers()...)
	}
	if d.bias != nil && d.bias.RequiresGrad {
		g.db = d.newBuffer(chunks * d.c)
		writes = append(writes, g.db)
	}
	s := &step{op: "depthwise backward", units: chunks}
	if d.x.wants {
		if g.more = d.take(d.x); g.more != nil {
			reads = append(reads, g.more.buffers()...)
		}
		g.dx = d.newBuffer(graph.Numel(d.x.shape))
		g.dx.producer = s
		writes = append(writes, g.dx)
		g.preparePhases()
	}
	s.parts = division{samples, d.h * d.w, 1, g.lines * d.op.Stride[0] * d.w}
	bands := s.parts.pieces()
	s.run = func(t *thread, chunk int) {
		from, to := chunk*samples/chunks, (chunk+1)*samples/chunks
		for n := from; n < to; n++ {
			for band := range max(bands, (d.outH+g.lines-1)/g.lines) {
				mark := t.used
				g.band(t, chunk, n, band, n == from && band == 0)
				t.used = mark
				if g.dx != nil && band < bands {
					s.done(t, n*bands+band)
				}
			}
		}
	}
	d.emit(s, reads, writes...)
	if g.dx != nil {
		d.contribute(d.x, d.plain(g.dx, d.c))
	}
	if g.dw != nil {
		taps := d.taps()
		d.reduceRows(g.dw, chunks, taps*d.c, d.weight, transposing{1, taps, d.c})
	}
	if g.db != nil {
		d.reduce(g.db, 0, chunks, d.c, d.bias)
	}
}

// band computes a band's share of all derivatives. Its lines of dX are those below its lines of dY.
func (g *depthwiseGradient) band(t *thread, chunk, n, band int, begins bool) {
	a, b := min(band*g.lines, g.outH), min((band+1)*g.lines, g.outH)
	first, last := a, b // the lines of dY that are needed
	top, bottom := min(band*g.lines*g.op.Stride[0], g.h), min((band+1)*g.lines*g.op.Stride[0], g.h)
	if g.dx != nil && top < bottom {
		reach := (g.op.Kernel[0] - 1) * g.op.Dilation[0]
		first = max(0, min(first, (top+g.op.Pad[0]-reach)/g.op.Stride[0]))
		last = max(first, min(g.outH, max(last, (bottom-1+g.op.Pad[0])/g.op.Stride[0]+1)))
	}
	line := g.outW * g.c
	dy := g.dy.load(t, (n*g.outH+first)*g.outW, (n*g.outH+last)*g.outW)
	if a < b {
		own := dy[(a-first)*line : (b-first)*line]
		if g.dw != nil {
			g.weights(t, g.dw.data()[chunk*g.taps()*g.c:][:g.taps()*g.c], own, n, a, b, begins)
		}
		if g.db != nil {
			db := g.db.data()[chunk*g.c:][:g.c]
			if begins {
				clear(db)
			}
			g.set.SumColumns(db, own)
		}
	}
	if g.dx == nil || top >= bottom {
		return
	}
	for _, p := range g.phases {
		p.run(g, dy, first, last, n, top, bottom)
	}
	if g.more != nil {
		from, to := (n*g.h+top)*g.w, (n*g.h+bottom)*g.w
		dx := g.dx.data()[from*g.c : to*g.c]
		g.set.Add(dx, dx, g.more.load(t, from, to), kernels.None)
	}
}

// weights adds a band's share of dW, from what the lines [a, b) of the result see with zeros around it.
func (g *depthwiseGradient) weights(t *thread, dw, dy []float32, n, a, b int, begins bool) {
	op := g.op
	if begins {
		clear(dw)
	}
	rows := (b-a-1)*op.Stride[0] + (op.Kernel[0]-1)*op.Dilation[0] + 1
	cols := (g.outW-1)*op.Stride[1] + (op.Kernel[1]-1)*op.Dilation[1] + 1
	width := max(cols, op.Pad[1]+g.w) * g.c
	x := t.take(rows * width)
	for i := range rows {
		row, y := x[i*width:(i+1)*width], a*op.Stride[0]-op.Pad[0]+i
		if y < 0 || y >= g.h {
			clear(row)
			continue
		}
		left, right := op.Pad[1]*g.c, (op.Pad[1]+g.w)*g.c
		clear(row[:left])
		g.source.loadTo(t, row[left:right], (n*g.h+y)*g.w, (n*g.h+y+1)*g.w)
		clear(row[right:])
	}
	g.set.DepthwiseGrad(&kernels.DepthwiseGrad{X: x, DY: dy, DW: dw, C: g.c, Rows: b - a, Cols: g.outW,
		KernelH: op.Kernel[0], KernelW: op.Kernel[1], RowX: op.Stride[0] * width, ColX: op.Stride[1] * g.c,
		TapH: op.Dilation[0] * width, TapW: op.Dilation[1] * g.c, RowDY: g.outW * g.c})
}

// A phase is the pixels of dX whose distance from the first that the kernel touches has the same remainder
// by the stride. They see every so-manieth tap, and are a convolution of dY at stride 1 with those, the
// last one first.
type phase struct {
	from     [2]int // the remainders
	taps     [2]int
	dilation [2]int
	weights  *kernels.DepthwiseWeights
}

// preparePhases emits the step that packs the phases' weights.
func (g *depthwiseGradient) preparePhases() {
	for py := range g.op.Stride[0] {
		for px := range g.op.Stride[1] {
			p := phase{from: [2]int{py, px}, dilation: g.op.Dilation, weights: new(kernels.DepthwiseWeights)}
			for i, r := range p.from {
				p.taps[i] = max(0, (g.op.Kernel[i]-r+g.op.Stride[i]-1)/g.op.Stride[i])
			}
			g.phases = append(g.phases, p)
			g.emit(&step{op: "pack", units: 1, run: func(*thread, int) {
				count := p.taps[0] * p.taps[1]
				w := make([]float32, g.c*count)
				for ch := range g.c {
					for i := range p.taps[0] {
						for j := range p.taps[1] {
							ky, kx := py+(p.taps[0]-1-i)*g.op.Stride[0], px+(p.taps[1]-1-j)*g.op.Stride[1]
							w[ch*count+i*p.taps[1]+j] = g.weight.Data[(ch*g.op.Kernel[0]+ky)*g.op.Kernel[1]+kx]
						}
					}
				}
				d := p.like(g)
				d.Pack(w, nil)
				*p.weights = d.DepthwiseWeights
			}}, nil)
		}
	}
}

// like is the convolution that gives the phase's pixels, but for what differs from band to band.
func (p *phase) like(g *depthwiseGradient) kernels.Depthwise {
	return kernels.Depthwise{W: g.outW, C: g.c, KernelH: p.taps[0], KernelW: p.taps[1], StrideH: 1, StrideW: 1,
		DilationH: p.dilation[0], DilationW: p.dilation[1], DepthwiseWeights: *p.weights}
}

// run computes the phase's pixels in the lines [top, bottom) of dX from the lines [first, last) of dY.
func (p *phase) run(g *depthwiseGradient, dy []float32, first, last, n, top, bottom int) {
	// Pixel i of dX belongs to the phase if i + pad = from + j·stride; j is its place there, and it sees
	// dY from j - (taps-1)·dilation to j.
	var begin, place, count [2]int
	for i, limit := range [2][2]int{{top, bottom}, {0, g.w}} {
		s := g.op.Stride[i]
		begin[i] = limit[0] + ((p.from[i]-limit[0]-g.op.Pad[i])%s+s)%s
		place[i] = (begin[i] + g.op.Pad[i] - p.from[i]) / s
		if limit[1] > begin[i] {
			count[i] = (limit[1] - begin[i] + s - 1) / s
		}
	}
	if count[0] == 0 || count[1] == 0 {
		return
	}
	y := g.dx.data()[((n*g.h+begin[0])*g.w+begin[1])*g.c:]
	d := p.like(g)
	d.X, d.Y, d.H, d.OutH, d.OutW, d.To = dy, y, last-first, count[0], count[1], count[0]
	d.Top = (p.taps[0]-1)*p.dilation[0] - place[0] + first
	d.Left = (p.taps[1]-1)*p.dilation[1] - place[1]
	d.RowY, d.PixelY = g.op.Stride[0]*g.w*g.c, g.op.Stride[1]*g.c
	if p.taps[0] == 0 || p.taps[1] == 0 || last <= first {
		for i := range count[0] {
			for j := range count[1] {
				clear(y[i*d.RowY+j*d.PixelY:][:g.c])
			}
		}
		return
	}
	g.set.Depthwise(&d)
}
