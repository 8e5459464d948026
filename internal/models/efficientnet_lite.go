package models

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/graft-ml/graft/internal/nn"
)

// EfficientNet-Lite: EfficientNet without squeeze and excitation, with ReLU6, and with the stem, the
// head and the number of blocks in the first and last stages left unscaled
// (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). Module names
// are timm's for its tf_efficientnet_lite models; the padding is TensorFlow's SAME.

func init() {
	for i, v := range []struct {
		width, depth float64
		size         int
		dropout      float64
	}{
		{1.0, 1.0, 224, 0.2},
		{1.0, 1.1, 240, 0.2},
		{1.1, 1.2, 260, 0.3},
		{1.2, 1.4, 280, 0.3},
		{1.4, 1.8, 300, 0.3},
	} {
		register(fmt.Sprintf("efficientnet_lite%d", i), func(classes int) *Network {
			stages := scale(efficientNetB, v.width, v.depth)
			first, last := 0, len(stages)-1
			stages[first].in = efficientNetB[first].in
			stages[first].layers, stages[last].layers = efficientNetB[first].layers, efficientNetB[last].layers
			return efficientNetLite(stages, v.size, v.dropout, classes)
		})
	}
}

func efficientNetLite(stages []stage, size int, dropout float64, classes int) *Network {
	const last = 1280
	blocks := nn.Sequential()
	for _, s := range stages {
		seq := nn.Sequential()
		for range s.layers {
			seq.Append(liteBlock(s))
			s.in, s.stride = s.out, 1
		}
		blocks.Append(seq)
	}
	root := nn.New("EfficientNet", nn.Chain).
		Add("conv_stem", liteConv(nn.Conv{In: 3, Out: stages[0].in, Kernel: nn.Square(3), Stride: nn.Square(2)})).
		Add("bn1", liteNorm(stages[0].in, relu6())).
		Add("blocks", blocks).
		Add("conv_head", liteConv(nn.Conv{In: stages[len(stages)-1].out, Out: last, Kernel: nn.Square(1)})).
		Add("bn2", liteNorm(last, relu6())).
		Add("global_pool", globalPool(nn.Flatten(1))).
		Add("head_drop", nn.Dropout(dropout, false)). // timm calls the function, which has no name
		Add("classifier", nn.Linear(last, classes, true))
	return &Network{Module: root, Size: size, Head: "classifier", Dropout: "head_drop",
		Rename: map[string]func(string) string{"lukemelas": lukemelas(stages)}}
}

// liteConv pads as TensorFlow's SAME does, which at stride 1 is the usual padding.
func liteConv(c nn.Conv) *nn.Module {
	c.NoBias = true
	if c.Same = c.Stride == nn.Square(2); !c.Same {
		c.Padding = nn.Square((c.Kernel[0] - 1) / 2)
	}
	return nn.Conv2d(c)
}

func liteNorm(features int, act *nn.Module) *nn.Module {
	return nn.BatchNormAct2d(features, tensorflowNorm.eps, 0.1, act)
}

// liteBlock is an inverted residual, or without expansion a depthwise separable convolution.
func liteBlock(s stage) *nn.Module {
	forward := chainShortcut(s.stride == 1 && s.in == s.out)
	expanded := s.in * s.expand
	depthwise := liteConv(nn.Conv{In: expanded, Out: expanded, Kernel: nn.Square(s.kernel), Stride: nn.Square(s.stride), Groups: expanded})
	project := liteConv(nn.Conv{In: expanded, Out: s.out, Kernel: nn.Square(1)})
	if s.expand == 1 {
		return nn.New("DepthwiseSeparableConv", forward).
			Add("conv_dw", depthwise).Add("bn1", liteNorm(expanded, relu6())).
			Add("aa", nn.Identity()).Add("se", nn.Identity()).
			Add("conv_pw", project).Add("bn2", liteNorm(s.out, nil)).Add("drop_path", nn.Identity())
	}
	return nn.New("InvertedResidual", forward).
		Add("conv_pw", liteConv(nn.Conv{In: s.in, Out: expanded, Kernel: nn.Square(1)})).Add("bn1", liteNorm(expanded, relu6())).
		Add("conv_dw", depthwise).Add("bn2", liteNorm(expanded, relu6())).
		Add("aa", nn.Identity()).Add("se", nn.Identity()).
		Add("conv_pwl", project).Add("bn3", liteNorm(s.out, nil)).Add("drop_path", nn.Identity())
}

var lukemelasBlock = regexp.MustCompile(`^_blocks\.(\d+)\._(expand_conv|depthwise_conv|project_conv|bn0|bn1|bn2)\.(\w+)$`)

// lukemelas gives the names of checkpoints of the efficientnet_lite_pytorch package, whose blocks
// are numbered through and named by https://github.com/lukemelas/EfficientNet-PyTorch.
func lukemelas(stages []stage) func(string) string {
	type place struct{ stage, block, expand int }
	var places []place
	for i, s := range stages {
		for j := range s.layers {
			places = append(places, place{i, j, s.expand})
		}
	}
	outer := map[string]string{
		"_conv_stem.weight": "conv_stem.weight", "_conv_head.weight": "conv_head.weight",
		"_fc.weight": "classifier.weight", "_fc.bias": "classifier.bias",
	}
	for _, leaf := range []string{"weight", "bias", "running_mean", "running_var", "num_batches_tracked"} {
		outer["_bn0."+leaf], outer["_bn1."+leaf] = "bn1."+leaf, "bn2."+leaf
	}
	separable := map[string]string{"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}
	inverted := map[string]string{"expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "bn1": "bn2",
		"project_conv": "conv_pwl", "bn2": "bn3"}
	return func(name string) string {
		parts := lukemelasBlock.FindStringSubmatch(name)
		if parts == nil {
			return outer[name]
		}
		n, err := strconv.Atoi(parts[1])
		if err != nil || n >= len(places) {
			return ""
		}
		at, layers := places[n], inverted
		if at.expand == 1 {
			layers = separable
		}
		if layers[parts[2]] == "" {
			return ""
		}
		return fmt.Sprintf("blocks.%d.%d.%s.%s", at.stage, at.block, layers[parts[2]], parts[3])
	}
}
