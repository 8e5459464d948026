package graph

import (
	"errors"
	"fmt"
	"slices"
)

// ErrTooSmall is the cause of a [ShapeError] where an input is too small for the network.
var ErrTooSmall = errors.New("the input is too small")

// Input is a value given from outside.
type Input struct{ Shape []int }

// Parameter is a parameter used as a value, such as a class token. Params: the tensor.
type Parameter struct{}

// Constant is a value that nothing changes, such as an attention mask. Data is row-major.
type Constant struct {
	Shape []int
	Data  []float32
}

// Conv2d is a two-dimensional convolution of [N, C, H, W].
// Params: weight [out, in/groups, kh, kw], then bias [out] if there is one.
type Conv2d struct {
	Kernel, Stride, Dilation [2]int
	Pad                      [4]int // rows and columns of zeros: top, left, bottom, right
	Groups                   int
}

// Linear multiplies the last dimension. Params: weight [out, in], then bias [out] if there is one.
type Linear struct{}

// BatchNorm normalises each channel of [N, C, ...].
// Params: weight, bias, running_mean, running_var, each [C].
type BatchNorm struct {
	Eps, Momentum float64
	Training      bool // use and update the batch's own statistics while training
}

// LayerNorm normalises over the last dimension. Params: weight, bias.
type LayerNorm struct{ Eps float64 }

// Act is an elementwise activation.
type Act int

// The activations, with PyTorch's definitions.
const (
	ReLU Act = iota
	ReLU6
	SiLU
	Sigmoid
	HardSwish
	HardSigmoid
	GELU     // exact, by the error function
	GELUTanh // the tanh approximation
	Tanh
)

func (a Act) String() string {
	return [...]string{"ReLU", "ReLU6", "SiLU", "Sigmoid", "Hardswish", "Hardsigmoid", "GELU", "GELU(tanh)", "Tanh"}[a]
}

// Add and Mul are elementwise with PyTorch's broadcasting.
type (
	Add struct{}
	Mul struct{}
)

// AdaptiveAvgPool averages [N, C, H, W] to [N, C, Size[0], Size[1]].
type AdaptiveAvgPool struct{ Size [2]int }

// MaxPool and AvgPool slide a window over [N, C, H, W]. Padding counts as -Inf for the maximum;
// for the average it is part of the divisor if CountIncludePad.
type (
	MaxPool struct {
		Kernel, Stride, Pad, Dilation [2]int
		Ceil                          bool
	}
	AvgPool struct {
		Kernel, Stride, Pad   [2]int
		Ceil, CountIncludePad bool
	}
)

// Mean averages over some dimensions, which vanish unless Keep.
type Mean struct {
	Dims []int
	Keep bool
}

// Flatten merges the dimensions from Start to the last.
type Flatten struct{ Start int }

// Reshape gives a new shape with as many elements; one size may be -1.
type Reshape struct{ Shape []int }

// Permute reorders the dimensions: result dimension i is input dimension Order[i].
type Permute struct{ Order []int }

// Concat joins values along a dimension.
type Concat struct{ Dim int }

// Slice takes [From, To) along a dimension.
type Slice struct{ Dim, From, To int }

// Expand repeats dimensions of size 1 to the given shape.
type Expand struct{ Shape []int }

// Pad puts zeros around the last dimensions, as torch.nn.functional.pad: Sides holds
// (before, after) of the last dimension, then of the one before it, and so on.
type Pad struct{ Sides []int }

// Roll shifts along dimensions, wrapping around, as torch.roll.
type Roll struct{ Shifts, Dims []int }

// Gather takes rows of a table, as table[index] does in PyTorch. In: the table [R, ...].
// Params: the index, a buffer with Index values. Out: the index's shape, then the rest of the table's.
type Gather struct{}

// Attention is scaled dot-product attention of Heads heads: softmax(Scale·q·kᵀ + bias)·v, where the
// softmax runs over the S keys. In: q [N, L, Heads·d], k [N, S, Heads·d], v [N, S, Heads·e], in which
// head h has the features from h·d (or h·e) on, and optionally a bias [M, Heads, L, S], where M
// divides N: sample n gets bias n mod M. M is 1 if all share one bias; where the windows of an image
// follow each other in N, it can be their number. Out: [N, L, Heads·e].
type Attention struct {
	Heads int
	Scale float64
}

