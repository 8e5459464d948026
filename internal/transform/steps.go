package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"
	"strings"

	"github.com/graft-ml/graft/internal/photo"
)

// A Step is one transform: [Resize], [CenterCrop], [ToTensor] or [Normalize]. Its String is torchvision's. A new one is an
// imageStep or a valueStep that is registered for JSON; what it needs besides its input it finds in the workspace.
type Step interface {
	fmt.Stringer
	// name is that of torchvision's class.
	name() string
	// check reports a parameter out of range.
	check() error
}

// An imageStep makes an image of an image.
type imageStep interface {
	Step
	// outputSize returns the result's size for an image of the given size. Both are 0 where they depend on the photo.
	outputSize(height, width int) (int, int)
	apply(w *workspace, src *photo.RGB) (*photo.RGB, error)
}

// An imageFunc returns an image made of src, which lies in w or is src itself. It doesn't change src.
type imageFunc func(w *workspace, src *photo.RGB) (*photo.RGB, error)

// A valueStep changes each value of a tensor by itself, so that all of them together fit in a table.
type valueStep interface {
	Step
	value(channel int, v float32) float32
}

// MaxSize is the largest side that a step may ask for, in pixels.
const MaxSize = 4096

// Size is a size as torchvision's transforms take it: Size{n}, or Size{height, width}. In JSON it is a number or an array
// of two.
type Size [2]int

// numbers returns the one or two that were given.
func (s Size) numbers() []int {
	if s[1] == 0 {
		return s[:1]
	}
	return s[:]
}

// square returns height and width, which are equal where one number was given.
func (s Size) square() Size {
	if s[1] == 0 {
		return Size{s[0], s[0]}
	}
	return s
}

func (s Size) check() error {
	for _, n := range s.numbers() {
		if n < 1 || n > MaxSize {
			return fmt.Errorf("a size of %d pixels: it must be from 1 to %d", n, MaxSize)
		}
	}
	return nil
}

func (s Size) String() string {
	if s[1] == 0 {
		return strconv.Itoa(s[0])
	}
	return pythonList("()", s[:], strconv.Itoa)
}

func (s Size) MarshalJSON() ([]byte, error) {
	if s[1] == 0 {
		return json.Marshal(s[0])
	}
	return json.Marshal(s[:])
}

func (s *Size) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '[' {
		*s = Size{}
		return json.Unmarshal(data, &s[0])
	}
	var numbers []int
	if err := json.Unmarshal(data, &numbers); err != nil {
		return err
	}
	if len(numbers) != len(s) {
		return fmt.Errorf("%d numbers where a size has one, or height and width", len(numbers))
	}
	*s = Size(numbers)
	if s[1] == 0 {
		return errors.New("a width of 0 pixels")
	}
	return nil
}

// Resize is torchvision.transforms.Resize: to a height and a width, or, of a single number, the shorter side to it and
// the longer in proportion, rounded down.
type Resize struct {
	Size          Size          `json:"size"`
	Interpolation Interpolation `json:"interpolation"`
}

func (Resize) name() string { return "Resize" }

func (r Resize) String() string {
	return fmt.Sprintf("Resize(size=%v, interpolation=%v, max_size=None, antialias=True)", r.Size, r.Interpolation)
}

func (r Resize) check() error {
	if err := r.Size.check(); err != nil {
		return err
	}
	return r.Interpolation.check()
}

func (r Resize) outputSize(height, width int) (int, int) {
	if r.Size[1] != 0 {
		return r.Size[0], r.Size[1]
	}
	if height == 0 {
		return 0, 0
	}
	long := func(long, short int) int { return int(float64(r.Size[0]*long) / float64(short)) }
	if width <= height {
		return long(height, width), r.Size[0]
	}
	return r.Size[0], long(width, height)
}

func (r Resize) apply(w *workspace, src *photo.RGB) (*photo.RGB, error) {
	height, width := r.outputSize(src.Height, src.Width)
	if height*width > photo.MaxPixels {
		return nil, fmt.Errorf("Resize: %d × %d pixels become %d × %d, more than %d", src.Width, src.Height, width, height, photo.MaxPixels)
	}
	return resize(w, src, width, height, image.Rect(0, 0, width, height), r.Interpolation), nil
}

// CenterCrop is torchvision.transforms.CenterCrop: the middle of the image, with black around it where it is smaller
// than the crop.
type CenterCrop struct {
	Size Size `json:"size"`
}

func (CenterCrop) name() string { return "CenterCrop" }

