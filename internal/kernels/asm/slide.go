package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// slide writes the kernels for depthwise convolutions of 3 × 3 taps that go through strips of a vector of
// channels, whose weights stay in registers as far as there are some; through the rows; and along them, column by
// column. What a column adds up to is part of up to three columns of the result, of which one is then done.
//
// With a stride of 1 and one column of zeros on either side, it is minimal filtering F(2, 3) down the columns:
// two rows of the result are computed together, of four lines of the input, by 12 multiplications instead of
// 18. What is added instead goes through other units of the processor. With a stride of 2 it goes tap by tap,
// and row by row.
func (v isa) slide(stride int) {
	kernel(fmt.Sprintf("slide%d%s", stride, v.name), "func(a *byte)")
	s := slideKernel{isa: v, arg: stripsArgument(), lines: make([]line, 5-stride)}
	if v.evex {
		s.pixelX = s.arg.load("pixelX")
	}
	Label("vector")
	vectors, registers := 12, 12
	if stride == 2 {
		vectors, registers = 9, 9
	} else if !v.evex {
		registers = 3
	}
	weights := func() {
		s.w = nil
		w := s.cursor(s.arg, "atW")
		for i := range vectors {
			s.w = append(s.w, Mem{Base: w, Disp: 4 * blockLanes * i})
			if i < registers {
				s.w[i] = s.inRegister(s.w[i])
			}
		}
		s.bias = Mem{Base: s.cursor(s.arg, "atBias")}
	}
	if v.evex {
		m := v.mask(s.arg.load("channels"))
		s.store = &m
		weights()
		s.bias = s.inRegister(s.bias)
	}
	s.arg.cursors([2]string{"groups", "group"}, [2]string{"count", "groupsLeft"})
	Label("group")
	v.halves(s.arg, func() {
		if !v.evex {
			weights()
		}
		s.begin()
		if stride == 1 {
			s.pair()
		} else {
			s.row()
		}
	})
	ADDQ(num(sizes["group"]), s.arg.field("group"))
	DECQ(s.arg.field("groupsLeft"))
	JNZ(LabelRef("group"))
	s.arg.nextBlock()
	JG(LabelRef("vector"))
	VZEROUPPER()
	RET()
}

// halves emits f, which computes a vector of a block of channels. With AVX2 a block is two vectors, one after
// the other while the lines of the cache in which both lie are at hand, and the field half is where in the block it is.
func (v isa) halves(arg record, f func()) {
	if v.lanes == blockLanes {
		f()
		return
	}
	MOVQ(num(0), arg.field("half"))
	Label("half")
	f()
	XORQ(num(v.bytes()), arg.field("half"))
	JZ(LabelRef("halves_end"))
	CMPQ(arg.field("channels"), num(v.lanes))
	JG(LabelRef("half"))
	Label("halves_end")
}

// cursor is one of a block, at the vector's place in it.
func (v isa) cursor(arg record, name string) reg.GPVirtual {
	p := arg.load(name)
	if v.lanes < blockLanes {
		ADDQ(arg.field("half"), p)
	}
	return p
}

// stripsArgument is the argument of the kernels that go through strips, with its cursors at the first one.
func stripsArgument() record {
	r := argument("strips")
	r.cursors([2]string{"x", "atX"}, [2]string{"w", "atW"}, [2]string{"bias", "atBias"}, [2]string{"y", "atY"}, [2]string{"sums", "atSums"})
	return r
}

// nextBlock moves the cursors of strips to the next block of channels, and compares what is left with 0.
func (r record) nextBlock() {
	for _, p := range [][2]string{{"atX", "vectorX"}, {"atBias", "vectorX"}, {"atW", "blockW"}, {"atY", "vectorY"}, {"atSums", "vectorSums"}} {
		r.advance(p[0], p[1], 1)
	}
	SUBQ(num(blockLanes), r.field("channels"))
}

