package autograd_test

import (
	"maps"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

func init() { maps.Copy(networks, formulas) }

// A parameter of an expression.
type parameter struct {
	name  string
	shape []int
}

// expression is a module that computes f; its parameters are handed to f as values.
func expression(f func(x nn.Value, p []nn.Value) nn.Value, params ...parameter) *nn.Module {
	m := nn.New("Expression", func(m *nn.Module, x nn.Value) nn.Value {
		var values []nn.Value
		for _, p := range params {
			values = append(values, m.Param(p.name, x))
		}
		return f(x, values)
	})
	for _, p := range params {
		m.AddParam(p.name, nn.Fill(0), p.shape...)
	}
	return m
}

// weighted is a module that applies an operation with a parameter called weight.
func weighted(f func(x, y nn.Value) nn.Value, op graph.Op, shape ...int) *nn.Module {
	return nn.New("Weighted", func(m *nn.Module, x nn.Value) nn.Value { return f(x, m.Apply(op, x)) }).
		AddParam("weight", nn.Fill(0), shape...)
}

func indexed() *nn.Module {
	return nn.New("Gather", func(m *nn.Module, x nn.Value) nn.Value {
		table := m.Param("table", x)
		return m.Gather("index", x.Reshape(4, 3)).Add(m.Gather("index", table))
	}).AddParam("table", nn.Fill(0), 4, 3).AddIndex("index", []int{3, 0, 2, 2, 2, 1}, 2, 3)
}

func op(o graph.Op) *nn.Module {
	return expression(func(x nn.Value, _ []nn.Value) nn.Value { return x.Graph().Apply(o, nil, x) })
}

func conv(in, out, kernel, padding, groups int) *nn.Module {
	return nn.Conv2d(nn.Conv{In: in, Out: out, Kernel: nn.Square(kernel), Padding: nn.Square(padding), Groups: groups})
}

func point(in, out int) *nn.Module { return conv(in, out, 1, 0, 1) }

// conv2d is a convolution without bias whose operation is given.
func conv2d(o graph.Conv2d, in, out int) *nn.Module {
	return nn.New("Conv2d", func(m *nn.Module, x nn.Value) nn.Value { return m.Apply(o, x) }).
		AddParam("weight", nn.Fill(0), out, in/o.Groups, o.Kernel[0], o.Kernel[1]).AddParam("bias", nn.Fill(0), out)
}

func acting(gain float64, m *nn.Module) network {
	return network{gain, []int{4, 5, 3}, nil, []*nn.Module{nn.Linear(3, 9, true), m, nn.Linear(9, 3, true)}}
}

func norm(channels int) *nn.Module { return nn.BatchNorm2d(channels, 1e-5, 0.1) }
func relu() *nn.Module             { return nn.Act(graph.ReLU, false) }
func silu() *nn.Module             { return nn.Act(graph.SiLU, false) }

func squeeze() *nn.Module {
	return expression(func(x nn.Value, _ []nn.Value) nn.Value {
		return x.Mul(x.Graph().Apply(graph.AdaptiveAvgPool{Size: nn.Square(1)}, nil, x).Act(graph.Sigmoid))
	})
}

func times(shape ...int) *nn.Module {
	return expression(func(x nn.Value, p []nn.Value) nn.Value { return p[0].Mul(x) }, parameter{"scale", shape})
}

// formulas are more of the networks in testdata/layers.py.
var formulas = map[string]network{
	"tokens":      {1, []int{2, 5, 7}, nil, []*nn.Module{nn.Linear(7, 40, true), nn.Linear(40, 6, true)}},
	"bias alone":  {1, []int{2, 5, 7}, []string{"0.weight", "1.weight"}, []*nn.Module{nn.Linear(7, 4, true), nn.Linear(4, 6, true)}},
	"groups":      {1, []int{2, 4, 5, 6}, nil, []*nn.Module{point(4, 6), conv(6, 9, 3, 1, 3), nn.Conv2d(nn.Conv{In: 9, Out: 18, Kernel: nn.Square(2), Stride: nn.Square(2), Groups: 9})}},
	"grouped 1x1": {1, []int{2, 4, 3, 3}, nil, []*nn.Module{point(4, 6), conv(6, 4, 1, 0, 2)}},
	"depthwise":   {1, []int{2, 3, 7, 6}, nil, []*nn.Module{point(3, 20), conv(20, 20, 3, 1, 20), point(20, 2)}},
	"depthwise at a stride": {1, []int{2, 3, 9, 8}, nil, []*nn.Module{point(3, 20),
		nn.Conv2d(nn.Conv{In: 20, Out: 20, Kernel: nn.Square(5), Padding: nn.Square(2), Stride: nn.Square(2), Groups: 20}),
		nn.Conv2d(nn.Conv{In: 20, Out: 20, Kernel: nn.Square(3), Padding: nn.Square(1), Stride: nn.Pair{1, 2}, Groups: 20, NoBias: true})}},
	"depthwise, dilated": {1, []int{1, 3, 8, 9}, nil, []*nn.Module{point(3, 5),
		nn.Conv2d(nn.Conv{In: 5, Out: 5, Kernel: nn.Square(3), Padding: nn.Pair{2, 0}, Dilation: nn.Square(2), Groups: 5})}},
	"depthwise without overlap": {1, []int{1, 3, 7, 9}, nil, []*nn.Module{point(3, 5),
		nn.Conv2d(nn.Conv{In: 5, Out: 5, Kernel: nn.Square(2), Stride: nn.Square(3), Groups: 5})}},
	"depthwise, dilated at a stride": {1, []int{1, 3, 8, 9}, nil, []*nn.Module{point(3, 4),
		nn.Conv2d(nn.Conv{In: 4, Out: 4, Kernel: nn.Square(2), Dilation: nn.Square(2), Stride: nn.Square(2), Groups: 4})}},
	"depthwise, padded on one side": {1, []int{1, 3, 6, 7}, nil, []*nn.Module{point(3, 5), nn.Identity(),
		conv2d(graph.Conv2d{Kernel: nn.Square(3), Stride: nn.Square(2), Dilation: nn.Square(1), Pad: [4]int{0, 0, 1, 1}, Groups: 5}, 5, 5)}},
	"padded on one side": {1, []int{1, 3, 6, 7}, nil, []*nn.Module{point(3, 5), nn.Identity(),
		conv2d(graph.Conv2d{Kernel: nn.Square(3), Stride: nn.Square(2), Dilation: nn.Square(1), Pad: [4]int{0, 0, 1, 1}, Groups: 1}, 5, 4)}},
	"batch norm": {1, []int{3, 2, 3, 4}, nil, []*nn.Module{nn.Conv2d(nn.Conv{In: 2, Out: 5, Kernel: nn.Square(1), NoBias: true}), norm(5), point(5, 3)}},
	"batch norm, act": {1, []int{3, 2, 5, 4}, nil, []*nn.Module{nn.Conv2d(nn.Conv{In: 2, Out: 5, Kernel: nn.Square(3), NoBias: true}),
		nn.BatchNorm2d(5, 1e-3, 0.1), silu(), conv(5, 3, 2, 1, 1), norm(3), relu()}},
	"batch norm of the input": {1, []int{3, 2, 3, 4}, nil, []*nn.Module{norm(2), relu(), point(2, 3), norm(3)}},
	"batch norm, frozen": {1, []int{3, 2, 3, 4}, []string{"1.weight", "1.bias", "2.weight"},
		[]*nn.Module{point(2, 5), norm(5), point(5, 5), norm(5), nn.Act(graph.HardSwish, false), point(5, 3)}},
	"layer norm": {1, []int{3, 4, 5}, nil, []*nn.Module{nn.Linear(5, 7, true), nn.LayerNorm(7, 1e-3), nn.Linear(7, 3, true), nn.LayerNorm(3, 1e-5)}},
	"layer norm of pixels": {1, []int{2, 3, 3, 2}, nil, []*nn.Module{point(3, 20), nn.Permute(0, 2, 3, 1), nn.LayerNorm(20, 1e-5),
		nn.Linear(20, 4, true), nn.Permute(0, 3, 1, 2), point(4, 3)}},
	"Sigmoid":             acting(2, nn.Act(graph.Sigmoid, false)),
	"Hardsigmoid":         acting(3, nn.Act(graph.HardSigmoid, false)),
	"GELU":                acting(2, nn.Act(graph.GELU, false)),
	"GELU(tanh)":          acting(2, nn.Act(graph.GELUTanh, false)),
	"Tanh":                acting(2, nn.Act(graph.Tanh, false)),
	"exp":                 acting(1, op(graph.Exp{Max: 0.3})),
	"softmax":             {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 5, true), op(graph.Softmax{Dim: 2}), nn.Linear(5, 2, true)}},
	"softmax of channels": {1, []int{2, 3, 2, 2}, nil, []*nn.Module{point(3, 5), op(graph.Softmax{Dim: 1})}},
	"L2 norm":             {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 5, true), op(graph.L2Norm{Eps: 1e-12}), nn.Linear(5, 2, true)}},
	"affine": {1, []int{2, 3, 2, 2}, nil, []*nn.Module{point(3, 2),
		op(graph.Affine{Scale: []float32{2, -1}, Shift: []float32{0.5, 1}}), point(2, 3)}},
	"residual": {1, []int{2, 3, 4, 3}, nil, []*nn.Module{point(3, 5),
		weighted(func(x, y nn.Value) nn.Value { return x.Add(y).Act(graph.ReLU) },
			graph.Conv2d{Kernel: nn.Square(3), Stride: nn.Square(1), Dilation: nn.Square(1), Pad: [4]int{1, 1, 1, 1}, Groups: 1}, 5, 5, 3, 3), point(5, 2)}},
	"residual of itself": {1, []int{2, 5}, nil, []*nn.Module{nn.Linear(5, 4, true),
		weighted(func(x, y nn.Value) nn.Value { return x.Add(y.Act(graph.SiLU)).Add(x) }, graph.Linear{}, 4, 4), nn.Linear(4, 3, true)}},
	"squeeze and excitation": {2, []int{2, 3, 4, 5}, nil, []*nn.Module{point(3, 20), norm(20), silu(), squeeze(), point(20, 2), norm(2)}},
	"squeeze after depthwise": {2, []int{2, 3, 5, 5}, nil, []*nn.Module{point(3, 20), norm(20), silu(),
		nn.Conv2d(nn.Conv{In: 20, Out: 20, Kernel: nn.Square(3), Padding: nn.Square(1), Stride: nn.Square(2), Groups: 20}),
		norm(20), silu(), squeeze(), point(20, 2), norm(2)}},
	"product": {1, []int{2, 4}, nil, []*nn.Module{nn.Linear(4, 5, true),
		weighted(func(x, y nn.Value) nn.Value { return x.Mul(y.Act(graph.Sigmoid)) }, graph.Linear{}, 5, 5), nn.Linear(5, 3, true)}},
	"scaled channels": {1, []int{2, 3, 3, 2}, nil, []*nn.Module{point(3, 5), times(5, 1, 1), point(5, 2)}},
	"scaled by one":   {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 3, true), times(1), nn.Linear(3, 2, true)}},
	"scaled rows":     {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 5, true), times(3, 1), nn.Linear(5, 2, true)}},
	"scaled by head": {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 6, true),
		expression(func(x nn.Value, p []nn.Value) nn.Value { return x.Reshape(2, 3, 2, 3).Mul(p[0]).Flatten(2) }, parameter{"scale", []int{2, 1}}), nn.Linear(6, 2, true)}},
	"outer sum": {1, []int{1, 1, 4}, nil, []*nn.Module{nn.Linear(4, 5, true),
		expression(func(x nn.Value, p []nn.Value) nn.Value { return x.Add(p[0]) }, parameter{"shift", []int{2, 3, 1}}), nn.Linear(5, 2, true)}},
	"constants": {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 5, true),
		expression(func(x nn.Value, _ []nn.Value) nn.Value {
			return x.Mul(x.Const([]float32{0, 1, 2, 3, 4}, 5)).Add(x.Const([]float32{2}, 1))
		}), nn.Linear(5, 2, true)}},
	"positions": {1, []int{2, 3, 4}, nil, []*nn.Module{
		expression(func(x nn.Value, p []nn.Value) nn.Value { return x.Add(p[0]) }, parameter{"positions", []int{1, 3, 4}}), nn.Linear(4, 5, true),
		expression(func(x nn.Value, p []nn.Value) nn.Value { return x.Add(p[0]) }, parameter{"positions", []int{1, 3, 5}})}},
	"class token": {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 5, true),
		expression(func(x nn.Value, p []nn.Value) nn.Value {
			return graph.Cat(1, x.Graph().Apply(graph.Expand{Shape: []int{2, 1, 5}}, nil, p[0]), x)
		}, parameter{"token", []int{1, 1, 5}}),
		expression(func(x nn.Value, _ []nn.Value) nn.Value { return x.Slice(1, 0, 1).Flatten(1) }), nn.Linear(5, 2, true)}},
	"concatenation": {1, []int{2, 3, 3, 2}, nil, []*nn.Module{point(3, 5),
		weighted(func(x, y nn.Value) nn.Value { return graph.Cat(1, x, y.Act(graph.ReLU), x) },
			graph.Conv2d{Kernel: nn.Square(1), Stride: nn.Square(1), Dilation: nn.Square(1), Groups: 1}, 4, 5, 1, 1), norm(14), point(14, 2)}},
	"slices": {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 6, true),
		expression(func(x nn.Value, _ []nn.Value) nn.Value {
			return x.Slice(2, 0, 2).Mul(x.Slice(2, 2, 4)).Add(x.Slice(2, 3, 5))
		}), nn.Linear(2, 2, true)}},
	"shuffle": {1, []int{2, 3, 3, 2}, nil, []*nn.Module{point(3, 6),
		expression(func(x nn.Value, _ []nn.Value) nn.Value {
			return x.Reshape(2, 2, 3, 3, 2).Permute(0, 2, 1, 3, 4).Reshape(2, 6, 3, 2)
		}), conv(6, 2, 2, 0, 1)}},
	"flatten": {1, []int{2, 3, 3, 2}, nil, []*nn.Module{point(3, 5), relu(), nn.Flatten(1), nn.Linear(30, 3, true)}},
	"padding and rolling": {1, []int{1, 3, 2, 4}, nil, []*nn.Module{nn.Linear(4, 3, true),
		expression(func(x nn.Value, _ []nn.Value) nn.Value {
			x = x.Graph().Apply(graph.Pad{Sides: []int{0, 0, 0, 1, 1, 0}}, nil, x)
			return x.Graph().Apply(graph.Roll{Shifts: []int{1, -2}, Dims: []int{1, 2}}, nil, x)
		}), nn.Linear(3, 2, true)}},
	"gather":               {1, []int{2, 2, 2}, nil, []*nn.Module{nn.Linear(2, 3, true), indexed(), nn.Linear(3, 2, true)}},
	"average pool, padded": {1, []int{2, 2, 5, 6}, nil, []*nn.Module{point(2, 3), op(graph.AvgPool{Kernel: nn.Square(3), Stride: nn.Square(2), Pad: nn.Square(1), Ceil: true, CountIncludePad: true}), point(3, 2)}},
	"average pool, ceil":   {1, []int{2, 2, 5, 6}, nil, []*nn.Module{point(2, 3), op(graph.AvgPool{Kernel: nn.Square(3), Stride: nn.Square(2), Pad: nn.Square(1), Ceil: true}), point(3, 2)}},
	"adaptive pool":        {1, []int{2, 2, 5, 7}, nil, []*nn.Module{point(2, 3), op(graph.AdaptiveAvgPool{Size: nn.Pair{3, 2}}), point(3, 2)}},
	"max pool, dilated":    {1, []int{2, 2, 7, 7}, nil, []*nn.Module{point(2, 3), op(graph.MaxPool{Kernel: nn.Square(2), Stride: nn.Square(1), Pad: nn.Square(1), Dilation: nn.Square(2)}), point(3, 2)}},
	"mean of tokens":       {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 5, true), op(graph.Mean{Dims: []int{1}}), nn.Linear(5, 2, true)}},
	"mean of features":     {1, []int{2, 3, 4}, nil, []*nn.Module{nn.Linear(4, 5, true), op(graph.Mean{Dims: []int{2}}), nn.Linear(3, 2, true)}},
	"attention": {1, []int{2, 5, 4}, nil, []*nn.Module{nn.Linear(4, 18, true),
		expression(func(x nn.Value, _ []nn.Value) nn.Value { return x.Attend(2, 0.6) }), nn.Linear(6, 2, true)}},
	"attention with a bias": {1.5, []int{4, 3, 4}, nil, []*nn.Module{nn.Linear(4, 12, true),
		expression(func(x nn.Value, p []nn.Value) nn.Value { return x.Attend(2, 0.5, p[0]) }, parameter{"bias", []int{1, 2, 3, 3}}), nn.Linear(4, 2, true)}},
	"attention in windows": {1.5, []int{6, 2, 4}, nil, []*nn.Module{nn.Linear(4, 12, true),
		expression(func(x nn.Value, p []nn.Value) nn.Value {
			mask := p[0].Const([]float32{0, 0, 1, -0.5, 2, -1, -3, 1.5}, 2, 1, 2, 2)
			return x.Attend(2, 0.5, p[0].Add(mask))
		}, parameter{"bias", []int{1, 2, 2, 2}}), nn.Linear(4, 2, true)}},
	"dropout of an image":          {1, []int{2, 2, 3, 2}, nil, []*nn.Module{point(2, 3), nn.Dropout(0.4, false), point(3, 2)}},
	"stochastic depth":             {1, []int{5, 2, 3}, nil, []*nn.Module{nn.Linear(3, 4, true), nn.StochasticDepth(0.4), nn.Linear(4, 2, true)}},
	"stochastic depth of an image": {1, []int{5, 2, 2, 1}, nil, []*nn.Module{point(2, 3), nn.StochasticDepth(0.6), nn.Dropout(0.5, false), point(3, 2)}},
}
