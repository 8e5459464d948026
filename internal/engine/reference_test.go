package engine_test

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
)

// A tensor is a row-major array in PyTorch's order of dimensions.
type tensor struct {
	shape []int
	data  []float64
}

func newTensor(shape []int) tensor { return tensor{shape, make([]float64, graph.Numel(shape))} }

func (t tensor) offset(index []int) int {
	at := 0
	for d, i := range index {
		at = at*t.shape[d] + i
	}
	return at
}

func (t tensor) at(index ...int) float64 { return t.data[t.offset(index)] }

// inside reports whether the last two of four indices lie in the image.
func (t tensor) inside(y, x int) bool { return y >= 0 && y < t.shape[2] && x >= 0 && x < t.shape[3] }

// most returns the largest absolute value that is finite.
func (t tensor) most() float64 {
	m := 0.0
	for _, v := range t.data {
		if a := math.Abs(v); !math.IsInf(a, 0) {
			m = max(m, a)
		}
	}
	return m
}

// generate makes a tensor of the values that f gives for each index.
func generate(shape []int, f func(i []int) float64) tensor {
	t := newTensor(shape)
	index := make([]int, len(shape))
	for at := range t.data {
		rest := at
		for d := len(shape) - 1; d >= 0; d-- {
			index[d], rest = rest%shape[d], rest/shape[d]
		}
		t.data[at] = f(index)
	}
	return t
}

// memory returns the values as the engine keeps them: channels last, if there are four dimensions.
func (t tensor) memory() []float32 {
	if len(t.shape) == 4 {
		s := t.shape
		t = generate([]int{s[0], s[2], s[3], s[1]}, func(i []int) float64 { return t.at(i[0], i[3], i[1], i[2]) })
	}
	out := make([]float32, len(t.data))
	for i, v := range t.data {
		out[i] = float32(v)
	}
	return out
}

// fromMemory is the inverse of memory.
func fromMemory(shape []int, values []float32) tensor {
	if len(shape) == 4 {
		last := fromMemory([]int{shape[0], shape[2] * shape[3] * shape[1]}, values)
		return generate(shape, func(i []int) float64 {
			return last.at(i[0], (i[2]*shape[3]+i[3])*shape[1]+i[1])
		})
	}
	t := newTensor(shape)
	for i, v := range values {
		t.data[i] = float64(v)
	}
	return t
}

func fromParam(p *graph.Param) tensor {
	t := newTensor(p.Shape)
	for i, v := range p.Data {
		t.data[i] = float64(v)
	}
	return t
}

