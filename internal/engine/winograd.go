package engine

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// leastTiles is how many tiles an image must have for Winograd's convolution to pay: with fewer, the
// transformed weights, four times as many, are read for too little work.
const leastTiles = 4

// suitsWinograd reports whether a convolution can be computed by F(4×4, 3×3).
func suitsWinograd(p *product, conv graph.Conv2d) bool {
	out := p.node.Shape
	return conv.Kernel == [2]int{3, 3} && conv.Stride == [2]int{1, 1} && conv.Dilation == [2]int{1, 1} &&
		p.groups == 1 && p.in%16 == 0 && p.out%16 == 0 && tiles(out[2])*tiles(out[3]) >= leastTiles
}

func tiles(size int) int { return (size + 3) / 4 }

// A winograd convolves by tiles of 4 × 4 pixels; see [kernels.Winograd].
type winograd struct {
	set                  *kernels.Set
	weights              [36]kernels.Packed
	bias                 []float32
	act                  kernels.Act
	pad                  [4]int
	h, w, c              int // of the input
	outH, outW, channels int // of the result
	block                int // tiles that are computed together
}

// winograd emits the step of a convolution whose units are blocks of tiles.
func (c *compiler) winograd(p *product, conv graph.Conv2d, in, out value) {
	w := &winograd{set: c.plan.kernels, weights: kernels.WinogradWeights(p.weight, p.out, p.in), bias: p.bias, act: p.act, pad: conv.Pad,
		h: in.shape[2], w: in.shape[3], c: p.in, outH: out.shape[2], outW: out.shape[3], channels: p.out}
	const cached = 768 << 10 // bytes of a block's tiles
	perTile := 36 * 4 * (w.c + w.channels)
	total := out.shape[0] * tiles(w.outH) * tiles(w.outW)
	w.block = min(max(cached/perTile/12*12, 24), 60)
	blocks := (total + w.block - 1) / w.block
	w.block = (total + blocks - 1) / blocks
	g := c.rows(p, in, out)
	if g.added && g.residual.bf16 {
		g.residual = c.widened(g.residual)
		g.reads[1] = g.residual.buffer
	}
	residual := func(s *State) []float32 {
		if !g.added {
			return nil
		}
		return s.buffer(g.residual.buffer)
	}
	patches := 36 * max(w.c, w.channels)
	if blocks > 1 {
		sizeBefore, sizeAfter := 36*w.block*w.c, 36*w.block*w.channels
		c.needScratch(sizeBefore + sizeAfter + patches)
		c.emit(step{op: "conv 3x3", path: p.node.Path, units: blocks, reads: g.reads, write: out.buffer, weights: 16 * len(p.weight),
			run: func(s *State, thread, from, to int) {
				scratch := s.scratch[thread]
				before, after, patch := scratch[:sizeBefore], scratch[sizeBefore:sizeBefore+sizeAfter], scratch[sizeBefore+sizeAfter:]
				for unit := from; unit < to; unit++ {
					first := unit * w.block
					count := min(w.block, total-first)
					w.before(s.buffer(in.buffer), before, patch, first, count, first, count)
					w.multiply(before, after, count, 0, 36)
					w.after(after, s.buffer(out.buffer), residual(s), patch, first, count, first, count)
				}
			}})
		return
	}
	// All tiles at once, in three steps, each of which can be divided among threads.
	c.needScratch(patches)
	before, after := c.newBuffer(36*total*w.c), c.newBuffer(36*total*w.channels)
	c.emit(step{op: "conv 3x3", path: p.node.Path, units: total, reads: []int{in.buffer}, write: before,
		run: func(s *State, thread, from, to int) {
			w.before(s.buffer(in.buffer), s.buffer(before), s.scratch[thread], 0, total, from, to-from)
		}})
	c.emit(step{op: "conv 3x3", path: p.node.Path, units: 36, reads: []int{before}, write: after, weights: 16 * len(p.weight),
		run: func(s *State, _, from, to int) { w.multiply(s.buffer(before), s.buffer(after), total, from, to) }})
	c.emit(step{op: "conv 3x3", path: p.node.Path, units: total, reads: append(g.reads[1:], after), write: out.buffer,
		run: func(s *State, thread, from, to int) {
			w.after(s.buffer(after), s.buffer(out.buffer), residual(s), s.scratch[thread], 0, total, from, to-from)
		}})
}

