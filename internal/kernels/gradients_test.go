package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func testGemmT(t *testing.T, s *Set, seed uint64, m, n, k int, add bool) {
	r := rand.New(rand.NewPCG(seed, 3))
	lda, ldb, ldc := m+int(seed%3), n+int(seed%4), n+int(seed%2)
	g := GemmT{M: m, N: n, K: k, A: fill(r, (k-1)*lda+m, 1), LDA: lda, B: fill(r, (k-1)*ldb+n, 1), LDB: ldb, LDC: ldc, Add: add}
	start := fill(r, m*ldc, 1)
	var results [2][]float32
	for i, set := range []*Set{s, &portable} {
		results[i] = slices.Clone(start)
		g.C = results[i]
		if seed%2 == 0 {
			g.Scratch = make([]float32, k*(m+s.Width))
		}
		set.GemmT(&g)
	}
	compare(t, fmt.Sprintf("transposed gemm %d×%d×%d", m, n, k), results[0], results[1], 2e-6*float64(k+10))
	for i, v := range results[0] {
		if i%ldc >= n && v != start[i] {
			t.Fatalf("transposed gemm %d×%d×%d wrote outside its columns, at %d", m, n, k, i)
		}
	}
}

func TestGemmT(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for i, m := range []int{1, 2, 3, 5, 6, 7, 12, 13, 25, 40} {
			for j, n := range []int{1, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 70} {
				for l, k := range []int{1, 2, 7, 50} {
					testGemmT(t, s, uint64(i+j+l), m, n, k, (i+j)%2 == 0)
				}
			}
		}
		for m := 700; m < 714; m += 2 { // packed
			testGemmT(t, s, uint64(m), m, 805-m/100, 9, m%4 == 0)
		}
	})
}

func FuzzGemmT(f *testing.F) {
	f.Add(uint64(1), uint8(13), uint8(40), uint8(9), true)
	f.Fuzz(func(t *testing.T, seed uint64, m, n, k uint8, add bool) {
		for _, s := range All() {
			testGemmT(t, s, seed, int(m%64)+1, int(n%128)+1, int(k)+1, add)
		}
	})
}

func testDepthwiseGrad(t *testing.T, s *Set, seed uint64, rows, cols, c, kh, kw, stride, dilation int) {
	r := rand.New(rand.NewPCG(seed, 4))
	width := ((cols-1)*stride + (kw-1)*dilation + 1) * c
	height := (rows-1)*stride + (kh-1)*dilation + 1
	d := DepthwiseGrad{X: fill(r, height*width, 1), DY: fill(r, rows*cols*c, 1), C: c, Rows: rows, Cols: cols, KernelH: kh, KernelW: kw,
		RowX: stride * width, ColX: stride * c, TapH: dilation * width, TapW: dilation * c, RowDY: cols * c}
	start := fill(r, kh*kw*c, 1)
	var results [2][]float32
	for i, set := range []*Set{s, &portable} {
		results[i] = slices.Clone(start)
		d.DW = results[i]
		set.DepthwiseGrad(&d)
	}
	compare(t, fmt.Sprintf("depthwise gradient %d×%d×%d kernel %d×%d", rows, cols, c, kh, kw), results[0], results[1], 1e-5)
}

func TestDepthwiseGrad(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for kh := 1; kh <= 8; kh++ {
			for _, kw := range []int{1, 2, 3, 5, 7, 8} {
				for i, c := range []int{1, 7, 8, 16, 19, 40} {
					testDepthwiseGrad(t, s, uint64(kh+i), 1+kh%3, 1+c%5, c, kh, kw, 1+i%2, 1+kw%2)
				}
			}
		}
	})
}

func FuzzDepthwiseGrad(f *testing.F) {
	f.Add(uint64(1), uint8(4), uint8(5), uint8(20), uint8(3), uint8(3), uint8(2), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, rows, cols, c, kh, kw, stride, dilation uint8) {
		for _, s := range All() {
			testDepthwiseGrad(t, s, seed, int(rows%12)+1, int(cols%12)+1, int(c%70)+1, int(kh%9)+1, int(kw%9)+1, int(stride%3)+1, int(dilation%3)+1)
		}
	})
}

func TestActGrads(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for act := None; act <= Tanh; act++ {
			for _, scale := range []float64{1, 10, 80} {
				for n := range 70 {
					r := rand.New(rand.NewPCG(uint64(n), 5))
					x, dy, got, want := fill(r, n, scale), fill(r, n, 1), make([]float32, n), make([]float32, n)
					if n > 3 { // where slopes change
						copy(x, []float32{0, 6, 3, -3})
					}
					s.ActGrad(act, got, dy, x)
					portable.ActGrad(act, want, dy, x)
					compare(t, fmt.Sprintf("gradient of act %d", act), got, want, 2e-6)
				}
			}
		}
	})
}

