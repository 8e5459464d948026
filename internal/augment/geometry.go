package augment

import (
	"math"
	"slices"
	"strconv"

	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

func flipHorizontal(img *photo.RGB) {
	for y := range img.Height {
		row := img.Row(y)
		for i, j := 0, len(row)-3; i < j; i, j = i+3, j-3 {
			row[i], row[j] = row[j], row[i]
			row[i+1], row[j+1] = row[j+1], row[i+1]
			row[i+2], row[j+2] = row[j+2], row[i+2]
		}
	}
}

func flipVertical(img *photo.RGB) {
	for y := range img.Height / 2 {
		above, below := img.Row(y), img.Row(img.Height-1-y)
		for i, v := range above {
			above[i], below[i] = below[i], v
		}
	}
}

// A matrix maps the coordinates of a result's pixel (x, y) to those of its source: (0·x + 1·y + 2, 3·x + 4·y + 5), where
// the numbers are indices.
type matrix [6]float64

// at returns where a point comes from. The conversions keep compilers from fusing, which would round differently.
func (m *matrix) at(x, y float64) (float64, float64) {
	return float64(m[0]*x) + float64(m[1]*y) + m[2], float64(m[3]*x) + float64(m[4]*y) + m[5]
}

// rotate makes dst of src turned counter-clockwise about its middle by degrees, of the same size.
func rotate(dst, src *photo.RGB, degrees float64, by transform.Interpolation, fill Fill) {
	degrees = math.Mod(degrees, 360)
	if degrees < 0 {
		degrees += 360
	}
	quarter := (degrees == 90 || degrees == 270) && src.Width == src.Height
	switch {
	case degrees == 0 || degrees == 180:
		dst.Reset(src.Width, src.Height)
		copy(dst.Pix, src.Pix)
		if degrees == 180 {
			flipHorizontal(dst)
			flipVertical(dst)
		}
	case quarter:
		rotateQuarter(dst, src, degrees == 90)
	default:
		affine(dst, src, rotation(degrees, float64(src.Width)/2, float64(src.Height)/2), by, fill)
	}
}

// rotateQuarter turns a square picture.
func rotateQuarter(dst, src *photo.RGB, counterClockwise bool) {
	dst.Reset(src.Width, src.Height)
	n := src.Width
	for y := range n {
		row := dst.Row(y)
		for x := range n {
			sx, sy := y, n-1-x
			if counterClockwise {
				sx, sy = n-1-y, x
			}
			copy(row[3*x:3*x+3], src.Pix[3*(sy*n+sx):])
		}
	}
}

// rotation is the matrix of Pillow's Image.rotate, about (x, y), with its rounding.
func rotation(degrees, x, y float64) *matrix {
	sin, cos := math.Sincos(-degrees * (math.Pi / 180))
	sin, cos = round15(sin), round15(cos)
	m := &matrix{cos, sin, 0, -sin, cos, 0}
	m[2], m[5] = m.at(-x, -y)
	m[2] += x
	m[5] += y
	return m
}

// round15 is Python's round(v, 15).
func round15(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'f', 15, 64), 64)
	return v
}

// shearX is the matrix of torchvision's F.affine for a shear about the upper left corner by an angle in degrees, which is
// computed from its tangent and back.
func shearX(tangent float64) *matrix { return &matrix{1, math.Tan(angle(tangent)), 0, 0, 1, 0} }

// shearY is the same downwards.
func shearY(tangent float64) *matrix {
	sin, cos := math.Sincos(angle(tangent))
	return &matrix{1, 0, 0, sin / cos, 1, 0}
}

func angle(tangent float64) float64 { return math.Atan(tangent) * (180 / math.Pi) * (math.Pi / 180) }

// translate makes dst of src moved by whole pixels to the right and down.
func translate(dst, src *photo.RGB, right, down int, fill Fill) {
	dst.Reset(src.Width, src.Height)
	fill.paint(dst.Pix)
	from, to := max(0, -right), min(src.Width, src.Width-right)
	if from >= to {
		return
	}
	for y := max(0, down); y < min(src.Height, src.Height+down); y++ {
		copy(dst.Row(y)[3*(from+right):], src.Row(y - down)[3*from:3*to])
	}
}

