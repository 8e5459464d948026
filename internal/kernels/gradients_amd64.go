package kernels

import (
	"math"
	"unsafe"
)

// transposed is the argument of the gemmT kernels; strides are in bytes. The kernel counts m down and
// moves the cursors.
type transposed struct {
	a   *float32
	lda int
	b   *float32
	ldb int
	c   *float32
	ldc int
	m   int
	n   int // columns, at most a panel's
	k   int
	add int // 1 to add to c
	// packed is the distance of the tiles of a; 0 if they lie side by side
	packed int

	atA, atC uintptr
}

func (s *simd) GemmT(g *GemmT) {
	if g.M == 0 || g.N == 0 || g.K == 0 {
		return
	}
	g.check()
	tile, pass := 12, s.width()
	if s.lanes == 8 {
		tile = 6
	}
	t := transposed{lda: 4 * g.LDA, ldb: 4 * g.LDB, ldc: 4 * g.LDC, k: g.K}
	if g.Add {
		t.add = 1
	}
	// Rows a power of two apart share few places in the caches: where a block is read often it is copied.
	whole := 0 // rows of the result whose tiles are packed
	if len(g.Scratch) >= g.K*(g.M+s.width()) && g.M*g.N >= 1<<19 {
		whole = g.M / tile * tile
	}
	packedA, packedB := g.Scratch[:g.K*whole], g.Scratch[g.K*whole:]
	for m := 0; m < whole; m += tile {
		to := packedA[m*g.K:]
		for k := range g.K {
			copy(to[k*tile:(k+1)*tile], g.A[k*g.LDA+m:])
		}
	}
	for first := 0; first < g.N; first += pass {
		t.b, t.c, t.n = &g.B[first], &g.C[first], min(pass, g.N-first)
		if whole > 0 {
			for k := range g.K {
				copy(packedB[k*pass:(k+1)*pass], g.B[k*g.LDB+first:][:t.n])
			}
			p := t
			p.a, p.lda, p.packed, p.b, p.ldb, p.m = &packedA[0], 4*tile, 4*tile*g.K, &packedB[0], 4*pass, whole
			s.gemmT((*byte)(unsafe.Pointer(&p)))
		}
		if whole < g.M {
			t.a, t.c, t.m = &g.A[whole], &g.C[whole*g.LDC+first], g.M-whole
			s.gemmT((*byte)(unsafe.Pointer(&t)))
		}
	}
}

// columns is the argument of the kernels that go down the columns of rows × n numbers; ld is in bytes.
type columns struct {
	x, y, dst  *float32
	ld         int
	rows, n    int
	p0, p1, p2 *float32
	s0, s1     *float32
	act        int
}

// down calls a kernel for rows of n numbers each of x, y and dst, which may be nil, by chunks that stay in the
// nearest cache.
func down(kernel func(a *byte), c columns, x, y, dst []float32, n int) {
	const chunk = 4 << 10 // floats
	rows := max(8, chunk/n)
	c.ld, c.n = 4*n, n
	for at := 0; at < len(x); at += rows * n {
		c.x, c.rows = &x[at], min(rows, (len(x)-at)/n)
		if y != nil {
			c.y = &y[at]
		}
		if dst != nil {
			c.dst = &dst[at]
		}
		kernel((*byte)(unsafe.Pointer(&c)))
	}
}

func (s *simd) Affine(dst, x, scale, shift []float32, act Act) {
	n := len(scale)
	if len(dst) == 0 {
		return
	}
	x = x[:len(dst)]
	if shift == nil {
		for i := 0; i < len(dst); i += n {
			s.mul(&dst[i], &x[i], &scale[0], n)
		}
		s.Act(act, dst)
		return
	}
	down(s.columnsAffine, columns{p0: &scale[0], p1: &shift[:n][0], act: int(act)}, x, nil, dst, n)
}

func (s *simd) Moments(sum, squares, x, pivot []float32) {
	n := len(sum)
	down(s.columnsMoments, columns{p0: &pivot[:n][0], s0: &sum[0], s1: &squares[:n][0]}, x, nil, nil, n)
}

func (s *simd) AffineGrad(g *AffineGrad) {
	n, size := len(g.Sum), len(g.Dst)
	down(s.columnsGrad, columns{p0: &g.Scale[:n][0], p1: &g.Shift[:n][0], p2: &g.Mean[:n][0], s0: &g.Sum[0], s1: &g.Product[:n][0],
		act: int(g.Act)}, g.X[:size], g.DY[:size], g.Dst, n)
}

