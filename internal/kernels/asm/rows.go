package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rows writes the kernels for layer norm and softmax, which look at a row of n numbers as a whole.
func (v isa) rows() {
	kernel("sum"+v.name, "func(x *float32, n int) float32")
	zero := v.vec()
	v.zero(zero)
	v.reduce(VADDPS, zero, zero, nil, nil)

	kernel("top"+v.name, "func(x *float32, n int) float32")
	lowest := v.splat(math.Inf(-1))
	v.reduce(VMAXPS, lowest, lowest, nil, nil)

	kernel("squares"+v.name, "func(x *float32, n int, mean float32) float32")
	mean := v.splatParam("mean")
	zero = v.vec()
	v.zero(zero)
	v.reduce(VADDPS, zero, mean, func(x reg.VecVirtual) {
		VSUBPS(mean, x, x)
		VMULPS(x, x, x)
	}, nil)

	kernel("normalise"+v.name, "func(dst, x, weight, bias *float32, n int, mean, scale float32)")
	mean, scale := v.splatParam("mean"), v.splatParam("scale")
	v.each("normalise", 4, pointers("x", "weight", "bias"), func(_ string, in [][]reg.VecVirtual) []reg.VecVirtual {
		for i, x := range in[0] {
			VSUBPS(mean, x, x)
			VMULPS(scale, x, x)
			VFMADD213PS(in[2][i], in[1][i], x)
		}
		return in[0]
	}, pointer("dst"))
	RET()

	kernel("exponentials"+v.name, "func(x *float32, n int, top, scale float32) float32")
	top := v.splatParam("top")
	scale = v.splatParam("scale")
	v.with(mul, log2e, scale, scale)
	zero = v.vec()
	v.zero(zero)
	store := pointer("x")
	v.reduce(VADDPS, zero, v.splat(math.Inf(-1)), func(x reg.VecVirtual) {
		VSUBPS(top, x, x)
		VMULPS(scale, x, x)
		v.exp2(x)
	}, store)

	kernel("scale"+v.name, "func(x *float32, n int, by float32)")
	by := v.splatParam("by")
	x := pointers("x")
	v.each("scale", 4, x, func(_ string, in [][]reg.VecVirtual) []reg.VecVirtual {
		for _, x := range in[0] {
			VMULPS(by, x, x)
		}
		return in[0]
	}, x[0])
	RET()
}

func pointer(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

func pointers(names ...string) []reg.GPVirtual {
	var all []reg.GPVirtual
	for _, name := range names {
		all = append(all, pointer(name))
	}
	return all
}

// splatParam broadcasts a float32 parameter.
func (v isa) splatParam(name string) reg.VecVirtual {
	x, r := XMM(), v.vec()
	Load(Param(name), x)
	VBROADCASTSS(x, r)
	return r
}

// reduce returns from the kernel with the combination of f(x) over the n numbers at x: two vectors
// of partial results, then their halves, quarters and so on. Lanes beyond the last number hold
// neutral. If store isn't nil, f(x) is written back there.
func (v isa) reduce(combine func(...Op), start, neutral reg.VecVirtual, f func(reg.VecVirtual), store reg.GPVirtual) {
	x, n := pointer("x"), pointer("n")
	acc := v.vecs(2)
	for _, a := range acc {
		VMOVAPS(start, a)
	}
	if f == nil {
		f = func(reg.VecVirtual) {}
	}
	for _, vecs := range []int{2, 1} {
		l := "reduce" + string(rune('0'+vecs))
		Label(l)
		SUBQ(num(vecs*v.lanes), n)
		JLT(LabelRef(l + "_end"))
		for j := range vecs {
			t := v.vec()
			VMOVUPS(Mem{Base: x, Disp: j * v.bytes()}, t)
			f(t)
			if store != nil {
				VMOVUPS(t, Mem{Base: x, Disp: j * v.bytes()})
			}
			combine(t, acc[j], acc[j])
		}
		ADDQ(num(vecs*v.bytes()), x)
		JMP(LabelRef(l))
		Label(l + "_end")
		ADDQ(num(vecs*v.lanes), n)
	}
	CMPQ(n, Imm(0))
	JE(LabelRef("reduce_done"))
	m, t := v.mask(n), v.vec()
	if v.lanes == 16 {
		VMOVAPS(neutral, t)
		VMOVUPS(Mem{Base: x}, m.k, t)
	} else {
		VMASKMOVPS(Mem{Base: x}, m.m, t)
		VBLENDVPS(m.m, t, neutral, t)
	}
	f(t)
	if store != nil {
		v.storeMasked(t, m, Mem{Base: x})
	}
	combine(t, acc[0], acc[0])
	Label("reduce_done")
	combine(acc[1], acc[0], acc[0])

	Store(v.across(combine, acc[0]), ReturnIndex(0))
	if v.lanes == 8 {
		VZEROUPPER()
	}
	RET()
}

// across combines the lanes of a vector, whose first lane it returns, in its halves, quarters and so on.
func (v isa) across(combine func(...Op), r reg.VecVirtual) reg.Register {
	half := r.(reg.Vec).AsY()
	if v.lanes == 16 {
		high := YMM()
		VEXTRACTF64X4(Imm(1), r, high)
		combine(high, half, half)
	}
	quarter, high := half.(reg.Vec).AsX(), XMM()
	VEXTRACTF128(Imm(1), half, high)
	combine(high, quarter, quarter)
	VPERMILPS(Imm(0b01001110), quarter, high)
	combine(high, quarter, quarter)
	VPERMILPS(Imm(0b10110001), quarter, high)
	combine(high, quarter, quarter)
	return quarter
}
