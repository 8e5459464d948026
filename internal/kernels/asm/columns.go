package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columns writes the kernels that treat each column of a chunk of rows by itself: some vectors of columns
// at a time, down all rows, with the columns' numbers and sums in registers. Memory isn't read in the
// order in which it lies, so that the processor couldn't guess what comes next: the kernels prefetch the
// next chunk while they work on one.
func (v isa) columns() {
	kernel("columnsAffine"+v.name, "func(a *byte)")
	c := columnsKernel{isa: v, arg: argument("columns"), x: true, dst: true, params: 2}
	for a := actNone; a <= actTanh; a++ {
		next := "next_" + actNames[a]
		CMPQ(c.arg.field("act"), num(a))
		JNE(LabelRef(next))
		c.loops(actNames[a], 2, func(r rowsRegs) {
			for i, x := range r.x {
				VFMADD213PS(r.p[1][i], r.p[0][i], x)
			}
			v.act(a, r.x)
			r.store(r.x)
		})
		Label(next)
	}
	RET()

	kernel("columnsMoments"+v.name, "func(a *byte)")
	c = columnsKernel{isa: v, arg: argument("columns"), x: true, params: 1, sums: 2}
	c.loops("moments", 4, func(r rowsRegs) {
		for i, x := range r.x {
			VSUBPS(r.p[0][i], x, x)
			VADDPS(x, r.s[0][i], r.s[0][i])
			VFMADD231PS(x, x, r.s[1][i])
		}
	})

	kernel("columnsGrad"+v.name, "func(a *byte)")
	c = columnsKernel{isa: v, arg: argument("columns"), x: true, y: true, dst: true, params: 3, sums: 2}
	for a := actNone; a <= actTanh; a++ {
		next := "next_" + actNames[a]
		CMPQ(c.arg.field("act"), num(a))
		JNE(LabelRef(next))
		group := 2
		if !v.evex {
			group = 1
		}
		c.loops(actNames[a], group, func(r rowsRegs) {
			for i, x := range r.x {
				z, d := v.vec(), r.y[i]
				VMOVAPS(x, z)
				VFMADD213PS(r.p[1][i], r.p[0][i], z)
				v.actGrad(a, z, d)
				VADDPS(d, r.s[0][i], r.s[0][i])
				VSUBPS(r.p[2][i], x, x)
				VFMADD231PS(x, d, r.s[1][i])
			}
			r.store(r.y)
		})
		Label(next)
	}
	RET()

	kernel("columnsCombine"+v.name, "func(a *byte)")
	c = columnsKernel{isa: v, arg: argument("columns"), x: true, y: true, dst: true, params: 3}
	c.loops("combine", 2, func(r rowsRegs) {
		for i, y := range r.y {
			VFMADD213PS(r.p[2][i], r.p[1][i], y)
			VFMADD231PS(r.x[i], r.p[0][i], y)
		}
		r.store(r.y)
	})

	kernel("columnsSum"+v.name, "func(a *byte)")
	c = columnsKernel{isa: v, arg: argument("columns"), x: true, sums: 1}
	c.loops("sum", 4, func(r rowsRegs) {
		for i, x := range r.x {
			VADDPS(x, r.s[0][i], r.s[0][i])
		}
	})

	kernel("columnsDot"+v.name, "func(a *byte)")
	c = columnsKernel{isa: v, arg: argument("columns"), x: true, y: true, sums: 1}
	c.loops("dot", 4, func(r rowsRegs) {
		for i, x := range r.x {
			VFMADD231PS(x, r.y[i], r.s[0][i])
		}
	})
}

type columnsKernel struct {
	isa
	arg          record
	x, y, dst    bool // which operands there are
	params, sums int
	ahead        reg.GPVirtual
}

// rowsRegs are the registers for some vectors of columns of a row.
type rowsRegs struct {
	x, y  []reg.VecVirtual
	p, s  [][]reg.VecVirtual
	store func(r []reg.VecVirtual)
}

// loops has body emitted for group vectors of columns, for one, and for the last lanes, and returns from the
// kernel.
func (c *columnsKernel) loops(label string, group int, body func(r rowsRegs)) {
	n, done := c.arg.load("n"), GP64()
	XORQ(done, done)           // bytes of columns
	c.ahead = c.arg.load("ld") // bytes from the chunk to what is prefetched
	IMULQ(c.arg.field("rows"), c.ahead)
	sizes := []int{group, 1}
	if group == 1 {
		sizes = sizes[:1]
	}
	for _, vecs := range sizes {
		l := label + string(rune('0'+vecs))
		Label(l)
		CMPQ(n, num(vecs*c.lanes))
		JLT(LabelRef(l + "_end"))
		c.down(l, vecs, done, nil, body)
		SUBQ(num(vecs*c.lanes), n)
		ADDQ(num(vecs*c.bytes()), done)
		JMP(LabelRef(l))
		Label(l + "_end")
	}
	CMPQ(n, Imm(0))
	JE(LabelRef(label + "_done"))
	m := c.mask(n)
	c.down(label+"_tail", 1, done, &m, body)
	Label(label + "_done")
	VZEROUPPER()
	RET()
}

// down goes down the rows for some vectors of columns.
func (c *columnsKernel) down(label string, vecs int, done reg.GPVirtual, m *mask, body func(r rowsRegs)) {
	var r rowsRegs
	names := []string{"p0", "p1", "p2"}
	for i := range c.params {
		r.p = append(r.p, c.vecs(vecs))
		p := c.arg.load(names[i])
		for j, reg := range r.p[i] {
			c.load(Mem{Base: p, Index: done, Scale: 1, Disp: j * c.bytes()}, m, reg)
		}
	}
	for i := range c.sums {
		r.s = append(r.s, c.vecs(vecs))
		for _, reg := range r.s[i] {
			c.zero(reg)
		}
	}
	cursor := func(wanted bool, name string) reg.GPVirtual {
		if !wanted {
			return nil
		}
		p := c.arg.load(name)
		ADDQ(done, p)
		return p
	}
	x, y, dst := cursor(c.x, "x"), cursor(c.y, "y"), cursor(c.dst, "dst")
	rows, ld := c.arg.load("rows"), c.arg.load("ld")
	var next []reg.GPVirtual
	for i, name := range []string{"x", "y", "dst"} {
		if []bool{c.x, c.y, c.dst}[i] {
			next = append(next, c.arg.load(name))
		}
	}
	Label(label + "_row")
	const line = 64
	for _, p := range next {
		for at := 0; at < vecs*c.bytes(); at += line {
			PREFETCHT0(Mem{Base: p, Index: c.ahead, Scale: 1, Disp: at})
		}
	}
	ADDQ(num(vecs*c.bytes()), c.ahead)
	read := func(p reg.GPVirtual) []reg.VecVirtual {
		if p == nil {
			return nil
		}
		regs := c.loads(p, vecs, m)
		ADDQ(ld, p)
		return regs
	}
	r.x, r.y = read(x), read(y)
	r.store = func(regs []reg.VecVirtual) {
		c.stores(regs, m, dst)
		ADDQ(ld, dst)
	}
	body(r)
	DECQ(rows)
	JNZ(LabelRef(label + "_row"))
	for i, name := range []string{"s0", "s1"}[:c.sums] {
		p := c.arg.load(name)
		for j, reg := range r.s[i] {
			at, t := Mem{Base: p, Index: done, Scale: 1, Disp: j * c.bytes()}, c.vec()
			c.load(at, m, t)
			VADDPS(reg, t, t)
			c.isa.store(t, m, at)
		}
	}
}
