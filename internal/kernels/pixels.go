package kernels

// Pixels is one implementation of the loops that photos pass through on their way to a tensor. They compute with whole
// numbers, so all implementations give the same bits.
type Pixels struct {
	Name string // "avx2" or "portable"

	// IDCT transforms a row of blocks of a JPEG; see [IDCT].
	IDCT func(t IDCT)
	// UpsampleH2V1, UpsampleH1V2 and UpsampleH2V2 double the samples of a row: across, down, or both ways; see [Upsample].
	UpsampleH2V1, UpsampleH1V2, UpsampleH2V2 func(u Upsample)
	// YCbCr converts len(y) pixels to RGB, as ycc_rgb_convert in libjpeg's jdcolor.c does; dst holds three bytes for each.
	YCbCr func(dst, y, cb, cr []uint8)
	// Across and Down resample images; see [Resample].
	Across, Down func(r Resample)
}

// BestPixels returns the fastest implementation of this processor, or the one that belongs to the set that GRAFT_CPU
// names.
func BestPixels() *Pixels {
	if s, err := Best(); err == nil && s == &portable {
		return &portablePixels
	}
	return pixelSets[0]
}

// portablePixels, and what this processor has beside it, best first.
var pixelSets = append(availablePixels(), &portablePixels)

var portablePixels = Pixels{
	Name: "portable",
	IDCT: idct, UpsampleH2V1: upsampleH2V1, UpsampleH1V2: upsampleH1V2, UpsampleH2V2: upsampleH2V2, YCbCr: ycbcr,
	Across: across, Down: resampleDown,
}

// IDCT describes the inverse DCT of a row of blocks: jpeg_idct_islow of libjpeg's jidctint.c (Loeffler, Ligtenberg and
// Moschytz, ICASSP 1989) on products of 16 bits, as libjpeg-turbo's SIMD code has it.
type IDCT struct {
	// Coefficients holds an even number of blocks one after the other: 8 × 8 quantised coefficients, in rows.
	Coefficients []int16
	Quant        *[64]int16 // factors, in the same order
	// Extents tells for each block which coefficients aren't zero.
	Extents []Extent
	// Dst receives 8 rows, Stride bytes apart, of 8 samples for each block.
	Dst    []uint8
	Stride int
}

// An Extent bounds the coefficients of a block that aren't zero.
type Extent = uint8

// The extents; of two, their bitwise or bounds both.
const (
	ExtentDC     Extent = 0 // the first alone
	ExtentCorner Extent = 1 // four rows and columns
	ExtentAll    Extent = 3
)

func (t *IDCT) check() {
	n := len(t.Extents)
	if n%2 != 0 || len(t.Coefficients) != 64*n || len(t.Dst) < 7*t.Stride+8*n {
		panic("kernels: IDCT of slices that don't fit together")
	}
}

// Upsample describes how two rows of samples become one of the doubled resolution: libjpeg's "fancy upsampling"
// (jdsample.c), which weighs the nearest samples 3 to 1 in each direction. Rows end as if their last samples went on.
type Upsample struct {
	Dst  []uint8 // as long as Near, or twice as long where samples double across
	Near []uint8 // the row of samples that the result lies in
	Far  []uint8 // the other row that it is next to; unused where samples don't double down
	Bias int     // of UpsampleH1V2: 1 for upper rows of a pair, 2 for lower ones
}

func (u *Upsample) check(across int, far bool) {
	n := len(u.Near)
	if len(u.Dst) != across*n || far && len(u.Far) != n {
		panic("kernels: upsampling of slices that don't fit together")
	}
}

// Resample describes a pass of Pillow's Image.resize over an image of three bytes a pixel (ImagingResampleHorizontal_8bpc
// and ImagingResampleVertical_8bpc in src/libImaging/Resample.c): each output is a weighed sum of neighbouring inputs,
// rounded to a byte.
type Resample struct {
	Dst, Src             []uint8
	DstStride, SrcStride int // bytes from a row to the next
	// Rows is the number of rows that Across reads and writes, a byte more than there are pixels in each; Columns the
	// number of bytes in a row that Down does.
	Rows, Columns int
	Axis          *Axis
}

// Precision is the number of fractional bits of a weight. With it sums of bytes weighed by up to 2 in all, of either
// sign, fit in an int32.
const Precision = 32 - 8 - 2

// An Axis tells of which inputs the outputs are the weighed sums, in one direction. Weights are split in two parts that
// fit in 16 bits, so that processors can multiply and add pairs.
type Axis struct {
	Taps   int     // inputs of each output, a multiple of TapsUnit
	Starts []int32 // the first of them
	// Weights holds, for each output and each unit of taps, their high parts and then their low parts.
	Weights []int16
}

// TapsUnit is the number of weights that lie together.
const TapsUnit = 4

// lowBits is the number of bits in the low part of a weight, which isn't negative.
const lowBits = 12

// Reset makes room for the weights of n outputs, all of them zero.
func (a *Axis) Reset(n, taps int) {
	a.Taps = (taps + TapsUnit - 1) / TapsUnit * TapsUnit
	a.Starts = grow(a.Starts, n)
	a.Weights = grow(a.Weights, 2*n*a.Taps)
	clear(a.Weights)
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// Set sets weight tap of output i.
func (a *Axis) Set(i, tap int, weight int32) {
	unit := a.Weights[2*(i*a.Taps+tap/TapsUnit*TapsUnit):]
	unit[tap%TapsUnit] = int16(weight >> lowBits)
	unit[TapsUnit+tap%TapsUnit] = int16(weight & (1<<lowBits - 1))
}

// Span returns the first input of all and the one after the last.
func (a *Axis) Span() (first, end int) {
	return int(a.Starts[0]), int(a.Starts[len(a.Starts)-1]) + a.Taps
}

func (r *Resample) checkAcross() {
	_, end := r.Axis.Span()
	n := 3*len(r.Axis.Starts) + 1
	if r.DstStride < n || len(r.Dst) < (r.Rows-1)*r.DstStride+n || len(r.Src) < (r.Rows-1)*r.SrcStride+3*end {
		panic("kernels: resampling of slices that don't fit together")
	}
}

func (r *Resample) checkDown() {
	_, end := r.Axis.Span()
	n := len(r.Axis.Starts)
	if len(r.Dst) < (n-1)*r.DstStride+r.Columns || len(r.Src) < (end-1)*r.SrcStride+r.Columns {
		panic("kernels: resampling of slices that don't fit together")
	}
}
