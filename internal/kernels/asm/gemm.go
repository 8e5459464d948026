package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// width is the number of columns in a panel of packed weights, those of a tile.
func (v isa) width() int { return 2 * v.lanes }

// gemm writes the kernel that multiplies M rows of A by one panel of packed weights. A tile of the
// result stays in registers over all of K: each step loads one row of the panel (two vectors) and
// broadcasts one number of each row of A, which lie unpacked in memory. Rows are reached through a
// pointer for every three of them: base, base+lda, base+2·lda.
//
// With AVX-512 a tile has 12 rows × 32 columns, in 24 registers; with AVX2 6 × 16 in 12. Where fewer columns
// are left, vectors are left out or, with AVX-512, halved. A vector alone has tiles twice as tall, and multiplies with
// AVX-512 by what the processor broadcasts from memory by the way; for
// bfloat16, where that can't be, two halves take its place, which are faster, since broadcasting to half a vector
// takes half the time.
//
// The kernel for bfloat16 is the same, on pairs: what is broadcast and what a column holds are two numbers,
// and a multiplication multiplies both and adds them.
func (v isa) gemm(bf16 bool) {
	name, acts := "gemm", inRegisters
	if bf16 {
		name, acts = "gemmBF16", append(acts, actGELU)
	}
	kernel(name+v.name, "func(a *byte)")
	g := gemmKernel{isa: v, arg: argument("panel"), bf16: bf16, acts: acts}
	g.arg.cursors([2]string{"a", "atA"}, [2]string{"c", "atC"}, [2]string{"res", "atRes"})
	v.shapes(g.arg, !bf16, func(label string, columns []column, rows []int) {
		if bf16 {
			rows = append([]int{13}, rows...)
		}
		g.columns = columns
		g.loops(label, rows)
	})
}

// shapes has body emitted for each way to cover the columns of a panel, of which the field n says how many
// there are, with the heights of tiles to use, tallest first. With tall, single vectors have tiles twice as tall, and
// nothing is between one and two.
func (v isa) shapes(arg record, tall bool, body func(label string, columns []column, rows []int)) {
	rows := []int{12, 4, 2, 1}
	half := v.half()
	shapes := [][]isa{{v, v}, {half}, {half, half}, {v, half}, {v, v}} // the first without masks
	if tall {
		shapes = [][]isa{{v, v}, {half}, {v}, {v, v}}
	}
	if !v.evex {
		rows = []int{6, 2, 1}
		if tall {
			rows = []int{6, 5, 4, 3, 2, 1}
		}
		shapes = [][]isa{{v, v}, {v}, {v, v}}
	}
	for i, shape := range shapes {
		count := 0
		for _, s := range shape {
			count += s.lanes
		}
		label := fmt.Sprintf("upto%d", count)
		CMPQ(arg.field("n"), num(count))
		switch {
		case i == 0:
			label = fmt.Sprintf("columns%d", count)
			JNE(LabelRef(label + "_end"))
		case i+1 < len(shapes):
			JGT(LabelRef(label + "_end"))
		}
		var columns []column
		at := 0
		for _, s := range shape {
			c := column{isa: s, at: at}
			if i > 0 && (v.evex || at+s.lanes == count) { // AVX2 has a register for one mask: the columns before are full
				n := arg.load("n")
				SUBQ(num(at), n)
				m := s.mask(n)
				c.mask = &m
			}
			columns = append(columns, c)
			at += s.lanes
		}
		if tall && len(columns) == 1 {
			body(label, columns, append([]int{2 * rows[0]}, rows...))
		} else {
			body(label, columns, rows)
		}
		Label(label + "_end")
	}
}

type gemmKernel struct {
	isa
	arg     record
	bf16    bool
	acts    []int // applied in registers
	columns []column
	lda     reg.GPVirtual
	next    reg.GPVirtual // a line of the panel that will be multiplied next
}

// A column is a vector of a tile's row.
type column struct {
	isa
	mask *mask // nil where all lanes count
	at   int   // its first lane's place in the row
}

// loops covers the M rows with tiles of the given heights, tallest first, and returns from the kernel.
func (g *gemmKernel) loops(label string, rows []int) {
	g.lda = g.arg.load("lda")
	if g.bf16 {
		g.next = g.arg.load("next")
	}
	for _, r := range rows {
		tile := fmt.Sprintf("%s_rows%d", label, r)
		Label(tile)
		CMPQ(g.arg.field("m"), num(r))
		JLT(LabelRef(tile + "_end"))
		if r == 6 && !g.evex { // of seven or eight rows one or two would be left, which take as long as four
			for _, m := range []int{7, 8} {
				CMPQ(g.arg.field("m"), num(m))
				JEQ(LabelRef(tile + "_end"))
			}
		}
		if r == 5 {
			CMPQ(g.arg.field("m"), num(r))
			JNE(LabelRef(tile + "_end"))
		}
		if r == 13 { // where in the end a row alone would be left, which takes as long as three
			rest := g.arg.load("m")
			ANDQ(Imm(3), rest)
			CMPQ(rest, Imm(1))
			JNE(LabelRef(tile + "_end"))
		}
		g.tile(tile, r)
		SUBQ(num(r), g.arg.field("m"))
		JMP(LabelRef(tile))
		Label(tile + "_end")
	}
	VZEROUPPER()
	RET()
}

