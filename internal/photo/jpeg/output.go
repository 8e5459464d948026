package jpeg

import "github.com/graft-ml/graft/internal/kernels"

// output makes samples of the coefficients of a row of MCUs, which are at row from of those that are kept, and then the
// rows of the picture that these complete.
func (d *Decoder) output(mcuRow, from int) {
	for i := range d.components {
		c := &d.components[i]
		stride := 8 * c.blocksX
		for v := range c.v {
			first := (from*c.v + v) * c.blocksX
			d.pixels.IDCT(kernels.IDCT{
				Coefficients: c.coefficients[64*first:][:64*c.blocksX],
				Quant:        d.quant[c.quant],
				Extents:      c.extents[first:][:c.blocksX],
				Dst:          c.plane[8*stride*(mcuRow*c.v+v):][:8*stride],
				Stride:       stride,
			})
		}
	}
	luma := &d.components[0]
	end := 8 * luma.v * (mcuRow + 1)
	if luma.v > 1 {
		end-- // which needs the next row of chroma
	}
	if mcuRow == d.mcusY-1 {
		end = d.height
	}
	for ; d.rows < end; d.rows++ {
		d.row(d.rows)
	}
}

// row makes a row of the picture.
func (d *Decoder) row(y int) {
	dst := d.pix[3*d.width*y:][:3*d.width]
	luma := d.components[0].row(y)
	if len(d.components) == 1 {
		for i, v := range luma {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
		return
	}
	var chroma [2][]uint8
	for i := range chroma {
		chroma[i] = d.upsample(i, y)
	}
	d.pixels.YCbCr(dst, luma, chroma[0], chroma[1])
}

func (c *component) row(y int) []uint8 { return c.plane[8*c.blocksX*y:][:c.width] }

// upsample gives a row of Cb or Cr at the resolution of Y, in the ways that libjpeg chooses (jinit_upsampler in jdsample.c).
func (d *Decoder) upsample(i, y int) []uint8 {
	luma, c := &d.components[0], &d.components[1+i]
	near, beside := y/luma.v, y/luma.v-1
	if y%luma.v > 0 {
		beside += 2
	}
	u := kernels.Upsample{Near: c.row(near), Far: c.row(min(max(beside, 0), c.height-1)), Bias: 1 + y%luma.v}
	d.chroma[i] = resize(d.chroma[i], luma.h*c.width)
	u.Dst = d.chroma[i]
	switch {
	case luma.h == 1 && luma.v == 1:
		return u.Near
	case luma.h == 1:
		d.pixels.UpsampleH1V2(u)
	case c.width <= 2: // too narrow for interpolation
		for x := range u.Dst {
			u.Dst[x] = u.Near[x/2]
		}
	case luma.v == 1:
		d.pixels.UpsampleH2V1(u)
	default:
		d.pixels.UpsampleH2V2(u)
	}
	return u.Dst[:d.width]
}
