package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// acrossRows makes four rows of n pixels. Each pixel stores a byte too many.
func (v isa) acrossRows() {
	kernel("across"+v.name, "func(a *byte)")
	a := argument("resample")
	src := []reg.GPVirtual{a.load("src"), GP64(), GP64(), GP64()}
	stride := a.load("srcStride")
	for i := range 3 {
		LEAQ(Mem{Base: src[i], Index: stride, Scale: 1}, src[i+1])
	}
	starts, weights, n, dst, dstStride := a.load("starts"), a.load("weights"), a.load("n"), a.load("dst"), a.load("dstStride")
	dstStride3 := GP64()
	LEAQ(Mem{Base: dstStride, Index: dstStride, Scale: 2}, dstStride3)
	spread := YMM()
	// The red, green and blue of pixels 0 and 1, and of 2 and 3; then the words of a dword are a pair of taps.
	VMOVDQU(data[int8](0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1, 2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1), spread)

	Label("across_pixel")
	at, units := GP64(), a.load("units")
	MOVLQSX(Mem{Base: starts}, at)
	LEAQ(Mem{Base: at, Index: at, Scale: 2}, at)
	var high, low [4]reg.VecVirtual
	for r := range 4 {
		high[r], low[r] = YMM(), YMM()
		VPXOR(high[r], high[r], high[r])
		VMOVDQU(data[int32](1<<21, 0, 1<<21, 0), low[r])
	}
	Label("across_unit")
	h, l := YMM(), YMM()
	VPBROADCASTQ(Mem{Base: weights}, h)
	VPBROADCASTQ(Mem{Base: weights, Disp: 8}, l)
	for r := range 4 {
		x, t := YMM(), YMM()
		VBROADCASTI128(Mem{Base: src[r], Index: at, Scale: 1}, x)
		VPSHUFB(spread, x, x)
		VPMADDWD(h, x, t)
		VPADDD(t, high[r], high[r])
		VPMADDWD(l, x, x)
		VPADDD(x, low[r], low[r])
	}
	ADDQ(num(12), at)
	ADDQ(num(16), weights)
	DECQ(units)
	JNE(LabelRef("across_unit"))
	for r := range 4 {
		VPSLLD(Imm(12), high[r], high[r])
		VPADDD(high[r], low[r], low[r])
	}
	VPHADDD(low[1], low[0], low[0])
	VPHADDD(low[3], low[2], low[2])
	VPSRAD(Imm(22), low[0], low[0])
	VPSRAD(Imm(22), low[2], low[2])
	VPACKSSDW(low[2], low[0], low[0])
	VPACKUSWB(low[0], low[0], low[0])
	blue := XMM()
	VEXTRACTI128(Imm(1), low[0], blue)
	pixels := low[0].(reg.Vec).AsX()
	VPUNPCKLWD(blue, pixels, pixels)
	VMOVD(pixels, Mem{Base: dst})
	VPEXTRD(Imm(1), pixels, Mem{Base: dst, Index: dstStride, Scale: 1})
	VPEXTRD(Imm(2), pixels, Mem{Base: dst, Index: dstStride, Scale: 2})
	VPEXTRD(Imm(3), pixels, Mem{Base: dst, Index: dstStride3, Scale: 1})
	ADDQ(num(3), dst)
	ADDQ(num(4), starts)
	DECQ(n)
	JNE(LabelRef("across_pixel"))
	VZEROUPPER()
	RET()
}

// down makes n rows of bytes, 32 at a time of at least so many.
func (v isa) down() {
	kernel("down"+v.name, "func(a *byte)")
	a := argument("resample")
	stride, starts, weights, dst, last := a.load("srcStride"), a.load("starts"), a.load("weights"), a.load("dst"), a.load("columns")
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	SUBQ(num(32), last)
	zero := YMM()
	VPXOR(zero, zero, zero)

	Label("down_row")
	row := GP64()
	MOVLQSX(Mem{Base: starts}, row)
	IMULQ(stride, row)
	ADDQ(a.field("src"), row)
	chunks("down_chunk", 32, last, func(i reg.GPVirtual) {
		p, w, units := GP64(), GP64(), a.load("units")
		LEAQ(Mem{Base: row, Index: i, Scale: 1}, p)
		MOVQ(weights, w)
		var high, low [4]reg.VecVirtual
		for k := range 4 {
			high[k], low[k] = YMM(), YMM()
			VPXOR(high[k], high[k], high[k])
			VMOVDQU(data[int32](1<<21), low[k])
		}
		Label("down_unit")
		for pair, rows := range [][2]Mem{
			{{Base: p}, {Base: p, Index: stride, Scale: 1}},
			{{Base: p, Index: stride, Scale: 2}, {Base: p, Index: stride3, Scale: 1}},
		} {
			x, t := YMM(), YMM()
			VMOVDQU(rows[0], x)
			VMOVDQU(rows[1], t)
			h, l := YMM(), YMM()
			VPBROADCASTD(Mem{Base: w, Disp: 4 * pair}, h)
			VPBROADCASTD(Mem{Base: w, Disp: 8 + 4*pair}, l)
			halves := interleave(VPUNPCKLBW, VPUNPCKHBW, x, t)
			for k, unpack := range []func(...Op){VPUNPCKLBW, VPUNPCKHBW, VPUNPCKLBW, VPUNPCKHBW} {
				words, product := YMM(), YMM()
				unpack(zero, halves[k/2], words)
				VPMADDWD(h, words, product)
				VPADDD(product, high[k], high[k])
				VPMADDWD(l, words, words)
				VPADDD(words, low[k], low[k])
			}
		}
		LEAQ(Mem{Base: p, Index: stride, Scale: 4}, p)
		ADDQ(num(16), w)
		DECQ(units)
		JNE(LabelRef("down_unit"))
		for k := range 4 {
			VPSLLD(Imm(12), high[k], high[k])
			VPADDD(high[k], low[k], low[k])
			VPSRAD(Imm(22), low[k], low[k])
		}
		VPACKSSDW(low[1], low[0], low[0])
		VPACKSSDW(low[3], low[2], low[2])
		VPACKUSWB(low[2], low[0], low[0])
		VMOVDQU(low[0], Mem{Base: dst, Index: i, Scale: 1})
	})
	ADDQ(num(4), starts)
	ADDQ(a.field("row"), weights)
	ADDQ(a.field("dstStride"), dst)
	DECQ(a.field("n"))
	JNE(LabelRef("down_row"))
	VZEROUPPER()
	RET()
}
