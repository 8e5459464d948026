// Package transform prepares photos for a network: the transforms of torchvision, to the bit.
//
// A [Pipeline] is a list of steps with torchvision's names, which ends in a tensor of a fixed size:
//
//	p, err := transform.New(
//		transform.Resize{Size: transform.Size{256}},
//		transform.CenterCrop{Size: transform.Size{224}},
//		transform.ToTensor{},
//		transform.Normalize{Mean: mean, Std: std},
//	)
//
// [ImageClassification] lists the steps that the weights of torchvision come with. A pipeline travels in the model file
// as JSON, an array of objects like {"type": "Resize", "size": 256, "interpolation": "bilinear"}, in which no field may
// be missing: a model fed other sizes or colours than those it was trained with still answers, only wrongly.
//
// The results are those of torchvision on a PIL image: Pillow's fixed-point resampling, which always averages over the
// whole area that a pixel comes from (torchvision's "antialias" has no say there), and float32 arithmetic.
package transform

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/graft-ml/graft/internal/photo"
)

// A Pipeline turns a photo into a tensor. It doesn't change, and may be used by many goroutines at once. The zero value
// has no steps and can only be unmarshalled into.
type Pipeline struct {
	steps         []Step
	images        []imageFunc // the steps before ToTensor
	table         *[3][256]float32
	height, width int
}

// New makes a pipeline of steps on images, then a [ToTensor], then steps on tensors. The images must come out at one size
// whatever the photo's. Errors name the step that is in the wrong place or has a wrong parameter.
func New(steps ...Step) (*Pipeline, error) {
	images, values, err := split(steps)
	if err != nil {
		return nil, err
	}
	p := &Pipeline{steps: slices.Clone(steps), images: fuse(images)}
	for _, step := range images {
		p.height, p.width = step.outputSize(p.height, p.width)
	}
	if p.height == 0 {
		return nil, errors.New("transform: the output's size depends on the photo's: add a CenterCrop, or give Resize a height and a width")
	}
	if p.table, err = tabulate(values); err != nil {
		return nil, err
	}
	return p, nil
}

// split checks the steps, and parts those before ToTensor from the others.
func split(steps []Step) (images []imageStep, values []valueStep, err error) {
	for i, step := range steps {
		err := step.check()
		if err == nil {
			err = checkPlace(step, len(values) > 0)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("transform: step %d, %s: %w", i+1, step.name(), err)
		}
		switch step := step.(type) {
		case imageStep:
			images = append(images, step)
		case valueStep:
			values = append(values, step)
		}
	}
	if len(values) == 0 {
		return nil, nil, errors.New("transform: the steps make no tensor: add a ToTensor")
	}
	return images, values, nil
}

func checkPlace(step Step, afterToTensor bool) error {
	_, image := step.(imageStep)
	_, toTensor := step.(ToTensor)
	switch {
	case image && afterToTensor:
		return errors.New("it works on images, so it must stand before ToTensor")
	case !image && toTensor == afterToTensor:
		return errors.New("there must be one ToTensor, before all else that works on tensors")
	}
	return nil
}

// tabulate returns what the steps make of each byte of each channel.
func tabulate(steps []valueStep) (*[3][256]float32, error) {
	table := new([3][256]float32)
	for c := range table {
		for b := range table[c] {
			v := float32(b)
			for _, step := range steps {
				v = step.value(c, v)
			}
			if math.IsInf(float64(v), 0) || math.IsNaN(float64(v)) {
				return nil, fmt.Errorf("transform: channel %d of a pixel becomes %v: check the mean and std of Normalize", c, v)
			}
			table[c][b] = v
		}
	}
	return table, nil
}

// ImageClassification lists the steps of torchvision.transforms._presets.ImageClassification: resize the shorter side to
// resize, cut out the middle crop × crop, scale to [0, 1] and normalize.
func ImageClassification(crop, resize int, mean, std [3]float64, interpolation Interpolation) []Step {
	return []Step{
		Resize{Size{resize}, interpolation},
		CenterCrop{Size{crop}},
		ToTensor{},
		Normalize{mean, std},
	}
}

// Steps returns the steps that the pipeline was made of.
func (p *Pipeline) Steps() []Step { return slices.Clone(p.steps) }

// OutputSize returns the height and width in pixels of what Apply writes.
func (p *Pipeline) OutputSize() (height, width int) { return p.height, p.width }

// String lists the steps as torchvision's Compose does.
func (p *Pipeline) String() string {
	var b strings.Builder
	b.WriteString("Compose(\n")
	for _, s := range p.steps {
		fmt.Fprintf(&b, "    %v\n", s)
	}
	b.WriteString(")")
	return b.String()
}

// Apply writes the tensor of a photo to dst, which has room for height × width × 3 values: channels last, rows from the
// top, red first. (torchvision's tensor of the same values is channels first.) The photo isn't changed.
func (p *Pipeline) Apply(dst []float32, img *photo.RGB) error {
	if err := p.checkTensor(dst); err != nil {
		return err
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	img, err := p.picture(w, img)
	if err != nil {
		return err
	}
	lookUp(dst, img.Pix, p.table)
	return nil
}

// picture returns what the steps before ToTensor make of a photo: a picture of the output's size that lies in w, or img.
func (p *Pipeline) picture(w *workspace, img *photo.RGB) (*photo.RGB, error) {
	if err := checkImage(img); err != nil {
		return nil, err
	}
	for _, apply := range p.images {
		var err error
		if img, err = apply(w, img); err != nil {
			return nil, fmt.Errorf("transform: %w", err)
		}
	}
	return img, nil
}

func (p *Pipeline) checkTensor(dst []float32) error {
	if p.table == nil {
		return errors.New("transform: the pipeline has no steps")
	}
	if n := 3 * p.height * p.width; len(dst) != n {
		return fmt.Errorf("transform: room for %d values where %d × %d × 3 = %d are made", len(dst), p.height, p.width, n)
	}
	return nil
}

func checkImage(img *photo.RGB) error {
	w, h := img.Width, img.Height
	if w < 1 || h < 1 || w > photo.MaxSide || h > photo.MaxSide || len(img.Pix) != 3*w*h {
		return fmt.Errorf("transform: no picture: %d bytes for %d × %d pixels", len(img.Pix), w, h)
	}
	return nil
}

func lookUp(dst []float32, pix []uint8, table *[3][256]float32) {
	r, g, b := &table[0], &table[1], &table[2]
	pix = pix[:len(dst)]
	for i := 2; i < len(pix); i += 3 {
		dst[i-2], dst[i-1], dst[i] = r[pix[i-2]], g[pix[i-1]], b[pix[i]]
	}
}

// A workspace is the memory that one call of Apply works in.
type workspace struct {
	images     [2]photo.RGB // results of steps, in turn
	turn       int
	horizontal axis
	vertical   axis
	copy       photo.RGB // of a small picture, see padded
	bytes      []uint8   // between the passes of a resize
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// image returns a picture of the given size and arbitrary content, which stays valid while the next one is made of it.
func (w *workspace) image(width, height int) *photo.RGB {
	w.turn = 1 - w.turn
	m := &w.images[w.turn]
	m.Reset(width, height)
	return m
}