type slideKernel struct {
	isa
	arg   record
	w     []Op
	bias  Op
	store *mask // the lanes that are channels; nil for all
	lines []line
	y     reg.GPVirtual
	rowY  reg.GPVirtual
	sums  reg.GPVirtual

	// With AVX-512, which reaches lines from few pointers:
	pixelX, lineX reg.GPVirtual
	x             reg.GPVirtual // the column's first line
	x1            reg.GPVirtual // the second line; with a stride of 2 the next column
}

// A line is one of those that a group of rows sees. Where it is outside the image AVX-512 masks all of it, and AVX2
// reads the same zeros for each column.
type line struct {
	mask
	at   reg.GPVirtual // the next column
	step string        // the field with the distance between columns
}

// inRegister loads a vector.
func (v isa) inRegister(from Op) reg.VecVirtual {
	r := v.vec()
	VMOVUPS(from, r)
	return r
}

// toBias sets r to the bias.
func (s *slideKernel) toBias(r reg.VecVirtual) {
	if s.evex {
		VMOVAPS(s.bias, r)
	} else {
		VMOVUPS(s.bias, r)
	}
}

// begin sets what a group of rows needs.
func (s *slideKernel) begin() {
	group := s.arg.at("group")
	lineX := s.arg.load("lineX")
	x := s.cursor(s.arg, "atX")
	ADDQ(group.field("x"), x)
	valid := group.load("valid")
	if s.evex {
		s.x, s.lineX = x, lineX
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
	} else {
		pixelX, zeros, none := s.arg.load("pixelX"), GP64(), GP64()
		LEAQ(constant(0, s.lanes), zeros)
		XORQ(none, none)
		for i := range s.lines {
			l := line{at: GP64(), step: fmt.Sprintf("step%d", i)}
			step := GP64()
			MOVQ(x, l.at)
			MOVQ(pixelX, step)
			BTL(Imm(uint64(i)), valid.As32())
			CMOVQCC(zeros, l.at)
			CMOVQCC(none, step)
			MOVQ(step, s.arg.field(l.step))
			ADDQ(lineX, x)
			s.lines[i] = l
		}
	}
	s.y = s.cursor(s.arg, "atY")
	ADDQ(group.field("y"), s.y)
	s.sums = s.cursor(s.arg, "atSums")
	ADDQ(group.field("sums"), s.sums)
}

// next loads the lines of the next column.
func (s *slideKernel) next(d []reg.VecVirtual) {
	for i, r := range d {
		VMOVUPS(Mem{Base: s.lines[i].at}, r)
		ADDQ(s.arg.field(s.lines[i].step), s.lines[i].at)
	}
}

