package transform

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/photo"
)

// Interpolation is a way to resample, by torchvision's names: "bilinear" (the zero value, as there), "bicubic" or
// "nearest".
type Interpolation uint8

const (
	Bilinear Interpolation = iota
	Bicubic
	Nearest
)

var interpolations = [...]string{"bilinear", "bicubic", "nearest"}

func (i Interpolation) check() error {
	if int(i) >= len(interpolations) {
		return fmt.Errorf("unknown interpolation %d", i)
	}
	return nil
}

func (i Interpolation) String() string {
	if i.check() != nil {
		return fmt.Sprintf("Interpolation(%d)", uint8(i))
	}
	return interpolations[i]
}

func (i Interpolation) MarshalText() ([]byte, error) { return []byte(i.String()), i.check() }

func (i *Interpolation) UnmarshalText(text []byte) error {
	n := slices.Index(interpolations[:], string(text))
	if n < 0 {
		return fmt.Errorf("unknown interpolation %q: known are %q", text, interpolations)
	}
	*i = Interpolation(n)
	return nil
}

// Scale returns img resampled to width × height pixels, of which there must be one or more. It may be img itself.
func Scale(img *photo.RGB, width, height int, by Interpolation) *photo.RGB {
	return resize(new(workspace), img, width, height, image.Rect(0, 0, width, height), by)
}

// resize returns the window of src resampled to width × height, as Pillow's Image.resize makes it: rows and columns one
// after the other, rounding to bytes in between. The window lies within that size.
func resize(w *workspace, src *photo.RGB, width, height int, window image.Rectangle, by Interpolation) *photo.RGB {
	if width == src.Width && height == src.Height {
		return crop(w, src, window)
	}
	w.horizontal.plan(by, src.Width, width, window.Min.X, window.Dx())
	w.vertical.plan(by, src.Height, height, window.Min.Y, window.Dy())
	dst := w.image(window.Dx(), window.Dy())
	// Which goes first matters for the rounding. This is the rule of Pillow 13 (python-pillow/Pillow#9549), before
	// which rows went first in all but extreme cases.
	if shrink := src.Height - height; shrink > 0 && shrink > 2*(src.Width-width) {
		w.resampleColumnsFirst(dst, src)
	} else {
		w.resampleRowsFirst(dst, src)
	}
	return dst
}

func (w *workspace) resampleRowsFirst(dst, src *photo.RGB) {
	y := &w.vertical
	first, end := y.span()
	stride := 3 * dst.Width
	w.bytes = slices.Grow(w.bytes[:0], (end-first)*stride)[:(end-first)*stride]
	for i := first; i < end; i += 2 {
		j := min(i+1, end-1)
		w.resampleRows(w.bytes[(i-first)*stride:][:stride], w.bytes[(j-first)*stride:][:stride], src.Row(i), src.Row(j))
	}
	for i, start := range y.starts {
		w.resampleColumns(dst.Row(i), w.bytes[(start-first)*stride:], stride, y.weights[i*y.taps:][:y.taps])
	}
}

func (w *workspace) resampleColumnsFirst(dst, src *photo.RGB) {
	y := &w.vertical
	first, end := w.horizontal.span()
	stride := 3 * src.Width
	w.bytes = slices.Grow(w.bytes[:0], stride)[:stride]
	for i, start := range y.starts {
		w.resampleColumns(w.bytes[3*first:3*end], src.Pix[start*stride+3*first:], stride, y.weights[i*y.taps:][:y.taps])
		w.resampleRows(dst.Row(i), dst.Row(i), w.bytes, w.bytes)
	}
}

// precision is the number of the weights' fractional bits. With it sums of bytes weighed by up to 2 in all, of either
// sign, fit in an int32.
const precision = 32 - 8 - 2

// An axis tells, for one direction, of which inputs each output is the weighed sum.
type axis struct {
	taps    int     // inputs for each output
	starts  []int   // the first of them
	weights []int32 // taps for each output
	exact   []float64
}

// span returns the first input of all and the one after the last.
func (a *axis) span() (first, end int) {
	return a.starts[0], a.starts[len(a.starts)-1] + a.taps
}

func (a *axis) reset(n, taps int) {
	a.taps = taps
	a.starts = slices.Grow(a.starts[:0], n)[:n]
	a.weights = slices.Grow(a.weights[:0], n*taps)[:n*taps]
	clear(a.weights)
}

// plan fills the axis for the n outputs from first on, of in inputs resampled to out.
func (a *axis) plan(by Interpolation, in, out, first, n int) {
	switch by {
	case Nearest:
		a.planNearest(in, out, first, n)
	case Bicubic:
		a.planFilter(bicubic, 2, in, out, first, n)
	default:
		a.planFilter(bilinear, 1, in, out, first, n)
	}
}

