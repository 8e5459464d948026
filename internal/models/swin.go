package models

import (
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// Swin Transformer: Hierarchical Vision Transformer using Shifted Windows,
// https://arxiv.org/abs/2103.14030; Swin Transformer V2: Scaling Up Capacity and Resolution,
// https://arxiv.org/abs/2111.09883. Module names and details are torchvision's.

// A swin is a row of the papers' variants: the first stage's channels, which double from stage to
// stage, blocks and attention heads of each stage, and a side of a window in patches.
type swin struct {
	name          string
	channels      int
	blocks, heads [4]int
	window, size  int
	drop          float64
	v2            bool
}

func init() {
	for _, v := range []swin{
		{"swin_t", 96, [4]int{2, 2, 6, 2}, [4]int{3, 6, 12, 24}, 7, 224, 0.2, false},
		{"swin_s", 96, [4]int{2, 2, 18, 2}, [4]int{3, 6, 12, 24}, 7, 224, 0.3, false},
		{"swin_b", 128, [4]int{2, 2, 18, 2}, [4]int{4, 8, 16, 32}, 7, 224, 0.5, false},
		{"swin_v2_t", 96, [4]int{2, 2, 6, 2}, [4]int{3, 6, 12, 24}, 8, 256, 0.2, true},
		{"swin_v2_s", 96, [4]int{2, 2, 18, 2}, [4]int{3, 6, 12, 24}, 8, 256, 0.3, true},
		{"swin_v2_b", 128, [4]int{2, 2, 18, 2}, [4]int{4, 8, 16, 32}, 8, 256, 0.5, true},
	} {
		register(v.name, v.network)
	}
}

func (v swin) network(classes int) *Network {
	const patch = 4
	features := nn.Sequential(nn.Sequential(
		nn.Conv2d(nn.Conv{In: 3, Out: v.channels, Kernel: nn.Square(patch), Stride: nn.Square(patch)}),
		nn.Permute(0, 2, 3, 1),
		swinNorm(v.channels)))
	total := v.blocks[0] + v.blocks[1] + v.blocks[2] + v.blocks[3]
	channels, done := v.channels, 0
	for i, blocks := range v.blocks {
		if i > 0 {
			features.Append(v.patchMerging(channels))
			channels *= 2
		}
		stage := nn.Sequential()
		for j := range blocks {
			shift := j % 2 * (v.window / 2)
			stage.Append(v.block(channels, v.heads[i], shift, v.drop*float64(done)/float64(total-1)))
			done++
		}
		features.Append(stage)
	}
	root := nn.New("SwinTransformer", nn.Chain).
		Add("features", features).
		Add("norm", swinNorm(channels)).
		Add("permute", nn.Permute(0, 3, 1, 2)).
		Add("avgpool", nn.AdaptiveAvgPool2d(1)).
		Add("flatten", nn.Flatten(1)).
		Add("head", nn.Linear(channels, classes, true))
	initLayers(root, "Linear", normal(0.02), nn.Fill(0))
	return &Network{Module: root, Size: v.size, Head: "head"}
}

func swinNorm(features int) *nn.Module { return nn.LayerNorm(features, 1e-5) }

// typ is the class name of a part, which V2 marks.
func (v swin) typ(name string) string {
	if v.v2 {
		name += "V2"
	}
	return name
}

// patchMerging halves the sides of [N, H, W, C], padded to even ones, and doubles C.
func (v swin) patchMerging(channels int) *nn.Module {
	order, normed := []string{"norm", "reduction"}, 4*channels
	if v.v2 {
		order, normed = []string{"reduction", "norm"}, 2*channels
	}
	return nn.New(v.typ("PatchMerging"), func(m *nn.Module, x nn.Value) nn.Value {
		x = padBottomRight(x, x.Shape[1]%2, x.Shape[2]%2)
		h, w := x.Shape[1], x.Shape[2]
		x = x.Reshape(-1, h/2, 2, w/2, 2, channels).Permute(0, 1, 3, 4, 2, 5).Flatten(3)
		return m.Sub(order[1], m.Sub(order[0], x))
	}).
		Add("reduction", nn.Linear(4*channels, 2*channels, false)).
		Add("norm", swinNorm(normed))
}

// block is a transformer block, with its norms before attention and perceptron, or in V2 after them.
func (v swin) block(channels, heads, shift int, drop float64) *nn.Module {
	attn, mlp := [2]string{"norm1", "attn"}, [2]string{"norm2", "mlp"}
	if v.v2 {
		attn, mlp = [2]string{"attn", "norm1"}, [2]string{"mlp", "norm2"}
	}
	return nn.New(v.typ("SwinTransformerBlock"), func(m *nn.Module, x nn.Value) nn.Value {
		for _, part := range [][2]string{attn, mlp} {
			y := m.Sub(part[1], m.Sub(part[0], x))
			x = x.Add(m.Sub("stochastic_depth", y))
		}
		return x
	}).
		Add("norm1", swinNorm(channels)).
		Add("attn", v.attention(channels, heads, shift)).
		Add("stochastic_depth", nn.StochasticDepth(drop)).
		Add("norm2", swinNorm(channels)).
		Add("mlp", nn.MLP(channels, 4*channels))
}

// attention is self-attention within windows, which in every second block are shifted. PyTorch takes
// the parameters of qkv and proj without calling them.
func (v swin) attention(channels, heads, shift int) *nn.Module {
	m := nn.New(v.typ("ShiftedWindowAttention"), func(m *nn.Module, x nn.Value) nn.Value {
		t := tile(x.Shape, v.window, shift)
		y := t.cut(x)
		if v.v2 {
			y = cosineAttention(m, y, heads, t)
		} else {
			bias := relativePositionBias(m, m.Param("relative_position_bias_table", x), v.window)
			y = m.Child("qkv").Apply(graph.Linear{}, y).
				Attend(heads, 1/math.Sqrt(float64(channels/heads)), t.mask(bias))
		}
		return t.join(m.Child("proj").Apply(graph.Linear{}, y))
	})
	index, side := relativePositions(v.window), 2*v.window-1
	if v.v2 {
		m.AddParam("logit_scale", nn.Fill(float32(math.Log(10))), heads, 1, 1).
			AddBuffer("relative_coords_table", 0, 1, side, side, 2)
		m.Own()[1].Init = relativeCoordinates(v.window)
	} else {
		m.AddParam("relative_position_bias_table", nn.Normal(0.02), side*side, heads)
	}
	m.AddIndex("relative_position_index", index, len(index)).
		Add("qkv", nn.Linear(channels, 3*channels, true)).
		Add("proj", nn.Linear(channels, channels, true))
	if v.v2 {
		m.Add("cpb_mlp", nn.Sequential(nn.Linear(2, 512, true), relu(), nn.Linear(512, heads, false)))
	}
	return m
}

// cosineAttention is V2's (section 3.2), with a continuous position bias (section 3.3). Its keys
// have no bias, whatever the parameter holds.
func cosineAttention(m *nn.Module, x nn.Value, heads int, t tiling) nn.Value {
	g, qkv, c := x.Graph(), m.Child("qkv"), x.Shape[2]
	keyless := slices.Concat(slices.Repeat([]float32{1}, c), make([]float32, c), slices.Repeat([]float32{1}, c))
	bias := qkv.Param("bias", x).Mul(x.Const(keyless, 3*c))
	part := g.Apply(graph.Linear{}, qkv.Own()[:1], x).Add(bias).Chunk(3, 2)
	for i, p := range part[:2] {
		part[i] = g.Apply(graph.L2Norm{Eps: 1e-12}, nil, p.Reshape(-1, p.Shape[1], heads, c/heads))
	}
	scale := g.Apply(graph.Exp{Max: math.Log(100)}, nil, m.Param("logit_scale", x)).Reshape(heads, 1)
	q, k, v := part[0].Mul(scale).Flatten(2), part[1].Flatten(2), part[2]

	table := m.Sub("cpb_mlp", m.Param("relative_coords_table", x)).Reshape(-1, heads)
	table = table.Act(graph.Sigmoid).Mul(x.Const([]float32{16}, 1))
	positions := relativePositionBias(m, table, t.window)
	return g.Apply(graph.Attention{Heads: heads, Scale: 1}, nil, q, k, v, t.mask(positions))
}

// relativeCoordinates fills a table [1, 2p-1, 2p-1, 2] with the offsets (down, right) between
// patches, log-spaced: those of windows of other sizes come close (equation 4 of the second paper).
func relativeCoordinates(p int) nn.Init {
	logSpaced := func(offset int) float32 {
		v := 8 * float64(offset) / float64(p-1)
		return float32(math.Copysign(math.Log2(math.Abs(v)+1)/3, v))
	}
	return func(data []float32, _ func() float64) {
		for i := range len(data) / 2 {
			data[2*i], data[2*i+1] = logSpaced(i/(2*p-1)-p+1), logSpaced(i%(2*p-1)-p+1)
		}
	}
}

// A tiling is how windows lie over [N, H, W, C].
type tiling struct {
	h, w          int    // of the image
	rows, columns int    // of windows
	window        int    // its side
	shift         [2]int // how far down and right of the corner the first window begins
}

// tile covers an image with windows. Where one reaches across the image, it isn't shifted.
func tile(shape []int, window, shift int) tiling {
	t := tiling{h: shape[1], w: shape[2], window: window}
	t.rows, t.columns = (t.h+window-1)/window, (t.w+window-1)/window
	if t.rows > 1 {
		t.shift[0] = shift
	}
	if t.columns > 1 {
		t.shift[1] = shift
	}
	return t
}

// cut gives the windows of all images, one after the other: [N·windows, window², C]. What a shift
// pushes out at the top and left comes in at the bottom and right.
func (t tiling) cut(x nn.Value) nn.Value {
	x = padBottomRight(x, t.rows*t.window-t.h, t.columns*t.window-t.w)
	x = roll(x, -t.shift[0], -t.shift[1])
	return cutWindows(x, t.window).Reshape(-1, t.window*t.window, x.Shape[3])
}

// join is the inverse of cut.
func (t tiling) join(x nn.Value) nn.Value {
	x = roll(joinWindows(x, t.rows, t.columns, t.window), t.shift[0], t.shift[1])
	if x.Shape[1] != t.h || x.Shape[2] != t.w {
		x = x.Slice(1, 0, t.h).Slice(2, 0, t.w)
	}
	return x
}

// mask adds -100 to a bias [1, heads, window², window²] between patches that are neighbours only
// because a shift came in from the other side: [windows, heads, window², window²].
func (t tiling) mask(bias nn.Value) nn.Value {
	if t.shift == [2]int{} {
		return bias
	}
	n := t.window * t.window
	data := make([]float32, 0, t.rows*t.columns*n*n)
	for i := range t.rows * t.columns {
		for a := range n {
			for b := range n {
				var v float32
				if t.wraps(0, i/t.columns, a/t.window) != t.wraps(0, i/t.columns, b/t.window) ||
					t.wraps(1, i%t.columns, a%t.window) != t.wraps(1, i%t.columns, b%t.window) {
					v = -100
				}
				data = append(data, v)
			}
		}
	}
	return bias.Add(bias.Const(data, t.rows*t.columns, 1, n, n))
}

// wraps reports whether the place-th row (axis 0) or column (axis 1) of a window came in from the
// other side.
func (t tiling) wraps(axis, window, place int) bool {
	last := [2]int{t.rows, t.columns}[axis] - 1
	return t.shift[axis] > 0 && window == last && place >= t.window-t.shift[axis]
}

// padBottomRight puts rows and columns of zeros after those of [N, H, W, C].
func padBottomRight(x nn.Value, rows, columns int) nn.Value {
	if rows == 0 && columns == 0 {
		return x
	}
	return x.Graph().Apply(graph.Pad{Sides: []int{0, 0, 0, columns, 0, rows}}, nil, x)
}

// roll shifts the rows and columns of [N, H, W, C], wrapping around.
func roll(x nn.Value, down, right int) nn.Value {
	if down == 0 && right == 0 {
		return x
	}
	return x.Graph().Apply(graph.Roll{Shifts: []int{down, right}, Dims: []int{1, 2}}, nil, x)
}
