package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pixels writes the loops over samples of 8 and 16 bits. Wider vectors than AVX2's wouldn't help them much: blocks of a
// JPEG have eight columns, and most instructions here shuffle within 128 bits.
func (v isa) pixels() {
	v.idct()
	v.upsample()
	v.ycbcr()
	v.acrossRows()
	v.down()
}

// data is 32 bytes in read-only memory: words or bytes, repeated.
func data[T int8 | int16 | int32](values ...T) Mem {
	name := "d"
	for _, x := range values {
		name += fmt.Sprintf("_%d", x)
	}
	m, ok := constants[name]
	if ok {
		return m
	}
	m = GLOBL(fmt.Sprintf("words%d", len(constants)), RODATA|NOPTR)
	for at := 0; at < 32; {
		for _, x := range values {
			switch x := any(x).(type) {
			case int8:
				DATA(at, I8(x))
				at++
			case int16:
				DATA(at, I16(x))
				at += 2
			case int32:
				DATA(at, I32(x))
				at += 4
			}
		}
	}
	constants[name] = m
	return m
}

// The factors of the inverse DCT in 8192ths, FIX(x) in libjpeg's jidctint.c. Its sequences of multiplications and additions
// come to one factor for each input and output, with the same result: what outputs 0 to 3 get of the even inputs, where
// those of 3 and 2 differ from those of 0 and 1 in sign, and of the odd ones.
const (
	f0298, f0390, f0541, f0765, f0899, f1175 = 2446, 3196, 4433, 6270, 7373, 9633
	f1501, f1847, f1961, f2053, f2562, f3072 = 12299, 15137, 16069, 16819, 20995, 25172
)

var (
	idctEven2 = [2]int16{f0541 + f0765, f0541}
	idctEven6 = [2]int16{f0541, f0541 - f1847}
	idctOdd1  = [4]int16{f1501 - f0899 + f1175 - f0390, f1175, f1175 - f0390, f1175 - f0899}
	idctOdd3  = [4]int16{f1175, f3072 - f2562 + f1175 - f1961, f1175 - f2562, f1175 - f1961}
	idctOdd5  = [4]int16{f1175 - f0390, f1175 - f2562, f2053 - f2562 + f1175 - f0390, f1175}
	idctOdd7  = [4]int16{f1175 - f0899, f1175 - f1961, f1175, f0298 - f0899 + f1175 - f1961}
)

