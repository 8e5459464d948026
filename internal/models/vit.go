package models

import (
	"fmt"
	"math"
	"strings"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// Vision Transformer: An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale,
// https://arxiv.org/abs/2010.11929. Module names and details are torchvision's.

// Table 1 of the paper; the name's last number is the patch size.
func init() {
	for _, v := range []struct {
		name                              string
		patch, layers, hidden, mlp, heads int
	}{
		{"vit_b_16", 16, 12, 768, 3072, 12},
		{"vit_b_32", 32, 12, 768, 3072, 12},
		{"vit_l_16", 16, 24, 1024, 4096, 16},
		{"vit_l_32", 32, 24, 1024, 4096, 16},
		{"vit_h_14", 14, 32, 1280, 5120, 16},
	} {
		register(v.name, func(classes int) *Network {
			return visionTransformer(v.patch, v.layers, v.hidden, v.mlp, v.heads, classes)
		})
	}
}

func visionTransformer(patch, layers, hidden, mlp, heads, classes int) *Network {
	const size = 224
	grid := size / patch
	blocks := nn.New("Sequential", nn.Chain)
	for i := range layers {
		blocks.Add(fmt.Sprintf("encoder_layer_%d", i), encoderBlock(hidden, mlp, heads))
	}
	encoder := nn.New("Encoder", func(m *nn.Module, x nn.Value) nn.Value {
		return nn.Chain(m, x.Add(m.Param("pos_embedding", x)))
	}).
		AddParam("pos_embedding", nn.Normal(0.02), 1, 1+grid*grid, hidden).
		Add("dropout", nn.Dropout(0, false)).
		Add("layers", blocks).
		Add("ln", nn.LayerNorm(hidden, 1e-6))

	proj := nn.Conv2d(nn.Conv{In: 3, Out: hidden, Kernel: nn.Square(patch), Stride: nn.Square(patch)})
	initLayers(proj, "Conv2d", func(shape []int) nn.Init { return nn.Normal(math.Sqrt(1 / fanIn(shape))) }, nn.Fill(0))
	head := nn.Linear(hidden, classes, true)
	initLayers(head, "Linear", func([]int) nn.Init { return nn.Fill(0) }, nn.Fill(0))

	root := nn.New("VisionTransformer", func(m *nn.Module, x nn.Value) nn.Value {
		x = m.Sub("conv_proj", x).Flatten(2).Permute(0, 2, 1)
		x = prependToken(m.Param("class_token", x), x)
		return m.Sub("heads", classToken(m.Sub("encoder", x)))
	}).
		AddParam("class_token", nn.Fill(0), 1, 1, hidden).
		Add("conv_proj", proj).
		Add("encoder", encoder).
		Add("heads", nn.New("Sequential", nn.Chain).Add("head", head))
	return &Network{Module: root, Size: size, Head: "heads.head",
		Rename: map[string]func(string) string{"torchvision": numberedLayers},
		resize: resizePositions(encoder.Own()[0], patch, bicubicCorners)}
}

func encoderBlock(hidden, mlp, heads int) *nn.Module {
	perceptron := nn.MLP(hidden, mlp)
	perceptron.Type = "MLPBlock"
	initLayers(perceptron, "Linear", func(shape []int) nn.Init { return nn.XavierUniform(shape[1], shape[0]) }, nn.Normal(1e-6))
	return nn.New("EncoderBlock", func(m *nn.Module, x nn.Value) nn.Value {
		y := m.Sub("self_attention", m.Sub("ln_1", x))
		x = m.Sub("dropout", y).Add(x)
		return x.Add(m.Sub("mlp", m.Sub("ln_2", x)))
	}).
		Add("ln_1", nn.LayerNorm(hidden, 1e-6)).
		Add("self_attention", nn.MultiheadAttention(hidden, heads)).
		Add("dropout", nn.Dropout(0, false)).
		Add("ln_2", nn.LayerNorm(hidden, 1e-6)).
		Add("mlp", perceptron)
}

// numberedLayers gives the names of torchvision's older checkpoints, in which the layers of an MLP
// had names: linear_1 and linear_2 are 0 and 3 now.
func numberedLayers(name string) string {
	return strings.NewReplacer(".mlp.linear_1.", ".mlp.0.", ".mlp.linear_2.", ".mlp.3.").Replace(name)
}

// prependToken puts a token [1, 1, C] before each sample's sequence x [N, L, C].
func prependToken(token, x nn.Value) nn.Value {
	g := x.Graph()
	return graph.Cat(1, g.Apply(graph.Expand{Shape: []int{x.Shape[0], 1, x.Shape[2]}}, nil, token), x)
}

// classToken takes the first token of each sample: [N, L, C] to [N, C].
func classToken(x nn.Value) nn.Value { return x.Slice(1, 0, 1).Flatten(1) }
