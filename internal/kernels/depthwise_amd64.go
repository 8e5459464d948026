package kernels

import (
	"cmp"
	"unsafe"
)

// segment is the argument of the depthwise kernels; strides are in bytes. The kernel counts rows
// down and moves the cursors.
type segment struct {
	x                *float32 // the input of the first pixel's first tap
	rowX, pixelX     int      // from a row of results to the next, from a pixel to the next
	tapX, skipX      int      // from a tap to the next, and after a kernel row to the next one
	w                *float32 // packed, see DepthwiseWeights
	blockW, skipW    int      // from a block of channels to the next, and after a kernel row to the next one
	y                *float32
	rowY, pixelY     int
	bias             *float32
	sums             *float32
	rowSums          int
	rows, cols       int
	kernelH, kernelW int // taps that lie inside the image
	channels         int
	act              int

	atX, atY, atSums, colX, colY, atW uintptr
	left                              int
	yBF16, pairs                      int // 1 or 0: the result is bfloat16; two rows may be computed together
}

// A span is a run of positions along one dimension that see the same taps, [tap, tap+taps).
type span struct{ from, to, tap, taps int }

// spans cuts the positions [from, to) of a sliding window into runs with equal taps.
func spans(from, to, size, kernel, stride, dilation, pad int) []span {
	var all []span
	for o := from; o < to; o++ {
		first := o*stride - pad
		tap := max(0, (-first+dilation-1)/dilation)
		end := min(kernel, (size-first+dilation-1)/dilation)
		s := span{o, o + 1, tap, max(end-tap, 0)}
		if n := len(all); n > 0 && all[n-1].tap == s.tap && all[n-1].taps == s.taps {
			all[n-1].to = o + 1
		} else {
			all = append(all, s)
		}
	}
	return all
}

func (s *simd) Depthwise(d *Depthwise) {
	if d.From >= d.To {
		return
	}
	d.check()
	if d.Sums != nil {
		for row := d.From; row < d.To; row++ {
			clear(d.sumsOf(row))
		}
	}
	switch {
	case d.C%s.lanes != 0 && s.lanes < depthwiseBlock:
		s.depthwiseSegments(d)
	case d.slides(1) && d.Left == 1 && d.OutW == d.W || d.slides(2) && (d.Left == 0 || d.Left == 1) && 2*d.OutW <= d.W+d.Left:
		s.bySliding(d)
	case d.Minimal != nil && !d.slides(1):
		s.byStrips(d)
	default:
		s.depthwiseSegments(d)
	}
	if Fused(d.Act) {
		return
	}
	rowY, pixelY := d.strides()
	if pixelY == d.C && rowY == d.OutW*d.C {
		s.Act(d.Act, d.Y[d.From*rowY:d.To*rowY])
		return
	}
	for y := d.From; y < d.To; y++ {
		for x := range d.OutW {
			s.Act(d.Act, d.Y[y*rowY+x*pixelY:][:d.C])
		}
	}
}

// depthwiseSegments computes any convolution tap by tap, by rectangles that see the same taps.
func (s *simd) depthwiseSegments(d *Depthwise) {
	rows := spans(d.From, d.To, d.H, d.KernelH, d.StrideH, d.DilationH, d.Top)
	cols := spans(0, d.OutW, d.W, d.KernelW, d.StrideW, d.DilationW, d.Left)
	pixel := 4 * d.C
	rowY, pixelY := d.strides()
	for _, r := range rows {
		for _, q := range cols {
			if r.taps == 0 || q.taps == 0 {
				s.blank(d, r, q)
				continue
			}
			iy := r.from*d.StrideH - d.Top + r.tap*d.DilationH
			ix := q.from*d.StrideW - d.Left + q.tap*d.DilationW
			seg := segment{
				x:    &d.X[(iy*d.W+ix)*d.C],
				rowX: d.StrideH * d.W * pixel, pixelX: d.StrideW * pixel,
				tapX: d.DilationW * pixel, skipX: d.DilationH*d.W*pixel - q.taps*d.DilationW*pixel,
				w:      &d.Taps[(r.tap*d.KernelW+q.tap)*depthwiseBlock],
				blockW: 4 * depthwiseBlock * d.KernelH * d.KernelW, skipW: 4 * depthwiseBlock * (d.KernelW - q.taps),
				y:    &d.Y[r.from*rowY+q.from*pixelY],
				rowY: 4 * rowY, pixelY: 4 * pixelY, yBF16: flag(d.BF16),
				bias: &d.Bias[0],
				rows: r.to - r.from, cols: q.to - q.from,
				kernelH: r.taps, kernelW: q.taps,
				channels: d.C, act: int(d.Act),
			}
			seg.pairs = flag(d.StrideH == 1 && d.DilationH == 1)
			if d.Sums != nil {
				seg.sums, seg.rowSums = &d.sumsOf(r.from)[0], 4*cmp.Or(d.RowSums, d.C)
			}
			if s.lanes == 16 {
				depthwiseAVX512((*byte)(unsafe.Pointer(&seg)))
			} else {
				depthwiseAVX2((*byte)(unsafe.Pointer(&seg)))
			}
		}
	}
}

