package plot

import (
	"fmt"
	"image"
	"io"
)

// Rates writes the loss against the learning rate as a PNG of 1500×750 pixels, with a logarithmic
// axis of rates and a dot at each of the marked ones, which are named. It takes at least two points,
// whose rates are above 0.
func Rates(w io.Writer, title string, rates, losses []float64, marks []Mark) error {
	if len(rates) < 2 || len(losses) != len(rates) {
		return fmt.Errorf("plot: a curve needs at least two points, not %d rates and %d losses", len(rates), len(losses))
	}
	var line []point
	low, high := span(rates)
	if !(low > 0) {
		return fmt.Errorf("plot: a rate of %g can't be drawn on a logarithmic axis", low)
	}
	least, most := span(losses)
	most = min(most, least+1.5*(losses[0]-least)) // what explodes in the end goes beyond the top
	if !(most > least) {
		least, most = span(losses)
	}
	c := newCanvas(1500, 750)
	heading := style{32, true}
	c.text(c.fit(title, 1400, heading), 48, 64, 0, heading, ink)
	p := panel{c, image.Rect(120, 148, 1452, 652), logScale(low, high), niceScale(least, most, 6)}
	p.frame("Loss, smoothed", "Learning rate")
	for i, rate := range rates {
		if !shown(losses[i]) || losses[i] > p.y.hi {
			break
		}
		line = append(line, p.at(rate, losses[i]))
	}
	p.polyline(line, 5, blue)
	for i, m := range marks {
		at, name := p.at(m.Rate, m.Loss), fmt.Sprintf("%s: %.3g", m.Name, m.Rate)
		p.dot(at, pointSize, orange)
		if i%2 == 0 { // below the curve, which falls, and above it
			p.text(name, at.x-16, at.y+30, 1, tickStyle, ink)
		} else {
			p.text(name, at.x+16, at.y-14, 0, tickStyle, ink)
		}
	}
	return c.encode(w)
}

// A Mark is a point of a curve that has a name.
type Mark struct {
	Name       string
	Rate, Loss float64
}
