package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// forEachBF16 is forEach for the sets with bfloat16.
func forEachBF16(t *testing.T, f func(t *testing.T, s *Set)) {
	found := false
	for _, s := range All() {
		if s.BF16 != nil && s != &portable {
			found = true
			t.Run(s.Name, func(t *testing.T) { f(t, s) })
		}
	}
	if !found {
		t.Skip("this processor has no instructions for bfloat16")
	}
}

// pairs is x rounded to bfloat16.
func pairs(x []float32) []float32 {
	words := make([]float32, (len(x)+1)/2+1)[1:]
	narrowPortable(words, x)
	return words
}

func widened(words []float32) []float32 {
	x := make([]float32, 2*len(words))
	widenPortable(x, words)
	return x
}

func TestPair(t *testing.T) {
	forEachBF16(t, func(t *testing.T, s *Set) {
		for n := range 70 {
			r := rand.New(rand.NewPCG(1, 0))
			a, b := pairs(fill(r, 2*n, 1)), pairs(fill(r, 2*n, 1))
			got, want := slices.Repeat([]float32{1}, 2*n+1), slices.Repeat([]float32{1}, 2*n+1)
			s.BF16.Pair(got[:2*n], a[:n], b[:n])
			pairPortable(want[:2*n], a[:n], b[:n])
			if !slices.Equal(got, want) {
				t.Fatalf("%d words: %v, want %v", n, got, want)
			}
		}
	})
}

func TestNarrow(t *testing.T) {
	for bits, want := range map[uint32]uint16{
		0x3f800000: 0x3f80, 0x3f808000: 0x3f80, 0x3f808001: 0x3f81, 0x3f818000: 0x3f82, // ties go to even
		0x7f7fffff: 0x7f80, 0x7f800000: 0x7f80, 0xff800000: 0xff80, 0x80000001: 0x8000, 0x007fffff: 0, 0x7f800001: 0x7fc0,
	} {
		if got := narrowed(math.Float32frombits(bits)); got != want {
			t.Errorf("%08x becomes %04x, want %04x", bits, got, want)
		}
	}
	forEachBF16(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(1, 0))
		for n := range 150 {
			x := fill(r, n, 100)
			for i := range x {
				if r.IntN(4) == 0 {
					x[i] = math.Float32frombits(r.Uint32())
				}
			}
			const guard = 12345
			got, want := slices.Repeat([]float32{guard}, n/2+2), slices.Repeat([]float32{guard}, n/2+2)
			s.BF16.Narrow(got[:(n+1)/2], x)
			narrowPortable(want[:(n+1)/2], x)
			for i, w := range want {
				if g := got[i]; math.Float32bits(g) != math.Float32bits(w) {
					t.Fatalf("word %d of %d numbers is %08x, want %08x", i, n, math.Float32bits(g), math.Float32bits(w))
				}
			}
			wide, wantWide := slices.Repeat([]float32{guard}, n+1), slices.Repeat([]float32{guard}, n+1)
			s.BF16.Widen(wide[:n], want)
			widenPortable(wantWide[:n], want)
			for i, w := range wantWide {
				if math.Float32bits(wide[i]) != math.Float32bits(w) {
					t.Fatalf("number %d of %d is %v, want %v", i, n, wide[i], w)
				}
			}
		}
	})
}

// testGemmBF16 multiplies m × k by k × n; kind says whether there is a residual and what is bfloat16.
func testGemmBF16(t *testing.T, s *Set, seed uint64, m, n, k int, act Act, kind int) {
	r := rand.New(rand.NewPCG(seed, 0))
	k *= 2
	g := Gemm{M: m, LDA: k/2 + int(seed%3), B: s.PackBF16(fill(r, n*k, 1), fill(r, n, 1), n, k), LDC: n + int(seed%2), Act: act}
	g.A = pairs(fill(r, 2*m*g.LDA, 1))
	if kind&1 != 0 {
		g.LDR = n + int(seed%5)
		g.Res = fill(r, m*g.LDR, 1)
		if g.ResBF16 = kind&2 != 0; g.ResBF16 {
			g.LDR = (n + 1) / 2
			g.Res = pairs(fill(r, 2*m*g.LDR, 1))
		}
	}
	if g.CBF16 = kind&4 != 0 && n%2 == 0 && FusedBF16(act); g.CBF16 {
		g.LDC = n/2 + int(seed%2)
	}
	const guard = 12345
	results := make([][]float32, 2)
	for i, set := range []*Set{s, &portable} {
		results[i] = slices.Repeat([]float32{guard}, m*g.LDC+1)
		g.C = results[i][:m*g.LDC]
		set.Gemm(&g)
	}
	what := fmt.Sprintf("gemm %d×%d×%d act %d kind %d", m, n, k, act, kind)
	words, tolerance := n, 4e-6*float64(k+10)
	if g.CBF16 {
		words, tolerance = n/2, tolerance+1.0/128
	}
	for i, v := range results[0] {
		if (i >= m*g.LDC || i%g.LDC >= words) && v != guard {
			t.Fatalf("%s wrote outside its columns, at %d", what, i)
		}
	}
	if g.CBF16 {
		for i := range results {
			results[i] = widened(results[i])
		}
	}
	compare(t, what, results[0], results[1], tolerance)
}

