package plot

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"
)

const maxCells = 2000 // in a row, with a pixel each

// Confusion writes how often each true class (a row) was taken for each class (a column) as PNG.
// The colour of a cell is its share of the row. Counts and class names are left out where there are
// too many classes to read them; of more than 2000, neighbours share a cell. matrix is square, in the order
// of classes, and holds no negative counts; anything else is an error, as is no class.
func Confusion(w io.Writer, classes []string, matrix [][]int) error {
	n := len(classes)
	if n == 0 {
		return errors.New("plot: a confusion matrix has at least one class")
	}
	if len(matrix) != n {
		return fmt.Errorf("plot: the confusion matrix of %d classes has %d rows", n, len(matrix))
	}
	for i, row := range matrix {
		if len(row) != n {
			return fmt.Errorf("plot: row %d of the confusion matrix of %d classes has %d columns", i, n, len(row))
		}
		for j, count := range row {
			if count < 0 {
				return fmt.Errorf("plot: the confusion matrix holds the negative count %d in row %d, column %d", count, i, j)
			}
		}
	}

	shown := min(n, maxCells)
	g := newGrid(classes[:shown])
	g.cells(merged(matrix, shown))
	g.names(classes[:shown])
	g.axisNames()
	g.header(matrix)
	g.colourBar()
	return g.encode(w)
}

// merged returns a matrix of n rows and columns, which is the given one or holds the sums of its cells.
func merged(matrix [][]int, n int) [][]int {
	if len(matrix) == n {
		return matrix
	}
	small := make([][]int, n)
	for i := range small {
		small[i] = make([]int, n)
	}
	for i, row := range matrix {
		for j, count := range row {
			small[i*n/len(matrix)][j*n/len(matrix)] += count
		}
	}
	return small
}

// A grid is a canvas with a square of cells on it, and room for names to the left and below.
type grid struct {
	canvas
	area  image.Rectangle // of the cells
	cell  int             // pixels
	name  style           // of the class names
	room  float64         // pixels, for the longest name; 0 if names are left out
	below int             // pixels, for the names of the columns
}

const (
	smallestText = 11  // pixels; what would be smaller is left out
	longestName  = 300 // pixels
)

func newGrid(classes []string) grid {
	n := len(classes)
	g := grid{cell: max(1, min(1100/n, 180), min(1600/n, 16))}
	g.name.size = min(26, 0.75*float64(g.cell))
	if g.name.size >= smallestText {
		f := faces{}
		for _, class := range classes {
			g.room = max(g.room, f.width(f.fit(class, longestName, g.name), g.name))
		}
		g.below = 30
		if g.upright() {
			g.below = int(g.room)
		}
	}
	left, top, side := 104+int(g.room), 136, n*g.cell
	g.area = image.Rect(left, top, left+side, top+side)
	g.canvas = newCanvas(max(g.area.Max.X+200, 640), g.area.Max.Y+g.below+90)
	return g
}

// upright tells whether the names of the columns are too wide to stand side by side.
func (g grid) upright() bool { return g.room > float64(g.cell)-12 }

func (g grid) cells(matrix [][]int) {
	largest := 0
	for _, row := range matrix {
		largest = max(largest, slices.Max(row))
	}
	digits := len(strconv.Itoa(largest))
	count := style{size: min(30, 0.45*float64(g.cell), 1.5*float64(g.cell)/float64(digits))}
	gap := min(2, g.cell/8)
	for i, row := range matrix {
		total := 0.0
		for _, n := range row {
			total += float64(n)
		}
		for j, n := range row {
			share := float64(n) / max(total, 1)
			cell := image.Rect(0, 0, g.cell-gap, g.cell-gap).Add(g.area.Min).Add(image.Pt(j, i).Mul(g.cell))
			g.fill(cell, shade(share))
			if count.size < smallestText {
				continue
			}
			col := ink
			switch {
			case n == 0:
				col = muted
			case share > 0.35:
				col = paper
			}
			g.text(strconv.Itoa(n), g.middle(cell.Min.X), g.middle(cell.Min.Y)+0.36*count.size, 0.5, count, col)
		}
	}
}

func (g grid) middle(start int) float64 { return float64(start) + float64(g.cell)/2 }

// shade is the colour of a share from 0 to 1: from nearly white to blue, by its square root so
// that a few mistakes among many photos still show.
func shade(share float64) color.RGBA {
	mix := func(from, to uint8) uint8 {
		return uint8(math.Round(float64(from) + math.Sqrt(share)*(float64(to)-float64(from))))
	}
	low := color.RGBA{0xf1, 0xf5, 0xf9, 0xff}
	return color.RGBA{mix(low.R, blue.R), mix(low.G, blue.G), mix(low.B, blue.B), 0xff}
}

func (g grid) names(classes []string) {
	if g.room == 0 {
		return
	}
	for i, class := range classes {
		class = g.fit(class, longestName, g.name)
		x, y := g.middle(g.area.Min.X+i*g.cell), g.middle(g.area.Min.Y+i*g.cell)
		drop := 0.36 * g.name.size // from the middle of a line to its baseline
		g.text(class, float64(g.area.Min.X)-14, y+drop, 1, g.name, ink)
		if g.upright() {
			g.canvas.upright(class, x+drop, float64(g.area.Max.Y)+12, 1, g.name, ink)
		} else {
			g.text(class, x, float64(g.area.Max.Y)+34, 0.5, g.name, ink)
		}
	}
}

func (g grid) axisNames() {
	middle := g.area.Min.Add(g.area.Max).Div(2)
	st := style{24, true}
	g.canvas.upright("True", 56, float64(middle.Y), 0.5, st, muted)
	g.text("Predicted", float64(middle.X), float64(g.area.Max.Y+g.below)+58, 0.5, st, muted)
}

func (g grid) header(matrix [][]int) {
	right, total := 0.0, 0.0
	for i, row := range matrix {
		right += float64(row[i])
		for _, n := range row {
			total += float64(n)
		}
	}
	g.text("Confusion matrix", 36, 60, 0, style{32, true}, ink)
	g.text(fmt.Sprintf("%.0f of %.0f right (%.1f %%)", right, total, 100*right/max(total, 1)), 36, 98, 0, style{size: 24}, muted)
}

// colourBar explains the colours.
func (g grid) colourBar() {
	x, y, height := g.area.Max.X+40, g.area.Min.Y, g.area.Dy()
	for i := range height {
		g.fill(image.Rect(x, y+i, x+24, y+i+1), shade(1-float64(i)/float64(height-1)))
	}
	g.text("100 %", float64(x+36), float64(y+18), 0, tickStyle, muted)
	g.text("of row", float64(x+36), float64(y+46), 0, tickStyle, muted)
	g.text("0 %", float64(x+36), float64(y+height), 0, tickStyle, muted)
}
