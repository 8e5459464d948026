package plot

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
)

// A Bin holds the predictions whose probabilities lie in one of the equal parts of 0 to 1.
type Bin struct {
	Count      int
	Confidence float64 // mean probability of the predicted classes, 0 to 1
	Accuracy   float64 // share of right predictions, 0 to 1
}

// The colours of the gap between accuracy and confidence, where confidence is the higher and where it is
// the lower.
var (
	over  = color.RGBA{0xf7, 0xc8, 0x9a, 0xff}
	under = color.RGBA{0x9d, 0xbd, 0xe4, 0xff}
)

// Calibration writes the reliability diagram of a classifier as a PNG of 1000×1260 pixels (Guo et al., On
// Calibration of Modern Neural Networks, 2017, figure 1): for each bin a bar up to its accuracy, with the gap
// between that and its confidence in a colour of its own, and below how many predictions it holds. ece is the
// expected calibration error, 0 to 1. It is an error if there is no bin, or a count is negative.
func Calibration(w io.Writer, bins []Bin, ece float64) error {
	if len(bins) == 0 {
		return errors.New("plot: a reliability diagram has at least one bin")
	}
	total, most := 0, 0
	for i, b := range bins {
		if b.Count < 0 {
			return fmt.Errorf("plot: bin %d of the reliability diagram holds the negative count %d", i, b.Count)
		}
		total += b.Count
		most = max(most, b.Count)
	}
	c := newCanvas(1000, 1260)
	c.text("Calibration", 48, 64, 0, style{32, true}, ink)
	c.text(fmt.Sprintf("Expected calibration error %.1f %% (%d photos)", 100*ece, total), 48, 104, 0, style{size: 24}, muted)

	unit := scale{lo: 0, hi: 1, step: 0.2}
	p := panel{c, image.Rect(120, 196, 952, 846), unit, unit}
	p.frame("Accuracy", "")
	c.gapKey(p.area)
	for i, b := range bins {
		if b.Count == 0 {
			continue
		}
		low, high, gap := b.Accuracy, b.Confidence, over
		if low > high {
			low, high, gap = high, low, under
		}
		p.bar(i, len(bins), 0, low, blue)
		p.bar(i, len(bins), low, high, gap)
	}
	p.polyline([]point{p.at(0, 0), p.at(1, 1)}, 3, muted)

	counts := panel{c, image.Rect(120, 956, 952, 1156), unit, countScale(most)}
	counts.frame("Photos", "Probability of the predicted class")
	for i, b := range bins {
		counts.bar(i, len(bins), 0, float64(b.Count), blue)
	}
	return c.encode(w)
}

// countScale has ticks at whole numbers, from 0 to most or beyond.
func countScale(most int) scale {
	step := math.Ceil(niceStep(max(float64(most)/3, 1)))
	return scale{lo: 0, hi: step * math.Ceil(max(float64(most), 1)/step), step: step}
}

// bar paints the i-th of n columns of the panel from one height to another.
func (p panel) bar(i, n int, from, to float64, col color.Color) {
	edge := func(i int) int { return p.area.Min.X + int(math.Round(float64(i)/float64(n)*float64(p.area.Dx()))) }
	height := func(y float64) int { return int(math.Round(p.at(0, y).y)) }
	gap := min(2, p.area.Dx()/n/8)
	p.fill(image.Rect(edge(i)+gap, height(to), edge(i+1)-gap, height(from)), col)
}

// gapKey explains the colours, on the right above the area.
func (c canvas) gapKey(area image.Rectangle) {
	x := float64(area.Max.X)
	for _, entry := range []struct {
		name string
		col  color.Color
	}{{"underconfident", under}, {"overconfident", over}, {"accuracy", blue}} {
		x -= c.width(entry.name, tickStyle)
		c.text(entry.name, x, float64(area.Min.Y-24), 0, tickStyle, ink)
		c.fill(image.Rect(int(x)-34, area.Min.Y-44, int(x)-12, area.Min.Y-22), entry.col)
		x -= 34 + 28
	}
}
