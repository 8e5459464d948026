package models

import (
	"github.com/graft-ml/graft/internal/nn"
)

// AlexNet in the form of One weird trick for parallelizing convolutional neural networks,
// https://arxiv.org/abs/1404.5997. Module names are torchvision's.

func init() {
	register("alexnet", func(classes int) *Network {
		conv := func(in, out, kernel, stride, padding int) *nn.Module {
			return nn.Conv2d(nn.Conv{In: in, Out: out, Kernel: nn.Square(kernel), Stride: nn.Square(stride), Padding: nn.Square(padding)})
		}
		pool := func() *nn.Module { return nn.MaxPool2d(3, 2, 0, false) }
		root := nn.New("AlexNet", chain("classifier", flatten)).
			Add("features", nn.Sequential(
				conv(3, 64, 11, 4, 2), relu(), pool(),
				conv(64, 192, 5, 1, 2), relu(), pool(),
				conv(192, 384, 3, 1, 1), relu(),
				conv(384, 256, 3, 1, 1), relu(),
				conv(256, 256, 3, 1, 1), relu(), pool())).
			Add("avgpool", nn.AdaptiveAvgPool2dTo(nn.Square(6))).
			Add("classifier", nn.Sequential(
				nn.Dropout(0.5, false), nn.Linear(256*6*6, 4096, true), relu(),
				nn.Dropout(0.5, false), nn.Linear(4096, 4096, true), relu(),
				nn.Linear(4096, classes, true)))
		return &Network{Module: root, Size: 224, Head: "classifier.6"}
	})
}
