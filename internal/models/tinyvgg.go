package models

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// TinyVGG: the small network of the CNN Explainer (https://poloclub.github.io/cnn-explainer/), which
// courses train from scratch as a baseline: 10 hidden units, images of 64 × 64 pixels, and 8,083
// parameters for three classes. It has no pretrained weights.

func init() {
	register("tinyvgg", func(classes int) *Network {
		const hidden, size = 10, 64
		side := ((size-4)/2 - 4) / 2 // after two unpadded 3×3 convolutions and a pooling, twice
		root := nn.New("TinyVGG", nn.Chain).
			Add("conv_block_1", tinyBlock(3, hidden)).
			Add("conv_block_2", tinyBlock(hidden, hidden)).
			Add("classifier", nn.Sequential(nn.Flatten(1), nn.Linear(hidden*side*side, classes, true)))
		return &Network{Module: root, Size: size, Head: "classifier.1"}
	})
}

func tinyBlock(in, out int) *nn.Module {
	return nn.Sequential(
		nn.Conv2d(nn.Conv{In: in, Out: out, Kernel: nn.Square(3)}), nn.Act(graph.ReLU, false),
		nn.Conv2d(nn.Conv{In: out, Out: out, Kernel: nn.Square(3)}), nn.Act(graph.ReLU, false),
		nn.MaxPool2d(2, 2, 0, false),
	)
}
