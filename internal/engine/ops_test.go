package engine_test

import (
	"fmt"
	"testing"

	"github.com/graft-ml/graft/internal/graph"
)

// A builder makes a graph for a test, and returns its output.
type builder func(b *net) *graph.Node

func verifyAll(t *testing.T, cases map[string]builder) {
	for name, build := range cases {
		t.Run(name, func(t *testing.T) {
			b := newNet(1)
			b.Output = build(b)
			verify(t, b)
		})
	}
}

// image and tokens begin most graphs: odd sizes, and more than a panel of channels.
func image(b *net) *graph.Node  { return b.Input(2, 5, 7, 9) }
func wide(b *net) *graph.Node   { return b.Input(2, 37, 5, 6) }
func tokens(b *net) *graph.Node { return b.Input(3, 7, 12) }

func TestConvolutions(t *testing.T) {
	cases := map[string]builder{}
	add := func(name string, in builder, out int, op graph.Conv2d, bias bool) {
		cases[name] = func(b *net) *graph.Node { return b.conv(in(b), out, op, bias) }
	}
	add("1x1", wide, 41, graph.Conv2d{Kernel: [2]int{1, 1}}, true)
	add("1x1 stride 2", image, 8, graph.Conv2d{Kernel: [2]int{1, 1}, Stride: [2]int{2, 2}}, false)
	add("1x1 padded", image, 8, graph.Conv2d{Kernel: [2]int{1, 1}, Pad: [4]int{1, 0, 2, 1}}, true)
	add("1x1 to one channel", image, 1, graph.Conv2d{Kernel: [2]int{1, 1}}, true)
	add("3x3", image, 6, graph.Conv2d{Kernel: [2]int{3, 3}, Pad: [4]int{1, 1, 1, 1}}, true)
	add("3x3 of one channel", func(b *net) *graph.Node { return b.Input(1, 1, 4, 4) }, 3, graph.Conv2d{Kernel: [2]int{3, 3}}, true)
	add("3x3 SAME at stride 2", image, 6, graph.Conv2d{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{0, 1, 1, 0}}, false)
	add("5x3 at stride 3x2", image, 4, graph.Conv2d{Kernel: [2]int{5, 3}, Stride: [2]int{3, 2}, Pad: [4]int{3, 0, 1, 2}}, true)
	add("1x7", image, 4, graph.Conv2d{Kernel: [2]int{1, 7}, Pad: [4]int{0, 3, 0, 3}}, true)
	add("patches", image, 40, graph.Conv2d{Kernel: [2]int{3, 3}, Stride: [2]int{3, 3}}, true)
	add("dilated", image, 4, graph.Conv2d{Kernel: [2]int{3, 2}, Dilation: [2]int{2, 3}, Pad: [4]int{2, 1, 0, 3}}, true)
	add("dilated at stride 2", image, 4, graph.Conv2d{Kernel: [2]int{2, 3}, Stride: [2]int{2, 2}, Dilation: [2]int{3, 2}, Pad: [4]int{1, 2, 1, 2}}, true)
	add("wider than the image", func(b *net) *graph.Node { return b.Input(2, 3, 2, 2) }, 4, graph.Conv2d{Kernel: [2]int{7, 7}, Pad: [4]int{3, 3, 3, 3}}, true)
	add("many rows", func(b *net) *graph.Node { return b.Input(1, 3, 23, 29) }, 5, graph.Conv2d{Kernel: [2]int{3, 3}, Pad: [4]int{1, 1, 1, 1}}, true)

	sixChannels := func(b *net) *graph.Node { return b.Input(2, 6, 7, 5) }
	add("groups", sixChannels, 4, graph.Conv2d{Kernel: [2]int{3, 3}, Groups: 2, Pad: [4]int{1, 1, 1, 1}}, true)
	add("groups 1x1", sixChannels, 9, graph.Conv2d{Kernel: [2]int{1, 1}, Groups: 3}, true)
	add("wide groups", func(b *net) *graph.Node { return b.Input(1, 8, 5, 5) }, 70, graph.Conv2d{Kernel: [2]int{3, 3}, Groups: 2, Stride: [2]int{2, 1}}, true)
	add("depthwise", wide, 37, graph.Conv2d{Kernel: [2]int{3, 3}, Groups: 37, Pad: [4]int{1, 1, 1, 1}}, true)
	add("depthwise SAME", sixChannels, 6, graph.Conv2d{Kernel: [2]int{5, 5}, Groups: 6, Stride: [2]int{2, 2}, Pad: [4]int{1, 2, 2, 2}}, false)
	add("depthwise dilated", sixChannels, 6, graph.Conv2d{Kernel: [2]int{3, 3}, Groups: 6, Dilation: [2]int{2, 2}, Pad: [4]int{2, 2, 2, 2}}, true)
	add("depthwise 7x7", func(b *net) *graph.Node { return b.Input(2, 17, 3, 4) }, 17, graph.Conv2d{Kernel: [2]int{7, 7}, Groups: 17, Pad: [4]int{3, 3, 3, 3}}, true)
	add("depthwise 4x2 at stride 3x1", sixChannels, 6, graph.Conv2d{Kernel: [2]int{4, 2}, Groups: 6, Stride: [2]int{3, 1}, Pad: [4]int{3, 1, 2, 0}}, true)
	add("depthwise multiplier", sixChannels, 12, graph.Conv2d{Kernel: [2]int{3, 3}, Groups: 6, Pad: [4]int{1, 1, 1, 1}}, true)
	add("depthwise of one channel", func(b *net) *graph.Node { return b.Input(2, 1, 4, 4) }, 1, graph.Conv2d{Kernel: [2]int{3, 3}}, true)
	verifyAll(t, cases)
}

