package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// depthwise writes the kernel for a segment of a depthwise convolution's result: a rectangle of
// pixels that all see the same taps of the kernel (those in the middle see all of them, those at
// the image's border fewer). It takes up to 8 pixels of a row at once, and walks their channels
// vector by vector, as they lie in memory: a tap's weights are loaded once for the pixels, which
// multiply their inputs straight from memory.
//
// Where the next row sees the same taps one line further down, two rows are computed together: each line
// that both see is loaded once.
func (v isa) depthwise() {
	kernel("depthwise"+v.name, "func(a *byte)")
	d := depthwiseKernel{isa: v, arg: argument("segment")}
	d.arg.cursors([2]string{"x", "atX"}, [2]string{"y", "atY"}, [2]string{"sums", "atSums"})
	d.pixelX = d.arg.load("pixelX")
	Label("row")
	CMPQ(d.arg.field("pairs"), Imm(0))
	JE(LabelRef("alone"))
	CMPQ(d.arg.field("rows"), Imm(2))
	JLT(LabelRef("alone"))
	d.rows("pair", 2)
	JMP(LabelRef("next"))
	Label("alone")
	d.rows("alone", 1)
	Label("next")
	CMPQ(d.arg.field("rows"), Imm(0))
	JNE(LabelRef("row"))
	if v.lanes == 8 {
		VZEROUPPER()
	}
	RET()
}

type depthwiseKernel struct {
	isa
	arg    record
	pixelX reg.GPVirtual
}

// rows computes one or two rows of the segment, and moves the cursors past them.
func (d *depthwiseKernel) rows(label string, rows int) {
	d.arg.cursors([2]string{"atX", "colX"}, [2]string{"atY", "colY"}, [2]string{"cols", "left"})
	groups := []int{8, 7, 4, 2, 1}
	if rows == 2 && !d.evex { // half as many registers
		groups = groups[2:]
	}
	for _, pixels := range groups {
		label := fmt.Sprintf("%s_pixels%d", label, pixels)
		Label(label)
		CMPQ(d.arg.field("left"), num(pixels))
		JLT(LabelRef(label + "_end"))
		if pixels == 8 { // 14 is 7 + 7
			CMPQ(d.arg.field("left"), num(14))
			JE(LabelRef(label + "_end"))
		}
		d.pixels(label, rows, pixels)
		JMP(LabelRef(label))
		Label(label + "_end")
	}
	d.arg.advance("atX", "rowX", rows)
	d.arg.advance("atY", "rowY", rows)
	d.arg.advance("atSums", "rowSums", rows)
	SUBQ(num(rows), d.arg.field("rows"))
}

// advance adds times a stride to a cursor.
func (r record) advance(cursor, stride string, times int) {
	step := r.load(stride)
	if times != 1 {
		IMUL3Q(num(times), step, step)
	}
	ADDQ(step, r.field(cursor))
}

// pixels computes n neighbouring pixels of the rows and moves the cursors past them.
func (d *depthwiseKernel) pixels(label string, rows, n int) {
	x, channels, done := d.arg.load("colX"), d.arg.load("channels"), GP64()
	XORQ(done, done) // bytes of channels
	d.arg.cursors([2]string{"w", "atW"})
	Label(label + "_full")
	CMPQ(channels, num(d.lanes))
	JLT(LabelRef(label + "_tail"))
	d.vector(label+"_full", rows, n, x, done, nil)
	SUBQ(num(d.lanes), channels)
	JMP(LabelRef(label + "_full"))
	Label(label + "_tail")
	CMPQ(channels, Imm(0))
	JE(LabelRef(label + "_done"))
	m := d.mask(channels)
	d.vector(label+"_tail", rows, n, x, done, &m)
	Label(label + "_done")
	d.arg.advance("colX", "pixelX", n)
	d.arg.advance("colY", "pixelY", n)
	SUBQ(num(n), d.arg.field("left"))
}

// vector computes a vector of channels, those of the mask if there is one, of n pixels of the rows. As in
// gemm, a pointer reaches three of them.
func (d *depthwiseKernel) vector(label string, rows, n int, x, done reg.GPVirtual, m *mask) {
	acc := d.vecs(rows * n)
	bias := d.arg.load("bias")
	for _, r := range acc {
		VMOVUPS(Mem{Base: bias, Index: done, Scale: 1}, r)
	}
	y, pixelY := d.arg.load("colY"), d.arg.load("pixelY")
	ADDQ(done, y)
	for range n { // it has until the sums are done to come
		PREFETCHT0(Mem{Base: y})
		ADDQ(pixelY, y)
	}
	var base []reg.GPVirtual
	for i := 0; i < n; i += 3 {
		p := GP64()
		if i == 0 {
			MOVQ(x, p)
		} else {
			LEAQ(Mem{Base: base[len(base)-1], Index: d.pixelX, Scale: 2}, p)
			ADDQ(d.pixelX, p)
		}
		base = append(base, p)
	}
	l := lines{depthwiseKernel: d, base: base, mask: m, w: d.arg.load("atW")}
	count := d.arg.load("kernelH")
	if rows == 1 {
		l.add(label+"_lines", count, acc, nil)
	} else {
		// The first line is the upper row's alone, and the last one the lower row's; what is between is
		// multiplied by a line of weights for the upper row, and by the one before it for the lower.
		lower, one := acc[n:], GP64()
		l.above = d.arg.load("atW")
		MOVQ(num(1), one)
		l.add(label+"_first", one, acc[:n], nil)
		DECQ(count)
		JZ(LabelRef(label + "_last"))
		l.add(label+"_both", count, acc[:n], lower)
		Label(label + "_last")
		MOVQ(num(1), one)
		l.add(label+"_lower", one, nil, lower)
	}

	d.apply(label, inRegisters, d.arg.field("act"), acc)
	for row := range rows {
		d.finish(fmt.Sprintf("%s_row%d", label, row), row, acc[row*n:(row+1)*n], done, m)
	}

	ADDQ(num(d.bytes()), x)
	ADDQ(num(d.bytes()), done)
	if d.lanes == blockLanes {
		d.arg.advance("atW", "blockW", 1)
		return
	}
	// Half a block is done: go to its other half, or to the next block.
	next := GP64()
	MOVQ(d.arg.load("blockW"), next)
	SUBQ(num(d.bytes()), next)
	TESTQ(num(d.bytes()), done)
	other := GP64()
	MOVQ(num(d.bytes()), other)
	CMOVQNE(other, next)
	ADDQ(next, d.arg.field("atW"))
}

