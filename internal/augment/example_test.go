package augment_test

import (
	"fmt"

	"github.com/graft-ml/graft/internal/augment"
	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

func Example() {
	model, err := transform.New(transform.ImageClassification(224, 256,
		[3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}, transform.Bicubic)...)
	if err != nil {
		fmt.Println(err)
		return
	}
	list, err := augment.Parse("light, ColorJitter(brightness=0.2, contrast=0.8:1.2), RandomErasing(p=0.10)")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(list)
	p, err := augment.NewPipeline(model, list)
	if err != nil {
		fmt.Println(err)
		return
	}
	img := &photo.RGB{Pix: make([]uint8, 3*640*480), Width: 640, Height: 480}
	x := make([]float32, 224*224*3)
	for epoch := range uint64(3) {
		if err := p.Apply(x, img, augment.Key{Seed: 42, View: epoch, Sample: "pizza/1.jpg"}); err != nil {
			fmt.Println(err)
		}
	}
	_, err = augment.Parse("RandomHorizontalFlop")
	fmt.Println(err)
	// Output:
	// RandomResizedCrop(scale=0.35:1),RandomHorizontalFlip,ColorJitter(brightness=0.2,contrast=0.8:1.2),RandomErasing(p=0.1)
	// augment: unknown step "RandomHorizontalFlop": did you mean RandomHorizontalFlip?
}
