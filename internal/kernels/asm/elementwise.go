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
	pointers := in
	if dst != in[0] {
		pointers = append(pointers[:len(pointers):len(pointers)], dst)
	}
	v.walk(label, group, pointers, func(label string, vecs int, m *mask) {
		regs := make([][]reg.VecVirtual, len(in))
		for i, p := range in {
			regs[i] = v.loads(p, vecs, m)
		}
		v.stores(body(label, regs), m, dst)
	})
	if v.lanes == 8 {
		VZEROUPPER()
	}
}

// walk has part emitted for group vectors of n numbers (a parameter called n), for one, and for the last
// lanes. The pointers move along.
func (v isa) walk(label string, group int, pointers []reg.GPVirtual, part func(label string, vecs int, m *mask)) {
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
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
}

// loads returns registers with neighbouring vectors, and stores writes such.
func (v isa) loads(from reg.GPVirtual, vecs int, m *mask) []reg.VecVirtual {
	regs := v.vecs(vecs)
	for j, r := range regs {
		v.load(Mem{Base: from, Disp: j * v.bytes()}, m, r)
	}
	return regs
}

func (v isa) stores(regs []reg.VecVirtual, m *mask, to reg.GPVirtual) {
	for j, r := range regs {
		v.store(r, m, Mem{Base: to, Disp: j * v.bytes()})
	}
}