// tile computes rows of the result and moves the cursors past them.
func (g *gemmKernel) tile(label string, rows int) {
	b := g.arg.load("b")

	// The accumulators start from the bias, the panel's first row.
	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		for _, c := range g.columns {
			r := c.vec()
			VMOVUPS(Mem{Base: b, Disp: 4 * c.at}, r)
			acc[i] = append(acc[i], r)
		}
	}
	ADDQ(num(4*g.width()), b)
	// What the tile will write, or who reads it, may come from far: it has until the sums are done.
	to, next := g.arg.load("atFetch"), g.arg.load("ldFetch")
	for range rows {
		for _, c := range g.columns {
			PREFETCHT1(Mem{Base: to, Disp: 4 * c.at})
		}
		ADDQ(next, to)
	}
	MOVQ(to, g.arg.field("atFetch"))

	base := []reg.GPVirtual{g.arg.load("atA")}
	for i := 3; i < rows; i += 3 {
		next := GP64()
		LEAQ(Mem{Base: base[len(base)-1], Index: g.lda, Scale: 2}, next)
		ADDQ(g.lda, next)
		base = append(base, next)
	}
	multiply := func(x, w, acc Op) { VFMADD231PS(x, w, acc) }
	if g.bf16 {
		multiply = VDPBF16PS
	}
	step := func(disp int) {
		var weights []reg.VecVirtual
		for _, c := range g.columns {
			w := c.vec()
			VMOVUPS(Mem{Base: b, Disp: 4 * (disp*g.width() + c.at)}, w)
			weights = append(weights, w)
		}
		for i := range rows {
			x := g.columns[0].vec() // the widest
			at := Mem{Base: base[i/3], Disp: 4 * disp}
			if i%3 > 0 {
				at.Index, at.Scale = g.lda, uint8(i%3)
			}
			if len(weights) == 1 && g.evex && !g.bf16 {
				VFMADD231PS_BCST(at, weights[0], acc[i][0])
				continue
			}
			VBROADCASTSS(at, x)
			for j, w := range weights {
				multiply(g.columns[j].part(x), w, acc[i][j])
			}
		}
	}
	advance := func(steps int) {
		ADDQ(num(steps*4*g.width()), b)
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
	if g.bf16 {
		PREFETCHT1(Mem{Base: g.next})
		ADDQ(num(64), g.next)
	} else if rows >= 4 {
		// Weights come from far when they are first read, and the processor's own foresight ends with a page.
		const ahead = 8 << 10
		for i := range unroll * 4 * g.width() / 64 {
			PREFETCHT1(Mem{Base: b, Disp: ahead + 64*i})
		}
	}
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
	res := g.arg.load("atRes")
	CMPQ(res, Imm(0))
	JE(LabelRef(label + "_nores"))
	g.byType(label+"_res", "resBF16", func(bf16 bool) { g.addResidual(acc, res, bf16) })
	MOVQ(res, g.arg.field("atRes"))
	Label(label + "_nores")
	g.activate(label, acc)
	c := g.arg.load("atC")
	g.byType(label+"_c", "cBF16", func(bf16 bool) { g.storeTile(acc, c, bf16) })
	MOVQ(c, g.arg.field("atC"))
	skip := GP64()
	IMUL3Q(num(rows), g.lda, skip)
	ADDQ(skip, g.arg.field("atA"))
}

// byType emits f for float32 and, in the kernel for bfloat16, for that too: which one runs is said by a
// field of the argument.
func (g *gemmKernel) byType(label, field string, f func(bf16 bool)) {
	if g.bf16 {
		CMPQ(g.arg.field(field), Imm(0))
		JNE(LabelRef(label + "_bf16"))
	}
	f(false)
	if g.bf16 {
		JMP(LabelRef(label + "_done"))
		Label(label + "_bf16")
		f(true)
		Label(label + "_done")
	}
}

// addResidual adds the rows at res, and moves res past them.
func (g *gemmKernel) addResidual(acc [][]reg.VecVirtual, res reg.GPVirtual, bf16 bool) {
	ldr := g.arg.load("ldr")
	for _, row := range acc {
		for j, c := range g.columns {
			t := c.vec()
			if bf16 {
				c.loadBF16(Mem{Base: res, Disp: 2 * c.at}, c.mask, t)
			} else {
				c.load(Mem{Base: res, Disp: 4 * c.at}, c.mask, t)
			}
			VADDPS(t, row[j], row[j])
		}
		ADDQ(ldr, res)
	}
}

// storeTile stores the rows to to, and moves to past them.
func (g *gemmKernel) storeTile(acc [][]reg.VecVirtual, to reg.GPVirtual, bf16 bool) {
	ldc := g.arg.load("ldc")
	for _, row := range acc {
		for j, c := range g.columns {
			if bf16 {
				c.storeBF16(row[j], c.mask, Mem{Base: to, Disp: 2 * c.at})
			} else {
				c.store(row[j], c.mask, Mem{Base: to, Disp: 4 * c.at})
			}
		}
		ADDQ(ldc, to)
	}
}

// part is the lower part of x that is as wide as a vector of the isa.
func (v isa) part(x reg.VecVirtual) Op {
	if v.lanes == 8 {
		return x.AsY()
	}
	return x
}

// activate applies the activation to a tile, by vectors of equal width.
func (g *gemmKernel) activate(label string, acc [][]reg.VecVirtual) {
	var wide, narrow []reg.VecVirtual
	for _, row := range acc {
		for j, r := range row {
			if g.columns[j].lanes == g.columns[0].lanes {
				wide = append(wide, r)
			} else {
				narrow = append(narrow, r)
			}
		}
	}
	g.columns[0].apply(label, g.acts, g.arg.field("act"), wide)
	if narrow != nil {
		g.columns[0].half().apply(label+"_half", g.acts, g.arg.field("act"), narrow)
	}
}
