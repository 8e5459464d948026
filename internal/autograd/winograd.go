package autograd

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A winograd convolves an image with 3 × 3 weights at stride 1 by tiles of 4 × 4 pixels; see
// [kernels.Winograd]. It goes by some rows of tiles of an image, or by some images.
type winograd struct {
	*compiler
	h, w, c              int // of the input
	outH, outW, channels int // of the result
	top, left            int // zeros before the input
	parts                division
	packed               *buffer
}

// leastTiles is how many tiles an image must have for the transforms to pay.
const leastTiles = 4

func tilesOf(size int) int { return (size + 3) / 4 }

// suitsWinograd reports whether the product can be computed by tiles.
func (p *product) suitsWinograd() bool {
	if p.window == nil || p.groups > 1 || p.in%16 != 0 || p.out%16 != 0 {
		return false
	}
	c := p.window.conv
	return c.Kernel == [2]int{3, 3} && c.Stride == [2]int{1, 1} && c.Dilation == [2]int{1, 1} &&
		max(c.Pad[0], c.Pad[1]) <= 2 && tilesOf(p.window.outH)*tilesOf(p.window.outW) >= leastTiles
}

func (c *compiler) newWinograd(in, out []int, top, left int) *winograd {
	w := &winograd{compiler: c, h: in[2], w: in[3], c: in[1], outH: out[2], outW: out[3], channels: out[1], top: top, left: left}
	const cached = 192 << 10 // floats of a part's tiles
	tiles := min(max(cached/(36*(w.c+w.channels)), 24), 60)
	perImage := tilesOf(w.outH) * tilesOf(w.outW)
	w.parts = division{out[0], w.outH * w.outW, max(1, min(tiles/perImage, out[0])), w.outH * w.outW}
	if perImage > tiles {
		rows := max(1, tiles/tilesOf(w.outW))
		pieces := (tilesOf(w.outH) + rows - 1) / rows
		w.parts.size = (tilesOf(w.outH) + pieces - 1) / pieces * 4 * w.outW
	}
	w.packed = c.newBuffer(36 * c.set.PackedLen(w.channels, w.c))
	return w
}

// transform is G ⊗ G, [36, 9]: it makes a kernel's 36 numbers of its 9.
var transform = func() []float32 {
	g := [6][3]float64{{1.0 / 4}, {-1.0 / 6, -1.0 / 6, -1.0 / 6}, {-1.0 / 6, 1.0 / 6, -1.0 / 6},
		{1.0 / 24, 1.0 / 12, 1.0 / 6}, {1.0 / 24, -1.0 / 12, 1.0 / 6}, {0, 0, 1}}
	var all []float32
	for r := range 36 {
		for k := range 9 {
			all = append(all, float32(g[r/6][k/3]*g[r%6][k%3]))
		}
	}
	return all
}()

// pack emits the step that transforms weights; number tap of those from input i to output o is at
// place(o, i) + tap·apart.
func (w *winograd) pack(weights []float32, place func(o, i int) int, apart int) {
	width := w.set.Width
	panels, size := (w.channels+width-1)/width, w.set.PackedLen(w.channels, w.c)
	w.emit(&step{op: "pack", units: panels, run: func(t *thread, panel int) {
		packed, at := w.packed.data(), panel*(w.c+1)*width
		for p := range 36 {
			clear(packed[p*size+at : p*size+at+width])
		}
		taps := t.take(10 * width) // the first row is a bias
		clear(taps)
		outs := min(width, w.channels-panel*width)
		for i := range w.c {
			for o := range outs {
				from := place(panel*width+o, i)
				for k := range 9 {
					taps[(k+1)*width+o] = weights[from+k*apart]
				}
			}
			w.set.Gemm(&kernels.Gemm{M: 36, A: transform, LDA: 9, B: w.set.Packed(width, 9, taps),
				C: packed[at+(i+1)*width:], LDC: size})
		}
	}}, nil, w.packed)
}

