package augment

import (
	"math"

	"github.com/graft-ml/graft/internal/photo"
)

// adjustHue turns the hue by factor, from -0.5 to 0.5 of a full turn, with the arithmetic of Pillow's conversions to HSV
// and back (src/libImaging/Convert.c), which has 256 hues and saturations.
func adjustHue(img *photo.RGB, factor float64) {
	shift := uint8(int32(factor * 255))
	for pix := img.Pix; len(pix) >= 3; pix = pix[3:] {
		h, s, v := hsv(pix[0], pix[1], pix[2])
		pix[0], pix[1], pix[2] = rgb(h+shift, s, v)
	}
}

func hsv(r, g, b uint8) (h, s, v uint8) {
	high, low := max(r, g, b), min(r, g, b)
	if high == low {
		return 0, 0, high
	}
	span := float32(high - low)
	rc, gc, bc := float32(high-r)/span, float32(high-g)/span, float32(high-b)/span
	var hue float32
	switch high {
	case r:
		hue = bc - gc
	case g:
		hue = float32(2 + float64(rc) - float64(bc))
	default:
		hue = float32(4 + float64(gc) - float64(rc))
	}
	turn := float64(hue)/6 + 1
	if turn >= 1 {
		turn--
	}
	return uint8(float64(float32(turn)) * 255), uint8(float64(span/float32(high)) * 255), high
}

func rgb(h, s, v uint8) (r, g, b uint8) {
	if s == 0 {
		return v, v, v
	}
	sector := &sectors[h]
	f, fs := sector.rest, float32(s)/255
	value := float64(v)
	round := func(v float64) uint8 { return uint8(v + 0.5) }
	p := round(float64(value * (1 - float64(fs))))
	q := round(float64(value * (1 - float64(fs*f))))
	t := round(float64(value * (1 - float64(float64(fs)*(1-float64(f))))))
	switch sector.number {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	default:
		return v, p, q
	}
}

// sectors tells where each hue lies: in which sixth of the circle, and how far into it.
var sectors = func() (t [256]struct {
	number int
	rest   float32
}) {
	for h := range t {
		sixth := math.Floor(float64(h) * 6 / 255)
		t[h].number = int(sixth) % 6
		t[h].rest = float32(float64(h)*6/255 - sixth)
	}
	return t
}()
