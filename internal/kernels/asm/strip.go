package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// minimal lists the widths and strides of the depthwise convolutions that have a strip kernel.
var minimal = [][2]int{{5, 1}, {7, 1}, {5, 2}}

// A product is one of the multiplications for two neighbouring results of a line, y0 and y1: of a column that
// they see, or of two added or subtracted, by a number made of the taps. It goes into one of four
// accumulators: y0 = m0 + m1 + m2 and y1 = m1 - m2 - m3.
type product struct {
	a, b    int
	combine func(...Op) // of a and b; nil for a alone
	m       int
}

// products lists those of a line of taps at a stride. The taps at even places and those at odd places see
// different columns where the stride is 2; each lot is cut into filters of up to three, which see columns a
// stride apart. With three taps, Winograd's minimal filtering F(2, 3), the products of the data are
//
//	d0 - d2   d1 + d2   d2 - d1   d1 - d3
//
// with two, F(2, 2), d0 - d1, d1 and d1 - d2, and with one d0 and d1. The weights are those of
// minimalWeights in the package.
func products(width, stride int) []product {
	var all []product
	for phase := range stride {
		for at := phase; at < width; {
			d := func(i int) int { return at + i*stride }
			left := (width - at + stride - 1) / stride
			switch {
			case left == 3 || left > 4:
				all = append(all, product{d(0), d(2), VSUBPS, 0}, product{d(1), d(2), VADDPS, 1}, product{d(2), d(1), VSUBPS, 2},
					product{d(1), d(3), VSUBPS, 3})
				at += 3 * stride
			case left >= 2:
				all = append(all, product{d(0), d(1), VSUBPS, 0}, product{d(1), 0, nil, 1}, product{d(1), d(2), VSUBPS, 3})
				at += 2 * stride
			default:
				all = append(all, product{d(0), 0, nil, 0}, product{d(1), 0, nil, 3})
				at += stride
			}
		}
	}
	return all
}

// strip writes the kernel for depthwise convolutions whose lines of taps have some width and stride, by
// minimal filtering: it takes two thirds of the multiplications, and what it adds instead goes through
// other units of the processor.
//
// With AVX2 there are registers for one row at a time.
//
// It goes through strips of a vector of channels, so that each line of cache is fetched once; through the
// groups of rows of the result, one or two which see lines in common; and through tiles of four or two of
// their columns. See strips in the package, where their places come from.
func (v isa) strip(width, stride int) {
	kernel(fmt.Sprintf("strip%dx%d%s", width, stride, v.name), "func(a *byte)")
	s := stripKernel{isa: v, arg: stripsArgument(), stride: stride, products: products(width, stride)}
	s.pixelX = s.arg.load("pixelX")
	Label("vector")
	if v.evex { // the last vector may be part of one: its tiles are masked, all of them
		masked, lanes := GP64(), GP64()
		XORQ(masked, masked)
		MOVQ(s.arg.field("channels"), lanes)
		CMPQ(lanes, num(v.lanes))
		SETLT(masked.As8())
		ADDQ(masked, masked)
		MOVQ(masked, s.arg.field("masked"))
		KMOVW(v.mask(lanes).k, masked.As32())
		MOVQ(masked, s.arg.field("lanes"))
	}
	s.arg.cursors([2]string{"groups", "group"}, [2]string{"count", "groupsLeft"})
	Label("group")
	v.halves(s.arg, func() {
		if stride == 1 && v.evex {
			CMPQ(s.arg.at("group").field("rows"), Imm(2))
			JNE(LabelRef("single"))
			s.tiles("pair", 2)
			JMP(LabelRef("next"))
			Label("single")
		}
		s.tiles("alone", 1)
		Label("next")
	})
	ADDQ(num(sizes["group"]), s.arg.field("group"))
	DECQ(s.arg.field("groupsLeft"))
	JNZ(LabelRef("group"))
	s.arg.nextBlock()
	JG(LabelRef("vector"))
	VZEROUPPER()
	RET()
}

type stripKernel struct {
	isa
	arg      record
	stride   int
	products []product
	pixelX   reg.GPVirtual
}

