package transform

import (
	"encoding/json"
	"image"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/photo"
)

func TestPictureAndTensorAreApply(t *testing.T) {
	for _, ref := range references(t) {
		var p Pipeline
		if err := json.Unmarshal(ref.Steps, &p); err != nil {
			t.Fatal(err)
		}
		img, made := picture(ref.Width, ref.Height, ref.Seed), new(photo.RGB)
		before := slices.Clone(img.Pix)
		dst := make([]float32, 3*ref.Output[0]*ref.Output[1])
		if err := p.Picture(made, img); err != nil {
			t.Fatal(err)
		}
		if err := p.Tensor(dst, made); err != nil {
			t.Fatal(err)
		}
		if hash(dst) != ref.SHA256 || !slices.Equal(img.Pix, before) {
			t.Errorf("%s\n%d × %d pixels of seed %d: another tensor, or the photo was changed", &p, ref.Width, ref.Height, ref.Seed)
		}
	}
}

func TestStagesReject(t *testing.T) {
	p, err := New(ImageClassification(8, 10, imagenetMean, imagenetStd, Bicubic)...)
	if err != nil {
		t.Fatal(err)
	}
	if p.Interpolation() != Bicubic {
		t.Errorf("interpolation %v, want bicubic", p.Interpolation())
	}
	img, dst := picture(20, 10, 1), new(photo.RGB)
	for want, err := range map[string]error{
		"no steps":               new(Pipeline).Tensor(nil, dst),
		"room for 5 values":      p.Tensor(make([]float32, 5), img),
		"20 × 10 pixels, not":    p.Tensor(make([]float32, 192), img),
		"no picture":             p.Picture(dst, new(photo.RGB)),
		"0 × 0 pixels":           ResizedCrop(dst, new(photo.RGB), image.Rect(0, 0, 1, 1), 4, 4, Bilinear),
		"no part of 20 × 10":     ResizedCrop(dst, img, image.Rect(11, 0, 21, 5), 4, 4, Bilinear),
		"(3,3)-(3,4) is no part": ResizedCrop(dst, img, image.Rect(3, 3, 3, 4), 4, 4, Bilinear),
		"a size of 0 pixels":     ResizedCrop(dst, img, image.Rect(0, 0, 2, 2), 0, 4, Bilinear),
		"a size of 5000 pixels":  ResizedCrop(dst, img, image.Rect(0, 0, 2, 2), 4, 5000, Bilinear),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error with %q", err, want)
		}
	}
}
