package plot

import (
	"fmt"
	"image"
	"image/color"
	"io"
)

// A History is what training measured, one value an epoch: losses, and accuracies from 0 to 1.
type History struct {
	TrainLoss, TestLoss         []float64
	TrainAccuracy, TestAccuracy []float64
}

// Curves writes the losses and accuracies of a run, side by side against its epochs, as a PNG of
// 1500×650 pixels. Where a value is NaN, infinite or beyond 1e100 the line has a gap. A history
// without epochs, or one whose four series differ in length, is an error.
func Curves(w io.Writer, title string, h History) error {
	epochs := len(h.TrainLoss)
	if epochs == 0 {
		return fmt.Errorf("plot: the history has no epochs, so there are no curves to draw")
	}
	if len(h.TestLoss) != epochs || len(h.TrainAccuracy) != epochs || len(h.TestAccuracy) != epochs {
		return fmt.Errorf("plot: the history needs four values an epoch, but has %d train losses, %d test losses, %d train accuracies and %d test accuracies",
			epochs, len(h.TestLoss), len(h.TrainAccuracy), len(h.TestAccuracy))
	}

	c := newCanvas(1500, 650)
	heading := style{32, true}
	c.text(c.fit(title, 1080, heading), 48, 64, 0, heading, ink)
	c.legend(1240)
	for i, pair := range []struct {
		name        string
		train, test []float64
	}{
		{"Loss", h.TrainLoss, h.TestLoss},
		{"Accuracy", h.TrainAccuracy, h.TestAccuracy},
	} {
		lo, hi := span(pair.train, pair.test)
		p := panel{c, image.Rect(120, 148, 710, 552).Add(image.Pt(i*740, 0)), epochScale(epochs), niceScale(lo, hi, 5)}
		p.frame(pair.name, "Epoch")
		p.line(pair.train, blue)
		p.line(pair.test, orange)
	}
	return c.encode(w)
}

func (c canvas) legend(x float64) {
	for _, entry := range []struct {
		name string
		col  color.Color
	}{{"train", blue}, {"test", orange}} {
		c.polyline([]point{{x, 56}, {x + 36, 56}}, 5, entry.col)
		c.dot(point{x + 18, 56}, 7, entry.col)
		c.text(entry.name, x+48, 64, 0, tickStyle, ink)
		x += 48 + c.width(entry.name, tickStyle) + 32
	}
}
