package kernels

import "math"

// GemmT describes C = Aᵀ·B, or with Add C += Aᵀ·B, as the derivative of a product by its weights is:
// A is [K, M], B [K, N] and C [M, N], with rows LDA, LDB and LDC floats apart. Each element is summed
// over K in order, starting from what C holds or from zero.
type GemmT struct {
	M, N, K int
	A       []float32
	LDA     int
	B       []float32
	LDB     int
	C       []float32
	LDC     int
	Add     bool
	Scratch []float32 // K·(M+Set.Width) floats with which a large product is faster, or nil
}

func (g *GemmT) check() {
	_ = g.A[(g.K-1)*g.LDA+g.M-1]
	_ = g.B[(g.K-1)*g.LDB+g.N-1]
	_ = g.C[(g.M-1)*g.LDC+g.N-1]
}

// AffineGrad describes the derivative through act(x·Scale + Shift) by columns, up to the activation:
// Dst = DY · act'(X·Scale + Shift), for rows of len(Sum) numbers. To Sum it adds the columns' sums of
// Dst, to Product those of Dst·(X - Mean). Dst may be DY.
type AffineGrad struct {
	Dst, DY, X         []float32
	Scale, Shift, Mean []float32
	Sum, Product       []float32
	Act                Act
}

// DepthwiseGrad describes the derivative of a depthwise convolution by its weights, for Rows × Cols
// pixels of C floats of the result that see the whole kernel inside X: to DW, [KernelH, KernelW, C],
// it adds the sums of DY·X. Distances are in floats.
type DepthwiseGrad struct {
	X, DY, DW        []float32
	C                int
	Rows, Cols       int
	KernelH, KernelW int
	RowX, ColX       int // in X, from what a pixel sees to what the next one sees, down and right
	TapH, TapW       int // in X, from a tap to the next, down and right
	RowDY            int // from a row of DY to the next
}

// Adam describes a step of the optimizer of that name (https://arxiv.org/abs/1412.6980) in PyTorch's order of
// operations: First and Second are the running averages of the gradient and of its square. Rate1 is
// 1 - β₁ and Rate2 1 - β₂. Param is first multiplied by Keep, and a multiple Decay of it added to the gradient. At step t, Size is the learning rate divided by 1 - β₁ᵗ, and Root the square root
// of 1 - β₂ᵗ.
type Adam struct {
	Param, First, Second, Grad []float32
	Rate1, Beta2, Rate2        float32
	Size, Root, Eps            float32
	Keep, Decay                float32
}

func adamPortable(a *Adam) {
	for i, g := range a.Grad[:len(a.Param)] {
		a.Param[i] *= a.Keep
		g += a.Decay * a.Param[i]
		a.First[i] += a.Rate1 * (g - a.First[i])
		a.Second[i] = a.Second[i]*a.Beta2 + a.Rate2*g*g
		a.Param[i] -= a.Size * a.First[i] / (float32(math.Sqrt(float64(a.Second[i])))/a.Root + a.Eps)
	}
}

func (d *DepthwiseGrad) check() {
	_ = d.X[(d.Rows-1)*d.RowX+(d.Cols-1)*d.ColX+(d.KernelH-1)*d.TapH+(d.KernelW-1)*d.TapW+d.C-1]
	_ = d.DY[(d.Rows-1)*d.RowDY+d.Cols*d.C-1]
	_ = d.DW[d.KernelH*d.KernelW*d.C-1]
}

func gemmTPortable(g *GemmT) {
	if g.M == 0 || g.N == 0 || g.K == 0 {
		return
	}
	g.check()
	for m := range g.M {
		c := g.C[m*g.LDC:][:g.N]
		if !g.Add {
			clear(c)
		}
		for k := range g.K {
			a, b := g.A[k*g.LDA+m], g.B[k*g.LDB:][:g.N]
			for n, v := range b {
				c[n] += a * v
			}
		}
	}
}

func actGradPortable(act Act, dst, dy, x []float32) {
	slope := slopes[act]
	for i, v := range x[:len(dst)] {
		dst[i] = dy[i] * slope(v)
	}
}

