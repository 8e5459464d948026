package engine

import (
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// adaptiveAvgPool averages over windows that cover the image; the global average is a mean.
func (c *compiler) adaptiveAvgPool(n *graph.Node, op graph.AdaptiveAvgPool, in value) {
	if op.Size == [2]int{1, 1} {
		c.globalPool(n, in)
		return
	}
	in = c.ordered(in, channelsLast)
	// PyTorch's windows: from ⌊i·size/out⌋ to ⌈(i+1)·size/out⌉.
	bounds := func(size, out int) (b []extent) {
		for i := range out {
			b = append(b, extent{i * size / out, ((i+1)*size + out - 1) / out, 0})
		}
		return b
	}
	c.average(n, in, bounds(in.shape[2], op.Size[0]), bounds(in.shape[3], op.Size[1]))
}

// An extent is what a pooling window covers along one dimension: the positions [from, to) inside
// the image, and size, with the padding, if the divisor counts that.
type extent struct{ from, to, size int }

func extents(out, in, kernel, stride, pad, dilation int) []extent {
	all := make([]extent, out)
	for i := range all {
		first := i*stride - pad
		end := min(first+(kernel-1)*dilation+1, in+pad)
		all[i] = extent{max(first, 0), min(end, in), end - first}
	}
	return all
}

func (c *compiler) avgPool(n *graph.Node, op graph.AvgPool, in value) {
	in = c.ordered(in, channelsLast)
	rows := extents(n.Shape[2], in.shape[2], op.Kernel[0], op.Stride[0], op.Pad[0], 1)
	cols := extents(n.Shape[3], in.shape[3], op.Kernel[1], op.Stride[1], op.Pad[1], 1)
	if !op.CountIncludePad {
		for _, e := range [][]extent{rows, cols} {
			for i := range e {
				e[i].size = 0
			}
		}
	}
	c.average(n, in, rows, cols)
}

// average emits the means over windows; where a size isn't given the divisor is what is covered.
func (c *compiler) average(n *graph.Node, in value, rows, cols []extent) {
	out := c.newValue(n.Shape, channelsLast)
	w, channels := in.shape[3], in.shape[1]
	set := c.plan.kernels
	c.poolRows("pool", in, out, len(rows), func(dst, image []float32, oy int) {
		r := rows[oy]
		for ox, q := range cols {
			pixel := dst[ox*channels : (ox+1)*channels]
			clear(pixel)
			for y := r.from; y < r.to; y++ {
				for x := q.from; x < q.to; x++ {
					set.Add(pixel, pixel, image[(y*w+x)*channels:(y*w+x+1)*channels], 0)
				}
			}
			count := (r.to - r.from) * (q.to - q.from)
			if r.size > 0 {
				count = r.size * q.size
			}
			scaleBy(pixel, count)
		}
	})
	c.set(n, out)
}

// poolRows emits a step with a unit for each row of each image of the result.
func (c *compiler) poolRows(op string, in, out value, outH int, f func(dst, image []float32, oy int)) {
	line := graph.Numel(out.shape[3:]) * out.shape[1]
	size := graph.Numel(in.shape[1:])
	c.emit(step{op: op, units: out.shape[0] * outH, reads: []int{in.buffer}, write: out.buffer,
		run: func(s *State, _, from, to int) {
			x, y := s.buffer(in.buffer), s.buffer(out.buffer)
			for u := from; u < to; u++ {
				f(y[u*line:(u+1)*line], x[u/outH*size:(u/outH+1)*size], u%outH)
			}
		}})
}

func scaleBy(x []float32, count int) {
	for i := range x {
		x[i] /= float32(count)
	}
}

func (c *compiler) maxPool(n *graph.Node, op graph.MaxPool, in value) {
	in = c.ordered(in, channelsLast)
	out := c.newValue(n.Shape, channelsLast)
	h, w, channels := in.shape[2], in.shape[3], in.shape[1]
	set := c.plan.kernels
	c.poolRows("pool", in, out, n.Shape[2], func(dst, image []float32, oy int) {
		for ox := range n.Shape[3] {
			pixel := dst[ox*channels : (ox+1)*channels]
			first := true
			for ky := range op.Kernel[0] {
				y := oy*op.Stride[0] - op.Pad[0] + ky*op.Dilation[0]
				if y < 0 || y >= h {
					continue
				}
				for kx := range op.Kernel[1] {
					x := ox*op.Stride[1] - op.Pad[1] + kx*op.Dilation[1]
					if x < 0 || x >= w {
						continue
					}
					source := image[(y*w+x)*channels : (y*w+x+1)*channels]
					if first {
						copy(pixel, source)
						first = false
					} else {
						set.Max(pixel, pixel, source)
					}
				}
			}
			if first { // a dilated window may miss the image
				for i := range pixel {
					pixel[i] = float32(math.Inf(-1))
				}
			}
		}
	})
	c.set(n, out)
}

// globalPool averages whole images, from the sums of their rows where a step has kept them.
func (c *compiler) globalPool(n *graph.Node, in value) {
	sums, ok := c.sums[c.same[n.In[0].ID]]
	if !ok {
		c.mean(n, []int{2, 3}, in)
		return
	}
	out := c.newValue(n.Shape, channelsLast)
	rows, channels, pixels := in.shape[2], in.shape[1], in.shape[2]*in.shape[3]
	set := c.plan.kernels
	c.emit(step{op: "pool", units: n.Shape[0], reads: []int{sums}, write: out.buffer,
		run: func(s *State, _, from, to int) {
			for i := from; i < to; i++ {
				mean := s.buffer(out.buffer)[i*channels : (i+1)*channels]
				sumRows(set.Add, mean, s.buffer(sums)[i*rows*channels:], rows)
				scaleBy(mean, pixels)
			}
		}})
	c.set(n, out)
}

// sumRows sets dst to the sum of rows of x, in order.
func sumRows(add func(dst, a, b []float32, act kernels.Act), dst, x []float32, rows int) {
	n := len(dst)
	copy(dst, x)
	for r := 1; r < rows; r++ {
		add(dst, dst, x[r*n:(r+1)*n], 0)
	}
}

// mean averages over dimensions that lie together in memory, or after a copy do.
func (c *compiler) mean(n *graph.Node, dims []int, in value) {
	kept := slices.DeleteFunc(slices.Clone(in.order), func(d int) bool { return slices.Contains(dims, d) })
	// Outer dimensions that are kept, then those averaged, then inner ones.
	outer := 0
	for outer < len(in.order) && !slices.Contains(dims, in.order[outer]) {
		outer++
	}
	order := slices.Concat(kept[:outer], dims, kept[outer:])
	in = c.ordered(in, order)
	count, inner := 1, 1
	for _, d := range dims {
		count *= in.shape[d]
	}
	for _, d := range kept[outer:] {
		inner *= in.shape[d]
	}
	// The result lies as what is kept did.
	shape := slices.Clone(in.shape)
	for _, d := range dims {
		shape[d] = 1
	}
	out := c.newValue(shape, order)
	set := c.plan.kernels
	c.emit(step{op: "pool", units: graph.Numel(shape) / inner, reads: []int{in.buffer}, write: out.buffer,
		run: func(s *State, _, from, to int) {
			for i := from; i < to; i++ {
				mean := s.buffer(out.buffer)[i*inner : (i+1)*inner]
				sumRows(set.Add, mean, s.buffer(in.buffer)[i*count*inner:], count)
				scaleBy(mean, count)
			}
		}})
	v, ok := out.reshaped(n.Shape)
	if !ok {
		v, _ = c.ordered(out, natural(len(shape))).reshaped(n.Shape)
	}
	c.set(n, v)
}
