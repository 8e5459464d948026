package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

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
		for _, size := range [][3]int{{12544, 16, 32}, {3136, 144, 24}, {784, 240, 40}, {196, 480, 80}, {196, 112, 672}, {49, 1152, 192}, {49, 320, 1152}, {784, 128, 1152}} {
			m, n, k := size[0], size[1], size[2]
			for _, act := range []Act{None, SiLU} {
				b.Run(fmt.Sprintf("%dx%dx%d/act%d", m, n, k, act), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 1))
					g := Gemm{M: m, A: fill(r, m*k, 1), LDA: k, B: Pack(fill(r, n*k, 1), nil, n, k), C: make([]float32, m*n), LDC: n, Act: act}
					for b.Loop() {
						s.Gemm(&g)
					}
					b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
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
					d := Depthwise{X: fill(r, h*h*c, 1), H: h, W: h, C: c, OutH: out, OutW: out, KernelH: kernel, KernelW: kernel,
						StrideH: stride, StrideW: stride, DilationH: 1, DilationW: 1, Top: kernel / 2, Left: kernel / 2,
						Weight: fill(r, kernel*kernel*c, 1), Bias: fill(r, c, 1), Y: make([]float32, out*out*c), To: out, Act: act}
					for b.Loop() {
						s.Depthwise(&d)
					}
					b.ReportMetric(2*float64(out*out*c*kernel*kernel)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
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
				for b.Loop() {
					s.Act(act, x)
				}
				b.SetBytes(4 << 16)
			})
		}
	})
}
