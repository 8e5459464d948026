package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// slide writes the kernels for depthwise convolutions of 3 × 3 taps that go through strips of a vector of
// channels, whose weights stay in registers; through the rows; and along them, column by column. What a
// column adds up to is part of up to three columns of the result, of which one is then done.
//
// With a stride of 1 and one column of zeros on either side, it is minimal filtering F(2, 3) down the columns:
// two rows of the result are computed together, of four lines of the input, by 12 multiplications instead of
// 18. What is added instead goes through other units of the processor. With a stride of 2 it goes tap by tap,
// and row by row.
func (v isa) slide(stride int) {
	kernel(fmt.Sprintf("slide%d%s", stride, v.name), "func(a *byte)")
	s := slideKernel{isa: v, arg: stripsArgument(), lines: make([]mask, 5-stride)}
	s.pixelX = s.arg.load("pixelX")
	Label("vector")
	s.store = v.mask(s.arg.load("channels"))
	w, vectors := s.arg.load("atW"), 12
	if stride == 2 {
		vectors = 9
	}
	s.w = v.vecs(vectors)
	for i, r := range s.w {
		VMOVUPS(Mem{Base: w, Disp: v.bytes() * i}, r)
	}
	s.bias = v.vec()
	VMOVUPS(Mem{Base: s.arg.load("atBias")}, s.bias)
	s.arg.cursors([2]string{"groups", "group"}, [2]string{"count", "groupsLeft"})
	Label("group")
	s.begin()
	if stride == 1 {
		s.pair()
	} else {
		s.row()
	}
	ADDQ(num(sizes["group"]), s.arg.field("group"))
	DECQ(s.arg.field("groupsLeft"))
	JNZ(LabelRef("group"))
	s.arg.nextVector(v)
	JG(LabelRef("vector"))
	VZEROUPPER()
	RET()
}

// stripsArgument is the argument of the kernels that go through strips, with its cursors at the first one.
func stripsArgument() record {
	r := argument("strips")
	r.cursors([2]string{"x", "atX"}, [2]string{"w", "atW"}, [2]string{"bias", "atBias"}, [2]string{"y", "atY"}, [2]string{"sums", "atSums"})
	return r
}

// nextVector moves the cursors of strips to the next vector of channels, and compares what is left with 0.
func (r record) nextVector(v isa) {
	for _, p := range [][2]string{{"atX", "vectorX"}, {"atBias", "vectorX"}, {"atW", "blockW"}, {"atY", "vectorY"}, {"atSums", "vectorSums"}} {
		r.advance(p[0], p[1], 1)
	}
	SUBQ(num(v.lanes), r.field("channels"))
}

type slideKernel struct {
	isa
	arg    record
	pixelX reg.GPVirtual
	w      []reg.VecVirtual
	bias   reg.VecVirtual
	store  mask   // the lanes that are channels
	lines  []mask // those of the lines, none where they are outside the image

	x, lineX reg.GPVirtual // the column's first line, and how far lines lie apart
	x1       reg.GPVirtual // the second line; with a stride of 2 the next column
	y, rowY  reg.GPVirtual
	sums     reg.GPVirtual
}

// begin sets what a group of rows needs.
func (s *slideKernel) begin() {
	group := s.arg.at("group")
	s.lineX = s.arg.load("lineX")
	s.x = s.arg.load("atX")
	ADDQ(group.field("x"), s.x)
	valid := group.load("valid")
	lanes := GP32()
	KMOVW(s.store.k, lanes)
	for i := range s.lines {
		bits := GP32()
		XORL(bits, bits)
		BTL(Imm(uint64(i)), valid.As32())
		CMOVLCS(lanes, bits)
		s.lines[i].k = K()
		KMOVW(bits, s.lines[i].k)
	}
	s.y = s.arg.load("atY")
	ADDQ(group.field("y"), s.y)
	s.sums = s.arg.load("atSums")
	ADDQ(group.field("sums"), s.sums)
}

// pair computes a pair of rows of the vector, or one alone.
func (s *slideKernel) pair() {
	s.x1, s.rowY = GP64(), s.arg.load("rowY")
	LEAQ(Mem{Base: s.x, Index: s.lineX, Scale: 1}, s.x1)
	// A row alone is written over the second one, which isn't wanted.
	zero := GP64()
	XORQ(zero, zero)
	CMPQ(s.arg.at("group").field("rows"), Imm(1))
	CMOVQEQ(zero, s.rowY)

	before, here := s.vecs(4), s.vecs(4)
	for m, r := range before {
		if m == 1 { // is in both sums
			VMOVAPS(s.bias, r)
		} else {
			s.zero(r)
		}
	}
	t := s.column()
	s.add(1, t, before)
	s.start(t, here)
	left := s.arg.load("columns")
	for _, label := range []string{"odd", "even"} {
		DECQ(left)
		JZ(LabelRef(label + "_last"))
		if label == "odd" {
			Label("odd")
		}
		t := s.column()
		s.add(2, t, before)
		s.finish(label, before)
		s.add(1, t, here)
		s.start(t, before)
		before, here = here, before
	}
	DECQ(left)
	JNZ(LabelRef("odd"))
	Label("odd_last")
	s.finish("odd_end", before)
	JMP(LabelRef("rows_end"))
	Label("even_last")
	s.finish("even_end", here)
	Label("rows_end")
}

