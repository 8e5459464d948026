package plot

import (
	"bytes"
	"hash/adler32"
	"image"
	"image/png"
	"math/rand/v2"
	"runtime"
	"testing"
)

func TestEncodePNG(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []image.Point{{1, 1}, {7, 64}, {300, 65}, {3, 1000}, {2000, 129}} {
		img := image.NewRGBA(image.Rectangle{Max: size})
		for i := range img.Pix {
			img.Pix[i] = uint8(random.Uint32())
			if i%4 == 3 {
				img.Pix[i] = 255
			}
		}
		var file bytes.Buffer
		if err := encodePNG(&file, img); err != nil {
			t.Fatal(err)
		}
		got, err := png.Decode(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatalf("%v: %v", size, err)
		}
		if got := got.(*image.RGBA); got.Rect != img.Rect || !bytes.Equal(got.Pix, img.Pix) {
			t.Errorf("%v: decoding gives other pixels", size)
		}
		threads := runtime.GOMAXPROCS(1)
		var alone bytes.Buffer
		err = encodePNG(&alone, img)
		runtime.GOMAXPROCS(threads)
		if err != nil || !bytes.Equal(alone.Bytes(), file.Bytes()) {
			t.Errorf("%v: other bytes on one processor, %v", size, err)
		}
	}
}

func TestCombineAdler32(t *testing.T) {
	text := bytes.Repeat([]byte{0xff, 0xfe, 0, 9}, 50000)
	for _, cut := range []int{0, 1, 65521, 100000, len(text)} {
		got := combineAdler32(adler32.Checksum(text[:cut]), adler32.Checksum(text[cut:]), len(text)-cut)
		if want := adler32.Checksum(text); got != want {
			t.Errorf("cut at %d: %x, want %x", cut, got, want)
		}
	}
}
