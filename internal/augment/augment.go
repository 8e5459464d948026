// Package augment changes photos at random while a network trains, so that it sees none twice in the same way: the
// augmentations of torchvision.transforms.v2 on PIL images, with their arguments.
//
// A [List] says what is done, in torchvision's words:
//
//	list, err := augment.Parse("RandomResizedCrop(scale=0.35:1),RandomHorizontalFlip,TrivialAugmentWide")
//	p, err := augment.NewPipeline(model, list)
//	err = p.Apply(dst, img, augment.Key{Seed: 42, View: epoch, Sample: path})
//
// A [Pipeline] puts the list and the model's own transform together as torchvision's reference training does: a
// [RandomResizedCrop] takes the place of the model's resize and crop, the other steps on pictures follow at the network's
// input size, and scaling and normalisation are always the model's. Without steps it is the model's transform. A [Mixer]
// does what concerns whole batches, [MixUp] and [CutMix].
//
// What is chosen at random depends on the [Key] alone. It is what torchvision chooses after torch.manual_seed, in its
// order of draws, and what is made of it has the arithmetic of Pillow 13: the tests compare both to the bit. Bits can
// differ where a shear, a rotation or an aspect ratio depends on the last digit of a sine, tangent, logarithm or exponential
// of the C library.
package augment

import (
	"errors"
	"fmt"
	"image"
	"image/draw"
	"math"
	"slices"
	"sync"

	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

// A Pipeline turns a photo and a key into a tensor. It doesn't change, and may be used by many goroutines at once.
type Pipeline struct {
	list          List
	model         *transform.Pipeline
	crop          *RandomResizedCrop // nil for the model's
	photos        []photoStep
	tensors       []tensorStep
	mixer         *Mixer
	height, width int
}

// NewPipeline makes a pipeline of a model's transform and augmentations. Errors name the step that is in the wrong place
// or has a wrong argument.
func NewPipeline(model *transform.Pipeline, list List) (*Pipeline, error) {
	mixer, err := list.Mixer()
	if err != nil {
		return nil, err
	}
	p := &Pipeline{list: slices.Clone(list), model: model, mixer: mixer}
	p.height, p.width = model.OutputSize()
	if p.height == 0 {
		return nil, errors.New("augment: the model's transform has no steps")
	}
	for _, step := range list {
		switch step := step.(type) {
		case RandomResizedCrop:
			p.crop = &step
		case photoStep:
			p.photos = append(p.photos, step)
		case tensorStep:
			p.tensors = append(p.tensors, step)
		}
	}
	return p, nil
}

// List returns the augmentations that the pipeline was made with.
func (p *Pipeline) List() List { return slices.Clone(p.list) }

// Mixer returns what the list does to batches, and nil where it does nothing. Apply leaves it to the caller.
func (p *Pipeline) Mixer() *Mixer { return p.mixer }

// OutputSize returns the height and width in pixels of what Apply writes, the model's.
func (p *Pipeline) OutputSize() (height, width int) { return p.height, p.width }

// Apply writes the tensor of an augmented photo to dst, which has room for height × width × 3 values, in the order of
// [transform.Pipeline.Apply]: channels last, rows from the top, red first. The photo isn't changed.
func (p *Pipeline) Apply(dst []float32, img *photo.RGB, key Key) error {
	if p.crop == nil && p.photos == nil && p.tensors == nil {
		return p.model.Apply(dst, img)
	}
	return p.apply(dst, img, key.random("photo"))
}

func (p *Pipeline) apply(dst []float32, img *photo.RGB, r *random) error {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	if err := p.augment(w, img, r); err != nil {
		return err
	}
	if err := p.model.Tensor(dst, w.picture); err != nil {
		return err
	}
	for _, step := range p.tensors {
		step.applyTensor(w, r, dst, p.height, p.width)
	}
	return nil
}

// augment makes the picture in w of a photo.
func (p *Pipeline) augment(w *workspace, img *photo.RGB, r *random) error {
	if err := p.cut(w.picture, img, r); err != nil {
		return err
	}
	for _, step := range p.photos {
		step.apply(w, r)
	}
	return nil
}

// cut makes dst of the network's input size.
func (p *Pipeline) cut(dst, img *photo.RGB, r *random) error {
	if p.crop == nil {
		return p.model.Picture(dst, img)
	}
	window := p.crop.window(r, img.Width, img.Height)
	return transform.ResizedCrop(dst, img, window, p.width, p.height, p.model.Interpolation())
}

var workspaces = sync.Pool{New: func() any { return &workspace{picture: new(photo.RGB), spare: new(photo.RGB)} }}

// Sheet returns a picture of n views of a photo, 1 to 100, from key.View on, in rows that make it about square. They are
// what the network sees but for scaling, [RandomErasing] and the Mixer.
func (p *Pipeline) Sheet(img *photo.RGB, key Key, n int) (image.Image, error) {
	if n < 1 || n > 100 {
		return nil, fmt.Errorf("augment: %d views: a sheet shows 1 to 100", n)
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	columns := int(math.Ceil(math.Sqrt(float64(n))))
	rows := (n + columns - 1) / columns
	sheet := image.NewRGBA(image.Rect(0, 0, columns*p.width, rows*p.height))
	for i := range n {
		if err := p.augment(w, img, key.random("photo")); err != nil {
			return nil, err
		}
		at := image.Pt(i%columns*p.width, i/columns*p.height)
		draw.Draw(sheet, image.Rectangle{at, sheet.Rect.Max}, w.picture.Image(), image.Point{}, draw.Src)
		key.View++
	}
	return sheet, nil
}
