package photo

import (
	"bytes"
	"image"
	"image/jpeg"
	"os"
	"testing"

	"github.com/graft-ml/graft/internal/testutil"
)

func benchmarkPhoto(b *testing.B) []byte {
	data, err := os.ReadFile(testutil.Shared(b, "data/pizza_steak_sushi/test/pizza/1152100.jpg"))
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// BenchmarkDecode is the whole way of a 4:2:0 JPEG of 512 × 384 pixels; BenchmarkJPEG what image/jpeg takes of it and
// BenchmarkConvert what the interpolation and colour conversion take.
func BenchmarkDecode(b *testing.B) {
	data := benchmarkPhoto(b)
	var d Decoder
	for b.Loop() {
		if _, err := d.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJPEG(b *testing.B) {
	data := benchmarkPhoto(b)
	for b.Loop() {
		if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConvert(b *testing.B) {
	m, err := jpeg.Decode(bytes.NewReader(benchmarkPhoto(b)))
	if err != nil {
		b.Fatal(err)
	}
	planes := m.(*image.YCbCr)
	var d Decoder
	for b.Loop() {
		d.setYCbCr(planes, jpegUpsampler(planes), jpegColors)
	}
}

func BenchmarkOrientation(b *testing.B) {
	data := benchmarkPhoto(b)
	for b.Loop() {
		orientation(formats[0], data)
	}
}