// Softmax normalises exponentials over a dimension.
type Softmax struct{ Dim int }

// Exp is exp(min(x, Max)).
type Exp struct{ Max float64 }

// L2Norm divides by max(‖x‖₂, Eps) over the last dimension, as torch.nn.functional.normalize.
type L2Norm struct{ Eps float64 }

// Affine computes Scale·x + Shift with the same numbers for all elements of a channel (dimension 1).
type Affine struct{ Scale, Shift []float32 }

// Dropout zeroes elements with probability P while training, and scales the others by 1/(1-P).
// Inside a frozen module it isn't active.
type Dropout struct {
	P      float64
	Active bool
}

// StochasticDepth zeroes its input for a whole sample with probability P while training
// (https://arxiv.org/abs/1603.09382, torchvision.ops mode "row").
type StochasticDepth struct {
	P      float64
	Active bool
}

// Varies reports whether the operation gives a sample another result each time while training.
func (o Dropout) Varies() bool         { return o.Active && o.P > 0 }
func (o StochasticDepth) Varies() bool { return o.Active && o.P > 0 }
func (o BatchNorm) Varies() bool       { return o.Training }

func (o Input) Infer([][]int, []*Param) ([]int, error) { return o.Shape, nil }

func (Parameter) Infer(_ [][]int, params []*Param) ([]int, error) { return params[0].Shape, nil }

func (o Constant) Infer([][]int, []*Param) ([]int, error) { return o.Shape, nil }

func (o Conv2d) Infer(in [][]int, params []*Param) ([]int, error) {
	x, w := in[0], params[0].Shape
	if len(x) != 4 {
		return nil, fmt.Errorf("a convolution takes [N, C, H, W]")
	}
	if x[1] != w[1]*o.Groups {
		return nil, fmt.Errorf("the weight takes %d channels, the input has %d", w[1]*o.Groups, x[1])
	}
	return []int{
		x[0], w[0],
		window(x[2]+o.Pad[0]+o.Pad[2], o.Kernel[0], o.Stride[0], o.Dilation[0], false),
		window(x[3]+o.Pad[1]+o.Pad[3], o.Kernel[1], o.Stride[1], o.Dilation[1], false),
	}, nil
}

// window returns how many positions a sliding window has; 0 if it doesn't fit.
func window(size, kernel, stride, dilation int, ceil bool) int {
	room := size - dilation*(kernel-1) - 1
	if ceil {
		room += stride - 1
	}
	if room < 0 {
		return 0
	}
	return room/stride + 1
}

func (Linear) Infer(in [][]int, params []*Param) ([]int, error) {
	x, w := in[0], params[0].Shape
	if x[len(x)-1] != w[1] {
		return nil, fmt.Errorf("the weight takes %d features, the input has %d", w[1], x[len(x)-1])
	}
	return append(slices.Clone(x[:len(x)-1]), w[0]), nil
}

func (BatchNorm) Infer(in [][]int, params []*Param) ([]int, error) {
	if c := params[0].Shape[0]; len(in[0]) < 2 || in[0][1] != c {
		return nil, fmt.Errorf("the norm has %d channels", c)
	}
	return in[0], nil
}

func (LayerNorm) Infer(in [][]int, params []*Param) ([]int, error) {
	if c := params[0].Shape[0]; in[0][len(in[0])-1] != c {
		return nil, fmt.Errorf("the norm has %d features", c)
	}
	return in[0], nil
}

