package autograd

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/torchrand"
)

// A product is a linear layer, or a convolution as one on the pixels' neighbourhoods:
// Y = X·Wᵀ + b with a row of X for each sample or pixel.
type product struct {
	base
	set          *kernels.Set
	weight, bias *parameter
	conv         *graph.Conv2d // nil for a linear layer

	rows, fanIn, fanOut int
	x                   []float32 // [rows, fanIn]: the input, or for a convolution what its pixels see
	w                   []float32 // [fanOut, fanIn], in the order of x
	packed              []float32
	scratch             []float32
}

func newProduct(b base, set *kernels.Set, params []*parameter, conv *graph.Conv2d) *product {
	p := &product{base: b, set: set, weight: params[0], conv: conv, fanOut: params[0].Shape[0]}
	if len(params) > 1 {
		p.bias = params[1]
	}
	p.fanIn = p.weight.Numel() / p.fanOut
	p.rows = len(b.out.data) / p.fanOut
	if conv != nil {
		p.x = make([]float32, p.rows*p.fanIn)
		p.w = make([]float32, p.fanIn*p.fanOut)
	}
	p.packed = make([]float32, max(kernels.PackedLen(p.fanOut, p.fanIn), kernels.PackedLen(p.fanIn, p.fanOut), kernels.PackedLen(p.fanIn, p.rows)))
	p.scratch = make([]float32, p.rows*max(p.fanOut, p.fanIn))
	return p
}

func (p *product) forward(bool, *torchrand.Generator) {
	if p.conv == nil {
		p.x, p.w = p.in.data, p.weight.Data
	} else {
		p.reorder(func(weight, w int) { p.w[w] = p.weight.Data[weight] })
		clear(p.x)
		p.visit(func(x, in int) { p.x[x] = p.in.data[in] })
	}
	b := kernels.PackRows(p.packed, p.w, p.fanOut, p.fanIn, p.fanIn)
	y := p.out.data
	p.set.Gemm(&kernels.Gemm{M: p.rows, A: p.x, LDA: p.fanIn, B: b, C: y, LDC: p.fanOut})
	if p.bias != nil {
		for r := range p.rows {
			row := y[r*p.fanOut : (r+1)*p.fanOut]
			p.set.Add(row, row, p.bias.Data, kernels.None)
		}
	}
}

func (p *product) backward() {
	dy := p.out.grad
	if p.bias != nil && p.bias.grad != nil {
		for r := range p.rows {
			p.set.Add(p.bias.grad, p.bias.grad, dy[r*p.fanOut:(r+1)*p.fanOut], kernels.None)
		}
	}
	if p.weight.grad != nil { // dW = dYᵀ·X
		transposed := p.scratch[:p.rows*p.fanOut]
		for r := range p.rows {
			for o := range p.fanOut {
				transposed[o*p.rows+r] = dy[r*p.fanOut+o]
			}
		}
		b := kernels.PackColumns(p.packed, p.x, p.fanIn, p.rows, p.fanIn)
		g := kernels.Gemm{M: p.fanOut, A: transposed, LDA: p.rows, B: b, LDC: p.fanIn, LDR: p.fanIn}
		if p.conv == nil {
			g.C, g.Res = p.weight.grad, p.weight.grad
			p.set.Gemm(&g)
		} else {
			g.C = make([]float32, p.fanOut*p.fanIn)
			p.set.Gemm(&g)
			p.reorder(func(weight, w int) { p.weight.grad[weight] += g.C[w] })
		}
	}
	if p.in.grad != nil { // dX = dY·W
		b := kernels.PackColumns(p.packed, p.w, p.fanIn, p.fanOut, p.fanIn)
		g := kernels.Gemm{M: p.rows, A: dy, LDA: p.fanOut, B: b, LDC: p.fanIn, LDR: p.fanIn}
		if p.conv == nil {
			g.C, g.Res = p.in.grad, p.in.grad
			p.set.Gemm(&g)
		} else {
			g.C = p.scratch[:p.rows*p.fanIn]
			p.set.Gemm(&g)
			p.visit(func(x, in int) { p.in.grad[in] += g.C[x] })
		}
	}
}

// reorder pairs PyTorch's [out, in, kernel height, kernel width] with [out, height, width, in].
func (p *product) reorder(pair func(weight, w int)) {
	in, taps := p.weight.Shape[1], p.conv.Kernel[0]*p.conv.Kernel[1]
	for o := range p.fanOut {
		for i := range in {
			for t := range taps {
				pair((o*in+i)*taps+t, (o*taps+t)*in+i)
			}
		}
	}
}

// visit pairs each element of x with the element of the input that a pixel sees there.
func (p *product) visit(pair func(x, in int)) {
	c := p.conv
	channels, h, w := p.in.shape[1], p.in.shape[2], p.in.shape[3]
	outH, outW := p.out.shape[2], p.out.shape[3]
	for r := range p.rows {
		n, oy, ox := r/(outH*outW), r/outW%outH, r%outW
		for ky := range c.Kernel[0] {
			y := oy*c.Stride[0] - c.Pad[0] + ky*c.Dilation[0]
			for kx := range c.Kernel[1] {
				x := ox*c.Stride[1] - c.Pad[1] + kx*c.Dilation[1]
				if y < 0 || y >= h || x < 0 || x >= w {
					continue
				}
				to, from := r*p.fanIn+(ky*c.Kernel[1]+kx)*channels, ((n*h+y)*w+x)*channels
				for i := range channels {
					pair(to+i, from+i)
				}
			}
		}
	}
}