func (c CenterCrop) String() string {
	return fmt.Sprintf("CenterCrop(size=%v)", c.Size.square())
}

func (c CenterCrop) check() error { return c.Size.check() }
func (c CenterCrop) outputSize(_, _ int) (int, int) {
	s := c.Size.square()
	return s[0], s[1]
}

func (c CenterCrop) apply(w *workspace, src *photo.RGB) (*photo.RGB, error) {
	return crop(w, src, c.window(src.Height, src.Width)), nil
}

// window returns the crop as a rectangle of an image of the given size, which it may exceed.
func (c CenterCrop) window(height, width int) image.Rectangle {
	h, w := c.outputSize(height, width)
	top, left := middle(height, h), middle(width, w)
	return image.Rect(left, top, left+w, top+h)
}

// middle rounds halves to even numbers, as Python's round does, but the padding of what is too small downwards.
func middle(have, want int) int {
	if have < want {
		return -((want - have) / 2)
	}
	return int(math.RoundToEven(float64(have-want) / 2))
}

// fuse joins neighbours that are quicker together.
func fuse(steps []imageStep) (fused []imageFunc) {
	for i := 0; i < len(steps); i++ {
		r, ok := steps[i].(Resize)
		if ok && i+1 < len(steps) {
			if c, ok := steps[i+1].(CenterCrop); ok {
				fused = append(fused, resizeAndCrop(r, c))
				i++
				continue
			}
		}
		fused = append(fused, steps[i].apply)
	}
	return fused
}

// resizeAndCrop computes only those pixels of the resized image that the crop keeps.
func resizeAndCrop(r Resize, c CenterCrop) imageFunc {
	return func(w *workspace, src *photo.RGB) (*photo.RGB, error) {
		height, width := r.outputSize(src.Height, src.Width)
		window := c.window(height, width)
		kept := window.Intersect(image.Rect(0, 0, width, height))
		return crop(w, resize(w, src, width, height, kept, r.Interpolation), window.Sub(kept.Min)), nil
	}
}

// crop returns what lies in the window, and black where it exceeds the image.
func crop(w *workspace, src *photo.RGB, window image.Rectangle) *photo.RGB {
	all := image.Rect(0, 0, src.Width, src.Height)
	if window == all {
		return src
	}
	dst := w.image(window.Dx(), window.Dy())
	clear(dst.Pix)
	visible := window.Intersect(all)
	for y := visible.Min.Y; y < visible.Max.Y; y++ {
		copy(dst.Row(y - window.Min.Y)[3*(visible.Min.X-window.Min.X):], src.Row(y)[3*visible.Min.X:3*visible.Max.X])
	}
	return dst
}

// ToTensor is torchvision.transforms.ToTensor: it scales bytes to [0, 1].
type ToTensor struct{}

func (ToTensor) name() string                   { return "ToTensor" }
func (ToTensor) String() string                 { return "ToTensor()" }
func (ToTensor) check() error                   { return nil }
func (ToTensor) value(_ int, v float32) float32 { return v / 255 }

// Normalize is torchvision.transforms.Normalize: it subtracts Mean from each channel and divides by Std. Both are of
// values in [0, 1], in the order red, green, blue.
type Normalize struct {
	Mean Channels `json:"mean"`
	Std  Channels `json:"std"`
}

func (Normalize) name() string { return "Normalize" }

func (n Normalize) String() string {
	return fmt.Sprintf("Normalize(mean=%v, std=%v)", n.Mean, n.Std)
}

func (n Normalize) check() error {
	for _, v := range n.Std {
		if float32(v) == 0 {
			return errors.New("a std of 0: nothing can be divided by it")
		}
	}
	return nil
}

func (n Normalize) value(channel int, v float32) float32 {
	return (v - float32(n.Mean[channel])) / float32(n.Std[channel])
}

// Channels holds a number for red, for green and for blue. In JSON it is an array of three.
type Channels [3]float64

func (c Channels) String() string {
	return pythonList("[]", c[:], func(v float64) string {
		s := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	})
}

func (c *Channels) UnmarshalJSON(data []byte) error {
	var values []float64
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	if len(values) != len(c) {
		return fmt.Errorf("%d numbers where there are 3 channels", len(values))
	}
	*c = Channels(values)
	return nil
}

func pythonList[T any](brackets string, list []T, format func(T) string) string {
	var s []string
	for _, v := range list {
		s = append(s, format(v))
	}
	return brackets[:1] + strings.Join(s, ", ") + brackets[1:]
}
