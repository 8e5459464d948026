package transform

import (
	"fmt"
	"image"

	"github.com/graft-ml/graft/internal/photo"
)

// Picture makes dst what the steps before ToTensor make of a photo, a picture of OutputSize. The photo isn't changed.
// Picture and then [Pipeline.Tensor] are Apply.
func (p *Pipeline) Picture(dst, img *photo.RGB) error {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	made, err := p.picture(w, img)
	if err != nil {
		return err
	}
	set(dst, made)
	return nil
}

// Tensor writes to dst what ToTensor and the steps after it make of a picture of OutputSize, in the order of Apply.
func (p *Pipeline) Tensor(dst []float32, picture *photo.RGB) error {
	if err := p.checkTensor(dst); err != nil {
		return err
	}
	if picture.Width != p.width || picture.Height != p.height || len(picture.Pix) != len(dst) {
		return fmt.Errorf("transform: a picture of %d × %d pixels, not %d × %d", picture.Width, picture.Height, p.width, p.height)
	}
	lookUp(dst, picture.Pix, p.table)
	return nil
}

// Interpolation returns that of the last Resize, and Bilinear where there is none.
func (p *Pipeline) Interpolation() Interpolation {
	by := Bilinear
	for _, step := range p.steps {
		if r, ok := step.(Resize); ok {
			by = r.Interpolation
		}
	}
	return by
}

// ResizedCrop makes dst what torchvision.transforms.functional.resized_crop makes of a photo: a window of it, which must
// lie within and have pixels, resized to width × height. The photo isn't changed.
func ResizedCrop(dst, img *photo.RGB, window image.Rectangle, width, height int, by Interpolation) error {
	if err := checkImage(img); err != nil {
		return err
	}
	if window.Empty() || !window.In(image.Rect(0, 0, img.Width, img.Height)) {
		return fmt.Errorf("transform: %v is no part of %d × %d pixels", window, img.Width, img.Height)
	}
	for _, side := range []int{height, width} {
		if err := (Size{side}).check(); err != nil {
			return fmt.Errorf("transform: %w", err)
		}
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	set(dst, resize(w, crop(w, img, window), width, height, image.Rect(0, 0, width, height), by))
	return nil
}

func set(dst, src *photo.RGB) {
	dst.Reset(src.Width, src.Height)
	copy(dst.Pix, src.Pix)
}
