package photo

import (
	"bytes"
	"io"
	"regexp"

	"github.com/bep/imagemeta"
)

// xmpOrientation is the pattern by which Pillow finds an orientation in XMP.
var xmpOrientation = regexp.MustCompile(`tiff:Orientation(="|>)([0-9])`)

// orientation returns the EXIF orientation, 1 to 8: that of IFD0, else that of the XMP, else 1. Whatever can't be read
// or isn't valid counts as 1, "as stored".
func orientation(f *format, data []byte) int {
	if f.meta == 0 {
		return 1
	}
	exif, xmp := -1, 1
	// An error leaves what was found before it.
	imagemeta.Decode(imagemeta.Options{
		R:           bytes.NewReader(data),
		ImageFormat: f.meta,
		Sources:     imagemeta.EXIF | imagemeta.XMP,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool {
			return tag.Namespace == "IFD0" && tag.Tag == "Orientation"
		},
		HandleTag: func(tag imagemeta.TagInfo) error {
			exif = integer(tag.Value)
			return imagemeta.ErrStopWalking
		},
		HandleXMP: func(r io.Reader) error {
			packet, err := io.ReadAll(r)
			if found := xmpOrientation.FindSubmatch(packet); found != nil {
				xmp = int(found[2][0] - '0')
			}
			return err
		},
	})
	if exif < 0 {
		exif = xmp
	}
	if exif < 1 || exif > 8 {
		return 1
	}
	return exif
}

func integer(v any) int {
	switch v := v.(type) {
	case uint8:
		return int(v)
	case uint16:
		return int(v)
	case uint32:
		return int(v)
	}
	return 0
}

// turn returns the stored picture upright. EXIF's orientations, by where the upright picture's pixel (x, y) is stored in
// a picture of w × h:
//
//	1 (x, y)          2 (w-1-x, y)      3 (w-1-x, h-1-y)  4 (x, h-1-y)
//	5 (y, x)          6 (y, h-1-x)      7 (w-1-y, h-1-x)  8 (w-1-y, x)
func (d *Decoder) turn(orientation int) *RGB {
	if orientation == 1 {
		return &d.stored
	}
	src, dst := &d.stored, &d.upright
	w, h := src.Width, src.Height
	right, down := 3, 3*w // the step in src for one to the right and one down in dst
	start := 0            // the place in src of dst's top left pixel
	switch orientation {
	case 2:
		start, right = 3*(w-1), -3
	case 3:
		start, right, down = 3*(w*h-1), -3, -3*w
	case 4:
		start, down = 3*w*(h-1), -3*w
	case 5:
		right, down = 3*w, 3
	case 6:
		start, right, down = 3*w*(h-1), -3*w, 3
	case 7:
		start, right, down = 3*(w*h-1), -3*w, -3
	case 8:
		start, right, down = 3*(w-1), 3*w, -3
	}
	if orientation >= 5 {
		w, h = h, w
	}
	dst.Reset(w, h)
	for y := range h {
		row, from := dst.Row(y), start+y*down
		for i := 0; i < len(row); i += 3 {
			copy(row[i:i+3], src.Pix[from:from+3])
			from += right
		}
	}
	return dst
}