// idct transforms blocks two at a time, one in each half of the registers.
func (v isa) idct() {
	kernel("idct"+v.name, "func(a *byte)")
	a := argument("blocks")
	coefficients, quant, extents := a.load("coefficients"), a.load("quant"), a.load("extents")
	dst, stride, pairs := a.load("dst"), a.load("stride"), a.load("pairs")
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	spill := AllocLocal(8 * 32)

	row := func(block, r int) Mem { return Mem{Base: coefficients, Disp: 128*block + 16*r} }
	// load gives row r of both blocks, dequantised.
	load := func(r int) reg.VecVirtual {
		x, q := YMM(), YMM()
		VBROADCASTI128(row(0, r), x)
		VINSERTI128(Imm(1), row(1, r), x, x)
		VBROADCASTI128(Mem{Base: quant, Disp: 16 * r}, q)
		VPMULLW(q, x, x)
		return x
	}
	// rows gives pairs of rows of the result, from the top.
	rows := func(each func(i int, at, next Mem)) {
		p := GP64()
		MOVQ(dst, p)
		for i := range 4 {
			if i == 2 {
				LEAQ(Mem{Base: p, Index: stride, Scale: 4}, p)
			}
			if i%2 == 0 {
				each(i, Mem{Base: p}, Mem{Base: p, Index: stride, Scale: 1})
			} else {
				each(i, Mem{Base: p, Index: stride, Scale: 2}, Mem{Base: p, Index: stride3, Scale: 1})
			}
		}
	}
	// finish packs the columns of samples and stores their rows.
	finish := func(c []reg.VecVirtual) {
		for i := range 4 {
			VPACKUSWB(c[i+4], c[i], c[i])
		}
		even, odd := interleave(VPUNPCKLBW, VPUNPCKHBW, c[0], c[1]), interleave(VPUNPCKLBW, VPUNPCKHBW, c[2], c[3])
		left := interleave(VPUNPCKLWD, VPUNPCKHWD, even[0], odd[0])
		right := interleave(VPUNPCKLWD, VPUNPCKHWD, even[1], odd[1])
		top := interleave(VPUNPCKLDQ, VPUNPCKHDQ, left[0], right[0])
		bottom := interleave(VPUNPCKLDQ, VPUNPCKHDQ, left[1], right[1])
		result := append(top, bottom...)
		rows(func(i int, at, next Mem) {
			VPERMQ(Imm(0b11011000), result[i], result[i])
			VMOVDQU(result[i].(reg.Vec).AsX(), at)
			VEXTRACTI128(Imm(1), result[i], next)
		})
		JMP(LabelRef("idct_next"))
	}

	Label("idct_loop")
	extent := GP32()
	second := GP32()
	MOVBLZX(Mem{Base: extents}, extent)
	MOVBLZX(Mem{Base: extents, Disp: 1}, second)
	ORL(second, extent)
	JZ(LabelRef("idct_dc"))
	CMPL(extent, Imm(1))
	JE(LabelRef("idct_corner"))

	x := make([]reg.VecVirtual, 8)
	for r := range x {
		x[r] = load(r)
	}
	finish(idctPass(transpose(idctPass(x, 11, spill)), 18, spill))

	Label("idct_corner")
	for r := range x[:4] {
		x[r] = load(r)
	}
	var y [8]reg.VecVirtual
	corner(cornerPairs(VPUNPCKLWD, x), 11, func(k int, sum reg.VecVirtual) { y[k] = sum })
	var z [4]reg.VecVirtual
	for k := range z {
		VPACKSSDW(y[k+4], y[k], y[k])
		z[k] = y[k]
	}
	upper, lower := interleave(VPUNPCKLWD, VPUNPCKHWD, z[0], z[1]), interleave(VPUNPCKLWD, VPUNPCKHWD, z[2], z[3])
	first := interleave(VPUNPCKLDQ, VPUNPCKHDQ, upper[0], lower[0]) // rows 0 to 3
	last := interleave(VPUNPCKLDQ, VPUNPCKHDQ, upper[1], lower[1])
	c01 := interleave(VPUNPCKLQDQ, VPUNPCKHQDQ, first[0], last[0])
	c23 := interleave(VPUNPCKLQDQ, VPUNPCKHQDQ, first[1], last[1])
	t := append(c01, c23...)
	low, high := cornerPairs(VPUNPCKLWD, t), cornerPairs(VPUNPCKHWD, t)
	corner(high, 18, func(k int, sum reg.VecVirtual) { VMOVDQU(sum, spill.Offset(32*k)) })
	corner(low, 18, func(k int, sum reg.VecVirtual) {
		VPACKSSDW(spill.Offset(32*k), sum, sum)
		y[k] = sum
	})
	finish(y[:])

	Label("idct_dc")
	one, two, q := XMM(), XMM(), XMM()
	VPBROADCASTW(row(0, 0), one)
	VPBROADCASTW(row(1, 0), two)
	VPBROADCASTW(Mem{Base: quant}, q)
	for _, s := range []reg.VecVirtual{one, two} {
		VPMULLW(q, s, s)
		VPADDSW(data[int16](4), s, s)
		VPSRAW(Imm(3), s, s)
		VPADDW(data[int16](128), s, s)
	}
	VPACKUSWB(two, one, one)
	rows(func(_ int, at, next Mem) {
		VMOVDQU(one, at)
		VMOVDQU(one, next)
	})

	Label("idct_next")
	ADDQ(num(256), coefficients)
	ADDQ(num(2), extents)
	ADDQ(num(16), dst)
	DECQ(pairs)
	JNE(LabelRef("idct_loop"))
	VZEROUPPER()
	RET()
}

