package plot

import (
	"cmp"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"slices"
)

// A Point is something that two numbers say how good it is: the smaller X and the greater Y, the better.
type Point struct {
	Name  string
	X, Y  float64 // X is above 0
	Front bool    // on the Pareto front: no other point is better in one and as good in the other
}

const (
	maxPoints = 500
	pointSize = 9 // pixels, the radius of a dot
)

var nameStyle = style{size: 22}

// Scatter writes points as a PNG of 1500×1000 pixels, with a logarithmic X axis. Those of the Pareto
// front are blue and joined by a line. Each has its name beside it, where no other name or point is
// as long as there is such a place. It takes 1 to 500 points; one whose X isn't above 0, or that is
// infinite or NaN, is an error.
func Scatter(w io.Writer, title, xName, yName string, points []Point) error {
	if n := len(points); n == 0 || n > maxPoints {
		return fmt.Errorf("plot: a scatter plot shows 1 to %d points, not %d", maxPoints, n)
	}
	var xs, ys []float64
	for _, p := range points {
		if !(p.X > 0) || !shown(p.X) || !shown(p.Y) {
			return fmt.Errorf("plot: point %q lies at (%g, %g), where it can't be drawn", p.Name, p.X, p.Y)
		}
		xs, ys = append(xs, p.X), append(ys, p.Y)
	}
	xLow, xHigh := span(xs)
	yLow, yHigh := span(ys)

	c := newCanvas(1500, 1000)
	heading := style{32, true}
	c.text(c.fit(title, 1080, heading), 48, 64, 0, heading, ink)
	c.dot(point{1240, 56}, pointSize, blue)
	c.text("Pareto front", 1264, 64, 0, tickStyle, ink)
	p := panel{c, image.Rect(120, 148, 1452, 892), logScale(xLow, xHigh), niceScale(yLow, yHigh, 8)}
	p.frame(yName, xName)
	p.points(points)
	return c.encode(w)
}

func (p panel) points(points []Point) {
	points = slices.SortedFunc(slices.Values(points), func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(a.Y, b.Y), cmp.Compare(a.Name, b.Name))
	})
	var front []point
	var taken []image.Rectangle
	for _, q := range points {
		at := p.at(q.X, q.Y)
		if q.Front {
			front = append(front, at)
		}
		taken = append(taken, around(at, 2*pointSize, 2*pointSize))
	}
	if len(front) > 1 {
		p.polyline(front, 3, blue)
		taken = append(taken, along(front)...)
	}
	for _, q := range points {
		p.dot(p.at(q.X, q.Y), pointSize, q.colour())
	}
	for _, front := range []bool{true, false} { // whose names are worth the best places
		for _, q := range points {
			if q.Front == front {
				taken = append(taken, p.name(q, taken))
			}
		}
	}
}

func (q Point) colour() color.Color {
	if q.Front {
		return blue
	}
	return muted
}

// name writes the name of a point where it overlaps least with what is taken, and returns the place.
func (p panel) name(q Point, taken []image.Rectangle) image.Rectangle {
	at := p.at(q.X, q.Y)
	name := p.fit(q.Name, 340, nameStyle)
	width, height := p.width(name, nameStyle), 28.0
	var best image.Rectangle
	least, far := math.MaxInt, false
	for ring := range 5 {
		room := pointSize + 4 + 30*float64(ring)
		dx, dy := room+width/2, room+height/2
		for _, shift := range []point{{dx, 0}, {-dx, 0}, {0, -dy}, {0, dy}, {dx, -dy}, {dx, dy}, {-dx, -dy}, {-dx, dy}} {
			place := around(point{at.x + shift.x, at.y + shift.y}, width, height)
			overlap := place.Dx()*place.Dy() - area(place.Intersect(p.area))
			for _, t := range taken {
				overlap += area(place.Intersect(t))
			}
			if overlap < least {
				best, least, far = place, overlap, ring > 0
			}
		}
	}
	if far {
		nearest := point{min(max(at.x, float64(best.Min.X)), float64(best.Max.X)), min(max(at.y, float64(best.Min.Y)), float64(best.Max.Y))}
		p.polyline([]point{at, nearest}, 1, muted)
	}
	p.text(name, float64(best.Min.X), float64(best.Max.Y)-7, 0, nameStyle, ink)
	return best
}

// along returns little squares along a line, for names to keep clear of it.
func along(line []point) (squares []image.Rectangle) {
	const step = 12.0 // pixels
	for i, to := range line[1:] {
		from := line[i]
		length := math.Hypot(to.x-from.x, to.y-from.y)
		for at := step; at < length; at += step {
			t := at / length
			squares = append(squares, around(point{from.x + t*(to.x-from.x), from.y + t*(to.y-from.y)}, 6, 6))
		}
	}
	return squares
}

// around returns the rectangle of that size with at in its middle.
func around(at point, width, height float64) image.Rectangle {
	return image.Rect(int(math.Round(at.x-width/2)), int(math.Round(at.y-height/2)),
		int(math.Round(at.x+width/2)), int(math.Round(at.y+height/2)))
}

func area(r image.Rectangle) int { return r.Dx() * r.Dy() }
