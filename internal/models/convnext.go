package models

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// ConvNeXt: A ConvNet for the 2020s, https://arxiv.org/abs/2201.03545. Module names and details are
// torchvision's.

// Section 3 of the paper: channels and blocks of the four stages.
func init() {
	for _, v := range []struct {
		name             string
		channels, blocks [4]int
		drop             float64
	}{
		{"convnext_tiny", [4]int{96, 192, 384, 768}, [4]int{3, 3, 9, 3}, 0.1},
		{"convnext_small", [4]int{96, 192, 384, 768}, [4]int{3, 3, 27, 3}, 0.4},
		{"convnext_base", [4]int{128, 256, 512, 1024}, [4]int{3, 3, 27, 3}, 0.5},
		{"convnext_large", [4]int{192, 384, 768, 1536}, [4]int{3, 3, 27, 3}, 0.5},
	} {
		register(v.name, func(classes int) *Network { return convNeXt(v.channels, v.blocks, v.drop, classes) })
	}
}

const convNeXtEps = 1e-6

func convNeXt(channels, blocks [4]int, drop float64, classes int) *Network {
	total := blocks[0] + blocks[1] + blocks[2] + blocks[3]
	stem := nn.Sequential(
		nn.Conv2d(nn.Conv{In: 3, Out: channels[0], Kernel: nn.Square(4), Stride: nn.Square(4)}),
		nn.LayerNorm2d(channels[0], convNeXtEps))
	stem.Type = "Conv2dNormActivation"
	features := nn.Sequential(stem)
	done := 0
	for i, c := range channels {
		if i > 0 {
			features.Append(nn.Sequential(
				nn.LayerNorm2d(channels[i-1], convNeXtEps),
				nn.Conv2d(nn.Conv{In: channels[i-1], Out: c, Kernel: nn.Square(2), Stride: nn.Square(2)})))
		}
		stage := nn.Sequential()
		for range blocks[i] {
			stage.Append(cnBlock(c, drop*float64(done)/float64(total-1)))
			done++
		}
		features.Append(stage)
	}
	last := channels[3]
	root := nn.New("ConvNeXt", nn.Chain).
		Add("features", features).
		Add("avgpool", nn.AdaptiveAvgPool2d(1)).
		Add("classifier", nn.Sequential(nn.LayerNorm2d(last, convNeXtEps), nn.Flatten(1), nn.Linear(last, classes, true)))
	initLayers(root, "Conv2d", normal(0.02), nn.Fill(0))
	initLayers(root, "Linear", normal(0.02), nn.Fill(0))
	return &Network{Module: root, Size: 224, Head: "classifier.2"}
}

// cnBlock is the block of figure 4.
func cnBlock(channels int, drop float64) *nn.Module {
	block := nn.Sequential(
		nn.Conv2d(nn.Conv{In: channels, Out: channels, Kernel: nn.Square(7), Padding: nn.Square(3), Groups: channels}),
		nn.Permute(0, 2, 3, 1),
		nn.LayerNorm(channels, convNeXtEps),
		nn.Linear(channels, 4*channels, true),
		nn.Act(graph.GELU, false),
		nn.Linear(4*channels, channels, true),
		nn.Permute(0, 3, 1, 2))
	return nn.New("CNBlock", func(m *nn.Module, x nn.Value) nn.Value {
		y := m.Sub("block", x).Mul(m.Param("layer_scale", x))
		return m.Sub("stochastic_depth", y).Add(x)
	}).
		AddParam("layer_scale", nn.Fill(1e-6), channels, 1, 1).
		Add("block", block).
		Add("stochastic_depth", nn.StochasticDepth(drop))
}
