// Package plot draws the pictures of a training run as PNG: its loss and accuracy curves
// ([Curves]), photos with what the model says they are ([Predictions], [TopLosses]), which classes it
// mixes up ([Confusion]), and whether its probabilities can be believed ([Calibration]).
//
// The pictures are laid out in pixels for screens of double density: a picture 1500 pixels wide
// is meant to be shown 750 wide. The same input always gives the same bytes.
//
// Text is set in Liberation Sans. What that font lacks is drawn with the 12-pixel glyphs of
// bitmapfont, which cover Chinese, Japanese and Korean; a character that neither has, such as an
// emoji or a line break, appears as its Go escape (\U0001f355), so that no name is ever shown as
// empty boxes. Scripts written from right to left are neither reordered nor joined.
package plot

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"git.sr.ht/~sbinet/gg"
)

// The palette of every picture. Train and test, right and wrong differ in lightness as well as in
// hue, so that they can be told apart without colour vision.
var (
	paper  = color.RGBA{0xff, 0xff, 0xff, 0xff}
	ink    = color.RGBA{0x1f, 0x29, 0x33, 0xff}
	muted  = color.RGBA{0x6b, 0x77, 0x85, 0xff}
	faint  = color.RGBA{0xe3, 0xe8, 0xed, 0xff}
	blue   = color.RGBA{0x24, 0x5f, 0xa8, 0xff}
	orange = color.RGBA{0xec, 0x8a, 0x2e, 0xff}
	green  = color.RGBA{0x1e, 0x7b, 0x4b, 0xff}
	red    = color.RGBA{0xcc, 0x2b, 0x2b, 0xff}
)

// A canvas is a white picture with the few things that all the plots are made of.
type canvas struct {
	*gg.Context
	faces
}

func newCanvas(width, height int) canvas {
	c := canvas{gg.NewContext(width, height), faces{}}
	c.SetColor(paper)
	c.Clear()
	return c
}

// image is what the canvas draws on.
func (c canvas) image() *image.RGBA { return c.Image().(*image.RGBA) }

func (c canvas) encode(w io.Writer) error {
	if err := encodePNG(w, c.image()); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return nil
}

// fill paints the pixels of r, which needs no anti-aliasing.
func (c canvas) fill(r image.Rectangle, col color.Color) {
	draw.Draw(c.image(), r, image.NewUniform(col), image.Point{}, draw.Src)
}

// sideBySide calls do for 0 to n-1, as many at once as there are processors.
func sideBySide(n int, do func(i int)) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	group.Wait()
}

// A point is a place on the canvas, in pixels from its top left corner.
type point struct{ x, y float64 }

// polyline strokes a line through the points, and marks a lone one with a dot.
func (c canvas) polyline(points []point, width float64, col color.Color) {
	if len(points) == 1 {
		c.dot(points[0], 1.5*width, col)
		return
	}
	for _, p := range points {
		c.LineTo(p.x, p.y)
	}
	c.SetColor(col)
	c.SetLineWidth(width)
	c.Stroke()
}

func (c canvas) dot(p point, radius float64, col color.Color) {
	c.SetColor(col)
	c.DrawCircle(p.x, p.y, radius)
	c.Fill()
}
