package photo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
)

func decodeWith(decode func(io.Reader) (image.Image, error)) func(*Decoder, []byte, image.Config) error {
	return func(d *Decoder, data []byte, _ image.Config) error {
		m, err := decode(bytes.NewReader(data))
		if err != nil {
			return err
		}
		return d.stored.set(m)
	}
}

func (d *Decoder) decodePNG(data []byte, _ image.Config) error {
	const colorType, gray = 25, 0 // in the header that starts every PNG
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	// 16-bit grey with a transparent level comes as colour.
	if m, ok := m.(*image.NRGBA64); ok && data[colorType] == gray {
		d.stored.Reset(m.Rect.Dx(), m.Rect.Dy())
		setGray16(d.stored.Pix, m.Pix, 8)
		return nil
	}
	return d.stored.set(m)
}

// set copies a picture as Pillow's convert("RGB") does: alpha is dropped, whatever the colour beneath, and 16 bits
// become 8 by their upper half, except in grey.
func (m *RGB) set(src image.Image) error {
	b := src.Bounds()
	m.Reset(b.Dx(), b.Dy())
	for y := range m.Height {
		row := m.Row(y)
		switch src := src.(type) {
		case *image.Gray:
			setGray(row, src.Pix[y*src.Stride:])
		case *image.Gray16:
			setGray16(row, src.Pix[y*src.Stride:], 2)
		case *image.Paletted:
			setPaletted(row, src.Pix[y*src.Stride:], src.Palette)
		case *image.NRGBA:
			setSamples(row, src.Pix[y*src.Stride:], 4, 1)
		case *image.NRGBA64:
			setSamples(row, src.Pix[y*src.Stride:], 8, 2)
		case *image.RGBA:
			setPremultiplied(row, src.Pix[y*src.Stride:])
		case *image.RGBA64:
			setSamples(row, src.Pix[y*src.Stride:], 8, 2)
		case *image.CMYK:
			setCMYK(row, src.Pix[y*src.Stride:])
		default:
			return fmt.Errorf("pixels of type %T", src)
		}
	}
	return nil
}

func setGray(row, src []uint8) {
	for i := 0; i < len(row); i += 3 {
		v := src[i/3]
		row[i], row[i+1], row[i+2] = v, v, v
	}
}

// setGray16 clips at 255 rather than scaling, as Pillow does with its mode "I;16".
func setGray16(row, src []uint8, pixel int) {
	for i, j := 0, 0; i < len(row); i, j = i+3, j+pixel {
		v := uint8(min(binary.BigEndian.Uint16(src[j:]), 255))
		row[i], row[i+1], row[i+2] = v, v, v
	}
}

func setPaletted(row, src []uint8, palette color.Palette) {
	var colors [256][3]uint8
	for i, c := range palette {
		if c, ok := c.(color.NRGBA); ok {
			colors[i] = [3]uint8{c.R, c.G, c.B}
			continue
		}
		r, g, b, _ := c.RGBA()
		colors[i] = [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}
	}
	for i := 0; i < len(row); i += 3 {
		copy(row[i:i+3], colors[src[i/3]][:])
	}
}

// setSamples takes the first byte of each of the first three samples of a pixel.
func setSamples(row, src []uint8, pixel, sample int) {
	for i, j := 0, 0; i < len(row); i, j = i+3, j+pixel {
		row[i], row[i+1], row[i+2] = src[j], src[j+sample], src[j+2*sample]
	}
}

// setPremultiplied divides by alpha as Pillow's conversion from "RGBa" does.
func setPremultiplied(row, src []uint8) {
	for i, j := 0, 0; i < len(row); i, j = i+3, j+4 {
		copy(row[i:i+3], src[j:j+3])
		if a := int(src[j+3]); a != 0 && a != 255 {
			for c := range 3 {
				row[i+c] = uint8(min(255*int(src[j+c])/a, 255))
			}
		}
	}
}

// setCMYK is Pillow's conversion: each channel is what the ink and then the black leave of white.
func setCMYK(row, src []uint8) {
	for i, j := 0, 0; i < len(row); i, j = i+3, j+4 {
		light := 255 - int(src[j+3])
		for c := range 3 {
			t := int(src[j+c])*light + 128
			row[i+c] = uint8(light - (t+t>>8)>>8)
		}
	}
}
