package kernels

import (
	"fmt"
	"math"
	"os"
)

// BF16 are kernels for bfloat16: the upper half of a float32, rounded to nearest even. Two of them, a
// pair, share a word of a []float32, the first in the word's lower half, so that the same memory can
// hold either type. Numbers too small for a normal float32 count as zero.
type BF16 struct {
	// Narrow rounds numbers to pairs; a last number alone leaves the other half of its word as it is.
	Narrow func(dst, x []float32)
	// Widen sets dst to the numbers of x.
	Widen func(dst, x []float32)
	// Pair sets dst, of twice the words, to the pairs that the numbers of a make with those of b.
	Pair func(dst, a, b []float32)
	// WinogradInput and WinogradOutput transform the tiles of F(2×2, 3×3); see [Winograd].
	WinogradInput, WinogradOutput func(w *Winograd)
}

// FusedBF16 reports whether a product of bfloat16 can apply the activation and yield bfloat16.
func FusedBF16(act Act) bool { return Fused(act) || act == GELU }

// BestBF16 returns the set that [Best] does, or an error if it has no kernels for bfloat16 that are
// faster than those for float32. The portable one must be asked for by GRAFT_CPU.
func BestBF16() (*Set, error) {
	set, err := Best()
	if err != nil {
		return nil, err
	}
	if set.BF16 == nil || set == &portable && os.Getenv("GRAFT_CPU") == "" {
		return nil, fmt.Errorf("the %s kernels have none for bfloat16, which takes a processor with AVX512-BF16, such as AMD's since Zen 4 and Intel's Xeon since Sapphire Rapids: use fp32", set.Name)
	}
	return set, nil
}

// PackBF16 is [Set.Pack] for bfloat16; k must be even.
func (s *Set) PackBF16(weights, bias []float32, n, k int) Packed {
	if k%2 != 0 {
		panic("kernels: a product of bfloat16 takes an even K")
	}
	p := s.Pack(Pairs(weights), bias, n, k/2)
	p.BF16 = true
	return p
}

// Pairs rounds an even number of numbers to words.
func Pairs(x []float32) []float32 {
	words := make([]float32, len(x)/2)
	narrowPortable(words, x)
	return words
}

// PackColumns is the function of that name for rows of bfloat16: an odd last row is paired with zeros.
// data must hold [Set.PackedLen] words of rows of (k+1)/2.
func (s *BF16) PackColumns(data, rows []float32, n, k, ld int) Packed {
	p := Packed{N: n, K: (k + 1) / 2, Width: mostColumns, Data: data, BF16: true}
	var zeros [mostColumns / 2]float32
	for c := 0; c < n; c += mostColumns {
		panel, w := p.panel(c/mostColumns), min(mostColumns, n-c)/2
		clear(panel[:mostColumns])
		for i := range p.K {
			a, b := rows[2*i*ld+c/2:][:w], zeros[:w]
			if 2*i+1 < k {
				b = rows[(2*i+1)*ld+c/2:][:w]
			}
			dst := panel[(i+1)*mostColumns:][:mostColumns]
			s.Pair(dst, a, b)
			clear(dst[2*w:])
		}
	}
	return p
}

// narrowed is v rounded to bfloat16.
func narrowed(v float32) uint16 {
	bits := math.Float32bits(v)
	switch {
	case bits&0x7fffffff > 0x7f800000: // keep NaN
		return uint16(bits>>16) | 0x40
	case bits&0x7f800000 == 0:
		return uint16(bits >> 16 & 0x8000)
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func narrowPortable(dst, x []float32) {
	for i, v := range x {
		word, shift := math.Float32bits(dst[i/2]), i%2*16
		word = word&^(0xffff<<shift) | uint32(narrowed(v))<<shift
		dst[i/2] = math.Float32frombits(word)
	}
}

func widenPortable(dst, x []float32) {
	for i := range dst {
		low, high := numbersOf(x[i/2])
		dst[i] = low
		if i%2 == 1 {
			dst[i] = high
		}
	}
}

func pairPortable(dst, a, b []float32) {
	for i, v := range a {
		x, y := math.Float32bits(v), math.Float32bits(b[i])
		dst[2*i] = math.Float32frombits(x&0xffff | y<<16)
		dst[2*i+1] = math.Float32frombits(x>>16 | y&0xffff0000)
	}
}

// numbersOf returns the numbers of a pair.
func numbersOf(word float32) (low, high float32) {
	bits := math.Float32bits(word)
	return math.Float32frombits(bits << 16), math.Float32frombits(bits & 0xffff0000)
}

func gemmBF16Portable(g *Gemm) {
	row, res := make([]float32, g.B.N), make([]float32, g.B.N)
	for i := range g.M {
		for j := range row {
			panel := g.B.panel(j / g.B.Width)[j%g.B.Width:]
			sum := panel[0]
			for k, pair := range g.A[i*g.LDA : i*g.LDA+g.B.K] {
				a, b := numbersOf(pair)
				c, d := numbersOf(panel[(k+1)*g.B.Width])
				sum += b * d
				sum += a * c
			}
			row[j] = sum
		}
		if g.Res != nil {
			if g.ResBF16 {
				widenPortable(res, g.Res[i*g.LDR:])
			} else {
				copy(res, g.Res[i*g.LDR:])
			}
			for j, v := range res {
				row[j] += v
			}
		}
		actPortable(g.Act, row)
		if g.CBF16 {
			narrowPortable(g.C[i*g.LDC:], row)
		} else {
			copy(g.C[i*g.LDC:], row)
		}
	}
}
