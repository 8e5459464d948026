package photo

import (
	"bytes"
	"fmt"
	"image"
	"image/gif"
	"slices"
)

// decodeGIF decodes the first frame. Pillow shows it on a canvas of the transparent colour, or of colour 0 where none is
// transparent.
func (d *Decoder) decodeGIF(data []byte, config image.Config) error {
	data, background := opaqueGIF(data)
	frame, err := gif.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	m, ok := frame.(*image.Paletted)
	if !ok {
		return fmt.Errorf("pixels of type %T", frame)
	}
	canvas := image.NewPaletted(image.Rect(0, 0, config.Width, config.Height), m.Palette)
	if !m.Rect.Eq(canvas.Rect) {
		for i := range canvas.Pix {
			canvas.Pix[i] = background
		}
	}
	for y := range m.Rect.Dy() {
		copy(canvas.Pix[canvas.PixOffset(m.Rect.Min.X, m.Rect.Min.Y+y):], m.Pix[y*m.Stride:][:m.Rect.Dx()])
	}
	return d.stored.set(canvas)
}

// opaqueGIF returns the file with no transparent colour in its first frame, since image/gif forgets what that colour
// looks like, and its index. A file that it can't follow is returned as it is, for image/gif to say what is wrong.
func opaqueGIF(data []byte) (opaque []byte, transparent uint8) {
	const header, extension, graphicControl = 13, 0x21, 0xf9
	if len(data) < header {
		return data, 0
	}
	opaque = slices.Clone(data)
	pos := header
	if flags := data[10]; flags&0x80 != 0 {
		pos += 3 << (1 + flags&7)
	}
	for pos+7 < len(data) && data[pos] == extension {
		if data[pos+1] == graphicControl && data[pos+3]&1 != 0 {
			opaque[pos+3] &^= 1
			transparent = data[pos+6]
		}
		pos += 2
		for pos < len(data) && data[pos] != 0 {
			pos += 1 + int(data[pos])
		}
		pos++
	}
	return opaque, transparent
}
