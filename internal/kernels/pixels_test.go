package kernels

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// forEachPixels runs a test for each implementation but the portable one, which is the reference.
func forEachPixels(t *testing.T, f func(t *testing.T, p *Pixels)) {
	for _, p := range pixelSets {
		if p != &portablePixels {
			f(t, p)
		}
	}
}

func randomBytes(r *rand.Rand, n int) []uint8 {
	b := make([]uint8, n)
	for i := range b {
		switch b[i] = uint8(r.Uint32()); r.IntN(4) {
		case 0:
			b[i] = 0
		case 1:
			b[i] = 255
		}
	}
	return b
}

// guarded returns n bytes in the middle of others, and a function that fails if those were changed.
func guarded(t *testing.T, what string, n int) (b []uint8, check func()) {
	const guard = 64
	all := bytes.Repeat([]uint8{0xa5}, n+2*guard)
	return all[guard : guard+n : guard+n], func() {
		t.Helper()
		for i, v := range all {
			if (i < guard || i >= guard+n) && v != 0xa5 {
				t.Fatalf("%s: wrote at %d of %d bytes", what, i-guard, n)
			}
		}
	}
}

func testIDCT(t *testing.T, p *Pixels, seed uint64, n int, amplitude int) {
	r := rand.New(rand.NewPCG(seed, 1))
	in := IDCT{Coefficients: make([]int16, 64*n), Quant: new([64]int16), Extents: make([]Extent, n), Stride: 8*n + int(seed%3)}
	for i := range in.Quant {
		in.Quant[i] = int16(r.IntN(1 << (seed % 17)))
	}
	for b := range n {
		in.Extents[b] = []Extent{ExtentDC, ExtentCorner, ExtentAll}[r.IntN(3)]
		side := []int{1, 4, 0, 8}[in.Extents[b]]
		for y := range side {
			for x := range side {
				in.Coefficients[64*b+8*y+x] = int16(r.IntN(2*amplitude+1) - amplitude)
			}
		}
	}
	var results [2][]uint8
	for i, set := range []*Pixels{p, &portablePixels} {
		var check func()
		results[i], check = guarded(t, "IDCT", 7*in.Stride+8*n)
		clear(results[i])
		in.Dst = results[i]
		set.IDCT(in)
		check()
	}
	if !bytes.Equal(results[0], results[1]) {
		t.Fatalf("IDCT of %d blocks, seed %d, up to %d: differs from the portable one", n, seed, amplitude)
	}
}

func TestIDCT(t *testing.T) {
	forEachPixels(t, func(t *testing.T, p *Pixels) {
		for seed := range uint64(300) {
			testIDCT(t, p, seed, 2*int(1+seed%5), []int{3, 100, 2047, 32767}[seed%4])
		}
		testIDCT(t, p, 0, 0, 1)
	})
}

// TestIDCTIsCosineTransform compares with the definition in floating point, which rounding may part by one.
func TestIDCTIsCosineTransform(t *testing.T) {
	for _, p := range pixelSets {
		for at := range 64 {
			for _, v := range []int16{-300, -1, 20, 500} {
				in := IDCT{Coefficients: make([]int16, 128), Quant: new([64]int16), Extents: []Extent{ExtentAll, ExtentDC}, Dst: make([]uint8, 128), Stride: 16}
				in.Quant[at] = 2
				in.Coefficients[at] = v
				p.IDCT(in)
				for y := range 8 {
					for x := range 8 {
						want := 128 + float64(2*v)/4*cosine(at/8, y)*cosine(at%8, x)
						if got := float64(in.Dst[16*y+x]); want > 0 && want < 255 && max(got-want, want-got) > 0.6 {
							t.Fatalf("coefficient %d of %d: sample (%d, %d) is %v, want %.3f", at, v, x, y, got, want)
						}
					}
				}
			}
		}
	}
}

func testUpsample(t *testing.T, p *Pixels, seed uint64, n int) {
	r := rand.New(rand.NewPCG(seed, 2))
	u := Upsample{Near: randomBytes(r, n), Far: randomBytes(r, n), Bias: 1 + int(seed%2)}
	for _, c := range []struct {
		name      string
		across    int
		got, want func(Upsample)
	}{
		{"H2V1", 2, p.UpsampleH2V1, upsampleH2V1}, {"H1V2", 1, p.UpsampleH1V2, upsampleH1V2}, {"H2V2", 2, p.UpsampleH2V2, upsampleH2V2},
	} {
		got, check := guarded(t, c.name, c.across*n)
		u.Dst = got
		c.got(u)
		check()
		u.Dst = make([]uint8, c.across*n)
		c.want(u)
		if !bytes.Equal(got, u.Dst) {
			t.Fatalf("%s of %d samples: got %v, want %v", c.name, n, got, u.Dst)
		}
	}
}

func TestUpsample(t *testing.T) {
	forEachPixels(t, func(t *testing.T, p *Pixels) {
		for n := range 120 {
			testUpsample(t, p, uint64(n), n)
		}
	})
}