func (Act) Infer(in [][]int, _ []*Param) ([]int, error)               { return in[0], nil }
func (Add) Infer(in [][]int, _ []*Param) ([]int, error)               { return broadcast(in[0], in[1]) }
func (Mul) Infer(in [][]int, _ []*Param) ([]int, error)               { return broadcast(in[0], in[1]) }
func (Softmax) Infer(in [][]int, _ []*Param) ([]int, error)           { return in[0], nil }
func (Exp) Infer(in [][]int, _ []*Param) ([]int, error)               { return in[0], nil }
func (L2Norm) Infer(in [][]int, _ []*Param) ([]int, error)            { return in[0], nil }
func (Affine) Infer(in [][]int, _ []*Param) ([]int, error)            { return in[0], nil }
func (o Dropout) Infer(in [][]int, _ []*Param) ([]int, error)         { return in[0], nil }
func (o StochasticDepth) Infer(in [][]int, _ []*Param) ([]int, error) { return in[0], nil }
func (Roll) Infer(in [][]int, _ []*Param) ([]int, error)              { return in[0], nil }

func broadcast(a, b []int) ([]int, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, d := range b {
		j := len(a) - len(b) + i
		switch {
		case out[j] == d || d == 1:
		case out[j] == 1:
			out[j] = d
		default:
			return nil, fmt.Errorf("%v and %v don't broadcast", a, b)
		}
	}
	return out, nil
}

func (o AdaptiveAvgPool) Infer(in [][]int, _ []*Param) ([]int, error) {
	return []int{in[0][0], in[0][1], o.Size[0], o.Size[1]}, nil
}

func (o MaxPool) Infer(in [][]int, _ []*Param) ([]int, error) {
	out := slices.Clone(in[0])
	for i := range 2 {
		out[2+i] = pooled(in[0][2+i], o.Kernel[i], o.Stride[i], o.Pad[i], o.Dilation[i], o.Ceil)
	}
	return out, nil
}

func (o AvgPool) Infer(in [][]int, _ []*Param) ([]int, error) {
	out := slices.Clone(in[0])
	for i := range 2 {
		out[2+i] = pooled(in[0][2+i], o.Kernel[i], o.Stride[i], o.Pad[i], 1, o.Ceil)
	}
	return out, nil
}

// pooled is PyTorch's pooling_output_shape: with ceil, a last window that would start in the
// padding after the input is dropped.
func pooled(size, kernel, stride, pad, dilation int, ceil bool) int {
	n := window(size+2*pad, kernel, stride, dilation, ceil)
	if ceil && (n-1)*stride >= size+pad {
		n--
	}
	return n
}

func (o Mean) Infer(in [][]int, _ []*Param) ([]int, error) {
	var out []int
	for i, d := range in[0] {
		switch {
		case !slices.Contains(o.Dims, i):
			out = append(out, d)
		case o.Keep:
			out = append(out, 1)
		}
	}
	return out, nil
}

func (o Flatten) Infer(in [][]int, _ []*Param) ([]int, error) {
	return append(slices.Clone(in[0][:o.Start]), Numel(in[0][o.Start:])), nil
}

func (o Reshape) Infer(in [][]int, _ []*Param) ([]int, error) {
	out, n := slices.Clone(o.Shape), Numel(in[0])
	if i := slices.Index(out, -1); i >= 0 {
		out[i] = 1
		out[i] = n / max(Numel(out), 1)
	}
	if slices.Contains(out, 0) {
		return nil, fmt.Errorf("%w: the result would have shape %v", ErrTooSmall, out)
	}
	if Numel(out) != n {
		return nil, fmt.Errorf("%v doesn't hold %d elements", o.Shape, n)
	}
	return out, nil
}

func (o Permute) Infer(in [][]int, _ []*Param) ([]int, error) {
	out := make([]int, len(in[0]))
	if len(o.Order) != len(out) {
		return nil, fmt.Errorf("order %v doesn't fit", o.Order)
	}
	for i, d := range o.Order {
		out[i] = in[0][d]
	}
	return out, nil
}

func (o Concat) Infer(in [][]int, _ []*Param) ([]int, error) {
	out := slices.Clone(in[0])
	for _, s := range in[1:] {
		for i := range out {
			if len(s) != len(out) || i != o.Dim && s[i] != out[i] {
				return nil, fmt.Errorf("the shapes differ beside dimension %d", o.Dim)
			}
		}
		out[o.Dim] += s[o.Dim]
	}
	return out, nil
}

