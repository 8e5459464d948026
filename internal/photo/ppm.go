package photo

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"math"
	"strconv"
	"strings"
)

// A ppmHeader is that of the grey and colour formats of Netpbm (https://netpbm.sourceforge.net/doc/ppm.html): P2 and P5
// are grey, P3 and P6 colour, the former of each in decimal digits, the latter in binary.
type ppmHeader struct {
	kind          byte
	width, height int
	maxval        int
}

func (h ppmHeader) plain() bool { return h.kind == '2' || h.kind == '3' }
func (h ppmHeader) gray() bool  { return h.kind == '2' || h.kind == '5' }

func ppmConfig(r io.Reader) (image.Config, error) {
	h, err := readPPMHeader(bufio.NewReader(r))
	return image.Config{Width: h.width, Height: h.height}, err
}

func (d *Decoder) decodePPM(data []byte, _ image.Config) error {
	r := bufio.NewReader(bytes.NewReader(data))
	h, err := readPPMHeader(r)
	if err != nil {
		return err
	}
	d.stored.Reset(h.width, h.height)
	pix, step := d.stored.Pix, 1
	if h.gray() {
		step = 3
	}
	scale := h.scale()
	for i := 0; i < len(pix); i += step {
		v, err := h.readSample(r)
		if err != nil {
			return err
		}
		pix[i] = scale[v]
		if h.gray() {
			pix[i+1], pix[i+2] = pix[i], pix[i]
		}
	}
	return nil
}

// scale returns the byte for each sample. Grey of more than 8 bits Pillow scales to 16 bits and then clips at 255.
func (h ppmHeader) scale() []uint8 {
	top := 255.0
	if h.gray() && h.maxval > 255 {
		top = 65535
	}
	t := make([]uint8, h.maxval+1)
	for v := range t {
		t[v] = uint8(min(math.RoundToEven(float64(v)/float64(h.maxval)*top), 255))
	}
	return t
}

func (h ppmHeader) readSample(r *bufio.Reader) (v int, err error) {
	switch {
	case h.plain():
		if v, err = readPPMNumber(r); v > h.maxval {
			return 0, fmt.Errorf("a sample of %d where the header's maximum is %d", v, h.maxval)
		}
	case h.maxval > 255:
		var b [2]byte
		_, err = io.ReadFull(r, b[:])
		v = int(binary.BigEndian.Uint16(b[:]))
	default:
		var b byte
		b, err = r.ReadByte()
		v = int(b)
	}
	return min(v, h.maxval), err
}

func readPPMHeader(r *bufio.Reader) (h ppmHeader, err error) {
	var magic [2]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return h, err
	}
	h.kind = magic[1]
	for _, field := range []*int{&h.width, &h.height, &h.maxval} {
		if *field, err = readPPMNumber(r); err != nil {
			return h, err
		}
	}
	if h.maxval < 1 || h.maxval > 65535 {
		return h, fmt.Errorf("a maximum of %d, not 1 to 65535", h.maxval)
	}
	return h, nil
}

// readPPMNumber reads a decimal number and the one byte of white space after it. White space and comments, from # to the
// end of the line, may stand before it.
func readPPMNumber(r *bufio.Reader) (int, error) {
	const longest = 10
	var digits []byte
	comment := false
	for {
		c, err := r.ReadByte()
		if err == io.EOF && len(digits) > 0 {
			c = '\n'
		} else if err != nil {
			return 0, err
		}
		switch {
		case comment:
			comment = c != '\n' && c != '\r'
		case '0' <= c && c <= '9' && len(digits) < longest:
			digits = append(digits, c)
		case c == '#':
			comment = true
		case !strings.ContainsRune(" \t\n\v\f\r", rune(c)):
			return 0, fmt.Errorf("%q where a number of up to %d digits was expected", c, longest)
		case len(digits) > 0:
			return strconv.Atoi(string(digits))
		}
	}
}
