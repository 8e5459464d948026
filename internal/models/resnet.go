package models

import (
	"fmt"

	"github.com/graft-ml/graft/internal/nn"
)

// ResNet: Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385; ResNeXt:
// Aggregated Residual Transformations for Deep Neural Networks, https://arxiv.org/abs/1611.05431;
// Wide Residual Networks, https://arxiv.org/abs/1605.07146. Module names and details are
// torchvision's: the bottleneck has its stride at the 3×3 convolution, "ResNet V1.5".

func init() {
	// Table 1 of the first paper: the blocks of each stage. A group of the bottleneck's 3×3
	// convolution has width channels for every 64 of the stage.
	for _, v := range []struct {
		name          string
		block         residualBlock
		depths        [4]int
		groups, width int
	}{
		{"resnet18", basicBlock, [4]int{2, 2, 2, 2}, 1, 64},
		{"resnet34", basicBlock, [4]int{3, 4, 6, 3}, 1, 64},
		{"resnet50", bottleneck, [4]int{3, 4, 6, 3}, 1, 64},
		{"resnet101", bottleneck, [4]int{3, 4, 23, 3}, 1, 64},
		{"resnet152", bottleneck, [4]int{3, 8, 36, 3}, 1, 64},
		{"resnext50_32x4d", bottleneck, [4]int{3, 4, 6, 3}, 32, 4},
		{"resnext101_32x8d", bottleneck, [4]int{3, 4, 23, 3}, 32, 8},
		{"resnext101_64x4d", bottleneck, [4]int{3, 4, 23, 3}, 64, 4},
		{"wide_resnet50_2", bottleneck, [4]int{3, 4, 6, 3}, 1, 128},
		{"wide_resnet101_2", bottleneck, [4]int{3, 4, 23, 3}, 1, 128},
	} {
		register(v.name, func(classes int) *Network {
			return resNet(v.block, v.depths, v.groups, v.width, classes)
		})
	}
}

// A residualBlock makes the residual branch of a stage with planes channels, and says how many
// channels leave it.
type residualBlock func(in, planes, stride, groups, width int) (m *nn.Module, out int)

func resNet(block residualBlock, depths [4]int, groups, width, classes int) *Network {
	root := nn.New("ResNet", chain("fc", flatten)).
		Add("conv1", conv(3, 64, 7, 2, 1)).
		Add("bn1", pytorchNorm.layer(64)).
		Add("relu", relu()).
		Add("maxpool", nn.MaxPool2d(3, 2, 1, false))
	in := 64
	for i, depth := range depths {
		stage, planes, stride := nn.Sequential(), 64<<i, min(i+1, 2)
		for range depth {
			m, out := block(in, planes, stride, groups, width)
			if stride != 1 || in != out {
				m.Add("downsample", nn.Sequential(conv(in, out, 1, stride, 1), pytorchNorm.layer(out)))
			}
			stage.Append(m)
			in, stride = out, 1
		}
		root.Add(fmt.Sprintf("layer%d", i+1), stage)
	}
	root.Add("avgpool", nn.AdaptiveAvgPool2dTo(nn.Square(1))).Add("fc", nn.Linear(in, classes, true))
	initLayers(root, "Conv2d", kaimingOut, nil)
	return &Network{Module: root, Size: 224, Head: "fc"}
}

// basicBlock is the block of two 3×3 convolutions (figure 5 of the first paper, left).
func basicBlock(in, planes, stride, _, _ int) (*nn.Module, int) {
	return residualSum("BasicBlock", "conv1", "bn1", "relu", "conv2", "bn2").
		Add("conv1", conv(in, planes, 3, stride, 1)).Add("bn1", pytorchNorm.layer(planes)).
		Add("relu", relu()).
		Add("conv2", conv(planes, planes, 3, 1, 1)).Add("bn2", pytorchNorm.layer(planes)), planes
}

// bottleneck narrows, convolves and widens again (figure 5 of the first paper, right; figure 3 of
// the second).
func bottleneck(in, planes, stride, groups, width int) (*nn.Module, int) {
	inner, out := planes*width/64*groups, 4*planes
	return residualSum("Bottleneck", "conv1", "bn1", "relu", "conv2", "bn2", "relu", "conv3", "bn3").
		Add("conv1", conv(in, inner, 1, 1, 1)).Add("bn1", pytorchNorm.layer(inner)).
		Add("conv2", conv(inner, inner, 3, stride, groups)).Add("bn2", pytorchNorm.layer(inner)).
		Add("conv3", conv(inner, out, 1, 1, 1)).Add("bn3", pytorchNorm.layer(out)).
		Add("relu", relu()), out
}

// residualSum runs the children of those names and adds the input, downsampled where there is a
// child for it.
func residualSum(typ string, branch ...string) *nn.Module {
	return nn.New(typ, func(m *nn.Module, x nn.Value) nn.Value {
		y := x
		for _, name := range branch {
			y = m.Sub(name, y)
		}
		if m.Child("downsample") != nil {
			x = m.Sub("downsample", x)
		}
		return m.Sub("relu", y.Add(x))
	})
}
