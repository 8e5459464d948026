package autograd

import (
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// mean averages over dimensions.
func (c *compiler) mean(n *graph.Node, dims []int, x *tensor) *tensor {
	kept := slices.DeleteFunc(slices.Clone(x.order), func(d int) bool { return slices.Contains(dims, d) })
	outer := 0 // dimensions before those that are averaged
	for outer < len(x.order) && !slices.Contains(dims, x.order[outer]) {
		outer++
	}
	if outer == len(kept) { // the averages' dimension is to be the innermost
		outer = 0
	}
	order := slices.Concat(kept[:outer], dims, kept[outer:])
	x = c.ordered(x, order)
	averaged := slices.Clone(x.shape)
	sizes := [3]int{1, 1, 1} // of what is kept, averaged, kept
	for i, d := range order {
		switch {
		case slices.Contains(dims, d):
			sizes[1] *= x.shape[d]
			averaged[d] = 1
		case i < outer:
			sizes[0] *= x.shape[d]
		default:
			sizes[2] *= x.shape[d]
		}
	}
	flat := c.view(x, sizes[:], natural(3))
	by, scale := repeat{sizes[1], sizes[0]}, 1/float32(sizes[1])
	r := c.totals("pool", flat.sources()[0], flat.buffers(), flat, by, scale, func(t *thread, sum []float32, from, to int) {
		c.set.SumColumns(sum, flat.load(t, from, to))
	}, sizes[2])
	y := c.tensorOf([]int{sizes[0], 1, sizes[2]}, natural(3), x.wants, r)
	c.then(func() {
		g := c.settledGrad(y)
		if g == nil {
			return
		}
		b := c.newBuffer(g.buffer.size)
		c.emit(&step{op: "pool", units: 1, run: func(*thread, int) {
			for i, v := range g.buffer.data() {
				b.data()[i] = v * scale
			}
		}}, []*buffer{g.buffer}, b)
		dx := c.plain(b, sizes[2])
		dx.repeat = by
		c.contribute(flat, dx)
	})
	return c.reshape(c.view(y, averaged, order), n.Shape)
}

// adaptiveAvgPool averages over windows that cover the image.
func (c *compiler) adaptiveAvgPool(n *graph.Node, op graph.AdaptiveAvgPool, x *tensor) *tensor {
	if op.Size == [2]int{1, 1} {
		return c.mean(n, []int{2, 3}, x)
	}
	// PyTorch's windows: from ⌊i·size/out⌋ to ⌈(i+1)·size/out⌉.
	bounds := func(size, out int) (all []extent) {
		for i := range out {
			all = append(all, extent{i * size / out, ((i+1)*size + out - 1) / out, 0})
		}
		return all
	}
	return c.average(n, x, bounds(x.shape[2], op.Size[0]), bounds(x.shape[3], op.Size[1]))
}

// An extent is what a pooling window covers along one dimension: the positions [from, to) inside
// the image, and size, with the padding, if the divisor counts that.
type extent struct{ from, to, size int }

func (c *compiler) avgPool(n *graph.Node, op graph.AvgPool, x *tensor) *tensor {
	var bounds [2][]extent
	for d := range bounds {
		size := x.shape[2+d]
		for i := range n.Shape[2+d] {
			first := i*op.Stride[d] - op.Pad[d]
			end := min(first+op.Kernel[d], size+op.Pad[d])
			e := extent{max(first, 0), min(end, size), 0}
			if op.CountIncludePad {
				e.size = end - first
			}
			bounds[d] = append(bounds[d], e)
		}
	}
	return c.average(n, x, bounds[0], bounds[1])
}

// average computes the means over windows; where a size isn't given the divisor is what is covered.
func (c *compiler) average(n *graph.Node, x *tensor, lines, columns []extent) *tensor {
	x = c.ordered(x, channelsLast)
	y := c.newTensor(n.Shape, channelsLast, x.wants)
	h, w, channels := x.shape[2], x.shape[3], x.shape[1]
	// visit calls f for a sample's windows with the place of the result, and those of what it averages.
	visit := func(sample int, f func(at int, scale float32, seen []int)) {
		var seen []int
		for i, l := range lines {
			for j, q := range columns {
				count := (l.to - l.from) * (q.to - q.from)
				if l.size > 0 {
					count = l.size * q.size
				}
				seen = seen[:0]
				for iy := l.from; iy < l.to; iy++ {
					for ix := q.from; ix < q.to; ix++ {
						seen = append(seen, ((sample*h+iy)*w+ix)*channels)
					}
				}
				f(((sample*len(lines)+i)*len(columns)+j)*channels, 1/float32(count), seen)
			}
		}
	}
	src := c.settled(x).buffer
	c.emit(&step{op: "pool", units: n.Shape[0], run: func(_ *thread, sample int) {
		visit(sample, func(at int, scale float32, seen []int) {
			pixel := y.buffer.data()[at : at+channels]
			clear(pixel)
			for _, s := range seen {
				c.set.Add(pixel, pixel, src.data()[s:s+channels], kernels.None)
			}
			for i := range pixel {
				pixel[i] *= scale
			}
		})
	}}, []*buffer{src}, y.buffer)
	c.then(func() {
		g := c.settledGrad(y)
		if g == nil || !x.wants {
			return
		}
		dx := c.newBuffer(graph.Numel(x.shape))
		c.emit(&step{op: "pool", units: n.Shape[0], run: func(t *thread, sample int) {
			d, size := dx.data(), h*w*channels
			clear(d[sample*size : (sample+1)*size])
			scaled := t.take(channels)
			visit(sample, func(at int, scale float32, seen []int) {
				for i, v := range g.buffer.data()[at : at+channels] {
					scaled[i] = v * scale
				}
				for _, s := range seen {
					c.set.Add(d[s:s+channels], d[s:s+channels], scaled, kernels.None)
				}
			})
		}}, []*buffer{g.buffer}, dx)
		c.contribute(x, c.plain(dx, channels))
	})
	return y
}

// maxPool keeps where each maximum was found, as the number of the window's place.
func (c *compiler) maxPool(n *graph.Node, op graph.MaxPool, x *tensor) *tensor {
	x = c.ordered(x, channelsLast)
	y := c.newTensor(n.Shape, channelsLast, x.wants)
	h, w, channels := x.shape[2], x.shape[3], x.shape[1]
	outH, outW := n.Shape[2], n.Shape[3]
	found := c.newBuffer(y.buffer.size)
	// visit calls f for the places of a sample's windows, with the place of the result, the number
	// of the window's place, and its place in the image.
	visit := func(sample int, f func(at, tap, image int)) {
		for oy := range outH {
			for ox := range outW {
				at := ((sample*outH+oy)*outW + ox) * channels
				for ky := range op.Kernel[0] {
					iy := oy*op.Stride[0] - op.Pad[0] + ky*op.Dilation[0]
					for kx := range op.Kernel[1] {
						ix := ox*op.Stride[1] - op.Pad[1] + kx*op.Dilation[1]
						if iy >= 0 && iy < h && ix >= 0 && ix < w {
							f(at, ky*op.Kernel[1]+kx, ((sample*h+iy)*w+ix)*channels)
						}
					}
				}
			}
		}
	}
	src := c.settled(x).buffer
	c.emit(&step{op: "pool", units: n.Shape[0], run: func(_ *thread, sample int) {
		size := outH * outW * channels
		best, from := y.buffer.data(), found.data()
		for i := sample * size; i < (sample+1)*size; i++ {
			best[i] = float32(math.Inf(-1))
		}
		visit(sample, func(at, tap, image int) {
			c.set.MaxAt(best[at:at+channels], from[at:at+channels], src.data()[image:], float32(tap))
		})
	}}, []*buffer{src}, y.buffer, found)
	c.then(func() {
		g := c.settledGrad(y)
		if g == nil || !x.wants {
			return
		}
		dx := c.newBuffer(graph.Numel(x.shape))
		c.emit(&step{op: "pool", units: n.Shape[0], run: func(_ *thread, sample int) {
			d, size := dx.data(), h*w*channels
			clear(d[sample*size : (sample+1)*size])
			dy, from := g.buffer.data(), found.data()
			visit(sample, func(at, tap, image int) {
				c.set.AddWhere(d[image:image+channels], dy[at:], from[at:], float32(tap))
			})
		}}, []*buffer{g.buffer, found}, dx)
		c.contribute(x, c.plain(dx, channels))
	})
	return y
}
