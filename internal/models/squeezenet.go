package models

import (
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size,
// https://arxiv.org/abs/1602.07360. Version 1.1 is the authors' cheaper form
// (https://github.com/forresti/SqueezeNet). Module names are torchvision's.

// Table 1 of the paper: the fire modules, each with its squeezed channels; both of its expansions
// have four times as many. The versions differ in the stem and in where they pool.
var fires = []int{16, 16, 32, 32, 48, 48, 64, 64}

func init() {
	register("squeezenet1_0", func(classes int) *Network { return squeezeNet(96, 7, []int{0, 3, 7}, classes) })
	register("squeezenet1_1", func(classes int) *Network { return squeezeNet(64, 3, []int{0, 2, 4}, classes) })
}

// squeezeNet makes a network with a stem of that size and a pooling before each of the fire modules
// whose numbers are listed.
func squeezeNet(stem, kernel int, pools []int, classes int) *Network {
	features := nn.Sequential(
		nn.Conv2d(nn.Conv{In: 3, Out: stem, Kernel: nn.Square(kernel), Stride: nn.Square(2)}), relu())
	in := stem
	for i, squeeze := range fires {
		if len(pools) > 0 && pools[0] == i {
			features.Append(nn.MaxPool2d(3, 2, 0, true))
			pools = pools[1:]
		}
		features.Append(fire(in, squeeze))
		in = 8 * squeeze
	}
	head := nn.Conv2d(nn.Conv{In: in, Out: classes, Kernel: nn.Square(1)})
	root := nn.New("SqueezeNet", func(m *nn.Module, x nn.Value) nn.Value { return nn.Chain(m, x).Flatten(1) }).
		Add("features", features).
		Add("classifier", nn.Sequential(nn.Dropout(0.5, false), head, relu(), nn.AdaptiveAvgPool2dTo(nn.Square(1))))
	initLayers(root, "Conv2d", func(shape []int) nn.Init { return nn.Uniform(math.Sqrt(6 / fanIn(shape))) }, nn.Fill(0))
	initLayers(head, "Conv2d", normal(0.01), nn.Fill(0))
	return &Network{Module: root, Size: 224, Head: "classifier.1", Dropout: "classifier.0"}
}

// fire squeezes by 1×1 convolutions and expands by 1×1 and 3×3 ones side by side (figure 1).
func fire(in, squeeze int) *nn.Module {
	expand := 4 * squeeze
	return nn.New("Fire", func(m *nn.Module, x nn.Value) nn.Value {
		x = m.Sub("squeeze_activation", m.Sub("squeeze", x))
		return graph.Cat(1,
			m.Sub("expand1x1_activation", m.Sub("expand1x1", x)),
			m.Sub("expand3x3_activation", m.Sub("expand3x3", x)))
	}).
		Add("squeeze", nn.Conv2d(nn.Conv{In: in, Out: squeeze, Kernel: nn.Square(1)})).Add("squeeze_activation", relu()).
		Add("expand1x1", nn.Conv2d(nn.Conv{In: squeeze, Out: expand, Kernel: nn.Square(1)})).Add("expand1x1_activation", relu()).
		Add("expand3x3", nn.Conv2d(nn.Conv{In: squeeze, Out: expand, Kernel: nn.Square(3), Padding: nn.Square(1)})).
		Add("expand3x3_activation", relu())
}