// slopes holds the derivatives of the activations by their input.
var slopes = map[Act]func(x float32) float32{
	None: func(float32) float32 { return 1 },
	ReLU: func(x float32) float32 {
		if x > 0 {
			return 1
		}
		return 0
	},
	ReLU6: func(x float32) float32 {
		if x > 0 && x < 6 {
			return 1
		}
		return 0
	},
	SiLU: func(x float32) float32 {
		s := 1 / (1 + math.Exp(-float64(x)))
		return float32(s * (1 + float64(x)*(1-s)))
	},
	HardSwish: func(x float32) float32 {
		switch {
		case x <= -3:
			return 0
		case x >= 3:
			return 1
		}
		return x/3 + 0.5
	},
	Sigmoid: func(x float32) float32 {
		s := 1 / (1 + math.Exp(-float64(x)))
		return float32(s * (1 - s))
	},
	HardSigmoid: func(x float32) float32 {
		if x > -3 && x < 3 {
			return 1.0 / 6
		}
		return 0
	},
	GELU: func(x float32) float32 { // Φ(x) + x·φ(x)
		v := float64(x)
		return float32((1+math.Erf(v/math.Sqrt2))/2 + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
	},
	GELUTanh: func(x float32) float32 { // x·σ(u) with u = 2·√(2/π)·(x + 0.044715·x³)
		v, c := float64(x), 2*math.Sqrt(2/math.Pi)
		s := 1 / (1 + math.Exp(-c*(v+0.044715*v*v*v)))
		return float32(s + v*s*(1-s)*c*(1+3*0.044715*v*v))
	},
	Tanh: func(x float32) float32 {
		t := math.Tanh(float64(x))
		return float32(1 - t*t)
	},
}

func momentsPortable(sum, squares, x, pivot []float32) {
	n := len(sum)
	for i := 0; i < len(x); i += n {
		for c, v := range x[i : i+n] {
			d := v - pivot[c]
			sum[c] += d
			squares[c] += d * d
		}
	}
}

func affineGradPortable(g *AffineGrad) {
	n, slope := len(g.Sum), slopes[g.Act]
	for i := 0; i < len(g.Dst); i += n {
		for c := range n {
			x := g.X[i+c]
			d := g.DY[i+c] * slope(x*g.Scale[c]+g.Shift[c])
			g.Dst[i+c] = d
			g.Sum[c] += d
			g.Product[c] += d * (x - g.Mean[c])
		}
	}
}

func combinePortable(dst, x, a, y, b, c []float32) {
	n := len(a)
	for i := 0; i < len(dst); i += n {
		for j := range n {
			dst[i+j] = x[i+j]*a[j] + (y[i+j]*b[j] + c[j])
		}
	}
}

func sumColumnsPortable(sum, x []float32) {
	n := len(sum)
	for i := 0; i < len(x); i += n {
		for c, v := range x[i : i+n] {
			sum[c] += v
		}
	}
}

func dotColumnsPortable(sum, x, y []float32) {
	n := len(sum)
	for i := 0; i < len(x); i += n {
		for c, v := range x[i : i+n] {
			sum[c] += v * y[i+c]
		}
	}
}

func depthwiseGradPortable(d *DepthwiseGrad) {
	if d.Rows == 0 || d.Cols == 0 {
		return
	}
	d.check()
	for row := range d.Rows {
		for col := range d.Cols {
			dy := d.DY[row*d.RowDY+col*d.C:][:d.C]
			for ky := range d.KernelH {
				for kx := range d.KernelW {
					x := d.X[row*d.RowX+col*d.ColX+ky*d.TapH+kx*d.TapW:][:d.C]
					dw := d.DW[(ky*d.KernelW+kx)*d.C:][:d.C]
					for c, v := range dy {
						dw[c] += v * x[c]
					}
				}
			}
		}
	}
}

func normGradPortable(dst, dy, x, weight []float32, eps float32, dWeight, dBias []float32) {
	n := len(weight)
	for i := 0; i < len(dst); i += n {
		row, d := x[i:i+n], dy[i:i+n]
		var mean, variance float64
		for _, v := range row {
			mean += float64(v)
		}
		mean /= float64(n)
		for _, v := range row {
			variance += (float64(v) - mean) * (float64(v) - mean)
		}
		scale := 1 / math.Sqrt(variance/float64(n)+float64(eps))
		var sum, product float64 // of the derivative by the normalised row
		for c, v := range row {
			h := (float64(v) - mean) * scale
			g := float64(d[c]) * float64(weight[c])
			sum += g
			product += g * h
			dWeight[c] += float32(float64(d[c]) * h)
			dBias[c] += d[c]
		}
		sum, product = sum/float64(n), product/float64(n)
		for c, v := range row {
			h := (float64(v) - mean) * scale
			dst[i+c] = float32((float64(d[c])*float64(weight[c]) - sum - h*product) * scale)
		}
	}
}

func softmaxGradPortable(dst, dy, y []float32, n int) {
	for i := 0; i < len(dst); i += n {
		var dot float64
		for j, v := range y[i : i+n] {
			dot += float64(v) * float64(dy[i+j])
		}
		for j, v := range y[i : i+n] {
			dst[i+j] = v * (dy[i+j] - float32(dot))
		}
	}
}

func maxAtPortable(best, from, x []float32, place float32) {
	for i, v := range x[:len(best)] {
		if v > best[i] || v != v {
			best[i], from[i] = v, place
		}
	}
}

func addWherePortable(dst, dy, from []float32, place float32) {
	for i, f := range from[:len(dst)] {
		if f == place {
			dst[i] += dy[i]
		}
	}
}
