package photo

import (
	"bytes"
	"errors"
	"image"

	"golang.org/x/image/webp"
)

func (d *Decoder) decodeWebP(data []byte, _ image.Config) error {
	// Of the extended header, https://developers.google.com/speed/webp/docs/riff_container.
	const flags, animation = 20, 1 << 1
	if len(data) > flags && string(data[12:16]) == "VP8X" && data[flags]&animation != 0 {
		return errors.New("an animation; save one of its frames as an image")
	}
	m, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		d.setYCbCr(m, upsampler{2, 2, webpH2V2}, webpColors)
	case *image.NYCbCrA:
		d.setYCbCr(&m.YCbCr, upsampler{2, 2, webpH2V2}, webpColors)
	default:
		return d.stored.set(m)
	}
	return nil
}

// webpH2V2 is libwebp's "fancy upsampler" (src/dsp/upsampling.c): the four nearest samples weighed 9 to 3 to 3 to 1,
// with a rounding of its own in between.
func webpH2V2(dst, near, far []uint32, _ int) {
	const mask = 0x1fff * lanes
	n0, f0 := near[0], far[0]
	dst[0] = (3*n0 + f0 + 2*lanes) >> 2 & chromaMask
	for i := 1; i < len(near); i++ {
		n1, f1 := near[i], far[i]
		sum := n0 + n1 + f0 + f1 + 8*lanes
		dst[2*i-1] = ((sum+2*(n1+f0))>>3&mask + n0) >> 1 & chromaMask
		if 2*i < len(dst) {
			dst[2*i] = ((sum+2*(n0+f1))>>3&mask + n1) >> 1 & chromaMask
		}
		n0, f0 = n1, f1
	}
}

// webpColors is libwebp's VP8YuvToRgb (src/dsp/yuv.h): BT.601 of limited range. The terms are rounded down to 64ths one
// by one, and so is the sum.
var webpColors = func() *colorTable {
	const (
		drop = 8  // a product's bits below 64ths
		fill = 10 // those that 65536ths have below 64ths
	)
	t := new(colorTable)
	for i := range 256 {
		y := 19077 * i >> drop
		t.y[i] = raise + entry((y-14234)<<fill, (y+8708)<<fill, (y-17685)<<fill)
		t.cb[i] = entry(0, -(6419*i>>drop)<<fill, 33050*i>>drop<<fill)
		t.cr[i] = entry(26149*i>>drop<<fill, -(13320*i>>drop)<<fill, 0)
	}
	return t
}()
