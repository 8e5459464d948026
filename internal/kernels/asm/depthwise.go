package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// depthwise writes the kernel for a segment of a depthwise convolution's result: one vector of
// channels of a rectangle of pixels that all see the same taps of the kernel (those in the middle
// see all of them, those at the image's border fewer). A row is taken 8 pixels at once: a tap's
// weights are loaded once for the 8, which multiply their inputs straight from memory.
func (v isa) depthwise() {
	kernel("depthwise"+v.name, "func(a *byte)")
	d := depthwiseKernel{isa: v, arg: argument("segment")}
	d.arg.cursors([2]string{"x", "atX"}, [2]string{"y", "atY"}, [2]string{"sums", "atSums"})
	d.pixelX = d.arg.load("pixelX")
	n := d.arg.load("channels")
	CMPQ(n, num(v.lanes))
	JLT(LabelRef("tail"))
	d.rectangle("full")
	Label("tail")
	d.mask = new(mask)
	*d.mask = v.mask(n)
	d.rectangle("part")
}

type depthwiseKernel struct {
	isa
	arg    record
	mask   *mask // nil where all lanes count
	pixelX reg.GPVirtual
	total  reg.VecVirtual // sum over a row's pixels
}

// rectangle walks the rows, moving the cursors, and returns from the kernel.
func (d *depthwiseKernel) rectangle(label string) {
	Label(label + "_row")
	d.total = d.vec()
	d.zero(d.total)
	d.row(label)
	sums := d.arg.load("atSums")
	CMPQ(sums, Imm(0))
	JE(LabelRef(label + "_nosums"))
	t := d.vec()
	d.load(Mem{Base: sums}, t)
	VADDPS(t, d.total, d.total)
	d.store(d.total, Mem{Base: sums})
	ADDQ(d.arg.field("rowSums"), sums)
	MOVQ(sums, d.arg.field("atSums"))
	Label(label + "_nosums")
	rowX, rowY := d.arg.load("rowX"), d.arg.load("rowY")
	ADDQ(rowX, d.arg.field("atX"))
	ADDQ(rowY, d.arg.field("atY"))
	DECQ(d.arg.field("rows"))
	JNZ(LabelRef(label + "_row"))
	if d.lanes == 8 {
		VZEROUPPER()
	}
	RET()
}

func (d *depthwiseKernel) row(label string) {
	x, y, cols := d.arg.load("atX"), d.arg.load("atY"), d.arg.load("cols")
	for _, pixels := range []int{8, 4, 1} {
		label := fmt.Sprintf("%s%d", label, pixels)
		Label(label)
		SUBQ(num(pixels), cols)
		JLT(LabelRef(label + "_end"))
		d.pixels(label, pixels, x, y)
		JMP(LabelRef(label))
		Label(label + "_end")
		ADDQ(num(pixels), cols)
	}
}

// pixels computes n neighbouring pixels and moves x and y past them. As in gemm, a pointer reaches
// three of them.
func (d *depthwiseKernel) pixels(label string, n int, x, y reg.GPVirtual) {
	acc := d.vecs(n)
	bias := d.arg.load("bias")
	for _, r := range acc {
		d.load(Mem{Base: bias}, r)
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
	w, kernelH, kernelW := d.arg.load("w"), d.arg.load("kernelH"), GP64()
	Label(label + "_ky")
	MOVQ(d.arg.field("kernelW"), kernelW)
	Label(label + "_kx")
	weights := d.vec()
	d.load(Mem{Base: w}, weights)
	for i, r := range acc {
		at := Mem{Base: base[i/3]}
		if i%3 > 0 {
			at.Index, at.Scale = d.pixelX, uint8(i%3)
		}
		switch {
		case d.mask == nil:
			VFMADD231PS(at, weights, r)
		case d.lanes == 16:
			VFMADD231PS(at, weights, d.mask.k, r)
		default:
			t := d.vec()
			d.load(at, t)
			VFMADD231PS(t, weights, r)
		}
	}
	ADDQ(d.arg.field("tapW"), w)
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
	pixelY := d.arg.load("pixelY")
	for _, r := range acc {
		VADDPS(r, d.total, d.total)
		d.store(r, Mem{Base: y})
		ADDQ(pixelY, y)
	}
	for range n / 2 {
		LEAQ(Mem{Base: x, Index: d.pixelX, Scale: 2}, x)
	}
	if n%2 == 1 {
		ADDQ(d.pixelX, x)
	}
}

func (d *depthwiseKernel) load(from Mem, to reg.VecVirtual) {
	if d.mask == nil {
		VMOVUPS(from, to)
	} else {
		d.loadMasked(from, *d.mask, to)
	}
}

func (d *depthwiseKernel) store(from reg.VecVirtual, to Mem) {
	if d.mask == nil {
		VMOVUPS(from, to)
	} else {
		d.storeMasked(from, *d.mask, to)
	}
}
