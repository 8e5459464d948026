package nn

import (
	"math"

	"github.com/graft-ml/graft/internal/graph"
)

// MultiheadAttention is torch.nn.MultiheadAttention of sequences [N, L, features] with themselves.
func MultiheadAttention(features, heads int) *Module {
	out := Linear(features, features, true)
	out.Type = "NonDynamicallyQuantizableLinear"
	out.Own()[1].Init = Fill(0)
	return New("MultiheadAttention", func(m *Module, x Value) Value {
		qkv := m.Apply(graph.Linear{}, x)
		y := qkv.Attend(heads, 1/math.Sqrt(float64(features/heads)))
		return m.Child("out_proj").Apply(graph.Linear{}, y) // PyTorch takes its parameters and doesn't call it
	}).
		AddParam("in_proj_weight", XavierUniform(features, 3*features), 3*features, features).
		AddParam("in_proj_bias", Fill(0), 3*features).
		Add("out_proj", out)
}

// MLP is torchvision.ops.MLP with one hidden layer and GELU.
func MLP(features, hidden int) *Module {
	m := Sequential(
		Linear(features, hidden, true), Act(graph.GELU, false), Dropout(0, false),
		Linear(hidden, features, true), Dropout(0, false),
	)
	m.Type = "MLP"
	return m
}

// LayerNorm2d is torchvision.models.convnext.LayerNorm2d, over the channels of [N, C, H, W].
func LayerNorm2d(channels int, eps float64) *Module {
	m := LayerNorm(channels, eps)
	m.Type = "LayerNorm2d"
	norm := m.forward
	m.forward = func(m *Module, x Value) Value {
		return norm(m, x.Permute(0, 2, 3, 1)).Permute(0, 3, 1, 2)
	}
	return m
}

// Permute is torchvision.ops.Permute.
func Permute(order ...int) *Module {
	return New("Permute", func(_ *Module, x Value) Value { return x.Permute(order...) })
}
