package augment

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

// A Step is one augmentation. Its fields are torchvision's arguments by their names there, and the values that stand in
// for those left out of a text are torchvision's defaults.
type Step interface {
	fmt.Stringer
	// name is that of torchvision's class.
	name() string
	// check reports an argument out of range.
	check() error
}

// A photoStep changes the picture in w.
type photoStep interface {
	Step
	apply(w *workspace, r *random)
}

// A tensorStep changes a normalised tensor [height, width, 3].
type tensorStep interface {
	Step
	applyTensor(w *workspace, r *random, x []float32, height, width int)
}

// A workspace holds the picture that steps work on, and memory for them.
type workspace struct {
	picture *photo.RGB
	spare   *photo.RGB
	noise   []float32
}

// replace makes the spare picture, which f has made of the present one, the present one.
func (w *workspace) replace(f func(dst, src *photo.RGB)) {
	f(w.spare, w.picture)
	w.picture, w.spare = w.spare, w.picture
}

// RandomResizedCrop cuts out a window of a random area and aspect ratio and resizes it to the network's input with the
// model's interpolation. It takes the place of the model's Resize and CenterCrop.
type RandomResizedCrop struct {
	Scale Range `json:"scale"` // the window's area as a part of the photo's, above 0 and up to 1
	Ratio Range `json:"ratio"` // width / height, at random on a logarithmic scale
}

func (RandomResizedCrop) name() string     { return "RandomResizedCrop" }
func (s RandomResizedCrop) String() string { return text(s) }

func (s RandomResizedCrop) check() error {
	if !(s.Scale[0] > 0) {
		return fmt.Errorf("scale=%v: the area must be above 0", s.Scale.text())
	}
	return cmp.Or(s.Scale.check("scale", 0, 1), s.Ratio.check("ratio", minRatio, maxRatio))
}

const minRatio, maxRatio = 0.001, 1000

// window draws a part of a picture. After 10 that don't fit it takes the largest one in the middle of an allowed ratio.
func (s RandomResizedCrop) window(r *random, width, height int) image.Rectangle {
	area := float64(width * height)
	for range 10 {
		target := area * r.uniform(s.Scale[0], s.Scale[1])
		aspect := r.logUniform(s.Ratio[0], s.Ratio[1])
		w, h := roundSqrt(target*aspect), roundSqrt(target/aspect)
		if 0 < w && w <= width && 0 < h && h <= height {
			top := r.intn(height - h + 1)
			left := r.intn(width - w + 1)
			return image.Rect(left, top, left+w, top+h)
		}
	}
	w, h := width, height
	switch ratio := float64(width) / float64(height); {
	case ratio < s.Ratio[0]:
		h = max(1, int(math.RoundToEven(float64(w)/s.Ratio[0])))
	case ratio > s.Ratio[1]:
		w = max(1, int(math.RoundToEven(float64(h)*s.Ratio[1])))
	}
	top, left := (height-h)/2, (width-w)/2
	return image.Rect(left, top, left+w, top+h)
}

func roundSqrt(area float64) int { return int(math.RoundToEven(math.Sqrt(area))) }

// RandomHorizontalFlip mirrors a picture with probability P.
type RandomHorizontalFlip struct {
	P float64 `json:"p"`
}

func (RandomHorizontalFlip) name() string     { return "RandomHorizontalFlip" }
func (s RandomHorizontalFlip) String() string { return text(s) }
func (s RandomHorizontalFlip) check() error   { return checkProbability(s.P) }

func (s RandomHorizontalFlip) apply(w *workspace, r *random) {
	if r.chance(s.P) {
		flipHorizontal(w.picture)
	}
}

// RandomVerticalFlip turns a picture upside down, mirrored, with probability P.
type RandomVerticalFlip struct {
	P float64 `json:"p"`
}

func (RandomVerticalFlip) name() string     { return "RandomVerticalFlip" }
func (s RandomVerticalFlip) String() string { return text(s) }
func (s RandomVerticalFlip) check() error   { return checkProbability(s.P) }

func (s RandomVerticalFlip) apply(w *workspace, r *random) {
	if r.chance(s.P) {
		flipVertical(w.picture)
	}
}

// RandomGrayscale takes a picture's colours away with probability P.
type RandomGrayscale struct {
	P float64 `json:"p"`
}

func (RandomGrayscale) name() string     { return "RandomGrayscale" }
func (s RandomGrayscale) String() string { return text(s) }
func (s RandomGrayscale) check() error   { return checkProbability(s.P) }

func (s RandomGrayscale) apply(w *workspace, r *random) {
	if r.chance(s.P) {
		toGrayscale(w.picture)
	}
}

