package models

import (
	"fmt"
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks,
// https://arxiv.org/abs/1905.11946; EfficientNetV2: Smaller Models and Faster Training,
// https://arxiv.org/abs/2104.00298. Module names and details are torchvision's.

// A stage is a row of the papers' tables: repeated inverted bottlenecks.
type stage struct {
	expand, kernel, stride, in, out, layers int
	fused                                   bool // expansion and depthwise convolution in one (V2)
}

// Table 1 of the first paper: the network that B0 to B7 scale.
var efficientNetB = []stage{
	{1, 3, 1, 32, 16, 1, false},
	{6, 3, 2, 16, 24, 2, false},
	{6, 5, 2, 24, 40, 2, false},
	{6, 3, 2, 40, 80, 3, false},
	{6, 5, 1, 80, 112, 3, false},
	{6, 5, 2, 112, 192, 4, false},
	{6, 3, 1, 192, 320, 1, false},
}

// Table 4 of the second paper, and its larger forms.
var (
	efficientNetV2S = []stage{
		{1, 3, 1, 24, 24, 2, true},
		{4, 3, 2, 24, 48, 4, true},
		{4, 3, 2, 48, 64, 4, true},
		{4, 3, 2, 64, 128, 6, false},
		{6, 3, 1, 128, 160, 9, false},
		{6, 3, 2, 160, 256, 15, false},
	}
	efficientNetV2M = []stage{
		{1, 3, 1, 24, 24, 3, true},
		{4, 3, 2, 24, 48, 5, true},
		{4, 3, 2, 48, 80, 5, true},
		{4, 3, 2, 80, 160, 7, false},
		{6, 3, 1, 160, 176, 14, false},
		{6, 3, 2, 176, 304, 18, false},
		{6, 3, 1, 304, 512, 5, false},
	}
	efficientNetV2L = []stage{
		{1, 3, 1, 32, 32, 4, true},
		{4, 3, 2, 32, 64, 7, true},
		{4, 3, 2, 64, 96, 7, true},
		{4, 3, 2, 96, 192, 10, false},
		{6, 3, 1, 192, 224, 19, false},
		{6, 3, 2, 224, 384, 25, false},
		{6, 3, 1, 384, 640, 7, false},
	}
)

func init() {
	for i, v := range []struct {
		width, depth float64
		size         int
		dropout      float64
	}{
		{1.0, 1.0, 224, 0.2},
		{1.0, 1.1, 240, 0.2},
		{1.1, 1.2, 288, 0.3},
		{1.2, 1.4, 300, 0.3},
		{1.4, 1.8, 380, 0.4},
		{1.6, 2.2, 456, 0.4},
		{1.8, 2.6, 528, 0.5},
		{2.0, 3.1, 600, 0.5},
	} {
		norm := pytorchNorm
		if i >= 5 {
			norm = tensorflowNorm
		}
		register(fmt.Sprintf("efficientnet_b%d", i), func(classes int) *Network {
			stages := scale(efficientNetB, v.width, v.depth)
			return efficientNet(stages, 4*stages[len(stages)-1].out, v.size, v.dropout, norm, classes)
		})
	}
	for _, v := range []struct {
		name    string
		stages  []stage
		size    int
		dropout float64
	}{
		{"efficientnet_v2_s", efficientNetV2S, 384, 0.2},
		{"efficientnet_v2_m", efficientNetV2M, 480, 0.3},
		{"efficientnet_v2_l", efficientNetV2L, 480, 0.4},
	} {
		register(v.name, func(classes int) *Network {
			return efficientNet(v.stages, 1280, v.size, v.dropout, norm{1e-3, 0.1}, classes)
		})
	}
}

// scale widens and deepens the stages (compound scaling, section 3.3 of the first paper).
func scale(stages []stage, width, depth float64) []stage {
	scaled := make([]stage, len(stages))
	for i, s := range stages {
		s.in, s.out = makeDivisible(float64(s.in)*width, 8), makeDivisible(float64(s.out)*width, 8)
		s.layers = int(math.Ceil(float64(s.layers) * depth))
		scaled[i] = s
	}
	return scaled
}

func efficientNet(stages []stage, last, size int, dropout float64, n norm, classes int) *Network {
	blocks := 0
	for _, s := range stages {
		blocks += s.layers
	}
	features := nn.Sequential(convNormAct(nn.Conv{In: 3, Out: stages[0].in, Kernel: nn.Square(3), Stride: nn.Square(2)}, n, silu()))
	done := 0
	for _, s := range stages {
		seq := nn.Sequential()
		for range s.layers {
			drop := 0.2 * float64(done) / float64(blocks)
			if s.fused {
				seq.Append(fusedMBConv(s, drop, n))
			} else {
				seq.Append(mbConv(s, drop, n))
			}
			s.in, s.stride = s.out, 1
			done++
		}
		features.Append(seq)
	}
	features.Append(convNormAct(nn.Conv{In: stages[len(stages)-1].out, Out: last, Kernel: nn.Square(1)}, n, silu()))

	root := nn.New("EfficientNet", chain("classifier", flatten)).
		Add("features", features).
		Add("avgpool", nn.AdaptiveAvgPool2d(1)).
		Add("classifier", nn.Sequential(nn.Dropout(dropout, true), nn.Linear(last, classes, true)))
	initLayers(root, "Conv2d", kaimingOut, nn.Fill(0))
	initLayers(root, "Linear", func(shape []int) nn.Init { return nn.Uniform(1 / math.Sqrt(fanOut(shape))) }, nn.Fill(0))
	return &Network{Module: root, Size: size, Head: "classifier.1", Dropout: "classifier.0"}
}

// mbConv is the inverted bottleneck with squeeze and excitation.
func mbConv(s stage, drop float64, n norm) *nn.Module {
	expanded := makeDivisible(float64(s.in*s.expand), 8)
	block := nn.Sequential()
	if expanded != s.in {
		block.Append(convNormAct(nn.Conv{In: s.in, Out: expanded, Kernel: nn.Square(1)}, n, silu()))
	}
	block.Append(convNormAct(nn.Conv{In: expanded, Out: expanded, Kernel: nn.Square(s.kernel),
		Stride: nn.Square(s.stride), Groups: expanded}, n, silu()))
	block.Append(squeezeExcitation(expanded, max(1, s.in/4), silu(), nn.Act(graph.Sigmoid, false)))
	block.Append(convNormAct(nn.Conv{In: expanded, Out: s.out, Kernel: nn.Square(1)}, n, nil))
	return residual("MBConv", s, block, drop)
}

// fusedMBConv expands with a full convolution and has no squeeze and excitation.
func fusedMBConv(s stage, drop float64, n norm) *nn.Module {
	expanded := makeDivisible(float64(s.in*s.expand), 8)
	conv := nn.Conv{In: s.in, Out: expanded, Kernel: nn.Square(s.kernel), Stride: nn.Square(s.stride)}
	block := nn.Sequential()
	if expanded != s.in {
		block.Append(convNormAct(conv, n, silu()))
		block.Append(convNormAct(nn.Conv{In: expanded, Out: s.out, Kernel: nn.Square(1)}, n, nil))
	} else {
		conv.Out = s.out
		block.Append(convNormAct(conv, n, silu()))
	}
	return residual("FusedMBConv", s, block, drop)
}

// residual adds the input back where the shapes allow it.
func residual(typ string, s stage, block *nn.Module, drop float64) *nn.Module {
	m := nn.New(typ, func(m *nn.Module, x nn.Value) nn.Value {
		y := m.Sub("block", x)
		if s.stride == 1 && s.in == s.out {
			y = m.Sub("stochastic_depth", y).Add(x)
		}
		return y
	})
	return m.Add("block", block).Add("stochastic_depth", nn.StochasticDepth(drop))
}
