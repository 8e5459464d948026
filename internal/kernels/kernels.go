// Package kernels holds the inner loops that the engine is made of: one [Set] for AVX-512, one for
// AVX2 with FMA, and a portable one in Go that the others are tested against and that runs
// everywhere else. [Pixels] holds those that photos pass through before.
//
// Activations lie channels-last: a row of C floats for each pixel. Every kernel computes each
// number of its result in an order that depends on the shapes alone, so that results don't change
// with how the work is divided.
package kernels

import (
	"fmt"
	"os"
)

// A Set is one implementation of all kernels. All functions are safe for concurrent use on results
// that don't overlap.
type Set struct {
	Name string // "avx512", "avx2" or "portable"

	// Width is the number of columns in a panel of packed weights: what is packed for one set isn't for another.
	Width int
	// Gemm multiplies matrices; see [Gemm]. Rows longer than LongestRow, in words, had better be multiplied in pieces
	// that are added up: what it multiplies them by wouldn't stay in the caches.
	Gemm       func(g *Gemm)
	LongestRow int
	// Depthwise convolves each channel by itself; see [Depthwise].
	Depthwise func(d *Depthwise)
	// Act applies an activation in place.
	Act func(act Act, x []float32)
	// Add sets dst to act(a + b), elementwise. dst may be a or b.
	Add func(dst, a, b []float32, act Act)
	// Mul sets dst to a · b, elementwise. dst may be a or b.
	Mul func(dst, a, b []float32)
	// Max sets dst to max(a, b), elementwise. dst may be a or b.
	Max func(dst, a, b []float32)
	// Affine sets dst to act(x · scale + shift) for rows of len(scale) numbers. A nil shift is zero.
	// dst may be x.
	Affine func(dst, x, scale, shift []float32, act Act)
	// Norm normalises rows of len(weight) numbers to mean 0 and variance 1, then scales and shifts
	// them (layer norm). dst may be x.
	Norm func(dst, x, weight, bias []float32, eps float32)
	// Softmax replaces rows of n numbers x by exp(scale·x) / Σ exp(scale·x).
	Softmax func(x []float32, n int, scale float32)
	// WinogradInput and WinogradOutput transform tiles; see [Winograd].
	WinogradInput, WinogradOutput func(w *Winograd)

	// GemmT multiplies a transposed matrix by another; see [GemmT].
	GemmT func(g *GemmT)
	// DepthwiseGrad derives a depthwise convolution by its weights; see [DepthwiseGrad].
	DepthwiseGrad func(d *DepthwiseGrad)
	// ActGrad sets dst to dy · act'(x). dst may be dy or x.
	ActGrad func(act Act, dst, dy, x []float32)
	// AffineGrad derives an affine map and an activation by columns; see [AffineGrad].
	AffineGrad func(g *AffineGrad)
	// Combine sets dst to x·a + y·b + c for rows of len(a) numbers. dst may be x or y.
	Combine func(dst, x, a, y, b, c []float32)
	// Moments adds to sum and squares the columns' sums of (x - pivot) and of (x - pivot)², for rows of
	// len(sum) numbers.
	Moments func(sum, squares, x, pivot []float32)
	// SumColumns adds the columns' sums of x, and DotColumns those of x·y, for rows of len(sum) numbers.
	SumColumns func(sum, x []float32)
	DotColumns func(sum, x, y []float32)
	// NormGrad derives Norm: it sets dst to the derivative by x and adds to those by weight and bias.
	// dst may be dy.
	NormGrad func(dst, dy, x, weight []float32, eps float32, dWeight, dBias []float32)
	// SoftmaxGrad sets dst to the derivative by what gave the rows y of n numbers in [Set.Softmax] of
	// scale 1. dst may be dy.
	SoftmaxGrad func(dst, dy, y []float32, n int)
	// MaxAt sets best to x and from to place where x is larger than best, or not a number.
	MaxAt func(best, from, x []float32, place float32)
	// AddWhere adds dy to dst where from equals place.
	AddWhere func(dst, dy, from []float32, place float32)
	// Adam takes a step of the optimizer; see [Adam].
	Adam func(a *Adam)
	// BF16 holds the kernels for bfloat16, nil where the processor has no instructions for it. With
	// them Gemm takes bfloat16 too.
	BF16 *BF16
}

// Act names an activation that a kernel applies to what it computed.
type Act int

// The activations, with PyTorch's definitions.
const (
	None Act = iota
	ReLU
	ReLU6
	SiLU
	HardSwish
	Sigmoid
	HardSigmoid
	GELU     // exact
	GELUTanh // tanh approximation
	Tanh
)

// Fused reports whether kernels apply the activation to their registers; others take a pass of their own.
func Fused(act Act) bool { return act <= HardSwish }

// Packed is the right-hand side of a [Gemm] and the bias of its columns, in panels of Width
// columns padded with zeros: for each panel the row of biases, then K rows of weights. With BF16 a row
// holds pairs of weights, and K counts those.
type Packed struct {
	N, K  int
	Width int // of the set
	Data  []float32
	BF16  bool
}

// Pack packs weights [n, k] (row-major, as Linear's are) and their biases [n], nil for zeros.
func (s *Set) Pack(weights, bias []float32, n, k int) Packed {
	p := s.Packed(n, k, make([]float32, s.PackedLen(n, k)))
	for j := range n {
		panel := p.panel(j / s.Width)[j%s.Width:]
		if bias != nil {
			panel[0] = bias[j]
		}
		row := weights[j*k : (j+1)*k]
		for i, w := range row {
			panel[(i+1)*s.Width] = w
		}
	}
	return p
}

