package plot

import (
	"fmt"
	"image"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

func scatter(points []Point) func(io.Writer) error {
	return func(w io.Writer) error { return Scatter(w, "Models", "Milliseconds", "Accuracy", points) }
}

func TestScatter(t *testing.T) {
	img := picture(t, scatter([]Point{
		{"fast", 2, 0.80, true}, {"slow", 200, 0.95, true}, {"beaten", 20, 0.85, false},
	}))
	if img.Rect != image.Rect(0, 0, 1500, 1000) {
		t.Errorf("the picture is %v", img.Rect)
	}
	panel := image.Rect(124, 152, 1452, 888)
	if pixels(img, panel, blue) == 0 || pixels(img, panel, muted) == 0 || pixels(img, panel, ink) == 0 {
		t.Error("the front, the other points or the names are missing")
	}
	// The slow point lies right of the middle and above the fast one.
	left, right := image.Rect(124, 152, 450, 888), image.Rect(1130, 152, 1452, 888)
	if l, r := centre(img, left), centre(img, right); l <= r {
		t.Errorf("the front is at height %d on the left and %d on the right; it should rise", l, r)
	}
}

// centre returns the mean row of the blue pixels of r.
func centre(img *image.RGBA, r image.Rectangle) int {
	sum, n := 0, 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if img.RGBAAt(x, y) == blue {
				sum += y
				n++
			}
		}
	}
	return sum / max(n, 1)
}

func TestScatterTakesAnyNumber(t *testing.T) {
	var points []Point
	for i := range maxPoints {
		points = append(points, Point{strings.Repeat("name", i), math.Pow(1.5, float64(i)), 0.5, i%2 == 0})
		if n := len(points); n == 1 || n == 20 || n == maxPoints {
			picture(t, scatter(points))
		}
	}
}

func TestScatterRejects(t *testing.T) {
	for _, points := range [][]Point{
		nil,
		make([]Point, maxPoints+1),
		{{"zero", 0, 1, false}},
		{{"negative", -1, 1, false}},
		{{"nan", math.NaN(), 1, false}},
		{{"infinite", 1, math.Inf(1), false}},
	} {
		if err := scatter(points)(io.Discard); err == nil {
			t.Errorf("no error for %d points", len(points))
		}
	}
}

// TestNamesDontOverlap places names one by one as Scatter does.
func TestNamesDontOverlap(t *testing.T) {
	p := panel{newCanvas(1500, 1000), image.Rect(120, 148, 1452, 892), logScale(1, 100), niceScale(0, 1, 8)}
	var taken []image.Rectangle
	var points []Point
	for i := range 12 {
		q := Point{Name: fmt.Sprintf("efficientnet_b%d", i), X: 10 + float64(i)/2, Y: 0.5 + float64(i%3)/50}
		points = append(points, q)
		taken = append(taken, around(p.at(q.X, q.Y), 2*pointSize, 2*pointSize))
	}
	for _, q := range points {
		place := p.name(q, taken)
		if i := slices.IndexFunc(taken, place.Overlaps); i >= 0 || !place.In(p.area) {
			t.Errorf("the name of %s is at %v, over %d", q.Name, place, i)
		}
		taken = append(taken, place)
	}
}

func TestLogScale(t *testing.T) {
	for _, test := range []struct{ lo, hi, wantLo, wantHi float64 }{
		{30, 30, 20, 50},
		{1, 10, 0.5, 20},
		{0.0021, 8, 0.001, 10},
		{2, 900000, 1, 1e6},
		{1e-90, 1e90, 1e-91, 1e91},
	} {
		s := logScale(test.lo, test.hi)
		if math.Abs(s.lo/test.wantLo-1) > 1e-9 || math.Abs(s.hi/test.wantHi-1) > 1e-9 {
			t.Errorf("%g to %g: the scale is from %g to %g, want %g to %g", test.lo, test.hi, s.lo, s.hi, test.wantLo, test.wantHi)
		}
		if ticks := s.ticks(); len(ticks) < 2 {
			t.Errorf("%g to %g: ticks %v", test.lo, test.hi, ticks)
		}
	}
}

func TestLogTicks(t *testing.T) {
	for _, test := range []struct {
		lo, hi float64
		want   []float64
	}{
		{1, 10, []float64{1, 2, 5, 10}},
		{0.3, 3, []float64{0.5, 1, 2}},
		{0.9, 90000, []float64{1, 10, 100, 1000, 10000}},
		{3, 4, nil},
	} {
		got := scale{lo: test.lo, hi: test.hi, log: true}.ticks()
		if !slices.EqualFunc(got, test.want, func(a, b float64) bool { return math.Abs(a/b-1) < 1e-12 }) {
			t.Errorf("%g to %g: ticks %v, want %v", test.lo, test.hi, got, test.want)
		}
	}
}
