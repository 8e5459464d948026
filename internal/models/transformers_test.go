package models

import (
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// TestHeadless checks that DINOv2 alone comes without a head.
func TestHeadless(t *testing.T) {
	each(t, 3, func(t *testing.T, n *Network) {
		if want := n.Name == "vit_small_patch14_dinov2"; n.Headless != want {
			t.Errorf("Headless is %v, want %v", n.Headless, want)
		}
	})
}

func TestNumberedLayers(t *testing.T) {
	n, err := New("vit_b_16", 3)
	if err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]string{
		"encoder.layers.encoder_layer_0.mlp.linear_1.weight": "encoder.layers.encoder_layer_0.mlp.0.weight",
		"encoder.layers.encoder_layer_11.mlp.linear_2.bias":  "encoder.layers.encoder_layer_11.mlp.3.bias",
		"encoder.layers.encoder_layer_0.mlp.0.weight":        "encoder.layers.encoder_layer_0.mlp.0.weight",
		"heads.head.weight": "heads.head.weight",
	} {
		if got := n.Rename["torchvision"](old); got != want {
			t.Errorf("%s is called %s, want %s", old, got, want)
		}
	}
}

// TestConstantsStayOffTheFrontier trains one layer of a block with shifted windows: the mask and the
// positions that its attention reads are the same for all images, so they aren't kept with each.
func TestConstantsStayOffTheFrontier(t *testing.T) {
	for _, name := range []string{"swin_t", "swin_v2_t"} {
		n, err := New(name, 3)
		if err != nil {
			t.Fatal(err)
		}
		n.Module.Freeze(true)
		n.Child("features.5.5.attn.qkv").Freeze(false)
		g, err := nn.Trace(n.Module, 1, 3, n.Size, n.Size)
		if err != nil {
			t.Fatal(err)
		}
		_, frontier := g.Split()
		for _, node := range frontier {
			if graph.Numel(node.Shape) != n.Size/16*n.Size/16*384 {
				t.Errorf("%s: the tail reads %T of shape %v", name, node.Op, node.Shape)
			}
		}
		if len(frontier) != 2 {
			t.Errorf("%s: the tail reads %d values, want the block's input and its windows", name, len(frontier))
		}
	}
}

// TestSwinShift compares the mask of shifted windows with a count by hand: of 2 × 2 windows of 2 × 2
// patches, shifted by 1, the first is whole, the second and third fall into halves, and the last
// into four.
func TestSwinShift(t *testing.T) {
	g := &graph.Graph{}
	bias := g.Input(1, 3, 4, 4)
	got := tile([]int{1, 4, 4, 8}, 2, 1).mask(bias)
	if want := []int{4, 3, 4, 4}; !slices.Equal(got.Shape, want) {
		t.Fatalf("the bias has shape %v, want %v", got.Shape, want)
	}
	const o, x = 0, -100
	want := []float32{
		o, o, o, o, o, o, o, o, o, o, o, o, o, o, o, o,
		o, x, o, x, x, o, x, o, o, x, o, x, x, o, x, o,
		o, o, x, x, o, o, x, x, x, x, o, o, x, x, o, o,
		o, x, x, x, x, o, x, x, x, x, o, x, x, x, x, o,
	}
	if mask := got.In[1].Op.(graph.Constant); !slices.Equal(mask.Data, want) {
		t.Errorf("the mask is %v, want %v", mask.Data, want)
	}
	if got := tile([]int{1, 2, 2, 8}, 2, 1).mask(bias); got != bias {
		t.Error("a single window is shifted")
	}
}
