package engine

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// leastTiles is how many tiles of 4 × 4 pixels an image must have for Winograd's convolution to pay: with
// fewer, the transformed weights, which are more, are read for too little work.
const leastTiles = 4

// suitsWinograd reports whether a convolution can be computed by Winograd's algorithm.
func suitsWinograd(n *graph.Node, conv graph.Conv2d) bool {
	out, in := n.Params[0].Shape[0], n.Params[0].Shape[1]
	return conv.Kernel == [2]int{3, 3} && conv.Stride == [2]int{1, 1} && conv.Dilation == [2]int{1, 1} && conv.Groups == 1 &&
		in%16 == 0 && out%16 == 0 && tiles(n.Shape[2], 4)*tiles(n.Shape[3], 4) >= leastTiles
}

// tiles is how many tiles of so many pixels cover a size.
func tiles(size, side int) int { return (size + side - 1) / side }

// A winograd convolves by tiles, of 4 × 4 pixels in float32 or 2 × 2 in bfloat16; see [kernels.Winograd].
type winograd struct {
	gemmStep
	set                 *kernels.Set
	inputTransform      func(*kernels.Winograd)
	outputTransform     func(*kernels.Winograd)
	side                int // pixels of a tile, in each direction
	weights             []kernels.Packed
	bias                []float32
	act                 kernels.Act
	pad                 [4]int
	h, w, outH, outW    int
	channels, outs      int
	pixelIn, pixelOut   int // words of a pixel
	sizeBefore, sizeOut int // words of a tile's transforms, before and after multiplying
	block               int // tiles that are computed together
}

// winograd emits the step of a convolution whose units are blocks of tiles.
func (c *compiler) winograd(p *product, conv graph.Conv2d, in value) {
	w := &winograd{set: c.plan.kernels, bias: p.bias, act: p.act, pad: conv.Pad, h: in.shape[2], w: in.shape[3],
		outH: p.node.Shape[2], outW: p.node.Shape[3], channels: p.in, outs: p.out}
	bf16 := c.bf16 != nil && kernels.Fused(p.act)
	if bf16 {
		weights := w.set.WinogradWeightsBF16(p.weight, p.out, p.in)
		w.side, w.weights, w.inputTransform, w.outputTransform = 2, weights[:], c.bf16.WinogradInput, c.bf16.WinogradOutput
		in = c.narrowed(in)
	} else {
		weights := w.set.WinogradWeights(p.weight, p.out, p.in)
		w.side, w.weights, w.inputTransform, w.outputTransform = 4, weights[:], w.set.WinogradInput, w.set.WinogradOutput
		in = c.widened(in)
	}
	out := c.newTyped(p.end.Shape, channelsLast, bf16 && c.yieldsBF16(p.end, p.out))
	c.set(p.end, out)
	if p.residual != nil {
		c.value(p.residual) // as it is read pixel by pixel
	}
	w.gemmStep = c.rows(p, in, out)
	if w.added && w.residual.bf16 != out.bf16 {
		w.residual = c.retyped(w.residual)
		w.reads[1] = w.residual.buffer
	}
	w.pixelIn, w.pixelOut = words(p.in, in.bf16), words(p.out, out.bf16)
	positions := len(w.weights)
	w.sizeBefore, w.sizeOut = positions*w.pixelIn, positions*p.out

	const cached = 768 << 10 // bytes of a block's tiles
	total := out.shape[0] * tiles(w.outH, w.side) * tiles(w.outW, w.side)
	w.block = min(max(cached/4/(w.sizeBefore+w.sizeOut)/12*12, 24), 60*16/w.side/w.side)
	w.block = alike(total, w.block)
	blocks := divided(total, w.block)
	patches := max((w.side+2)*(w.side+2)*w.pixelIn, 2*w.side*w.side*w.pixelOut)
	weights := awaited(4*positions*w.pixelIn*p.out, total)
	if blocks > 1 {
		sizeBefore, sizeAfter := w.block*w.sizeBefore, w.block*w.sizeOut
		c.needScratch(sizeBefore + sizeAfter + patches)
		c.emit(step{op: "conv 3x3", path: p.node.Path, units: blocks, reads: w.reads, write: out.buffer, over: w.over(), weights: weights,
			run: func(s *State, thread, from, to int) {
				scratch := s.scratch[thread]
				before, after, patch := scratch[:sizeBefore], scratch[sizeBefore:sizeBefore+sizeAfter], scratch[sizeBefore+sizeAfter:]
				for unit := from; unit < to; unit++ {
					first := unit * w.block
					count := min(w.block, total-first)
					w.before(s, before, patch, first, count, first, count)
					w.multiply(before, after, count, 0, positions)
					w.after(s, after, patch, first, count, first, count)
				}
			}})
		return
	}
	// All tiles at once, in three steps, each of which can be divided among threads.
	c.needScratch(patches)
	before, after := c.newBuffer(total*w.sizeBefore), c.newBuffer(total*w.sizeOut)
	c.emit(step{op: "conv 3x3", path: p.node.Path, units: total, reads: []int{in.buffer}, write: before,
		run: func(s *State, thread, from, to int) {
			w.before(s, s.buffer(before), s.scratch[thread], 0, total, from, to-from)
		}})
	c.emit(step{op: "conv 3x3", path: p.node.Path, units: positions, reads: []int{before}, write: after, weights: weights,
		run: func(s *State, _, from, to int) { w.multiply(s.buffer(before), s.buffer(after), total, from, to) }})
	c.emit(step{op: "conv 3x3", path: p.node.Path, units: total, reads: append(w.reads[1:], after), write: out.buffer, over: w.over(),
		run: func(s *State, thread, from, to int) {
			w.after(s, s.buffer(after), s.scratch[thread], 0, total, from, to-from)
		}})
}

