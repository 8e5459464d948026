package plot

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/image/math/fixed"

	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/testutil"
)

// picture runs a plot twice, checks that both runs gave the same bytes, and decodes them.
func picture(t *testing.T, plot func(io.Writer) error) *image.RGBA {
	t.Helper()
	var first, second bytes.Buffer
	if err := plot(&first); err != nil {
		t.Fatal(err)
	}
	if err := plot(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same input gave different bytes")
	}
	img, err := png.Decode(&first)
	if err != nil {
		t.Fatal(err)
	}
	return img.(*image.RGBA)
}

// pixels counts how many pixels of r have exactly the colour.
func pixels(img *image.RGBA, r image.Rectangle, col color.RGBA) int {
	n := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if img.RGBAAt(x, y) == col {
				n++
			}
		}
	}
	return n
}

// blank tells whether r is white all over.
func blank(img *image.RGBA, r image.Rectangle) bool {
	return pixels(img, r, paper) == r.Dx()*r.Dy()
}

func constant(n int, v float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = v
	}
	return values
}

func TestCurves(t *testing.T) {
	h := History{
		TrainLoss: []float64{1.0, 0.5, 0.25, 0.0}, TestLoss: constant(4, 0.8),
		TrainAccuracy: []float64{0.2, 0.6, 0.8, 1.0}, TestAccuracy: constant(4, 0.4),
	}
	img := picture(t, func(w io.Writer) error { return Curves(w, "pizza", h) })
	if got := img.Bounds().Size(); got != image.Pt(1500, 650) {
		t.Errorf("size %v, want 1500×650", got)
	}
	loss, accuracy := image.Rect(120, 148, 710, 552), image.Rect(860, 148, 1450, 552)
	for name, c := range map[string]struct {
		area image.Rectangle // as shares of the panel's hundredths
		in   image.Rectangle
		col  color.RGBA
	}{
		"train loss starts at the top left":         {image.Rect(0, -3, 20, 15), loss, blue},
		"train loss ends at the bottom right":       {image.Rect(85, 90, 100, 103), loss, blue},
		"test loss runs at 0.8 of 1":                {image.Rect(40, 15, 60, 25), loss, orange},
		"train accuracy starts at the bottom left":  {image.Rect(0, 85, 20, 103), accuracy, blue},
		"train accuracy ends at the top right":      {image.Rect(85, -3, 100, 15), accuracy, blue},
		"test accuracy runs at a quarter of 0.2–1":  {image.Rect(40, 70, 60, 80), accuracy, orange},
		"the legend names the training set in blue": {image.Rect(185, -30, 200, -15), loss, blue},
	} {
		at := func(p image.Point) image.Point {
			return c.in.Min.Add(image.Pt(p.X*c.in.Dx()/100, p.Y*c.in.Dy()/100))
		}
		if pixels(img, image.Rectangle{at(c.area.Min), at(c.area.Max)}, c.col) < 50 {
			t.Error("missing:", name)
		}
	}
	if n := pixels(img, image.Rect(120, 400, 710, 552), orange); n != 0 {
		t.Errorf("%d pixels of the test loss where it never was", n)
	}
}

func TestCurvesLeavesGaps(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
		h := History{TrainLoss: []float64{0, 0.5, v, 0.5, 1}, TestLoss: constant(5, v), TrainAccuracy: constant(5, v), TestAccuracy: constant(5, v)}
		img := picture(t, func(w io.Writer) error { return Curves(w, "", h) })
		panel := image.Rect(120, 148, 710, 552)
		third := image.Rect(400, 148, 430, 551)
		if pixels(img, panel, blue) == 0 || pixels(img, third, blue) != 0 {
			t.Errorf("%v: want a train loss with a gap at the third epoch", v)
		}
		if pixels(img, panel, orange) != 0 {
			t.Errorf("%v: a test loss was drawn that has no place on the axis", v)
		}
	}
}

func TestCurvesOfAnyLength(t *testing.T) {
	for _, n := range []int{1, 2, 10, 200, 5000} {
		h := History{constant(n, 0.5), constant(n, 0.5), constant(n, 0.25), constant(n, 0.75)}
		img := picture(t, func(w io.Writer) error { return Curves(w, strings.Repeat("長い題 🍕\n", 1000), h) })
		for x := range 2 {
			if pixels(img, image.Rect(120, 148, 710, 552).Add(image.Pt(740*x, 0)), orange) < 100 {
				t.Errorf("%d epochs: panel %d shows no test curve", n, x)
			}
		}
		if pixels(img, image.Rect(1200, 30, 1260, 80), blue) == 0 || !blank(img, image.Rect(1140, 0, 1235, 100)) {
			t.Errorf("%d epochs: the title runs into the legend", n)
		}
	}
}

