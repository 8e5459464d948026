package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// width is the number of columns in a panel of packed weights.
const width = 32

// gemm writes the kernel that multiplies M rows of A by one panel of packed weights. A tile of the
// result stays in registers over all of K: each step loads one row of the panel (two vectors) and
// broadcasts one number of each row of A, which lie unpacked in memory. Rows are reached through a
// pointer for every three of them: base, base+lda, base+2·lda.
//
// With AVX-512 a tile has 12 rows × 32 columns, in 24 registers; with AVX2 6 × 16 in 12, and a
// panel takes two passes.
func (v isa) gemm() {
	rows := []int{12, 4, 2, 1}
	if v.lanes == 8 {
		rows = []int{6, 2, 1}
	}
	kernel("gemm"+v.name, "func(a *byte)")
	g := gemmKernel{isa: v, arg: argument("panel")}
	g.arg.cursors([2]string{"a", "atA"}, [2]string{"c", "atC"}, [2]string{"res", "atRes"})
	n := g.arg.load("n")
	second := GP64()
	LEAQ(Mem{Base: n, Disp: -v.lanes}, second)
	CMPQ(n, num(v.lanes))
	JLE(LabelRef("narrow"))
	g.masks = []mask{v.mask(n), v.mask(second)}
	g.loops("wide", rows)
	Label("narrow")
	g.masks = []mask{v.mask(n)}
	g.loops("narrow", rows)
}

type gemmKernel struct {
	isa
	arg   record
	masks []mask // one for each vector of a row

	lda reg.GPVirtual
}

// loops covers the M rows with tiles of the given heights, tallest first, and returns from the kernel.
func (g *gemmKernel) loops(label string, rows []int) {
	g.lda = g.arg.load("lda")
	for _, r := range rows {
		tile := fmt.Sprintf("%s%d", label, r)
		Label(tile)
		CMPQ(g.arg.field("m"), num(r))
		JLT(LabelRef(tile + "_end"))
		g.tile(tile, r)
		SUBQ(num(r), g.arg.field("m"))
		JMP(LabelRef(tile))
		Label(tile + "_end")
	}
	if g.lanes == 8 {
		VZEROUPPER()
	}
	RET()
}

// tile computes rows of the result and moves the cursors past them.
func (g *gemmKernel) tile(label string, rows int) {
	vecs := len(g.masks)
	b := g.arg.load("b")

	// The accumulators start from the bias, the panel's first row.
	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		acc[i] = g.vecs(vecs)
		for j, r := range acc[i] {
			VMOVUPS(Mem{Base: b, Disp: j * g.bytes()}, r)
		}
	}
	ADDQ(num(4*width), b)

	base := []reg.GPVirtual{g.arg.load("atA")}
	for i := 3; i < rows; i += 3 {
		next := GP64()
		LEAQ(Mem{Base: base[len(base)-1], Index: g.lda, Scale: 2}, next)
		ADDQ(g.lda, next)
		base = append(base, next)
	}
	step := func(disp int) {
		weights := g.vecs(vecs)
		for j, w := range weights {
			VMOVUPS(Mem{Base: b, Disp: disp*4*width + j*g.bytes()}, w)
		}
		for i := range rows {
			x := g.vec()
			at := Mem{Base: base[i/3], Disp: 4 * disp}
			if i%3 > 0 {
				at.Index, at.Scale = g.lda, uint8(i%3)
			}
			VBROADCASTSS(at, x)
			for j, w := range weights {
				VFMADD231PS(x, w, acc[i][j])
			}
		}
	}
	advance := func(steps int) {
		ADDQ(num(steps*4*width), b)
		for _, p := range base {
			ADDQ(num(4*steps), p)
		}
	}
	const unroll = 4
	k, segments := GP64(), g.arg.load("segments")
	Label(label + "_segment")
	MOVQ(g.arg.field("k"), k)
	SUBQ(num(unroll), k)
	JLT(LabelRef(label + "_k1"))
	Label(label + "_k4")
	for u := range unroll {
		step(u)
	}
	advance(unroll)
	SUBQ(num(unroll), k)
	JGE(LabelRef(label + "_k4"))
	Label(label + "_k1")
	ADDQ(num(unroll), k)
	JZ(LabelRef(label + "_done_k"))
	Label(label + "_rest")
	step(0)
	advance(1)
	DECQ(k)
	JNZ(LabelRef(label + "_rest"))
	Label(label + "_done_k")
	for _, p := range base {
		ADDQ(g.arg.field("jump"), p)
	}
	DECQ(segments)
	JNZ(LabelRef(label + "_segment"))

	// Epilogue: residual, activation, store.
	var all []reg.VecVirtual
	for _, row := range acc {
		all = append(all, row...)
	}
	res, ldr := g.arg.load("atRes"), g.arg.load("ldr")
	CMPQ(res, Imm(0))
	JE(LabelRef(label + "_nores"))
	for i := range rows {
		for j, r := range acc[i] {
			t := g.vec()
			g.loadMasked(Mem{Base: res, Disp: j * g.bytes()}, g.masks[j], t)
			VADDPS(t, r, r)
		}
		ADDQ(ldr, res)
	}
	MOVQ(res, g.arg.field("atRes"))
	Label(label + "_nores")
	g.apply(label, inRegisters, g.arg.field("act"), all)
	c, ldc := g.arg.load("atC"), g.arg.load("ldc")
	for i := range rows {
		for j, r := range acc[i] {
			g.storeMasked(r, g.masks[j], Mem{Base: c, Disp: j * g.bytes()})
		}
		ADDQ(ldc, c)
	}
	MOVQ(c, g.arg.field("atC"))
	skip := GP64()
	IMUL3Q(num(rows), g.lda, skip)
	ADDQ(skip, g.arg.field("atA"))
}
