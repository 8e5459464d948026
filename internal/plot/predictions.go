package plot

import (
	"fmt"
	"image"
	"io"
	"math"
	"sync"

	"golang.org/x/image/draw"
)

// A Prediction is a photo and the class that a model finds most likely for it.
type Prediction struct {
	Image image.Image
	Pred  string
	Truth string  // the true class, empty where nobody knows it
	Prob  float64 // the model's probability for Pred, 0 to 1
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
// predictions; one without a picture is an error.
func Predictions(w io.Writer, predictions []Prediction) error {
	n := len(predictions)
	if n == 0 || n > maxPictures {
		return fmt.Errorf("plot: a picture of predictions shows 1 to %d photos, not %d", maxPictures, n)
	}
	titles := lineHeight + 10 // pixels
	for i, p := range predictions {
		if p.Image == nil || p.Image.Bounds().Empty() {
			return fmt.Errorf("plot: prediction %d (%q) has no picture", i, p.Pred)
		}
		if p.Truth != "" {
			titles = 2*lineHeight + 10
		}
	}

	columns := gridColumns(n)
	rows := (n + columns - 1) / columns
	height := titles + thumb + gutter
	c := newCanvas(columns*(thumb+gutter)+gutter, rows*height+gutter)
	var photos sync.WaitGroup
	for i, p := range predictions {
		x, y := gutter+i%columns*(thumb+gutter), gutter+i/columns*height
		c.titles(p, float64(x), float64(y))
		y += titles
		at := image.Rect(x, y, x+thumb, y+thumb)
		if p.Truth != "" && p.Truth != p.Pred {
			c.SetColor(red)
			c.SetLineWidth(8)
			c.DrawRectangle(float64(x-2), float64(y-2), thumb+4, thumb+4)
			c.Stroke()
		}
		photos.Go(func() { c.photo(p.Image, at) })
	}
	photos.Wait()
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

func (c canvas) titles(p Prediction, x, y float64) {
	col := ink
	switch p.Truth {
	case "":
	case p.Pred:
		col = green
	default:
		col = red
	}
	st, plain := style{26, true}, style{size: 26}
	prob := fmt.Sprintf(" | Prob: %.3f", p.Prob)
	room := thumb - c.width("Pred: "+prob, st)
	c.text("Pred: "+c.fit(p.Pred, room, st)+prob, x, y+24, 0, st, col)
	if p.Truth != "" {
		room := thumb - c.width("True: ", plain)
		c.text("True: "+c.fit(p.Truth, room, plain), x, y+24+lineHeight, 0, plain, col)
	}
}

// photo draws a photo into the middle of the square at, as large as fits. Photos may be drawn side by
// side.
func (c canvas) photo(img image.Image, at image.Rectangle) {
	c.fill(at, faint)
	size := img.Bounds().Size()
	shrink := thumb / float64(max(size.X, size.Y))
	size.X = max(1, int(math.Round(float64(size.X)*shrink)))
	size.Y = max(1, int(math.Round(float64(size.Y)*shrink)))
	corner := at.Min.Add(image.Pt((thumb-size.X)/2, (thumb-size.Y)/2))
	photo := thinned(img, size.Mul(4))
	draw.BiLinear.Scale(c.image(), image.Rectangle{corner, corner.Add(size)}, photo, photo.Bounds(), draw.Over, nil)
}

// thinned leaves out rows and columns of a photo that has more than size, because scaling
// takes time and memory for each of them and few are enough for a thumbnail.
func thinned(photo image.Image, size image.Point) image.Image {
	b := photo.Bounds()
	size = image.Pt(min(size.X, b.Dx()), min(size.Y, b.Dy()))
	if size == b.Size() {
		return photo
	}
	small := image.NewRGBA(image.Rectangle{Max: size})
	draw.NearestNeighbor.Scale(small, small.Rect, photo, b, draw.Src, nil)
	return small
}
