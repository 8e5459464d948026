package photo

import (
	"image"
	"slices"
)

// setYCbCr converts m row by row.
func (d *Decoder) setYCbCr(m *image.YCbCr, up upsampler, table *colorTable) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	d.stored.Reset(w, h)
	// The planes may be padded to whole blocks. The padding takes no part in the interpolation.
	cw, ch := (w+up.h-1)/up.h, (h+up.v-1)/up.v
	n := cw*up.h + 2*(cw+1)
	d.chroma = slices.Grow(d.chroma[:0], n)[:n]
	full, even, odd := d.chroma[:cw*up.h], d.chroma[cw*up.h:][:cw+1], d.chroma[cw*up.h+cw+1:]
	rows, held := [2][]uint32{even, odd}, [2]int{-1, -1}
	chroma := func(y int) []uint32 {
		y = min(max(y, 0), ch-1)
		if held[y%2] != y {
			held[y%2] = y
			pack(rows[y%2], m.Cb[y*m.CStride:], m.Cr[y*m.CStride:])
		}
		return rows[y%2]
	}
	for y := range h {
		beside := y/up.v - 1
		if y%up.v > 0 {
			beside += 2
		}
		up.row(full, chroma(y/up.v), chroma(beside), y)
		table.convert(d.stored.Row(y), m.Y[y*m.YStride:][:w], full)
	}
}

// A pair of chroma samples lies in one uint32, Cb in the lower half and Cr in the upper, so that one operation weighs
// both: sums of up to 16 samples stay in their halves.
const (
	lanes      = 1<<16 | 1
	chromaMask = 0xff * lanes
)

// pack fills row with pairs, and repeats the last for the edge of the interpolation.
func pack(row []uint32, cb, cr []uint8) {
	n := len(row) - 1
	cb, cr = cb[:n], cr[:n]
	for i := range cb {
		row[i] = uint32(cb[i]) | uint32(cr[i])<<16
	}
	row[n] = row[n-1]
}

// An upsampler brings chroma to the luma's resolution.
type upsampler struct {
	h, v int // luma samples for a chroma sample, across and down
	// row fills dst for the row y of the luma. near is the row of chroma that y lies in, far the other one that y is next
	// to, or near again at the top and bottom; both repeat their last pair, and dst has h for each of the others.
	row func(dst, near, far []uint32, y int)
}

func replicate(h, v int) upsampler {
	return upsampler{h, v, func(dst, near, _ []uint32, _ int) {
		for i, c := range near[:len(near)-1] {
			for j := range h {
				dst[h*i+j] = c
			}
		}
	}}
}

// A colorTable converts to RGB: the sum of the entries for a pixel's Y, Cb and Cr holds the three channels side by side.
// From the lowest bit these are 16 bits of green's fraction and 16 of its integer part, then 6 and 10 of red's and of
// blue's. The integer parts are raised by clampOffset, so that none is negative.
type colorTable struct{ y, cb, cr [256]uint64 }

const (
	clampOffset = 384
	raise       = clampOffset<<16 | clampOffset<<38 | clampOffset<<54
)

// entry packs what a sample adds to each channel, in 65536ths. Red and blue keep 64ths.
func entry(r, g, b int) uint64 {
	return uint64(g) + uint64(r>>10)<<32 + uint64(b>>10)<<48
}

func (t *colorTable) convert(dst, luma []uint8, chroma []uint32) {
	chroma = chroma[:len(luma)]
	for i, y := range luma {
		c := chroma[i]
		sum := t.y[y] + t.cb[uint8(c)] + t.cr[uint8(c>>16)]
		px := dst[3*i : 3*i+3]
		px[0] = clamp[sum>>38%uint64(len(clamp))]
		px[1] = clamp[sum>>16%uint64(len(clamp))]
		px[2] = clamp[sum>>54]
	}
}

// clamp holds the byte nearest to i-clampOffset at i.
var clamp = func() (t [1024]uint8) {
	for i := range t {
		t[i] = uint8(min(max(i-clampOffset, 0), 255))
	}
	return t
}()