// TestWinograd has what is computed by tiles: whole and cut ones, few and so many that they are divided
// into blocks.
func TestWinograd(t *testing.T) {
	conv := func(b *net, x *graph.Node, out int, pad [4]int) *graph.Node {
		return b.conv(x, out, graph.Conv2d{Kernel: [2]int{3, 3}, Pad: pad}, true)
	}
	same := [4]int{1, 1, 1, 1}
	verifyAll(t, map[string]builder{
		"whole tiles":  func(b *net) *graph.Node { return conv(b, b.Input(1, 16, 8, 8), 16, same) },
		"cut tiles":    func(b *net) *graph.Node { return conv(b, b.Input(2, 16, 9, 6), 32, same) },
		"no padding":   func(b *net) *graph.Node { return conv(b, b.Input(1, 32, 11, 7), 16, [4]int{}) },
		"padded apart": func(b *net) *graph.Node { return conv(b, b.Input(1, 16, 7, 10), 16, [4]int{0, 2, 3, 1}) },
		"blocks":       func(b *net) *graph.Node { return conv(b, b.Input(2, 16, 21, 23), 16, same) },
		"residual": func(b *net) *graph.Node {
			x := b.Input(2, 16, 9, 9)
			return b.batchNorm(conv(b, x, 16, same)).Add(x).Act(graph.ReLU)
		},
		"over what is added": func(b *net) *graph.Node {
			x := conv(b, b.Input(1, 16, 9, 9), 16, same)
			return conv(b, x.Act(graph.ReLU), 16, same).Add(x).Act(graph.ReLU)
		},
		"residual and blocks": func(b *net) *graph.Node {
			x := b.Input(3, 16, 18, 19)
			return b.batchNorm(conv(b, x.Act(graph.SiLU), 16, same)).Add(x).Act(graph.SiLU)
		},
	})
}

