package plot

import (
	"image"
	"image/color"
	"math"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"codeberg.org/go-fonts/liberation/liberationsansbold"
	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"github.com/hajimehoshi/bitmapfont/v3"
	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// A style is a size in pixels and a weight.
type style struct {
	size float64
	bold bool
}

// text draws s with its baseline at y. Of its width, the share anchor lies left of x: 0 for text
// that starts at x, 0.5 for centred, 1 for text that ends there.
func (c canvas) text(s string, x, y, anchor float64, st style, col color.Color) {
	f := c.face(st)
	s = f.escape(s)
	c.SetFontFace(f)
	c.SetColor(col)
	c.DrawString(s, math.Round(x-anchor*f.width(s)), math.Round(y))
}

// upright draws s from bottom to top: text, turned left about (x, y).
func (c canvas) upright(s string, x, y, anchor float64, st style, col color.Color) {
	c.Push()
	c.Translate(math.Round(x), math.Round(y))
	c.Rotate(-math.Pi / 2)
	c.text(s, 0, 0, anchor, st, col)
	c.Pop()
}

// width returns how many pixels wide text draws s.
func (fs faces) width(s string, st style) float64 {
	f := fs.face(st)
	return f.width(f.escape(s))
}

// fit returns s, or as much of its start as is at most width pixels wide with an ellipsis.
func (fs faces) fit(s string, width float64, st style) string {
	const longest = 200 // characters; more never fit, and measuring them takes time
	runes := []rune(s[:min(len(s), 4*longest)])
	if len(runes) <= longest && fs.width(s, st) <= width {
		return s
	}
	runes = runes[:min(len(runes), longest)]
	shortened := func(n int) string { return strings.TrimRight(string(runes[:n]), " ") + "…" }
	tooLong := sort.Search(len(runes), func(n int) bool { return fs.width(shortened(n), st) > width })
	return shortened(max(tooLong-1, 0))
}

// faces are the faces of the styles that were used; they may not be used concurrently.
type faces map[style]*face

func (fs faces) face(st style) *face {
	if fs[st] == nil {
		fs[st] = newFace(st)
	}
	return fs[st]
}

// A face is Liberation Sans, with bitmapfont's glyphs in the size of its text for what it lacks.
type face struct {
	font.Face
	font  *sfnt.Font
	scale float64 // of the bitmap glyphs
}

var (
	regular = sync.OnceValue(func() *sfnt.Font { return parse(liberationsansregular.TTF) })
	bold    = sync.OnceValue(func() *sfnt.Font { return parse(liberationsansbold.TTF) })
)

func parse(ttf []byte) *sfnt.Font {
	f, err := sfnt.Parse(ttf)
	if err != nil {
		panic("plot: the font that is part of the program: " + err.Error())
	}
	return f
}

func newFace(st style) *face {
	f := regular()
	if st.bold {
		f = bold()
	}
	// An OpenType face of a parsed font can't fail: NewFace has no error to return.
	outlines, _ := opentype.NewFace(f, &opentype.FaceOptions{Size: st.size, DPI: 72})
	return &face{outlines, f, st.size / 12}
}

// escape returns s with what f can't show written as Go writes it in a string.
func (f *face) escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && (f.hasOutline(r) || hasBitmap(r)) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

func (f *face) width(s string) float64 {
	return float64(font.MeasureString(f, s)) / 64
}

func (f *face) hasOutline(r rune) bool {
	i, err := f.font.GlyphIndex(nil, r)
	return err == nil && i != 0
}

// hasBitmap tells whether bitmapfont draws anything for r. Its own answer is no help: it offers a
// blank glyph for each character that it lacks.
func hasBitmap(r rune) bool {
	_, mask, at, _, ok := bitmapfont.Face.Glyph(fixed.Point26_6{}, r)
	if !ok {
		return false
	}
	cell := mask.Bounds().Intersect(image.Rectangle{at, at.Add(image.Pt(12, 16))})
	for y := cell.Min.Y; y < cell.Max.Y; y++ {
		for x := cell.Min.X; x < cell.Max.X; x++ {
			if _, _, _, a := mask.At(x, y).RGBA(); a != 0 {
				return true
			}
		}
	}
	return false
}

// Glyph, GlyphAdvance and Kern are what font.Drawer and font.MeasureString ask of a font.Face.

func (f *face) Glyph(dot fixed.Point26_6, r rune) (image.Rectangle, image.Image, image.Point, fixed.Int26_6, bool) {
	if f.hasOutline(r) {
		return f.Face.Glyph(dot, r)
	}
	from, mask, at, advance, ok := bitmapfont.Face.Glyph(fixed.Point26_6{}, r)
	if !ok {
		return image.Rectangle{}, nil, image.Point{}, 0, false
	}
	scaled := func(v int) int { return int(math.Round(float64(v) * f.scale)) }
	to := image.Rect(scaled(from.Min.X), scaled(from.Min.Y), scaled(from.Max.X), scaled(from.Max.Y))
	glyph := image.NewAlpha(image.Rectangle{Max: to.Size()})
	draw.CatmullRom.Scale(glyph, glyph.Rect, mask, image.Rectangle{at, at.Add(from.Size())}, draw.Src, nil)
	return to.Add(image.Pt(dot.X.Round(), dot.Y.Round())), glyph, image.Point{}, f.scaled(advance), true
}

func (f *face) GlyphAdvance(r rune) (fixed.Int26_6, bool) {
	if f.hasOutline(r) {
		return f.Face.GlyphAdvance(r)
	}
	advance, ok := bitmapfont.Face.GlyphAdvance(r)
	return f.scaled(advance), ok
}

func (f *face) Kern(a, b rune) fixed.Int26_6 {
	if f.hasOutline(a) && f.hasOutline(b) {
		return f.Face.Kern(a, b)
	}
	return 0
}

func (f *face) scaled(v fixed.Int26_6) fixed.Int26_6 {
	return fixed.Int26_6(math.Round(float64(v) * f.scale))
}
