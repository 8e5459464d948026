package models

import (
	"fmt"
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// MaxViT: Multi-Axis Vision Transformer, https://arxiv.org/abs/2204.01697. Module names and details
// are torchvision's.

const (
	maxVitWindow = 7
	maxVitSize   = 32 * maxVitWindow
	maxVitHead   = 32 // features of an attention head
	maxVitDrop   = 0.2
)

// MaxViT-T in table 1 of the paper: channels and layers of the four stages.
func init() {
	register("maxvit_t", func(classes int) *Network {
		return maxVit(64, [4]int{64, 128, 256, 512}, [4]int{2, 2, 5, 2}, classes)
	})
}

func gelu() *nn.Module { return nn.Act(graph.GELU, false) }

func maxVit(stem int, channels, layers [4]int, classes int) *Network {
	conv := nn.Sequential(nn.Conv2d(nn.Conv{In: stem, Out: stem, Kernel: nn.Square(3), Padding: nn.Square(1)}))
	conv.Type = "Conv2dNormActivation"
	blocks := nn.New("ModuleList", nn.Chain)
	total := layers[0] + layers[1] + layers[2] + layers[3]
	in, done := stem, 0
	for i, out := range channels {
		list := nn.New("ModuleList", nn.Chain)
		for j := range layers[i] {
			list.Append(maxVitLayer(in, out, 2-min(j, 1), float64(done)*(maxVitDrop/float64(total-1))))
			in = out
			done++
		}
		blocks.Append(nn.New("MaxVitBlock", func(m *nn.Module, x nn.Value) nn.Value {
			return nn.Chain(m.Child("layers"), x) // PyTorch doesn't call a ModuleList
		}).Add("layers", list))
	}
	last := channels[3]
	root := nn.New("MaxVit", func(m *nn.Module, x nn.Value) nn.Value {
		x = m.Sub("stem", x)
		x = nn.Chain(m.Child("blocks"), x)
		return m.Sub("classifier", x)
	}).
		Add("stem", nn.Sequential(
			convNormAct(nn.Conv{In: 3, Out: stem, Kernel: nn.Square(3), Stride: nn.Square(2)}, tensorflowNorm, gelu()),
			conv)).
		Add("blocks", blocks).
		Add("classifier", nn.Sequential(
			nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.LayerNorm(last, 1e-5),
			nn.Linear(last, last, true), nn.Act(graph.Tanh, false), nn.Linear(last, classes, false)))
	initLayers(root, "Conv2d", normal(0.02), nn.Fill(0))
	initLayers(root, "Linear", normal(0.02), nn.Fill(0))
	return &Network{Module: root, Size: maxVitSize, Head: "classifier.5", resize: func(size int) error {
		if size%maxVitSize != 0 {
			return fmt.Errorf("images of %d pixels don't divide into windows at every stage: take a multiple of %d", size, maxVitSize)
		}
		return nil
	}}
}

// maxVitLayer is figure 2: a convolution, then attention within windows, then over the grid.
func maxVitLayer(in, out, stride int, drop float64) *nn.Module {
	return nn.New("MaxVitLayer", nn.Chain).Add("layers", nn.New("Sequential", nn.Chain).
		Add("MBconv", maxVitMBConv(in, out, stride, drop)).
		Add("window_attention", partitionAttention(out, false, drop)).
		Add("grid_attention", partitionAttention(out, true, drop)))
}

// maxVitMBConv is the inverted bottleneck with squeeze and excitation, norm first.
func maxVitMBConv(in, out, stride int, drop float64) *nn.Module {
	one, mid := nn.Square(1), 4*out
	proj := nn.Identity()
	if stride != 1 || in != out {
		proj = nn.Sequential()
		if stride != 1 {
			proj.Append(nn.AvgPool2d(3, stride, 1))
		}
		proj.Append(nn.Conv2d(nn.Conv{In: in, Out: out, Kernel: one}))
	}
	depth := nn.Identity()
	if drop > 0 {
		depth = nn.StochasticDepth(drop)
	}
	layers := nn.New("Sequential", nn.Chain).
		Add("pre_norm", tensorflowNorm.layer(in)).
		Add("conv_a", convNormAct(nn.Conv{In: in, Out: mid, Kernel: one}, tensorflowNorm, gelu())).
		Add("conv_b", convNormAct(nn.Conv{In: mid, Out: mid, Kernel: nn.Square(3), Stride: nn.Square(stride),
			Groups: mid}, tensorflowNorm, gelu())).
		Add("squeeze_excitation", squeezeExcitation(mid, out/4, nn.Act(graph.SiLU, false), nn.Act(graph.Sigmoid, false))).
		Add("conv_c", nn.Conv2d(nn.Conv{In: mid, Out: out, Kernel: one}))
	return nn.New("MBConv", func(m *nn.Module, x nn.Value) nn.Value {
		res := m.Sub("proj", x)
		return res.Add(m.Sub("stochastic_depth", m.Sub("layers", x)))
	}).
		Add("proj", proj).
		Add("stochastic_depth", depth).
		Add("layers", layers)
}

// partitionAttention is a transformer layer whose attention runs within windows of 7 × 7 places, or
// over the grid: between 7 × 7 places that lie evenly over the whole image. For the grid the image
// is cut into 7 × 7 windows, and of all windows the places of the same number attend to each other.
func partitionAttention(channels int, grid bool, drop float64) *nn.Module {
	swap := nn.Identity
	if grid {
		swap = func() *nn.Module {
			return nn.New("SwapAxes", func(_ *nn.Module, x nn.Value) nn.Value { return x.Permute(0, 2, 1, 3) })
		}
	}
	return nn.New("PartitionAttentionLayer", func(m *nn.Module, x nn.Value) nn.Value {
		x = m.Sub("partition_swap", m.Sub("partition_op", x))
		x = x.Add(m.Sub("stochastic_dropout", m.Sub("attn_layer", x)))
		x = x.Add(m.Sub("stochastic_dropout", m.Sub("mlp_layer", x)))
		return m.Sub("departition_op", m.Sub("departition_swap", x))
	}).
		Add("partition_op", nn.New("WindowPartition", func(_ *nn.Module, x nn.Value) nn.Value {
			side := maxVitWindow
			if grid {
				side = x.Shape[2] / maxVitWindow
			}
			return cutWindows(x.Permute(0, 2, 3, 1), side)
		})).
		Add("departition_op", nn.New("WindowDepartition", func(_ *nn.Module, x nn.Value) nn.Value {
			windows, side := squareRoot(x.Shape[1]), squareRoot(x.Shape[2])
			return joinWindows(x, windows, windows, side).Permute(0, 3, 1, 2)
		})).
		Add("partition_swap", swap()).
		Add("departition_swap", swap()).
		Add("attn_layer", nn.Sequential(nn.LayerNorm(channels, 1e-5), relativeAttention(channels), nn.Dropout(0, false))).
		Add("mlp_layer", nn.Sequential(nn.LayerNorm(channels, 1e-5),
			nn.Linear(channels, 4*channels, true), gelu(), nn.Linear(4*channels, channels, true), nn.Dropout(0, false))).
		Add("stochastic_dropout", nn.StochasticDepth(drop))
}

// relativeAttention is self-attention in each group of places of [N, groups, places, C], with a bias
// for the places' offset. It scales by all features, not by a head's.
func relativeAttention(channels int) *nn.Module {
	const places = maxVitWindow * maxVitWindow
	return nn.New("RelativePositionalMultiHeadAttention", func(m *nn.Module, x nn.Value) nn.Value {
		groups := x.Shape[1]
		qkv := m.Sub("to_qkv", x).Reshape(-1, places, 3*channels)
		bias := relativePositionBias(m, m.Param("relative_position_bias_table", x), maxVitWindow)
		y := qkv.Attend(channels/maxVitHead, 1/math.Sqrt(float64(channels)), bias)
		return m.Sub("merge", y.Reshape(-1, groups, places, channels))
	}).
		AddParam("relative_position_bias_table", nn.Normal(0.02), (2*maxVitWindow-1)*(2*maxVitWindow-1), channels/maxVitHead).
		AddIndex("relative_position_index", relativePositions(maxVitWindow), places, places).
		Add("to_qkv", nn.Linear(channels, 3*channels, true)).
		Add("merge", nn.Linear(channels, channels, true))
}
