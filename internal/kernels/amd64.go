//go:build amd64

package kernels

import (
	"math"
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go run -C asm . -set avx512 -out ../avx512_amd64.s -stubs ../avx512_amd64.go -pkg kernels
//go:generate go run -C asm . -set avx512bf16 -out ../avx512bf16_amd64.s -stubs ../avx512bf16_amd64.go -pkg kernels
//go:generate go run -C asm . -set avx2 -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg kernels

func available() []*Set {
	var sets []*Set
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasBMI2 {
		set := avx512.set()
		if cpu.X86.HasAVX512BF16 && cpu.X86.HasAVX512BW {
			set.BF16 = &BF16{Narrow: narrow, Widen: widen, Pair: pair, WinogradInput: winogradInputBF16, WinogradOutput: winogradOutputBF16}
		}
		sets = append(sets, set)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 {
		sets = append(sets, avx2.set())
	}
	return sets
}

// simd holds the assembly of one instruction set. Its functions take pointers to the first of n
// numbers, and n may be 0 only where the wrapper below makes sure of it.
type simd struct {
	name         string
	lanes        int
	longestRow   int
	act          func(x *float32, n, act int)
	add          func(dst, a, b *float32, n int)
	mul          func(dst, a, b *float32, n int)
	max          func(dst, a, b *float32, n int)
	sum          func(x *float32, n int) float32
	top          func(x *float32, n int) float32
	squares      func(x *float32, n int, mean float32) float32
	normalise    func(dst, x, weight, bias *float32, n int, mean, scale float32)
	exponentials func(x *float32, n int, top, scale float32) float32
	scale        func(x *float32, n int, by float32)

	gemmT                                                      func(a *byte)
	columnsAffine, columnsMoments, columnsGrad, columnsCombine func(a *byte)
	columnsSum, columnsDot                                     func(a *byte)
	tapKernels                                                 []tapKernel // largest first; the last has one tap
	actGrad                                                    func(dst, dy, x *float32, n, act int)
	dot                                                        func(x, y *float32, n int) float32
	maxAt                                                      func(best, from, x *float32, n int, place float32)
	addWhere                                                   func(dst, dy, from *float32, n int, place float32)
	adam                                                       func(param, first, second, grad *float32, n int, rate1, beta2, rate2, size, root, eps, keep, decay float32)
	softmaxGrad                                                func(dst, dy, y *float32, n int, dot float32)
	normSums                                                   func(dy, x, weight *float32, n int, mean, scale float32) (sum, product float32)
	normGrad                                                   func(dst, dy, x, weight, dWeight, dBias *float32, n int, mean, scale, sum, product float32)
}

var avx512 = simd{name: "avx512", lanes: 16, longestRow: 768,
	act: actAVX512, add: addAVX512, mul: mulAVX512, max: maxAVX512, sum: sumAVX512, top: topAVX512,
	squares: squaresAVX512, normalise: normaliseAVX512, exponentials: exponentialsAVX512, scale: scaleAVX512,
	gemmT: gemmTAVX512, columnsAffine: columnsAffineAVX512, columnsMoments: columnsMomentsAVX512,
	columnsGrad: columnsGradAVX512, columnsCombine: columnsCombineAVX512, columnsSum: columnsSumAVX512,
	columnsDot: columnsDotAVX512, actGrad: actGradAVX512, dot: dotAVX512, maxAt: maxAtAVX512, addWhere: addWhereAVX512, adam: adamAVX512, softmaxGrad: softmaxGradAVX512,
	normSums: normSumsAVX512, normGrad: normGradAVX512,
	tapKernels: []tapKernel{{5, 5, depthwiseGrad5x5AVX512}, {3, 3, depthwiseGrad3x3AVX512}, {4, 7, depthwiseGrad4x7AVX512}, {3, 7, depthwiseGrad3x7AVX512}, {1, 1, depthwiseGrad1x1AVX512}},
}

var avx2 = simd{name: "avx2", lanes: 8, longestRow: 256,
	act: actAVX2, add: addAVX2, mul: mulAVX2, max: maxAVX2, sum: sumAVX2, top: topAVX2, squares: squaresAVX2,
	normalise: normaliseAVX2, exponentials: exponentialsAVX2, scale: scaleAVX2, gemmT: gemmTAVX2,
	columnsAffine: columnsAffineAVX2, columnsMoments: columnsMomentsAVX2, columnsGrad: columnsGradAVX2,
	columnsCombine: columnsCombineAVX2, columnsSum: columnsSumAVX2, columnsDot: columnsDotAVX2, actGrad: actGradAVX2,
	dot: dotAVX2, maxAt: maxAtAVX2, addWhere: addWhereAVX2, adam: adamAVX2, softmaxGrad: softmaxGradAVX2, normSums: normSumsAVX2, normGrad: normGradAVX2,
	tapKernels: []tapKernel{{1, 7, depthwiseGrad1x7AVX2}, {2, 5, depthwiseGrad2x5AVX2}, {1, 5, depthwiseGrad1x5AVX2}, {3, 3, depthwiseGrad3x3AVX2}, {1, 1, depthwiseGrad1x1AVX2}},
}

// width is that of a tile of [Gemm], two vectors.
func (s *simd) width() int { return 2 * s.lanes }

func (s *simd) set() *Set {
	return &Set{Name: s.name, Gemm: s.Gemm, Width: s.width(), LongestRow: s.longestRow, Depthwise: s.Depthwise, Act: s.Act, Add: s.Add,
		Mul: s.binary(s.mul), Max: s.binary(s.max), Affine: s.Affine, Norm: s.Norm, Softmax: s.Softmax,
		WinogradInput: s.WinogradInput, WinogradOutput: s.WinogradOutput,
		GemmT: s.GemmT, DepthwiseGrad: s.DepthwiseGrad, ActGrad: s.ActGrad, AffineGrad: s.AffineGrad,
		Combine: s.Combine, Moments: s.Moments, SumColumns: s.SumColumns, DotColumns: s.DotColumns,
		NormGrad: s.NormGrad, SoftmaxGrad: s.SoftmaxGrad, MaxAt: s.MaxAt, AddWhere: s.AddWhere, Adam: s.Adam}
}

// panel is the argument of the gemm kernels; strides are in bytes. The kernel counts m down and
// moves the cursors, which aren't pointers, since they end up behind the slices.
type panel struct {
	a    *float32
	lda  int
	b    *float32
	c    *float32
	ldc  int
	res  *float32
	ldr  int
	m, k int // k of a segment
	n    int // columns, at most a panel's
	act  int

	segments, jump int // jump is from a segment's end to the next one's start

	atA, atC, atRes uintptr
	resBF16, cBF16  int
	next            uintptr // where the next panel lies, to be fetched meanwhile

	atFetch uintptr // what is fetched meanwhile
	ldFetch int
}

func (s *simd) Gemm(g *Gemm) {
	if g.M == 0 {
		return
	}
	g.check()
	if g.B.Width != s.width() {
		panic("kernels: the weights are packed for other kernels")
	}
	segments := max(g.Segments, 1)
	k := g.B.K / segments
	for first, n := 0, 0; first < g.B.N; first += n {
		n = min(g.B.Width, g.B.N-first)
		if s.lanes == 16 && !g.B.BF16 && n > 16 && n <= 24 {
			n = 16 // and 8: tiles of one vector are tall, and waste nothing on a second
		}
		b := g.B.panel(first / g.B.Width)
		p := panel{
			a: &g.A[0], lda: 4 * g.LDA,
			b: &b[first%g.B.Width],
			c: &g.C[g.words(first, g.CBF16)], ldc: 4 * g.LDC,
			m: g.M, k: k, n: n, act: int(g.Act),
			segments: segments, jump: 4 * (g.Step - k), cBF16: flag(g.CBF16), resBF16: flag(g.ResBF16),
		}
		if g.Res != nil {
			p.res, p.ldr = &g.Res[g.words(first, g.ResBF16)], 4*g.LDR
		}
		p.atFetch, p.ldFetch = uintptr(unsafe.Pointer(p.c)), p.ldc
		if g.Fetch != nil {
			p.atFetch, p.ldFetch = uintptr(unsafe.Pointer(&g.Fetch[0])), 4*g.LDF
		}
		if g.B.BF16 {
			p.next = uintptr(unsafe.Pointer(p.b)) + 4*uintptr(g.B.Width)*uintptr(g.B.K+1)
			gemmBF16AVX512((*byte)(unsafe.Pointer(&p)))
		} else if s.lanes == 16 {
			gemmAVX512((*byte)(unsafe.Pointer(&p)))
		} else {
			gemmAVX2((*byte)(unsafe.Pointer(&p)))
		}
	}
	if !g.fused() {
		for i := range g.M {
			s.Act(g.Act, g.C[i*g.LDC:i*g.LDC+g.B.N])
		}
	}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func narrow(dst, x []float32) {
	if len(x) > 0 {
		_ = dst[(len(x)-1)/2]
		narrowAVX512(&dst[0], &x[0], len(x))
	}
}

func widen(dst, x []float32) {
	if len(dst) > 0 {
		_ = x[(len(dst)-1)/2]
		widenAVX512(&dst[0], &x[0], len(dst))
	}
}

func pair(dst, a, b []float32) {
	if n := len(a); n > 0 {
		_, _ = b[n-1], dst[2*n-1]
		pairAVX512(&dst[0], &a[0], &b[0], n)
	}
}

func (s *simd) Act(act Act, x []float32) {
	if act != None && len(x) > 0 {
		s.act(&x[0], len(x), int(act))
	}
}

func (s *simd) Add(dst, a, b []float32, act Act) {
	s.binary(s.add)(dst, a, b)
	s.Act(act, dst)
}

func (s *simd) binary(op func(dst, a, b *float32, n int)) func(dst, a, b []float32) {
	return func(dst, a, b []float32) {
		if n := len(dst); n > 0 {
			_, _ = a[n-1], b[n-1]
			op(&dst[0], &a[0], &b[0], n)
		}
	}
}

func (s *simd) Norm(dst, x, weight, bias []float32, eps float32) {
	n := len(weight)
	for i := 0; i < len(dst); i += n {
		row := x[i : i+n]
		mean := s.sum(&row[0], n) / float32(n)
		variance := s.squares(&row[0], n, mean) / float32(n)
		scale := float32(1 / math.Sqrt(float64(variance+eps)))
		s.normalise(&dst[i : i+n][0], &row[0], &weight[0], &bias[:n][0], n, mean, scale)
	}
}

func (s *simd) Softmax(x []float32, n int, scale float32) {
	for ; len(x) >= n; x = x[n:] {
		top := s.top(&x[0], n)
		sum := s.exponentials(&x[0], n, top, scale)
		s.scale(&x[0], n, 1/sum)
	}
}

// tiles is the argument of the Winograd kernels; strides are in bytes. The kernel counts count down
// and moves the cursor.
type tiles struct {
	image      *float32
	row, pixel int
	tiles      *float32
	stride     int
	channels   int // in bytes
	count      int
	bias       *float32
	act        int
	buffer     *float32 // 6 × 6 vectors

	atImage uintptr
	res     *float32 // lies like image
}

func (w *Winograd) tiles() tiles {
	return tiles{image: &w.Image[0], row: 4 * w.Row, pixel: 4 * w.Pixel, tiles: &w.Tiles[0], stride: 4 * w.Stride,
		channels: 4 * w.C, count: w.Count, act: int(w.Act)}
}

func (s *simd) WinogradInput(w *Winograd) {
	w.check(6)
	t := w.tiles()
	var buffer [36 * 16]float32
	t.buffer = &buffer[0]
	if s.lanes == 16 {
		winogradInputAVX512((*byte)(unsafe.Pointer(&t)))
	} else {
		winogradInputAVX2((*byte)(unsafe.Pointer(&t)))
	}
}

func (s *simd) WinogradOutput(w *Winograd) {
	w.check(4)
	t := w.tiles()
	var buffer [36 * 16]float32
	t.buffer, t.bias = &buffer[0], &w.Bias[:w.C][0]
	if w.Res != nil {
		t.res = &w.Res[0]
	}
	fused := Fused(w.Act)
	if !fused {
		t.act = int(None)
	}
	if s.lanes == 16 {
		winogradOutputAVX512((*byte)(unsafe.Pointer(&t)))
	} else {
		winogradOutputAVX2((*byte)(unsafe.Pointer(&t)))
	}
	if fused {
		return
	}
	for y := range 4 {
		for x := range 4 * w.Count {
			s.Act(w.Act, w.Image[y*w.Row+x*w.Pixel:][:w.C])
		}
	}
}

func winogradInputBF16(w *Winograd) {
	w.checkBF16(true)
	t := w.tiles()
	winogradInputBF16AVX512((*byte)(unsafe.Pointer(&t)))
}

func winogradOutputBF16(w *Winograd) {
	w.checkBF16(false)
	t := w.tiles()
	t.bias = &w.Bias[0]
	if w.Res != nil {
		t.res = &w.Res[0]
	}
	if w.BF16 {
		winogradOutputBF16AVX512((*byte)(unsafe.Pointer(&t)))
	} else {
		winogradOutputFloatAVX512((*byte)(unsafe.Pointer(&t)))
	}
}
