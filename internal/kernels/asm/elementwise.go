package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// elementwise writes the kernels that combine vectors number by number. A body is emitted for four
// vectors at once, for one, and for the last lanes.
func (v isa) elementwise() {
	kernel("act"+v.name, "func(x *float32, n int, act int)")
	act := Load(Param("act"), GP64())
	for a := actReLU; a <= actTanh; a++ {
		next := actNames[a] + "_next"
		CMPQ(act, num(a))
		JNE(LabelRef(next))
		x := []reg.GPVirtual{Load(Param("x"), GP64()).(reg.GPVirtual)}
		v.each(actNames[a], 2, x, func(_ string, in [][]reg.VecVirtual) []reg.VecVirtual {
			v.act(a, in[0])
			return in[0]
		}, x[0])
		RET()
		Label(next)
	}
	RET()

	binary := func(name string, op func(...Op)) {
		kernel(name+v.name, "func(dst, a, b *float32, n int)")
		in := []reg.GPVirtual{Load(Param("a"), GP64()).(reg.GPVirtual), Load(Param("b"), GP64()).(reg.GPVirtual)}
		dst := Load(Param("dst"), GP64()).(reg.GPVirtual)
		v.each(name, 4, in, func(_ string, in [][]reg.VecVirtual) []reg.VecVirtual {
			for i, a := range in[0] {
				op(in[1][i], a, a)
			}
			return in[0]
		}, dst)
		RET()
	}
	binary("add", VADDPS)
	binary("mul", VMULPS)
	binary("max", VMAXPS)
}

// each runs body over n numbers (a parameter called n) of the inputs and stores what it returns to
// dst, which may be one of the inputs.
func (v isa) each(label string, group int, in []reg.GPVirtual, body func(label string, in [][]reg.VecVirtual) []reg.VecVirtual, dst reg.GPVirtual) {
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	pointers := in
	if dst != in[0] {
		pointers = append(pointers[:len(pointers):len(pointers)], dst)
	}
	part := func(label string, vecs int, m *mask) {
		regs := make([][]reg.VecVirtual, len(in))
		for i, p := range in {
			regs[i] = v.vecs(vecs)
			for j, r := range regs[i] {
				v.load(Mem{Base: p, Disp: j * v.bytes()}, m, r)
			}
		}
		for j, r := range body(label, regs) {
			v.store(r, m, Mem{Base: dst, Disp: j * v.bytes()})
		}
	}
	sizes := []int{group, 1}
	if group == 1 {
		sizes = sizes[:1]
	}
	for _, vecs := range sizes {
		l := label + string(rune('0'+vecs))
		Label(l)
		SUBQ(num(vecs*v.lanes), n)
		JLT(LabelRef(l + "_end"))
		part(l, vecs, nil)
		for _, p := range pointers {
			ADDQ(num(vecs*v.bytes()), p)
		}
		JMP(LabelRef(l))
		Label(l + "_end")
		ADDQ(num(vecs*v.lanes), n)
	}
	CMPQ(n, Imm(0))
	JE(LabelRef(label + "_done"))
	m := v.mask(n)
	part(label+"_tail", 1, &m)
	Label(label + "_done")
	if v.lanes == 8 {
		VZEROUPPER()
	}
}
