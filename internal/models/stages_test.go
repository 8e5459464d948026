package models

import (
	"slices"
	"testing"
)

func TestStages(t *testing.T) {
	for name, want := range map[string][]string{
		"efficientnet_b0":    {"features.0", "features.3", "features.4", "features.5", "features.6", "features.7", "features.8"},
		"efficientnet_lite0": {"conv_stem", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6", "conv_head"},
		"resnet18":           {"conv1", "layer1", "layer2", "layer3", "layer4.0", "layer4.1"},
		"alexnet":            {"features.0", "features.6", "features.8", "features.10", "classifier.1", "classifier.4"},
		"tinyvgg":            {"conv_block_1.0", "conv_block_1.2", "conv_block_2.0", "conv_block_2.2"},
	} {
		n, err := New(name, 10)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, s := range n.Stages() {
			paths = append(paths, s.Path)
		}
		if !slices.Equal(paths, want) {
			t.Errorf("%s has the stages %v, want %v", name, paths, want)
		}
	}
}

// The stages hold each parameter but the head's once, in order.
func TestStagesHoldTheTrunk(t *testing.T) {
	for _, name := range Names() {
		n, err := New(name, 10)
		if err != nil {
			t.Fatal(err)
		}
		head := n.Child(n.Head).Own()
		trunk := n.Params()
		for _, p := range head {
			i := slices.Index(trunk, p)
			trunk = slices.Delete(trunk, i, i+1)
		}
		for _, s := range n.Stages() {
			for _, p := range s.Params {
				if len(trunk) == 0 || trunk[0] != p {
					t.Fatalf("%s: %s is out of order in stage %s", name, p.Name, s.Path)
				}
				trunk = trunk[1:]
			}
		}
		if len(trunk) != 0 {
			t.Errorf("%s: no stage has %s", name, trunk[0].Name)
		}
	}
}
