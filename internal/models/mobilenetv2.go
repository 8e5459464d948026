package models

import (
	"github.com/graft-ml/graft/internal/nn"
)

// MobileNetV2: Inverted Residuals and Linear Bottlenecks, https://arxiv.org/abs/1801.04381. Module
// names and details are torchvision's.

func init() {
	register("mobilenet_v2", func(classes int) *Network {
		const last = 1280
		in := 32
		features := nn.Sequential(convNormAct(nn.Conv{In: 3, Out: in, Kernel: nn.Square(3), Stride: nn.Square(2)}, pytorchNorm, relu6()))
		// Table 2: expansion factor, output channels, number of blocks, stride of the first.
		for _, row := range []struct{ t, c, n, s int }{
			{1, 16, 1, 1},
			{6, 24, 2, 2},
			{6, 32, 3, 2},
			{6, 64, 4, 2},
			{6, 96, 3, 1},
			{6, 160, 3, 2},
			{6, 320, 1, 1},
		} {
			for range row.n {
				features.Append(mobileV2Block(in, row.c, row.t, row.s))
				in, row.s = row.c, 1
			}
		}
		features.Append(convNormAct(nn.Conv{In: in, Out: last, Kernel: nn.Square(1)}, pytorchNorm, relu6()))
		root := nn.New("MobileNetV2", chain("classifier", globalMean)).
			Add("features", features).
			Add("classifier", nn.Sequential(nn.Dropout(0.2, false), nn.Linear(last, classes, true)))
		initLayers(root, "Conv2d", kaimingOut, nn.Fill(0))
		initLayers(root, "Linear", normal(0.01), nn.Fill(0))
		return &Network{Module: root, Size: 224, Head: "classifier.1", Dropout: "classifier.0"}
	})
}

// mobileV2Block is the inverted residual with a linear bottleneck (table 1).
func mobileV2Block(in, out, expand, stride int) *nn.Module {
	expanded := in * expand
	block := nn.Sequential()
	if expand != 1 {
		block.Append(convNormAct(nn.Conv{In: in, Out: expanded, Kernel: nn.Square(1)}, pytorchNorm, relu6()))
	}
	block.Append(convNormAct(nn.Conv{In: expanded, Out: expanded, Kernel: nn.Square(3), Stride: nn.Square(stride),
		Groups: expanded}, pytorchNorm, relu6()))
	block.Append(conv(expanded, out, 1, 1, 1)).Append(pytorchNorm.layer(out))
	return nn.New("InvertedResidual", shortcut("conv", stride == 1 && in == out)).Add("conv", block)
}
