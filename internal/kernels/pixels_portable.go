package kernels

func idct(t IDCT) {
	t.check()
	for i, extent := range t.Extents {
		block := (*[64]int16)(t.Coefficients[64*i:])
		if extent == ExtentDC {
			fillBlock(t.Dst[8*i:], t.Stride, level((int32(block[0]*t.Quant[0])+4)>>3))
			continue
		}
		var x [64]int16
		for j, q := range t.Quant {
			x[j] = block[j] * q
		}
		const pass1, pass2 = 11, 18
		for c := range 8 {
			column := idct8(x[c], x[8+c], x[16+c], x[24+c], x[32+c], x[40+c], x[48+c], x[56+c])
			for r, v := range column {
				x[8*r+c] = int16(min(max((v+1<<(pass1-1))>>pass1, -1<<15), 1<<15-1))
			}
		}
		for r := range 8 {
			row := idct8(x[8*r], x[8*r+1], x[8*r+2], x[8*r+3], x[8*r+4], x[8*r+5], x[8*r+6], x[8*r+7])
			dst := t.Dst[r*t.Stride+8*i:][:8]
			for c, v := range row {
				dst[c] = level((v + 1<<(pass2-1)) >> pass2)
			}
		}
	}
}

func fillBlock(dst []uint8, stride int, v uint8) {
	for r := range 8 {
		row := dst[r*stride:][:8]
		for c := range row {
			row[c] = v
		}
	}
}

// level brings a sample from around 0 to around 128.
func level(v int32) uint8 { return uint8(min(max(v+128, 0), 255)) }

// The factors of the inverse DCT in 8192ths. FIX(x) in jidctint.c is x · 8192, rounded; sums of them stand for its
// sequence of additions, with the same result.
const (
	f0298, f0390, f0541, f0765, f0899, f1175 = 2446, 3196, 4433, 6270, 7373, 9633
	f1501, f1847, f1961, f2053, f2562, f3072 = 12299, 15137, 16069, 16819, 20995, 25172

	even2a, even6a = f0541 + f0765, f0541 // of inputs 2 and 6
	even2b, even6b = f0541, f0541 - f1847

	odd1a, odd3a, odd5a, odd7a = f1501 - f0899 + f1175 - f0390, f1175, f1175 - f0390, f1175 - f0899 // output 0
	odd1b, odd3b, odd5b, odd7b = f1175, f3072 - f2562 + f1175 - f1961, f1175 - f2562, f1175 - f1961 // output 1
	odd1c, odd3c, odd5c, odd7c = f1175 - f0390, f1175 - f2562, f2053 - f2562 + f1175 - f0390, f1175 // output 2
	odd1d, odd3d, odd5d, odd7d = f1175 - f0899, f1175 - f1961, f1175, f0298 - f0899 + f1175 - f1961 // output 3
)

// idct8 is the one-dimensional transform, times 8192·√8. No sum exceeds an int32.
func idct8(x0, x1, x2, x3, x4, x5, x6, x7 int16) [8]int32 {
	y1, y3, y5, y7 := int32(x1), int32(x3), int32(x5), int32(x7)
	sum, diff := (int32(x0)+int32(x4))<<13, (int32(x0)-int32(x4))<<13
	a := even2a*int32(x2) + even6a*int32(x6)
	b := even2b*int32(x2) + even6b*int32(x6)
	e0, e1, e2, e3 := sum+a, diff+b, diff-b, sum-a
	o0 := odd1a*y1 + odd3a*y3 + odd5a*y5 + odd7a*y7
	o1 := odd1b*y1 + odd3b*y3 + odd5b*y5 + odd7b*y7
	o2 := odd1c*y1 + odd3c*y3 + odd5c*y5 + odd7c*y7
	o3 := odd1d*y1 + odd3d*y3 + odd5d*y5 + odd7d*y7
	return [8]int32{e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0}
}

// The biases of 1 and 2, or 8 and 7, alternate so that halves are rounded up as often as down.

func upsampleH2V1(u Upsample) {
	u.check(2, false)
	last := len(u.Near) - 1
	for i, v := range u.Near {
		v := 3 * int(v)
		u.Dst[2*i] = uint8((v + int(u.Near[max(i-1, 0)]) + 1) >> 2)
		u.Dst[2*i+1] = uint8((v + int(u.Near[min(i+1, last)]) + 2) >> 2)
	}
}

func upsampleH1V2(u Upsample) {
	u.check(1, true)
	for i, v := range u.Near {
		u.Dst[i] = uint8((3*int(v) + int(u.Far[i]) + u.Bias) >> 2)
	}
}

func upsampleH2V2(u Upsample) {
	u.check(2, true)
	n := len(u.Near)
	sum := func(i int) int { return 3*int(u.Near[i]) + int(u.Far[i]) }
	if n == 0 {
		return
	}
	last, this := sum(0), sum(0)
	for i := range n {
		next := sum(min(i+1, n-1))
		u.Dst[2*i] = uint8((3*this + last + 8) >> 4)
		u.Dst[2*i+1] = uint8((3*this + next + 7) >> 4)
		last, this = this, next
	}
}

// ycbcr is JFIF's full-range BT.601,
//
//	R = Y + 1.40200 Cr,  G = Y - 0.34414 Cb - 0.71414 Cr,  B = Y + 1.77200 Cb,
//
// with Cb and Cr less 128, in 65536ths. Halves are rounded up.
func ycbcr(dst, y, cb, cr []uint8) {
	const crR, cbG, crG, cbB, half = 91881, 22554, 46802, 116130, 1 << 15
	n := len(y)
	dst, cb, cr = dst[:3*n], cb[:n], cr[:n]
	for i, y := range y {
		y, b, r := int32(y), int32(cb[i])-128, int32(cr[i])-128
		px := dst[3*i : 3*i+3]
		px[0] = clamp(y + (crR*r+half)>>16)
		px[1] = clamp(y + (half-cbG*b-crG*r)>>16)
		px[2] = clamp(y + (cbB*b+half)>>16)
	}
}

func clamp(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

func across(r Resample) {
	r.checkAcross()
	for y := range r.Rows {
		src, dst := r.Src[y*r.SrcStride:], r.Dst[y*r.DstStride:]
		for i := range r.Axis.Starts {
			r.pixel(dst[3*i:3*i+3], src, i)
		}
	}
}

// pixel makes pixel i of a row.
func (r *Resample) pixel(dst, row []uint8, i int) {
	taps := r.Axis.Taps
	px := row[3*r.Axis.Starts[i]:][:3*taps]
	red, green, blue := int32(half), int32(half), int32(half)
	for tap := range taps {
		k := r.Axis.weight(i, tap)
		red += int32(px[3*tap]) * k
		green += int32(px[3*tap+1]) * k
		blue += int32(px[3*tap+2]) * k
	}
	dst[0], dst[1], dst[2] = clamp(red>>Precision), clamp(green>>Precision), clamp(blue>>Precision)
}

const half = 1 << (Precision - 1)

func down(r Resample) {
	r.checkDown()
	sums := make([]int32, r.Columns)
	for i, start := range r.Axis.Starts {
		for x := range sums {
			sums[x] = half
		}
		for tap := range r.Axis.Taps {
			k := r.Axis.weight(i, tap)
			if k == 0 {
				continue
			}
			row := r.Src[(int(start)+tap)*r.SrcStride:][:len(sums)]
			for x, v := range row {
				sums[x] += int32(v) * k
			}
		}
		dst := r.Dst[i*r.DstStride:][:len(sums)]
		for x, sum := range sums {
			dst[x] = clamp(sum >> Precision)
		}
	}
}
