package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The numbers of the activations, as in kernels.go.
const (
	actNone = iota
	actReLU
	actReLU6
	actSiLU
	actHardSwish
	actSigmoid
	actHardSigmoid
	actGELU
	actGELUTanh
	actTanh
)

var actNames = [...]string{"none", "relu", "relu6", "silu", "hardswish", "sigmoid", "hardsigmoid", "gelu", "gelutanh", "tanh"}

// inRegisters lists what kernels apply to their accumulators; the others take a pass of their own.
var inRegisters = []int{actReLU, actReLU6, actSiLU, actHardSwish}

// apply emits one of several activations of the registers xs, chosen by the number in act.
func (v isa) apply(label string, acts []int, act Op, xs []reg.VecVirtual) {
	done := label + "_done"
	for _, a := range acts {
		next := label + "_not_" + actNames[a]
		CMPQ(act, num(a))
		JNE(LabelRef(next))
		v.act(a, xs)
		JMP(LabelRef(done))
		Label(next)
	}
	Label(done)
}

// clamp replaces each of xs by what is at least 0 and, if limited, at most 6.
func (v isa) clamp(limited bool, xs []reg.VecVirtual) {
	zero := v.vec()
	v.zero(zero)
	var six reg.VecVirtual
	if limited {
		six = v.splat(6)
	}
	for _, x := range xs {
		VMAXPS(zero, x, x)
		if limited {
			VMINPS(six, x, x)
		}
	}
}

// act replaces each of xs by its activation.
func (v isa) act(a int, xs []reg.VecVirtual) {
	if a == actReLU || a == actReLU6 {
		v.clamp(a == actReLU6, xs)
		return
	}
	for _, x := range xs {
		t := v.vec()
		switch a {
		case actHardSwish, actHardSigmoid:
			zero := v.vec()
			v.zero(zero)
			VMOVAPS(x, t)
			v.with(add, 3, t, t)
			VMAXPS(zero, t, t)
			v.with(lower, 6, t, t)
			if a == actHardSwish {
				v.with(mul, 1.0/6, t, t)
				VMULPS(t, x, x)
			} else {
				v.with(mul, 1.0/6, t, x)
			}
		case actSiLU: // x·σ(x), with σ(x) = 1 / (1 + 2^(-x·log₂e))
			v.with(mul, -log2e, x, t)
			v.exp2(t)
			v.with(add, 1, t, t)
			VDIVPS(t, x, x)
		case actSigmoid:
			v.with(mul, -log2e, x, t)
			v.exp2(t)
			v.with(add, 1, t, t)
			VDIVPS(t, v.splat(1), x)
		case actTanh: // 2·σ(2x) - 1
			v.with(mul, -2*log2e, x, t)
			v.exp2(t)
			v.with(add, 1, t, t)
			VDIVPS(t, v.splat(2), x)
			v.with(add, -1, x, x)
		case actGELUTanh: // x·σ(2·√(2/π)·(x + 0.044715·x³))
			const s = -2 * 0.7978845608028654 * log2e
			VMULPS(x, x, t)
			v.with(mul, s*0.044715, t, t)
			v.with(add, s, t, t)
			VMULPS(x, t, t)
			v.exp2(t)
			v.with(add, 1, t, t)
			VDIVPS(t, x, x)
		case actGELU:
			if v.lanes == 16 {
				v.geluByTable(x)
			} else {
				v.gelu(x)
			}
		}
	}
}

const log2e = 1.4426950408889634

// gelu is x·Φ(x).
func (v isa) gelu(x reg.VecVirtual) {
	p := v.erf(x)
	v.with(mul, 0.5, x, x)
	VFMADD231PS(p, x, x)
}

// normalCDF sets p to Φ(x) = (1 + erf(x/√2))/2.
func (v isa) normalCDF(x, p reg.VecVirtual) {
	e := v.erf(x)
	v.with(mul, 0.5, e, p)
	v.with(add, 0.5, p, p)
}