// planNearest adds up the positions one by one, as ImagingScaleAffine of Pillow's src/libImaging/Geometry.c does.
func (a *axis) planNearest(in, out, first, n int) {
	a.reset(n, 1)
	step := float64(in) / float64(out)
	x := step * 0.5
	for i := range first + n {
		if i >= first {
			a.starts[i-first] = min(int(x), in-1)
			a.weights[i-first] = 1 << precision
		}
		x += step
	}
}

// planFilter has the arithmetic of precompute_coeffs and normalize_coeffs_8bpc of Pillow's src/libImaging/Resample.c: a
// filter stretched to the width of an output, cut off at the borders, normalized, then rounded. An output has as many
// inputs there as it needs; here all have the same number, and the surplus weighs nothing.
//
// The conversions to float64 keep compilers from fusing a product and a sum, which would round differently.
func (a *axis) planFilter(filter func(float64) float64, support float64, in, out, first, n int) {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support = float64(support * stretch)
	inputs := func(i int) (center float64, from, to int) {
		center = float64((float64(first+i) + 0.5) * scale)
		return center, max(int(center-support+0.5), 0), min(int(center+support+0.5), in)
	}
	taps := 0
	for i := range n {
		_, from, to := inputs(i)
		taps = max(taps, to-from)
	}
	a.reset(n, taps)
	shrink := 1 / stretch
	for i := range n {
		center, from, to := inputs(i)
		a.exact = a.exact[:0]
		sum := 0.0
		for j := from; j < to; j++ {
			v := filter((float64(j) - center + 0.5) * shrink)
			a.exact = append(a.exact, v)
			sum += v
		}
		a.starts[i] = min(from, in-taps)
		weights := a.weights[i*taps+from-a.starts[i]:]
		for j, v := range a.exact {
			weights[j] = int32(v/sum*(1<<precision) + math.Copysign(0.5, v))
		}
	}
}

func bilinear(x float64) float64 {
	return max(0, 1-math.Abs(x))
}

// bicubic is Keys' cubic convolution with a = -1/2 (IEEE Transactions on Acoustics, Speech, and Signal Processing 29, 1981).
func bicubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64((float64((a+2)*x)-(a+3))*x*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * a
	}
	return 0
}

// resampleRows makes two rows of pixels of two longer or shorter ones.
func (w *workspace) resampleRows(dst0, dst1, src0, src1 []uint8) {
	w.pairs = slices.Grow(w.pairs[:0], len(src0))[:len(src0)]
	pair(w.pairs, src0, src1)
	weighPairs(dst0, dst1, w.pairs, w.horizontal.starts, w.horizontal.weights)
}

func pair(dst []uint64, low, high []uint8) {
	low, high = low[:len(dst)], high[:len(dst)]
	for i := range dst {
		dst[i] = uint64(low[i]) | uint64(high[i])<<32
	}
}

// weighPairs does two rows with one multiplication each time, one row in the lower halves of src's words and one in the
// upper: the sum of a lower half, if negative, takes one from the upper, which halves puts back.
func weighPairs(dst0, dst1 []uint8, src []uint64, starts []int, weights []int32) {
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
		out0[0], out1[0] = halves(r)
		out0[1], out1[1] = halves(g)
		out0[2], out1[2] = halves(b)
	}
}

func halves(sum int64) (low, high uint8) {
	l := int32(sum)
	return clip(l), clip(int32((sum - int64(l)) >> 32))
}

// resampleColumns makes a row of as many rows as there are weights, which begin stride bytes apart in src.
func (w *workspace) resampleColumns(dst, src []uint8, stride int, weights []int32) {
	w.sums = slices.Grow(w.sums[:0], len(dst))[:len(dst)]
	for i := range w.sums {
		w.sums[i] = half
	}
	for j := 0; j < len(weights); j += 4 {
		var k [4]int32
		var rows [4][]uint8
		copy(k[:], weights[j:])
		for r := range rows {
			rows[r] = src[min(j+r, len(weights)-1)*stride:][:len(dst)]
		}
		addRows(w.sums, rows[0], rows[1], rows[2], rows[3], k)
	}
	for i, sum := range w.sums {
		dst[i] = clip(sum)
	}
}

// addRows adds four weighed rows. Four at a time, few sums have to be fetched and stored.
func addRows(sums []int32, a, b, c, d []uint8, k [4]int32) {
	a, b, c, d = a[:len(sums)], b[:len(sums)], c[:len(sums)], d[:len(sums)]
	k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
	for i := range sums {
		sums[i] += int32(a[i])*k0 + int32(b[i])*k1 + int32(c[i])*k2 + int32(d[i])*k3
	}
}

const half = 1 << (precision - 1)

func clip(sum int32) uint8 { return clips[uint32(sum)>>precision] }

// clips holds the byte nearest to each signed number of 10 bits.
var clips = func() (t [1 << (32 - precision)]uint8) {
	for i := range len(t) / 2 {
		t[i] = uint8(min(i, 255))
	}
	return t
}()