// interleave gives the low and the high halves of a and b interleaved, and spoils them.
func interleave(low, high func(...Op), a, b reg.VecVirtual) []reg.VecVirtual {
	t := YMM()
	low(b, a, t)
	high(b, a, a)
	return []reg.VecVirtual{t, a}
}

// transpose turns rows of eight words into columns.
func transpose(x []reg.VecVirtual) []reg.VecVirtual {
	var words, longs [4][]reg.VecVirtual // of rows 2i and 2i+1; then of rows 0 to 3 and 4 to 7
	for i := range words {
		words[i] = interleave(VPUNPCKLWD, VPUNPCKHWD, x[2*i], x[2*i+1])
	}
	for i := range 2 {
		longs[i] = interleave(VPUNPCKLDQ, VPUNPCKHDQ, words[0][i], words[1][i])
		longs[2+i] = interleave(VPUNPCKLDQ, VPUNPCKHDQ, words[2][i], words[3][i])
	}
	var columns []reg.VecVirtual
	for i := range 2 {
		for j := range 2 {
			columns = append(columns, interleave(VPUNPCKLQDQ, VPUNPCKHQDQ, longs[i][j], longs[2+i][j])...)
		}
	}
	return columns
}

// bias is added before a shift: a half, and in the last pass also the 128 that samples lie around.
func bias(shift int) Mem {
	if shift == 18 {
		return data[int32](128<<18 + 1<<17)
	}
	return data(int32(1) << (shift - 1))
}

// idctPass is the one-dimensional transform of eight columns of words, in two halves of four.
func idctPass(x []reg.VecVirtual, shift int, spill Mem) []reg.VecVirtual {
	x04, x26 := interleave(VPUNPCKLWD, VPUNPCKHWD, x[0], x[4]), interleave(VPUNPCKLWD, VPUNPCKHWD, x[2], x[6])
	x13, x57 := interleave(VPUNPCKLWD, VPUNPCKHWD, x[1], x[3]), interleave(VPUNPCKLWD, VPUNPCKHWD, x[5], x[7])
	half := func(i int, done func(k int, sum reg.VecVirtual)) {
		var e [4]reg.VecVirtual
		for k, sign := range []int16{1, -1} {
			t, by := YMM(), YMM()
			VPMADDWD(data(8192, 8192*sign), x04[i], t)
			VPADDD(bias(shift), t, t)
			VPMADDWD(data(idctEven2[k], idctEven6[k]), x26[i], by)
			e[k], e[3-k] = YMM(), t
			VPADDD(by, t, e[k])
			VPSUBD(by, t, t)
		}
		for k := range e {
			o, t := YMM(), YMM()
			VPMADDWD(data(idctOdd1[k], idctOdd3[k]), x13[i], o)
			VPMADDWD(data(idctOdd5[k], idctOdd7[k]), x57[i], t)
			VPADDD(t, o, o)
			butterfly(e[k], o, k, shift, done)
		}
	}
	y := make([]reg.VecVirtual, 8)
	half(1, func(k int, sum reg.VecVirtual) { VMOVDQU(sum, spill.Offset(32*k)) })
	half(0, func(k int, sum reg.VecVirtual) {
		VPACKSSDW(spill.Offset(32*k), sum, sum)
		y[k] = sum
	})
	return y
}

// butterfly gives the outputs k and 7-k of even and odd part k.
func butterfly(even, odd reg.VecVirtual, k, shift int, done func(k int, sum reg.VecVirtual)) {
	sum := YMM()
	VPADDD(odd, even, sum)
	VPSUBD(odd, even, even)
	for _, r := range []reg.VecVirtual{sum, even} {
		VPSRAD(Imm(uint64(shift)), r, r)
	}
	done(k, sum)
	done(7-k, even)
}

// cornerPairs interleaves the four inputs that aren't zero.
func cornerPairs(unpack func(...Op), x []reg.VecVirtual) [2]reg.VecVirtual {
	even, odd := YMM(), YMM()
	unpack(x[2], x[0], even)
	unpack(x[3], x[1], odd)
	return [2]reg.VecVirtual{even, odd}
}