func testYCbCr(t *testing.T, p *Pixels, y, cb, cr []uint8) {
	got, check := guarded(t, "YCbCr", 3*len(y))
	p.YCbCr(got, y, cb, cr)
	check()
	want := make([]uint8, 3*len(y))
	ycbcr(want, y, cb, cr)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("pixel %d of %d, (%d, %d, %d): got %v, want %v", i/3, len(y), y[i/3], cb[i/3], cr[i/3], got[i/3*3:][:3], want[i/3*3:][:3])
		}
	}
}

// TestYCbCr converts every colour of a luma at the ends and in the middle, and rows of every length.
func TestYCbCr(t *testing.T) {
	forEachPixels(t, func(t *testing.T, p *Pixels) {
		var cb, cr []uint8
		for c := range 1 << 16 {
			cb, cr = append(cb, uint8(c)), append(cr, uint8(c>>8))
		}
		for _, luma := range []uint8{0, 1, 90, 200, 255} {
			testYCbCr(t, p, bytes.Repeat([]uint8{luma}, len(cb)), cb, cr)
		}
		r := rand.New(rand.NewPCG(3, 3))
		for n := range 130 {
			testYCbCr(t, p, randomBytes(r, n), randomBytes(r, n), randomBytes(r, n))
		}
	})
}

// randomAxis weighs taps of in inputs for each output, up to 2 in all.
func randomAxis(r *rand.Rand, n, in, taps int) *Axis {
	a := new(Axis)
	a.Reset(n, taps)
	for i := range n {
		a.Starts[i] = int32((in - a.Taps) * i / max(n-1, 1))
		for tap := range taps {
			a.Set(i, tap, int32(r.IntN(1<<Precision)-1<<(Precision-2))/int32(taps)*2)
		}
	}
	return a
}

func testResample(t *testing.T, p *Pixels, seed uint64, width, height, out, taps int) {
	r := rand.New(rand.NewPCG(seed, 4))
	what := fmt.Sprintf("%d × %d pixels to %d of %d taps", width, height, out, taps)
	src := randomBytes(r, 3*width*height)
	if width >= (taps+3)/4*4 {
		in := Resample{Src: src, SrcStride: 3 * width, DstStride: 3*out + 1, Rows: height, Axis: randomAxis(r, out, width, taps)}
		var results [2][]uint8
		for i, set := range []*Pixels{p, &portablePixels} {
			var check func()
			in.Dst, check = guarded(t, "across "+what, height*in.DstStride)
			set.Across(in)
			check()
			for y := range height {
				results[i] = append(results[i], in.Dst[y*in.DstStride:][:3*out]...)
			}
		}
		if !bytes.Equal(results[0], results[1]) {
			t.Fatalf("across %s: differs from the portable one", what)
		}
	}
	if height >= (taps+3)/4*4 {
		in := Resample{Src: src, SrcStride: 3 * width, DstStride: 3*width + 2, Columns: 3 * width, Axis: randomAxis(r, out, height, taps)}
		var results [2][]uint8
		for i, set := range []*Pixels{p, &portablePixels} {
			var check func()
			in.Dst, check = guarded(t, "down "+what, (out-1)*in.DstStride+in.Columns)
			set.Down(in)
			check()
			results[i] = slices.Clone(in.Dst)
		}
		if !bytes.Equal(results[0], results[1]) {
			t.Fatalf("down %s: differs from the portable one", what)
		}
	}
}

func TestResample(t *testing.T) {
	forEachPixels(t, func(t *testing.T, p *Pixels) {
		for seed := range uint64(200) {
			r := rand.New(rand.NewPCG(seed, 5))
			testResample(t, p, seed, 1+r.IntN(60), 1+r.IntN(20), 1+r.IntN(40), 1+r.IntN(17))
		}
	})
}

func FuzzPixels(f *testing.F) {
	f.Add(uint64(1), uint8(40), uint8(9), uint8(20), uint8(7))
	f.Fuzz(func(t *testing.T, seed uint64, width, height, out, taps uint8) {
		forEachPixels(t, func(t *testing.T, p *Pixels) {
			testIDCT(t, p, seed, int(width)/2*2, 1+int(height)<<(seed%8))
			testUpsample(t, p, seed, int(width))
			r := rand.New(rand.NewPCG(seed, 6))
			testYCbCr(t, p, randomBytes(r, int(width)), randomBytes(r, int(width)), randomBytes(r, int(width)))
			testResample(t, p, seed, 1+int(width), 1+int(height), 1+int(out), 1+int(taps))
		})
	})
}

// cosine is the value at sample x of the wave of a frequency, scaled as JPEG does.
func cosine(frequency, x int) float64 {
	if frequency == 0 {
		return math.Sqrt2 / 2
	}
	return math.Cos(float64((2*x+1)*frequency) * math.Pi / 16)
}
