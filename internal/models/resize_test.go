package models

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/torchrand"
)

// TestResizePositions compares resized position embeddings with those of torchvision and timm
// (testdata/positions.py).
func TestResizePositions(t *testing.T) {
	data, err := os.ReadFile("testdata/positions.json")
	if err != nil {
		t.Fatal(err)
	}
	var references map[string][]struct {
		From, To int
		Want     []float64
	}
	if err := json.Unmarshal(data, &references); err != nil {
		t.Fatal(err)
	}
	const features = 2
	for source, interpolate := range map[string]interpolation{"torchvision": bicubicCorners, "timm": bicubicAntialias} {
		if len(references[source]) == 0 {
			t.Fatalf("testdata/positions.json has nothing of %s", source)
		}
		for _, ref := range references[source] {
			n := 1 + ref.From*ref.From
			pos := &graph.Param{Shape: []int{1, n, features}, Data: make([]float32, n*features)}
			for i := range pos.Data {
				pos.Data[i] = float32(math.Sin(float64(i) * 0.7))
			}
			if err := resizePositions(pos, 1, interpolate)(ref.To); err != nil {
				t.Fatal(err)
			}
			if want := []int{1, 1 + ref.To*ref.To, features}; !slices.Equal(pos.Shape, want) || len(pos.Data) != graph.Numel(want) {
				t.Fatalf("%s from %d to %d: %d numbers of shape %v, want %v", source, ref.From, ref.To, len(pos.Data), pos.Shape, want)
			}
			for i, want := range ref.Want {
				if got := float64(pos.Data[i]); math.Abs(got-want) > 3e-6 { // PyTorch's places are float32
					t.Errorf("%s from %d to %d: number %d is %v, want %v", source, ref.From, ref.To, i, got, want)
					break
				}
			}
		}
	}
}

func TestResize(t *testing.T) {
	for _, test := range []struct {
		name string
		size int
		err  string // "" for none
	}{
		{"vit_b_16", 384, ""},
		{"vit_b_16", 16, ""},
		{"vit_b_16", 230, "model vit_b_16: images of 230 pixels don't divide into patches: take a multiple of 16"},
		{"vit_b_16", 5, "take a multiple of 16"},
		{"vit_small_patch14_dinov2", 224, ""},
		{"maxvit_t", 448, ""},
		{"maxvit_t", 256, "take a multiple of 224"},
		{"swin_t", 100, ""},
		{"swin_v2_t", 33, ""},
		{"convnext_tiny", 100, ""},
		{"convnext_tiny", 20, "too small"},
		{"tinyvgg", 100, "model tinyvgg: TinyVGG doesn't take an input of shape"},
		{"swin_t", 0, "outside 1 to 4096"},
		{"swin_t", 1 << 40, "outside 1 to 4096"},
	} {
		n, err := New(test.name, 3)
		if err != nil {
			t.Fatal(err)
		}
		want := test.size
		if test.err != "" {
			want = n.Size
		}
		switch err := n.Resize(test.size); {
		case (err == nil) != (test.err == ""), err != nil && !strings.Contains(err.Error(), test.err):
			t.Errorf("%s to %d: error %v, want %q", test.name, test.size, err, test.err)
		case n.Size != want:
			t.Errorf("%s to %d: Size is %d, want %d", test.name, test.size, n.Size, want)
		}
		if _, err := nn.Trace(n.Module, 1, 3, n.Size, n.Size); err != nil {
			t.Errorf("%s after resizing to %d: %v", test.name, test.size, err)
		}
	}
}

// TestResizeLoaded checks that a resized network keeps the values it holds, interpolated.
func TestResizeLoaded(t *testing.T) {
	n, err := New("vit_tiny_patch16_224", 3)
	if err != nil {
		t.Fatal(err)
	}
	n.Initialise(torchrand.New(1))
	pos := n.Own()[1]
	token := slices.Clone(pos.Data[:192])
	for i := range pos.Data[192:] {
		pos.Data[192+i] = float32(i % 192) // the same for all patches
	}
	if err := n.Resize(160); err != nil {
		t.Fatal(err)
	}
	if len(pos.Data) != 192*(1+10*10) || !slices.Equal(pos.Data[:192], token) {
		t.Fatalf("%d numbers, which begin with %v; want %d and %v", len(pos.Data), pos.Data[:3], 192*101, token[:3])
	}
	for i, got := range pos.Data[192:] {
		if want := float64(i % 192); math.Abs(float64(got)-want) > 1e-4 {
			t.Fatalf("number %d is %v, want %v", i, got, want)
		}
	}
}