// pair computes a pair of rows of the vector, or one alone.
func (s *slideKernel) pair() {
	s.x1, s.rowY = GP64(), s.arg.load("rowY")
	if s.evex {
		LEAQ(Mem{Base: s.x, Index: s.lineX, Scale: 1}, s.x1)
	}
	// A row alone is written over the second one, which isn't wanted.
	zero := GP64()
	XORQ(zero, zero)
	CMPQ(s.arg.at("group").field("rows"), Imm(1))
	CMOVQEQ(zero, s.rowY)

	before, here := s.vecs(4), s.vecs(4)
	for m, r := range before {
		if m == 1 { // is in both sums
			s.toBias(r)
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
	if s.evex {
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
			s.loadMasked(at, s.lines[i].mask, r)
		}
		ADDQ(s.pixelX, s.x)
		ADDQ(s.pixelX, s.x1)
	} else {
		s.next(d)
	}
	VSUBPS(d[2], d[0], d[0])
	VSUBPS(d[3], d[1], d[3])
	VADDPS(d[2], d[1], sum)
	VSUBPS(d[1], d[2], d[2])
	return []reg.VecVirtual{d[0], sum, d[2], d[3]}
}

// add adds to a column of the result what the transformed one comes to by a column of taps.
func (s *slideKernel) add(taps int, t, m []reg.VecVirtual) {
	for i, r := range m {
		s.multiply(t[i], s.w[4*taps+i], r)
	}
}

// multiply adds x·w, of which w may be in memory, to a sum.
func (s *slideKernel) multiply(x, w, sum Op) {
	if s.evex {
		VFMADD231PS(x, w, sum)
	} else {
		VFMADD231PS(w, x, sum)
	}
}

// start is add for the first of them.
func (s *slideKernel) start(t, m []reg.VecVirtual) {
	for i, r := range m {
		if i == 1 { // is in both sums
			s.toBias(r)
			s.multiply(t[i], s.w[i], r)
		} else if s.evex {
			VMULPS(t[i], s.w[i], r)
		} else {
			VMULPS(s.w[i], t[i], r)
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
	here, next := s.vec(), s.vec()
	s.toBias(here)
	// The first column of taps may see zeros.
	CMPQ(s.arg.field("before"), Imm(0))
	JE(LabelRef("middle"))
	s.taps(0, s.column2(s.x), here)
	if s.evex {
		ADDQ(s.pixelX, s.x)
	}
	Label("middle")
	if s.evex {
		s.x1 = GP64()
		LEAQ(Mem{Base: s.x, Index: s.pixelX, Scale: 1}, s.x1)
	}
	left := s.arg.load("columns")
	Label("column")
	s.taps(1, s.column2(s.x), here)
	s.toBias(next)
	DECQ(left)
	JZ(LabelRef("last"))
	x := s.column2(s.x1)
	s.taps(2, x, here)
	s.taps(0, x, next)
	s.yield("column", []reg.VecVirtual{here})
	VMOVAPS(next, here)
	if s.evex {
		LEAQ(Mem{Base: s.x, Index: s.pixelX, Scale: 2}, s.x)
		LEAQ(Mem{Base: s.x1, Index: s.pixelX, Scale: 2}, s.x1)
	}
	JMP(LabelRef("column"))
	Label("last")
	// The last column of taps may see zeros.
	CMPQ(s.arg.field("after"), Imm(0))
	JE(LabelRef("end"))
	s.taps(2, s.column2(s.x1), here)
	Label("end")
	s.yield("end", []reg.VecVirtual{here})
}

// column2 loads the lines of the column at x: with AVX2, which visits them in their order, of the next one.
func (s *slideKernel) column2(x reg.GPVirtual) []reg.VecVirtual {
	d := s.vecs(3)
	if !s.evex {
		s.next(d)
		return d
	}
	for i, r := range d {
		at := Mem{Base: x}
		if i > 0 {
			at.Index, at.Scale = s.lineX, uint8(i)
		}
		s.loadMasked(at, s.lines[i].mask, r)
	}
	return d
}

// taps adds to a result what a column comes to by a column of taps.
func (s *slideKernel) taps(taps int, d []reg.VecVirtual, to reg.VecVirtual) {
	for i, r := range d {
		s.multiply(r, s.w[3*i+taps], to)
	}
}

// yield stores a column's results, of one row or two, and goes on to the next one.
func (s *slideKernel) yield(label string, results []reg.VecVirtual) {
	s.apply(label+"_act", inRegisters, s.arg.field("act"), results)
	at := []Mem{{Base: s.y}, {Base: s.y, Index: s.rowY, Scale: 1}}
	if s.evex {
		CMPQ(s.arg.field("yBF16"), Imm(0))
		JNE(LabelRef(label + "_bf16"))
	}
	for row := len(results) - 1; row >= 0; row-- {
		s.isa.store(results[row], s.store, at[row])
	}
	if s.evex {
		JMP(LabelRef(label + "_stored"))
		Label(label + "_bf16")
		for row := len(results) - 1; row >= 0; row-- {
			s.storeBF16(results[row], s.store, at[row])
		}
		Label(label + "_stored")
	}
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
		if s.evex {
			VADDPS_Z(Mem{Base: sums}, r, s.store.k, r)
		} else {
			VADDPS(Mem{Base: sums}, r, r)
		}
		s.isa.store(r, s.store, Mem{Base: sums})
	}
	Label(label + "_done")
}