// PackColumns packs a right-hand side [k, n] of rows that lie ld floats apart, without biases, into
// data, which must hold [Set.PackedLen] floats.
func (s *Set) PackColumns(data, rows []float32, n, k, ld int) Packed {
	p := s.Packed(n, k, data)
	for c := 0; c < n; c += s.Width {
		panel, w := p.panel(c/s.Width), min(s.Width, n-c)
		clear(panel[:s.Width])
		for i := range k {
			dst := panel[(i+1)*s.Width : (i+2)*s.Width]
			copy(dst, rows[i*ld+c:i*ld+c+w])
			clear(dst[w:])
		}
	}
	return p
}

// PackRows is [Set.Pack] without biases for rows [n, k] that lie ld floats apart, into data, which must
// hold [Set.PackedLen] floats.
func (s *Set) PackRows(data, rows []float32, n, k, ld int) Packed {
	p := s.Packed(n, k, data)
	for c := 0; c < n; c += s.Width {
		panel := p.panel(c / s.Width)
		clear(panel[:s.Width])
		for j := range s.Width {
			if c+j >= n {
				for i := range k {
					panel[(i+1)*s.Width+j] = 0
				}
				continue
			}
			for i, v := range rows[(c+j)*ld : (c+j)*ld+k] {
				panel[(i+1)*s.Width+j] = v
			}
		}
	}
	return p
}

// SetBias gives the columns their biases.
func (p *Packed) SetBias(bias []float32) {
	for j, b := range bias {
		p.panel(j / p.Width)[j%p.Width] = b
	}
}

// PackedLen returns how many floats [n, k] packed weights take.
func (s *Set) PackedLen(n, k int) int { return (n + s.Width - 1) / s.Width * s.Width * (k + 1) }

// Packed returns what data, of [Set.PackedLen] floats, holds.
func (s *Set) Packed(n, k int, data []float32) Packed {
	return Packed{N: n, K: k, Width: s.Width, Data: data[:s.PackedLen(n, k)]}
}

// Panel returns the i-th panel by itself.
func (p *Packed) Panel(i int) Packed {
	return Packed{N: min(p.Width, p.N-i*p.Width), K: p.K, Width: p.Width, Data: p.panel(i), BF16: p.BF16}
}

func (p *Packed) panel(i int) []float32 {
	size := (p.K + 1) * p.Width
	return p.Data[i*size : (i+1)*size]
}

// Gemm describes C = act(A·B + bias + Res): A is [M, K] with rows LDA floats apart, C and Res are
// [M, N] with rows LDC and LDR apart. Each element is summed over K in order, starting from its
// bias, with one rounding a step where the processor fuses multiplication and addition.
//
// Where B is of bfloat16, so is A, and C and Res can be: words of pairs, see [BF16]. Lengths of rows, steps
// and distances then count words.
type Gemm struct {
	M   int
	A   []float32
	LDA int
	// A row of A may lie in Segments of equal length, Step floats from one's start to the next one's,
	// as what a convolution's pixel sees does; rows may overlap. 0 means one segment.
	Segments, Step int
	B              Packed
	Res            []float32 // nil for none; may be C
	LDR            int
	C              []float32
	LDC            int
	Act            Act
	ResBF16, CBF16 bool
	// Fetch, if not nil, is what is brought to the cache meanwhile instead of C: rows LDF apart, of what whoever
	// reads C will write.
	Fetch []float32
	LDF   int
}

// words returns where column n, an even number, is in a row of C or Res.
func (g *Gemm) words(n int, bf16 bool) int {
	if bf16 {
		return n / 2
	}
	return n
}

// fused reports whether the kernel applies the activation to its registers.
func (g *Gemm) fused() bool { return Fused(g.Act) || g.B.BF16 && FusedBF16(g.Act) }

func (g *Gemm) check() {
	if g.M == 0 {
		return
	}
	segments := max(g.Segments, 1)
	if g.B.K%segments != 0 {
		panic("kernels: the segments of a row must be of equal length")
	}
	_ = g.A[(g.M-1)*g.LDA+(segments-1)*g.Step+g.B.K/segments-1]
	_ = g.C[(g.M-1)*g.LDC+g.words(g.B.N-1, g.CBF16)]
	if g.Res != nil {
		_ = g.Res[(g.M-1)*g.LDR+g.words(g.B.N-1, g.ResBF16)]
	}
	if (g.CBF16 || g.ResBF16) && !g.B.BF16 || g.CBF16 && !g.fused() {
		panic("kernels: a product can't yield bfloat16 of these operands or with this activation")
	}
	_ = g.B.panel((g.B.N - 1) / g.B.Width)
}

// portable, and what this processor has beside it, best first.
var sets = append(available(), &portable)

// Best returns the fastest set of this processor, or the one that the environment variable
// GRAFT_CPU names.
func Best() (*Set, error) {
	name := os.Getenv("GRAFT_CPU")
	if name == "" {
		return sets[0], nil
	}
	for _, s := range sets {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("GRAFT_CPU=%s: this processor has %v", name, Names())
}

// All returns every set that runs on this processor, best first; the last is the portable one.
func All() []*Set { return sets }

// Names lists the sets that run on this processor.
func Names() []string {
	names := make([]string, len(sets))
	for i, s := range sets {
		names[i] = s.Name
	}
	return names
}
