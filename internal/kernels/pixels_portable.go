package kernels

func idct(t IDCT) {
	t.check()
	for i, extent := range t.Extents {
		block, dst := (*[64]int16)(t.Coefficients[64*i:]), t.Dst[8*i:]
		if extent == ExtentDC {
			fillBlock(dst, t.Stride, clamp((int32(block[0]*t.Quant[0])+4)>>3+128))
		} else {
			idctBlock(dst, t.Stride, block, t.Quant)
		}
	}
}

func idctBlock(dst []uint8, stride int, block, quant *[64]int16) {
	const pass1, pass2 = 11, 18
	var x [64]int32 // between the passes, in columns
	for c := range 8 {
		in := func(r int) int32 { return int32(block[8*r+c] * quant[8*r+c]) }
		column := x[8*c:][:8]
		if block[8+c]|block[16+c]|block[24+c]|block[32+c]|block[40+c]|block[48+c]|block[56+c] == 0 {
			v := saturate(in(0) << 2)
			for r := range column {
				column[r] = v
			}
			continue
		}
		y0, y1, y2, y3, y4, y5, y6, y7 := idct8(in(0), in(1), in(2), in(3), in(4), in(5), in(6), in(7), 1<<(pass1-1))
		column[0], column[1], column[2], column[3] = saturate(y0>>pass1), saturate(y1>>pass1), saturate(y2>>pass1), saturate(y3>>pass1)
		column[4], column[5], column[6], column[7] = saturate(y4>>pass1), saturate(y5>>pass1), saturate(y6>>pass1), saturate(y7>>pass1)
	}
	for r := range 8 {
		row := dst[r*stride:][:8]
		y0, y1, y2, y3, y4, y5, y6, y7 := idct8(x[r], x[8+r], x[16+r], x[24+r], x[32+r], x[40+r], x[48+r], x[56+r], 128<<pass2+1<<(pass2-1))
		row[0], row[1], row[2], row[3] = clamp(y0>>pass2), clamp(y1>>pass2), clamp(y2>>pass2), clamp(y3>>pass2)
		row[4], row[5], row[6], row[7] = clamp(y4>>pass2), clamp(y5>>pass2), clamp(y6>>pass2), clamp(y7>>pass2)
	}
}

func saturate(v int32) int32 { return min(max(v, -1<<15), 1<<15-1) }

func fillBlock(dst []uint8, stride int, v uint8) {
	for r := range 8 {
		row := dst[r*stride:][:8]
		for c := range row {
			row[c] = v
		}
	}
}

// The factors of the inverse DCT in 8192ths, FIX(x) in jidctint.c: x · 8192, rounded.
const (
	f0298, f0390, f0541, f0765, f0899, f1175 = 2446, 3196, 4433, 6270, 7373, 9633
	f1501, f1847, f1961, f2053, f2562, f3072 = 12299, 15137, 16069, 16819, 20995, 25172
)

// idct8 is the one-dimensional transform times 8192·√8, plus bias. No sum exceeds an int32 that doesn't come back.
func idct8(x0, x1, x2, x3, x4, x5, x6, x7, bias int32) (y0, y1, y2, y3, y4, y5, y6, y7 int32) {
	z := (x2 + x6) * f0541
	a, b := z+x2*f0765, z-x6*f1847
	sum, diff := (x0+x4)<<13+bias, (x0-x4)<<13+bias
	e0, e1, e2, e3 := sum+a, diff+b, diff-b, sum-a

	z1, z2, z3, z4 := (x7+x1)*-f0899, (x5+x3)*-f2562, x7+x3, x5+x1
	z5 := (z3 + z4) * f1175
	z3, z4 = z5-z3*f1961, z5-z4*f0390
	o0, o1, o2, o3 := x1*f1501+z1+z4, x3*f3072+z2+z3, x5*f2053+z2+z4, x7*f0298+z1+z3
	return e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0
}

// The biases of 1 and 2, or 8 and 7, alternate so that halves are rounded up as often as down.

func upsampleH2V1(u Upsample) {
	u.check(2, false)
	across2(u, func(i int) int { return int(u.Near[i]) }, 1, 2, 2)
}

func upsampleH1V2(u Upsample) {
	u.check(1, true)
	dst, far := u.Dst[:len(u.Near)], u.Far[:len(u.Near)]
	for i, v := range u.Near {
		dst[i] = uint8((3*int(v) + int(far[i]) + u.Bias) >> 2)
	}
}

func upsampleH2V2(u Upsample) {
	u.check(2, true)
	near, far := u.Near, u.Far[:len(u.Near)]
	across2(u, func(i int) int { return 3*int(near[i]) + int(far[i]) }, 8, 7, 4)
}

// across2 doubles samples across.
func across2(u Upsample, sample func(i int) int, left, right, shift int) {
	n := len(u.Near)
	if n == 0 {
		return
	}
	last, this := sample(0), sample(0)
	for i := range n {
		next := this
		if i+1 < n {
			next = sample(i + 1)
		}
		u.Dst[2*i] = uint8((3*this + last + left) >> shift)
		u.Dst[2*i+1] = uint8((3*this + next + right) >> shift)
		last, this = this, next
	}
}

