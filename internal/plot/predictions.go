package plot

import (
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

// A Prediction is a photo and the class that a model finds most likely for it.
type Prediction struct {
	Photo func() (*photo.RGB, error) // called once, side by side with that of other photos
	Pred  string
	Truth string  // the true class, empty where nobody knows it
	Prob  float64 // the model's probability for Pred, 0 to 1
	Loss  float64 // cross-entropy, which TopLosses shows
}

const (
	thumb       = 400 // pixels, the side of a photo's square
	gutter      = 40  // pixels between photos
	lineHeight  = 34  // pixels
	maxPictures = 100 // in one picture
)

// Predictions writes a grid of photos as PNG, each under its class and probability
// ("Pred: sushi | Prob: 0.954"): in green where that is the true class, in red and with a frame
// where it isn't, in black where nobody knows. Photos keep their proportions. It takes 1 to 100
// predictions; the error of one whose photo can't be had is returned.
func Predictions(w io.Writer, predictions []Prediction) error {
	return photoGrid(w, predictions, func(Prediction) string { return "" })
}

// TopLosses is [Predictions] with the loss beside the true class ("True: steak | Loss: 3.087"): for the
// photos that a model is most wrong about, in the order in which they are given.
func TopLosses(w io.Writer, predictions []Prediction) error {
	return photoGrid(w, predictions, func(p Prediction) string { return fmt.Sprintf(" | Loss: %.3f", p.Loss) })
}

// photoGrid draws photos with their titles, and the note beside their true class.
func photoGrid(w io.Writer, predictions []Prediction, note func(Prediction) string) error {
	n := len(predictions)
	if n == 0 || n > maxPictures {
		return fmt.Errorf("plot: a picture of predictions shows 1 to %d photos, not %d", maxPictures, n)
	}
	titles := lineHeight + 10 // pixels
	if slices.ContainsFunc(predictions, func(p Prediction) bool { return p.Truth != "" }) {
		titles += lineHeight
	}
	columns := gridColumns(n)
	rows := (n + columns - 1) / columns
	height := titles + thumb + gutter
	c := newCanvas(columns*(thumb+gutter)+gutter, rows*height+gutter)
	corner := func(i int) image.Point { return image.Pt(gutter+i%columns*(thumb+gutter), gutter+i/columns*height) }
	for i, p := range predictions {
		at := corner(i)
		c.titles(p, note(p), float64(at.X), float64(at.Y))
		if p.Truth != "" && p.Truth != p.Pred {
			c.SetColor(red)
			c.SetLineWidth(8)
			c.DrawRectangle(float64(at.X-2), float64(at.Y+titles-2), thumb+4, thumb+4)
			c.Stroke()
		}
	}
	errs := make([]error, n)
	sideBySide(n, func(i int) { errs[i] = c.photo(predictions[i], corner(i).Add(image.Pt(0, titles))) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.encode(w)
}

// gridColumns returns the number of columns, 3 to 5 where there are as many photos, that leaves
// the fewest places empty; the larger of two that leave as many.
func gridColumns(n int) int {
	best := min(n, 5)
	for columns := best; columns >= 3; columns-- {
		empty := func(columns int) int { return (columns - n%columns) % columns }
		if empty(columns) < empty(best) {
			best = columns
		}
	}
	return best
}

func (c canvas) titles(p Prediction, note string, x, y float64) {
	col := ink
	switch p.Truth {
	case "":
	case p.Pred:
		col = green
	default:
		col = red
	}
	line := func(label, class, rest string, y float64, st style) {
		room := thumb - c.width(label+rest, st)
		c.text(label+c.fit(class, room, st)+rest, x, y, 0, st, col)
	}
	line("Pred: ", p.Pred, fmt.Sprintf(" | Prob: %.3f", p.Prob), y+24, style{26, true})
	if p.Truth != "" {
		line("True: ", p.Truth, note, y+24+lineHeight, style{size: 26})
	}
}

// photo draws a prediction's photo into the middle of the square that begins at corner, as large as fits.
func (c canvas) photo(p Prediction, corner image.Point) error {
	img, err := p.Photo()
	if err != nil {
		return err
	}
	shrink := thumb / float64(max(img.Width, img.Height))
	width := max(1, int(math.Round(float64(img.Width)*shrink)))
	height := max(1, int(math.Round(float64(img.Height)*shrink)))
	scaled := transform.Scale(img, width, height, transform.Bilinear)
	c.fill(image.Rectangle{corner, corner.Add(image.Pt(thumb, thumb))}, faint)
	corner = corner.Add(image.Pt((thumb-width)/2, (thumb-height)/2))
	canvas := c.image()
	for y := range height {
		row, pix := scaled.Row(y), canvas.Pix[canvas.PixOffset(corner.X, corner.Y+y):][:4*width]
		for x := range width {
			copy(pix[4*x:], row[3*x:3*x+3]) // the paper below is opaque
		}
	}
	return nil
}