// TestBands has blocks of mobile networks whose expanded image is large enough to be computed by bands.
func TestBands(t *testing.T) {
	expand := func(b *net, x *graph.Node, out int) *graph.Node { return b.conv1(x, out).Act(graph.ReLU6) }
	depthwise := func(b *net, x *graph.Node, kernel, stride int) *graph.Node {
		p := kernel / 2
		op := graph.Conv2d{Kernel: [2]int{kernel, kernel}, Stride: [2]int{stride, stride}, Pad: [4]int{p, p, p, p}, Groups: x.Shape[1]}
		return b.batchNorm(b.conv(x, x.Shape[1], op, false)).Act(graph.SiLU)
	}
	cases := map[string]builder{
		"expanded and projected": func(b *net) *graph.Node {
			return b.conv1(depthwise(b, expand(b, b.Input(1, 3, 41, 40), 92), 3, 1), 5)
		},
		"with a residual": func(b *net) *graph.Node {
			x := b.Input(1, 4, 40, 43)
			return b.conv1(depthwise(b, expand(b, x, 90), 3, 1), 4).Add(x)
		},
		"at a stride": func(b *net) *graph.Node {
			return b.conv1(depthwise(b, expand(b, b.Input(1, 3, 41, 45), 82), 5, 2), 6).Act(graph.ReLU)
		},
		"depthwise alone":      func(b *net) *graph.Node { return depthwise(b, b.Input(1, 81, 43, 44), 3, 2) },
		"depthwise, projected": func(b *net) *graph.Node { return b.conv1(depthwise(b, b.Input(1, 81, 43, 44), 3, 1), 3) },
		"another use in between": func(b *net) *graph.Node {
			x := expand(b, b.Input(1, 3, 40, 40), 93)
			return b.conv1(depthwise(b, x, 3, 2), 4).Flatten(2).Mean(2).Add(b.conv1(x, 4).Mean(2, 3))
		},
		"squeeze and excitation": func(b *net) *graph.Node {
			x := depthwise(b, expand(b, b.Input(1, 3, 44, 39), 88), 3, 2)
			s := b.conv1(b.op(graph.AdaptiveAvgPool{Size: [2]int{1, 1}}, x), 88).Act(graph.Sigmoid)
			return b.conv1(x.Mul(s), 5)
		},
		"two images": func(b *net) *graph.Node {
			return b.conv1(depthwise(b, expand(b, b.Input(2, 2, 27, 83), 67), 3, 1), 2)
		},
		"a sum before the projection": func(b *net) *graph.Node {
			x := b.Input(1, 93, 40, 40)
			return b.conv1(depthwise(b, x, 3, 1).Add(x), 3)
		},
	}
	verifyAll(t, cases)
}

func TestLinear(t *testing.T) {
	verifyAll(t, map[string]builder{
		"two dimensions": func(b *net) *graph.Node { return b.linear(b.Input(5, 33), 35, true) },
		"one output":     func(b *net) *graph.Node { return b.linear(b.Input(5, 33), 1, false) },
		"one row":        func(b *net) *graph.Node { return b.linear(b.Input(1, 3), 4, true) },
		"tokens":         func(b *net) *graph.Node { return b.linear(tokens(b), 5, true) },
		"four dimensions": func(b *net) *graph.Node {
			return b.linear(image(b).Permute(0, 2, 3, 1), 6, true)
		},
		"the width of an image": func(b *net) *graph.Node { return b.linear(image(b), 4, true) },
		"the height": func(b *net) *graph.Node {
			return b.linear(image(b).Permute(0, 1, 3, 2), 4, true)
		},
	})
}