// affine makes dst of the size of src as Pillow's Image.transform(AFFINE) does (src/libImaging/Geometry.c). What comes
// from outside is filled.
func affine(dst, src *photo.RGB, m *matrix, by transform.Interpolation, fill Fill) {
	dst.Reset(src.Width, src.Height)
	fill.paint(dst.Pix)
	switch by {
	case transform.Nearest:
		affineNearest(dst, src, m)
	case transform.Bicubic:
		affineFiltered(dst, src, m, bicubic)
	default:
		affineFiltered(dst, src, m, bilinear)
	}
}

// affineNearest has coordinates of 16 fractional bits. Those of pictures of [transform.MaxSize] fit, as in Pillow.
func affineNearest(dst, src *photo.RGB, m *matrix) {
	fix := func(v float64) int { return int(math.Floor(float64(v*65536) + 0.5)) }
	x0, y0 := fix(m[2]+float64(m[0]*0.5)+float64(m[1]*0.5)), fix(m[5]+float64(m[3]*0.5)+float64(m[4]*0.5))
	right, rightDown, down, downDown := fix(m[0]), fix(m[3]), fix(m[1]), fix(m[4])
	for row := range dst.Height {
		x, y := x0+row*down, y0+row*downDown
		out := dst.Row(row)
		for i := 0; i+2 < len(out); i += 3 {
			if sx, sy := x>>16, y>>16; uint(sx) < uint(src.Width) && uint(sy) < uint(src.Height) {
				px := src.Pix[3*(sy*src.Width+sx):][:3]
				out[i], out[i+1], out[i+2] = px[0], px[1], px[2]
			}
			x, y = x+right, y+rightDown
		}
	}
}

// affineFiltered computes each pixel whose place in the source is within by the filter, which is given the source, the
// pixel to the upper left of the place and how far from its middle the place is.
func affineFiltered(dst, src *photo.RGB, m *matrix, filter func(out []uint8, src *photo.RGB, x, y int, dx, dy float64)) {
	width, height := float64(src.Width), float64(src.Height)
	for row := range dst.Height {
		out := dst.Row(row)
		for column := range dst.Width {
			x, y := m.at(float64(column)+0.5, float64(row)+0.5)
			if x < 0 || x >= width || y < 0 || y >= height {
				continue
			}
			x -= 0.5
			y -= 0.5
			left, top := int(x+1)-1, int(y+1)-1
			filter(out[3*column:3*column+3], src, left, top, x-float64(left), y-float64(top))
		}
	}
}

func bilinear(out []uint8, src *photo.RGB, x, y int, dx, dy float64) {
	left, right := 3*max(x, 0), 3*min(x+1, src.Width-1)
	above, below := src.Row(max(y, 0)), src.Row(min(y+1, src.Height-1))
	a, b := above[left:left+3], above[right:right+3]
	c, d := below[left:left+3], below[right:right+3]
	for i := range out[:3] {
		upper := float64(a[i]) + float64(float64(int(b[i])-int(a[i]))*dx)
		lower := float64(c[i]) + float64(float64(int(d[i])-int(c[i]))*dx)
		out[i] = uint8(int32(upper + float64((lower-upper)*dy)))
	}
}

func bicubic(out []uint8, src *photo.RGB, x, y int, dx, dy float64) {
	var columns [4]int
	for i := range columns {
		columns[i] = 3 * min(max(x-1+i, 0), src.Width-1)
	}
	var sums [4][3]float64
	for i := range sums {
		row := src.Row(min(max(y-1+i, 0), src.Height-1))
		a, b, c, d := row[columns[0]:], row[columns[1]:], row[columns[2]:], row[columns[3]:]
		for channel := range 3 {
			sums[i][channel] = cubic(float64(a[channel]), float64(b[channel]), float64(c[channel]), float64(d[channel]), dx)
		}
	}
	for channel := range 3 {
		v := cubic(sums[0][channel], sums[1][channel], sums[2][channel], sums[3][channel], dy)
		out[channel] = uint8(int32(min(max(v, 0), 255)))
	}
}

// cubic is the cubic convolution with a = -1 at d between b and c.
func cubic(a, b, c, d, at float64) float64 {
	p2, p3, p4 := c-a, float64(2*(a-b))+c-d, b-a-c+d
	return b + float64(at*(p2+float64(at*(p3+float64(at*p4)))))
}

// paint gives all pixels the colour.
func (f Fill) paint(pix []uint8) {
	if f == (Fill{}) {
		clear(pix)
		return
	}
	for chunk := range slices.Chunk(pix, 3) {
		copy(chunk, f[:])
	}
}
