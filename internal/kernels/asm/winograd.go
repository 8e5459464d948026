package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// winograd writes the transforms of F(4×4, 3×3), see winograd.go in the package: for each tile and
// vector of channels the columns first, into a buffer, then the rows.
func (v isa) winograd() {
	v.winogradInput()
	v.winogradOutput()
}

func (v isa) winogradInput() {
	kernel("winogradInput"+v.name, "func(a *byte)")
	t := v.winogradTile()
	t.each(v.bytes(), v.bytes(), 4, func() {
		column := GP64()
		MOVQ(t.image, column)
		for x := range 6 {
			for y, r := range v.inputTransform(t.line(column, t.row)) {
				VMOVUPS(r, t.cell(y, x))
			}
			ADDQ(t.pixel, column)
		}
		to := GP64()
		MOVQ(t.tiles, to)
		for y := range 6 {
			for _, r := range v.inputTransform(t.cells(y)) {
				VMOVUPS(r, Mem{Base: to})
				ADDQ(t.stride, to)
			}
		}
	})
}

func (v isa) winogradOutput() {
	kernel("winogradOutput"+v.name, "func(a *byte)")
	t := v.winogradTile()
	t.each(v.bytes(), v.bytes(), 4, func() {
		column, down := GP64(), GP64()
		MOVQ(t.tiles, column)
		IMUL3Q(num(6), t.stride, down)
		for x := range 6 {
			for y, r := range v.outputTransform(t.line(column, down)) {
				VMOVUPS(r, t.cell(y, x))
			}
			ADDQ(t.stride, column)
		}
		to, bias := GP64(), v.vec()
		MOVQ(t.image, to)
		VMOVUPS(Mem{Base: t.arg.load("bias"), Index: t.done, Scale: 1}, bias)
		for y := range 4 {
			out := v.outputTransform(t.cells(y))
			for _, r := range out {
				VADDPS(bias, r, r)
			}
			row, p := "row"+string(rune('0'+y)), GP64()
			res := t.arg.load("res")
			CMPQ(res, Imm(0))
			JE(LabelRef(row + "_nores"))
			SUBQ(t.arg.field("image"), res) // from a pixel of the image to that of the residual
			MOVQ(to, p)
			for _, r := range out {
				VADDPS(Mem{Base: p, Index: res, Scale: 1}, r, r)
				ADDQ(t.pixel, p)
			}
			Label(row + "_nores")
			v.apply(row, inRegisters, t.arg.field("act"), out)
			MOVQ(to, p)
			for _, r := range out {
				VMOVUPS(r, Mem{Base: p})
				ADDQ(t.pixel, p)
			}
			ADDQ(t.row, to)
		}
	})
}

// A winogradTile walks tiles and their channels.
type winogradTile struct {
	isa
	arg                record
	image, tiles, done reg.GPVirtual
	buffer             reg.GPVirtual // 6 × 6 vectors
	row, pixel, stride reg.GPVirtual
}

func (v isa) winogradTile() *winogradTile {
	t := &winogradTile{isa: v, arg: argument("tiles")}
	t.arg.cursors([2]string{"image", "atImage"})
	t.tiles, t.buffer = t.arg.load("tiles"), t.arg.load("buffer")
	t.row, t.pixel, t.stride = t.arg.load("row"), t.arg.load("pixel"), t.arg.load("stride")
	return t
}

// each runs body for each tile and vector of channels, with image and tiles at its first numbers and
// done bytes of float32 channels behind, and returns from the kernel. A vector takes so many bytes of the
// image and of tiles, and tiles lie so many pixels apart.
func (t *winogradTile) each(imageBytes, tileBytes, pixels int, body func()) {
	t.image, t.done = GP64(), GP64()
	Label("tile")
	MOVQ(t.arg.field("atImage"), t.image)
	XORQ(t.done, t.done)
	Label("channels")
	body()
	ADDQ(num(imageBytes), t.image)
	ADDQ(num(tileBytes), t.tiles) // ends at the next tile
	ADDQ(num(t.bytes()), t.done)
	CMPQ(t.done, t.arg.field("channels"))
	JLT(LabelRef("channels"))
	t.arg.advance("atImage", "pixel", pixels)
	DECQ(t.arg.field("count"))
	JNZ(LabelRef("tile"))
	if t.lanes == 8 {
		VZEROUPPER()
	}
	RET()
}

func (t *winogradTile) cell(y, x int) Mem { return Mem{Base: t.buffer, Disp: (y*6 + x) * t.bytes()} }

// cells loads a row of the buffer, line six vectors in memory.
func (t *winogradTile) cells(y int) []reg.VecVirtual {
	in := t.vecs(6)
	for x, r := range in {
		VMOVUPS(t.cell(y, x), r)
	}
	return in
}

func (t *winogradTile) line(base, step reg.GPVirtual) []reg.VecVirtual {
	in, p := t.vecs(6), GP64()
	MOVQ(base, p)
	for i, r := range in {
		VMOVUPS(Mem{Base: p}, r)
		if i < 5 {
			ADDQ(step, p)
		}
	}
	return in
}

// inputTransform and outputTransform are the functions of that name in the package.
func (v isa) inputTransform(d []reg.VecVirtual) []reg.VecVirtual {
	first, last := v.vec(), v.vec()
	VMOVAPS(d[4], first)
	v.with(fnma231, 5, d[2], first)
	v.with(fma231, 4, d[0], first)
	VMOVAPS(d[5], last)
	v.with(fnma231, 5, d[3], last)
	v.with(fma231, 4, d[1], last)
	c, e := d[0], d[5] // are no longer needed
	VSUBPS(d[2], d[4], c)
	VSUBPS(d[1], d[3], e)
	v.with(fnma231, 4, d[2], d[4]) // a
	v.with(fnma231, 4, d[1], d[3]) // b
	sum, third := d[2], d[1]
	VADDPS(d[3], d[4], sum)
	VSUBPS(d[3], d[4], d[4])
	VMOVAPS(c, third)
	v.with(fma231, 2, e, third)
	v.with(fnma231, 2, e, c)
	return []reg.VecVirtual{first, sum, d[4], third, c, last}
}

func (v isa) outputTransform(m []reg.VecVirtual) []reg.VecVirtual {
	a, b, c, e := v.vec(), v.vec(), v.vec(), v.vec()
	VADDPS(m[2], m[1], a)
	VSUBPS(m[2], m[1], b)
	VADDPS(m[4], m[3], c)
	VSUBPS(m[4], m[3], e)
	VADDPS(a, m[0], m[0])
	VADDPS(c, m[0], m[0])
	VADDPS(b, m[5], m[5])
	v.with(fma231, 8, e, m[5])
	v.with(fma231, 2, e, b)
	v.with(fma231, 4, c, a)
	return []reg.VecVirtual{m[0], b, a, m[5]}
}