// RandomRotation turns a picture about its middle, and keeps its size.
type RandomRotation struct {
	Degrees       Spread                  `json:"degrees"` // counter-clockwise, up to 360 either way; must be given
	Interpolation transform.Interpolation `json:"interpolation"`
	Fill          Fill                    `json:"fill"`
}

func (RandomRotation) name() string     { return "RandomRotation" }
func (s RandomRotation) String() string { return text(s) }

func (s RandomRotation) check() error {
	if s.Degrees == (Spread{}) {
		return errors.New("how far? Give degrees, such as degrees=15 or degrees=0:90")
	}
	return cmp.Or(s.Degrees.check("degrees", 0, -360, 360), checkInterpolation(s.Interpolation))
}

func (s RandomRotation) apply(w *workspace, r *random) {
	low, high := s.Degrees.around(0, -360)
	degrees := r.uniform(low, high)
	w.replace(func(dst, src *photo.RGB) { rotate(dst, src, degrees, s.Interpolation, s.Fill) })
}

// ColorJitter changes brightness, contrast, saturation and hue in random order. A single number v for one of the first
// three means factors from max(0, 1 − v) to 1 + v, where 1 changes nothing; for the hue it means −v to v of a full turn, at
// most 0.5.
type ColorJitter struct {
	Brightness Spread `json:"brightness"`
	Contrast   Spread `json:"contrast"`
	Saturation Spread `json:"saturation"`
	Hue        Spread `json:"hue"`
}

func (ColorJitter) name() string     { return "ColorJitter" }
func (s ColorJitter) String() string { return text(s) }

func (s ColorJitter) check() error {
	return cmp.Or(
		s.Brightness.check("brightness", 1, 0, maxFactor),
		s.Contrast.check("contrast", 1, 0, maxFactor),
		s.Saturation.check("saturation", 1, 0, maxFactor),
		s.Hue.check("hue", 0, -0.5, 0.5))
}

const maxFactor = 1000

func (s ColorJitter) apply(w *workspace, r *random) {
	order := r.Perm(4)
	adjust := []struct {
		spread        Spread
		center, least float64
		apply         func(img *photo.RGB, factor float64)
		factor        float64
	}{
		{s.Brightness, 1, 0, adjustBrightness, 1},
		{s.Contrast, 1, 0, adjustContrast, 1},
		{s.Saturation, 1, 0, adjustSaturation, 1},
		{s.Hue, 0, -0.5, adjustHue, 0},
	}
	for i := range adjust {
		a := &adjust[i]
		if low, high := a.spread.around(a.center, a.least); low != a.center || high != a.center {
			a.factor = r.uniform(low, high)
		} else {
			a.apply = func(*photo.RGB, float64) {}
		}
	}
	for _, i := range order {
		adjust[i].apply(w.picture, adjust[i].factor)
	}
}

// RandomErasing fills a random rectangle of the tensor with probability P. It stands behind all steps on pictures.
type RandomErasing struct {
	P     float64    `json:"p"`
	Scale Range      `json:"scale"` // the rectangle's area as a part of the picture's
	Ratio Range      `json:"ratio"` // height / width, at random on a logarithmic scale
	Value EraseValue `json:"value"` // after Normalize, so that 0 is the mean colour
}

func (RandomErasing) name() string     { return "RandomErasing" }
func (s RandomErasing) String() string { return text(s) }

func (s RandomErasing) check() error {
	return cmp.Or(checkProbability(s.P), s.Scale.check("scale", 0, 1), s.Ratio.check("ratio", minRatio, maxRatio), s.Value.check())
}

func (s RandomErasing) applyTensor(w *workspace, r *random, x []float32, height, width int) {
	if !r.chance(s.P) {
		return
	}
	for range 10 {
		area := float64(height*width) * r.uniform(s.Scale[0], s.Scale[1])
		aspect := r.logUniform(s.Ratio[0], s.Ratio[1])
		rows, columns := roundSqrt(area*aspect), roundSqrt(area/aspect)
		if rows >= height || columns >= width {
			continue
		}
		value := s.Value.plane(w, r, rows*columns)
		top := r.intn(height - rows + 1)
		left := r.intn(width - columns + 1)
		for y := range rows {
			row := x[3*((top+y)*width+left):][:3*columns]
			for i := range row {
				row[i] = value(i%3, y*columns+i/3)
			}
		}
		return
	}
}

func checkProbability(p float64) error {
	if !(p >= 0 && p <= 1) {
		return fmt.Errorf("p=%v: a probability is from 0 to 1", p)
	}
	return nil
}

func checkInterpolation(i transform.Interpolation) error {
	_, err := i.MarshalText()
	return err
}
