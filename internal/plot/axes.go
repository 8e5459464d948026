package plot

import (
	"image"
	"image/color"
	"math"
	"strconv"
)

// A scale is the range of an axis, with ticks at the multiples of step. A logarithmic one has no step:
// its ticks are 1, 2 and 5 times the powers of ten, or the powers alone where that is too many.
type scale struct {
	lo, hi, step float64
	log          bool
}

// logScale covers lo to hi, both above 0, with some air at both ends, and ends on ticks.
func logScale(lo, hi float64) scale {
	const air, reach = 1.1, 20
	s := scale{lo: lo / reach, hi: hi * reach, log: true}
	for _, tick := range s.ticks() {
		if tick <= lo/air {
			s.lo = tick
		}
		if tick >= hi*air {
			s.hi = tick
			break
		}
	}
	return s
}

// share returns where v lies on the axis, from 0 at its low end to 1 at its high end.
func (s scale) share(v float64) float64 {
	if s.log {
		return math.Log(v/s.lo) / math.Log(s.hi/s.lo)
	}
	return (v - s.lo) / (s.hi - s.lo)
}

// niceScale covers lo to hi with about the given number of steps, each 1, 2, 2.5 or 5 times a
// power of ten, and ends on ticks.
func niceScale(lo, hi float64, steps int) scale {
	if size := max(math.Abs(lo), math.Abs(hi)); hi-lo <= 1e-9*size {
		pad := max(0.1*size, 0.1)
		lo, hi = lo-pad, hi+pad
	}
	step := niceStep((hi - lo) / float64(steps))
	return scale{lo: math.Floor(lo/step+1e-9) * step, hi: math.Ceil(hi/step-1e-9) * step, step: step}
}

// niceStep returns the least step of niceScale that is not less than atLeast.
func niceStep(atLeast float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(atLeast)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*unit >= atLeast*(1-1e-9) {
			return f * unit
		}
	}
	return 10 * unit
}

// epochScale has ticks at whole epochs, from 1 to n, and a little air at both ends.
func epochScale(n int) scale {
	air := min(max(0.03*float64(n-1), 0.25), 0.75)
	step := niceStep(max(float64(n-1)/10, 1))
	if step == 2.5 {
		step = 5
	}
	return scale{lo: 1 - air, hi: float64(n) + air, step: step}
}

func (s scale) ticks() []float64 {
	if s.log {
		return s.logTicks()
	}
	var ticks []float64
	last := int(math.Floor(s.hi/s.step + 1e-9))
	for i := int(math.Ceil(s.lo/s.step - 1e-9)); i <= last; i++ {
		ticks = append(ticks, float64(i)*s.step)
	}
	return ticks
}

func (s scale) logTicks() []float64 {
	factors := []float64{1, 2, 5}
	if s.hi/s.lo > 1e4 {
		factors = factors[:1]
	}
	var ticks []float64
	for unit := math.Pow(10, math.Floor(math.Log10(s.lo))); unit <= s.hi; unit *= 10 {
		for _, f := range factors {
			tick, _ := strconv.ParseFloat(strconv.FormatFloat(f*unit, 'g', 3, 64), 64) // without the error of unit
			if s.lo <= tick && tick <= s.hi {
				ticks = append(ticks, tick)
			}
		}
	}
	return ticks
}

// label writes a tick with as many decimals as the step needs.
func (s scale) label(tick float64) string {
	size := max(math.Abs(s.lo), math.Abs(s.hi))
	switch {
	case size >= 1e6 || s.step < 1e-4 && !s.log || s.lo < 1e-4 && s.log:
		return strconv.FormatFloat(tick, 'g', 3, 64)
	case s.log:
		return strconv.FormatFloat(tick, 'f', -1, 64)
	}
	decimals := 0
	for unit := s.step; decimals < 6 && math.Abs(unit-math.Round(unit)) > 1e-6; decimals++ {
		unit *= 10
	}
	return strconv.FormatFloat(tick, 'f', decimals, 64)
}

// A panel is a pair of axes in a rectangle of a canvas.
type panel struct {
	canvas
	area image.Rectangle
	x, y scale
}

var tickStyle = style{size: 24}

// frame draws the grid with its labels, the panel's title above and the name of the x axis below.
func (p panel) frame(title, xName string) {
	left, right := float64(p.area.Min.X), float64(p.area.Max.X)
	top, bottom := float64(p.area.Min.Y), float64(p.area.Max.Y)
	for _, tick := range p.y.ticks() {
		y := math.Round(p.at(p.x.lo, tick).y)
		p.fill(image.Rect(p.area.Min.X, int(y)-1, p.area.Max.X, int(y)+1), faint)
		p.text(p.y.label(tick), left-14, y+8, 1, tickStyle, muted)
	}
	p.fill(image.Rect(p.area.Min.X, p.area.Max.Y-1, p.area.Max.X, p.area.Max.Y+1), muted)
	for _, tick := range p.x.ticks() {
		x := math.Round(p.at(tick, p.y.lo).x)
		p.fill(image.Rect(int(x)-1, p.area.Max.Y, int(x)+1, p.area.Max.Y+8), muted)
		p.text(p.x.label(tick), x, bottom+36, 0.5, tickStyle, muted)
	}
	p.text(title, left, top-24, 0, style{26, true}, ink)
	p.text(xName, (left+right)/2, bottom+74, 0.5, tickStyle, ink)
}

func (p panel) at(x, y float64) point {
	return point{
		float64(p.area.Min.X) + p.x.share(x)*float64(p.area.Dx()),
		float64(p.area.Max.Y) - p.y.share(y)*float64(p.area.Dy()),
	}
}

// line draws ys against 1, 2, 3 and so on, with a gap where a value can't be shown, and with a dot
// on each value while they are few.
func (p panel) line(ys []float64, col color.Color) {
	var run []point
	for i, y := range ys {
		if !shown(y) {
			p.polyline(run, 5, col)
			run = nil
			continue
		}
		at := p.at(float64(i+1), y)
		if len(ys) <= 25 {
			p.dot(at, 7, col)
		}
		run = append(run, at)
	}
	p.polyline(run, 5, col)
}

// shown tells whether a value has a place on an axis: NaN, the infinities and what comes near them
// have none.
func shown(v float64) bool { return math.Abs(v) <= 1e100 }

// span returns the least and the greatest of the values that can be shown, or 0 and 1 without any.
func span(series ...[]float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, values := range series {
		for _, v := range values {
			if shown(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	if lo > hi {
		return 0, 1
	}
	return lo, hi
}
