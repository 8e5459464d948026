package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gradients writes the kernels that derive activations, layer norm and softmax.
func (v isa) gradients() {
	kernel("actGrad"+v.name, "func(dst, dy, x *float32, n int, act int)")
	act := Load(Param("act"), GP64())
	for a := actNone; a <= actTanh; a++ {
		next := actNames[a] + "_next"
		CMPQ(act, num(a))
		JNE(LabelRef(next))
		v.each(actNames[a], 2, pointers("x", "dy"), func(_ string, in [][]reg.VecVirtual) []reg.VecVirtual {
			for i, x := range in[0] {
				v.actGrad(a, x, in[1][i])
			}
			return in[1]
		}, pointer("dst"))
		RET()
		Label(next)
	}
	RET()

	kernel("dot"+v.name, "func(x, y *float32, n int) float32")
	in, acc := pointers("x", "y"), v.vecs(4)
	for _, r := range acc {
		v.zero(r)
	}
	v.walk("dot", 4, in, func(_ string, vecs int, m *mask) {
		x, y := v.loads(in[0], vecs, m), v.loads(in[1], vecs, m)
		for j := range vecs {
			VFMADD231PS(x[j], y[j], acc[j])
		}
	})
	v.returnSum(acc, 0)
	VZEROUPPER()
	RET()

	kernel("softmaxGrad"+v.name, "func(dst, dy, y *float32, n int, dot float32)")
	dot := v.splatParam("dot")
	v.each("softmaxGrad", 4, pointers("dy", "y"), func(_ string, in [][]reg.VecVirtual) []reg.VecVirtual {
		for i, d := range in[0] {
			VSUBPS(dot, d, d)
			VMULPS(in[1][i], d, d)
		}
		return in[0]
	}, pointer("dst"))
	RET()

	// best = x and from = place where x is larger, or no number.
	kernel("maxAt"+v.name, "func(best, from, x *float32, n int, place float32)")
	place := v.splatParam("place")
	p := pointers("best", "from", "x")
	v.walk("maxAt", 2, p, func(_ string, vecs int, m *mask) {
		best, from, x := v.loads(p[0], vecs, m), v.loads(p[1], vecs, m), v.loads(p[2], vecs, m)
		const less, unordered = 1, 3
		for j := range vecs {
			v.where(less, best[j], x[j], x[j], best[j], place, from[j])
			v.where(unordered, x[j], x[j], x[j], best[j], place, from[j])
		}
		v.stores(best, m, p[0])
		v.stores(from, m, p[1])
	})
	VZEROUPPER()
	RET()

	// dst += dy where from is place.
	kernel("addWhere"+v.name, "func(dst, dy, from *float32, n int, place float32)")
	place = v.splatParam("place")
	p = pointers("dst", "dy", "from")
	v.walk("addWhere", 2, p, func(_ string, vecs int, m *mask) {
		dst, dy, from := v.loads(p[0], vecs, m), v.loads(p[1], vecs, m), v.loads(p[2], vecs, m)
		const equal = 0
		for j := range vecs {
			sum := v.vec()
			VADDPS(dst[j], dy[j], sum)
			v.where(equal, from[j], place, sum, dst[j])
		}
		v.stores(dst, m, p[0])
	})
	VZEROUPPER()
	RET()

	v.adam()

	// With h the normalised row and g = dy·weight: the sums of g and of g·h.
	kernel("normSums"+v.name, "func(dy, x, weight *float32, n int, mean, scale float32) (sum, product float32)")
	mean, scale := v.splatParam("mean"), v.splatParam("scale")
	in = pointers("dy", "x", "weight")
	sums, products := v.vecs(2), v.vecs(2)
	for j := range sums {
		v.zero(sums[j])
		v.zero(products[j])
	}
	v.walk("normSums", 2, in, func(_ string, vecs int, m *mask) {
		g, x, w := v.loads(in[0], vecs, m), v.loads(in[1], vecs, m), v.loads(in[2], vecs, m)
		for j := range vecs {
			VMULPS(w[j], g[j], g[j])
			VADDPS(g[j], sums[j], sums[j])
			VSUBPS(mean, x[j], x[j])
			VMULPS(scale, x[j], x[j])
			VFMADD231PS(x[j], g[j], products[j])
		}
	})
	v.returnSum(sums, 0)
	v.returnSum(products, 1)
	VZEROUPPER()
	RET()

	// dst = (dy·weight - sum - h·product)·scale; dWeight += dy·h; dBias += dy.
	kernel("normGrad"+v.name, "func(dst, dy, x, weight, dWeight, dBias *float32, n int, mean, scale, sum, product float32)")
	mean, scale = v.splatParam("mean"), v.splatParam("scale")
	sum, product := v.splatParam("sum"), v.splatParam("product")
	p = pointers("dst", "dy", "x", "weight", "dWeight", "dBias")
	v.walk("normGrad", 1, p, func(_ string, vecs int, m *mask) {
		d, x, w := v.loads(p[1], vecs, m), v.loads(p[2], vecs, m), v.loads(p[3], vecs, m)
		dw, db := v.loads(p[4], vecs, m), v.loads(p[5], vecs, m)
		for j := range vecs {
			VADDPS(d[j], db[j], db[j])
			VSUBPS(mean, x[j], x[j])
			VMULPS(scale, x[j], x[j])
			VFMADD231PS(x[j], d[j], dw[j])
			VMULPS(w[j], d[j], d[j])
			VSUBPS(sum, d[j], d[j])
			VFNMADD231PS(product, x[j], d[j])
			VMULPS(scale, d[j], d[j])
		}
		v.stores(d, m, p[0])
		v.stores(dw, m, p[4])
		v.stores(db, m, p[5])
	})
	if v.lanes == 8 {
		VZEROUPPER()
	}
	RET()
}

