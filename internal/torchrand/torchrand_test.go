package torchrand_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/torchrand"
)

// TestPyTorch draws in the order of testdata/make.py: a layer's values, an order, a dropout's mask.
func TestPyTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/torchrand.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Seed         uint64
		Weight, Bias []float32
		Order        []int
		Kept         string
		Next         float64
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		g := torchrand.New(c.Seed)
		layer := nn.Linear(5, 3, true)
		layer.Initialise(g)
		if weight, bias := layer.Own()[0].Data, layer.Own()[1].Data; !slices.Equal(weight, c.Weight) || !slices.Equal(bias, c.Bias) {
			t.Errorf("seed %d: the layer starts from %v and %v, want %v and %v", c.Seed, weight, bias, c.Weight, c.Bias)
		}
		if order := g.Perm(len(c.Order)); !slices.Equal(order, c.Order) {
			t.Errorf("seed %d: the order is %v, want %v", c.Seed, order, c.Order)
		}
		var kept strings.Builder
		for range c.Kept {
			kept.WriteByte("01"[btoi(g.Bernoulli(0.8))])
		}
		if kept.String() != c.Kept {
			t.Errorf("seed %d: dropout keeps other elements", c.Seed)
		}
		if next := g.Uniform(); float32(next) != float32(c.Next) {
			t.Errorf("seed %d: the next number is %v, want %v", c.Seed, next, c.Next)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestState goes on from a state, taken at and away from where the generator renews its numbers.
func TestState(t *testing.T) {
	for _, drawn := range []int{0, 1, 623, 624, 625, 2000} {
		g := torchrand.New(5)
		for range drawn {
			g.Uint32()
		}
		other := torchrand.New(9)
		if err := other.SetState(g.State()); err != nil {
			t.Fatal(err)
		}
		for i := range 1300 {
			if a, b := g.Uint32(), other.Uint32(); a != b {
				t.Fatalf("after %d numbers, number %d is %d and %d", drawn, i, a, b)
			}
		}
	}
	g, state := torchrand.New(5), torchrand.New(6).State()
	state[len(state)-1] = 1
	before := g.State()
	if g.SetState(state) == nil || g.SetState(state[1:]) == nil || g.SetState(nil) == nil || !slices.Equal(g.State(), before) {
		t.Error("a damaged state is taken")
	}
}
