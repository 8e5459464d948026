package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// aligned is fill at the start of a cache line, as the engine's buffers are.
func aligned(r *rand.Rand, n int) []float32 {
	x := fill(r, n+16, 1)
	for uintptr(unsafe.Pointer(&x[0]))%64 != 0 {
		x = x[1:]
	}
	return x[:n]
}

// best runs f for as long as the benchmark wants and reports the rate of its fastest run, which other
// work on the machine doesn't disturb, of so many operations each.
func best(b *testing.B, operations float64, f func()) {
	fastest := time.Duration(math.MaxInt64)
	for b.Loop() {
		begin := time.Now()
		f()
		fastest = min(fastest, time.Since(begin))
	}
	b.ReportMetric(operations/fastest.Seconds()/1e9, "best-G/s")
}

// forBench runs a benchmark for each set.
func forBench(b *testing.B, f func(b *testing.B, s *Set)) {
	for _, s := range All() {
		b.Run(s.Name, func(b *testing.B) { f(b, s) })
	}
}

// BenchmarkGemm multiplies the sizes of EfficientNet-B0's pointwise convolutions, and a 3×3
// convolution of ResNet-18 as a matrix product.
func BenchmarkGemm(b *testing.B) {
	forBench(b, func(b *testing.B, s *Set) {
		for _, size := range [][3]int{{12544, 16, 32}, {3136, 144, 24}, {784, 240, 40}, {3136, 24, 144}, {784, 40, 240}, {196, 480, 80}, {196, 112, 672}, {49, 1152, 192}, {49, 320, 1152}, {784, 128, 1152}} {
			m, n, k := size[0], size[1], size[2]
			for _, act := range []Act{None, SiLU} {
				b.Run(fmt.Sprintf("%dx%dx%d/act%d", m, n, k, act), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 1))
					g := Gemm{M: m, A: aligned(r, m*k), LDA: k, B: s.Pack(fill(r, n*k, 1), nil, n, k), C: aligned(r, m*n), LDC: n, Act: act}
					best(b, 2*float64(m*n*k), func() { s.Gemm(&g) })
				})
			}
		}
	})
}

// BenchmarkGemmBF16 multiplies the sizes of BenchmarkGemm, and those of ViT-B/16 and ResNet-50, in bfloat16.
func BenchmarkGemmBF16(b *testing.B) {
	forBench(b, func(b *testing.B, s *Set) {
		if s.BF16 == nil {
			b.Skip("this set has no kernels for bfloat16")
		}
		for _, size := range [][3]int{{12544, 16, 32}, {3136, 144, 24}, {784, 240, 40}, {3136, 24, 144}, {784, 40, 240}, {196, 480, 80}, {196, 112, 672}, {49, 1152, 192}, {49, 320, 1152}, {784, 128, 1152}, {196, 32, 768}, {196, 768, 768}, {3136, 256, 64}, {3136, 64, 256}} {
			m, n, k := size[0], size[1], size[2]
			for _, bf16 := range []bool{false, true} {
				b.Run(fmt.Sprintf("%dx%dx%d/out%t", m, n, k, bf16), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 1))
					g := Gemm{M: m, A: aligned(r, m*k/2), LDA: k / 2, B: s.PackBF16(fill(r, n*k, 1), nil, n, k), C: aligned(r, m*n), LDC: n}
					narrowPortable(g.A, fill(r, m*k, 1))
					if g.CBF16 = bf16; bf16 {
						g.LDC = n / 2
					}
					best(b, 2*float64(m*n*k), func() { s.Gemm(&g) })
				})
			}
		}
	})
}

// BenchmarkDepthwise convolves the sizes of EfficientNet-B0's depthwise layers.
func BenchmarkDepthwise(b *testing.B) {
	forBench(b, func(b *testing.B, s *Set) {
		for _, size := range [][4]int{{112, 32, 3, 1}, {112, 96, 3, 2}, {56, 144, 3, 1}, {56, 144, 5, 2}, {28, 240, 5, 1}, {14, 480, 3, 1}, {14, 672, 5, 1}, {7, 1152, 5, 1}} {
			h, c, kernel, stride := size[0], size[1], size[2], size[3]
			for _, act := range []Act{None, SiLU} {
				b.Run(fmt.Sprintf("%dx%d/kernel%d/stride%d/act%d", h, c, kernel, stride, act), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 1))
					out := h / stride
					d := Depthwise{X: aligned(r, h*h*c), H: h, W: h, C: c, OutH: out, OutW: out, KernelH: kernel, KernelW: kernel,
						StrideH: stride, StrideW: stride, DilationH: 1, DilationW: 1, Top: kernel / 2, Left: kernel / 2,
						Y: aligned(r, out*out*c), To: out, Act: act}
					d.Pack(fill(r, kernel*kernel*c, 1), fill(r, c, 1))
					best(b, 2*float64(out*out*c*kernel*kernel), func() { s.Depthwise(&d) })
				})
			}
		}
	})
}

// BenchmarkAct applies each activation to 64 Ki numbers.
func BenchmarkAct(b *testing.B) {
	forBench(b, func(b *testing.B, s *Set) {
		for _, act := range []Act{ReLU, SiLU, HardSwish, Sigmoid, GELU, GELUTanh} {
			b.Run(fmt.Sprintf("act%d", act), func(b *testing.B) {
				x := fill(rand.New(rand.NewPCG(1, 1)), 1<<16, 3)
				best(b, float64(len(x)), func() { s.Act(act, x) })
			})
		}
	})
}

