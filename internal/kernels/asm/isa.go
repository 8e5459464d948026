package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An isa is an instruction set's vectors of float32.
type isa struct {
	name  string
	lanes int
	evex  bool // has AVX-512's masks, broadcasts and instructions, in vectors of any width
}

var (
	avx512 = isa{"AVX512", 16, true}
	avx2   = isa{"AVX2", 8, false}
)

// half has vectors of half the width, which cost half where the processor takes wide ones in two.
func (v isa) half() isa { return isa{v.name, v.lanes / 2, v.evex} }

func (v isa) bytes() int { return 4 * v.lanes }

func (v isa) vec() reg.VecVirtual {
	if v.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

func (v isa) vecs(n int) []reg.VecVirtual {
	r := make([]reg.VecVirtual, n)
	for i := range r {
		r[i] = v.vec()
	}
	return r
}

// zero clears a register.
func (v isa) zero(r reg.VecVirtual) { VXORPS(r, r, r) }

// A mask selects the first lanes of a vector.
type mask struct {
	k reg.OpmaskVirtual // AVX-512
	m reg.VecVirtual    // AVX2: the sign bit of each lane
}

// mask selects the first n lanes, n in a register: none for n <= 0, all for n >= lanes. It changes n.
func (v isa) mask(n reg.GPVirtual) mask {
	limit := GP64()
	XORQ(limit, limit)
	CMPQ(n, limit)
	CMOVQLT(limit, n)
	MOVQ(U32(uint32(v.lanes)), limit)
	CMPQ(n, limit)
	CMOVQGT(limit, n)
	if v.evex {
		bits := GP64()
		MOVQ(U32(0xffff), bits)
		BZHIQ(n, bits, bits)
		m := mask{k: K()}
		KMOVW(bits.As32(), m.k)
		return m
	}
	// The words before maskWords' middle have all bits set, those after it none.
	SHLQ(Imm(2), n)
	table := GP64()
	LEAQ(maskWords(), table)
	SUBQ(n, table)
	m := mask{m: v.vec()}
	VMOVUPS(Mem{Base: table, Disp: 32}, m.m)
	return m
}

var words *Mem

func maskWords() Mem {
	if words == nil {
		m := GLOBL("maskWords", RODATA|NOPTR)
		for i := range 16 {
			w := uint32(0)
			if i < 8 {
				w = 0xffffffff
			}
			DATA(4*i, U32(w))
		}
		words = &m
	}
	return *words
}

// loadMasked loads the mask's lanes and zeroes the others.
func (v isa) loadMasked(from Mem, m mask, to reg.VecVirtual) {
	if v.evex {
		VMOVUPS_Z(from, m.k, to)
	} else {
		VMASKMOVPS(from, m.m, to)
	}
}

// load and store move the mask's lanes, or with a nil mask all.
func (v isa) load(from Mem, m *mask, to reg.VecVirtual) {
	if m == nil {
		VMOVUPS(from, to)
	} else {
		v.loadMasked(from, *m, to)
	}
}

func (v isa) store(from reg.VecVirtual, m *mask, to Mem) {
	if m == nil {
		VMOVUPS(from, to)
	} else {
		v.storeMasked(from, *m, to)
	}
}

// storeMasked stores the mask's lanes.
func (v isa) storeMasked(from reg.VecVirtual, m mask, to Mem) {
	if v.evex {
		VMOVUPS(from, m.k, to)
	} else {
		VMASKMOVPS(from, m.m, to)
	}
}

var constants = map[string]Mem{}

// constant is a number in read-only memory, repeated n times.
func constant(f float64, n int) Mem { return repeated(math.Float32bits(float32(f)), n) }

func repeated(bits uint32, n int) Mem {
	name := fmt.Sprintf("f%08xx%d", bits, n)
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range n {
			DATA(4*i, U32(bits))
		}
		constants[name] = m
	}
	return m
}

// numbers is a table in read-only memory.
func numbers(name string, values []float64) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i, f := range values {
			DATA(4*i, U32(math.Float32bits(float32(f))))
		}
		constants[name] = m
	}
	return m
}

// op is an instruction in the form whose first operand is a vector, and in the one where it is a
// number in memory that the processor broadcasts.
type op struct{ vector, broadcast func(...Op) }

var (
	add     = op{VADDPS, VADDPS_BCST}
	mul     = op{VMULPS, VMULPS_BCST}
	lower   = op{VMINPS, VMINPS_BCST}
	higher  = op{VMAXPS, VMAXPS_BCST}
	fma213  = op{VFMADD213PS, VFMADD213PS_BCST}
	fma231  = op{VFMADD231PS, VFMADD231PS_BCST}
	fnma231 = op{VFNMADD231PS, VFNMADD231PS_BCST}
)

// with emits the instruction with a constant as its first operand.
func (v isa) with(o op, f float64, rest ...Op) {
	if v.evex {
		o.broadcast(append([]Op{constant(f, 1)}, rest...)...)
	} else {
		o.vector(append([]Op{constant(f, v.lanes)}, rest...)...)
	}
}

// splat broadcasts a constant to a new register.
func (v isa) splat(f float64) reg.VecVirtual {
	r := v.vec()
	VBROADCASTSS(constant(f, 1), r)
	return r
}

// num is an immediate operand.
func num(n int) Op { return I32(n) }
