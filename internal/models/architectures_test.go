package models

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/weights"
)

// unpublished are the architectures that neither torchvision nor timm has.
var unpublished = []string{"tinyvgg"}

// each runs a test for every architecture, built for so many classes.
func each(t *testing.T, classes int, test func(t *testing.T, n *Network)) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			n, err := New(name, classes)
			if err != nil {
				t.Fatal(err)
			}
			test(t, n)
		})
	}
}

// TestStateDicts compares every name, shape and type of the state dict and every module with what
// PyTorch prints (testdata/state_dicts.py).
func TestStateDicts(t *testing.T) {
	type reference struct {
		Tensors, Params int
		StateDict       string `json:"state_dict"`
		Modules         string
	}
	data, err := os.ReadFile("testdata/state_dicts.json")
	if err != nil {
		t.Fatal(err)
	}
	var references map[string]reference
	if err := json.Unmarshal(data, &references); err != nil {
		t.Fatal(err)
	}
	each(t, 1000, func(t *testing.T, n *Network) {
		want, ok := references[n.Name]
		if !ok {
			if !slices.Contains(unpublished, n.Name) {
				t.Fatalf("testdata/state_dicts.json lacks %s", n.Name)
			}
			return
		}
		got := reference{Tensors: len(n.Params())}
		var state, modules strings.Builder
		for _, p := range n.Params() {
			dtype := "float32"
			if p.Counter || p.Index != nil {
				dtype = "int64"
			}
			fmt.Fprintln(&state, p.Name, p.Shape, dtype)
			if !p.Buffer {
				got.Params += p.Numel()
			}
		}
		for path, m := range n.Walk() {
			if path != "head_drop" { // a function in most of timm's networks
				fmt.Fprintf(&modules, "%s %s(%s)\n", path, m.Type, m.Extra)
			}
		}
		got.StateDict, got.Modules = digest(state.String()), digest(modules.String())
		if got == want {
			return
		}
		t.Errorf("%d tensors, %d parameters, want %d, %d", got.Tensors, got.Params, want.Tensors, want.Params)
		if got.StateDict != want.StateDict {
			t.Errorf("the state dict differs: %s", difference(n.Name+".state_dict", state.String()))
		}
		if got.Modules != want.Modules {
			t.Errorf("the modules differ: %s", difference(n.Name+".modules", modules.String()))
		}
	})
}

// TestRegistry compares each model with what the registry says of its default weights.
func TestRegistry(t *testing.T) {
	// timm evaluates these on larger images than TensorFlow trained them on.
	enlarged := []string{"efficientnet_lite3", "efficientnet_lite4"}
	for _, e := range weights.All() {
		if !e.Default {
			continue
		}
		n, err := New(e.Model, 1000)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if n.resize == nil && n.Size != e.Transforms.CropSize && !slices.Contains(enlarged, n.Name) {
			t.Errorf("%s takes images of %d pixels, its weights were made for %d", n.Name, n.Size, e.Transforms.CropSize)
		}
		if err := n.Resize(e.Transforms.CropSize); err != nil {
			t.Error(err)
			continue
		}
		if n.Headless {
			continue
		}
		if got, _ := count(n); int64(got) != e.Params {
			t.Errorf("%s has %d parameters, its weights %d", n.Name, got, e.Params)
		}
	}
}

func TestNewSuggests(t *testing.T) {
	for name, want := range map[string]string{
		"resnet_50":    `there is no model "resnet_50": did you mean resnet50 or`,
		"MobileNet_V2": `there is no model "MobileNet_V2": did you mean mobilenet_v2`,
		"unheard-of":   `there is no model "unheard-of"; graft models lists them`,
	} {
		if _, err := New(name, 3); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New(%q): %v, want %s…", name, err, want)
		}
	}
}

// TestRename checks the names that published checkpoints have and the modules have not.
func TestRename(t *testing.T) {
	for _, test := range []struct{ model, name, want string }{
		{"densenet121", "features.denseblock1.denselayer2.norm.1.running_mean", "features.denseblock1.denselayer2.norm1.running_mean"},
		{"densenet121", "features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"},
		{"densenet121", "features.transition1.norm.weight", "features.transition1.norm.weight"},
		{"densenet121", "classifier.weight", "classifier.weight"},
		{"googlenet", "aux1.fc2.weight", ""},
		{"googlenet", "aux2.conv.bn.num_batches_tracked", ""},
		{"googlenet", "inception3a.branch1.conv.weight", "inception3a.branch1.conv.weight"},
	} {
		n, err := New(test.model, 1000)
		if err != nil {
			t.Fatal(err)
		}
		got := n.Rename["torchvision"](test.name)
		if got != test.want {
			t.Errorf("%s: %s is %q, want %q", test.model, test.name, got, test.want)
		}
		if got != "" && !slices.ContainsFunc(n.Params(), func(p *graph.Param) bool { return p.Name == got }) {
			t.Errorf("%s has no tensor %s", test.model, got)
		}
	}
}

