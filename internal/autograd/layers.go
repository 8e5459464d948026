package autograd

import (
	"fmt"
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/torchrand"
)

func newLayer(n *graph.Node, set *kernels.Set, in []*tensor, params []*parameter, out *tensor) (layer, error) {
	b := base{out: out}
	if len(in) > 0 {
		b.in = in[0]
	}
	switch op := n.Op.(type) {
	case graph.Linear:
		if len(n.Shape) != 2 {
			return nil, fmt.Errorf("training through a Linear on %v isn't possible yet: freeze more of the network", n.In[0].Shape)
		}
		return newProduct(b, set, params, nil), nil
	case graph.Conv2d:
		if op.Groups != 1 {
			return nil, fmt.Errorf("training a convolution of %d groups isn't possible yet: freeze more of the network", op.Groups)
		}
		return newProduct(b, set, params, &op), nil
	case graph.Dropout:
		return &dropout{base: b, p: op.P, active: op.Active, scale: make([]float32, len(out.data))}, nil
	case graph.Act:
		slope, ok := slopes[op]
		if !ok {
			return nil, fmt.Errorf("training through %v isn't possible yet: freeze more of the network", op)
		}
		return &activation{base: b, act: acts[op], slope: slope, set: set}, nil
	case graph.Flatten:
		return &flatten{b}, nil
	case graph.MaxPool:
		return &maxPool{base: b, op: op, from: make([]int, len(out.data))}, nil
	case graph.AdaptiveAvgPool:
		if op.Size != [2]int{1, 1} {
			return nil, fmt.Errorf("training through an average pool to %v isn't possible yet: freeze more of the network", op.Size)
		}
		return &globalPool{b}, nil
	}
	return nil, fmt.Errorf("training through %T isn't possible yet: freeze more of the network", n.Op)
}

// base is what layers of one input have in common.
type base struct{ in, out *tensor }

// reset clears the result's derivative, to which those who use it add.
func (b *base) reset() { clear(b.out.grad) }

type dropout struct {
	base
	p      float64
	active bool
	scale  []float32
}

func (d *dropout) forward(train bool, random *torchrand.Generator) {
	drops := train && d.active && d.p > 0 // at p = 0 PyTorch draws no number
	keep := float32(1 / (1 - d.p))
	for i, x := range d.in.data {
		switch {
		case !drops:
			d.scale[i] = 1
		case random.Bernoulli(1 - d.p):
			d.scale[i] = keep
		default:
			d.scale[i] = 0
		}
		d.out.data[i] = x * d.scale[i]
	}
}

func (d *dropout) backward() {
	for i := range d.in.grad {
		d.in.grad[i] += d.out.grad[i] * d.scale[i]
	}
}

type activation struct {
	base
	act   kernels.Act
	slope func(x float64) float64
	set   *kernels.Set
}

var acts = map[graph.Act]kernels.Act{graph.ReLU: kernels.ReLU, graph.ReLU6: kernels.ReLU6, graph.SiLU: kernels.SiLU, graph.HardSwish: kernels.HardSwish}

// slopes holds the derivatives of the activations by their input.
var slopes = map[graph.Act]func(x float64) float64{
	graph.ReLU: func(x float64) float64 {
		if x > 0 {
			return 1
		}
		return 0
	},
	graph.ReLU6: func(x float64) float64 {
		if x > 0 && x < 6 {
			return 1
		}
		return 0
	},
	graph.SiLU: func(x float64) float64 {
		s := 1 / (1 + math.Exp(-x))
		return s * (1 + x*(1-s))
	},
	graph.HardSwish: func(x float64) float64 {
		switch {
		case x <= -3:
			return 0
		case x >= 3:
			return 1
		}
		return x/3 + 0.5
	},
}

func (a *activation) forward(bool, *torchrand.Generator) {
	copy(a.out.data, a.in.data)
	a.set.Act(a.act, a.out.data)
}

func (a *activation) backward() {
	for i := range a.in.grad {
		a.in.grad[i] += a.out.grad[i] * float32(a.slope(float64(a.in.data[i])))
	}
}

// flatten brings channels-last images into PyTorch's order, channels first.
type flatten struct{ base }

func (f *flatten) each(visit func(first, last int)) {
	n, channels, pixels := f.in.shape[0], 1, len(f.in.data)/f.in.shape[0]
	if len(f.in.shape) == 4 {
		channels = f.in.shape[1]
		pixels /= channels
	}
	for i := range n {
		for c := range channels {
			for p := range pixels {
				visit((i*channels+c)*pixels+p, (i*pixels+p)*channels+c)
			}
		}
	}
}

func (f *flatten) forward(bool, *torchrand.Generator) {
	f.each(func(first, last int) { f.out.data[first] = f.in.data[last] })
}

func (f *flatten) backward() {
	if f.in.grad != nil {
		f.each(func(first, last int) { f.in.grad[last] += f.out.grad[first] })
	}
}

type globalPool struct{ base }

func (g *globalPool) forward(bool, *torchrand.Generator) {
	n, channels := g.in.shape[0], g.in.shape[1]
	pixels := g.in.shape[2] * g.in.shape[3]
	clear(g.out.data)
	for i := range n {
		mean := g.out.data[i*channels : (i+1)*channels]
		for p := range pixels {
			for c, v := range g.in.data[(i*pixels+p)*channels : (i*pixels+p+1)*channels] {
				mean[c] += v
			}
		}
		for c := range mean {
			mean[c] /= float32(pixels)
		}
	}
}

func (g *globalPool) backward() {
	if g.in.grad == nil {
		return
	}
	n, channels := g.in.shape[0], g.in.shape[1]
	pixels := g.in.shape[2] * g.in.shape[3]
	for i := range n {
		for p := range pixels {
			to := g.in.grad[(i*pixels+p)*channels : (i*pixels+p+1)*channels]
			for c := range to {
				to[c] += g.out.grad[i*channels+c] / float32(pixels)
			}
		}
	}
}

type maxPool struct {
	base
	op   graph.MaxPool
	from []int // where each maximum was found; -1 for none
}

func (m *maxPool) forward(bool, *torchrand.Generator) {
	n, channels, h, w := m.in.shape[0], m.in.shape[1], m.in.shape[2], m.in.shape[3]
	outH, outW := m.out.shape[2], m.out.shape[3]
	at := 0
	for i := range n {
		for oy := range outH {
			for ox := range outW {
				for c := range channels {
					best, from := float32(math.Inf(-1)), -1
					for ky := range m.op.Kernel[0] {
						y := oy*m.op.Stride[0] - m.op.Pad[0] + ky*m.op.Dilation[0]
						for kx := range m.op.Kernel[1] {
							x := ox*m.op.Stride[1] - m.op.Pad[1] + kx*m.op.Dilation[1]
							if y < 0 || y >= h || x < 0 || x >= w {
								continue
							}
							if j := ((i*h+y)*w+x)*channels + c; m.in.data[j] > best {
								best, from = m.in.data[j], j
							}
						}
					}
					m.out.data[at], m.from[at] = best, from
					at++
				}
			}
		}
	}
}

func (m *maxPool) backward() {
	if m.in.grad == nil {
		return
	}
	for i, from := range m.from {
		if from >= 0 {
			m.in.grad[from] += m.out.grad[i]
		}
	}
}
