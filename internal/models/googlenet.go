package models

import (
	"strings"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// GoogLeNet: Going Deeper with Convolutions, https://arxiv.org/abs/1409.4842. Module names and
// details are torchvision's for its pretrained network: batch norms, 3×3 convolutions where the
// paper has 5×5 ones, and no auxiliary classifiers, whose published values are untrained.

func init() {
	register("googlenet", func(classes int) *Network {
		pool := func(kernel int) *nn.Module { return nn.MaxPool2d(kernel, 2, 0, true) }
		inner := chain("dropout", flatten)
		root := nn.New("GoogLeNet", func(m *nn.Module, x nn.Value) nn.Value { return inner(m, inceptionInput(m, x)) }).
			Add("conv1", basicConv2d(nn.Conv{In: 3, Out: 64, Kernel: nn.Square(7), Stride: nn.Square(2), Padding: nn.Square(3)})).
			Add("maxpool1", pool(3)).
			Add("conv2", basicConv2d(nn.Conv{In: 64, Out: 64, Kernel: nn.Square(1)})).
			Add("conv3", basicConv2d(nn.Conv{In: 64, Out: 192, Kernel: nn.Square(3), Padding: nn.Square(1)})).
			Add("maxpool2", pool(3)).
			// Table 1: the channels of the 1×1, of the reduced and full 3×3 and "5×5" convolutions
			// and of the projection after the pooling.
			Add("inception3a", inception(192, 64, 96, 128, 16, 32, 32)).
			Add("inception3b", inception(256, 128, 128, 192, 32, 96, 64)).
			Add("maxpool3", pool(3)).
			Add("inception4a", inception(480, 192, 96, 208, 16, 48, 64)).
			Add("inception4b", inception(512, 160, 112, 224, 24, 64, 64)).
			Add("inception4c", inception(512, 128, 128, 256, 24, 64, 64)).
			Add("inception4d", inception(512, 112, 144, 288, 32, 64, 64)).
			Add("inception4e", inception(528, 256, 160, 320, 32, 128, 128)).
			Add("maxpool4", pool(2)).
			Add("inception5a", inception(832, 256, 160, 320, 32, 128, 128)).
			Add("inception5b", inception(832, 384, 192, 384, 48, 128, 128)).
			Add("avgpool", nn.AdaptiveAvgPool2dTo(nn.Square(1))).
			Add("dropout", nn.Dropout(0.2, false)).
			Add("fc", nn.Linear(1024, classes, true))
		// torchvision cuts the distribution off at ±2, two hundred deviations away.
		initLayers(root, "Conv2d", normal(0.01), nil)
		initLayers(root, "Linear", normal(0.01), nil)
		return &Network{Module: root, Size: 224, Head: "fc", Dropout: "dropout",
			Rename: map[string]func(string) string{"torchvision": withoutAux}}
	})
}

// inception is the module of figure 2b.
func inception(in, c1, reduce3, c3, reduce5, c5, project int) *nn.Module {
	one := func(in, out int) *nn.Module { return basicConv2d(nn.Conv{In: in, Out: out, Kernel: nn.Square(1)}) }
	three := func(in, out int) *nn.Module {
		return basicConv2d(nn.Conv{In: in, Out: out, Kernel: nn.Square(3), Padding: nn.Square(1)})
	}
	return nn.New("Inception", func(m *nn.Module, x nn.Value) nn.Value {
		var branches []nn.Value
		for _, branch := range m.Children() {
			branches = append(branches, branch.Call(x))
		}
		return graph.Cat(1, branches...)
	}).
		Add("branch1", one(in, c1)).
		Add("branch2", nn.Sequential(one(in, reduce3), three(reduce3, c3))).
		Add("branch3", nn.Sequential(one(in, reduce5), three(reduce5, c5))).
		Add("branch4", nn.Sequential(nn.MaxPool2d(3, 1, 1, true), one(in, project)))
}

// withoutAux drops the auxiliary classifiers, which the published checkpoint holds.
func withoutAux(name string) string {
	if strings.HasPrefix(name, "aux") {
		return ""
	}
	return name
}
