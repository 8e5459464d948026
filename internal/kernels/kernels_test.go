package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// fill returns n uniform numbers in [-scale, scale), starting at an odd address.
func fill(r *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n+1)[1:]
	for i := range x {
		x[i] = float32((2*r.Float64() - 1) * scale)
	}
	return x
}

// compare fails where got differs from want by more than tol, relative to max(1, |want|).
func compare(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	for i, w := range want {
		g := float64(got[i])
		if d := math.Abs(g - float64(w)); !(d <= tol*max(1, math.Abs(float64(w)))) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, g, w)
		}
	}
}

// forEach runs a test for each set of this processor but the portable one, which is the reference.
func forEach(t *testing.T, f func(t *testing.T, s *Set)) {
	for _, s := range All() {
		if s != &portable {
			t.Run(s.Name, func(t *testing.T) { f(t, s) })
		}
	}
}

func testGemm(t *testing.T, s *Set, seed uint64, m, n, k int, act Act, residual bool) {
	r := rand.New(rand.NewPCG(seed, 0))
	lda, ldc, ldr := k+int(seed%3), n+int(seed%2), n+int(seed%5)
	const guard = 12345
	g := Gemm{M: m, A: fill(r, m*lda, 1), LDA: lda, B: s.Pack(fill(r, n*k, 1), fill(r, n, 1), n, k), LDC: ldc, LDR: ldr, Act: act}
	if residual {
		g.Res = fill(r, m*ldr, 1)
	}
	results := make([][]float32, 2)
	for i, set := range []*Set{s, &portable} {
		results[i] = slices.Repeat([]float32{guard}, m*ldc+1)
		g.C = results[i][:m*ldc]
		set.Gemm(&g)
	}
	compare(t, fmt.Sprintf("gemm %d×%d×%d act %d", m, n, k, act), results[0], results[1], 2e-6*float64(k+10))
	for i, v := range results[0] {
		if (i >= m*ldc || i%ldc >= n) && v != guard {
			t.Fatalf("gemm %d×%d×%d wrote outside its columns, at %d", m, n, k, i)
		}
	}
}

func TestGemm(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for i, m := range []int{1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 49} {
			for j, n := range []int{1, 3, 8, 15, 16, 17, 24, 31, 32, 33, 48, 65, 100} {
				for l, k := range []int{1, 2, 3, 4, 5, 7, 8, 27, 64} {
					testGemm(t, s, uint64(i+j+l), m, n, k, Act((i+j+l)%10), (j+l)%2 == 0)
				}
			}
		}
	})
}

// TestGemmSegments computes with rows in segments that overlap, and with the same rows copied.
func TestGemmSegments(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 0))
	const m, n, segments, k, lda, step = 29, 33, 3, 7, 4, 150
	a, weights := fill(r, (m-1)*lda+(segments-1)*step+k, 1), fill(r, n*segments*k, 1)
	for _, s := range All() {
		b := s.Pack(weights, nil, n, segments*k)
		got, want := make([]float32, m*n), make([]float32, m*n)
		g := Gemm{M: m, A: a, LDA: lda, Segments: segments, Step: step, B: b, C: got, LDC: n}
		s.Gemm(&g)
		j := g.joined()
		j.C = want
		s.Gemm(j)
		if !slices.Equal(got, want) {
			t.Errorf("%s: rows in segments give another result", s.Name)
		}
	}
}

func FuzzGemm(f *testing.F) {
	f.Add(uint64(1), uint8(13), uint8(40), uint8(9), uint8(3), true)
	f.Fuzz(func(t *testing.T, seed uint64, m, n, k, act uint8, residual bool) {
		for _, s := range All() {
			testGemm(t, s, seed, int(m%64)+1, int(n%128)+1, int(k%128)+1, Act(act%10), residual)
		}
	})
}

// TestGemmRows checks that a row's result doesn't depend on the rows beside it.
func TestGemmRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	const m, n, k = 29, 70, 53
	a, weights, bias := fill(r, m*k, 1), fill(r, n*k, 1), fill(r, n, 1)
	for _, s := range All() {
		b := s.Pack(weights, bias, n, k)
		together := make([]float32, m*n)
		s.Gemm(&Gemm{M: m, A: a, LDA: k, B: b, C: together, LDC: n, Act: SiLU})
		for i := range m {
			alone := make([]float32, n)
			s.Gemm(&Gemm{M: 1, A: a[i*k:], LDA: k, B: b, C: alone, LDC: n, Act: SiLU})
			if !slices.Equal(alone, together[i*n:(i+1)*n]) {
				t.Errorf("%s: row %d alone differs", s.Name, i)
			}
		}
	}
}