// ycbcr is JFIF's full-range BT.601,
//
//	R = Y + 1.40200 Cr,  G = Y - 0.34414 Cb - 0.71414 Cr,  B = Y + 1.77200 Cb,
//
// with Cb and Cr less 128, in 65536ths. Halves are rounded up.
func ycbcr(dst, y, cb, cr []uint8) {
	n := len(y)
	dst, cb, cr = dst[:3*n], cb[:n], cr[:n]
	for i, y := range y {
		y, b, r := int32(y), &ycbcrTable[cb[i]], &ycbcrTable[cr[i]]
		px := dst[3*i : 3*i+3]
		px[0] = clamped(y + r.crR)
		px[1] = clamped(y + (b.cbG+r.crG)>>16)
		px[2] = clamped(y + b.cbB)
	}
}

// ycbcrTable holds what a sample of chroma adds to each channel; to green in 65536ths.
var ycbcrTable = func() (t [256]struct{ crR, crG, cbG, cbB int32 }) {
	const crR, cbG, crG, cbB, half = 91881, 22554, 46802, 116130, 1 << 15
	for i := range t {
		c := int32(i) - 128
		t[i].crR, t[i].crG, t[i].cbG, t[i].cbB = (crR*c+half)>>16, -crG*c, half-cbG*c, (cbB*c+half)>>16
	}
	return t
}()

func clamp(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// clamped is clamp for signed numbers of 10 bits.
func clamped(v int32) uint8 { return clamps[uint32(v)%uint32(len(clamps))] }

var clamps = func() (t [1024]uint8) {
	for i := range len(t) / 2 {
		t[i] = clamp(int32(i))
	}
	return t
}()

const half = 1 << (Precision - 1)

func across(r Resample) {
	r.checkAcross()
	weights := r.Axis.whole()
	_, end := r.Axis.Span()
	pairs := make([]uint64, 3*end)
	for y := 0; y < r.Rows; y += 2 {
		z := min(y+1, r.Rows-1)
		low, high := r.Src[y*r.SrcStride:][:len(pairs)], r.Src[z*r.SrcStride:][:len(pairs)]
		for i := range pairs {
			pairs[i] = uint64(low[i]) | uint64(high[i])<<32
		}
		weighPairs(r.Dst[y*r.DstStride:], r.Dst[z*r.DstStride:], pairs, r.Axis.Starts, weights)
	}
}

// weighPairs does two rows with one multiplication each time, one row in the lower halves of src's words and one in the
// upper: the sum of a lower half, if negative, takes one from the upper, which halves puts back.
func weighPairs(dst0, dst1 []uint8, src []uint64, starts, weights []int32) {
	taps := len(weights) / len(starts)
	for i, start := range starts {
		k := weights[i*taps:][:taps]
		pairs := src[3*start:][:3*taps]
		r, g, b := int64(half<<32|half), int64(half<<32|half), int64(half<<32|half)
		for j, w := range k {
			px := pairs[3*j : 3*j+3]
			w := int64(w)
			r += int64(px[0]) * w
			g += int64(px[1]) * w
			b += int64(px[2]) * w
		}
		out0, out1 := dst0[3*i:3*i+3], dst1[3*i:3*i+3]
		out0[0], out1[0] = bothRows(r)
		out0[1], out1[1] = bothRows(g)
		out0[2], out1[2] = bothRows(b)
	}
}

func bothRows(sum int64) (low, high uint8) {
	l := int32(sum)
	return clamped(l >> Precision), clamped(int32((sum-int64(l))>>32) >> Precision)
}

// whole returns the weights, taps for each output.
func (a *Axis) whole() []int32 {
	weights := make([]int32, len(a.Weights)/2)
	for i := range weights {
		unit := a.Weights[i/TapsUnit*2*TapsUnit:][i%TapsUnit:]
		weights[i] = int32(unit[0])<<lowBits + int32(unit[TapsUnit])
	}
	return weights
}

func resampleDown(r Resample) {
	r.checkDown()
	weights, sums := r.Axis.whole(), make([]int32, r.Columns)
	for i, start := range r.Axis.Starts {
		for x := range sums {
			sums[x] = half
		}
		for tap := 0; tap < r.Axis.Taps; tap += TapsUnit {
			addRows(sums, r.Src[(int(start)+tap)*r.SrcStride:], r.SrcStride, [TapsUnit]int32(weights[i*r.Axis.Taps+tap:]))
		}
		dst := r.Dst[i*r.DstStride:][:len(sums)]
		for x, sum := range sums {
			dst[x] = clamped(sum >> Precision)
		}
	}
}

// addRows adds a unit of weighed rows.
func addRows(sums []int32, src []uint8, stride int, k [TapsUnit]int32) {
	n := len(sums)
	a, b, c, d := src[:n], src[stride:][:n], src[2*stride:][:n], src[3*stride:][:n]
	k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
	for i := range sums {
		sums[i] += int32(a[i])*k0 + int32(b[i])*k1 + int32(c[i])*k2 + int32(d[i])*k3
	}
}
