package models

import (
	"math"

	"github.com/graft-ml/graft/internal/nn"
)

// MNASNet: MnasNet: Platform-Aware Neural Architecture Search for Mobile,
// https://arxiv.org/abs/1807.11626, in the form without squeeze and excitation, B1. Module names and
// details are torchvision's.

func init() {
	for name, width := range map[string]float64{
		"mnasnet0_5": 0.5, "mnasnet0_75": 0.75, "mnasnet1_0": 1.0, "mnasnet1_3": 1.3,
	} {
		register(name, func(classes int) *Network { return mnasNet(width, classes) })
	}
}

// mnasNorm's momentum is 0.9997 in TensorFlow's sense, and rounded as torchvision shows it.
var mnasNorm = norm{1e-5, 1 - float64(0.9997)}

func mnasNet(width float64, classes int) *Network {
	const last = 1280
	scaled := func(channels int) int { return makeDivisible(float64(channels)*width, 8) }
	stem, in := scaled(32), scaled(16)
	layers := nn.Sequential(
		conv(3, stem, 3, 2, 1), mnasNorm.layer(stem), relu(),
		conv(stem, stem, 3, 1, stem), mnasNorm.layer(stem), relu(),
		conv(stem, in, 1, 1, 1), mnasNorm.layer(in))
	// mnasnet_b1 of https://github.com/tensorflow/tpu/tree/master/models/official/mnasnet.
	for _, s := range []stage{
		{expand: 3, kernel: 3, stride: 2, out: 24, layers: 3},
		{expand: 3, kernel: 5, stride: 2, out: 40, layers: 3},
		{expand: 6, kernel: 5, stride: 2, out: 80, layers: 3},
		{expand: 6, kernel: 3, stride: 1, out: 96, layers: 2},
		{expand: 6, kernel: 5, stride: 2, out: 192, layers: 4},
		{expand: 6, kernel: 3, stride: 1, out: 320, layers: 1},
	} {
		s.in, s.out = in, scaled(s.out)
		stack := nn.Sequential()
		for range s.layers {
			stack.Append(mnasBlock(s))
			s.in, s.stride = s.out, 1
		}
		layers.Append(stack)
		in = s.out
	}
	layers.Append(conv(in, last, 1, 1, 1)).Append(mnasNorm.layer(last)).Append(relu())
	root := nn.New("MNASNet", chain("classifier", globalMean)).
		Add("layers", layers).
		Add("classifier", nn.Sequential(nn.Dropout(0.2, true), nn.Linear(last, classes, true)))
	initLayers(root, "Conv2d", kaimingOut, nil)
	initLayers(root, "Linear", func(shape []int) nn.Init { return nn.Uniform(math.Sqrt(3 / fanOut(shape))) }, nn.Fill(0))
	return &Network{Module: root, Size: 224, Head: "classifier.1", Dropout: "classifier.0"}
}

func mnasBlock(s stage) *nn.Module {
	expanded := s.in * s.expand
	return nn.New("_InvertedResidual", shortcut("layers", s.stride == 1 && s.in == s.out)).
		Add("layers", nn.Sequential(
			conv(s.in, expanded, 1, 1, 1), mnasNorm.layer(expanded), relu(),
			conv(expanded, expanded, s.kernel, s.stride, expanded), mnasNorm.layer(expanded), relu(),
			conv(expanded, s.out, 1, 1, 1), mnasNorm.layer(s.out)))
}
