package jpeg

import (
	"slices"

	"github.com/graft-ml/graft/internal/kernels"
)

// A scan is the coefficients, or some bits of them, of some components.
type scan struct {
	components []scanned
	// Of a progressive picture: the coefficients, and their highest and lowest bit (T.81, G.1.1.1).
	from, to  int
	high, low uint
	whole     bool // coefficients are kept for all of the image
	endRun    int  // blocks to come that have no more coefficients
}

type scanned struct {
	*component
	dc, ac     *table
	prediction int16
}

// scan reads a scan: its header s and the entropy-coded data behind, of which it returns what follows.
func (d *Decoder) scan(s, data []byte) (rest []byte, ok bool) {
	sc, ok := d.scanHeader(s)
	if !ok {
		return nil, false
	}
	sc.whole = d.progressive || len(sc.components) < len(d.components)
	if !d.scanned {
		d.allocate(sc.whole)
	}
	d.scanned = true
	columns, rows := d.mcusX, d.mcusY
	single := len(sc.components) == 1
	if single {
		// What lies outside the image isn't there (T.81, A.2.2).
		c := sc.components[0]
		columns, rows = ceil(c.width, 8), ceil(c.height, 8)
	}
	rest = d.bits.start(data)
	mcu := 0
	for y := range rows {
		if !sc.whole {
			d.clear()
		}
		for x := range columns {
			if d.restart > 0 && mcu > 0 && mcu%d.restart == 0 {
				const markerRST0 = 0xd0
				if len(rest) < 2 || rest[1] != markerRST0+byte(mcu/d.restart-1)&7 {
					return nil, false
				}
				rest = d.bits.start(rest[2:])
				sc.reset()
			}
			mcu++
			if !d.mcu(sc, x, y, single) {
				return nil, false
			}
		}
		if !sc.whole {
			d.output(y, 0)
		}
	}
	return rest, sc.endRun == 0
}

func (d *Decoder) scanHeader(s []byte) (*scan, bool) {
	if len(d.components) == 0 || d.rgb() || len(s) < 6 || len(s) != 4+2*int(s[0]) || int(s[0]) > len(d.components) {
		return nil, false
	}
	sc := &scan{to: 63}
	for i := range int(s[0]) {
		id, tables := s[1+2*i], s[2+2*i]
		at := slices.IndexFunc(d.components, func(c component) bool { return c.id == id })
		if at < 0 || tables>>4 > 3 || tables&15 > 3 || slices.ContainsFunc(sc.components, func(c scanned) bool { return c.id == id }) {
			return nil, false
		}
		c := &d.components[at]
		// A sequential picture has each component once.
		if d.quant[c.quant] == nil || c.seen && !d.progressive {
			return nil, false
		}
		c.seen = true
		sc.components = append(sc.components, scanned{component: c, dc: d.tables[0][tables>>4], ac: d.tables[1][tables&15]})
	}
	if d.progressive {
		p := s[1+2*len(sc.components):]
		sc.from, sc.to, sc.high, sc.low = int(p[0]), int(p[1]), uint(p[2]>>4), uint(p[2]&15)
		if sc.to > 63 || sc.from > sc.to || sc.from == 0 && sc.to != 0 || sc.from > 0 && len(sc.components) > 1 ||
			sc.low > 13 || sc.high != 0 && sc.high != sc.low+1 {
			return nil, false
		}
	}
	for _, c := range sc.components {
		if sc.from == 0 && sc.high == 0 && c.dc == nil || sc.to > 0 && c.ac == nil {
			return nil, false
		}
		for k := sc.from; k <= min(sc.to, len(c.accuracy)-1); k++ {
			c.accuracy[k] = int8(sc.low)
		}
	}
	return sc, true
}

func (sc *scan) reset() {
	for i := range sc.components {
		sc.components[i].prediction = 0
	}
	sc.endRun = 0
}

// allocate makes room for samples, and for the coefficients of a row of MCUs or of all.
func (d *Decoder) allocate(whole bool) {
	for i := range d.components {
		c := &d.components[i]
		blocks := c.blocksX * c.v
		if whole {
			blocks = c.blocksX * c.blocksY
		}
		c.coefficients, c.extents = resize(c.coefficients, 64*blocks), resize(c.extents, blocks)
		c.plane = resize(c.plane, 64*c.blocksX*c.blocksY)
	}
	d.clear()
}

func resize[T any](s []T, n int) []T {
	return slices.Grow(s[:0], n)[:n]
}

func (d *Decoder) clear() {
	for i := range d.components {
		clear(d.components[i].coefficients)
		clear(d.components[i].extents)
	}
}

// mcu decodes the MCU in column x and row y: one block where there is a single component, else what makes a rectangle of
// samples with all components.
func (d *Decoder) mcu(sc *scan, x, y int, single bool) bool {
	for i := range sc.components {
		c := &sc.components[i]
		h, v := c.h, c.v
		if single {
			h, v = 1, 1
		}
		for j := range v {
			row := j
			if sc.whole {
				row += y * v
			}
			for k := range h {
				if !d.scanBlock(sc, c, row*c.blocksX+x*h+k) {
					return false
				}
			}
		}
	}
	return true
}

func (d *Decoder) scanBlock(sc *scan, c *scanned, at int) (ok bool) {
	block := (*[64]int16)(c.coefficients[64*at:])
	if !d.progressive {
		c.extents[at], ok = d.bits.block(block, c.dc, c.ac, &c.prediction)
		return ok
	}
	c.extents[at] = kernels.ExtentAll
	switch {
	case sc.from == 0 && sc.high == 0:
		ok = d.bits.firstDC(block, c.dc, &c.prediction, sc.low)
	case sc.from == 0:
		block[0] |= int16(d.bits.take(1) << sc.low)
		ok = true
	case sc.high == 0:
		ok = d.bits.firstAC(block, c.ac, sc)
	default:
		ok = d.bits.refineAC(block, c.ac, sc)
	}
	return ok && !d.bits.over()
}
