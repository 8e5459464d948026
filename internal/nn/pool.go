package nn

import (
	"fmt"

	"github.com/graft-ml/graft/internal/graph"
)

// AvgPool2d is torch.nn.AvgPool2d with a square window. The padding counts.
func AvgPool2d(kernel, stride, padding int) *Module {
	m := New("AvgPool2d", func(m *Module, x Value) Value {
		return m.Apply(graph.AvgPool{Kernel: Square(kernel), Stride: Square(stride), Pad: Square(padding),
			CountIncludePad: true}, x)
	})
	m.Extra = fmt.Sprintf("kernel_size=%d, stride=%d, padding=%d", kernel, stride, padding)
	return m
}

// AdaptiveAvgPool2dTo is torch.nn.AdaptiveAvgPool2d to a pair of rows and columns, which PyTorch
// shows as such even where they are equal.
func AdaptiveAvgPool2dTo(size Pair) *Module {
	m := New("AdaptiveAvgPool2d", func(m *Module, x Value) Value {
		return m.Apply(graph.AdaptiveAvgPool{Size: size}, x)
	})
	m.Extra = "output_size=" + tuple(size)
	return m
}
