package transform

import (
	"testing"

	"github.com/graft-ml/graft/internal/photo"
)

// BenchmarkApply is ResNet's and EfficientNet's usual preprocessing of a photo of 512 × 384 pixels.
func BenchmarkApply(b *testing.B) {
	img := &photo.RGB{Pix: make([]uint8, 3*512*384), Width: 512, Height: 384}
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i >> 5)
	}
	for _, by := range []Interpolation{Bilinear, Bicubic} {
		b.Run(by.String(), func(b *testing.B) {
			p, err := New(ImageClassification(224, 256, imagenetMean, imagenetStd, by)...)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]float32, 224*224*3)
			for b.Loop() {
				if err := p.Apply(dst, img); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
