package engine

import (
	"fmt"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// stem reports whether a layer is a convolution of few channels, such as a network's first.
func stem(n *graph.Node, conv graph.Conv2d) bool {
	return n.Params[0].Shape[1] <= 4 && conv.Groups == 1 && conv.Dilation == [2]int{1, 1} && !pointwise(n)
}

// stem emits a convolution of few channels, such as a network's first, whose gathered rows would be
// many and short: what a pixel sees of a line lies together in memory and is multiplied there, once
// the image has been copied with its zeros around it. Units are rows of the result.
func (c *compiler) stem(p *product, conv graph.Conv2d, in value) {
	in = c.widened(in)
	bf16 := c.bf16 != nil && conv.Stride[1]*p.in%2 == 0
	out := c.newTyped(p.end.Shape, in.order, bf16 && kernels.FusedBF16(p.act) && c.yieldsBF16(p.end, p.out))
	c.set(p.end, out)
	weight := p.weight
	line, image := in.shape[3]*p.in, in.shape[2]*in.shape[3]*p.in
	if bf16 {
		weight = evenSegments(weight, conv.Kernel[1]*p.in)
		in, line, image = c.framedBF16(in, conv.Pad)
	} else if conv.Pad != [4]int{} {
		in, line, image = c.framed(in, conv.Pad)
	}
	outH, outW := out.shape[2], out.shape[3]
	packed := c.pack(weight, p.bias, p.out, len(weight)/p.out, bf16)
	g := c.rows(p, in, out)
	set := c.plan.kernels
	c.emit(step{op: fmt.Sprintf("conv %dx%d", conv.Kernel[0], conv.Kernel[1]), path: p.node.Path, units: in.shape[0] * outH,
		reads: g.reads, write: out.buffer,
		run: func(s *State, _, from, to int) {
			x := s.buffer(in.buffer)
			for u := from; u < to; u++ {
				k := g.kernel(s, u*outW, 0)
				k.M, k.LDA, k.B, k.Act = outW, words(conv.Stride[1]*p.in, bf16), packed, p.act
				k.A = x[u/outH*image+u%outH*conv.Stride[0]*line:]
				k.Segments, k.Step = conv.Kernel[0], line
				set.Gemm(&k)
			}
		}})
}

// framed returns a copy of an image with zeros around it (top, left, bottom, right), and how many words
// a line and an image of it take.
func (c *compiler) framed(in value, pad [4]int) (out value, line, image int) {
	height, width := in.shape[2]+pad[0]+pad[2], in.shape[3]+pad[1]+pad[3]
	line = width * in.shape[1]
	return c.frame(in, pad, line, height, func(dst, x []float32) { copy(dst, x) }), line, line * height
}

// framedBF16 is framed with bfloat16: a line is as many words as hold it and one number besides.
func (c *compiler) framedBF16(in value, pad [4]int) (out value, line, image int) {
	height, width := in.shape[2]+pad[0]+pad[2], in.shape[3]+pad[1]+pad[3]
	line = width*in.shape[1]/2 + 1
	return c.frame(in, pad, line, height, c.bf16.Narrow), line, line * height
}

// frame emits a copy to a line for each of an image's and of those above and below.
func (c *compiler) frame(in value, pad [4]int, line, height int, copied func(dst, x []float32)) value {
	channels, h, w := in.shape[1], in.shape[2], in.shape[3]
	out := value{shape: in.shape, order: channelsLast, buffer: c.newBuffer(in.shape[0] * height * line)}
	left := pad[1] * channels
	c.needScratch(left + w*channels)
	c.emit(step{op: "copy", units: in.shape[0] * height, reads: []int{in.buffer}, write: out.buffer,
		run: func(s *State, thread, from, to int) {
			x, y, row := s.buffer(in.buffer), s.buffer(out.buffer), s.scratch[thread][:left+w*channels]
			clear(row[:left])
			for u := from; u < to; u++ {
				to, iy := y[u*line:(u+1)*line], u%height-pad[0]
				clear(to)
				if iy >= 0 && iy < h {
					copy(row[left:], x[(u/height*h+iy)*w*channels:])
					copied(to, row)
				}
			}
		}})
	return out
}

// evenSegments adds a weight of zero to the end of each odd segment, so that all are made of pairs.
func evenSegments(weight []float32, segment int) []float32 {
	if segment%2 == 0 {
		return weight
	}
	var even []float32
	for row := range slices.Chunk(weight, segment) {
		even = append(append(even, row...), 0)
	}
	return even
}
