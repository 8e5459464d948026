// Package photo turns the bytes of an image file into RGB pixels.
//
// The pixels are those of Pillow 13's
//
//	ImageOps.exif_transpose(Image.open(f)).convert("RGB")
//
// which is what torchvision's datasets feed to a network, so a model trained on one side sees the same picture on the
// other. Package [jpeg] reads the usual JPEGs, and Go's own decoders all else; this package adds what they lack for that:
//
//   - the chroma interpolation of libwebp, and of libjpeg where package jpeg leaves a file to image/jpeg,
//   - the fixed-point colour conversions of both libraries,
//   - Pillow's reading of 16-bit grey, CMYK, transparency and GIF canvases,
//   - the EXIF orientation.
//
// JPEG, PNG, WebP, GIF, BMP, TIFF, PPM and PGM come out bit for bit. Exceptions are the JPEGs that image/jpeg decodes: RGB,
// CMYK, chroma at a quarter of the resolution and files with oddities. In these the inverse DCT may round to neighbouring
// values, by a level in each component, which makes up to three in the RGB; and CMYK with subsampling is upsampled by
// replication. TIFFs with fax compression are the other exception.
//
// Animated WebP, BMP with run-length coding or 16 bits, TIFF with JPEG compression or CMYK, and JPEG with 12 bits or
// arithmetic coding are refused with an error that says so.
//
// A [Decoder] keeps its buffers from one photo to the next; [Decode] is for a single one.
package photo

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"

	"github.com/graft-ml/graft/internal/photo/jpeg"
)

// Version changes whenever a photo's pixels or what package transform makes of them do, so that what was computed from them earlier isn't taken for what would be
// computed now.
const Version = "2"

// RGB is a picture of 8-bit red, green and blue samples.
type RGB struct {
	// Pix holds Height rows of Width pixels of 3 bytes, from the top left, without padding.
	Pix           []uint8
	Width, Height int
}

// Reset makes m a picture of the given size with arbitrary content, in its old memory where that suffices.
func (m *RGB) Reset(width, height int) {
	n := 3 * width * height
	m.Pix = slices.Grow(m.Pix[:0], n)[:n]
	m.Width, m.Height = width, height
}

// Row returns the pixels of a row, which alias Pix.
func (m *RGB) Row(y int) []uint8 {
	return m.Pix[3*m.Width*y:][:3*m.Width]
}

// Image returns a copy of the picture as one of the standard library's.
func (m *RGB) Image() image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := range m.Width * m.Height {
		copy(img.Pix[4*i:], m.Pix[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	return img
}

const (
	// MaxPixels is the largest area decoded: twice Pillow's MAX_IMAGE_PIXELS, where Pillow too refuses.
	MaxPixels = 178_956_970
	// MaxSide is the largest width or height decoded. It is JPEG's and GIF's own limit, and well above WebP's.
	MaxSide = 65_535
	// smallPixels is an area whose decoding takes so little memory that the file's size needn't vouch for it.
	smallPixels = 1 << 22
)

var (
	// ErrFormat is the error for bytes that are no image of a known format.
	ErrFormat = errors.New("not a JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or PGM image")
	// ErrTooLarge is the error for an image beyond MaxPixels or MaxSide.
	ErrTooLarge = fmt.Errorf("too large: the limits are %d pixels and %d a side", MaxPixels, MaxSide)
)

// A Decoder decodes photos one after the other in memory that it keeps. The zero value is ready. It must not be used by
// two goroutines at once.
type Decoder struct {
	stored  RGB      // as the file has it
	upright RGB      // after the EXIF orientation
	chroma  []uint32 // one row, see upsampler
	jpeg    jpeg.Decoder
}

// Decode decodes a single photo. To decode many, keep a [Decoder].
func Decode(data []byte) (*RGB, error) {
	return new(Decoder).Decode(data)
}

// Decode returns the upright pixels of an image file, of which data are all the bytes. The format is told from the
// bytes. The picture is valid until the next call; data isn't kept.
//
// Errors say what is wrong with the bytes, and leave it to the caller to name the file. [ErrFormat] and [ErrTooLarge]
// can be tested for; other errors are damaged files and features that the decoders lack.
func (d *Decoder) Decode(data []byte) (m *RGB, err error) {
	// The decoders are other people's, the files anybody's: one bad photo must not end a run over a hundred thousand.
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("damaged image: the decoder panicked: %v", r)
		}
	}()
	return d.decode(data)
}

func (d *Decoder) decode(data []byte) (*RGB, error) {
	f := sniff(data)
	if f == nil {
		return nil, unknownFormat(data)
	}
	config, err := f.config(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("damaged or unsupported %s header: %w", f.name, truncated(err))
	}
	if err := f.checkSize(config, len(data)); err != nil {
		return nil, err
	}
	if err := f.decode(d, data, config); err != nil {
		return nil, fmt.Errorf("damaged or unsupported %s: %w", f.name, truncated(err))
	}
	return d.turn(orientation(f, data)), nil
}

// checkSize refuses what would take more memory than a photo can be worth, before any of it is allocated.
func (f *format) checkSize(config image.Config, size int) error {
	w, h := config.Width, config.Height
	switch {
	case w < 1 || h < 1:
		return fmt.Errorf("damaged %s header: it states %d × %d pixels", f.name, w, h)
	case w > MaxSide || h > MaxSide || w*h > MaxPixels:
		return fmt.Errorf("%s of %d × %d pixels: %w", f.name, w, h, ErrTooLarge)
	case w*h > smallPixels && w*h/f.pixelsPerByte > size:
		return fmt.Errorf("truncated or forged %s: its header states %d × %d pixels, more than its %d bytes can hold",
			f.name, w, h, size)
	}
	return nil
}

func unknownFormat(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("empty file: %w", ErrFormat)
	}
	return fmt.Errorf("%w: it starts with %q", ErrFormat, data[:min(len(data), 12)])
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file is truncated")
	}
	return err
}
