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