func TestPools(t *testing.T) {
	cases := map[string]builder{}
	for _, ceil := range []bool{false, true} {
		for i, op := range []graph.MaxPool{
			{Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}},
			{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [2]int{1, 1}},
			{Kernel: [2]int{3, 2}, Stride: [2]int{3, 1}, Pad: [2]int{1, 0}, Dilation: [2]int{2, 3}},
			{Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Pad: [2]int{1, 1}},
		} {
			op.Dilation[0], op.Dilation[1], op.Ceil = max(op.Dilation[0], 1), max(op.Dilation[1], 1), ceil
			cases[fmt.Sprintf("max %d, ceil %v", i, ceil)] = func(b *net) *graph.Node { return b.op(op, image(b)) }
			for _, padding := range []bool{false, true} {
				op := graph.AvgPool{Kernel: op.Kernel, Stride: op.Stride, Pad: op.Pad, Ceil: ceil, CountIncludePad: padding}
				cases[fmt.Sprintf("average %d, ceil %v, padding counts %v", i, ceil, padding)] = func(b *net) *graph.Node {
					return b.op(op, image(b))
				}
			}
		}
	}
	for _, size := range [][2]int{{1, 1}, {7, 7}, {3, 4}, {7, 9}, {1, 3}, {10, 12}} {
		cases[fmt.Sprint("adaptive ", size)] = func(b *net) *graph.Node {
			return b.op(graph.AdaptiveAvgPool{Size: size}, image(b))
		}
	}
	for _, dims := range [][]int{{2, 3}, {1}, {0}, {3}, {2}, {1, 2}, {0, 1, 2, 3}, {1, 3}} {
		for _, keep := range []bool{false, true} {
			cases[fmt.Sprint("mean over ", dims, ", kept ", keep)] = func(b *net) *graph.Node {
				return b.op(graph.Mean{Dims: dims, Keep: keep}, image(b))
			}
		}
	}
	cases["max, where a window misses the image"] = func(b *net) *graph.Node {
		x := b.conv1(b.Input(1, 20, 1, 2), 20) // leaves other numbers in the memory
		return b.op(graph.MaxPool{Kernel: [2]int{2, 1}, Stride: [2]int{1, 1}, Pad: [2]int{1, 0}, Dilation: [2]int{2, 1}}, x)
	}
	cases["mean of tokens"] = func(b *net) *graph.Node { return tokens(b).Mean(1) }
	verifyAll(t, cases)
}

func TestElementwise(t *testing.T) {
	cases := map[string]builder{
		"batch norm":           func(b *net) *graph.Node { return b.batchNorm(image(b)) },
		"batch norm of rows":   func(b *net) *graph.Node { return b.batchNorm(b.Input(5, 7)) },
		"batch norm of tokens": func(b *net) *graph.Node { return b.batchNorm(tokens(b)) },
		"batch norm and act":   func(b *net) *graph.Node { return b.batchNorm(image(b)).Act(graph.SiLU) },
		"affine": func(b *net) *graph.Node {
			return b.op(graph.Affine{Scale: b.values(5, 1, 0.5), Shift: b.values(5, 0, 1)}, image(b))
		},
		"layer norm of tokens": func(b *net) *graph.Node { return b.layerNorm(tokens(b)) },
		"layer norm of a width": func(b *net) *graph.Node {
			return b.layerNorm(image(b))
		},
		"layer norm of channels": func(b *net) *graph.Node {
			return b.layerNorm(image(b).Permute(0, 2, 3, 1)).Permute(0, 3, 1, 2)
		},
		"layer norm of a row": func(b *net) *graph.Node { return b.layerNorm(b.Input(3, 40)) },
		"layer norm of single features": func(b *net) *graph.Node {
			return b.layerNorm(b.Input(3, 4, 1))
		},
		"exp": func(b *net) *graph.Node { return b.op(graph.Exp{Max: 0.5}, image(b)) },
		"L2 norm": func(b *net) *graph.Node {
			return b.op(graph.L2Norm{Eps: 1e-12}, b.Input(2, 3, 4, 5))
		},
		"L2 norm of small rows": func(b *net) *graph.Node {
			return b.op(graph.L2Norm{Eps: 100}, tokens(b))
		},
		"inert": func(b *net) *graph.Node {
			x := b.op(graph.Dropout{P: 0.5}, b.conv1(image(b), 5))
			return b.op(graph.StochasticDepth{P: 0.5}, x).Add(b.op(graph.Dropout{P: 0.1}, x)).Act(graph.ReLU)
		},
		"inert input": func(b *net) *graph.Node { return b.op(graph.Dropout{P: 0.5}, image(b)) },
	}
	for act := graph.ReLU; act <= graph.Tanh; act++ {
		cases[act.String()] = func(b *net) *graph.Node { return image(b).Act(act) }
		cases[act.String()+" of a convolution"] = func(b *net) *graph.Node { return b.conv1(wide(b), 35).Act(act) }
		cases[act.String()+" of a depthwise convolution"] = func(b *net) *graph.Node { return b.depthwise(wide(b)).Act(act) }
		cases[act.String()+" of a sum"] = func(b *net) *graph.Node {
			x := image(b)
			return x.Add(b.Input(x.Shape...)).Act(act)
		}
		cases[act.String()+" of tokens"] = func(b *net) *graph.Node { return tokens(b).Act(act) }
	}
	for dim := range 4 {
		cases[fmt.Sprint("softmax over ", dim)] = func(b *net) *graph.Node { return b.op(graph.Softmax{Dim: dim}, image(b)) }
	}
	verifyAll(t, cases)
}

