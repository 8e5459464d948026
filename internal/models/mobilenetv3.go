package models

import (
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// MobileNetV3: Searching for MobileNetV3, https://arxiv.org/abs/1905.02244. Module names and details
// are torchvision's.

// A mobileV3Row is a row of the paper's tables: kernel, expanded and output channels, squeeze and
// excitation, Hardswish instead of ReLU, stride.
type mobileV3Row struct {
	kernel, expanded, out int
	se, hs                bool
	stride                int
}

func init() {
	register("mobilenet_v3_large", func(classes int) *Network { // Table 1
		return mobileNetV3([]mobileV3Row{
			{3, 16, 16, false, false, 1},
			{3, 64, 24, false, false, 2},
			{3, 72, 24, false, false, 1},
			{5, 72, 40, true, false, 2},
			{5, 120, 40, true, false, 1},
			{5, 120, 40, true, false, 1},
			{3, 240, 80, false, true, 2},
			{3, 200, 80, false, true, 1},
			{3, 184, 80, false, true, 1},
			{3, 184, 80, false, true, 1},
			{3, 480, 112, true, true, 1},
			{3, 672, 112, true, true, 1},
			{5, 672, 160, true, true, 2},
			{5, 960, 160, true, true, 1},
			{5, 960, 160, true, true, 1},
		}, 1280, classes)
	})
	register("mobilenet_v3_small", func(classes int) *Network { // Table 2
		return mobileNetV3([]mobileV3Row{
			{3, 16, 16, true, false, 2},
			{3, 72, 24, false, false, 2},
			{3, 88, 24, false, false, 1},
			{5, 96, 40, true, true, 2},
			{5, 240, 40, true, true, 1},
			{5, 240, 40, true, true, 1},
			{5, 120, 48, true, true, 1},
			{5, 144, 48, true, true, 1},
			{5, 288, 96, true, true, 2},
			{5, 576, 96, true, true, 1},
			{5, 576, 96, true, true, 1},
		}, 1024, classes)
	})
}

func hardswish() *nn.Module { return nn.Act(graph.HardSwish, false) }

func mobileNetV3(rows []mobileV3Row, hidden, classes int) *Network {
	in := 16
	features := nn.Sequential(convNormAct(nn.Conv{In: 3, Out: in, Kernel: nn.Square(3), Stride: nn.Square(2)}, tensorflowNorm, hardswish()))
	for _, row := range rows {
		features.Append(mobileV3Block(in, row))
		in = row.out
	}
	last := 6 * in
	features.Append(convNormAct(nn.Conv{In: in, Out: last, Kernel: nn.Square(1)}, tensorflowNorm, hardswish()))
	root := nn.New("MobileNetV3", chain("classifier", flatten)).
		Add("features", features).
		Add("avgpool", nn.AdaptiveAvgPool2d(1)).
		Add("classifier", nn.Sequential(
			nn.Linear(last, hidden, true), hardswish(), nn.Dropout(0.2, true),
			nn.Linear(hidden, classes, true)))
	initLayers(root, "Conv2d", kaimingOut, nn.Fill(0))
	initLayers(root, "Linear", normal(0.01), nn.Fill(0))
	return &Network{Module: root, Size: 224, Head: "classifier.3", Dropout: "classifier.2"}
}

// mobileV3Block is MobileNetV2's inverted residual with squeeze and excitation (figure 4).
func mobileV3Block(in int, row mobileV3Row) *nn.Module {
	act := relu
	if row.hs {
		act = hardswish
	}
	block := nn.Sequential()
	if row.expanded != in {
		block.Append(convNormAct(nn.Conv{In: in, Out: row.expanded, Kernel: nn.Square(1)}, tensorflowNorm, act()))
	}
	block.Append(convNormAct(nn.Conv{In: row.expanded, Out: row.expanded, Kernel: nn.Square(row.kernel),
		Stride: nn.Square(row.stride), Groups: row.expanded}, tensorflowNorm, act()))
	if row.se {
		block.Append(squeezeExcitation(row.expanded, makeDivisible(float64(row.expanded/4), 8),
			nn.Act(graph.ReLU, false), nn.Act(graph.HardSigmoid, false)))
	}
	block.Append(convNormAct(nn.Conv{In: row.expanded, Out: row.out, Kernel: nn.Square(1)}, tensorflowNorm, nil))
	return nn.New("InvertedResidual", shortcut("block", row.stride == 1 && in == row.out)).Add("block", block)
}