func (s *simd) Combine(dst, x, a, y, b, c []float32) {
	n := len(a)
	down(s.columnsCombine, columns{p0: &a[0], p1: &b[:n][0], p2: &c[:n][0]}, x[:len(dst)], y[:len(dst)], dst, n)
}

func (s *simd) SumColumns(sum, x []float32) {
	down(s.columnsSum, columns{s0: &sum[0]}, x, nil, nil, len(sum))
}

func (s *simd) DotColumns(sum, x, y []float32) {
	down(s.columnsDot, columns{s0: &sum[0]}, x, y[:len(x)], nil, len(sum))
}

func (s *simd) ActGrad(act Act, dst, dy, x []float32) {
	if n := len(dst); n > 0 {
		_, _ = dy[n-1], x[n-1]
		s.actGrad(&dst[0], &dy[0], &x[0], n, int(act))
	}
}

func (s *simd) MaxAt(best, from, x []float32, place float32) {
	if n := len(best); n > 0 {
		_, _ = from[n-1], x[n-1]
		s.maxAt(&best[0], &from[0], &x[0], n, place)
	}
}

func (s *simd) AddWhere(dst, dy, from []float32, place float32) {
	if n := len(dst); n > 0 {
		_, _ = dy[n-1], from[n-1]
		s.addWhere(&dst[0], &dy[0], &from[0], n, place)
	}
}

func (s *simd) SoftmaxGrad(dst, dy, y []float32, n int) {
	for i := 0; i < len(dst); i += n {
		d, g, p := dst[i:i+n], dy[i:i+n], y[i:i+n]
		s.softmaxGrad(&d[0], &g[0], &p[0], n, s.dot(&g[0], &p[0], n))
	}
}

func (s *simd) NormGrad(dst, dy, x, weight []float32, eps float32, dWeight, dBias []float32) {
	n := len(weight)
	for i := 0; i < len(dst); i += n {
		d, g, row := dst[i:i+n], dy[i:i+n], x[i:i+n]
		mean := s.sum(&row[0], n) / float32(n)
		variance := s.squares(&row[0], n, mean) / float32(n)
		scale := float32(1 / math.Sqrt(float64(variance+eps)))
		sum, product := s.normSums(&g[0], &row[0], &weight[0], n, mean, scale)
		s.normGrad(&d[0], &g[0], &row[0], &weight[0], &dWeight[:n][0], &dBias[:n][0], n, mean, scale, sum/float32(n), product/float32(n))
	}
}

func (s *simd) Adam(a *Adam) {
	if n := len(a.Param); n > 0 {
		_, _, _ = a.First[n-1], a.Second[n-1], a.Grad[n-1]
		s.adam(&a.Param[0], &a.First[0], &a.Second[0], &a.Grad[0], n, a.Rate1, a.Beta2, a.Rate2, a.Size, a.Root, a.Eps, a.Keep, a.Decay)
	}
}

// taps is the argument of the kernels that derive a depthwise convolution by its weights; distances are
// in bytes.
type taps struct {
	x, dy, dw      *float32
	pixelX, rowX   int
	tapX, lineX    int
	pixelDY, rowDY int
	tapDW          int
	rows, cols     int
	channels       int
}

// A tapKernel sums for so many rows and columns of taps.
type tapKernel struct {
	h, w int
	run  func(a *byte)
}

// DepthwiseGrad covers the taps with the largest kernels that fit.
func (s *simd) DepthwiseGrad(d *DepthwiseGrad) {
	if d.Rows == 0 || d.Cols == 0 {
		return
	}
	d.check()
	for ky := 0; ky < d.KernelH; {
		var k tapKernel
		for kx := 0; kx < d.KernelW; kx += k.w {
			for _, k = range s.tapKernels {
				if k.h <= d.KernelH-ky && k.w <= d.KernelW-kx && (k.h == 1 || k.w == d.KernelW) {
					break
				}
			}
			t := taps{x: &d.X[ky*d.TapH+kx*d.TapW], dy: &d.DY[0], dw: &d.DW[(ky*d.KernelW+kx)*d.C],
				pixelX: 4 * d.ColX, rowX: 4 * d.RowX, tapX: 4 * d.TapW, lineX: 4 * d.TapH, pixelDY: 4 * d.C, rowDY: 4 * d.RowDY,
				tapDW: 4 * d.C, rows: d.Rows, cols: d.Cols, channels: d.C}
			k.run((*byte)(unsafe.Pointer(&t)))
		}
		ky += k.h
	}
}
