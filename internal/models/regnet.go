package models

import (
	"fmt"
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// RegNet: Designing Network Design Spaces, https://arxiv.org/abs/2003.13678. Module names and
// details are torchvision's.

// regNetParams are the parameters of the design space (section 3.3), without the bottleneck ratio,
// which is 1 here.
type regNetParams struct {
	depth         int
	w0            int     // initial width
	wa            float64 // slope
	wm            float64 // ratio of the widths of successive stages, before rounding
	group         int     // channels of a group
	squeezeExcite bool    // RegNetY
}

func init() {
	for name, p := range map[string]regNetParams{
		"regnet_x_400mf": {22, 24, 24.48, 2.54, 16, false},
		"regnet_x_800mf": {16, 56, 35.73, 2.28, 16, false},
		"regnet_x_1_6gf": {18, 80, 34.01, 2.25, 24, false},
		"regnet_x_3_2gf": {25, 88, 26.31, 2.25, 48, false},
		"regnet_x_8gf":   {23, 80, 49.56, 2.88, 120, false},
		"regnet_x_16gf":  {22, 216, 55.59, 2.1, 128, false},
		"regnet_x_32gf":  {23, 320, 69.86, 2.0, 168, false},
		"regnet_y_400mf": {16, 48, 27.89, 2.09, 8, true},
		"regnet_y_800mf": {14, 56, 38.84, 2.4, 16, true},
		"regnet_y_1_6gf": {27, 48, 20.71, 2.65, 24, true},
		"regnet_y_3_2gf": {21, 80, 42.63, 2.66, 24, true},
		"regnet_y_8gf":   {17, 192, 76.82, 2.19, 56, true},
		"regnet_y_16gf":  {18, 200, 106.23, 2.48, 112, true},
		"regnet_y_32gf":  {20, 232, 115.89, 2.53, 232, true},
		"regnet_y_128gf": {27, 456, 160.83, 2.52, 264, true},
	} {
		size := 224
		if name == "regnet_y_128gf" {
			size = 384 // its weights are fine-tuned end to end at that size (https://arxiv.org/abs/2201.08371)
		}
		register(name, func(classes int) *Network { return regNet(p, size, classes) })
	}
}

// stages computes the width and the depth of each stage from the quantised linear widths of the
// blocks (equations 2 to 4).
func (p regNetParams) stages() (widths, depths []int) {
	for j := range p.depth {
		u := float64(p.w0) + p.wa*float64(j)
		s := math.RoundToEven(math.Log(u/float64(p.w0)) / math.Log(p.wm))
		w := int(8 * math.RoundToEven(float64(p.w0)*math.Pow(p.wm, s)/8))
		if last := len(widths) - 1; last >= 0 && widths[last] == w {
			depths[last]++
			continue
		}
		widths, depths = append(widths, w), append(depths, 1)
	}
	for i, w := range widths { // a whole number of groups
		widths[i] = makeDivisible(float64(w), min(p.group, w))
	}
	return widths, depths
}

func regNet(p regNetParams, size, classes int) *Network {
	in := 32
	stem := convNormAct(nn.Conv{In: 3, Out: in, Kernel: nn.Square(3), Stride: nn.Square(2)}, pytorchNorm, relu())
	stem.Type = "SimpleStemIN"
	trunk := nn.Sequential()
	widths, depths := p.stages()
	for i, width := range widths {
		stage := nn.New("AnyStage", nn.Chain)
		for j := range depths[i] {
			stage.Add(fmt.Sprintf("block%d-%d", i+1, j), p.block(in, width, 2-min(j, 1)))
			in = width
		}
		trunk.Add(fmt.Sprintf("block%d", i+1), stage)
	}
	root := nn.New("RegNet", chain("fc", flatten)).
		Add("stem", stem).
		Add("trunk_output", trunk).
		Add("avgpool", nn.AdaptiveAvgPool2dTo(nn.Square(1))).
		Add("fc", nn.Linear(in, classes, true))
	initLayers(root, "Conv2d", kaimingOut, nil)
	initLayers(root, "Linear", normal(0.01), nn.Fill(0))
	return &Network{Module: root, Size: size, Head: "fc"}
}

// block is the residual bottleneck with group convolution, figure 4 (X block).
func (p regNetParams) block(in, out, stride int) *nn.Module {
	one := nn.Square(1)
	m := nn.New("ResBottleneckBlock", func(m *nn.Module, x nn.Value) nn.Value {
		shortcut := x
		if m.Child("proj") != nil {
			shortcut = m.Sub("proj", x)
		}
		return m.Sub("activation", shortcut.Add(m.Sub("f", x)))
	})
	if in != out || stride != 1 {
		m.Add("proj", convNormAct(nn.Conv{In: in, Out: out, Kernel: one, Stride: nn.Square(stride)}, pytorchNorm, nil))
	}
	f := nn.New("BottleneckTransform", nn.Chain).
		Add("a", convNormAct(nn.Conv{In: in, Out: out, Kernel: one}, pytorchNorm, relu())).
		Add("b", convNormAct(nn.Conv{In: out, Out: out, Kernel: nn.Square(3), Stride: nn.Square(stride),
			Groups: out / min(p.group, out)}, pytorchNorm, relu()))
	if p.squeezeExcite {
		f.Add("se", squeezeExcitation(out, int(math.RoundToEven(0.25*float64(in))),
			nn.Act(graph.ReLU, false), nn.Act(graph.Sigmoid, false)))
	}
	f.Add("c", convNormAct(nn.Conv{In: out, Out: out, Kernel: one}, pytorchNorm, nil))
	return m.Add("f", f).Add("activation", relu())
}