// returnSum stores the sum of all lanes as a result of the kernel.
func (v isa) returnSum(acc []reg.VecVirtual, result int) {
	for len(acc) > 1 {
		half := len(acc) / 2
		for j := range half {
			VADDPS(acc[half+j], acc[j], acc[j])
		}
		acc = acc[:half]
	}
	Store(v.across(VADDPS, acc[0]), ReturnIndex(result))
}

// keep sets x to zero in the lanes where a < b doesn't hold.
func (v isa) keep(a, b, x reg.VecVirtual) {
	const less = 1
	if v.evex {
		k := K()
		VCMPPS(Imm(less), b, a, k)
		VMOVAPS_Z(x, k, x)
		return
	}
	t := v.vec()
	VCMPPS(Imm(less), b, a, t)
	VANDPS(t, x, x)
}

// where moves registers to others, given in pairs, in the lanes where a comparison of a and b holds.
func (v isa) where(predicate uint64, a, b reg.VecVirtual, pairs ...reg.VecVirtual) {
	if v.evex {
		k := K()
		VCMPPS(Imm(predicate), b, a, k)
		for i := 0; i < len(pairs); i += 2 {
			VMOVAPS(pairs[i], k, pairs[i+1])
		}
		return
	}
	t := v.vec()
	VCMPPS(Imm(predicate), b, a, t)
	for i := 0; i < len(pairs); i += 2 {
		VBLENDVPS(t, pairs[i], pairs[i+1], pairs[i+1])
	}
}

// sigmoid sets t to 1 / (1 + 2^t).
func (v isa) sigmoid(t reg.VecVirtual) {
	v.exp2(t)
	v.with(add, 1, t, t)
	VDIVPS(t, v.splat(1), t)
}

