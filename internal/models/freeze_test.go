package models

import (
	"strings"
	"testing"
)

func TestFreezePatterns(t *testing.T) {
	for _, test := range []struct {
		model    string
		freeze   string // patterns, by commas
		unfreeze string
		trains   string // some that do and don't afterwards
		frozen   string
	}{
		{"efficientnet_b0", "features", "", "classifier.1.weight", "features.0.0.weight,features.8.1.bias"},
		{"resnet18", "features", "", "fc.weight,fc.bias", "conv1.weight,layer4.1.conv2.weight"},
		{"vit_b_16", "features", "", "heads.head.weight", "class_token,conv_proj.weight,encoder.pos_embedding"},
		{"resnet18", "features", "layer4", "fc.weight,layer4.0.conv1.weight,layer4.1.bn2.bias", "layer3.1.conv2.weight"},
		{"resnet18", "layer[12]", "", "conv1.weight,layer3.0.conv1.weight", "layer1.0.conv1.weight,layer2.1.bn2.weight"},
		{"resnet18", "layer*.*.bn1", "", "bn1.weight,layer1.0.bn2.weight", "layer1.0.bn1.weight,layer4.1.bn1.bias"},
		{"resnet18", "*", "fc", "fc.weight", "conv1.weight,bn1.bias"},
		{"resnet18", "*", "features", "conv1.weight", "fc.weight"},
		{"resnet18", "fc,layer1", "layer1.0", "layer1.0.conv1.weight,conv1.weight", "fc.bias,layer1.1.conv1.weight"},
		{"vit_b_16", "class_token", "", "conv_proj.weight", "class_token"},
		{"vit_b_16", "encoder.layers.encoder_layer_?", "", "encoder.layers.encoder_layer_10.ln_1.weight", "encoder.layers.encoder_layer_9.ln_1.weight"},
	} {
		n, err := New(test.model, 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Freeze(strings.Split(test.freeze, ",")...); err != nil {
			t.Fatal(err)
		}
		if test.unfreeze != "" {
			if err := n.Unfreeze(strings.Split(test.unfreeze, ",")...); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]bool{}
		for name := range strings.SplitSeq(test.trains, ",") {
			want[name] = true
		}
		for name := range strings.SplitSeq(test.frozen, ",") {
			want[name] = false
		}
		for _, p := range n.Params() {
			trains, listed := want[p.Name]
			if listed && p.RequiresGrad != trains {
				t.Errorf("%s, freeze %s, unfreeze %s: %s trains: %v, want %v", test.model, test.freeze, test.unfreeze, p.Name, p.RequiresGrad, trains)
			}
			if p.Buffer && p.RequiresGrad {
				t.Errorf("%s, freeze %s, unfreeze %s: the buffer %s trains", test.model, test.freeze, test.unfreeze, p.Name)
			}
			delete(want, p.Name)
		}
		for name := range want {
			t.Errorf("%s has no parameter %s", test.model, name)
		}
	}
}

func TestFreezeErrors(t *testing.T) {
	for _, test := range []struct{ model, pattern, want string }{
		{"resnet18", "layer5", "did you mean layer1 or layer2 or layer3?"},
		{"resnet18", "backbone", "it consists of conv1, bn1, layer1, layer2, layer3, layer4, fc"},
		{"efficientnet_b0", "features.9", "did you mean features.0"},
		{"resnet18", "layer1.0.conv1.weight.0", "no module"},
		{"resnet18", "", "no module"},
		{"resnet18", "layer[", "syntax error"},
		{"resnet18", "avgpool", "no module with parameters is called \"avgpool\""},
	} {
		n, err := New(test.model, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []func(...string) error{n.Freeze, n.Unfreeze} {
			if err := f(test.pattern); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.model) {
				t.Errorf("%s, %q: error %v, want %q", test.model, test.pattern, err, test.want)
			}
		}
	}
}

func TestTraceErrors(t *testing.T) {
	for _, test := range []struct {
		model string
		shape []int
		want  string // "" for none
	}{
		{"resnet18", []int{2, 3, 64, 32}, ""},
		{"alexnet", []int{1, 3, 32, 32}, "the smallest images that it takes have 63 × 63 pixels"},
		{"tinyvgg", []int{1, 3, 12, 12}, "the smallest images that it takes have 64 × 64 pixels"},
		{"tinyvgg", []int{1, 3, 65, 80}, "it is made for images of 64 × 64 pixels"},
		{"vit_b_16", []int{1, 3, 240, 240}, "it is made for images of 224 × 224 pixels"},
		{"resnet18", []int{1, 1, 64, 64}, "takes inputs of shape [N, 3, H, W]"},
		{"resnet18", []int{64, 64}, "takes inputs of shape [N, 3, H, W]"},
		{"resnet18", []int{0, 3, 64, 64}, "takes inputs of shape [N, 3, H, W]"},
		{"resnet18", []int{1, 3, 64, 1 << 40}, "takes inputs of shape [N, 3, H, W]"},
	} {
		n, err := New(test.model, 3)
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Trace(test.shape...)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s of %v: error %v, want %q", test.model, test.shape, err, test.want)
		}
	}
}