func TestCurvesRejects(t *testing.T) {
	if err := Curves(io.Discard, "", History{}); err == nil {
		t.Error("no error without epochs")
	}
	for i := range 4 {
		series := [4][]float64{{1, 2}, {1, 2}, {1, 2}, {1, 2}}
		series[i] = series[i][:1]
		if err := Curves(io.Discard, "", History{series[0], series[1], series[2], series[3]}); err == nil {
			t.Errorf("no error where series %d is shorter", i)
		}
	}
}

func TestEpochTicksAreWhole(t *testing.T) {
	for n := 1; n < 2000; n++ {
		s := epochScale(n)
		ticks := s.ticks()
		if len(ticks) == 0 || len(ticks) > 11 {
			t.Fatalf("%d epochs: ticks %v", n, ticks)
		}
		for _, tick := range ticks {
			if tick != math.Trunc(tick) || tick < 1 || tick > float64(n) {
				t.Fatalf("%d epochs: tick %v", n, tick)
			}
		}
	}
}

func TestNiceScale(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		want   string
	}{
		{0, 1, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{0.1, 1.3, "0.00 0.25 0.50 0.75 1.00 1.25 1.50"},
		{0.4, 0.99, "0.4 0.6 0.8 1.0"},
		{-3, 12, "-5 0 5 10 15"},
		{0.5, 0.5, "0.40 0.45 0.50 0.55 0.60"},
		{0, 0, "-0.10 -0.05 0.00 0.05 0.10"},
		{0, 4e6, "0 1e+06 2e+06 3e+06 4e+06"},
		{1e100, 1e100 * (1 + 1e-15), "9e+99 9.5e+99 1e+100 1.05e+100 1.1e+100"},
	} {
		s := niceScale(c.lo, c.hi, 5)
		var labels []string
		for _, tick := range s.ticks() {
			labels = append(labels, s.label(tick))
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("%v to %v: ticks %s, want %s", c.lo, c.hi, got, c.want)
		}
	}
}

func uniform(w, h int, col color.RGBA) func() (*photo.RGB, error) {
	return func() (*photo.RGB, error) {
		return &photo.RGB{Pix: bytes.Repeat([]byte{col.R, col.G, col.B}, w*h), Width: w, Height: h}, nil
	}
}

func TestPredictions(t *testing.T) {
	blueish := color.RGBA{10, 20, 200, 255}
	img := picture(t, func(w io.Writer) error {
		return Predictions(w, []Prediction{
			{uniform(80, 40, blueish), "sushi", "sushi", 0.954, 0},
			{uniform(40, 80, blueish), "sushi", "steak", 0.5, 0},
			{uniform(1, 10000, blueish), "sushi", "", 1, 0},
		})
	})
	if got := img.Bounds().Size(); got != image.Pt(3*440+40, 78+400+40+40) {
		t.Errorf("size %v", got)
	}
	titles := func(i int) image.Rectangle { return image.Rect(40+440*i, 40, 440+440*i, 118) }
	for i, want := range []color.RGBA{green, red, ink} {
		for _, col := range []color.RGBA{green, red, ink} {
			if n := pixels(img, titles(i), col); (n > 100) != (col == want) {
				t.Errorf("photo %d: %d pixels of %v in its title", i, n, col)
			}
		}
	}
	truth := func(i int) image.Rectangle { return titles(i).Add(image.Pt(0, lineHeight)).Intersect(titles(i)) }
	if blank(img, truth(0)) || blank(img, truth(1)) || !blank(img, truth(2)) {
		t.Error("the true class belongs under the title where it is known, and only there")
	}
	frame := image.Rect(474, 112, 486, 530)
	if pixels(img, frame, red) < 8*300 || pixels(img, frame.Add(image.Pt(-440, 0)), red) != 0 {
		t.Error("a frame belongs around the wrong prediction alone")
	}
	for i, want := range []int{400 * 200, 192 * 400, 1 * 400} { // the frame covers part of the second
		at := image.Rect(40+440*i, 118, 440+440*i, 518)
		if n := pixels(img, at, blueish); n < want*95/100 || n > max(want, 400*200) {
			t.Errorf("photo %d covers %d pixels, want %d", i, n, want)
		}
	}
}

func TestPredictionsGrid(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 3, 7: 4, 8: 4, 9: 3, 10: 5, 12: 4, 15: 5, 20: 5, 100: 5} {
		if got := gridColumns(n); got != want {
			t.Errorf("%d photos: %d columns, want %d", n, got, want)
		}
	}
}