// before transforms the input of tiles [first, first+count) for a block of size tiles that begins at
// tile start.
func (w *winograd) before(x, tiles, patch []float32, start, size, first, count int) {
	w.runs(first, count, w.h, w.w, w.pad[0], w.pad[1], 6, func(tile, n, image, iy, ix int, inside bool) {
		k := kernels.Winograd{Count: n, C: w.c, Row: w.w * w.c, Pixel: w.c, Tiles: tiles[(tile-start)*w.c:], Stride: size * w.c}
		if inside {
			k.Image = x[((image*w.h+iy)*w.w+ix)*w.c:]
		} else {
			w.cut(patch, x[image*w.h*w.w*w.c:], iy, ix)
			k.Image, k.Row = patch, 6*w.c
		}
		w.set.WinogradInput(&k)
	})
}

// multiply computes the products at positions [from, to) of a block of size tiles.
func (w *winograd) multiply(before, after []float32, size, from, to int) {
	for p := from; p < to; p++ {
		w.set.Gemm(&kernels.Gemm{M: size, A: before[p*size*w.c:], LDA: w.c, B: w.weights[p], C: after[p*size*w.channels:], LDC: w.channels})
	}
}

// after transforms the products into the result's pixels, as before does for the input.
func (w *winograd) after(tiles, y, residual, patch []float32, start, size, first, count int) {
	act := w.act
	if residual != nil {
		act = kernels.None
	}
	w.runs(first, count, w.outH, w.outW, 0, 0, 4, func(tile, n, image, oy, ox int, inside bool) {
		k := kernels.Winograd{Count: n, C: w.channels, Row: w.outW * w.channels, Pixel: w.channels,
			Tiles: tiles[(tile-start)*w.channels:], Stride: size * w.channels, Bias: w.bias, Act: act}
		at := ((image*w.outH+oy)*w.outW + ox) * w.channels
		rows, line := min(4, w.outH-oy), min(4*n, w.outW-ox)*w.channels
		if inside {
			k.Image = y[at:]
		} else {
			k.Image, k.Row = patch, 4*w.channels
		}
		w.set.WinogradOutput(&k)
		for r := range rows {
			row := y[at+r*w.outW*w.channels:][:line]
			if !inside {
				copy(row, patch[r*4*w.channels:])
			}
			if residual != nil {
				w.set.Add(row, row, residual[at+r*w.outW*w.channels:], w.act)
			}
		}
	})
}

// runs visits the tiles [first, first+count), which cover side × side pixels of an image of h × w, in
// runs: neighbours that lie inside the image together, others one by one. (y, x) is the first pixel.
func (w *winograd) runs(first, count, h, wide, top, left, side int, visit func(tile, n, image, y, x int, inside bool)) {
	tilesH, tilesW := tiles(w.outH), tiles(w.outW)
	for i := 0; i < count; {
		t := first + i
		image, y, tx := t/(tilesH*tilesW), t/tilesW%tilesH*4-top, t%tilesW
		x := tx*4 - left
		n := 1
		inside := y >= 0 && y+side <= h && x >= 0 && x+side <= wide
		if inside {
			n = min(count-i, tilesW-tx, (wide-side-x)/4+1)
		}
		visit(t, n, image, y, x, inside)
		i += n
	}
}

// cut copies the 6 × 6 pixels from (y, x) on, with zeros outside the image.
func (w *winograd) cut(patch, image []float32, y, x int) {
	for r := range 6 {
		row := patch[r*6*w.c : (r+1)*6*w.c]
		iy := y + r
		if iy < 0 || iy >= w.h {
			clear(row)
			continue
		}
		from, to := max(x, 0), min(x+6, w.w)
		clear(row[:(from-x)*w.c])
		copy(row[(from-x)*w.c:(to-x)*w.c], image[(iy*w.w+from)*w.c:])
		clear(row[(to-x)*w.c:])
	}
}