// TestInit checks that layers start with the spread that torchvision gives them.
func TestInit(t *testing.T) {
	for _, test := range []struct {
		model, param string
		deviation    float64
	}{
		{"resnet18", "layer1.0.conv1.weight", math.Sqrt(2. / (64 * 9))},
		{"resnet18", "fc.weight", 1 / math.Sqrt(3*512)},
		{"densenet121", "features.denseblock1.denselayer1.conv2.weight", math.Sqrt(2. / (128 * 9))},
		{"densenet121", "classifier.bias", 0},
		{"squeezenet1_1", "features.4.expand3x3.weight", math.Sqrt(2. / (16 * 9))},
		{"squeezenet1_1", "classifier.1.weight", 0.01},
		{"mnasnet1_0", "classifier.1.weight", 1 / math.Sqrt(1000)},
		{"regnet_y_400mf", "trunk_output.block4.block4-0.f.se.fc1.bias", 1 / math.Sqrt(3*440)},
		{"inception_v3", "fc.weight", 0.1},
		{"inception_v3", "AuxLogits.fc.weight", 0.001},
	} {
		n, err := New(test.model, 1000)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(n.Params(), func(p *graph.Param) bool { return p.Name == test.param })
		if i < 0 {
			t.Errorf("%s has no tensor %s", test.model, test.param)
			continue
		}
		p := n.Params()[i]
		p.Data = make([]float32, p.Numel())
		p.Init(p.Data, rand.New(rand.NewPCG(1, 2)).Float64)
		var sum, squares float64
		for _, v := range p.Data {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		numel := float64(p.Numel())
		within := 5 * test.deviation / math.Sqrt(numel) // five standard errors of the mean
		if got := math.Sqrt(squares / numel); math.Abs(sum/numel) > within || math.Abs(got-test.deviation) > within {
			t.Errorf("%s of %s has mean %.3g and deviation %.4g, want 0 and %.4g", test.param, test.model, sum/numel, got, test.deviation)
		}
	}
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// difference describes where the text differs from the reference in a file that
// state_dicts.py --full wrote.
func difference(file, got string) string {
	dir := os.Getenv("GRAFT_STATE_DICTS")
	if dir == "" {
		return "run testdata/state_dicts.py --full DIR and set GRAFT_STATE_DICTS=DIR to see where"
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return err.Error()
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(data), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			return fmt.Sprintf("line %d is\n%s\nwant\n%s", i+1, gotLines[i], wantLines[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(gotLines), len(wantLines))
}

func TestTrace(t *testing.T) {
	each(t, 7, func(t *testing.T, n *Network) {
		g, err := nn.Trace(n.Module, 2, 3, n.Size, n.Size)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{2, 7}; !slices.Equal(g.Output.Shape, want) {
			t.Errorf("the output has shape %v, want %v", g.Output.Shape, want)
		}
		var last string
		for _, node := range g.Nodes {
			if len(node.Params) > 0 {
				last = node.Path
			}
		}
		if last != n.Head {
			t.Errorf("the last layer is %q, but Head is %q", last, n.Head)
		}
	})
}

// TestLeastInput compares with torchvision's min_size.
func TestLeastInput(t *testing.T) {
	for name, want := range map[string]int{
		"alexnet": 63, "densenet121": 29, "googlenet": 15, "inception_v3": 75, "resnet18": 1,
		"squeezenet1_0": 21, "squeezenet1_1": 17, "vgg11": 32,
	} {
		n, err := New(name, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if got := nn.LeastInput(n.Module, 3); got != want {
			t.Errorf("%s takes images from %d pixels on, want %d", name, got, want)
		}
	}
}

func TestReplaceHead(t *testing.T) {
	each(t, 1000, func(t *testing.T, n *Network) {
		if err := n.ReplaceHead(3, 0.3); err != nil {
			t.Fatal(err)
		}
		if drop := n.Child(n.Dropout); drop == nil || !strings.HasPrefix(drop.Extra, "p=0.3,") {
			t.Errorf("module %q is no Dropout of 0.3", n.Dropout)
		}
		n.FreezeTrunk()
		var trainable []string
		for _, p := range n.Params() {
			if p.RequiresGrad {
				trainable = append(trainable, p.Name)
			}
		}
		if want := []string{n.Head + ".weight", n.Head + ".bias"}; !slices.Equal(trainable, want[:len(n.Child(n.Head).Own())]) {
			t.Errorf("%v train, want %v", trainable, want)
		}
		g, err := nn.Trace(n.Module, 1, 3, n.Size, n.Size)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{1, 3}; !slices.Equal(g.Output.Shape, want) {
			t.Errorf("the output has shape %v, want %v", g.Output.Shape, want)
		}
	})
}
