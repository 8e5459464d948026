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
func (v isa) depthwise() {
	kernel("depthwise"+v.name, "func(a *byte)")
	d := depthwiseKernel{isa: v, arg: argument("segment")}
	d.arg.cursors([2]string{"x", "atX"}, [2]string{"y", "atY"}, [2]string{"sums", "atSums"})
	d.pixelX = d.arg.load("pixelX")
	Label("row")
	d.arg.cursors([2]string{"atX", "colX"}, [2]string{"atY", "colY"}, [2]string{"cols", "left"})
	for _, pixels := range []int{8, 7, 4, 2, 1} {
		label := fmt.Sprintf("pixels%d", pixels)
		Label(label)
		CMPQ(d.arg.field("left"), num(pixels))
		JLT(LabelRef(label + "_end"))
		if pixels == 8 { // 14 is 7 + 7
			CMPQ(d.arg.field("left"), num(14))
			JE(LabelRef(label + "_end"))
		}
		d.pixels(label, pixels)
		JMP(LabelRef(label))
		Label(label + "_end")
	}
	d.arg.advance("atX", "rowX", 1)
	d.arg.advance("atY", "rowY", 1)
	d.arg.advance("atSums", "rowSums", 1)
	DECQ(d.arg.field("rows"))
	JNZ(LabelRef("row"))
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

// advance adds times a stride to a cursor.
func (r record) advance(cursor, stride string, times int) {
	step := r.load(stride)
	if times != 1 {
		IMUL3Q(num(times), step, step)
	}
	ADDQ(step, r.field(cursor))
}

// pixels computes n neighbouring pixels and moves the cursors past them.
func (d *depthwiseKernel) pixels(label string, n int) {
	x, channels, done := d.arg.load("colX"), d.arg.load("channels"), GP64()
	XORQ(done, done) // bytes of channels
	d.arg.cursors([2]string{"w", "atW"})
	Label(label + "_full")
	CMPQ(channels, num(d.lanes))
	JLT(LabelRef(label + "_tail"))
	d.vector(label+"_full", n, x, done, nil)
	SUBQ(num(d.lanes), channels)
	JMP(LabelRef(label + "_full"))
	Label(label + "_tail")
	CMPQ(channels, Imm(0))
	JE(LabelRef(label + "_done"))
	m := d.mask(channels)
	d.vector(label+"_tail", n, x, done, &m)
	Label(label + "_done")
	d.arg.advance("colX", "pixelX", n)
	d.arg.advance("colY", "pixelY", n)
	SUBQ(num(n), d.arg.field("left"))
}

// vector computes a vector of channels, those of the mask if there is one, of n pixels. As in gemm, a
// pointer reaches three of them.
func (d *depthwiseKernel) vector(label string, n int, x, done reg.GPVirtual, m *mask) {
	acc := d.vecs(n)
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
	w, kernelH, kernelW := d.arg.load("atW"), d.arg.load("kernelH"), GP64()
	Label(label + "_ky")
	MOVQ(d.arg.field("kernelW"), kernelW)
	Label(label + "_kx")
	weights := d.vec()
	VMOVUPS(Mem{Base: w}, weights)
	for i, r := range acc {
		at := Mem{Base: base[i/3]}
		if i%3 > 0 {
			at.Index, at.Scale = d.pixelX, uint8(i%3)
		}
		switch {
		case m == nil:
			VFMADD231PS(at, weights, r)
		case d.lanes == 16:
			VFMADD231PS(at, weights, m.k, r)
		default:
			t := d.vec()
			d.loadMasked(at, *m, t)
			VFMADD231PS(t, weights, r)
		}
	}
	ADDQ(num(4*blockLanes), w)
	for _, p := range base {
		ADDQ(d.arg.field("tapX"), p)
	}
	DECQ(kernelW)
	JNZ(LabelRef(label + "_kx"))
	ADDQ(d.arg.field("skipW"), w)
	for _, p := range base {
		ADDQ(d.arg.field("skipX"), p)
	}
	DECQ(kernelH)
	JNZ(LabelRef(label + "_ky"))

	d.apply(label, inRegisters, d.arg.field("act"), acc)
	y, pixelY = d.arg.load("colY"), d.arg.load("pixelY")
	ADDQ(done, y)
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
	sums := d.arg.load("atSums")
	CMPQ(sums, Imm(0))
	JE(LabelRef(label + "_nosums"))
	// From left to right, so that the order is the same however the pixels are grouped.
	total, at := d.vec(), Mem{Base: sums, Index: done, Scale: 1}
	d.load(at, m, total)
	for _, r := range acc {
		VADDPS(r, total, total)
	}
	d.store(total, m, at)
	Label(label + "_nosums")

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

// blockLanes is the number of channels in a block of packed depthwise weights.
const blockLanes = 16