// BenchmarkGemmT derives pointwise convolutions of EfficientNet-B0 and ResNet-50, and a linear layer of ViT-B
// by their weights, for a block of rows.
func BenchmarkGemmT(b *testing.B) {
	forBench(b, func(b *testing.B, s *Set) {
		for _, size := range [][3]int{{96, 16, 240}, {24, 144, 224}, {112, 672, 196}, {672, 112, 196}, {320, 1152, 196}, {512, 2048, 196}, {768, 3072, 99}, {768, 3072, 128}, {768, 3072, 197}, {3072, 768, 197}, {512, 4608, 98}} {
			m, n, k := size[0], size[1], size[2]
			b.Run(fmt.Sprintf("%dx%dx%d", m, n, k), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				g := GemmT{M: m, N: n, K: k, A: aligned(r, k*m), LDA: m, B: aligned(r, k*n), LDB: n, C: aligned(r, m*n), LDC: n, Add: true, Scratch: aligned(r, k*(m+s.Width))}
				best(b, 2*float64(m*n*k), func() { s.GemmT(&g) })
			})
		}
	})
}

// BenchmarkDepthwiseGrad derives depthwise convolutions of EfficientNet-B0 and ConvNeXt by their weights.
func BenchmarkDepthwiseGrad(b *testing.B) {
	forBench(b, func(b *testing.B, s *Set) {
		for _, size := range [][4]int{{56, 144, 3, 1}, {28, 144, 5, 2}, {28, 240, 5, 1}, {14, 480, 3, 1}, {14, 672, 5, 1}, {7, 1152, 5, 1}, {14, 384, 7, 1}} {
			w, c, kernel, stride := size[0], size[1], size[2], size[3]
			b.Run(fmt.Sprintf("%dx%d/kernel%d/stride%d", w, c, kernel, stride), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				rows := 4
				width := (w*stride + kernel) * c
				d := DepthwiseGrad{X: aligned(r, (rows*stride+kernel)*width), DY: aligned(r, rows*w*c), DW: aligned(r, kernel*kernel*c), C: c, Rows: rows, Cols: w,
					KernelH: kernel, KernelW: kernel, RowX: stride * width, ColX: stride * c, TapH: width, TapW: c, RowDY: w * c}
				best(b, 2*float64(rows*w*c*kernel*kernel), func() { s.DepthwiseGrad(&d) })
			})
		}
	})
}

// BenchmarkColumns goes down the columns of blocks of rows.
func BenchmarkColumns(b *testing.B) {
	forBench(b, func(b *testing.B, s *Set) {
		for _, n := range []int{16, 24, 96, 240, 672} {
			r := rand.New(rand.NewPCG(1, 1))
			rows := (32 << 10) / n
			x, y := aligned(r, rows*n), aligned(r, rows*n)
			p, q, sums := aligned(r, n), aligned(r, n), aligned(r, 2*n)
			for name, f := range map[string]func(){
				"affine":       func() { s.Affine(y, x, p, q, None) },
				"affine SiLU":  func() { s.Affine(y, x, p, q, SiLU) },
				"moments":      func() { s.Moments(sums[:n], sums[n:], x, p) },
				"SiLU and sum": func() { s.AffineGrad(&AffineGrad{y, y, x, p, q, p, sums[:n], sums[n:], SiLU}) },
				"combine":      func() { s.Combine(y, y, p, x, q, p) },
				"dot":          func() { s.DotColumns(sums[:n], x, y) },
			} {
				b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { best(b, float64(len(x)), f) })
			}
		}
	})
}

// BenchmarkPixels does what a photo of 512 × 384 pixels takes for each row or, for the resampling, as a whole.
func BenchmarkPixels(b *testing.B) {
	for _, p := range pixelSets {
		r := rand.New(rand.NewPCG(1, 1))
		bytes := func(n int) []uint8 { return randomBytes(r, n) }
		run := func(name string, samples int, f func()) {
			b.Run(p.Name+"/"+name, func(b *testing.B) { best(b, float64(samples), f) })
		}
		for extent, name := range map[Extent]string{ExtentDC: "dc", ExtentCorner: "corner", ExtentAll: "all"} {
			t := IDCT{Coefficients: make([]int16, 64*64), Quant: new([64]int16), Extents: slices.Repeat([]Extent{extent}, 64), Dst: bytes(8 * 512), Stride: 512}
			for i := range t.Coefficients {
				t.Coefficients[i] = int16(i)
			}
			run("idct/"+name, 8*512, func() { p.IDCT(t) })
		}
		u := Upsample{Near: bytes(256), Far: bytes(256), Dst: bytes(512)}
		run("h2v2", 512, func() { p.UpsampleH2V2(u) })
		dst, y, cb, cr := bytes(3*512), bytes(512), bytes(512), bytes(512)
		run("ycbcr", 3*512, func() { p.YCbCr(dst, y, cb, cr) })
		for _, taps := range []int{4, 8} {
			across := Resample{Src: bytes(3 * 512 * 344), SrcStride: 3 * 512, Dst: bytes(675 * 344), DstStride: 675, Rows: 344, Axis: randomAxis(r, 224, 512, taps)}
			run(fmt.Sprintf("across/%d", taps), 3*224*344, func() { p.Across(across) })
			down := Resample{Src: bytes(675 * 344), SrcStride: 675, Dst: bytes(672 * 224), DstStride: 672, Columns: 672, Axis: randomAxis(r, 224, 344, taps)}
			run(fmt.Sprintf("down/%d", taps), 3*224*224, func() { p.Down(down) })
		}
	}
}