func TestPredictionsTakesAnyName(t *testing.T) {
	for _, name := range []string{"", "\x00\xff\n", "寿司", "🍕", strings.Repeat("W", 1<<20), strings.Repeat("披", 1<<20), "é́́́"} {
		img := picture(t, func(w io.Writer) error {
			return TopLosses(w, []Prediction{{uniform(2, 2, red), name, name + "?", math.NaN(), 0}, {uniform(2, 2, red), "a", "b", math.Inf(-1), 0}})
		})
		if !blank(img, image.Rect(441, 0, 479, 110)) {
			t.Errorf("a title of %.10q runs out of its column", name)
		}
	}
}

// TestTopLosses has the losses in the second line of the titles, and nothing else that Predictions hasn't.
func TestTopLosses(t *testing.T) {
	shown := []Prediction{{uniform(4, 4, blue), "sushi", "steak", 0.9, 3.25}, {uniform(4, 4, blue), "sushi", "sushi", 0.5, 0.7}}
	plain := picture(t, func(w io.Writer) error { return Predictions(w, shown) })
	losses := picture(t, func(w io.Writer) error { return TopLosses(w, shown) })
	for i := range shown {
		behind := image.Rect(176+440*i, 40+lineHeight, 440+440*i, 108)
		if !blank(plain, behind) || blank(losses, behind) {
			t.Errorf("photo %d: its loss belongs behind the true class of TopLosses alone", i)
		}
		draw.Draw(losses, behind, image.White, image.Point{}, draw.Src)
	}
	if !bytes.Equal(plain.Pix, losses.Pix) {
		t.Error("there are other differences than the losses")
	}
}

func TestPredictionsRejects(t *testing.T) {
	broken := func() (*photo.RGB, error) { return nil, errBroken }
	for name, predictions := range map[string][]Prediction{
		"none":     {},
		"too many": make([]Prediction, 101),
		"no photo": {{Photo: uniform(2, 2, red), Pred: "pizza"}, {Photo: broken, Pred: "pizza"}},
	} {
		var file bytes.Buffer
		if err := Predictions(&file, predictions); err == nil || file.Len() > 0 || (name == "no photo") != errors.Is(err, errBroken) {
			t.Errorf("%s: %v, and %d bytes", name, err, file.Len())
		}
	}
}

func TestPredictionsOfPhotos(t *testing.T) {
	files, _ := filepath.Glob(testutil.Shared(t, "data", "pizza_steak_sushi", "test", "sushi") + "/*.jpg")
	var predictions []Prediction
	for _, file := range files[:4] {
		read := func() (*photo.RGB, error) {
			encoded, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			return photo.Decode(encoded)
		}
		predictions = append(predictions, Prediction{read, "sushi", "sushi", 0.9, 0})
	}
	img := picture(t, func(w io.Writer) error { return Predictions(w, predictions) })
	if got := img.Bounds().Dx(); got != 4*440+40 {
		t.Errorf("4 photos are %d pixels wide", got)
	}
}

func TestConfusion(t *testing.T) {
	img := picture(t, func(w io.Writer) error {
		return Confusion(w, []string{"pizza", "steak"}, [][]int{{10, 0}, {25, 75}})
	})
	g := newGrid([]string{"pizza", "steak"})
	for i, row := range [][]float64{{1, 0}, {0.25, 0.75}} {
		for j, share := range row {
			cell := image.Rect(0, 0, g.cell, g.cell).Add(g.area.Min).Add(image.Pt(j, i).Mul(g.cell))
			if n := pixels(img, cell, shade(share)); n < g.cell*g.cell*9/10 {
				t.Errorf("row %d, column %d: %d pixels have the colour of %v", i, j, n, share)
			}
		}
	}
}

func TestConfusionOfManyClasses(t *testing.T) {
	for _, n := range []int{1, 7, 20, 101, 2500} {
		classes, matrix := make([]string, n), make([][]int, n)
		for i := range n {
			classes[i], matrix[i] = fmt.Sprintf("class %d", i), make([]int, n)
			matrix[i][i] = 3
		}
		classes[0] = strings.Repeat("寿司 🍕 ", 5000)
		img := picture(t, func(w io.Writer) error { return Confusion(w, classes, matrix) })
		g := newGrid(classes[:min(n, 2000)])
		if size := img.Bounds().Size(); size.X > 2400 || size.Y > 2400 || !g.area.In(img.Bounds()) {
			t.Errorf("%d classes: cells %v in a picture of %v", n, g.area, size)
		}
		if named := g.room > 0; named != (n <= 101) {
			t.Errorf("%d classes: named %v", n, named)
		}
		if pixels(img, g.area, blue) < g.area.Dx()*g.cell/2 {
			t.Errorf("%d classes: the diagonal is missing", n)
		}
	}
}