func testDepthwise(t *testing.T, s *Set, seed uint64, h, w, c, kernel, stride, dilation, pad int, act Act) {
	r := rand.New(rand.NewPCG(seed, 0))
	left := max(pad-int(seed/2%2), 0) // not always as on the right
	out := func(size, pads int) int { return (size+pads-dilation*(kernel-1)-1)/stride + 1 }
	d := Depthwise{X: fill(r, h*w*c, 1), H: h, W: w, C: c, OutH: out(h, 2*pad), OutW: out(w, left+pad), KernelH: kernel, KernelW: kernel,
		StrideH: stride, StrideW: stride, DilationH: dilation, DilationW: dilation, Top: pad, Left: left,
		Act: act}
	d.Pack(fill(r, kernel*kernel*c, 1), fill(r, c, 1))
	if d.OutH <= 0 || d.OutW <= 0 || h+2*pad < dilation*(kernel-1)+1 || w+left+pad < dilation*(kernel-1)+1 {
		return
	}
	what := fmt.Sprintf("%s: depthwise %d×%d×%d kernel %d stride %d dilation %d pad %d and %d act %d", s.Name, h, w, c, kernel, stride, dilation, left, pad, act)
	d.BF16 = s.BF16 != nil && c%2 == 0 && seed%2 == 0 && Fused(act)
	compute := func(set *Set, bounds ...int) (y, sums []float32) {
		d := d
		d.Y = make([]float32, d.OutH*d.OutW*d.words(c))
		if Fused(act) {
			d.Sums = make([]float32, d.OutH*c)
		}
		for i, to := range append(bounds, d.OutH) {
			if d.From = 0; i > 0 {
				d.From = bounds[i-1]
			}
			d.To = to
			set.Depthwise(&d)
		}
		return d.Y, d.Sums
	}
	y, sums := compute(s)
	// In parts, as threads would.
	parts, partSums := compute(s, d.OutH/4*2, d.OutH/2/2*2)
	if !sameBits(y, parts) || !sameBits(sums, partSums) {
		t.Errorf("%s: parts give other bits", what)
	}
	// By panels of channels, each of an image of its own.
	panels, panelSums := make([]float32, len(y)), make([]float32, len(sums))
	whole := d
	whole.Y, whole.Sums, whole.To = panels, panelSums, d.OutH
	if sums == nil {
		whole.Sums = nil
	}
	for first := 0; first < c; first += 32 {
		p := whole.Channels(first, min(first+32, c))
		for i := range h * w {
			p.X = append(p.X, d.X[i*c+first:i*c+first+p.C]...)
		}
		s.Depthwise(&p)
	}
	if !sameBits(y, panels) || !sameBits(sums, panelSums) {
		t.Errorf("%s: panels of channels give other bits", what)
	}
	want, wantSums := compute(&portable)
	tolerance := 1e-5
	if d.BF16 {
		tolerance = 1.0 / 128
		y, want = widened(y), widened(want)
	}
	compare(t, what, y, want, tolerance)
	compare(t, what+" sums", sums, wantSums, 1e-4)
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

func TestDepthwise(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for i, size := range []int{1, 2, 5, 7, 14, 19} {
			for j, c := range []int{1, 7, 8, 15, 16, 17, 32, 40} {
				for l, kernel := range []int{1, 3, 5, 7} {
					for stride := 1; stride <= 2; stride++ {
						testDepthwise(t, s, uint64(i), size, size+i%3, c, kernel, stride, 1+(i+l)%2, kernel/2, Act((i+j+l)%10))
					}
				}
			}
		}
	})
}

func FuzzDepthwise(f *testing.F) {
	f.Add(uint64(1), uint8(9), uint8(13), uint8(20), uint8(3), uint8(2), uint8(1), uint8(1), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, h, w, c, kernel, stride, dilation, pad, act uint8) {
		for _, s := range All() {
			testDepthwise(t, s, seed, int(h%40)+1, int(w%40)+1, int(c%70)+1, int(kernel%9)+1, int(stride%3)+1,
				int(dilation%3)+1, int(pad%5), Act(act%10))
		}
	})
}

func TestActs(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for act := None; act <= Tanh; act++ {
			for _, scale := range []float64{1, 10, 100, 1000} {
				for n := range 70 {
					x := fill(rand.New(rand.NewPCG(uint64(n), 1)), n, scale)
					y := slices.Clone(x)
					s.Act(act, x)
					portable.Act(act, y)
					tolerance := 5e-7
					if act == GELU {
						tolerance = 2e-6
					}
					compare(t, fmt.Sprintf("act %d", act), x, y, tolerance)
				}
			}
		}
	})
}

