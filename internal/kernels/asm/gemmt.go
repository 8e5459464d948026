package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemmT writes the kernel that multiplies the transpose of A [K, M] by up to 32 columns of B [K, N], both
// unpacked. As in gemm a tile of the result stays in registers over all of K; here a step reads one row of
// each: what it broadcasts lies together.
func (v isa) gemmT() {
	kernel("gemmT"+v.name, "func(a *byte)")
	arg := argument("transposed")
	arg.cursors([2]string{"a", "atA"}, [2]string{"c", "atC"})
	v.shapes(arg, false, func(label string, columns []column, rows []int) {
		g := gemmTKernel{isa: v, arg: arg, columns: columns, lda: arg.load("lda"), ldb: arg.load("ldb")}
		for _, r := range rows {
			tile := fmt.Sprintf("%s_rows%d", label, r)
			Label(tile)
			CMPQ(arg.field("m"), num(r))
			JLT(LabelRef(tile + "_end"))
			g.tile(tile, r)
			SUBQ(num(r), arg.field("m"))
			JMP(LabelRef(tile))
			Label(tile + "_end")
		}
		VZEROUPPER()
		RET()
	})
}

type gemmTKernel struct {
	isa
	arg      record
	columns  []column
	lda, ldb reg.GPVirtual
}

// tile computes rows of the result and moves the cursors past them.
func (g *gemmTKernel) tile(label string, rows int) {
	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		for _, c := range g.columns {
			r := c.vec()
			c.zero(r)
			acc[i] = append(acc[i], r)
		}
	}
	CMPQ(g.arg.field("add"), Imm(0))
	JE(LabelRef(label + "_zero"))
	c, ldc := g.arg.load("atC"), g.arg.load("ldc")
	for i := range rows {
		for j, col := range g.columns {
			col.load(Mem{Base: c, Disp: 4 * col.at}, col.mask, acc[i][j])
		}
		ADDQ(ldc, c)
	}
	// The tile below comes from far.
	for range rows {
		for _, col := range g.columns {
			PREFETCHT0(Mem{Base: c, Disp: 4 * col.at})
		}
		ADDQ(ldc, c)
	}
	Label(label + "_zero")

	a, b, k := g.arg.load("atA"), g.arg.load("b"), g.arg.load("k")
	Label(label + "_k")
	var weights []reg.VecVirtual
	for _, col := range g.columns {
		w := col.vec()
		col.load(Mem{Base: b, Disp: 4 * col.at}, col.mask, w)
		weights = append(weights, w)
	}
	for i := range rows {
		x := g.columns[0].vec() // the widest
		VBROADCASTSS(Mem{Base: a, Disp: 4 * i}, x)
		for j, w := range weights {
			VFMADD231PS(g.columns[j].part(x), w, acc[i][j])
		}
	}
	ADDQ(g.lda, a)
	ADDQ(g.ldb, b)
	DECQ(k)
	JNZ(LabelRef(label + "_k"))

	c, ldc = g.arg.load("atC"), g.arg.load("ldc")
	for i := range rows {
		for j, col := range g.columns {
			col.store(acc[i][j], col.mask, Mem{Base: c, Disp: 4 * col.at})
		}
		ADDQ(ldc, c)
	}
	MOVQ(c, g.arg.field("atC"))
	next := g.arg.load("packed")
	CMPQ(next, Imm(0))
	JNE(LabelRef(label + "_packed"))
	MOVQ(num(4*rows), next)
	Label(label + "_packed")
	ADDQ(next, g.arg.field("atA"))
}
