package models

import "github.com/graft-ml/graft/internal/nn"

// MobileNetV4: Universal Models for the Mobile Ecosystem, https://arxiv.org/abs/2404.10518. Module
// names and details are timm's.

// A v4Block is a row of the paper's tables, or a run of equal ones: a block of a kind with the
// kernels of the depthwise convolutions before and after the expansion (0 for none; the two other
// kinds have one full convolution, mid), stride, expansion factor and output channels.
type v4Block struct {
	kind                                    func(b v4Block, in int) *nn.Module
	start, mid, stride, expand, out, layers int
}

// The stages of the convolutional models.
var (
	mobileNetV4ConvSmall = [][]v4Block{
		{{v4Conv, 0, 3, 2, 0, 32, 1}, {v4Conv, 0, 1, 1, 0, 32, 1}},
		{{v4Conv, 0, 3, 2, 0, 96, 1}, {v4Conv, 0, 1, 1, 0, 64, 1}},
		{{v4UIB, 5, 5, 2, 3, 96, 1}, {v4UIB, 0, 3, 1, 2, 96, 4}, {v4UIB, 3, 0, 1, 4, 96, 1}},
		{{v4UIB, 3, 3, 2, 6, 128, 1}, {v4UIB, 5, 5, 1, 4, 128, 1}, {v4UIB, 0, 5, 1, 4, 128, 1},
			{v4UIB, 0, 5, 1, 3, 128, 1}, {v4UIB, 0, 3, 1, 4, 128, 2}},
		{{v4Conv, 0, 1, 1, 0, 960, 1}},
	}
	mobileNetV4ConvMedium = [][]v4Block{
		{{v4Fused, 0, 3, 2, 4, 48, 1}},
		{{v4UIB, 3, 5, 2, 4, 80, 1}, {v4UIB, 3, 3, 1, 2, 80, 1}},
		{{v4UIB, 3, 5, 2, 6, 160, 1}, {v4UIB, 3, 3, 1, 4, 160, 2}, {v4UIB, 3, 5, 1, 4, 160, 1},
			{v4UIB, 3, 3, 1, 4, 160, 1}, {v4UIB, 3, 0, 1, 4, 160, 1}, {v4UIB, 0, 0, 1, 2, 160, 1},
			{v4UIB, 3, 0, 1, 4, 160, 1}},
		{{v4UIB, 5, 5, 2, 6, 256, 1}, {v4UIB, 5, 5, 1, 4, 256, 1}, {v4UIB, 3, 5, 1, 4, 256, 2},
			{v4UIB, 0, 0, 1, 4, 256, 1}, {v4UIB, 3, 0, 1, 4, 256, 1}, {v4UIB, 3, 5, 1, 2, 256, 1},
			{v4UIB, 5, 5, 1, 4, 256, 1}, {v4UIB, 0, 0, 1, 4, 256, 2}, {v4UIB, 5, 0, 1, 2, 256, 1}},
		{{v4Conv, 0, 1, 1, 0, 960, 1}},
	}
)

func init() {
	register("mobilenetv4_conv_small", func(classes int) *Network {
		return mobileNetV4(mobileNetV4ConvSmall, 224, classes)
	})
	register("mobilenetv4_conv_medium", func(classes int) *Network {
		return mobileNetV4(mobileNetV4ConvMedium, 256, classes)
	})
}

func mobileNetV4(stages [][]v4Block, size, classes int) *Network {
	const stem, last = 32, 1280
	blocks, in := nn.Sequential(), stem
	for _, rows := range stages {
		seq := nn.Sequential()
		for _, b := range rows {
			for range b.layers {
				seq.Append(b.kind(b, in))
				in, b.stride = b.out, 1
			}
		}
		blocks.Append(seq)
	}
	root := nn.New("MobileNetV3", nn.Chain).
		Add("conv_stem", conv(3, stem, 3, 2, 1)).
		Add("bn1", v4Norm(stem, relu())).
		Add("blocks", blocks).
		Add("global_pool", globalPool(nn.Identity())).
		Add("conv_head", conv(in, last, 1, 1, 1)).
		Add("norm_head", v4Norm(last, relu())).
		Add("act2", nn.Identity()).
		Add("flatten", nn.Flatten(1)).
		Add("head_drop", nn.Dropout(0, false)). // timm calls the function, which has no name
		Add("classifier", nn.Linear(last, classes, true))
	return &Network{Module: root, Size: size, Head: "classifier", Dropout: "head_drop"}
}

// v4Norm has no activation if act is nil.
func v4Norm(features int, act *nn.Module) *nn.Module {
	return nn.BatchNormAct2d(features, pytorchNorm.eps, pytorchNorm.momentum, act)
}

// v4Conv is a convolution.
func v4Conv(b v4Block, in int) *nn.Module {
	return nn.New("ConvBnAct", chainShortcut(false)).
		Add("conv", conv(in, b.out, b.mid, b.stride, 1)).
		Add("bn1", v4Norm(b.out, relu())).
		Add("aa", nn.Identity()).
		Add("drop_path", nn.Identity())
}

// v4Fused is the fused inverted bottleneck, which expands with a full convolution.
func v4Fused(b v4Block, in int) *nn.Module {
	expanded := in * b.expand
	return nn.New("EdgeResidual", chainShortcut(b.stride == 1 && in == b.out)).
		Add("conv_exp", conv(in, expanded, b.mid, b.stride, 1)).
		Add("bn1", v4Norm(expanded, relu())).
		Add("aa", nn.Identity()).
		Add("se", nn.Identity()).
		Add("conv_pwl", conv(expanded, b.out, 1, 1, 1)).
		Add("bn2", v4Norm(b.out, nil)).
		Add("drop_path", nn.Identity())
}

// v4UIB is the universal inverted bottleneck.
func v4UIB(b v4Block, in int) *nn.Module {
	expanded := makeDivisible(float64(in*b.expand), 8)
	start, mid := nn.Identity(), nn.Identity()
	stride := b.stride
	if b.mid > 0 {
		mid = v4ConvNormAct(conv(expanded, expanded, b.mid, stride, expanded), v4Norm(expanded, relu()))
		stride = 1
	}
	if b.start > 0 {
		start = v4ConvNormAct(conv(in, in, b.start, stride, in), v4Norm(in, nil))
	}
	return nn.New("UniversalInvertedResidual", chainShortcut(b.stride == 1 && in == b.out)).
		Add("dw_start", start).
		Add("pw_exp", v4ConvNormAct(conv(in, expanded, 1, 1, 1), v4Norm(expanded, relu()))).
		Add("dw_mid", mid).
		Add("se", nn.Identity()).
		Add("pw_proj", v4ConvNormAct(conv(expanded, b.out, 1, 1, 1), v4Norm(b.out, nil))).
		Add("dw_end", nn.Identity()).
		Add("layer_scale", nn.Identity()).
		Add("drop_path", nn.Identity())
}

func v4ConvNormAct(conv, norm *nn.Module) *nn.Module {
	return nn.New("ConvNormAct", nn.Chain).Add("conv", conv).Add("bn", norm)
}