// column transforms the lines of a column, and goes on to the next one.
func (s *slideKernel) column() []reg.VecVirtual {
	d, sum := s.vecs(4), s.vec()
	for i, r := range d {
		at := Mem{Base: s.x}
		switch i {
		case 1:
			at = Mem{Base: s.x1}
		case 2:
			at = Mem{Base: s.x, Index: s.lineX, Scale: 2}
		case 3:
			at = Mem{Base: s.x1, Index: s.lineX, Scale: 2}
		}
		s.loadMasked(at, s.lines[i], r)
	}
	ADDQ(s.pixelX, s.x)
	ADDQ(s.pixelX, s.x1)
	VSUBPS(d[2], d[0], d[0])
	VSUBPS(d[3], d[1], d[3])
	VADDPS(d[2], d[1], sum)
	VSUBPS(d[1], d[2], d[2])
	return []reg.VecVirtual{d[0], sum, d[2], d[3]}
}

// add adds to a column of the result what the transformed one comes to by a column of taps.
func (s *slideKernel) add(taps int, t, m []reg.VecVirtual) {
	for i, r := range m {
		VFMADD231PS(t[i], s.w[4*taps+i], r)
	}
}

// start is add for the first of them.
func (s *slideKernel) start(t, m []reg.VecVirtual) {
	for i, r := range m {
		if i == 1 { // is in both sums
			VMOVAPS(s.bias, r)
			VFMADD231PS(t[i], s.w[i], r)
		} else {
			VMULPS(t[i], s.w[i], r)
		}
	}
}

// finish makes the two results of a column of its sums, and stores them.
func (s *slideKernel) finish(label string, m []reg.VecVirtual) {
	sum := s.vec()
	VADDPS(m[2], m[1], sum)
	VSUBPS(m[2], m[1], m[1])
	VADDPS(sum, m[0], m[0])
	VSUBPS(m[3], m[1], m[1])
	s.yield(label, m[:2])
}

// row computes a row of the vector at a stride of 2.
func (s *slideKernel) row() {
	s.x1 = GP64()
	here, next := s.vec(), s.vec()
	VMOVAPS(s.bias, here)
	// The first column of taps may see zeros.
	CMPQ(s.arg.field("before"), Imm(0))
	JE(LabelRef("middle"))
	s.taps(0, s.column2(s.x), here)
	ADDQ(s.pixelX, s.x)
	Label("middle")
	LEAQ(Mem{Base: s.x, Index: s.pixelX, Scale: 1}, s.x1)
	left := s.arg.load("columns")
	Label("column")
	s.taps(1, s.column2(s.x), here)
	VMOVAPS(s.bias, next)
	DECQ(left)
	JZ(LabelRef("last"))
	x := s.column2(s.x1)
	s.taps(2, x, here)
	s.taps(0, x, next)
	s.yield("column", []reg.VecVirtual{here})
	VMOVAPS(next, here)
	LEAQ(Mem{Base: s.x, Index: s.pixelX, Scale: 2}, s.x)
	LEAQ(Mem{Base: s.x1, Index: s.pixelX, Scale: 2}, s.x1)
	JMP(LabelRef("column"))
	Label("last")
	// The last column of taps may see zeros.
	CMPQ(s.arg.field("after"), Imm(0))
	JE(LabelRef("end"))
	s.taps(2, s.column2(s.x1), here)
	Label("end")
	s.yield("end", []reg.VecVirtual{here})
}

// column2 loads the lines of the column at x.
func (s *slideKernel) column2(x reg.GPVirtual) []reg.VecVirtual {
	d := s.vecs(3)
	for i, r := range d {
		at := Mem{Base: x}
		if i > 0 {
			at.Index, at.Scale = s.lineX, uint8(i)
		}
		s.loadMasked(at, s.lines[i], r)
	}
	return d
}

// taps adds to a result what a column comes to by a column of taps.
func (s *slideKernel) taps(taps int, d []reg.VecVirtual, to reg.VecVirtual) {
	for i, r := range d {
		VFMADD231PS(r, s.w[3*i+taps], to)
	}
}

// yield stores a column's results, of one row or two, and goes on to the next one.
func (s *slideKernel) yield(label string, results []reg.VecVirtual) {
	s.apply(label+"_act", inRegisters, s.arg.field("act"), results)
	at := []Mem{{Base: s.y}, {Base: s.y, Index: s.rowY, Scale: 1}}
	CMPQ(s.arg.field("yBF16"), Imm(0))
	JNE(LabelRef(label + "_bf16"))
	for row := len(results) - 1; row >= 0; row-- {
		s.storeMasked(results[row], s.store, at[row])
	}
	JMP(LabelRef(label + "_stored"))
	Label(label + "_bf16")
	for row := len(results) - 1; row >= 0; row-- {
		s.storeBF16(results[row], &s.store, at[row])
	}
	Label(label + "_stored")
	ADDQ(s.arg.field("pixelY"), s.y)
	CMPQ(s.arg.field("sums"), Imm(0))
	JE(LabelRef(label + "_done"))
	sums := s.sums
	for row, r := range results {
		if row == 1 {
			CMPQ(s.arg.at("group").field("rows"), Imm(1))
			JE(LabelRef(label + "_done"))
			sums = GP64()
			MOVQ(s.sums, sums)
			ADDQ(s.arg.field("rowSums"), sums)
		}
		VADDPS_Z(Mem{Base: sums}, r, s.store.k, r)
		s.storeMasked(r, s.store, Mem{Base: sums})
	}
	Label(label + "_done")
}
