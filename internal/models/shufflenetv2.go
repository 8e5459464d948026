package models

import (
	"fmt"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// ShuffleNetV2: Practical Guidelines for Efficient CNN Architecture Design,
// https://arxiv.org/abs/1807.11164. Module names and details are torchvision's.

func init() {
	// Table 5: the output channels of the stages 2 to 4 and of the last convolution.
	for name, channels := range map[string][4]int{
		"shufflenet_v2_x0_5": {48, 96, 192, 1024},
		"shufflenet_v2_x1_0": {116, 232, 464, 1024},
		"shufflenet_v2_x1_5": {176, 352, 704, 1024},
		"shufflenet_v2_x2_0": {244, 488, 976, 2048},
	} {
		register(name, func(classes int) *Network { return shuffleNetV2(channels, classes) })
	}
}

func shuffleNetV2(channels [4]int, classes int) *Network {
	in, last := 24, channels[3]
	root := nn.New("ShuffleNetV2", chain("fc", globalMean)).
		Add("conv1", nn.Sequential(conv(3, in, 3, 2, 1), pytorchNorm.layer(in), relu())).
		Add("maxpool", nn.MaxPool2d(3, 2, 1, false))
	for i, depth := range []int{4, 8, 4} {
		out := channels[i]
		stage := nn.Sequential(shuffleDown(in, out))
		for range depth - 1 {
			stage.Append(shuffleUnit(out))
		}
		root.Add(fmt.Sprintf("stage%d", i+2), stage)
		in = out
	}
	root.Add("conv5", nn.Sequential(conv(in, last, 1, 1, 1), pytorchNorm.layer(last), relu())).
		Add("fc", nn.Linear(last, classes, true))
	return &Network{Module: root, Size: 224, Head: "fc"}
}

// shuffleUnit leaves half of the channels as they are (figure 3c).
func shuffleUnit(channels int) *nn.Module {
	half := channels / 2
	return nn.New("InvertedResidual", func(m *nn.Module, x nn.Value) nn.Value {
		halves := x.Chunk(2, 1)
		return shuffle(graph.Cat(1, halves[0], m.Sub("branch2", halves[1])))
	}).
		Add("branch1", nn.Sequential()).
		Add("branch2", shuffleBranch(half, half, 1))
}

// shuffleDown halves the image; both branches see all channels (figure 3d).
func shuffleDown(in, out int) *nn.Module {
	half := out / 2
	return nn.New("InvertedResidual", func(m *nn.Module, x nn.Value) nn.Value {
		return shuffle(graph.Cat(1, m.Sub("branch1", x), m.Sub("branch2", x)))
	}).
		Add("branch1", nn.Sequential(
			conv(in, in, 3, 2, in), pytorchNorm.layer(in),
			conv(in, half, 1, 1, 1), pytorchNorm.layer(half), relu())).
		Add("branch2", shuffleBranch(in, half, 2))
}

func shuffleBranch(in, out, stride int) *nn.Module {
	return nn.Sequential(
		conv(in, out, 1, 1, 1), pytorchNorm.layer(out), relu(),
		conv(out, out, 3, stride, out), pytorchNorm.layer(out),
		conv(out, out, 1, 1, 1), pytorchNorm.layer(out), relu())
}

// shuffle interleaves the two halves of the channels.
func shuffle(x nn.Value) nn.Value {
	n, c, h, w := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	return x.Reshape(n, 2, c/2, h, w).Permute(0, 2, 1, 3, 4).Reshape(n, c, h, w)
}
