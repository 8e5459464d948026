package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// loadBF16 widens bfloat16, which is the upper half of a float32.
func (v isa) loadBF16(from Mem, m *mask, to reg.VecVirtual) {
	if m == nil {
		VPMOVZXWD(from, to)
	} else {
		VPMOVZXWD_Z(from, m.k, to)
	}
	VPSLLD(Imm(16), to, to)
}

// storeBF16 rounds to bfloat16.
func (v isa) storeBF16(from reg.VecVirtual, m *mask, to Mem) {
	half := Op(XMM())
	if v.lanes == 16 {
		half = YMM()
	}
	VCVTNEPS2BF16(from, half)
	if m == nil {
		VMOVDQU16(half, to)
	} else {
		VMOVDQU16(half, m.k, to)
	}
}

// conversions writes the kernels that round numbers to bfloat16 and widen them.
func (v isa) conversions() {
	kernel("narrow"+v.name, "func(dst, x *float32, n int)")
	v.convert("narrow", 2, 1, func(from Mem, m *mask, to Mem) {
		t := v.vec()
		v.load(from, m, t)
		v.storeBF16(t, m, to)
	})
	kernel("widen"+v.name, "func(dst, x *float32, n int)")
	v.convert("widen", 1, 2, func(from Mem, m *mask, to Mem) {
		t := v.vec()
		v.loadBF16(from, m, t)
		v.store(t, m, to)
	})
}

// pair writes the kernel that interleaves two rows of words by halves of words.
func (v isa) pair() {
	kernel("pair"+v.name, "func(dst, a, b *float32, n int)")
	dst, a, b, n := pointer("dst"), pointer("a"), pointer("b"), pointer("n")
	// Interleaving works within each quarter of a vector: where the 64-bit words of the results are.
	lower, upper := v.vec(), v.vec()
	VMOVDQU64(quads("lowerQuads", 0, 1, 8, 9, 2, 3, 10, 11), lower)
	VMOVDQU64(quads("upperQuads", 4, 5, 12, 13, 6, 7, 14, 15), upper)
	part := func(m, low, high *mask) {
		x, y, t := v.vec(), v.vec(), v.vec()
		v.load(Mem{Base: a}, m, x)
		v.load(Mem{Base: b}, m, y)
		VPUNPCKLWD(y, x, t)
		VPUNPCKHWD(y, x, x)
		VMOVDQA64(t, y)
		VPERMT2Q(x, lower, t)
		VPERMT2Q(x, upper, y)
		v.store(t, low, Mem{Base: dst})
		v.store(y, high, Mem{Base: dst, Disp: v.bytes()})
	}
	Label("whole")
	CMPQ(n, num(v.lanes))
	JLT(LabelRef("rest"))
	part(nil, nil, nil)
	ADDQ(num(v.bytes()), a)
	ADDQ(num(v.bytes()), b)
	ADDQ(num(2*v.bytes()), dst)
	SUBQ(num(v.lanes), n)
	JMP(LabelRef("whole"))
	Label("rest")
	CMPQ(n, Imm(0))
	JE(LabelRef("done"))
	low, high := GP64(), GP64()
	LEAQ(Mem{Base: n, Index: n, Scale: 1}, low)
	LEAQ(Mem{Base: low, Disp: -v.lanes}, high)
	m, l, h := v.mask(n), v.mask(low), v.mask(high)
	part(&m, &l, &h)
	Label("done")
	RET()
}

// quads is a vector of eight 64-bit words in read-only memory.
func quads(name string, values ...uint64) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, q := range values {
		DATA(8*i, U64(q))
	}
	return m
}

// convert runs body on n numbers at x, of half the size of a float32 times the given factors.
func (v isa) convert(label string, sizeX, sizeDst int, body func(from Mem, m *mask, to Mem)) {
	x, dst, n := pointer("x"), pointer("dst"), pointer("n")
	for _, vecs := range []int{4, 1} {
		l := label + string(rune('0'+vecs))
		Label(l)
		SUBQ(num(vecs*v.lanes), n)
		JLT(LabelRef(l + "_end"))
		for j := range vecs {
			body(Mem{Base: x, Disp: j * 2 * sizeX * v.lanes}, nil, Mem{Base: dst, Disp: j * 2 * sizeDst * v.lanes})
		}
		ADDQ(num(vecs*2*sizeX*v.lanes), x)
		ADDQ(num(vecs*2*sizeDst*v.lanes), dst)
		JMP(LabelRef(l))
		Label(l + "_end")
		ADDQ(num(vecs*v.lanes), n)
	}
	CMPQ(n, Imm(0))
	JE(LabelRef(label + "_done"))
	m := v.mask(n)
	body(Mem{Base: x}, &m, Mem{Base: dst})
	Label(label + "_done")
	RET()
}
