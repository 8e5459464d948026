package nn

import (
	"fmt"
	"math"
	"strings"

	"github.com/graft-ml/graft/internal/graph"
)

// A Pair is a size in rows and columns.
type Pair = [2]int

// Square returns the pair (n, n).
func Square(n int) Pair { return Pair{n, n} }

// Conv says what a [Conv2d] is. Zero Stride, Dilation and Groups mean 1.
type Conv struct {
	In, Out                           int
	Kernel, Stride, Padding, Dilation Pair
	Groups                            int
	NoBias                            bool
	Same                              bool // TensorFlow's SAME padding: what is odd goes to the bottom and right
}

// Conv2d is torch.nn.Conv2d; with Same it is timm's Conv2dSame.
func Conv2d(c Conv) *Module {
	c.Stride, c.Dilation, c.Groups = orOne(c.Stride), orOne(c.Dilation), max(c.Groups, 1)
	m := New("Conv2d", func(m *Module, x Value) Value {
		op := graph.Conv2d{Kernel: c.Kernel, Stride: c.Stride, Dilation: c.Dilation, Groups: c.Groups,
			Pad: [4]int{c.Padding[0], c.Padding[1], c.Padding[0], c.Padding[1]}}
		if c.Same {
			op.Pad = samePad(op, x.Shape)
		}
		return m.Apply(op, x)
	})
	m.Extra = fmt.Sprintf("%d, %d, kernel_size=%s, stride=%s", c.In, c.Out, tuple(c.Kernel), tuple(c.Stride))
	if c.Padding != (Pair{}) {
		m.Extra += ", padding=" + tuple(c.Padding)
	}
	if c.Dilation != Square(1) {
		m.Extra += ", dilation=" + tuple(c.Dilation)
	}
	if c.Groups != 1 {
		m.Extra += fmt.Sprintf(", groups=%d", c.Groups)
	}
	if c.NoBias {
		m.Extra += ", bias=False"
	}
	if c.Same && c.Stride != Square(1) {
		m.Type = "Conv2dSame"
	}
	fanIn := c.In / c.Groups * c.Kernel[0] * c.Kernel[1]
	m.AddParam("weight", kaimingUniform(fanIn), c.Out, c.In/c.Groups, c.Kernel[0], c.Kernel[1])
	if !c.NoBias {
		m.AddParam("bias", fanUniform(fanIn), c.Out)
	}
	return m
}

// samePad splits the zeros that make the output ceil(size/stride) large, the larger half last.
func samePad(op graph.Conv2d, shape []int) (pad [4]int) {
	for i := range 2 {
		size := shape[2+i]
		out := (size + op.Stride[i] - 1) / op.Stride[i]
		total := max((out-1)*op.Stride[i]+op.Dilation[i]*(op.Kernel[i]-1)+1-size, 0)
		pad[i], pad[2+i] = total/2, total-total/2
	}
	return pad
}

// Linear is torch.nn.Linear.
func Linear(in, out int, bias bool) *Module {
	m := New("Linear", func(m *Module, x Value) Value { return m.Apply(graph.Linear{}, x) })
	m.Extra = fmt.Sprintf("in_features=%d, out_features=%d, bias=%s", in, out, pyBool(bias))
	m.AddParam("weight", kaimingUniform(in), out, in)
	if bias {
		m.AddParam("bias", fanUniform(in), out)
	}
	return m
}

// BatchNorm2d is torch.nn.BatchNorm2d with the given eps and momentum (PyTorch's defaults are
// 1e-5 and 0.1).
func BatchNorm2d(features int, eps, momentum float64) *Module {
	m := New("BatchNorm2d", func(m *Module, x Value) Value {
		x = m.Apply(graph.BatchNorm{Eps: eps, Momentum: momentum, Training: m.norms}, x)
		return Chain(m, x)
	})
	m.Extra = fmt.Sprintf("%d, eps=%s, momentum=%s, affine=True, bias=True, track_running_stats=True", features, pyFloat(eps), pyFloat(momentum))
	return m.AddParam("weight", Fill(1), features).AddParam("bias", Fill(0), features).
		AddBuffer("running_mean", 0, features).AddBuffer("running_var", 1, features).
		addCounter("num_batches_tracked")
}

// BatchNormAct2d is timm's batch norm with an activation of its own (nil for none).
func BatchNormAct2d(features int, eps, momentum float64, act *Module) *Module {
	m := BatchNorm2d(features, eps, momentum)
	m.Type = "BatchNormAct2d"
	if act == nil {
		act = Identity()
	}
	return m.Add("drop", Identity()).Add("act", act)
}

