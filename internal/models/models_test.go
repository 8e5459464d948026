package models

import (
	"testing"

	"github.com/graft-ml/graft/internal/nn"
)

func count(n *Network) (trainable, frozen int) {
	for _, p := range n.Params() {
		switch {
		case p.Buffer:
		case p.RequiresGrad:
			trainable += p.Numel()
		default:
			frozen += p.Numel()
		}
	}
	return trainable, frozen
}

func TestParameters(t *testing.T) {
	for name, want := range map[string]int{
		"efficientnet_b0": 5288548, "efficientnet_b1": 7794184, "efficientnet_b2": 9109994, "efficientnet_b3": 12233232,
		"efficientnet_b4": 19341616, "efficientnet_b5": 30389784, "efficientnet_b6": 43040704, "efficientnet_b7": 66347960,
		"efficientnet_v2_s": 21458488, "efficientnet_v2_m": 54139356, "efficientnet_v2_l": 118515272,
		"efficientnet_lite0": 4652008,
	} {
		n, err := New(name, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := count(n); got != want {
			t.Errorf("%s has %d parameters, want %d", name, got, want)
		}
	}
	tiny, err := New("tinyvgg", 3)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := count(tiny); got != 8083 {
		t.Errorf("TinyVGG has %d parameters, want 8083", got)
	}
}

func TestReplaceHeadAndFreeze(t *testing.T) {
	n, err := New("efficientnet_b0", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.ReplaceHead(3, 0.2); err != nil {
		t.Fatal(err)
	}
	if err := n.Freeze("features"); err != nil {
		t.Fatal(err)
	}
	if trainable, frozen := count(n); trainable != 3843 || frozen != 4007548 {
		t.Errorf("%d trainable, %d frozen, want 3843 and 4007548", trainable, frozen)
	}
	g, err := nn.Trace(n.Module, 1, 3, 224, 224)
	if err != nil {
		t.Fatal(err)
	}
	_, frontier := g.Split()
	if len(frontier) != 1 || len(frontier[0].Shape) != 2 || frontier[0].Shape[1] != 1280 {
		t.Errorf("the tail reads %v, want the 1280 pooled features", frontier)
	}
}
