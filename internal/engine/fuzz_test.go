package engine_test

import (
	"testing"

	"github.com/graft-ml/graft/internal/graph"
)

// FuzzGraph verifies graphs of random operations.
func FuzzGraph(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Add(uint64(363)) // adds a residual that lies as one long row to a product of one column
	f.Fuzz(func(t *testing.T, seed uint64) { verify(t, randomNet(seed)) })
}

func randomNet(seed uint64) *net {
	b := newNet(seed)
	b.Input(b.between(1, 3), b.between(1, 6), b.between(1, 7), b.between(1, 7))
	if b.maybe() {
		b.Input(b.Inputs[0].Shape...)
	}
	if b.maybe() {
		b.Input(b.between(1, 3), b.between(1, 6), 6*b.between(1, 2))
	}
	for range b.between(2, 12) {
		b.grow()
	}
	b.Output = b.Nodes[len(b.Nodes)-1]
	return b
}

func (b *net) between(from, to int) int { return from + b.random.IntN(to-from+1) }
func (b *net) maybe() bool              { return b.random.IntN(2) == 0 }
func (b *net) pair(from, to int) [2]int { return [2]int{b.between(from, to), b.between(from, to)} }

// node is one of the graph's, and often the last.
func (b *net) node() *graph.Node {
	if b.maybe() {
		return b.Nodes[len(b.Nodes)-1]
	}
	return b.Nodes[b.random.IntN(len(b.Nodes))]
}

// grow adds an operation on some node, or nothing where the one that is drawn doesn't fit it.
func (b *net) grow() {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(*graph.ShapeError); !ok {
				panic(r)
			}
		}
	}()
	x := b.node()
	if graph.Numel(x.Shape) > 2000 {
		return
	}
	ops := anyShape
	switch len(x.Shape) {
	case 4:
		if b.maybe() {
			ops = images
		}
	case 3:
		if b.maybe() {
			ops = sequences
		}
	}
	ops[b.random.IntN(len(ops))](b, x)
}

var anyShape = []func(b *net, x *graph.Node){
	func(b *net, x *graph.Node) { x.Act(graph.Act(b.random.IntN(int(graph.Tanh) + 1))) },
	func(b *net, x *graph.Node) { b.op(graph.Dropout{P: 0.5}, x) },
	func(b *net, x *graph.Node) { b.op(graph.Exp{Max: 1}, x) },
	func(b *net, x *graph.Node) { b.op(graph.L2Norm{Eps: 0.1}, x) },
	func(b *net, x *graph.Node) { b.op(graph.Softmax{Dim: b.random.IntN(len(x.Shape))}, x.Act(graph.Tanh)) },
	func(b *net, x *graph.Node) { b.linear(x, b.between(1, 40), b.maybe()) },
	func(b *net, x *graph.Node) { b.layerNorm(x) },
	func(b *net, x *graph.Node) { x.Add(b.node()) },
	func(b *net, x *graph.Node) { x.Mul(b.node().Act(graph.Sigmoid)) },
	func(b *net, x *graph.Node) { x.Add(b.constant(b.broadcastable(x.Shape)...)) },
	func(b *net, x *graph.Node) { b.constant(b.broadcastable(x.Shape)...).Mul(x) },
	func(b *net, x *graph.Node) { x.Permute(b.random.Perm(len(x.Shape))...) },
	func(b *net, x *graph.Node) { x.Flatten(b.random.IntN(len(x.Shape))) },
	func(b *net, x *graph.Node) { x.Reshape(b.refactored(x.Shape)...) },
	func(b *net, x *graph.Node) {
		dims := b.random.Perm(len(x.Shape))[:b.between(1, len(x.Shape))]
		b.op(graph.Mean{Dims: dims, Keep: b.maybe() || len(dims) == len(x.Shape)}, x)
	},
	func(b *net, x *graph.Node) {
		dim := b.random.IntN(len(x.Shape))
		from := b.random.IntN(x.Shape[dim])
		x.Slice(dim, from, b.between(from+1, x.Shape[dim]))
	},
	func(b *net, x *graph.Node) {
		dim := b.random.IntN(len(x.Shape))
		graph.Cat(dim, x, b.node(), x)
	},
	func(b *net, x *graph.Node) {
		dim := b.random.IntN(len(x.Shape))
		graph.Cat(dim, x.Act(graph.ReLU), x)
	},
	func(b *net, x *graph.Node) {
		var sides []int
		for range b.between(1, len(x.Shape)) {
			sides = append(sides, b.between(-1, 2), b.between(0, 2))
		}
		b.op(graph.Pad{Sides: sides}, x)
	},
	func(b *net, x *graph.Node) {
		var roll graph.Roll
		for _, d := range b.random.Perm(len(x.Shape))[:b.between(1, len(x.Shape))] {
			roll.Dims, roll.Shifts = append(roll.Dims, d), append(roll.Shifts, b.between(-5, 5))
		}
		b.op(roll, x)
	},
	func(b *net, x *graph.Node) {
		index := &graph.Param{Name: "index", Shape: []int{b.between(1, 3), b.between(1, 2)}}
		for range index.Numel() {
			index.Index = append(index.Index, b.random.IntN(x.Shape[0]))
		}
		b.Apply(graph.Gather{}, []*graph.Param{index}, x)
	},
	func(b *net, x *graph.Node) {
		shape := b.broadcastable(x.Shape)
		b.op(graph.Expand{Shape: x.Shape}, b.op(graph.Pad{Sides: []int{0, 0}}, b.constant(shape...)).Add(x.Mean(dims(x)...)))
	},
}

