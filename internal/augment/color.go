package augment

import (
	"github.com/graft-ml/graft/internal/photo"
)

// A table holds what becomes of each byte of each channel.
type table [3][256]uint8

func (t *table) apply(pix []uint8) {
	r, g, b := &t[0], &t[1], &t[2]
	for i := 2; i < len(pix); i += 3 {
		pix[i-2], pix[i-1], pix[i] = r[pix[i-2]], g[pix[i-1]], b[pix[i]]
	}
}

// each applies f to all channels.
func each(pix []uint8, f func(v int) uint8) {
	var t table
	for v := range 256 {
		t[0][v] = f(v)
	}
	t[1], t[2] = t[0], t[0]
	t.apply(pix)
}

// A blender has the arithmetic of Pillow's Image.blend: from + alpha·(to − from) in float32, cut off, for from + 255 steps
// up or down.
type blender [511]float32

func newBlender(factor float64) *blender {
	b := new(blender)
	for i := range b {
		b[i] = float32(factor) * float32(i-255)
	}
	return b
}

func (b *blender) blend(from, to uint8) uint8 {
	v := float32(from) + b[int(to)-int(from)+255]
	switch {
	case v <= 0:
		return 0
	case v >= 255:
		return 255
	}
	return uint8(int32(v))
}

// adjustBrightness is torchvision's of that name, on PIL images as all that follow: from black at 0 to the picture at 1
// and on.
func adjustBrightness(img *photo.RGB, factor float64) {
	b := newBlender(factor)
	each(img.Pix, func(v int) uint8 { return b.blend(0, uint8(v)) })
}

// adjustContrast goes from the mean grey at 0 to the picture at 1 and on.
func adjustContrast(img *photo.RGB, factor float64) {
	sum := 0
	for pix := img.Pix; len(pix) >= 3; pix = pix[3:] {
		sum += int(gray(pix))
	}
	mean := uint8(float64(sum)/float64(img.Width*img.Height) + 0.5)
	b := newBlender(factor)
	each(img.Pix, func(v int) uint8 { return b.blend(mean, uint8(v)) })
}

// adjustSaturation goes from grey at 0 to the picture at 1 and on.
func adjustSaturation(img *photo.RGB, factor float64) {
	b := newBlender(factor)
	for pix := img.Pix; len(pix) >= 3; pix = pix[3:] {
		g := gray(pix)
		pix[0], pix[1], pix[2] = b.blend(g, pix[0]), b.blend(g, pix[1]), b.blend(g, pix[2])
	}
}

// gray is the luma of ITU-R 601-2 in 16 bits, as Pillow's convert("L").
func gray(rgb []uint8) uint8 {
	return uint8((uint32(rgb[0])*19595 + uint32(rgb[1])*38470 + uint32(rgb[2])*7471 + 0x8000) >> 16)
}

func toGrayscale(img *photo.RGB) {
	for pix := img.Pix; len(pix) >= 3; pix = pix[3:] {
		g := gray(pix)
		pix[0], pix[1], pix[2] = g, g, g
	}
}

// adjustSharpness makes dst of src: smoothed at 0, the picture itself at 1, sharper beyond. The outermost pixels stay.
func adjustSharpness(dst, src *photo.RGB, factor float64) {
	dst.Reset(src.Width, src.Height)
	copy(dst.Pix, src.Pix)
	b := newBlender(factor)
	for y := 1; y < src.Height-1; y++ {
		sharpen(dst.Row(y), src.Row(y-1), src.Row(y), src.Row(y+1), b)
	}
}

func sharpen(dst, above, row, below []uint8, b *blender) {
	above, row, below = above[:len(dst)], row[:len(dst)], below[:len(dst)]
	column := func(i int) int { return int(above[i]) + int(row[i]) + int(below[i]) }
	for i := 3; i < len(dst)-3; i++ {
		v := row[i]
		dst[i] = b.blend(smooth[column(i-3)+column(i)+column(i+3)+4*int(v)], v)
	}
}

// smooth is Pillow's ImageFilter.SMOOTH: the weighed sum of 3 × 3 pixels, of which the middle one counts 5 times, divided
// by 13 and rounded. As a sum is a whole number, it never lies so near to a half that float32 would round it otherwise.
var smooth = func() (t [13*255 + 1]uint8) {
	for sum := range t {
		t[sum] = uint8((2*sum + 13) / 26)
	}
	return t
}()

func posterize(img *photo.RGB, bits int) {
	mask := uint8(0xff << (8 - bits))
	each(img.Pix, func(v int) uint8 { return uint8(v) & mask })
}

// solarize inverts what isn't below the threshold, 0 to 255.
func solarize(img *photo.RGB, threshold float64) {
	each(img.Pix, func(v int) uint8 {
		if float64(v) < threshold {
			return uint8(v)
		}
		return uint8(255 - v)
	})
}

// histograms counts the bytes of each channel.
func histograms(img *photo.RGB) (h [3][256]int) {
	for pix := img.Pix; len(pix) >= 3; pix = pix[3:] {
		h[0][pix[0]]++
		h[1][pix[1]]++
		h[2][pix[2]]++
	}
	return h
}

// autocontrast stretches each channel to the whole range.
func autocontrast(img *photo.RGB) {
	var t table
	for c, counts := range histograms(img) {
		low, high := 0, 255
		for low < 255 && counts[low] == 0 {
			low++
		}
		for high > 0 && counts[high] == 0 {
			high--
		}
		scale := 1.0
		if low < high {
			scale = 255 / float64(high-low)
		} else {
			low = 0
		}
		offset := float64(-low) * scale
		for v := range t[c] {
			t[c][v] = uint8(min(max(int(float64(float64(v)*scale)+offset), 0), 255))
		}
	}
	t.apply(img.Pix)
}

// equalize gives each channel's bytes about the same number of pixels.
func equalize(img *photo.RGB) {
	var t table
	for c, counts := range histograms(img) {
		last := 255
		for counts[last] == 0 {
			last--
		}
		step := (img.Width*img.Height - counts[last]) / 255
		n := step / 2
		for v := range t[c] {
			t[c][v] = uint8(v)
			if step > 0 {
				t[c][v] = uint8(min(n/step, 255))
			}
			n += counts[v]
		}
	}
	t.apply(img.Pix)
}