// reference computes a node from its inputs by the definition of its operation, slowly.
func reference(n *graph.Node, in []tensor) tensor {
	params := make([]tensor, len(n.Params))
	for i, p := range n.Params {
		params[i] = fromParam(p)
	}
	var x tensor
	if len(in) > 0 {
		x = in[0]
	}
	elementwise := func(f func(float64) float64) tensor {
		return generate(n.Shape, func(i []int) float64 { return f(x.at(i...)) })
	}
	switch op := n.Op.(type) {
	case graph.Parameter:
		return params[0]
	case graph.Constant:
		return generate(n.Shape, func(i []int) float64 { return float64(op.Data[tensor{shape: op.Shape}.offset(i)]) })
	case graph.Dropout, graph.StochasticDepth:
		return x
	case graph.Conv2d:
		return refConv(n.Shape, op, x, params)
	case graph.Linear:
		return refLinear(n.Shape, x, params)
	case graph.BatchNorm:
		return generate(n.Shape, func(i []int) float64 {
			c := i[1]
			return (x.at(i...)-params[2].at(c))/math.Sqrt(params[3].at(c)+op.Eps)*params[0].at(c) + params[1].at(c)
		})
	case graph.Affine:
		return generate(n.Shape, func(i []int) float64 {
			v := x.at(i...) * float64(op.Scale[i[1]])
			if op.Shift != nil {
				v += float64(op.Shift[i[1]])
			}
			return v
		})
	case graph.LayerNorm:
		return refLayerNorm(n.Shape, op, x, params)
	case graph.Act:
		return elementwise(refActs[op])
	case graph.Exp:
		return elementwise(func(v float64) float64 { return math.Exp(min(v, op.Max)) })
	case graph.Add:
		return generate(n.Shape, func(i []int) float64 { return in[0].broadcast(i) + in[1].broadcast(i) })
	case graph.Mul:
		return generate(n.Shape, func(i []int) float64 { return in[0].broadcast(i) * in[1].broadcast(i) })
	case graph.Expand:
		return generate(n.Shape, x.broadcast)
	case graph.AdaptiveAvgPool:
		return refAdaptive(n.Shape, op, x)
	case graph.MaxPool:
		return refMaxPool(n.Shape, op, x)
	case graph.AvgPool:
		return refAvgPool(n.Shape, op, x)
	case graph.Mean:
		return refMean(n.Shape, op, x)
	case graph.Flatten, graph.Reshape:
		return tensor{n.Shape, x.data}
	case graph.Permute:
		return generate(n.Shape, func(i []int) float64 {
			from := make([]int, len(i))
			for d, o := range op.Order {
				from[o] = i[d]
			}
			return x.at(from...)
		})
	case graph.Concat:
		return generate(n.Shape, func(i []int) float64 {
			from, part := slices.Clone(i), 0
			for from[op.Dim] >= in[part].shape[op.Dim] {
				from[op.Dim] -= in[part].shape[op.Dim]
				part++
			}
			return in[part].at(from...)
		})
	case graph.Slice:
		return generate(n.Shape, func(i []int) float64 {
			from := slices.Clone(i)
			from[op.Dim] += op.From
			return x.at(from...)
		})
	case graph.Pad:
		return generate(n.Shape, func(i []int) float64 {
			from := slices.Clone(i)
			for s := 0; s < len(op.Sides); s += 2 {
				d := len(i) - 1 - s/2
				if from[d] -= op.Sides[s]; from[d] < 0 || from[d] >= x.shape[d] {
					return 0
				}
			}
			return x.at(from...)
		})
	case graph.Roll:
		return generate(n.Shape, func(i []int) float64 {
			from := slices.Clone(i)
			for k, d := range op.Dims {
				for from[d] -= op.Shifts[k]; from[d] < 0; {
					from[d] += x.shape[d]
				}
				from[d] %= x.shape[d]
			}
			return x.at(from...)
		})
	case graph.Gather:
		index := n.Params[0]
		return generate(n.Shape, func(i []int) float64 {
			row := index.Index[tensor{shape: index.Shape}.offset(i[:len(index.Shape)])]
			return x.at(append([]int{row}, i[len(index.Shape):]...)...)
		})
	case graph.Attention:
		return refAttention(n.Shape, op, in)
	case graph.Softmax:
		return generate(n.Shape, func(i []int) float64 {
			sum, from := 0.0, slices.Clone(i)
			for from[op.Dim] = range x.shape[op.Dim] {
				sum += math.Exp(x.at(from...) - x.at(i...))
			}
			return 1 / sum
		})
	case graph.L2Norm:
		last := len(n.Shape) - 1
		return generate(n.Shape, func(i []int) float64 {
			sum, from := 0.0, slices.Clone(i)
			for from[last] = range x.shape[last] {
				sum += x.at(from...) * x.at(from...)
			}
			return x.at(i...) / max(math.Sqrt(sum), op.Eps)
		})
	}
	panic(fmt.Sprintf("no reference for %T", n.Op))
}

var refActs = map[graph.Act]func(x float64) float64{
	graph.ReLU:        func(x float64) float64 { return max(x, 0) },
	graph.ReLU6:       func(x float64) float64 { return min(max(x, 0), 6) },
	graph.SiLU:        func(x float64) float64 { return x / (1 + math.Exp(-x)) },
	graph.Sigmoid:     func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
	graph.HardSwish:   func(x float64) float64 { return x * min(max(x+3, 0), 6) / 6 },
	graph.HardSigmoid: func(x float64) float64 { return min(max(x+3, 0), 6) / 6 },
	graph.GELU:        func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) },
	graph.GELUTanh: func(x float64) float64 {
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	},
	graph.Tanh: math.Tanh,
}

// broadcast returns the element that stands at an index of a larger shape.
func (t tensor) broadcast(index []int) float64 {
	own := slices.Clone(index[len(index)-len(t.shape):])
	for d := range own {
		if t.shape[d] == 1 {
			own[d] = 0
		}
	}
	return t.at(own...)
}

func refConv(shape []int, op graph.Conv2d, x tensor, params []tensor) tensor {
	w := params[0]
	groupIn, groupOut := w.shape[1], w.shape[0]/op.Groups
	return generate(shape, func(i []int) float64 {
		sum := 0.0
		if len(params) > 1 {
			sum = params[1].at(i[1])
		}
		for c := range groupIn {
			for ky := range op.Kernel[0] {
				for kx := range op.Kernel[1] {
					y := i[2]*op.Stride[0] - op.Pad[0] + ky*op.Dilation[0]
					z := i[3]*op.Stride[1] - op.Pad[1] + kx*op.Dilation[1]
					if x.inside(y, z) {
						sum += x.at(i[0], i[1]/groupOut*groupIn+c, y, z) * w.at(i[1], c, ky, kx)
					}
				}
			}
		}
		return sum
	})
}