func TestBroadcasting(t *testing.T) {
	cases := map[string]builder{}
	for name, shapes := range map[string][2][]int{
		"equal":                  {{2, 5, 7, 9}, {2, 5, 7, 9}},
		"channel":                {{2, 5, 7, 9}, {1, 5, 1, 1}},
		"channel, three":         {{2, 5, 7, 9}, {5, 1, 1}},
		"excitation":             {{2, 5, 7, 9}, {2, 5, 1, 1}},
		"pixel":                  {{2, 5, 7, 9}, {2, 1, 7, 9}},
		"pixel of all":           {{2, 5, 7, 9}, {7, 9}},
		"column":                 {{2, 5, 7, 9}, {9}},
		"row":                    {{2, 5, 7, 9}, {7, 1}},
		"sample":                 {{2, 5, 7, 9}, {2, 1, 1, 1}},
		"number":                 {{2, 5, 7, 9}, {1}},
		"number of four":         {{2, 5, 7, 9}, {1, 1, 1, 1}},
		"sample and row":         {{2, 5, 7, 9}, {2, 1, 7, 1}},
		"channel and row":        {{2, 5, 7, 9}, {5, 7, 1}},
		"both":                   {{2, 1, 7, 1}, {1, 5, 1, 9}},
		"both, other dimensions": {{4, 1}, {2, 1, 3}},
		"position":               {{3, 7, 12}, {1, 7, 12}},
		"feature":                {{3, 7, 12}, {12}},
		"scale of a token":       {{3, 7, 12}, {3, 7, 1}},
		"scale of a head":        {{6, 3, 4, 4}, {3, 1, 1}},
		"bias of heads":          {{6, 3, 4, 4}, {1, 3, 4, 4}},
		"rows":                   {{4, 6}, {4, 1}},
	} {
		for what, op := range map[string]graph.Op{"add": graph.Add{}, "mul": graph.Mul{}} {
			for turn := range 2 {
				a, c := shapes[turn], shapes[1-turn]
				cases[fmt.Sprint(what, ", ", name, " ", turn)] = func(b *net) *graph.Node {
					return b.op(op, b.Input(a...), b.Input(c...)).Act(graph.ReLU)
				}
				cases[fmt.Sprint(what, ", ", name, " ", turn, ", constant")] = func(b *net) *graph.Node {
					return b.op(op, b.Input(a...), b.constant(c...))
				}
			}
		}
	}
	cases["twice the same"] = func(b *net) *graph.Node {
		x := image(b)
		return x.Add(x).Mul(x)
	}
	cases["other orders in memory"] = func(b *net) *graph.Node {
		x := b.Input(4, 4, 4, 4)
		return x.Permute(0, 2, 3, 1).Mul(x).Add(x.Permute(3, 0, 1, 2).Slice(1, 0, 1))
	}
	verifyAll(t, cases)
}