// blank fills pixels that see nothing of the image, only the bias.
func (s *simd) blank(d *Depthwise, r, q span) {
	value := append([]float32(nil), d.Bias[:d.C]...)
	if Fused(d.Act) {
		s.Act(d.Act, value)
	}
	rowY, pixelY := d.strides()
	stored := value
	if d.BF16 {
		stored = make([]float32, d.C/2)
		narrow(stored, value)
	}
	for oy := r.from; oy < r.to; oy++ {
		for ox := q.from; ox < q.to; ox++ {
			copy(d.Y[oy*rowY+ox*pixelY:], stored)
			if d.Sums != nil {
				s.Add(d.sumsOf(oy), d.sumsOf(oy), value, None)
			}
		}
	}
}

// strips is the argument of the kernels for depthwise convolutions by minimal filtering; strides are in bytes.
// The kernel counts channels down and moves the cursors.
type strips struct {
	x, w, bias, y, sums *float32
	groups              *rowGroup
	tiles               *tile
	count, columns      int // of groups and tiles
	channels            int
	act                 int
	pixelX, lineX       int
	vectorX, blockW     int // from a block of channels to the next
	pixelY, rowY        int
	vectorY             int
	rowSums, vectorSums int
	yBF16               int

	atX, atW, atBias, atY, atSums, group uintptr
	groupsLeft                           int
	tile                                 uintptr
	tilesLeft                            int
	masked, lanes                        int

	before, after int    // for slides at a stride of 2: 1 if the first and the last column of taps are inside the image
	half          int    // with AVX2 the place in a block of the vector that is being computed
	steps         [4]int // of the kernel
}

// A rowGroup is one row of the result, or two that see lines in common: where in bytes they and what they
// see begins, and which lines those are.
type rowGroup struct {
	x     int // the first line that is inside the image
	y     int
	w     int // the upper row's weights for the first line
	sums  int
	first int // 1 if the first line is only the upper row's
	lines int // that both see, or the row alone
	last  int // 1 if the last line is only the lower row's
	rows  int
	valid int // a bit for each line that the rows see, 1 if it is inside the image; for slides
}

// A tile is four columns of the result, or two.
type tile struct {
	x, y    int // bytes from the row's beginning; x may be before it
	valid   int // a bit for each column that the tile sees, 1 if it is inside the image
	columns int // that are inside the result
	kind    int // 0: four columns, 1: two; 2 and 3: so that not all of what they see or are is inside
}

// strips returns the argument for some weights, but for the groups and tiles.
func (d *Depthwise) strips(weights []float32) strips {
	rowY, pixelY := d.strides()
	pixelX, vectorY := 4*d.C, 4*depthwiseBlock
	if d.BF16 {
		vectorY /= 2
	}
	a := strips{x: &d.X[0], w: &weights[0], bias: &d.Bias[0], y: &d.Y[0], channels: d.C, act: int(d.Act),
		pixelX: pixelX, lineX: d.W * pixelX, vectorX: 4 * depthwiseBlock, blockW: 4 * len(weights) / ((d.C + depthwiseBlock - 1) / depthwiseBlock),
		pixelY: 4 * pixelY, rowY: 4 * rowY, vectorY: vectorY, yBF16: flag(d.BF16)}
	if d.Sums != nil {
		a.sums, a.rowSums, a.vectorSums = &d.Sums[0], 4*cmp.Or(d.RowSums, d.C), 4*depthwiseBlock
	}
	return a
}

