package transform

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/kernels"
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
	src = w.padded(src, w.horizontal.Taps, w.vertical.Taps)
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

var pixels = kernels.BestPixels()

// padded returns src, or a copy that has at least so many rows and columns, of any content: their weights are zero.
func (w *workspace) padded(src *photo.RGB, width, height int) *photo.RGB {
	if src.Width >= width && src.Height >= height {
		return src
	}
	w.copy.Reset(max(src.Width, width), max(src.Height, height))
	for y := range src.Height {
		copy(w.copy.Row(y), src.Row(y))
	}
	return &w.copy
}

func (w *workspace) resampleRowsFirst(dst, src *photo.RGB) {
	first, rows := w.vertical.shift()
	stride := 3*dst.Width + 1
	w.bytes = slices.Grow(w.bytes[:0], rows*stride)[:rows*stride]
	pixels.Across(kernels.Resample{
		Dst: w.bytes, DstStride: stride, Src: src.Pix[3*src.Width*first:], SrcStride: 3 * src.Width,
		Rows: rows, Axis: &w.horizontal.Axis,
	})
	pixels.Down(kernels.Resample{
		Dst: dst.Pix, DstStride: 3 * dst.Width, Src: w.bytes, SrcStride: stride,
		Columns: 3 * dst.Width, Axis: &w.vertical.Axis,
	})
}

func (w *workspace) resampleColumnsFirst(dst, src *photo.RGB) {
	first, columns := w.horizontal.shift()
	from, to := 3*columns, 3*dst.Width+1
	w.bytes = slices.Grow(w.bytes[:0], (from+to)*dst.Height)[:(from+to)*dst.Height]
	tall, wide := w.bytes[:from*dst.Height], w.bytes[from*dst.Height:]
	pixels.Down(kernels.Resample{
		Dst: tall, DstStride: from, Src: src.Pix[3*first:], SrcStride: 3 * src.Width,
		Columns: from, Axis: &w.vertical.Axis,
	})
	pixels.Across(kernels.Resample{
		Dst: wide, DstStride: to, Src: tall, SrcStride: from,
		Rows: dst.Height, Axis: &w.horizontal.Axis,
	})
	for y := range dst.Height {
		copy(dst.Row(y), wide[y*to:])
	}
}

// An axis tells, for one direction, of which inputs each output is the weighed sum.
type axis struct {
	kernels.Axis
	exact   []float64
	rounded []int32
}

// shift counts inputs from the first that is needed, and returns which that is and how many there are.
func (a *axis) shift() (first, n int) {
	first, end := a.Span()
	for i := range a.Starts {
		a.Starts[i] -= int32(first)
	}
	return first, end - first
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

// set sets the weights of output i for the inputs from one on. All outputs have the same number of inputs: the surplus
// weighs nothing, and lies before or behind.
func (a *axis) set(i, in, from int, weights ...int32) {
	start := max(min(from, in-a.Taps), 0)
	a.Starts[i] = int32(start)
	for j, w := range weights {
		a.Set(i, from-start+j, w)
	}
}

// planNearest adds up the positions one by one, as ImagingScaleAffine of Pillow's src/libImaging/Geometry.c does.
func (a *axis) planNearest(in, out, first, n int) {
	a.Reset(n, 1)
	step := float64(in) / float64(out)
	x := step * 0.5
	for i := range first + n {
		if i >= first {
			a.set(i-first, in, min(int(x), in-1), 1<<kernels.Precision)
		}
		x += step
	}
}

// planFilter has the arithmetic of precompute_coeffs and normalize_coeffs_8bpc of Pillow's src/libImaging/Resample.c: a
// filter stretched to the width of an output, cut off at the borders, normalized, then rounded.
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
	a.Reset(n, taps)
	shrink := 1 / stretch
	for i := range n {
		center, from, to := inputs(i)
		a.exact, a.rounded = a.exact[:0], a.rounded[:0]
		sum := 0.0
		for j := from; j < to; j++ {
			v := filter((float64(j) - center + 0.5) * shrink)
			a.exact = append(a.exact, v)
			sum += v
		}
		for _, v := range a.exact {
			a.rounded = append(a.rounded, int32(v/sum*(1<<kernels.Precision)+math.Copysign(0.5, v)))
		}
		a.set(i, in, from, a.rounded...)
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
