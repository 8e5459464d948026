package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// depthwiseGrad writes kernels for the derivative of a depthwise convolution by its weights, each for
// kernels of so many rows and columns: a vector of channels at a time, over all pixels, with a sum for
// each tap in a register.
func (v isa) depthwiseGrad() {
	for _, size := range v.tapSizes() {
		kernel(fmt.Sprintf("depthwiseGrad%dx%d%s", size[0], size[1], v.name), "func(a *byte)")
		d := tapsKernel{isa: v, arg: argument("taps"), h: size[0], w: size[1]}
		d.loops()
	}
}

// tapSizes lists the kernels, which must have a register for each tap and some more.
func (v isa) tapSizes() [][2]int {
	if v.evex {
		return [][2]int{{5, 5}, {3, 3}, {4, 7}, {3, 7}, {1, 1}}
	}
	return [][2]int{{2, 5}, {1, 5}, {3, 3}, {1, 7}, {1, 1}}
}

type tapsKernel struct {
	isa
	arg  record
	h, w int
}

func (d *tapsKernel) loops() {
	channels, done := d.arg.load("channels"), GP64()
	XORQ(done, done)
	Label("full")
	CMPQ(channels, num(d.lanes))
	JLT(LabelRef("tail"))
	d.vector("full", done, nil)
	SUBQ(num(d.lanes), channels)
	ADDQ(num(d.bytes()), done)
	JMP(LabelRef("full"))
	Label("tail")
	CMPQ(channels, Imm(0))
	JE(LabelRef("done"))
	m := d.mask(channels)
	d.vector("tail", done, &m)
	Label("done")
	VZEROUPPER()
	RET()
}

// vector sums over all pixels for a vector of channels.
func (d *tapsKernel) vector(label string, done reg.GPVirtual, m *mask) {
	acc := d.vecs(d.h * d.w)
	for _, r := range acc {
		d.zero(r)
	}
	tapX, lineX := d.arg.load("tapX"), d.arg.load("lineX")
	rows, rowX, rowDY := d.arg.load("rows"), d.arg.load("x"), d.arg.load("dy")
	ADDQ(done, rowX)
	ADDQ(done, rowDY)
	Label(label + "_row")
	x, dy, cols := GP64(), GP64(), d.arg.load("cols")
	MOVQ(rowX, x)
	MOVQ(rowDY, dy)
	Label(label + "_col")
	g := d.vec()
	d.load(Mem{Base: dy}, m, g)
	line := GP64()
	MOVQ(x, line)
	for i := range d.h {
		at := GP64()
		MOVQ(line, at)
		for j := range d.w {
			if m == nil {
				VFMADD231PS(Mem{Base: at}, g, acc[i*d.w+j])
			} else {
				t := d.vec()
				d.load(Mem{Base: at}, m, t)
				VFMADD231PS(t, g, acc[i*d.w+j])
			}
			if j+1 < d.w {
				ADDQ(tapX, at)
			}
		}
		if i+1 < d.h {
			ADDQ(lineX, line)
		}
	}
	ADDQ(d.arg.field("pixelX"), x)
	ADDQ(d.arg.field("pixelDY"), dy)
	DECQ(cols)
	JNZ(LabelRef(label + "_col"))
	ADDQ(d.arg.field("rowX"), rowX)
	ADDQ(d.arg.field("rowDY"), rowDY)
	DECQ(rows)
	JNZ(LabelRef(label + "_row"))

	dw, tapDW := d.arg.load("dw"), d.arg.load("tapDW")
	ADDQ(done, dw)
	for i := range d.h {
		for j := range d.w {
			t, r := d.vec(), acc[i*d.w+j]
			d.load(Mem{Base: dw}, m, t)
			VADDPS(r, t, t)
			d.store(t, m, Mem{Base: dw})
			if i*d.w+j+1 < d.h*d.w {
				ADDQ(tapDW, dw)
			}
		}
	}
}
