package photo

import (
	"bytes"
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

// BenchmarkDecode decodes a 4:2:0 JPEG of 512 × 384 pixels, and BenchmarkImageJPEG what image/jpeg makes of it, to compare
// with.
func BenchmarkDecode(b *testing.B) {
	data := benchmarkPhoto(b)
	var d Decoder
	for b.Loop() {
		if _, err := d.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkImageJPEG(b *testing.B) {
	data := benchmarkPhoto(b)
	for b.Loop() {
		if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOrientation(b *testing.B) {
	data := benchmarkPhoto(b)
	for b.Loop() {
		orientation(formats[0], data)
	}
}
