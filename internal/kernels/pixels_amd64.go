//go:build amd64

package kernels

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

func availablePixels() []*Pixels {
	if !cpu.X86.HasAVX2 {
		return nil
	}
	return []*Pixels{{
		Name:         "avx2",
		IDCT:         idctSIMD,
		UpsampleH2V1: upsampleH2V1SIMD, UpsampleH1V2: upsampleH1V2SIMD, UpsampleH2V2: upsampleH2V2SIMD,
		YCbCr:  ycbcrSIMD,
		Across: acrossSIMD, Down: downSIMD,
	}}
}

// The wrappers leave to the portable loops what is too little for a vector.

// blocks is the argument of the IDCT kernel.
type blocks struct {
	coefficients  *int16
	quant         *[64]int16
	extents       *Extent
	dst           *uint8
	stride, pairs int
}

func idctSIMD(t IDCT) {
	t.check()
	if len(t.Extents) == 0 {
		return
	}
	b := blocks{&t.Coefficients[0], t.Quant, &t.Extents[0], &t.Dst[0], t.Stride, len(t.Extents) / 2}
	idctAVX2((*byte)(unsafe.Pointer(&b)))
}

// upsampled is the number of samples that a vector holds.
const upsampled = 16

func upsampleH2V1SIMD(u Upsample) {
	n := len(u.Near) - 2
	if n < upsampled {
		upsampleH2V1(u)
		return
	}
	u.check(2, false)
	upsampleH2V1AVX2(&u.Dst[2], &u.Near[1], n)
	u.Dst[0], u.Dst[1] = u.Near[0], uint8((3*int(u.Near[0])+int(u.Near[1])+2)>>2)
	u.Dst[2*n+2], u.Dst[2*n+3] = uint8((3*int(u.Near[n+1])+int(u.Near[n])+1)>>2), u.Near[n+1]
}

func upsampleH1V2SIMD(u Upsample) {
	n := len(u.Near)
	if n < upsampled {
		upsampleH1V2(u)
		return
	}
	u.check(1, true)
	upsampleH1V2AVX2(&u.Dst[0], &u.Near[0], &u.Far[0], n, u.Bias)
}

func upsampleH2V2SIMD(u Upsample) {
	n := len(u.Near) - 2
	if n < upsampled {
		upsampleH2V2(u)
		return
	}
	u.check(2, true)
	upsampleH2V2AVX2(&u.Dst[2], &u.Near[1], &u.Far[1], n)
	for _, end := range [][2]int{{0, 1}, {n + 1, n}} {
		at, beside := 3*int(u.Near[end[0]])+int(u.Far[end[0]]), 3*int(u.Near[end[1]])+int(u.Far[end[1]])
		if end[0] == 0 {
			u.Dst[0], u.Dst[1] = uint8((4*at+8)>>4), uint8((3*at+beside+7)>>4)
		} else {
			u.Dst[2*n+2], u.Dst[2*n+3] = uint8((3*at+beside+8)>>4), uint8((4*at+7)>>4)
		}
	}
}

func ycbcrSIMD(dst, y, cb, cr []uint8) {
	n := len(y)
	if n < 32 {
		ycbcr(dst, y, cb, cr)
		return
	}
	_, _, _ = dst[3*n-1], cb[n-1], cr[n-1]
	ycbcrAVX2(&dst[0], &y[0], &cb[0], &cr[0], n)
}

// resample is the argument of the resampling kernels.
type resample struct {
	dst       *uint8
	dstStride int
	src       *uint8
	srcStride int
	starts    *int32
	weights   *int16
	n, units  int
	row       int // bytes from an output's weights to the next one's
	columns   int
}

func (r *Resample) record() resample {
	units := r.Axis.Taps / TapsUnit
	return resample{
		dst: &r.Dst[0], dstStride: r.DstStride, src: &r.Src[0], srcStride: r.SrcStride,
		starts: &r.Axis.Starts[0], weights: &r.Axis.Weights[0], n: len(r.Axis.Starts), units: units, row: 16 * units,
		columns: r.Columns,
	}
}

func acrossSIMD(r Resample) {
	const rows, read, used = 4, 16, 12 // at once; bytes that the kernel loads and needs for each unit
	if r.Rows < rows {
		across(r)
		return
	}
	r.checkAcross()
	for y := 0; y < r.Rows; y += rows {
		y = min(y, r.Rows-rows)
		part := r
		part.Rows, part.Dst, part.Src = rows, r.Dst[y*r.DstStride:], r.Src[y*r.SrcStride:]
		// Leave out what would be read beyond the end of Src.
		n := len(r.Axis.Starts)
		for n > 0 && (rows-1)*r.SrcStride+3*(int(r.Axis.Starts[n-1])+r.Axis.Taps)+read-used > len(part.Src) {
			n--
		}
		if n > 0 {
			a := part.record()
			a.n = n
			acrossAVX2((*byte)(unsafe.Pointer(&a)))
		}
		if n < len(r.Axis.Starts) {
			part.Dst = part.Dst[3*n:]
			part.Axis = &Axis{r.Axis.Taps, r.Axis.Starts[n:], r.Axis.Weights[2*n*r.Axis.Taps:]}
			across(part)
		}
	}
}

func downSIMD(r Resample) {
	if r.Columns < 32 {
		resampleDown(r)
		return
	}
	r.checkDown()
	a := r.record()
	downAVX2((*byte)(unsafe.Pointer(&a)))
}
