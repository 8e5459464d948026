package kernels

import "math"

// The portable kernels say what each kernel computes; the others are tested against them.
var portable = Set{
	Width:      mostColumns,
	LongestRow: 768,
	Name:       "portable",
	Gemm:       gemmPortable,
	Depthwise:  depthwisePortable,
	Act:        actPortable,
	Add: func(dst, a, b []float32, act Act) {
		for i, v := range a[:len(dst)] {
			dst[i] = v + b[i]
		}
		actPortable(act, dst)
	},
	Mul: func(dst, a, b []float32) {
		for i, v := range a[:len(dst)] {
			dst[i] = v * b[i]
		}
	},
	Max: func(dst, a, b []float32) {
		for i, v := range a[:len(dst)] {
			dst[i] = max(v, b[i])
		}
	},
	Affine:  affinePortable,
	Norm:    normPortable,
	Softmax: softmaxPortable,

	WinogradInput: winogradInputPortable, WinogradOutput: winogradOutputPortable,

	GemmT: gemmTPortable, DepthwiseGrad: depthwiseGradPortable, ActGrad: actGradPortable,
	AffineGrad: affineGradPortable, Combine: combinePortable, Moments: momentsPortable,
	SumColumns: sumColumnsPortable, DotColumns: dotColumnsPortable,
	NormGrad: normGradPortable, SoftmaxGrad: softmaxGradPortable, MaxAt: maxAtPortable, AddWhere: addWherePortable, Adam: adamPortable,
	BF16: &BF16{Narrow: narrowPortable, Widen: widenPortable, Pair: pairPortable,
		WinogradInput: winogradInputBF16Portable, WinogradOutput: winogradOutputBF16Portable},
}

// mostColumns is what a panel has at most.
const mostColumns = 32

// gemmPortable keeps 4 × 4 numbers of the result in variables over all of K.
func gemmPortable(g *Gemm) {
	g.check()
	if g.Segments > 1 {
		g = g.joined()
	}
	if g.B.BF16 {
		gemmBF16Portable(g)
		return
	}
	for first := 0; first < g.B.N; first += g.B.Width {
		panel, n := g.B.panel(first/g.B.Width), min(g.B.Width, g.B.N-first)
		var tile [4][mostColumns]float32
		for i := 0; i < g.M; i += 4 {
			rows := min(4, g.M-i)
			// The rows of a short tile are read more than once.
			var a [4][]float32
			for r := range a {
				at := (i + min(r, rows-1)) * g.LDA
				a[r] = g.A[at : at+g.B.K]
			}
			for j := 0; j < n; j += 4 {
				gemmTile(&tile, a, panel[j:], j, g.B.Width)
			}
			for r := range rows {
				sum := tile[r][:n]
				if g.Res != nil {
					for j, v := range g.Res[(i+r)*g.LDR+first:][:n] {
						sum[j] += v
					}
				}
				actPortable(g.Act, sum)
				copy(g.C[(i+r)*g.LDC+first:], sum)
			}
		}
	}
}

// joined returns the same product with the segments of each row copied together.
func (g *Gemm) joined() *Gemm {
	j, k := *g, g.B.K/g.Segments
	j.A, j.LDA, j.Segments = make([]float32, 0, g.M*g.B.K), g.B.K, 1
	for i := range g.M {
		for s := range g.Segments {
			j.A = append(j.A, g.A[i*g.LDA+s*g.Step:][:k]...)
		}
	}
	return &j
}

// gemmTile computes four columns, at b, for the four rows a.
func gemmTile(tile *[4][mostColumns]float32, a [4][]float32, b []float32, column, width int) {
	bias := (*[4]float32)(b)
	c00, c01, c02, c03 := bias[0], bias[1], bias[2], bias[3]
	c10, c11, c12, c13 := bias[0], bias[1], bias[2], bias[3]
	c20, c21, c22, c23 := bias[0], bias[1], bias[2], bias[3]
	c30, c31, c32, c33 := bias[0], bias[1], bias[2], bias[3]
	a0 := a[0]
	a1, a2, a3 := a[1][:len(a0)], a[2][:len(a0)], a[3][:len(a0)]
	for k, x0 := range a0 {
		w := (*[4]float32)(b[(k+1)*width:])
		w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
		c00, c01, c02, c03 = c00+x0*w0, c01+x0*w1, c02+x0*w2, c03+x0*w3
		x1 := a1[k]
		c10, c11, c12, c13 = c10+x1*w0, c11+x1*w1, c12+x1*w2, c13+x1*w3
		x2 := a2[k]
		c20, c21, c22, c23 = c20+x2*w0, c21+x2*w1, c22+x2*w2, c23+x2*w3
		x3 := a3[k]
		c30, c31, c32, c33 = c30+x3*w0, c31+x3*w1, c32+x3*w2, c33+x3*w3
	}
	copy(tile[0][column:], []float32{c00, c01, c02, c03})
	copy(tile[1][column:], []float32{c10, c11, c12, c13})
	copy(tile[2][column:], []float32{c20, c21, c22, c23})
	copy(tile[3][column:], []float32{c30, c31, c32, c33})
}