func TestGemmBF16(t *testing.T) {
	forEachBF16(t, func(t *testing.T, s *Set) {
		for i, m := range []int{1, 2, 3, 4, 5, 7, 11, 12, 13, 23, 49} {
			for j, n := range []int{1, 2, 8, 15, 16, 17, 24, 31, 32, 34, 48, 65, 100} {
				for l, k := range []int{1, 2, 3, 4, 5, 9, 32} {
					testGemmBF16(t, s, uint64(i+j+l), m, n, k, Act((i+j+l)%10), (i+2*j+3*l)%8)
				}
			}
		}
	})
}

func FuzzGemmBF16(f *testing.F) {
	f.Add(uint64(1), uint8(13), uint8(40), uint8(9), uint8(3), uint8(7))
	f.Fuzz(func(t *testing.T, seed uint64, m, n, k, act, kind uint8) {
		for _, s := range All() {
			if s.BF16 != nil {
				testGemmBF16(t, s, seed, int(m%64)+1, int(n%128)+1, int(k%64)+1, Act(act%10), int(kind%8))
			}
		}
	})
}

func testWinogradBF16(t *testing.T, s *Set, seed uint64, count, blocks int, act Act, kind int) {
	r := rand.New(rand.NewPCG(seed, 0))
	c := 16 * blocks
	in := Winograd{Count: count, C: c, Row: (2*count + 3) * c / 2, Pixel: c / 2, Stride: count*c/2 + 5}
	in.Image = pairs(fill(r, 2*4*in.Row, 1))
	out := Winograd{Count: count, C: c, Row: (2*count + 3) * c, Pixel: c, Stride: count*c + 5,
		Tiles: fill(r, 16*(count*c+5), 1), Bias: fill(r, c, 1), Act: act, BF16: kind&1 != 0}
	if kind&2 != 0 {
		out.Res = fill(r, 2*out.Row, 1)
	}
	if out.BF16 {
		out.Row, out.Pixel = out.Row/2, out.Pixel/2
		if out.Res != nil {
			out.Res = pairs(out.Res)
		}
	}
	var tiles, images [2][]float32
	for i, set := range []*Set{s, &portable} {
		in, out := in, out
		tiles[i], images[i] = make([]float32, 16*in.Stride), make([]float32, 2*out.Row)
		in.Tiles, out.Image = tiles[i], images[i]
		set.BF16.WinogradInput(&in)
		set.BF16.WinogradOutput(&out)
		tiles[i] = widened(tiles[i])
		if out.BF16 {
			images[i] = widened(images[i])
		}
	}
	compare(t, "winograd input", tiles[0], tiles[1], 1.0/128)
	tolerance := 1e-5
	if out.BF16 {
		tolerance = 1.0 / 128
	}
	compare(t, fmt.Sprintf("winograd output act %d kind %d", act, kind), images[0], images[1], tolerance)
}

func TestWinogradBF16(t *testing.T) {
	forEachBF16(t, func(t *testing.T, s *Set) {
		for count := 1; count < 6; count++ {
			for blocks := 1; blocks < 4; blocks++ {
				for kind := range 4 {
					testWinogradBF16(t, s, uint64(count), count, blocks, Act(count+blocks)%(HardSwish+1), kind)
				}
			}
		}
	})
}

func FuzzWinogradBF16(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(2), uint8(1), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, count, blocks, act, kind uint8) {
		for _, s := range All() {
			if s.BF16 != nil {
				testWinogradBF16(t, s, seed, int(count%20)+1, int(blocks%6)+1, Act(act)%(HardSwish+1), int(kind%4))
			}
		}
	})
}

// TestWinogradBF16Convolves computes a 3 × 3 convolution by transforms and products.
func TestWinogradBF16Convolves(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	const in, out, size = 16, 32, 4
	x, weights, bias := fill(r, size*size*in, 1), fill(r, out*9*in, 1), fill(r, out, 1)
	for _, s := range All() {
		if s.BF16 == nil {
			continue
		}
		packed := s.WinogradWeightsBF16(weights, out, in)
		v, m, y := make([]float32, 16*in/2), make([]float32, 16*out), make([]float32, 4*out)
		s.BF16.WinogradInput(&Winograd{Count: 1, C: in, Image: pairs(x), Row: size * in / 2, Pixel: in / 2, Tiles: v, Stride: in / 2})
		for p := range packed {
			s.Gemm(&Gemm{M: 1, A: v[p*in/2:], LDA: in / 2, B: packed[p], C: m[p*out:], LDC: out})
		}
		s.BF16.WinogradOutput(&Winograd{Count: 1, C: out, Image: y, Row: 2 * out, Pixel: out, Tiles: m, Stride: out, Bias: bias})
		for p := range 4 {
			for o := range out {
				want, scale := float64(bias[o]), 0.0
				for k := range 9 {
					for i := range in {
						v := float64(x[((p/2+k/3)*size+p%2+k%3)*in+i]) * float64(weights[(o*9+k)*in+i])
						want, scale = want+v, scale+v*v
					}
				}
				// Four times the standard deviation of a sum of rounding errors.
				if got := y[p*out+o]; math.Abs(float64(got)-want) > 4*math.Sqrt(scale)/256 {
					t.Fatalf("%s: pixel %d of channel %d is %v, want %v", s.Name, p, o, got, want)
				}
			}
		}
	}
}
