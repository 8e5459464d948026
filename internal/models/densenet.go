package models

import (
	"fmt"
	"regexp"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// DenseNet: Densely Connected Convolutional Networks, https://arxiv.org/abs/1608.06993, in the form
// that the paper calls DenseNet-BC. Module names and details are torchvision's.

func init() {
	// Table 1: the layers of each dense block. Densenet161 is the authors' wider form.
	for _, v := range []struct {
		name         string
		growth, stem int
		depths       [4]int
	}{
		{"densenet121", 32, 64, [4]int{6, 12, 24, 16}},
		{"densenet161", 48, 96, [4]int{6, 12, 36, 24}},
		{"densenet169", 32, 64, [4]int{6, 12, 32, 32}},
		{"densenet201", 32, 64, [4]int{6, 12, 48, 32}},
	} {
		register(v.name, func(classes int) *Network { return denseNet(v.growth, v.stem, v.depths, classes) })
	}
}

func denseNet(growth, stem int, depths [4]int, classes int) *Network {
	features := nn.Sequential().
		Add("conv0", conv(3, stem, 7, 2, 1)).
		Add("norm0", pytorchNorm.layer(stem)).
		Add("relu0", relu()).
		Add("pool0", nn.MaxPool2d(3, 2, 1, false))
	channels := stem
	for i, depth := range depths {
		if i > 0 {
			features.Add(fmt.Sprintf("transition%d", i), transition(channels, channels/2))
			channels /= 2
		}
		features.Add(fmt.Sprintf("denseblock%d", i+1), denseBlock(channels, growth, depth))
		channels += depth * growth
	}
	features.Add("norm5", pytorchNorm.layer(channels))
	root := nn.New("DenseNet", chain("classifier", func(x nn.Value) nn.Value { return globalMean(x.Act(graph.ReLU)) })).
		Add("features", features).
		Add("classifier", nn.Linear(channels, classes, true))
	initLayers(root, "Conv2d", kaimingIn, nil)
	root.Child("classifier").Own()[1].Init = nn.Fill(0)
	return &Network{Module: root, Size: 224, Head: "classifier",
		Rename: map[string]func(string) string{"torchvision": undottedLayers}}
}

// denseBlock joins to its input what each layer makes of all that came before.
func denseBlock(in, growth, depth int) *nn.Module {
	m := nn.New("_DenseBlock", func(m *nn.Module, x nn.Value) nn.Value {
		first := x
		for _, layer := range m.Children() {
			x = graph.Cat(1, x, layer.CallAs(first, x))
		}
		return x
	})
	for i := range depth {
		m.Add(fmt.Sprintf("denselayer%d", i+1), denseLayer(in+i*growth, growth))
	}
	return m
}

func denseLayer(in, growth int) *nn.Module {
	inner := 4 * growth
	return nn.New("_DenseLayer", nn.Chain).
		Add("norm1", pytorchNorm.layer(in)).Add("relu1", relu()).Add("conv1", conv(in, inner, 1, 1, 1)).
		Add("norm2", pytorchNorm.layer(inner)).Add("relu2", relu()).Add("conv2", conv(inner, growth, 3, 1, 1))
}

func transition(in, out int) *nn.Module {
	return nn.New("_Transition", nn.Chain).
		Add("norm", pytorchNorm.layer(in)).Add("relu", relu()).Add("conv", conv(in, out, 1, 1, 1)).
		Add("pool", nn.AvgPool2d(2, 2, 0))
}

var dottedLayer = regexp.MustCompile(`(\.denselayer\d+\.(?:norm|relu|conv))\.([12]\.)`)

// undottedLayers gives the names of torchvision's published checkpoints, which date from when a
// module's name could hold a dot: norm.1 is norm1 now.
func undottedLayers(name string) string { return dottedLayer.ReplaceAllString(name, "$1$2") }
