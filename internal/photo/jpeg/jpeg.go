// Package jpeg decodes what JPEG photos usually are, to the pixels of libjpeg-turbo (https://libjpeg-turbo.org) with its
// default settings, bit for bit: its "slow" integer inverse DCT, its fancy upsampling and its colour conversion.
//
// That is 8-bit Huffman coding (ITU-T T.81: baseline, extended sequential or progressive), grey or YCbCr, with chroma at
// full resolution or at half of it in either direction or both. For all else, and for files that aren't quite as the
// standard has them, [Decoder.Decode] reports false, and another decoder may know more.
package jpeg

import (
	"encoding/binary"
	"slices"

	"github.com/graft-ml/graft/internal/kernels"
)

// A Decoder decodes files one after the other in memory that it keeps. The zero value is ready. It must not be used by two
// goroutines at once.
type Decoder struct {
	pixels *kernels.Pixels
	pix    []uint8 // of the result
	header
	scanned bool // a scan has been read
	bits    bits
	rows    int // of the result that are done

	// Memory that the header points to, and two rows of chroma.
	quantMemory  [4][64]int16
	tablesMemory [2][4]table
	chroma       [2][]uint8
}

// A header is what the segments before a scan say.
type header struct {
	width, height int
	progressive   bool
	components    []component
	quant         [4]*[64]int16
	tables        [2][4]*table // for DC and AC
	restart       int          // MCUs in a restart interval, 0 for no such intervals
	jfif          bool
	adobe         int // 1 + the colour transform of the Adobe segment, 0 without one
	mcusX, mcusY  int
}

// A component is one of Y, Cb and Cr.
type component struct {
	id            byte
	h, v          int // sampling factors
	quant         byte
	width, height int // in samples
	blocksX       int // in a row of coefficients, an even number
	blocksY       int
	// coefficients and extents are of a row of MCUs, or of the whole image where it has several scans.
	coefficients []int16
	extents      []kernels.Extent
	plane        []uint8 // samples, 8·blocksX in a row
	seen         bool    // in a scan
	// accuracy is the lowest bit known of coefficients 1 to 9 in zigzag order, or unknown.
	accuracy [10]int8
}

const unknown = -1

// Decode writes the picture in data to pix, RGB without padding, and reports whether it could: if it couldn't, the content
// of pix is arbitrary. The caller knows the size of the picture, width × height pixels, and vouches for it: a few times
// the memory of pix is allocated.
func (d *Decoder) Decode(pix []uint8, width, height int, data []byte) bool {
	if d.pixels == nil {
		d.pixels = kernels.BestPixels()
	}
	d.header = header{width: width, height: height, components: d.components[:0]}
	d.pix, d.rows, d.scanned = pix, 0, false
	defer func() { d.pix = nil }()
	return len(pix) == 3*width*height && d.segments(data) && d.finish()
}

// The markers of segments (T.81, table B.1).
const (
	markerSOF0  = 0xc0
	markerSOF2  = 0xc2
	markerDHT   = 0xc4
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerCOM   = 0xfe
)

// segments reads the file up to its end.
func (d *Decoder) segments(data []byte) bool {
	if len(data) < 2 || data[0] != 0xff || data[1] != markerSOI {
		return false
	}
	data = data[2:]
	for {
		for len(data) > 1 && data[0] == 0xff && data[1] == 0xff {
			data = data[1:] // fill bytes
		}
		if len(data) < 2 || data[0] != 0xff {
			return false
		}
		marker := data[1]
		if marker == markerEOI {
			return true
		}
		if len(data) < 4 {
			return false
		}
		n := 2 + int(binary.BigEndian.Uint16(data[2:]))
		if n < 4 || n > len(data) {
			return false
		}
		segment := data[4:n]
		data = data[n:]
		ok := true
		switch {
		case markerSOF0 <= marker && marker <= markerSOF2:
			ok = d.frame(marker, segment)
		case marker == markerDHT:
			ok = d.huffmanTables(segment)
		case marker == markerDQT:
			ok = d.quantTables(segment)
		case marker == markerDRI:
			if ok = len(segment) == 2; ok {
				d.restart = int(binary.BigEndian.Uint16(segment))
			}
		case marker == markerSOS:
			data, ok = d.scan(segment, data)
		case marker == markerAPP0:
			if len(segment) >= 5 {
				d.jfif = string(segment[:5]) == "JFIF\x00"
			}
		case marker == markerAPP14:
			if len(segment) >= 12 && string(segment[:5]) == "Adobe" {
				d.adobe = 1 + int(segment[11])
			}
		default:
			ok = markerAPP0 < marker && marker <= markerAPP15 || marker == markerCOM
		}
		if !ok {
			return false
		}
	}
}