func TestShapes(t *testing.T) {
	cases := map[string]builder{
		"flatten": func(b *net) *graph.Node { return image(b).Flatten(1) },
		"flatten pixels": func(b *net) *graph.Node {
			return image(b).Flatten(2)
		},
		"tokens of an image": func(b *net) *graph.Node {
			return b.conv1(image(b), 12).Reshape(2, 12, -1).Permute(0, 2, 1)
		},
		"image of tokens": func(b *net) *graph.Node {
			return b.conv1(tokens(b).Permute(0, 2, 1).Reshape(3, 12, 7, 1), 4)
		},
		"windows": func(b *net) *graph.Node {
			x := b.Input(2, 3, 4, 6).Permute(0, 2, 3, 1)
			return x.Reshape(2, 2, 2, 2, 3, 3).Permute(0, 1, 3, 2, 4, 5).Reshape(-1, 6, 3)
		},
		"shuffle": func(b *net) *graph.Node {
			return b.Input(2, 6, 3, 4).Reshape(2, 2, 3, 3, 4).Permute(0, 2, 1, 3, 4).Reshape(2, 6, 3, 4)
		},
		"flattened channels last": func(b *net) *graph.Node {
			return b.linear(b.conv1(image(b), 4).Flatten(1), 3, true)
		},
		"ones": func(b *net) *graph.Node {
			return b.Input(2, 3, 1, 1).Reshape(1, 2, 1, 3, 1).Permute(4, 3, 2, 1, 0).Reshape(3, 2)
		},
		"expand":         func(b *net) *graph.Node { return b.op(graph.Expand{Shape: []int{2, 5, 7, 9}}, b.Input(5, 1, 9)) },
		"expand nothing": func(b *net) *graph.Node { return b.op(graph.Expand{Shape: []int{3, 7, 12}}, tokens(b)) },
		"token":          func(b *net) *graph.Node { return b.op(graph.Expand{Shape: []int{3, 1, 12}}, b.constant(1, 1, 12)) },
		"pad":            func(b *net) *graph.Node { return b.op(graph.Pad{Sides: []int{1, 2, 0, 3}}, image(b)) },
		"pad channels":   func(b *net) *graph.Node { return b.op(graph.Pad{Sides: []int{0, 0, 1, 0, 2, 1}}, image(b)) },
		"pad windows": func(b *net) *graph.Node {
			return b.op(graph.Pad{Sides: []int{0, 0, 0, 2, 1, 0}}, image(b).Permute(0, 2, 3, 1))
		},
		"pad nothing":    func(b *net) *graph.Node { return b.op(graph.Pad{Sides: []int{0, 0}}, image(b)) },
		"crop":           func(b *net) *graph.Node { return b.op(graph.Pad{Sides: []int{-1, 2, 1, -2}}, image(b)) },
		"roll":           func(b *net) *graph.Node { return b.op(graph.Roll{Shifts: []int{-2, 3}, Dims: []int{2, 3}}, image(b)) },
		"roll around":    func(b *net) *graph.Node { return b.op(graph.Roll{Shifts: []int{11}, Dims: []int{1}}, image(b)) },
		"roll the batch": func(b *net) *graph.Node { return b.op(graph.Roll{Shifts: []int{1, -1}, Dims: []int{0, 2}}, tokens(b)) },
		"roll windows": func(b *net) *graph.Node {
			return b.op(graph.Roll{Shifts: []int{1, 1}, Dims: []int{1, 2}}, image(b).Permute(0, 2, 3, 1))
		},
		"chunks":           func(b *net) *graph.Node { return graph.Cat(1, b.Input(2, 6, 3, 4).Chunk(3, 1)...) },
		"slice of a class": func(b *net) *graph.Node { return tokens(b).Slice(1, 0, 1).Reshape(3, 12) },
		"concat of orders": func(b *net) *graph.Node {
			x := b.Input(2, 4, 4, 4)
			return graph.Cat(2, x, x.Permute(0, 3, 2, 1), b.constant(2, 4, 1, 4), x)
		},
		"gather": func(b *net) *graph.Node {
			index := &graph.Param{Name: "index", Shape: []int{2, 3}, Index: []int{4, 0, 0, 3, 1, 4}}
			return b.Apply(graph.Gather{}, []*graph.Param{index}, b.Input(5, 2, 3))
		},
		"gather from an image": func(b *net) *graph.Node {
			index := &graph.Param{Name: "index", Shape: []int{3}, Index: []int{1, 1, 0}}
			return b.Apply(graph.Gather{}, []*graph.Param{index}, image(b))
		},
	}
	for dim := range 4 {
		cases[fmt.Sprint("slice ", dim)] = func(b *net) *graph.Node { return image(b).Slice(dim, 1, 2) }
		cases[fmt.Sprint("slice and join ", dim)] = func(b *net) *graph.Node {
			x := image(b)
			return graph.Cat(dim, x.Slice(dim, 1, 2), x, x.Slice(dim, 0, 1))
		}
	}
	verifyAll(t, cases)
}