func testColumns(t *testing.T, s *Set, seed uint64, rows, n int, act Act) {
	r := rand.New(rand.NewPCG(seed, 6))
	x, y := fill(r, rows*n, 3), fill(r, rows*n, 1)
	a, b, c := fill(r, n, 1), fill(r, n, 1), fill(r, n, 1)
	sums := fill(r, 2*n, 1)
	var maxima, found, added []float32
	check := func(what string, tol float64, f func(s *Set, dst, s0, s1 []float32)) {
		var dst, s0, s1 [2][]float32
		for i, set := range []*Set{s, &portable} {
			dst[i], s0[i], s1[i] = slices.Clone(y), slices.Clone(sums[:n]), slices.Clone(sums[n:])
			f(set, dst[i], s0[i], s1[i])
		}
		what = fmt.Sprintf("%s of %d×%d, act %d", what, rows, n, act)
		compare(t, what, dst[0], dst[1], tol)
		compare(t, what+", first sums", s0[0], s0[1], tol*float64(10+rows))
		compare(t, what+", second sums", s1[0], s1[1], tol*float64(10+rows))
	}
	check("affine", 2e-6, func(s *Set, dst, _, _ []float32) { s.Affine(dst, x, a, b, act) })
	check("affine gradient", 3e-6, func(s *Set, dst, s0, s1 []float32) {
		s.AffineGrad(&AffineGrad{Dst: dst, DY: dst, X: x, Scale: fill(rand.New(rand.NewPCG(1, 1)), n, 0.3), Shift: b, Mean: c, Sum: s0, Product: s1, Act: act})
	})
	check("moments", 2e-6, func(s *Set, _, s0, s1 []float32) { s.Moments(s0, s1, x, a) })
	check("combination", 2e-6, func(s *Set, dst, _, _ []float32) { s.Combine(dst, x, a, dst, b, c) })
	check("sums", 2e-6, func(s *Set, _, s0, _ []float32) { s.SumColumns(s0, x) })
	check("products", 2e-6, func(s *Set, _, s0, _ []float32) { s.DotColumns(s0, x, y) })
	places := make([]float32, len(x))
	for i := range places {
		places[i] = float32(r.IntN(3))
	}
	x[0] = float32(math.NaN())
	for i, set := range []*Set{s, &portable} {
		best, from, to := slices.Clone(y), slices.Clone(places), slices.Clone(y)
		set.MaxAt(best, from, x, 7)
		set.AddWhere(to, x, places, 1)
		if i == 0 {
			maxima, found, added = best, from, to
			continue
		}
		if best[0] == best[0] || maxima[0] == maxima[0] {
			t.Fatal("the maximum of a number and none is a number")
		}
		if !slices.Equal(maxima[1:], best[1:]) || !slices.Equal(found, from) || !slices.Equal(added[1:], to[1:]) {
			t.Fatalf("maxima or selected sums of %d×%d differ", rows, n)
		}
	}
	x[0] = 1
	check("step of Adam", 1e-5, func(s *Set, dst, _, _ []float32) {
		first, second := slices.Clone(y), make([]float32, len(y))
		for i, v := range y {
			second[i] = v * v
		}
		s.Adam(&Adam{Param: dst, First: first, Second: second, Grad: x, Rate1: 0.1, Beta2: 0.99, Rate2: 0.01, Size: 0.01, Root: 0.3, Eps: 1e-3, Keep: 0.9, Decay: 0.1})
		for i := range dst {
			dst[i] += first[i] + second[i]
		}
	})
	check("norm gradient", 2e-5, func(s *Set, dst, s0, s1 []float32) { s.NormGrad(dst, dst, x, a, 1e-2, s0, s1) })
	check("softmax gradient", 1e-5, func(s *Set, dst, _, _ []float32) { s.SoftmaxGrad(dst, dst, x, n) })
}

func TestColumns(t *testing.T) {
	forEach(t, func(t *testing.T, s *Set) {
		for n := 1; n < 90; n++ {
			testColumns(t, s, uint64(n), 1+n%5, n, Act(n%10))
		}
	})
}

func FuzzColumns(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(40), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, rows, n, act uint8) {
		for _, s := range All() {
			testColumns(t, s, seed, int(rows%20)+1, int(n%120)+1, Act(act%10))
		}
	})
}