// erf returns erf(x/√2), with erf on [-4, 4] as an odd polynomial over an even one, by the coefficients of
// Eigen's float erf (https://gitlab.com/libeigen/eigen, absolute error 5e-7).
func (v isa) erf(x reg.VecVirtual) reg.VecVirtual {
	const rsqrt2 = 0.7071067811865476
	z, square, p, q := v.vec(), v.vec(), v.vec(), v.vec()
	v.with(mul, rsqrt2, x, z)
	v.with(lower, 4, z, z)
	v.with(higher, -4, z, z)
	VMULPS(z, z, square)
	v.horner(p, square, -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
		-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
	v.horner(q, square, -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
		-1.42647390514189e-02)
	VMULPS(z, p, p)
	VDIVPS(q, p, p)
	return p
}

// geluByTable is x·Φ(x) = x/2 + |x|·(Φ(|x|) - ½), with what is in parentheses by a polynomial of degree 4
// for each of 16 intervals (absolute error 4e-7), whose coefficients are looked up in one instruction.
func (v isa) geluByTable(x reg.VecVirtual) {
	const intervals, scale = 16, 2.75
	size, at, n, q := v.vec(), v.vec(), v.vec(), v.vec()
	VANDPS_BCST(repeated(0x7fffffff, 1), x, size)
	v.with(mul, scale, size, at)
	v.with(lower, intervals-1, at, at)
	v.with(add, 1<<23, at, n) // the nearest whole number, in the lowest bits
	VADDPS_BCST(constant(-1<<23, 1), n, q)
	VSUBPS(q, at, at) // the distance from it
	for i, table := range gelTables(intervals, scale) {
		if i == 0 {
			VPERMPS(table, n, q)
			continue
		}
		c := v.vec()
		VPERMPS(table, n, c)
		VFMADD213PS(c, at, q)
	}
	v.with(mul, 0.5, x, x)
	VFMADD231PS(size, q, x)
}

// gelTables returns the coefficients of t⁴, t³, t², t and 1 of polynomials in t ∈ [-½, ½] that equal
// Φ((i+t)/scale) - ½ at the Chebyshev nodes; the last one, for all that is larger, is ½.
func gelTables(intervals int, scale float64) []Mem {
	const degree = 4
	tables := make([][]float64, degree+1)
	for i := range intervals {
		// Newton's divided differences, multiplied out.
		var nodes, difference [degree + 1]float64
		for k := range nodes {
			nodes[k] = math.Cos(math.Pi*(float64(k)+0.5)/(degree+1)) / 2
			difference[k] = math.Erf((float64(i)+nodes[k])/scale/math.Sqrt2) / 2
		}
		for order := 1; order <= degree; order++ {
			for k := degree; k >= order; k-- {
				difference[k] = (difference[k] - difference[k-1]) / (nodes[k] - nodes[k-order])
			}
		}
		var c [degree + 1]float64
		for k := degree; k >= 0; k-- {
			for j := degree; j > 0; j-- {
				c[j] = c[j-1] - nodes[k]*c[j]
			}
			c[0] = difference[k] - nodes[k]*c[0]
		}
		if i == intervals-1 {
			c = [degree + 1]float64{0.5}
		}
		for k := range tables {
			tables[k] = append(tables[k], c[degree-k])
		}
	}
	var all []Mem
	for k, t := range tables {
		all = append(all, numbers(fmt.Sprintf("gelu%d", k), t))
	}
	return all
}

// horner sets p to the polynomial of t with the given coefficients, the highest first.
func (v isa) horner(p, t reg.VecVirtual, coefficients ...float64) {
	VBROADCASTSS(constant(coefficients[0], 1), p)
	for _, c := range coefficients[1:] {
		v.with(fma213, c, t, p)
	}
}

// exp2 replaces t by 2^t: t = n + f with n whole, 2^t = 2^n · 2^f, and 2^f by the minimax polynomial
// of degree 5 on [-½, ½] (relative error 7.5e-8). With AVX-512 what is too large becomes infinite
// and what is too small zero; with AVX2 t is cut to [-126, 127].
func (v isa) exp2(t reg.VecVirtual) {
	n, p := v.vec(), v.vec()
	if v.evex {
		VRNDSCALEPS(Imm(0), t, n)
	} else {
		v.with(higher, -126, t, t)
		v.with(lower, 127, t, t)
		VROUNDPS(Imm(0), t, n)
	}
	VSUBPS(n, t, t)
	v.horner(p, t, 0.0013276472454890609, 0.009675540961325169, 0.05550713092088699, 0.24022120237350464,
		0.6931469440460205, 1.0000001192092896)
	if v.evex {
		VSCALEFPS(n, p, t)
	} else {
		VCVTPS2DQ(n, n)
		VPSLLD(Imm(23), n, n)
		VPADDD(n, p, t)
	}
}