func (o Slice) Infer(in [][]int, _ []*Param) ([]int, error) {
	if o.From < 0 || o.To > in[0][o.Dim] || o.From >= o.To {
		return nil, fmt.Errorf("[%d, %d) is outside dimension %d", o.From, o.To, o.Dim)
	}
	out := slices.Clone(in[0])
	out[o.Dim] = o.To - o.From
	return out, nil
}

func (o Expand) Infer(in [][]int, _ []*Param) ([]int, error) { return broadcast(in[0], o.Shape) }

func (o Pad) Infer(in [][]int, _ []*Param) ([]int, error) {
	out := slices.Clone(in[0])
	for i := 0; i+1 < len(o.Sides); i += 2 {
		out[len(out)-1-i/2] += o.Sides[i] + o.Sides[i+1]
	}
	return out, nil
}

func (Gather) Infer(in [][]int, params []*Param) ([]int, error) {
	return slices.Concat(params[0].Shape, in[0][1:]), nil
}

func (o Attention) Infer(in [][]int, _ []*Param) ([]int, error) {
	q, k, v := in[0], in[1], in[2]
	if len(q) != 3 || len(k) != 3 || len(v) != 3 || k[1] != v[1] || q[2] != k[2] || q[2]%o.Heads != 0 || v[2]%o.Heads != 0 {
		return nil, fmt.Errorf("q, k and v don't fit %d heads", o.Heads)
	}
	if len(in) > 3 {
		b := in[3]
		if len(b) != 4 || q[0]%b[0] != 0 || b[1] != o.Heads || b[2] != q[1] || b[3] != k[1] {
			return nil, fmt.Errorf("the bias doesn't fit %d heads", o.Heads)
		}
	}
	return []int{q[0], q[1], v[2]}, nil
}

// The operations as methods, so that a module's forward function reads like PyTorch's.

// Add returns n + m.
func (n *Node) Add(m *Node) *Node { return n.graph.Apply(Add{}, nil, n, m) }

// Mul returns n · m.
func (n *Node) Mul(m *Node) *Node { return n.graph.Apply(Mul{}, nil, n, m) }

// Act applies an activation.
func (n *Node) Act(a Act) *Node { return n.graph.Apply(a, nil, n) }

// Mean averages over dims, which vanish.
func (n *Node) Mean(dims ...int) *Node { return n.graph.Apply(Mean{Dims: dims}, nil, n) }

// Flatten merges the dimensions from start on.
func (n *Node) Flatten(start int) *Node { return n.graph.Apply(Flatten{start}, nil, n) }

// Reshape gives a new shape; one size may be -1.
func (n *Node) Reshape(shape ...int) *Node { return n.graph.Apply(Reshape{shape}, nil, n) }

// Permute reorders the dimensions.
func (n *Node) Permute(order ...int) *Node { return n.graph.Apply(Permute{order}, nil, n) }

// Slice takes [from, to) along dim.
func (n *Node) Slice(dim, from, to int) *Node { return n.graph.Apply(Slice{dim, from, to}, nil, n) }

// Chunk cuts dimension dim into k equal parts.
func (n *Node) Chunk(k, dim int) []*Node {
	parts, size := make([]*Node, k), n.Shape[dim]/k
	for i := range parts {
		parts[i] = n.Slice(dim, i*size, (i+1)*size)
	}
	return parts
}

// Const gives a constant in n's graph.
func (n *Node) Const(data []float32, shape ...int) *Node {
	return n.graph.Apply(Constant{Shape: shape, Data: data}, nil)
}

// Attend is attention between the tokens of a sequence: n [N, L, 3·heads·d] holds queries, keys and
// values side by side. For scale and bias see [Attention].
func (n *Node) Attend(heads int, scale float64, bias ...*Node) *Node {
	return n.graph.Apply(Attention{heads, scale}, nil, append(n.Chunk(3, 2), bias...)...)
}

// Cat joins values along dim.
func Cat(dim int, in ...*Node) *Node { return in[0].graph.Apply(Concat{dim}, nil, in...) }
