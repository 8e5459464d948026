package photo

import (
	"bytes"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"io"
)

// adobeCMYK is a JPEG's beginning with an Adobe marker that says "no colour transform".
const adobeCMYK = "\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"

func (d *Decoder) decodeJPEG(data []byte, config image.Config) error {
	d.stored.Reset(config.Width, config.Height)
	if d.jpeg.Decode(d.stored.Pix, config.Width, config.Height, data) {
		return nil
	}
	var r io.Reader = bytes.NewReader(data)
	// image/jpeg refuses four components without an Adobe marker, where libjpeg assumes CMYK. A marker in the file
	// overrides the one put in front.
	if config.ColorModel == color.CMYKModel {
		r = io.MultiReader(bytes.NewReader([]byte(adobeCMYK)), bytes.NewReader(data[2:]))
	}
	m, err := stdjpeg.Decode(r)
	if err != nil {
		return err
	}
	if m, ok := m.(*image.YCbCr); ok {
		d.setYCbCr(m, jpegUpsampler(m), jpegColors)
		return nil
	}
	return d.stored.set(m)
}

// jpegUpsampler chooses as libjpeg does (jinit_upsampler in jdsample.c): "fancy" interpolation, but replication in
// pictures too narrow for it and for the rarer ratios.
func jpegUpsampler(m *image.YCbCr) upsampler {
	narrow := m.Rect.Dx() <= 4
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		if narrow {
			return replicate(2, 1)
		}
		return upsampler{2, 1, fancyH2V1}
	case image.YCbCrSubsampleRatio420:
		if narrow {
			return replicate(2, 2)
		}
		return upsampler{2, 2, fancyH2V2}
	case image.YCbCrSubsampleRatio440:
		return upsampler{1, 2, fancyH1V2}
	case image.YCbCrSubsampleRatio411:
		return replicate(4, 1)
	case image.YCbCrSubsampleRatio410:
		return replicate(4, 2)
	}
	return replicate(1, 1)
}

// fancyH2V1 weighs the two nearest samples 3 to 1. The biases of 1 and 2 alternate so that halves are rounded up as
// often as down.
func fancyH2V1(dst, near, _ []uint32, _ int) {
	last, this := near[0], near[0]
	for i, next := range near[1:] {
		px := dst[2*i : 2*i+2]
		px[0] = (3*this + last + 1*lanes) >> 2 & chromaMask
		px[1] = (3*this + next + 2*lanes) >> 2 & chromaMask
		last, this = this, next
	}
}

func fancyH1V2(dst, near, far []uint32, y int) {
	bias := uint32(1+y%2) * lanes
	near, far = near[:len(dst)], far[:len(dst)]
	for i := range dst {
		dst[i] = (3*near[i] + far[i] + bias) >> 2 & chromaMask
	}
}

// fancyH2V2 weighs the four nearest samples 9 to 3 to 3 to 1.
func fancyH2V2(dst, near, far []uint32, _ int) {
	last := 3*near[0] + far[0]
	this := last
	far = far[1:len(near)]
	for i, n := range near[1:] {
		next := 3*n + far[i]
		px := dst[2*i : 2*i+2]
		px[0] = (3*this + last + 8*lanes) >> 4 & chromaMask
		px[1] = (3*this + next + 7*lanes) >> 4 & chromaMask
		last, this = this, next
	}
}

// jpegColors is libjpeg's ycc_rgb_convert (jdcolor.c): JFIF's full-range BT.601,
//
//	R = Y + 1.40200 Cr,  G = Y - 0.34414 Cb - 0.71414 Cr,  B = Y + 1.77200 Cb,
//
// with Cb and Cr less 128. Halves are rounded up.
var jpegColors = func() *colorTable {
	const (
		crR, cbG, crG, cbB = 91881, 22554, 46802, 116130 // in 65536ths
		half               = 1 << 15
	)
	t := new(colorTable)
	for i := range 256 {
		y, c := i<<16, i-128
		t.y[i] = raise + entry(y, y+half, y)
		t.cb[i] = entry(0, -cbG*c, (cbB*c+half)&^0xffff)
		t.cr[i] = entry((crR*c+half)&^0xffff, -crG*c, 0)
	}
	return t
}()