// lines walks the lines of the input that a vector of pixels sees.
type lines struct {
	*depthwiseKernel
	base     []reg.GPVirtual // of the pixels, at the next line
	w, above reg.GPVirtual   // its weights for the upper row, and for the lower one
	mask     *mask
}

// add adds what the next count lines, at least one, come to for the accumulators of the upper row and of
// the lower one, where they aren't nil.
func (l *lines) add(label string, count reg.GPVirtual, upper, lower []reg.VecVirtual) {
	kernelW := GP64()
	Label(label)
	MOVQ(l.arg.field("kernelW"), kernelW)
	Label(label + "_taps")
	type row struct {
		acc     []reg.VecVirtual
		weights reg.VecVirtual
		at      reg.GPVirtual
	}
	var rows []row
	for _, r := range []row{{acc: upper, at: l.w}, {acc: lower, at: l.above}} {
		if r.acc != nil {
			r.weights = l.vec()
			VMOVUPS(Mem{Base: r.at}, r.weights)
			rows = append(rows, r)
		}
	}
	for i := range rows[0].acc {
		at := Mem{Base: l.base[i/3]}
		if i%3 > 0 {
			at.Index, at.Scale = l.pixelX, uint8(i%3)
		}
		switch {
		case len(rows) == 1 && l.mask == nil:
			VFMADD231PS(at, rows[0].weights, rows[0].acc[i])
		case len(rows) == 1 && l.evex:
			VFMADD231PS(at, rows[0].weights, l.mask.k, rows[0].acc[i])
		default:
			x := l.vec()
			l.load(at, l.mask, x)
			for _, r := range rows {
				VFMADD231PS(x, r.weights, r.acc[i])
			}
		}
	}
	for _, r := range rows {
		ADDQ(num(4*blockLanes), r.at)
	}
	for _, p := range l.base {
		ADDQ(l.arg.field("tapX"), p)
	}
	DECQ(kernelW)
	JNZ(LabelRef(label + "_taps"))
	for _, r := range rows {
		ADDQ(l.arg.field("skipW"), r.at)
	}
	for _, p := range l.base {
		ADDQ(l.arg.field("skipX"), p)
	}
	DECQ(count)
	JNZ(LabelRef(label))
}

// finish stores the pixels of a row, the upper one or the one after it, and adds to its sum.
func (d *depthwiseKernel) finish(label string, row int, acc []reg.VecVirtual, done reg.GPVirtual, m *mask) {
	y, pixelY := d.arg.load("colY"), d.arg.load("pixelY")
	ADDQ(done, y)
	sums := d.arg.load("atSums")
	if row > 0 {
		ADDQ(d.arg.field("rowY"), y)
	}
	if d.evex {
		CMPQ(d.arg.field("yBF16"), Imm(0))
		JNE(LabelRef(label + "_bf16"))
	}
	for _, r := range acc {
		d.store(r, m, Mem{Base: y})
		ADDQ(pixelY, y)
	}
	if d.evex {
		JMP(LabelRef(label + "_stored"))
		Label(label + "_bf16")
		half := GP64()
		MOVQ(done, half)
		SHRQ(Imm(1), half)
		SUBQ(half, y)
		for _, r := range acc {
			d.storeBF16(r, m, Mem{Base: y})
			ADDQ(pixelY, y)
		}
		Label(label + "_stored")
	}
	CMPQ(sums, Imm(0))
	JE(LabelRef(label + "_nosums"))
	if row > 0 {
		ADDQ(d.arg.field("rowSums"), sums)
	}
	// From left to right, so that the order is the same however the pixels are grouped.
	total, at := d.vec(), Mem{Base: sums, Index: done, Scale: 1}
	d.load(at, m, total)
	for _, r := range acc {
		VADDPS(r, total, total)
	}
	d.store(total, m, at)
	Label(label + "_nosums")
}

// blockLanes is the number of channels in a block of packed depthwise weights.
const blockLanes = 16
