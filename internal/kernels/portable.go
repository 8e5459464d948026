package kernels

import "math"

// The portable kernels say what each kernel computes; the others are tested against them.
var portable = Set{
	Name:      "portable",
	Gemm:      gemmPortable,
	Depthwise: depthwisePortable,
	Act:       actPortable,
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
}

func gemmPortable(g *Gemm) {
	g.check()
	for first := 0; first < g.B.N; first += Width {
		panel, n := g.B.panel(first/Width), min(Width, g.B.N-first)
		for i := range g.M {
			var sum [Width]float32
			copy(sum[:], panel)
			for k, a := range g.A[i*g.LDA : i*g.LDA+g.B.K] {
				row := (*[Width]float32)(panel[(k+1)*Width:])
				for j := range sum {
					sum[j] += a * row[j]
				}
			}
			if g.Res != nil {
				for j, r := range g.Res[i*g.LDR+first : i*g.LDR+first+n] {
					sum[j] += r
				}
			}
			c := g.C[i*g.LDC+first : i*g.LDC+first+n]
			copy(c, sum[:n])
			actPortable(g.Act, c)
		}
	}
}

func depthwisePortable(d *Depthwise) {
	for oy := d.From; oy < d.To; oy++ {
		for ox := range d.OutW {
			y := d.Y[(oy*d.OutW+ox)*d.C:][:d.C]
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
					w := d.Weight[(ky*d.KernelW+kx)*d.C:][:d.C]
					for c := range y {
						y[c] += x[c] * w[c]
					}
				}
			}
			actPortable(d.Act, y)
			if d.Sums != nil {
				sums := d.Sums[oy*d.C:][:d.C]
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
