package augment

import (
	"cmp"
	"fmt"
	"math"

	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

// TrivialAugmentWide applies one random operation of random strength (https://arxiv.org/abs/2103.10158).
type TrivialAugmentWide struct {
	Bins          int                     `json:"num_magnitude_bins"` // strengths to choose from, 2 to 1000
	Interpolation transform.Interpolation `json:"interpolation"`
	Fill          Fill                    `json:"fill"`
}

func (TrivialAugmentWide) name() string     { return "TrivialAugmentWide" }
func (s TrivialAugmentWide) String() string { return text(s) }

func (s TrivialAugmentWide) check() error {
	return cmp.Or(checkBins(s.Bins), checkInterpolation(s.Interpolation))
}

func (s TrivialAugmentWide) apply(w *workspace, r *random) {
	op := operation(r.intn(int(operations)))
	magnitude := 0.0
	if op.graded() {
		magnitude = trivialSpace.magnitude(op, r.intn(s.Bins), s.Bins)
	}
	op.apply(w, op.sign(r, magnitude), s.Interpolation, s.Fill)
}

// RandAugment applies NumOps random operations of one strength (https://arxiv.org/abs/1909.13719).
type RandAugment struct {
	NumOps        int                     `json:"num_ops"`            // up to 16
	Magnitude     int                     `json:"magnitude"`          // the strength, below Bins
	Bins          int                     `json:"num_magnitude_bins"` // 2 to 1000
	Interpolation transform.Interpolation `json:"interpolation"`
	Fill          Fill                    `json:"fill"`
}

func (RandAugment) name() string     { return "RandAugment" }
func (s RandAugment) String() string { return text(s) }

func (s RandAugment) check() error {
	if s.NumOps < 0 || s.NumOps > 16 {
		return fmt.Errorf("num_ops=%d: from 0 to 16 operations", s.NumOps)
	}
	if err := checkBins(s.Bins); err != nil {
		return err
	}
	if s.Magnitude < 0 || s.Magnitude >= s.Bins {
		return fmt.Errorf("magnitude=%d: it must be from 0 to %d, below num_magnitude_bins", s.Magnitude, s.Bins-1)
	}
	return checkInterpolation(s.Interpolation)
}

func (s RandAugment) apply(w *workspace, r *random) {
	space := randSpace(w.picture.Width, w.picture.Height)
	for range s.NumOps {
		op := operation(r.intn(int(operations)))
		magnitude := 0.0
		if op.graded() {
			magnitude = space.magnitude(op, s.Magnitude, s.Bins)
		}
		op.apply(w, op.sign(r, magnitude), s.Interpolation, s.Fill)
	}
}

func checkBins(bins int) error {
	if bins < 2 || bins > 1000 {
		return fmt.Errorf("num_magnitude_bins=%d: from 2 to 1000", bins)
	}
	return nil
}

// An operation is one of those that both policies choose from, in torchvision's order (_AUGMENTATION_SPACE).
type operation int

const (
	identityOp operation = iota
	shearXOp
	shearYOp
	translateXOp
	translateYOp
	rotateOp
	brightnessOp
	colorOp
	contrastOp
	sharpnessOp
	posterizeOp
	solarizeOp
	autoContrastOp
	equalizeOp
	operations
)

// graded reports whether there are strengths of the operation.
func (op operation) graded() bool {
	return op != identityOp && op != autoContrastOp && op != equalizeOp
}

// sign turns the magnitude of an operation that can go either way around, half of the time.
func (op operation) sign(r *random, magnitude float64) float64 {
	if op >= shearXOp && op <= sharpnessOp && r.Uniform() <= 0.5 {
		return -magnitude
	}
	return magnitude
}

// apply changes the picture: the magnitude is a tangent for shears, pixels, degrees, a factor less 1, bits or a part of 255.
func (op operation) apply(w *workspace, magnitude float64, by transform.Interpolation, fill Fill) {
	switch op {
	case shearXOp:
		w.replace(func(dst, src *photo.RGB) { affine(dst, src, shearX(magnitude), by, fill) })
	case shearYOp:
		w.replace(func(dst, src *photo.RGB) { affine(dst, src, shearY(magnitude), by, fill) })
	case translateXOp:
		w.replace(func(dst, src *photo.RGB) { translate(dst, src, int(magnitude), 0, fill) })
	case translateYOp:
		w.replace(func(dst, src *photo.RGB) { translate(dst, src, 0, int(magnitude), fill) })
	case rotateOp:
		w.replace(func(dst, src *photo.RGB) { rotate(dst, src, magnitude, by, fill) })
	case brightnessOp:
		adjustBrightness(w.picture, 1+magnitude)
	case colorOp:
		adjustSaturation(w.picture, 1+magnitude)
	case contrastOp:
		adjustContrast(w.picture, 1+magnitude)
	case sharpnessOp:
		w.replace(func(dst, src *photo.RGB) { adjustSharpness(dst, src, 1+magnitude) })
	case posterizeOp:
		posterize(w.picture, int(magnitude))
	case solarizeOp:
		solarize(w.picture, 255*magnitude)
	case autoContrastOp:
		autocontrast(w.picture)
	case equalizeOp:
		equalize(w.picture)
	}
}

// A space says how strong the operations are at most.
type space struct {
	shear, translateX, translateY, rotate, factor float64
	posterize                                     float64 // bits taken away
}

var trivialSpace = space{shear: 0.99, translateX: 32, translateY: 32, rotate: 135, factor: 0.99, posterize: 6}

func randSpace(width, height int) space {
	const part = 150.0 / 331.0
	return space{shear: 0.3, translateX: part * float64(width), translateY: part * float64(height), rotate: 30, factor: 0.9, posterize: 4}
}

// magnitude returns the strength of an operation in a bin.
func (s *space) magnitude(op operation, bin, bins int) float64 {
	switch op {
	case shearXOp, shearYOp:
		return linspace(0, s.shear, bin, bins)
	case translateXOp:
		return linspace(0, s.translateX, bin, bins)
	case translateYOp:
		return linspace(0, s.translateY, bin, bins)
	case rotateOp:
		return linspace(0, s.rotate, bin, bins)
	case posterizeOp:
		return math.RoundToEven(float64(8 - float32(bin)/float32(float64(bins-1)/s.posterize)))
	case solarizeOp:
		return linspace(1, 0, bin, bins)
	default:
		return linspace(0, s.factor, bin, bins)
	}
}

// linspace is torch.linspace(start, end, bins)[bin], in float32 with fused multiplications, from both ends to the middle.
func linspace(start, end float64, bin, bins int) float64 {
	from, to := float64(float32(start)), float64(float32(end))
	step := float64((float32(end) - float32(start)) / float32(bins-1))
	if bin < bins/2 {
		return float64(float32(from + float64(step*float64(bin))))
	}
	return float64(float32(to - float64(step*float64(bins-1-bin))))
}