// tiles goes through the tiles of a group of rows.
func (s *stripKernel) tiles(label string, rows int) {
	s.arg.cursors([2]string{"tiles", "tile"}, [2]string{"columns", "tilesLeft"})
	Label(label)
	kind := s.arg.at("tile").load("kind")
	if s.evex {
		ORQ(s.arg.field("masked"), kind)
	}
	for i := range 4 {
		next := fmt.Sprintf("%s_not%d", label, i)
		if i < 3 {
			CMPQ(kind, num(i))
			JNE(LabelRef(next))
		}
		t := stripTile{stripKernel: s, label: fmt.Sprintf("%s_kind%d", label, i), rows: rows, pairs: 2 - i%2, masked: i >= 2}
		t.compute()
		if i < 3 {
			JMP(LabelRef(label + "_next"))
		}
		Label(next)
	}
	Label(label + "_next")
	ADDQ(num(sizes["tile"]), s.arg.field("tile"))
	DECQ(s.arg.field("tilesLeft"))
	JNZ(LabelRef(label))
}

// A stripTile is some pairs of columns of one or two rows. Where it is masked, not all columns that it sees
// or computes are inside the images, or the vector isn't whole.
type stripTile struct {
	*stripKernel
	label       string
	rows, pairs int
	masked      bool

	acc   [2][2][]reg.VecVirtual // by row and pair
	base  []reg.GPVirtual        // of every third column at the next line
	w     reg.GPVirtual          // the upper row's weights for the next line; the lower row's are before them
	valid reg.GPVirtual          // a bit for each column that is inside the image
	zeros reg.GPVirtual          // for those that aren't, with AVX2
}

func (t *stripTile) compute() {
	group, tile := t.arg.at("group"), t.arg.at("tile")
	bias := t.cursor(t.arg, "atBias")
	for row := range t.rows {
		for pair := range t.pairs {
			acc := t.vecs(4)
			for m, r := range acc {
				if m == 1 { // is in both sums
					VMOVUPS(Mem{Base: bias}, r)
				} else {
					t.zero(r)
				}
			}
			t.acc[row][pair] = acc
		}
	}
	t.base = []reg.GPVirtual{t.address("atX", group, "x", tile, "x")}
	last := 0
	for _, p := range t.products {
		last = max(last, p.a, p.b)
	}
	for at := 3; at <= last+2*t.stride*(t.pairs-1); at += 3 {
		p := GP64()
		LEAQ(Mem{Base: t.base[len(t.base)-1], Index: t.pixelX, Scale: 2}, p)
		ADDQ(t.pixelX, p)
		t.base = append(t.base, p)
	}
	t.w = t.cursor(t.arg, "atW")
	ADDQ(group.field("w"), t.w)
	if t.masked {
		t.valid = tile.load("valid")
		if !t.evex {
			t.zeros = GP64()
			LEAQ(constant(0, t.lanes), t.zeros)
		}
	}

	// Of two rows the first line may be the upper one's alone, and the last one the lower one's.
	if t.rows == 2 {
		t.when("first", func() { t.line(t.acc[0], [2][]reg.VecVirtual{}) })
	}
	count := t.arg.at("group").load("lines")
	TESTQ(count, count)
	JZ(LabelRef(t.label + "_nolines"))
	Label(t.label + "_lines")
	t.line(t.acc[0], t.acc[1])
	DECQ(count)
	JNZ(LabelRef(t.label + "_lines"))
	Label(t.label + "_nolines")
	if t.rows == 2 {
		t.when("last", func() { t.line([2][]reg.VecVirtual{}, t.acc[1]) })
	}

	var results []reg.VecVirtual
	for row := range t.rows {
		for pair := range t.pairs {
			m := t.acc[row][pair]
			sum := t.vec()
			VADDPS(m[2], m[1], sum)
			VSUBPS(m[2], m[1], m[1])
			VADDPS(sum, m[0], m[0])
			VSUBPS(m[3], m[1], m[1])
			results = append(results, m[0], m[1])
		}
	}
	t.apply(t.label, inRegisters, t.arg.field("act"), results)
	for row := range t.rows {
		t.finish(row, results[2*t.pairs*row:][:2*t.pairs])
	}
}

// address is that of a cursor and the offsets of a group and a tile.
func (t *stripTile) address(cursor string, group record, of string, tile record, at string) reg.GPVirtual {
	p := t.cursor(t.arg, cursor)
	ADDQ(group.field(of), p)
	ADDQ(tile.field(at), p)
	return p
}

// when emits what is done where the group's field isn't 0.
func (t *stripTile) when(field string, f func()) {
	skip := t.label + "_no" + field
	CMPQ(t.arg.at("group").field(field), Imm(0))
	JE(LabelRef(skip))
	f()
	Label(skip)
}

