package augment

import (
	"strconv"
	"testing"

	"github.com/graft-ml/graft/internal/transform"
)

// BenchmarkApply is the work on a photo of 512 × 384 pixels at 224 × 224, on average over 500 keys.
func BenchmarkApply(b *testing.B) {
	img := picture(512, 384, 3)
	for _, text := range []string{"none", "light", "trivial", "rand", "RandomResizedCrop,RandomHorizontalFlip,TrivialAugmentWide", "ColorJitter(brightness=0.2,contrast=0.2,saturation=0.2,hue=0.1)"} {
		b.Run(text, func(b *testing.B) {
			p := pipeline(b, model(b, 224, 256, transform.Bilinear), text)
			x := make([]float32, 224*224*3)
			i := 0
			for b.Loop() {
				if err := p.Apply(x, img, Key{Sample: strconv.Itoa(i % 500)}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkOperation is each operation of TrivialAugmentWide on 224 × 224 pixels.
func BenchmarkOperation(b *testing.B) {
	for name, op := range policyOps {
		b.Run(name, func(b *testing.B) {
			w := newWorkspace(picture(224, 224, 3))
			magnitude := trivialSpace.magnitude(op, 15, 31)
			for b.Loop() {
				op.apply(w, magnitude, transform.Bilinear, Fill{})
			}
		})
	}
}