func TestAttention(t *testing.T) {
	cases := map[string]builder{
		"self": func(b *net) *graph.Node { return b.linear(tokens(b), 36, true).Attend(3, 0.5) },
		"one head of many tokens": func(b *net) *graph.Node {
			return b.linear(b.Input(1, 35, 6), 15, true).Attend(1, 0.3)
		},
		"other keys": func(b *net) *graph.Node {
			return b.op(graph.Attention{Heads: 2, Scale: 0.4}, b.Input(3, 5, 8), b.Input(3, 9, 8), b.Input(3, 9, 6))
		},
		"one key": func(b *net) *graph.Node {
			return b.op(graph.Attention{Heads: 2, Scale: 1}, b.Input(2, 3, 4), b.Input(2, 1, 4), b.Input(2, 1, 2))
		},
		"of an image": func(b *net) *graph.Node {
			x := b.conv1(b.Input(2, 5, 3, 4), 24).Flatten(2).Permute(0, 2, 1)
			return b.linear(x.Attend(2, 0.5), 5, true).Permute(0, 2, 1).Reshape(2, 5, 3, 4)
		},
	}
	for _, m := range []int{1, 2, 6} {
		cases[fmt.Sprintf("bias for %d", m)] = func(b *net) *graph.Node {
			x := b.linear(b.Input(6, 4, 5), 18, true)
			return x.Attend(3, 0.5, b.constant(m, 3, 4, 4))
		}
		cases[fmt.Sprintf("computed bias for %d", m)] = func(b *net) *graph.Node {
			x := b.linear(b.Input(6, 4, 5), 18, true)
			return x.Attend(3, 0.5, b.Input(3, 4, 4, m).Permute(3, 0, 1, 2).Act(graph.Sigmoid))
		}
	}
	verifyAll(t, cases)
}

