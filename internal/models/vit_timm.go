package models

import (
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// The smaller Vision Transformers, with timm's module names:
//
//   - vit: How to train your ViT? Data, Augmentation, and Regularization in Vision Transformers,
//     https://arxiv.org/abs/2106.10270
//   - deit: Training data-efficient image transformers & distillation through attention,
//     https://arxiv.org/abs/2012.12877
//   - dinov2: DINOv2: Learning Robust Visual Features without Supervision,
//     https://arxiv.org/abs/2304.07193. It has LayerScale and comes without a head.

func init() {
	for _, v := range []struct {
		name         string
		width, heads int
	}{
		{"vit_tiny_patch16_224", 192, 3},
		{"vit_small_patch16_224", 384, 6},
		{"deit_tiny_patch16_224", 192, 3},
		{"deit_small_patch16_224", 384, 6},
	} {
		register(v.name, func(classes int) *Network {
			return timmVisionTransformer(224, 16, v.width, v.heads, 0, classes)
		})
	}
	register("vit_small_patch14_dinov2", func(classes int) *Network {
		n := timmVisionTransformer(518, 14, 384, 6, 1e-5, classes)
		n.Headless = true
		return n
	})
}

// timmVisionTransformer has LayerScale unless layerScale, its first value, is 0.
func timmVisionTransformer(size, patch, width, heads int, layerScale float32, classes int) *Network {
	const depth = 12
	grid := size / patch
	patchEmbed := nn.New("PatchEmbed", func(m *nn.Module, x nn.Value) nn.Value {
		return m.Sub("norm", m.Sub("proj", x).Flatten(2).Permute(0, 2, 1))
	}).
		Add("proj", nn.Conv2d(nn.Conv{In: 3, Out: width, Kernel: nn.Square(patch), Stride: nn.Square(patch)})).
		Add("norm", nn.Identity())
	blocks := nn.Sequential()
	for range depth {
		blocks.Append(timmBlock(width, heads, layerScale))
	}
	root := nn.New("VisionTransformer", func(m *nn.Module, x nn.Value) nn.Value {
		x = m.Sub("patch_embed", x)
		x = prependToken(m.Param("cls_token", x), x)
		x = x.Add(m.Param("pos_embed", x))
		for _, name := range []string{"pos_drop", "patch_drop", "norm_pre", "blocks", "norm"} {
			x = m.Sub(name, x)
		}
		return m.Sub("head", m.Sub("head_drop", m.Sub("fc_norm", classToken(x))))
	}).
		AddParam("cls_token", nn.Normal(1e-6), 1, 1, width).
		AddParam("pos_embed", nn.Normal(0.02), 1, 1+grid*grid, width).
		Add("patch_embed", patchEmbed).
		Add("pos_drop", nn.Dropout(0, false)).
		Add("patch_drop", nn.Identity()).
		Add("norm_pre", nn.Identity()).
		Add("blocks", blocks).
		Add("norm", nn.LayerNorm(width, 1e-6)).
		Add("fc_norm", nn.Identity()).
		Add("head_drop", nn.Dropout(0, false)).
		Add("head", nn.Linear(width, classes, true))
	initLayers(root, "Linear", normal(0.02), nn.Fill(0))
	return &Network{Module: root, Size: size, Head: "head", Dropout: "head_drop",
		resize: resizePositions(root.Own()[1], patch, bicubicAntialias)}
}

func timmBlock(width, heads int, layerScale float32) *nn.Module {
	scale := nn.Identity
	if layerScale != 0 {
		scale = func() *nn.Module { return timmLayerScale(width, layerScale) }
	}
	return nn.New("Block", func(m *nn.Module, x nn.Value) nn.Value {
		y := m.Sub("ls1", m.Sub("attn", m.Sub("norm1", x)))
		x = x.Add(m.Sub("drop_path1", y))
		y = m.Sub("ls2", m.Sub("mlp", m.Sub("norm2", x)))
		return x.Add(m.Sub("drop_path2", y))
	}).
		Add("norm1", nn.LayerNorm(width, 1e-6)).
		Add("attn", timmAttention(width, heads)).
		Add("ls1", scale()).
		Add("drop_path1", nn.Identity()).
		Add("norm2", nn.LayerNorm(width, 1e-6)).
		Add("mlp", timmMlp(width, 4*width)).
		Add("ls2", scale()).
		Add("drop_path2", nn.Identity())
}

func timmAttention(width, heads int) *nn.Module {
	return nn.New("Attention", func(m *nn.Module, x nn.Value) nn.Value {
		x = m.Sub("qkv", x).Attend(heads, 1/math.Sqrt(float64(width/heads)))
		return m.Sub("proj_drop", m.Sub("proj", m.Sub("norm", x)))
	}).
		Add("qkv", nn.Linear(width, 3*width, true)).
		Add("q_norm", nn.Identity()).
		Add("k_norm", nn.Identity()).
		Add("attn_drop", nn.Dropout(0, false)).
		Add("norm", nn.Identity()).
		Add("proj", nn.Linear(width, width, true)).
		Add("proj_drop", nn.Dropout(0, false))
}

func timmMlp(width, hidden int) *nn.Module {
	return nn.New("Mlp", nn.Chain).
		Add("fc1", nn.Linear(width, hidden, true)).
		Add("act", nn.Act(graph.GELU, false)).
		Add("drop1", nn.Dropout(0, false)).
		Add("norm", nn.Identity()).
		Add("fc2", nn.Linear(hidden, width, true)).
		Add("drop2", nn.Dropout(0, false))
}

// timmLayerScale scales each feature (https://arxiv.org/abs/2103.17239).
func timmLayerScale(width int, value float32) *nn.Module {
	return nn.New("LayerScale", func(m *nn.Module, x nn.Value) nn.Value {
		return x.Mul(m.Param("gamma", x))
	}).AddParam("gamma", nn.Fill(value), width)
}