// LayerNorm is torch.nn.LayerNorm over the last dimension.
func LayerNorm(features int, eps float64) *Module {
	m := New("LayerNorm", func(m *Module, x Value) Value { return m.Apply(graph.LayerNorm{Eps: eps}, x) })
	m.Extra = fmt.Sprintf("(%d,), eps=%s, elementwise_affine=True, bias=True", features, pyFloat(eps))
	return m.AddParam("weight", Fill(1), features).AddParam("bias", Fill(0), features)
}

// Act is an activation module with PyTorch's class name and repr.
func Act(a graph.Act, inplace bool) *Module {
	m := New(a.String(), func(m *Module, x Value) Value { return x.Act(a) })
	switch {
	case a == graph.GELU:
		m.Extra = "approximate='none'"
	case a == graph.GELUTanh:
		m.Type, m.Extra = "GELU", "approximate='tanh'"
	case inplace:
		m.Extra = "inplace=True"
	}
	return m
}

// Identity is torch.nn.Identity.
func Identity() *Module { return New("Identity", func(_ *Module, x Value) Value { return x }) }

// Dropout is torch.nn.Dropout.
func Dropout(p float64, inplace bool) *Module {
	m := New("Dropout", func(m *Module, x Value) Value {
		return m.Apply(graph.Dropout{P: p, Active: m.active}, x)
	})
	m.Extra = fmt.Sprintf("p=%s, inplace=%s", pyFloat(p), pyBool(inplace))
	return m
}

// StochasticDepth is torchvision.ops.StochasticDepth in mode "row".
func StochasticDepth(p float64) *Module {
	m := New("StochasticDepth", func(m *Module, x Value) Value {
		return m.Apply(graph.StochasticDepth{P: p, Active: m.active}, x)
	})
	m.Extra = fmt.Sprintf("p=%s, mode=row", pyFloat(p))
	return m
}

// Flatten is torch.nn.Flatten from dimension start to the last.
func Flatten(start int) *Module {
	m := New("Flatten", func(_ *Module, x Value) Value { return x.Flatten(start) })
	m.Extra = fmt.Sprintf("start_dim=%d, end_dim=-1", start)
	return m
}

// AdaptiveAvgPool2d is torch.nn.AdaptiveAvgPool2d to a square of n.
func AdaptiveAvgPool2d(n int) *Module {
	m := New("AdaptiveAvgPool2d", func(m *Module, x Value) Value {
		return m.Apply(graph.AdaptiveAvgPool{Size: Square(n)}, x)
	})
	m.Extra = fmt.Sprintf("output_size=%d", n)
	return m
}

// MaxPool2d is torch.nn.MaxPool2d with a square window.
func MaxPool2d(kernel, stride, padding int, ceil bool) *Module {
	m := New("MaxPool2d", func(m *Module, x Value) Value {
		return m.Apply(graph.MaxPool{Kernel: Square(kernel), Stride: Square(stride), Pad: Square(padding),
			Dilation: Square(1), Ceil: ceil}, x)
	})
	m.Extra = fmt.Sprintf("kernel_size=%d, stride=%d, padding=%d, dilation=1, ceil_mode=%s", kernel, stride, padding, pyBool(ceil))
	return m
}

// Sequential is torch.nn.Sequential: it runs its children in order, named 0, 1, 2, …
func Sequential(children ...*Module) *Module {
	m := New("Sequential", Chain)
	for _, c := range children {
		m.Append(c)
	}
	return m
}

// Append adds a child named by its position and returns m.
func (m *Module) Append(c *Module) *Module { return m.Add(fmt.Sprint(len(m.children)), c) }

// Chain is the forward function that runs the children in order.
func Chain(m *Module, x Value) Value {
	for _, c := range m.children {
		x = c.Call(x)
	}
	return x
}

func orOne(p Pair) Pair {
	if p == (Pair{}) {
		return Square(1)
	}
	return p
}

// tuple, pyBool and pyFloat print as Python does.
func tuple(p Pair) string { return fmt.Sprintf("(%d, %d)", p[0], p[1]) }

func pyBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func pyFloat(v float64) string {
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return fmt.Sprintf("%g", v)
	}
	s := fmt.Sprint(v)
	if !strings.ContainsAny(s, ".en") {
		s += ".0"
	}
	return s
}