// bySliding computes 3 × 3 taps, by minimal filtering down the columns if the stride is 1.
func (s *simd) bySliding(d *Depthwise) {
	var space [16]rowGroup
	weights, lines, step := d.Minimal, 4, 2
	if d.StrideH == 2 {
		weights, lines, step = d.Taps, 3, 1
	}
	a, groups := d.strips(weights), space[:0]
	a.before, a.after = flag(d.Left == 0), flag(2*d.OutW-d.Left < d.W)
	for row := d.From; row < d.To; row += step {
		line := row*d.StrideH - d.Top
		g := rowGroup{x: line * a.lineX, y: row * a.rowY, sums: row * a.rowSums, rows: min(d.To-row, step)}
		for i := range lines {
			if line+i >= 0 && line+i < d.H {
				g.valid |= 1 << i
			}
		}
		groups = append(groups, g)
	}
	a.groups, a.count, a.columns = &groups[0], len(groups), d.OutW
	arg, wide := (*byte)(unsafe.Pointer(&a)), s.lanes == depthwiseBlock
	switch { // of calls through a function's value the compiler doesn't know that the argument doesn't escape
	case d.StrideH == 2 && wide:
		slide2AVX512(arg)
	case d.StrideH == 2:
		slide2AVX2(arg)
	case wide:
		slide1AVX512(arg)
	default:
		slide1AVX2(arg)
	}
}

// byStrips computes larger kernels by minimal filtering along the lines.
func (s *simd) byStrips(d *Depthwise) {
	var groupSpace [16]rowGroup
	var tileSpace [32]tile
	a := d.strips(d.Minimal)
	groups := groupSpace[:0]
	for row := d.From; row < d.To; {
		g := rowGroup{rows: 1, y: row * a.rowY, sums: row * a.rowSums}
		if d.StrideH == 1 && row+1 < d.To && s.lanes == depthwiseBlock {
			g.rows = 2
		}
		// Of the lines that the rows see, those from from to to are inside the image.
		line, seen := row*d.StrideH-d.Top, d.KernelH+g.rows-1
		from := min(max(-line, 0), seen)
		to := max(min(d.H-line, seen), from)
		g.x, g.w = (line+from)*a.lineX, from*a.blockW/d.KernelH
		g.lines = to - from
		if g.rows == 2 {
			if from == 0 && to > 0 {
				g.first = 1
				g.lines--
			}
			if to == seen && from < seen {
				g.last = 1
				g.lines--
			}
		}
		groups = append(groups, g)
		row += g.rows
	}
	tiles := tileSpace[:0]
	for column := 0; column < d.OutW; {
		t := tile{y: column * a.pixelY, columns: min(d.OutW-column, 4)}
		width := 4
		if t.columns <= 2 {
			t.kind, width = 1, 2
		}
		from, seen := column*d.StrideW-d.Left, d.KernelW+(width-1)*d.StrideW
		t.x = from * a.pixelX
		for i := range seen {
			if from+i >= 0 && from+i < d.W {
				t.valid |= 1 << i
			}
		}
		if t.valid != 1<<seen-1 || t.columns < width {
			t.kind += 2
		}
		tiles = append(tiles, t)
		column += width
	}
	a.groups, a.count, a.tiles, a.columns = &groups[0], len(groups), &tiles[0], len(tiles)
	arg, wide := (*byte)(unsafe.Pointer(&a)), s.lanes == depthwiseBlock
	switch {
	case d.KernelW == 7 && wide:
		strip7x1AVX512(arg)
	case d.KernelW == 7:
		strip7x1AVX2(arg)
	case d.StrideW == 2 && wide:
		strip5x2AVX512(arg)
	case d.StrideW == 2:
		strip5x2AVX2(arg)
	case wide:
		strip5x1AVX512(arg)
	default:
		strip5x1AVX2(arg)
	}
}