func refLinear(shape []int, x tensor, params []tensor) tensor {
	last := len(shape) - 1
	return generate(shape, func(i []int) float64 {
		sum, from := 0.0, slices.Clone(i)
		if len(params) > 1 {
			sum = params[1].at(i[last])
		}
		for from[last] = range x.shape[last] {
			sum += x.at(from...) * params[0].at(i[last], from[last])
		}
		return sum
	})
}

func refLayerNorm(shape []int, op graph.LayerNorm, x tensor, params []tensor) tensor {
	last := len(shape) - 1
	size := float64(shape[last])
	return generate(shape, func(i []int) float64 {
		from := slices.Clone(i)
		mean, variance := 0.0, 0.0
		for from[last] = range shape[last] {
			mean += x.at(from...) / size
		}
		for from[last] = range shape[last] {
			variance += (x.at(from...) - mean) * (x.at(from...) - mean) / size
		}
		c := i[last]
		return (x.at(i...)-mean)/math.Sqrt(variance+op.Eps)*params[0].at(c) + params[1].at(c)
	})
}

func refAdaptive(shape []int, op graph.AdaptiveAvgPool, x tensor) tensor {
	return generate(shape, func(i []int) float64 {
		var from, to [2]int
		for d := range 2 { // ⌊i·size/out⌋ to ⌈(i+1)·size/out⌉
			from[d] = i[2+d] * x.shape[2+d] / op.Size[d]
			to[d] = int(math.Ceil(float64((i[2+d]+1)*x.shape[2+d]) / float64(op.Size[d])))
		}
		sum := 0.0
		for y := from[0]; y < to[0]; y++ {
			for z := from[1]; z < to[1]; z++ {
				sum += x.at(i[0], i[1], y, z)
			}
		}
		return sum / float64((to[0]-from[0])*(to[1]-from[1]))
	})
}

func refMaxPool(shape []int, op graph.MaxPool, x tensor) tensor {
	return generate(shape, func(i []int) float64 {
		best := math.Inf(-1)
		for ky := range op.Kernel[0] {
			for kx := range op.Kernel[1] {
				y := i[2]*op.Stride[0] - op.Pad[0] + ky*op.Dilation[0]
				z := i[3]*op.Stride[1] - op.Pad[1] + kx*op.Dilation[1]
				if x.inside(y, z) {
					best = max(best, x.at(i[0], i[1], y, z))
				}
			}
		}
		return best
	})
}

// refAvgPool divides by what of the window lies in the image, or in the image with its padding: what
// ceil mode adds beyond doesn't count (aten/src/ATen/native/cpu/AvgPoolKernel.cpp).
func refAvgPool(shape []int, op graph.AvgPool, x tensor) tensor {
	return generate(shape, func(i []int) float64 {
		sum, inImage, inPadding := 0.0, 0, 0
		for ky := range op.Kernel[0] {
			for kx := range op.Kernel[1] {
				y, z := i[2]*op.Stride[0]-op.Pad[0]+ky, i[3]*op.Stride[1]-op.Pad[1]+kx
				if y < x.shape[2]+op.Pad[0] && z < x.shape[3]+op.Pad[1] {
					inPadding++
				}
				if x.inside(y, z) {
					inImage++
					sum += x.at(i[0], i[1], y, z)
				}
			}
		}
		if op.CountIncludePad {
			return sum / float64(inPadding)
		}
		return sum / float64(inImage)
	})
}

func refMean(shape []int, op graph.Mean, x tensor) tensor {
	out := newTensor(shape)
	count := float64(len(x.data) / len(out.data))
	generate(x.shape, func(i []int) float64 {
		var to []int
		for d, at := range i {
			if !slices.Contains(op.Dims, d) {
				to = append(to, at)
			} else if op.Keep {
				to = append(to, 0)
			}
		}
		out.data[out.offset(to)] += x.at(i...) / count
		return 0
	})
	return out
}

func refAttention(shape []int, op graph.Attention, in []tensor) tensor {
	q, k, v := in[0], in[1], in[2]
	d, e, keys := q.shape[2]/op.Heads, v.shape[2]/op.Heads, k.shape[1]
	return generate(shape, func(i []int) float64 {
		n, l, head := i[0], i[1], i[2]/e
		sum, out := 0.0, 0.0
		for s := range keys {
			score := 0.0
			for j := range d {
				score += q.at(n, l, head*d+j) * k.at(n, s, head*d+j)
			}
			score *= op.Scale
			if len(in) > 3 {
				score += in[3].at(n%in[3].shape[0], head, l, s)
			}
			sum += math.Exp(score)
			out += math.Exp(score) * v.at(n, s, i[2])
		}
		return out / sum
	})
}
