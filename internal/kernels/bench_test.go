package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
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
					g := Gemm{M: m, A: aligned(r, m*k), LDA: k, B: Pack(fill(r, n*k, 1), nil, n, k), C: aligned(r, m*n), LDC: n, Act: act}
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
					g := Gemm{M: m, A: aligned(r, m*k/2), LDA: k / 2, B: PackBF16(fill(r, n*k, 1), nil, n, k), C: aligned(r, m*n), LDC: n}
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
					d.Weight, d.Bias = PackDepthwise(fill(r, kernel*kernel*c, 1), fill(r, c, 1), c)
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
