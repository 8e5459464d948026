package models

import (
	"github.com/graft-ml/graft/internal/nn"
)

// VGG: Very Deep Convolutional Networks for Large-Scale Image Recognition,
// https://arxiv.org/abs/1409.1556. Module names are torchvision's, as is the batch norm.

func init() {
	// Table 1: how many 3×3 convolutions stand before each pooling (columns A, B, D and E).
	for name, depths := range map[string][5]int{
		"vgg11": {1, 1, 2, 2, 2},
		"vgg13": {2, 2, 2, 2, 2},
		"vgg16": {2, 2, 3, 3, 3},
		"vgg19": {2, 2, 4, 4, 4},
	} {
		register(name, func(classes int) *Network { return vgg(depths, false, classes) })
		register(name+"_bn", func(classes int) *Network { return vgg(depths, true, classes) })
	}
}

func vgg(depths [5]int, batchNorm bool, classes int) *Network {
	features, in := nn.Sequential(), 3
	for i, depth := range depths {
		out := min(64<<i, 512)
		for range depth {
			features.Append(nn.Conv2d(nn.Conv{In: in, Out: out, Kernel: nn.Square(3), Padding: nn.Square(1)}))
			if batchNorm {
				features.Append(pytorchNorm.layer(out))
			}
			features.Append(relu())
			in = out
		}
		features.Append(nn.MaxPool2d(2, 2, 0, false))
	}
	root := nn.New("VGG", chain("classifier", flatten)).
		Add("features", features).
		Add("avgpool", nn.AdaptiveAvgPool2dTo(nn.Square(7))).
		Add("classifier", nn.Sequential(
			nn.Linear(512*7*7, 4096, true), relu(), nn.Dropout(0.5, false),
			nn.Linear(4096, 4096, true), relu(), nn.Dropout(0.5, false),
			nn.Linear(4096, classes, true)))
	initLayers(root, "Conv2d", kaimingOut, nn.Fill(0))
	initLayers(root, "Linear", normal(0.01), nn.Fill(0))
	return &Network{Module: root, Size: 224, Head: "classifier.6", Dropout: "classifier.5"}
}