func depthwisePortable(d *Depthwise) {
	if d.From >= d.To {
		return
	}
	d.check()
	taps := d.KernelH * d.KernelW
	rowY, pixelY := d.strides()
	y := make([]float32, d.C)
	for oy := d.From; oy < d.To; oy++ {
		for ox := range d.OutW {
			copy(y, d.Bias)
			for ky := range d.KernelH {
				iy := oy*d.StrideH - d.Top + ky*d.DilationH
				if iy < 0 || iy >= d.H {
					continue
				}
				for kx := range d.KernelW {
					ix := ox*d.StrideW - d.Left + kx*d.DilationW
					if ix < 0 || ix >= d.W {
						continue
					}
					x := d.X[(iy*d.W+ix)*d.C:][:d.C]
					w := d.Taps[(ky*d.KernelW+kx)*depthwiseBlock:]
					for c := range y {
						y[c] += x[c] * w[c/depthwiseBlock*taps*depthwiseBlock+c%depthwiseBlock]
					}
				}
			}
			actPortable(d.Act, y)
			if to := d.Y[oy*rowY+ox*pixelY:]; d.BF16 {
				narrowPortable(to, y)
			} else {
				copy(to, y)
			}
			if d.Sums != nil {
				sums := d.sumsOf(oy)
				if ox == 0 {
					clear(sums)
				}
				for c, v := range y {
					sums[c] += v
				}
			}
		}
	}
}

func actPortable(act Act, x []float32) {
	switch act {
	case None:
	case ReLU:
		for i, v := range x {
			x[i] = max(v, 0)
		}
	case ReLU6:
		for i, v := range x {
			x[i] = min(max(v, 0), 6)
		}
	case HardSigmoid:
		for i, v := range x {
			x[i] = min(max(v+3, 0), 6) / 6
		}
	case HardSwish:
		for i, v := range x {
			x[i] = v * min(max(v+3, 0), 6) / 6
		}
	default:
		f := map[Act]func(float64) float64{
			SiLU:    func(v float64) float64 { return v / (1 + math.Exp(-v)) },
			Sigmoid: func(v float64) float64 { return 1 / (1 + math.Exp(-v)) },
			GELU:    func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) },
			GELUTanh: func(v float64) float64 {
				return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
			},
			Tanh: math.Tanh,
		}[act]
		for i, v := range x {
			x[i] = float32(f(float64(v)))
		}
	}
}

func affinePortable(dst, x, scale, shift []float32, act Act) {
	for i := 0; i < len(dst); i += len(scale) {
		for c, s := range scale {
			v := x[i+c] * s
			if shift != nil {
				v += shift[c]
			}
			dst[i+c] = v
		}
	}
	actPortable(act, dst)
}

func normPortable(dst, x, weight, bias []float32, eps float32) {
	n := len(weight)
	for i := 0; i < len(dst); i += n {
		row := x[i : i+n]
		var mean, variance float64
		for _, v := range row {
			mean += float64(v)
		}
		mean /= float64(n)
		for _, v := range row {
			variance += (float64(v) - mean) * (float64(v) - mean)
		}
		scale := 1 / math.Sqrt(variance/float64(n)+float64(eps))
		for c, v := range row {
			dst[i+c] = float32((float64(v)-mean)*scale)*weight[c] + bias[c]
		}
	}
}

func softmaxPortable(x []float32, n int, scale float32) {
	for ; len(x) >= n; x = x[n:] {
		row := x[:n]
		top := row[0]
		for _, v := range row {
			top = max(top, v)
		}
		var sum float32
		for i, v := range row {
			row[i] = float32(math.Exp(float64((v - top) * scale)))
			sum += row[i]
		}
		for i := range row {
			row[i] /= sum
		}
	}
}