// TestFusion has what the compiler computes in one step, and what looks alike but mustn't be.
func TestFusion(t *testing.T) {
	verifyAll(t, map[string]builder{
		"conv, norm, act": func(b *net) *graph.Node { return b.batchNorm(b.conv1(image(b), 6)).Act(graph.SiLU) },
		"residual": func(b *net) *graph.Node {
			x := b.conv1(image(b), 6).Act(graph.ReLU)
			return b.batchNorm(b.conv1(x, 6)).Add(x).Act(graph.ReLU)
		},
		"residual first": func(b *net) *graph.Node {
			x := image(b)
			return x.Add(b.conv1(x, 5))
		},
		"residual of a depthwise convolution": func(b *net) *graph.Node {
			x := image(b)
			return b.depthwise(x).Add(x).Act(graph.HardSwish)
		},
		"residual of an activation": func(b *net) *graph.Node {
			x := image(b)
			return b.conv1(x, 5).Act(graph.ReLU).Add(x)
		},
		"residual of two convolutions": func(b *net) *graph.Node {
			x := image(b)
			return b.conv1(x, 6).Add(b.conv1(x, 6)).Act(graph.ReLU)
		},
		"residual that comes later": func(b *net) *graph.Node {
			x := image(b)
			y := b.conv1(x, 5)
			return y.Add(x.Act(graph.Tanh))
		},
		"twice the result": func(b *net) *graph.Node {
			y := b.conv1(image(b), 5)
			return y.Add(y)
		},
		"two residuals": func(b *net) *graph.Node {
			x := image(b)
			return b.conv1(x, 5).Add(x).Add(x).Act(graph.ReLU)
		},
		"two norms": func(b *net) *graph.Node { return b.batchNorm(b.batchNorm(b.conv1(image(b), 5))) },
		"norm after act": func(b *net) *graph.Node {
			return b.batchNorm(b.conv1(image(b), 5).Act(graph.ReLU)).Act(graph.ReLU6)
		},
		"norm after residual": func(b *net) *graph.Node {
			x := image(b)
			return b.batchNorm(b.conv1(x, 5).Add(x))
		},
		"two acts": func(b *net) *graph.Node {
			return b.conv1(image(b), 5).Act(graph.HardSwish).Act(graph.ReLU6)
		},
		"broadcast residual": func(b *net) *graph.Node {
			x := image(b)
			return b.conv1(x, 5).Add(x.Mean(2, 3).Reshape(2, 5, 1, 1))
		},
		"residual that is larger": func(b *net) *graph.Node {
			x := image(b)
			return b.conv1(x.Slice(0, 0, 1), 5).Add(x)
		},
		"residual in another order": func(b *net) *graph.Node {
			x := b.Input(2, 4, 4, 4)
			return b.conv1(x, 4).Add(x.Permute(0, 3, 1, 2))
		},
		"constant residual": func(b *net) *graph.Node { return b.conv1(image(b), 4).Add(b.constant(2, 4, 7, 9)) },
		"norm across a linear layer": func(b *net) *graph.Node {
			return b.batchNorm(b.linear(b.Input(2, 5, 3, 5), 5, true))
		},
		"rows and norm": func(b *net) *graph.Node { return b.batchNorm(b.linear(b.Input(4, 6), 5, true)) },
		"tokens and residual": func(b *net) *graph.Node {
			x := tokens(b)
			return b.linear(b.linear(x, 20, true).Act(graph.GELU), 12, true).Add(x)
		},
		"inert between": func(b *net) *graph.Node {
			x := image(b)
			y := b.op(graph.StochasticDepth{P: 0.2}, b.batchNorm(b.op(graph.Dropout{P: 0.2}, b.conv1(x, 5))))
			return b.op(graph.Dropout{P: 0.3}, y.Add(b.op(graph.Dropout{P: 0.3}, x))).Act(graph.ReLU)
		},
		"squeeze and excitation": func(b *net) *graph.Node {
			x := b.depthwise(b.conv1(image(b), 20)).Act(graph.SiLU)
			s := b.conv1(b.op(graph.AdaptiveAvgPool{Size: [2]int{1, 1}}, x), 5).Act(graph.SiLU)
			return b.conv1(x.Mul(b.conv1(s, 20).Act(graph.Sigmoid)), 6)
		},
		"pooled in two ways": func(b *net) *graph.Node {
			x := b.depthwise(image(b)).Act(graph.SiLU)
			pool := graph.AdaptiveAvgPool{Size: [2]int{1, 1}}
			return graph.Cat(1, b.op(pool, x), b.op(pool, x.Act(graph.Tanh)))
		},
		"pooled as it is and turned": func(b *net) *graph.Node {
			x := b.depthwise(b.Input(2, 6, 6, 4))
			pool := graph.AdaptiveAvgPool{Size: [2]int{1, 1}}
			return graph.Cat(1, b.op(pool, x), b.op(pool, x.Permute(0, 2, 3, 1)))
		},
		"known in advance": func(b *net) *graph.Node {
			x := b.depthwise(b.conv1(b.constant(1, 5, 4, 4), 8))
			pooled := b.op(graph.AdaptiveAvgPool{Size: [2]int{1, 1}}, x)
			q := b.linear(b.constant(1, 6, 4), 12, true)
			y := b.layerNorm(q.Attend(2, 1)).Mean(1)
			y = b.op(graph.Softmax{Dim: 1}, y)
			return image(b).Mul(pooled.Reshape(8).Slice(0, 0, 1)).Add(y.Mean(0, 1).Reshape(1))
		},
		"constants alone": func(b *net) *graph.Node {
			b.Input(1)
			return b.conv1(b.constant(1, 5, 4, 4), 8).Act(graph.ReLU).Add(b.constant(8, 1, 1))
		},
		"nothing": image,
		"view of the input": func(b *net) *graph.Node {
			return tokens(b).Reshape(21, 12)
		},
	})
}