// convolve computes a part of y.
func (w *winograd) convolve(t *thread, part int, x, y, bias []float32) {
	from, to := w.parts.bounds(part)
	pixels, perRow := w.outH*w.outW, tilesOf(w.outW)
	first := from/pixels*tilesOf(w.outH)*perRow + from%pixels/w.outW/4*perRow
	lines := (to - from) / w.outW
	count := (lines + 3) / 4 * perRow
	if lines > w.outH {
		count = lines / w.outH * tilesOf(w.outH) * perRow
	}
	before, after := t.take(36*count*w.c), t.take(36*count*w.channels)
	patch := t.take(36 * max(w.c, w.channels))
	w.runs(first, count, w.h, w.w, w.top, w.left, 6, func(tile, n, image, iy, ix int, inside bool) {
		k := kernels.Winograd{Count: n, C: w.c, Row: w.w * w.c, Pixel: w.c, Tiles: before[tile*w.c:], Stride: count * w.c}
		if inside {
			k.Image = x[((image*w.h+iy)*w.w+ix)*w.c:]
		} else {
			w.cut(patch, x[image*w.h*w.w*w.c:], iy, ix)
			k.Image, k.Row = patch, 6*w.c
		}
		w.set.WinogradInput(&k)
	})
	size := w.set.PackedLen(w.channels, w.c)
	for p := range 36 {
		w.set.Gemm(&kernels.Gemm{M: count, A: before[p*count*w.c:], LDA: w.c,
			B: w.set.Packed(w.channels, w.c, w.packed.data()[p*size:(p+1)*size]),
			C: after[p*count*w.channels:], LDC: w.channels})
	}
	w.runs(first, count, w.outH, w.outW, 0, 0, 4, func(tile, n, image, oy, ox int, inside bool) {
		k := kernels.Winograd{Count: n, C: w.channels, Row: w.outW * w.channels, Pixel: w.channels,
			Tiles: after[tile*w.channels:], Stride: count * w.channels, Bias: bias}
		at := ((image*w.outH+oy)*w.outW + ox) * w.channels
		if inside {
			k.Image = y[at:]
			w.set.WinogradOutput(&k)
			return
		}
		k.Image, k.Row = patch, 4*w.channels
		w.set.WinogradOutput(&k)
		line := min(4, w.outW-ox) * w.channels
		for r := range min(4, w.outH-oy) {
			copy(y[at+r*w.outW*w.channels:][:line], patch[r*4*w.channels:])
		}
	})
}

// runs visits count tiles from the first one on, which cover side × side pixels of an image of h × wide, in
// runs: neighbours that lie inside the image together, others one by one. (y, x) is the first pixel;
// tiles are counted from 0.
func (w *winograd) runs(first, count, h, wide, top, left, side int, visit func(tile, n, image, y, x int, inside bool)) {
	tilesH, tilesW := tilesOf(w.outH), tilesOf(w.outW)
	for i := 0; i < count; {
		t := first + i
		image, y, tx := t/(tilesH*tilesW), t/tilesW%tilesH*4-top, t%tilesW
		x, n := tx*4-left, 1
		inside := y >= 0 && y+side <= h && x >= 0 && x+side <= wide
		if inside {
			n = min(count-i, tilesW-tx, (wide-side-x)/4+1)
		}
		visit(i, n, image, y, x, inside)
		i += n
	}
}

// cut copies the 6 × 6 pixels from (y, x) on, with zeros outside the image.
func (w *winograd) cut(patch, image []float32, y, x int) {
	for r := range 6 {
		row := patch[r*6*w.c : (r+1)*6*w.c]
		iy := y + r
		from, to := min(max(x, 0), w.w), max(0, min(x+6, w.w))
		if iy < 0 || iy >= w.h || from >= to {
			clear(row)
			continue
		}
		clear(row[:(from-x)*w.c])
		copy(row[(from-x)*w.c:(to-x)*w.c], image[(iy*w.w+from)*w.c:])
		clear(row[(to-x)*w.c:])
	}
}

// forwardTiles is forward by tiles.
func (p *product) forwardTiles() {
	w := p.newWinograd(p.x.shape, p.y.shape, p.window.conv.Pad[0], p.window.conv.Pad[1])
	w.pack(p.weight.Data, func(o, i int) int { return (o*p.in + i) * 9 }, 1)
	bias := make([]float32, p.out)
	if p.bias != nil {
		bias = p.bias.Data
	}
	source := p.source()
	w.byParts("conv 3x3", append(source.buffers(), w.packed), p.y.buffer, func(t *thread, part int) {
		w.convolve(t, part, source.buffer.data(), p.y.buffer.data(), bias)
	})
}

// byParts emits a step with a unit for each part.
func (w *winograd) byParts(op string, reads []*buffer, write *buffer, run func(t *thread, part int)) {
	s := &step{op: op, units: w.parts.count(), parts: w.parts}
	s.run = func(t *thread, part int) {
		run(t, part)
		s.done(t, part)
	}
	write.producer = s
	w.emit(s, reads, write)
}

// backwardTiles contributes dX, the convolution of dY with the weights turned around.
func (g *gradient) backwardTiles() {
	x, conv := g.x, g.window.conv
	w := g.newWinograd(g.y.shape, x.shape, 2-conv.Pad[0], 2-conv.Pad[1])
	w.pack(g.weight.Data, func(o, i int) int { return (i*g.in+o)*9 + 8 }, -1)
	more := g.take(x)
	dx := g.newBuffer(graph.Numel(x.shape))
	reads := append(g.dy.buffers(), w.packed)
	if more != nil {
		reads = append(reads, more.buffers()...)
	}
	zeros := make([]float32, g.in)
	w.byParts("conv 3x3 backward", reads, dx, func(t *thread, part int) {
		w.convolve(t, part, g.dy.buffer.data(), dx.data(), zeros)
		if more != nil {
			from, to := w.parts.bounds(part)
			rows := dx.data()[from*x.width : to*x.width]
			g.set.Add(rows, rows, more.load(t, from, to), kernels.None)
		}
	})
	g.contribute(x, g.compiler.plain(dx, x.width))
}