func TestRows(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for n := 1; n < 80; n++ {
			r := rand.New(rand.NewPCG(uint64(n), 2))
			const rows = 3
			x, w, b := fill(r, rows*n, 5), fill(r, n, 1), fill(r, n, 1)
			got, want := make([]float32, rows*n), make([]float32, rows*n)
			run := func(what string, tol float64, f func(s *Set, dst []float32)) {
				copy(got, x)
				copy(want, x)
				f(s, got)
				f(&portable, want)
				compare(t, fmt.Sprintf("%s of %d", what, n), got, want, tol)
			}
			run("norm", 2e-5, func(s *Set, dst []float32) { s.Norm(dst, dst, w, b, 1e-5) })
			run("softmax", 2e-6, func(s *Set, dst []float32) { s.Softmax(dst, n, 0.3) })
			run("affine", 1e-6, func(s *Set, dst []float32) { s.Affine(dst, dst, w, b, ReLU) })
			run("affine without shift", 1e-6, func(s *Set, dst []float32) { s.Affine(dst, dst, w, nil, None) })
			run("add", 0, func(s *Set, dst []float32) { s.Add(dst, dst, x, ReLU6) })
			run("mul", 0, func(s *Set, dst []float32) { s.Mul(dst, dst, x) })
			run("max", 0, func(s *Set, dst []float32) { s.Max(dst, dst, x[:len(dst)]) })
		}
	})
}

func testWinograd(t *testing.T, s *Set, seed uint64, count, blocks int, act Act) {
	r := rand.New(rand.NewPCG(seed, 0))
	c := 16 * blocks
	in := Winograd{Count: count, C: c, Row: (4*count + 3) * c, Pixel: c, Stride: count*c + 5}
	in.Image = fill(r, 6*in.Row, 1)
	var got, want [2][]float32
	for i, set := range []*Set{s, &portable} {
		w := in
		got[i] = make([]float32, 36*w.Stride)
		w.Tiles = got[i]
		set.WinogradInput(&w)
	}
	compare(t, "winograd input", got[0], got[1], 2e-5)
	for i, set := range []*Set{s, &portable} {
		w := in
		want[i] = make([]float32, 4*w.Row)
		w.Image, w.Tiles, w.Bias, w.Act = want[i], got[1], in.Image[:c], act
		if seed%2 == 0 {
			w.Res = in.Image
		}
		set.WinogradOutput(&w)
		over := w
		over.Image = slices.Clone(in.Image[:len(w.Image)])
		if w.Res != nil { // the result written over what is added
			over.Res = over.Image
			set.WinogradOutput(&over)
			compare(t, "winograd output over the residual", over.Image[:4*count*c], w.Image[:4*count*c], 0)
		}
	}
	compare(t, fmt.Sprintf("winograd output act %d", act), want[0], want[1], 1e-4)
}

func TestWinograd(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for count := 1; count < 6; count++ {
			for blocks := 1; blocks < 4; blocks++ {
				testWinograd(t, s, uint64(count), count, blocks, Act(count+blocks)%10)
			}
		}
	})
}

func FuzzWinograd(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(2), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, count, blocks, act uint8) {
		for _, s := range All() {
			testWinograd(t, s, seed, int(count%20)+1, int(blocks%6)+1, Act(act%10))
		}
	})
}

// TestWinogradConvolves computes a 3 × 3 convolution by transforms and products.
func TestWinogradConvolves(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	const in, out, size = 16, 32, 6
	x, weights, bias := fill(r, size*size*in, 1), fill(r, out*9*in, 1), fill(r, out, 1)
	for _, s := range All() {
		packed := s.WinogradWeights(weights, out, in)
		v, m, y := make([]float32, 36*in), make([]float32, 36*out), make([]float32, 16*out)
		s.WinogradInput(&Winograd{Count: 1, C: in, Image: x, Row: size * in, Pixel: in, Tiles: v, Stride: in})
		for p := range packed {
			s.Gemm(&Gemm{M: 1, A: v[p*in:], LDA: in, B: packed[p], C: m[p*out:], LDC: out})
		}
		s.WinogradOutput(&Winograd{Count: 1, C: out, Image: y, Row: 4 * out, Pixel: out, Tiles: m, Stride: out, Bias: bias})
		for oy := range 4 {
			for ox := range 4 {
				for o := range out {
					want := float64(bias[o])
					for k := range 9 {
						for i := range in {
							want += float64(x[((oy+k/3)*size+ox+k%3)*in+i]) * float64(weights[(o*9+k)*in+i])
						}
					}
					if got := y[(oy*4+ox)*out+o]; math.Abs(float64(got)-want) > 1e-4 {
						t.Fatalf("%s: pixel (%d, %d) of channel %d is %v, want %v", s.Name, oy, ox, o, got, want)
					}
				}
			}
		}
	}
}