// actGrad multiplies d by the activation's derivative at z. It changes z.
func (v isa) actGrad(a int, z, d reg.VecVirtual) {
	t := v.vec()
	switch a {
	case actReLU:
		v.zero(t)
		v.keep(t, z, d)
	case actReLU6:
		v.zero(t)
		v.keep(t, z, d)
		v.keep(z, v.splat(6), d)
	case actHardSigmoid:
		v.with(mul, 1.0/6, d, d)
		v.keep(v.splat(-3), z, d)
		v.keep(z, v.splat(3), d)
	case actHardSwish: // z/3 + ½ below 3, 1 above, 0 below -3
		three, one := v.splat(3), v.splat(1)
		VMULPS(v.splat(1.0/3), z, t)
		v.with(add, 0.5, t, t)
		VSUBPS(one, t, t) // what it is more than 1
		v.keep(z, three, t)
		VADDPS(one, t, t)
		v.keep(v.splat(-3), z, t)
		VMULPS(t, d, d)
	case actSiLU: // σ·(1 + z·(1-σ))
		v.with(mul, -log2e, z, t)
		v.sigmoid(t)
		VMULPS(t, d, d)       // d·σ
		VFNMADD213PS(z, z, t) // z - z·σ
		VFMADD231PS(t, d, d)
	case actSigmoid: // σ - σ²
		v.with(mul, -log2e, z, t)
		v.sigmoid(t)
		VMOVAPS(t, z)
		VFNMADD231PS(t, t, z)
		VMULPS(z, d, d)
	case actTanh: // 1 - (2·σ(2z) - 1)²
		v.with(mul, -2*log2e, z, t)
		v.sigmoid(t)
		VADDPS(t, t, t)
		v.with(add, -1, t, t)
		VMULPS(t, d, z)
		VFNMADD231PS(t, z, d)
	case actGELUTanh: // σ(u) + z·σ(u)·(1-σ(u))·u', with u = 2·√(2/π)·(z + 0.044715·z³)
		const s = 2 * 0.7978845608028654
		square, slope := v.vec(), v.vec()
		VMULPS(z, z, square)
		v.with(mul, -s*0.044715*log2e, square, t)
		v.with(add, -s*log2e, t, t)
		VMULPS(z, t, t)
		v.sigmoid(t)
		v.with(mul, 3*s*0.044715, square, slope)
		v.with(add, s, slope, slope)
		VMULPS(z, slope, slope) // z·u'
		VFNMADD231PS(t, slope, slope)
		VMULPS(t, d, d)
		VFMADD231PS(slope, d, d)
	case actGELU: // Φ(z) + z·φ(z)
		phi, exponent := v.vec(), v.vec()
		v.normalCDF(z, phi)
		VMULPS(z, z, exponent)
		v.with(mul, -0.5*log2e, exponent, exponent)
		v.exp2(exponent)
		v.with(mul, 0.3989422804014327, exponent, exponent)
		VFMADD231PS(z, exponent, phi)
		VMULPS(phi, d, d)
	}
}

// adam writes a step of the optimizer; see kernels.Adam.
func (v isa) adam() {
	kernel("adam"+v.name, "func(param, first, second, grad *float32, n int, rate1, beta2, rate2, size, root, eps, keep, decay float32)")
	var c []reg.VecVirtual
	for _, name := range []string{"rate1", "beta2", "rate2", "size", "root", "eps", "keep", "decay"} {
		c = append(c, v.splatParam(name))
	}
	rate1, beta2, rate2, size, root, eps, keep, decay := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
	ptr := pointers("param", "first", "second", "grad")
	v.walk("adam", 1, ptr, func(_ string, vecs int, m *mask) {
		param, first, second, grad := v.loads(ptr[0], vecs, m), v.loads(ptr[1], vecs, m), v.loads(ptr[2], vecs, m), v.loads(ptr[3], vecs, m)
		for j := range vecs {
			t := v.vec()
			VMULPS(keep, param[j], param[j])
			VFMADD231PS(decay, param[j], grad[j])
			VSUBPS(first[j], grad[j], t)
			VFMADD231PS(rate1, t, first[j])
			VMULPS(beta2, second[j], second[j])
			VMULPS(rate2, grad[j], t)
			VFMADD231PS(grad[j], t, second[j])
			VSQRTPS(second[j], t)
			VDIVPS(root, t, t)
			VADDPS(eps, t, t)
			VMULPS(size, first[j], grad[j])
			VDIVPS(t, grad[j], t)
			VSUBPS(t, param[j], param[j])
		}
		v.stores(param, m, ptr[0])
		v.stores(first, m, ptr[1])
		v.stores(second, m, ptr[2])
	})
	VZEROUPPER()
	RET()
}