// frame reads what the picture is like.
func (d *Decoder) frame(marker byte, s []byte) bool {
	if len(d.components) > 0 || len(s) < 6 || len(s) != 6+3*int(s[5]) || s[0] != 8 {
		return false
	}
	height, width := int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	if width != d.width || height != d.height {
		return false
	}
	d.progressive = marker == markerSOF2
	n := int(s[5])
	if n != 1 && n != 3 {
		return false
	}
	d.components = slices.Grow(d.components, n)[:n]
	for i := range d.components {
		c, s := &d.components[i], s[6+3*i:]
		c.id, c.h, c.v, c.quant = s[0], int(s[1]>>4), int(s[1]&15), s[2]
		c.seen = false
		for k := range c.accuracy {
			c.accuracy[k] = unknown
		}
		for j := range i {
			if d.components[j].id == c.id {
				return false
			}
		}
		if n == 1 { // whose sampling factors mean nothing (T.81, A.2.2)
			c.h, c.v = 1, 1
		}
		if c.quant > 3 || c.h < 1 || c.h > 2 || c.v < 1 || c.v > 2 || i > 0 && c.h*c.v != 1 {
			return false
		}
	}
	d.layOut()
	return true
}

// layOut computes the components' sizes.
func (d *Decoder) layOut() {
	luma := &d.components[0]
	d.mcusX, d.mcusY = ceil(d.width, 8*luma.h), ceil(d.height, 8*luma.v)
	for i := range d.components {
		c := &d.components[i]
		c.width, c.height = ceil(d.width*c.h, luma.h), ceil(d.height*c.v, luma.v)
		c.blocksX, c.blocksY = (d.mcusX*c.h+1)&^1, d.mcusY*c.v
	}
}

func ceil(a, b int) int { return (a + b - 1) / b }

func (d *Decoder) quantTables(s []byte) bool {
	for len(s) > 0 {
		wide, to := int(s[0]>>4), s[0]&15
		// A later table would be for later scans alone.
		if wide > 1 || to > 3 || len(s) < 1+64*(1+wide) || d.scanned {
			return false
		}
		t := &d.quantMemory[to]
		for i, at := range zigzag {
			if wide == 1 {
				t[at] = int16(binary.BigEndian.Uint16(s[1+2*i:]))
			} else {
				t[at] = int16(s[1+i])
			}
		}
		d.quant[to] = t
		s = s[1+64*(1+wide):]
	}
	return true
}

// zigzag gives the place in a block, in rows, of its coefficients in the order of the file (T.81, figure A.6).
var zigzag = func() (order [64]uint8) {
	x, y := 0, 0
	for i := range order {
		order[i] = uint8(8*y + x)
		switch up := (x+y)%2 == 0; {
		case up && x == 7, !up && y < 7 && x == 0:
			y++
		case !up && y == 7, up && y == 0:
			x++
		case up:
			x, y = x+1, y-1
		default:
			x, y = x-1, y+1
		}
	}
	return order
}()

// rgb reports whether libjpeg takes the components for red, green and blue (default_decompress_parms in jdapimin.c).
func (d *Decoder) rgb() bool {
	switch {
	case len(d.components) == 1 || d.jfif:
		return false
	case d.adobe > 0:
		return d.adobe == 1
	}
	return d.components[0].id == 'R' && d.components[1].id == 'G' && d.components[2].id == 'B'
}

// finish makes the rows that the scans left, and reports whether all of them could be made.
func (d *Decoder) finish() bool {
	for i := range d.components {
		c := &d.components[i]
		if !c.seen {
			return false
		}
		// libjpeg smoothes the blocks of a progressive picture if it isn't complete.
		for _, bit := range c.accuracy[1:] {
			if d.progressive && bit != 0 {
				return false
			}
		}
	}
	if d.rows == 0 {
		for y := range d.mcusY {
			d.output(y, y)
		}
	}
	return d.rows == d.height && d.height > 0
}