// before transforms the input of tiles [first, first+count) for a block of size tiles that begins at
// tile start.
func (w *winograd) before(s *State, tiles, patch []float32, start, size, first, count int) {
	x, side := s.buffer(w.in.buffer), w.side+2
	w.runs(first, count, w.h, w.w, w.pad[0], w.pad[1], side, func(tile, n, image, iy, ix int, inside bool) {
		k := kernels.Winograd{Count: n, C: w.channels, Row: w.w * w.pixelIn, Pixel: w.pixelIn,
			Tiles: tiles[(tile-start)*w.pixelIn:], Stride: size * w.pixelIn}
		if inside {
			k.Image = x[((image*w.h+iy)*w.w+ix)*w.pixelIn:]
		} else {
			cut(patch, x[image*w.h*w.w*w.pixelIn:], w.h, w.w, w.pixelIn, iy, ix, side)
			k.Image, k.Row = patch, side*w.pixelIn
		}
		w.inputTransform(&k)
	})
}

// multiply computes the products at positions [from, to) of a block of size tiles.
func (w *winograd) multiply(before, after []float32, size, from, to int) {
	for p := from; p < to; p++ {
		w.set.Gemm(&kernels.Gemm{M: size, A: before[p*size*w.pixelIn:], LDA: w.pixelIn, B: w.weights[p], C: after[p*size*w.outs:], LDC: w.outs})
	}
}

// after transforms the products into the result's pixels, as before does for the input.
func (w *winograd) after(s *State, tiles, patch []float32, start, size, first, count int) {
	y, line := s.buffer(w.out.buffer), w.outW*w.pixelOut
	var residual []float32
	if w.added {
		residual = s.buffer(w.residual.buffer)
	}
	w.runs(first, count, w.outH, w.outW, 0, 0, w.side, func(tile, n, image, oy, ox int, inside bool) {
		k := kernels.Winograd{Count: n, C: w.outs, Row: line, Pixel: w.pixelOut, BF16: w.out.bf16,
			Tiles: tiles[(tile-start)*w.outs:], Stride: size * w.outs, Bias: w.bias, Act: w.act}
		at := (image*w.outH+oy)*line + ox*w.pixelOut
		if inside {
			k.Image = y[at:]
			if residual != nil {
				k.Res = residual[at:]
			}
			w.outputTransform(&k)
			return
		}
		k.Row = w.side * w.pixelOut
		k.Image = patch[:w.side*k.Row]
		if residual != nil {
			k.Res = patch[w.side*k.Row:]
			cut(k.Res, residual[image*w.outH*line:], w.outH, w.outW, w.pixelOut, oy, ox, w.side)
		}
		w.outputTransform(&k)
		for r := range min(w.side, w.outH-oy) {
			copy(y[at+r*line:][:min(w.side, w.outW-ox)*w.pixelOut], k.Image[r*k.Row:])
		}
	})
}

// runs visits the tiles [first, first+count), which cover side × side pixels of an image of h × w, in
// runs: neighbours that lie inside the image together, others one by one. (y, x) is the first pixel.
func (w *winograd) runs(first, count, h, wide, top, left, side int, visit func(tile, n, image, y, x int, inside bool)) {
	tilesH, tilesW := tiles(w.outH, w.side), tiles(w.outW, w.side)
	for i := 0; i < count; {
		t := first + i
		image, y, tx := t/(tilesH*tilesW), t/tilesW%tilesH*w.side-top, t%tilesW
		x := tx*w.side - left
		n := 1
		inside := y >= 0 && y+side <= h && x >= 0 && x+side <= wide
		if inside {
			n = min(count-i, tilesW-tx, (wide-side-x)/w.side+1)
		}
		visit(t, n, image, y, x, inside)
		i += n
	}
}

// cut copies side × side pixels from (y, x) on of an image of h × w, with zeros outside it.
func cut(patch, image []float32, h, w, pixel, y, x, side int) {
	for r := range side {
		row := patch[r*side*pixel : (r+1)*side*pixel]
		iy := y + r
		if iy < 0 || iy >= h {
			clear(row)
			continue
		}
		from, to := max(x, 0), min(x+side, w)
		clear(row[:(from-x)*pixel])
		copy(row[(from-x)*pixel:(to-x)*pixel], image[(iy*w+from)*pixel:])
		clear(row[(to-x)*pixel:])
	}
}
