package models

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// What several families are built of.

// norm holds the settings of a network's batch norms.
type norm struct{ eps, momentum float64 }

var (
	pytorchNorm    = norm{1e-5, 0.1}  // PyTorch's defaults
	inceptionNorm  = norm{1e-3, 0.1}  // GoogLeNet's and Inception V3's
	tensorflowNorm = norm{1e-3, 0.01} // what networks use that were converted from TensorFlow
)

func (n norm) layer(features int) *nn.Module { return nn.BatchNorm2d(features, n.eps, n.momentum) }

func relu() *nn.Module  { return nn.Act(graph.ReLU, true) }
func relu6() *nn.Module { return nn.Act(graph.ReLU6, true) }
func silu() *nn.Module  { return nn.Act(graph.SiLU, true) }

// conv is a convolution without bias whose padding keeps the size at stride 1.
func conv(in, out, kernel, stride, groups int) *nn.Module {
	return nn.Conv2d(nn.Conv{In: in, Out: out, Kernel: nn.Square(kernel), Stride: nn.Square(stride),
		Padding: nn.Square((kernel - 1) / 2), Groups: groups, NoBias: true})
}

// convNormAct is torchvision.ops.Conv2dNormActivation; act is nil for none. The padding keeps the
// size at stride 1.
func convNormAct(c nn.Conv, n norm, act *nn.Module) *nn.Module {
	c.Padding = nn.Pair{(c.Kernel[0] - 1) / 2, (c.Kernel[1] - 1) / 2}
	c.NoBias = true
	m := nn.Sequential(nn.Conv2d(c), n.layer(c.Out))
	if act != nil {
		m.Append(act)
	}
	m.Type = "Conv2dNormActivation"
	return m
}

// squeezeExcitation is torchvision.ops.SqueezeExcitation (https://arxiv.org/abs/1709.01507).
func squeezeExcitation(channels, squeeze int, act, scale *nn.Module) *nn.Module {
	m := nn.New("SqueezeExcitation", func(m *nn.Module, x nn.Value) nn.Value {
		s := m.Sub("avgpool", x)
		s = m.Sub("activation", m.Sub("fc1", s))
		return m.Sub("scale_activation", m.Sub("fc2", s)).Mul(x)
	})
	one := nn.Square(1)
	return m.Add("avgpool", nn.AdaptiveAvgPool2d(1)).
		Add("fc1", nn.Conv2d(nn.Conv{In: channels, Out: squeeze, Kernel: one})).
		Add("fc2", nn.Conv2d(nn.Conv{In: squeeze, Out: channels, Kernel: one})).
		Add("activation", act).
		Add("scale_activation", scale)
}

// basicConv2d is the convolution of GoogLeNet and Inception V3, which torchvision follows with a
// ReLU that has no name.
func basicConv2d(c nn.Conv) *nn.Module {
	c.NoBias = true
	return nn.New("BasicConv2d", func(m *nn.Module, x nn.Value) nn.Value {
		return nn.Chain(m, x).Act(graph.ReLU)
	}).Add("conv", nn.Conv2d(c)).Add("bn", inceptionNorm.layer(c.Out))
}

// shortcut is the forward function that runs the child of that name and, if add, adds its input.
func shortcut(child string, add bool) func(*nn.Module, nn.Value) nn.Value {
	return func(m *nn.Module, x nn.Value) nn.Value {
		y := m.Sub(child, x)
		if add {
			y = y.Add(x)
		}
		return y
	}
}

// chain is the forward function that runs the children in order, and join on what reaches the child
// of that name: where a network's trunk and head meet in a function that has no name.
func chain(child string, join func(nn.Value) nn.Value) func(*nn.Module, nn.Value) nn.Value {
	return func(m *nn.Module, x nn.Value) nn.Value {
		for name, c := range m.Children() {
			if name == child {
				x = join(x)
			}
			x = c.Call(x)
		}
		return x
	}
}

func flatten(x nn.Value) nn.Value    { return x.Flatten(1) }
func globalMean(x nn.Value) nn.Value { return x.Mean(2, 3) }

// inceptionInput takes an image that was normalised with ImageNet's mean and deviation to
// [-1, 1], for which the weights of GoogLeNet and Inception V3 were trained (torchvision's
// transform_input, which its pretrained networks have).
func inceptionInput(m *nn.Module, x nn.Value) nn.Value {
	return m.Apply(graph.Affine{
		Scale: []float32{0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5},
		Shift: []float32{(0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5},
	}, x)
}

// makeDivisible rounds channels to a multiple of divisor without losing more than a tenth
// (https://arxiv.org/abs/1801.04381, reference implementation).
func makeDivisible(v float64, divisor int) int {
	n := max(divisor, int(v+float64(divisor)/2)/divisor*divisor)
	if float64(n) < 0.9*v {
		n += divisor
	}
	return n
}