// corner is half of a pass over four inputs.
func corner(pairs [2]reg.VecVirtual, shift int, done func(k int, sum reg.VecVirtual)) {
	for k := range 4 {
		e, o := YMM(), YMM()
		by := idctEven2[min(k, 3-k)]
		if k >= 2 {
			by = -by
		}
		VPMADDWD(data(8192, by), pairs[0], e)
		VPADDD(bias(shift), e, e)
		VPMADDWD(data(idctOdd1[k], idctOdd3[k]), pairs[1], o)
		butterfly(e, o, k, shift, done)
	}
}

// chunks runs body for i = 0, step, 2·step … and for last, where the final one overlaps the one before.
func chunks(label string, step int, last reg.GPVirtual, body func(i reg.GPVirtual)) {
	i := GP64()
	XORQ(i, i)
	Label(label)
	body(i)
	CMPQ(i, last)
	JE(LabelRef(label + "_done"))
	ADDQ(num(step), i)
	CMPQ(i, last)
	CMOVQGT(last, i)
	JMP(LabelRef(label))
	Label(label + "_done")
}

// upsample writes the kernels of fancy upsampling, for the n samples that have neighbours on both sides; n is at least 16.
func (v isa) upsample() {
	for _, vertical := range []bool{false, true} {
		name, signature, biases, shift := "upsampleH2V1", "func(dst, near *uint8, n int)", [2]int16{1, 2}, uint64(2)
		if vertical {
			name, signature, biases, shift = "upsampleH2V2", "func(dst, near, far *uint8, n int)", [2]int16{8, 7}, 4
		}
		kernel(name+v.name, signature)
		at := []reg.GPVirtual{pointer("near")}
		if vertical {
			at = append(at, pointer("far"))
		}
		dst, last := pointer("dst"), pointer("n")
		SUBQ(num(16), last)
		chunks(name, 16, last, func(i reg.GPVirtual) {
			// sample weighs the rows of the samples from i+by on.
			sample := func(by int) reg.VecVirtual {
				x := YMM()
				VPMOVZXBW(Mem{Base: at[0], Index: i, Scale: 1, Disp: by}, x)
				if vertical {
					f := YMM()
					VPMOVZXBW(Mem{Base: at[1], Index: i, Scale: 1, Disp: by}, f)
					VPADDW(x, f, f)
					VPADDW(x, x, x)
					VPADDW(f, x, x)
				}
				return x
			}
			this, even, odd := sample(0), sample(-1), sample(1)
			t := YMM()
			VPADDW(this, this, t)
			VPADDW(t, this, this)
			for k, x := range []reg.VecVirtual{even, odd} {
				VPADDW(this, x, x)
				VPADDW(data(biases[k]), x, x)
				VPSRLW(Imm(shift), x, x)
			}
			VPSLLW(Imm(8), odd, odd)
			VPOR(odd, even, even)
			VMOVDQU(even, Mem{Base: dst, Index: i, Scale: 2})
		})
		VZEROUPPER()
		RET()
	}

	kernel("upsampleH1V2"+v.name, "func(dst, near, far *uint8, n, bias int)")
	near, far, dst, last := pointer("near"), pointer("far"), pointer("dst"), pointer("n")
	bias, low := YMM(), XMM()
	VMOVQ(pointer("bias"), low)
	VPBROADCASTW(low, bias)
	SUBQ(num(16), last)
	chunks("upsampleH1V2", 16, last, func(i reg.GPVirtual) {
		x, t, f := YMM(), YMM(), YMM()
		VPMOVZXBW(Mem{Base: near, Index: i, Scale: 1}, x)
		VPMOVZXBW(Mem{Base: far, Index: i, Scale: 1}, f)
		VPADDW(x, x, t)
		VPADDW(t, x, x)
		VPADDW(f, x, x)
		VPADDW(bias, x, x)
		VPSRLW(Imm(2), x, x)
		VPACKUSWB(x, x, x)
		VPERMQ(Imm(0b11011000), x, x)
		VMOVDQU(x.AsX(), Mem{Base: dst, Index: i, Scale: 1})
	})
	VZEROUPPER()
	RET()
}