func TestConfusionRejects(t *testing.T) {
	for name, c := range map[string]struct {
		classes []string
		matrix  [][]int
	}{
		"no classes":   {nil, nil},
		"missing rows": {[]string{"a", "b"}, [][]int{{1, 2}}},
		"ragged rows":  {[]string{"a", "b"}, [][]int{{1, 2}, {1}}},
		"negative":     {[]string{"a", "b"}, [][]int{{1, 2}, {1, -1}}},
	} {
		if err := Confusion(io.Discard, c.classes, c.matrix); err == nil {
			t.Error("no error for", name)
		}
	}
}

func TestCalibration(t *testing.T) {
	bins := make([]Bin, 10)
	bins[3] = Bin{2, 0.35, 0.8} // underconfident
	bins[7] = Bin{8, 0.75, 0.5} // overconfident
	img := picture(t, func(w io.Writer) error { return Calibration(w, bins, 0.1) })
	area, counts := image.Rect(120, 196, 952, 846), image.Rect(120, 956, 952, 1156)
	for i, want := range map[int]struct {
		col       color.RGBA
		blue, gap float64 // shares of the height
	}{3: {under, 0.35, 0.45}, 7: {over, 0.5, 0.25}, 5: {under, 0, 0}} {
		column := image.Rect(area.Min.X+i*area.Dx()/10+20, area.Min.Y, area.Min.X+i*area.Dx()/10+21, area.Max.Y)
		line := 12.0 // pixels that the diagonal covers at most
		for _, part := range []struct {
			col   color.RGBA
			share float64
		}{{blue, want.blue}, {want.col, want.gap}} {
			if got := float64(pixels(img, column, part.col)); math.Abs(got-part.share*float64(area.Dy())) > line {
				t.Errorf("bin %d: %v pixels of %v, want %v of the height", i, got, part.col, part.share)
			}
		}
	}
	few, many := pixels(img, image.Rect(380, counts.Min.Y, 440, counts.Max.Y), blue), pixels(img, image.Rect(710, counts.Min.Y, 770, counts.Max.Y), blue)
	if few == 0 || math.Abs(float64(many)/float64(few)-4) > 0.2 {
		t.Errorf("bars of %d and %d pixels for 2 and 8 photos", few, many)
	}
}

func TestCalibrationTakesAnyCounts(t *testing.T) {
	for _, n := range []int{1, 15, 500} {
		for _, count := range []int{0, 1e9} {
			bins := make([]Bin, n)
			bins[n-1] = Bin{count, 1, 1}
			picture(t, func(w io.Writer) error { return Calibration(w, bins, 0) })
		}
	}
	for most := range 3000 {
		s := countScale(most)
		ticks := s.ticks()
		if s.hi < float64(most) || len(ticks) < 2 || len(ticks) > 5 || s.step != math.Trunc(s.step) {
			t.Fatalf("counts up to %d have the ticks %v", most, ticks)
		}
	}
}

func TestCalibrationRejects(t *testing.T) {
	for _, bins := range [][]Bin{nil, {{-1, 0, 0}}} {
		if err := Calibration(io.Discard, bins, 0); err == nil {
			t.Errorf("no error for %v", bins)
		}
	}
}

// TestEscape has what is shown as it is, and what as an escape.
func TestEscape(t *testing.T) {
	f := newFace(style{size: 24})
	for s, want := range map[string]string{
		"crème brûlée": "crème brûlée",
		"寿司 ピザ 披萨 초밥":  "寿司 ピザ 披萨 초밥",
		"🍕 pizza\n":    `\U0001f355 pizza\n`,
		"a\x00b\xff":   `a\x00b\ufffd`,
		"\ue000":       `\ue000`,
	} {
		got := f.escape(s)
		if got != want {
			t.Errorf("escape(%q) = %q, want %q", s, got, want)
		}
		for _, r := range got {
			_, mask, _, advance, ok := f.Glyph(fixed.Point26_6{}, r)
			if !ok || advance == 0 || mask == nil && !unicode.IsSpace(r) {
				t.Errorf("%q has no glyph", r)
			}
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("disk full")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrors(t *testing.T) {
	if err := Curves(brokenWriter{}, "", History{[]float64{1}, []float64{1}, []float64{1}, []float64{1}}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}