var images = []func(b *net, x *graph.Node){
	func(b *net, x *graph.Node) { b.randomConv(x, 1) },
	func(b *net, x *graph.Node) { b.randomConv(x, x.Shape[1]) },
	func(b *net, x *graph.Node) {
		y := b.randomConv(x, b.between(1, 3))
		b.batchNorm(y).Act(graph.Act(b.random.IntN(int(graph.Tanh) + 1)))
	},
	func(b *net, x *graph.Node) { b.conv1(x, x.Shape[1]).Add(x).Act(graph.ReLU) },
	func(b *net, x *graph.Node) {
		y := b.depthwise(x).Act(graph.Act(b.random.IntN(int(graph.Tanh) + 1)))
		y.Mul(b.conv1(b.op(graph.AdaptiveAvgPool{Size: [2]int{1, 1}}, y), x.Shape[1]).Act(graph.Sigmoid))
	},
	func(b *net, x *graph.Node) { b.batchNorm(x) },
	func(b *net, x *graph.Node) {
		b.op(graph.Affine{Scale: b.values(x.Shape[1], 1, 0.5), Shift: b.values(x.Shape[1], 0, 1)}, x)
	},
	func(b *net, x *graph.Node) { b.op(graph.AdaptiveAvgPool{Size: [2]int{1, 1}}, x) },
	func(b *net, x *graph.Node) { b.op(graph.AdaptiveAvgPool{Size: b.pair(1, 4)}, x) },
	func(b *net, x *graph.Node) {
		k := b.pair(1, 3)
		b.op(graph.MaxPool{Kernel: k, Stride: b.pair(1, 3), Dilation: [2]int{1, 1}, Pad: [2]int{b.between(0, k[0]/2), b.between(0, k[1]/2)},
			Ceil: b.maybe()}, x)
	},
	func(b *net, x *graph.Node) {
		b.op(graph.MaxPool{Kernel: b.pair(1, 3), Stride: b.pair(1, 3), Dilation: b.pair(1, 3), Ceil: b.maybe()}, x)
	},
	func(b *net, x *graph.Node) {
		k := b.pair(1, 3)
		b.op(graph.AvgPool{Kernel: k, Stride: b.pair(1, 3), Pad: [2]int{b.between(0, k[0]/2), b.between(0, k[1]/2)},
			Ceil: b.maybe(), CountIncludePad: b.maybe()}, x)
	},
	func(b *net, x *graph.Node) { x.Flatten(2).Permute(0, 2, 1) },
	func(b *net, x *graph.Node) { b.layerNorm(x.Permute(0, 2, 3, 1)).Permute(0, 3, 1, 2) },
}

var sequences = []func(b *net, x *graph.Node){
	func(b *net, x *graph.Node) { b.linear(x, 12, true).Attend(2, 0.7) },
	func(b *net, x *graph.Node) {
		l := x.Shape[1]
		b.linear(b.layerNorm(x), 9, true).Attend(1, 0.5, b.constant(1, 1, l, l))
	},
	func(b *net, x *graph.Node) {
		b.op(graph.Attention{Heads: 2, Scale: 0.6}, b.linear(x, 4, true), b.linear(x, 4, true), b.linear(x, 6, false))
	},
	func(b *net, x *graph.Node) {
		b.linear(b.linear(x, 20, true).Act(graph.GELU), x.Shape[2], true).Add(x)
	},
	func(b *net, x *graph.Node) { x.Permute(0, 2, 1).Reshape(x.Shape[0], x.Shape[2], x.Shape[1], 1) },
	func(b *net, x *graph.Node) { b.batchNorm(x) },
}

// randomConv is a convolution of the given number of groups, if that divides the channels.
func (b *net) randomConv(x *graph.Node, groups int) *graph.Node {
	if x.Shape[1]%groups != 0 {
		groups = 1
	}
	op := graph.Conv2d{Kernel: b.pair(1, 3), Stride: b.pair(1, 2), Dilation: b.pair(1, 2), Groups: groups}
	for i := range op.Pad {
		op.Pad[i] = b.between(0, 2)
	}
	return b.conv(x, groups*b.between(1, max(1, 12/groups)), op, b.maybe())
}

// broadcastable is a shape that broadcasts to the given one.
func (b *net) broadcastable(shape []int) []int {
	var out []int
	for _, d := range shape[b.random.IntN(len(shape)):] {
		if b.maybe() {
			d = 1
		}
		out = append(out, d)
	}
	return out
}

// refactored is a shape of as many elements: a dimension is divided, or two are merged.
func (b *net) refactored(shape []int) []int {
	d := b.random.IntN(len(shape))
	out := append([]int{}, shape[:d]...)
	if d+1 < len(shape) && b.maybe() {
		return append(append(out, shape[d]*shape[d+1]), shape[d+2:]...)
	}
	by := 1
	for _, f := range []int{2, 3} {
		if shape[d]%f == 0 {
			by = f
		}
	}
	return append(append(out, by, shape[d]/by), shape[d+1:]...)
}

// dims lists a node's dimensions but the first.
func dims(x *graph.Node) []int {
	var all []int
	for d := 1; d < len(x.Shape); d++ {
		all = append(all, d)
	}
	return all
}