// ycbcr converts n pixels, at least 32.
func (v isa) ycbcr() {
	kernel("ycbcr"+v.name, "func(dst, y, cb, cr *uint8, n int)")
	at, dst, last := pointers("y", "cb", "cr"), pointer("dst"), pointer("n")
	SUBQ(num(32), last)
	zero := YMM()
	VPXOR(zero, zero, zero)
	chunks("ycbcr", 32, last, func(i reg.GPVirtual) {
		var planes [3]reg.VecVirtual
		for c := range planes {
			planes[c] = YMM()
			VMOVDQU(Mem{Base: at[c], Index: i, Scale: 1}, planes[c])
		}
		var rgb [3]reg.VecVirtual
		for k, unpack := range []func(...Op){VPUNPCKLBW, VPUNPCKHBW} {
			y, cb, cr := YMM(), YMM(), YMM()
			for c, x := range []reg.VecVirtual{y, cb, cr} {
				unpack(zero, planes[c], x)
			}
			VPADDW(data[int16](-128), cb, cb)
			VPADDW(data[int16](-128), cr, cr)
			for c, sample := range ycbcrSamples(y, cb, cr) {
				if k == 0 {
					rgb[c] = sample
				} else {
					VPACKUSWB(sample, rgb[c], rgb[c])
				}
			}
		}
		p := GP64()
		LEAQ(Mem{Base: i, Index: i, Scale: 2}, p)
		ADDQ(dst, p)
		for part := range 3 {
			sum := YMM()
			for c, x := range rgb {
				t := YMM()
				if c == 0 {
					t = sum
				}
				VPSHUFB(interleaving(part, c), x, t)
				if c > 0 {
					VPOR(t, sum, sum)
				}
			}
			VMOVDQU(sum.AsX(), Mem{Base: p, Disp: 16 * part})
			VEXTRACTI128(Imm(1), sum, Mem{Base: p, Disp: 48 + 16*part})
		}
	})
	VZEROUPPER()
	RET()
}

// interleaving puts the samples of channel c where they belong in the given 16 of 48 bytes.
func interleaving(part, c int) Mem {
	var at [16]int8
	for i := range at {
		at[i] = -1
		if pixel := 16*part + i; pixel%3 == c {
			at[i] = int8(pixel / 3)
		}
	}
	return data(at[:]...)
}

// ycbcrSamples gives R, G and B of 16 pixels, chroma less 128. Factors in 65536ths that exceed 16 bits are parted into a
// whole number and the rest.
func ycbcrSamples(y, cb, cr reg.VecVirtual) [3]reg.VecVirtual {
	// rest is (chroma · by + half) >> 16.
	rest := func(chroma reg.VecVirtual, by int16) reg.VecVirtual {
		t := YMM()
		VPADDW(chroma, chroma, t)
		VPMULHW(data(by), t, t)
		VPADDW(data[int16](1), t, t)
		VPSRAW(Imm(1), t, t)
		return t
	}
	red, green, blue := rest(cr, 91881-65536), YMM(), rest(cb, 116130-2*65536)
	high := YMM()
	VPUNPCKLWD(cr, cb, green)
	VPUNPCKHWD(cr, cb, high)
	for _, t := range []reg.VecVirtual{green, high} {
		VPMADDWD(data[int16](-22554, 65536-46802), t, t)
		VPADDD(data[int32](1<<15), t, t)
		VPSRAD(Imm(16), t, t)
	}
	VPACKSSDW(high, green, green)
	VPSUBW(cr, green, green)
	VPADDW(cr, red, red)
	VPADDW(cb, blue, blue)
	VPADDW(cb, blue, blue)
	for _, x := range []reg.VecVirtual{red, green, blue} {
		VPADDW(y, x, x)
	}
	return [3]reg.VecVirtual{red, green, blue}
}