// line adds up the products of a line for the rows whose accumulators are given, and goes to the next one.
func (t *stripTile) line(upper, lower [2][]reg.VecVirtual) {
	seen := map[int]reg.VecVirtual{}
	column := func(i int) reg.VecVirtual {
		if seen[i] == nil {
			seen[i] = t.column(i)
		}
		return seen[i]
	}
	const vector = 4 * blockLanes
	lineW := vector * len(t.products)
	for i, p := range t.products {
		var data []reg.VecVirtual
		for pair := range t.pairs {
			shift := 2 * t.stride * pair
			d := column(p.a + shift)
			if p.combine != nil {
				d = t.vec()
				p.combine(column(p.b+shift), column(p.a+shift), d)
			}
			data = append(data, d)
		}
		for row, acc := range [][2][]reg.VecVirtual{upper, lower} {
			if acc[0] == nil {
				continue
			}
			w := t.vec()
			VMOVUPS(Mem{Base: t.w, Disp: vector*i - lineW*row}, w)
			for pair, d := range data {
				VFMADD231PS(d, w, acc[pair][p.m])
			}
		}
	}
	for _, p := range t.base {
		ADDQ(t.arg.field("lineX"), p)
	}
	ADDQ(num(lineW), t.w)
}

// column loads a column of the line, zeros where it is outside the image.
func (t *stripTile) column(i int) reg.VecVirtual {
	at := Mem{Base: t.base[i/3]}
	if i%3 > 0 {
		at.Index, at.Scale = t.pixelX, uint8(i%3)
	}
	x := t.vec()
	if !t.masked {
		VMOVUPS(at, x)
		return x
	}
	if !t.evex {
		p := GP64()
		LEAQ(at, p)
		BTL(Imm(uint64(i)), t.valid.As32())
		CMOVQCC(t.zeros, p)
		VMOVUPS(Mem{Base: p}, x)
		return x
	}
	bits, k := GP32(), K()
	XORL(bits, bits)
	BTL(Imm(uint64(i)), t.valid.As32())
	SBBL(bits, bits)
	ANDL(t.arg.field("lanes"), bits)
	KMOVW(bits, k)
	VMOVUPS_Z(at, k, x)
	return x
}

// finish stores the results of the upper row or the lower one, and adds them to its sum.
func (t *stripTile) finish(row int, results []reg.VecVirtual) {
	label := fmt.Sprintf("%s_row%d", t.label, row)
	group, tile := t.arg.at("group"), t.arg.at("tile")
	y := t.address("atY", group, "y", tile, "y")
	pixelY := t.arg.load("pixelY")
	if row > 0 {
		ADDQ(t.arg.field("rowY"), y)
	}
	var m *mask
	var columns reg.GPVirtual
	if t.masked {
		if t.evex {
			m = &mask{k: K()}
			KMOVW(t.arg.field("lanes"), m.k)
		}
		columns = tile.load("columns")
	}
	// each emits f for the results that are inside the image.
	each := func(label string, f func(reg.VecVirtual)) {
		for i, r := range results {
			if t.masked && i > 0 {
				CMPQ(columns, num(i))
				JLE(LabelRef(label))
			}
			f(r)
		}
		Label(label)
	}
	if t.evex {
		CMPQ(t.arg.field("yBF16"), Imm(0))
		JNE(LabelRef(label + "_bf16"))
	}
	each(label+"_float32", func(r reg.VecVirtual) {
		t.store(r, m, Mem{Base: y})
		ADDQ(pixelY, y)
	})
	if t.evex {
		JMP(LabelRef(label + "_stored"))
		Label(label + "_bf16")
		each(label+"_stored", func(r reg.VecVirtual) {
			t.storeBF16(r, m, Mem{Base: y})
			ADDQ(pixelY, y)
		})
	}
	CMPQ(t.arg.field("sums"), Imm(0))
	JE(LabelRef(label + "_done"))
	sums, total := t.cursor(t.arg, "atSums"), t.vec()
	ADDQ(group.field("sums"), sums)
	if row > 0 {
		ADDQ(t.arg.field("rowSums"), sums)
	}
	t.load(Mem{Base: sums}, m, total)
	// From left to right, as every other kernel does.
	each(label+"_added", func(r reg.VecVirtual) { VADDPS(r, total, total) })
	t.store(total, m, Mem{Base: sums})
	Label(label + "_done")
}
