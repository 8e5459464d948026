package photo

import (
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bep/imagemeta"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// Extensions are the endings, in lower case, of the files that a folder of photos is searched for: IMG_EXTENSIONS of
// torchvision.datasets.folder and ".gif".
var Extensions = []string{".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"}

// IsImageName reports whether a file's name or path ends in one of [Extensions], in any case.
func IsImageName(name string) bool {
	return slices.Contains(Extensions, strings.ToLower(filepath.Ext(name)))
}

// Sniff tells an image's format ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF" or "PPM", which includes PGM) from its
// first dozen bytes.
func Sniff(data []byte) (name string, ok bool) {
	if f := sniff(data); f != nil {
		return f.name, true
	}
	return "", false
}

type format struct {
	name   string
	magics []string // a file's first bytes, where ? stands for any
	config func(io.Reader) (image.Config, error)
	decode func(*Decoder, []byte, image.Config) error // fills Decoder.stored
	// pixelsPerByte is the most that a byte of the file can stand for.
	pixelsPerByte int
	meta          imagemeta.ImageFormat // zero where the format has no orientation
}

// In a JPEG each block of 64 pixels takes a bit or more. Deflate's best ratio is 1032, and PNG and TIFF pack 8 pixels
// in a byte. The longest string of an LZW code of 12 bits has 4096 pixels. WebP has no such bound, but only a picture
// of nearly one colour exceeds the one given.
var formats = []*format{
	{"JPEG", []string{"\xff\xd8\xff"}, jpeg.DecodeConfig, (*Decoder).decodeJPEG, 512, imagemeta.JPEG},
	{"PNG", []string{"\x89PNG\r\n\x1a\n"}, png.DecodeConfig, (*Decoder).decodePNG, 8 * 1032, imagemeta.PNG},
	{"WebP", []string{"RIFF????WEBP"}, webp.DecodeConfig, (*Decoder).decodeWebP, 8 * 1032, imagemeta.WebP},
	{"GIF", []string{"GIF87a", "GIF89a"}, gif.DecodeConfig, (*Decoder).decodeGIF, 4096 * 8 / 12, 0},
	{"BMP", []string{"BM"}, bmp.DecodeConfig, decodeWith(bmp.Decode), 8, 0},
	{"TIFF", []string{"II*\x00", "MM\x00*"}, tiff.DecodeConfig, decodeWith(tiff.Decode), 8 * 1032, imagemeta.TIFF},
	{"PPM", []string{"P2", "P3", "P5", "P6"}, ppmConfig, (*Decoder).decodePPM, 1, 0},
}

func sniff(data []byte) *format {
	for _, f := range formats {
		for _, magic := range f.magics {
			if matches(data, magic) {
				return f
			}
		}
	}
	return nil
}

func matches(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}
