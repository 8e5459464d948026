package graft

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"resnet5", `there is no model "resnet5": did you mean resnet50`},
		{"tinyvg", "did you mean tinyvgg?"},
		{"xyz", `there is no model "xyz"; graft models lists them`},
		{"", `there is no model ""`},
		{"resnet50.IMAGENET1K_V7", "there are resnet50.IMAGENET1K_V1, resnet50.IMAGENET1K_V2"},
		{"tinyvgg.IMAGENET1K_V1", `there is no model "tinyvgg.IMAGENET1K_V1"`},
	} {
		_, load := Load(t.Context(), test.name, nil)
		_, or := LoadOrScratch(t.Context(), test.name, []string{"a"}, nil)
		_, pull := Pull(t.Context(), test.name, nil)
		_, describe := Describe(test.name, 0)
		_, compare := Compare(t.Context(), &Dataset{}, []string{test.name}, CompareOptions{})
		for command, err := range map[string]error{"load": load, "load or scratch": or, "pull": pull, "describe": describe, "compare": compare} {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s %q: error %v, want %q", command, test.name, err, test.want)
			}
		}
	}
	for command, err := range map[string]error{
		"load": second(Load(t.Context(), "tinyvgg", nil)),
		"pull": second(Pull(t.Context(), "tinyvgg", nil)),
	} {
		if want := "tinyvgg has no pretrained weights"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", command, err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestEveryEntryFits builds the network of each set of weights at the size of its transforms.
func TestEveryEntryFits(t *testing.T) {
	for _, w := range PretrainedWeights() {
		m, err := Describe(w.Name, 0)
		if err != nil {
			t.Errorf("%s: %v", w.Name, err)
			continue
		}
		height, width := m.InputSize()
		if size := w.Transforms.CropSize; height != size || width != size || m.network.Size != size {
			t.Errorf("%s: %d × %d, the network %d; want %d", w.Name, height, width, m.network.Size, size)
		}
		if _, err := m.trace(1); err != nil {
			t.Errorf("%s: %v", w.Name, err)
		}
	}
}

func TestOtherArchitecture(t *testing.T) {
	for _, test := range []struct{ file, model, want string }{
		{"squeezenet1_0", "squeezenet1_1", "model squeezenet1_1: the tensors fit squeezenet1_0; checkpoint"},
		{"resnet18", "resnet34", "the tensors fit resnet18;"},
		{"tinyvgg", "mobilenet_v2", "the tensors fit tinyvgg;"},
	} {
		_, err := Load(t.Context(), test.model, &LoadOptions{File: writeCheckpoint(t, test.file, "")})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s as %s: error %v, want %q", test.file, test.model, err, test.want)
		}
	}
}

// TestLoadUnpublished loads a checkpoint of a network that has no published weights.
func TestLoadUnpublished(t *testing.T) {
	m, err := LoadOrScratch(t.Context(), "tinyvgg", nil, &LoadOptions{File: writeCheckpoint(t, "tinyvgg", "")})
	if err != nil {
		t.Fatal(err)
	}
	if o := m.Origin(); o.Weights != "tinyvgg" || o.File != "tinyvgg.safetensors" || len(m.Classes()) != 1000 {
		t.Errorf("origin %+v, %d classes", o, len(m.Classes()))
	}
}

func TestResizeModel(t *testing.T) {
	m, err := Describe("resnet18", 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Resize(112); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Resize(size=128,", "CenterCrop(size=(112, 112))"} {
		if got := m.Transforms(); !strings.Contains(got, want) {
			t.Errorf("the transforms are %s, want %s", got, want)
		}
	}
	if g, err := m.trace(1); err != nil || !slices.Equal(g.Inputs[0].Shape, []int{1, 3, 112, 112}) {
		t.Errorf("input %v, error %v", g.Inputs[0].Shape, err)
	}
	for size, want := range map[int]string{0: "size of 0 pixels", -5: "pixels", 5000: "pixels", 1 << 40: "pixels"} {
		if err := m.Resize(size); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to %d: error %v, want %q", size, err, want)
		}
	}
	if height, _ := m.InputSize(); height != 112 || m.network.Size != 112 {
		t.Errorf("after the errors the size is %d, the network's %d", height, m.network.Size)
	}

	small, err := Scratch("alexnet", []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	if err, want := small.Resize(40), "63 × 63"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestTrainResized trains with photos of another size, and opens what was saved.
func TestTrainResized(t *testing.T) {
	data := colours(t)
	m, err := LoadOrScratch(t.Context(), "mobilenet_v3_small", nil, &LoadOptions{File: writeCheckpoint(t, "mobilenet_v3_small", "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.ReplaceHead(data.Classes, 0); err != nil {
		t.Fatal(err)
	}
	m.FreezeTrunk()
	if err := m.Resize(64); err != nil {
		t.Fatal(err)
	}
	run, err := m.Train(t.Context(), data, TrainOptions{Epochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	if err := run.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	opened, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if height, _ := opened.InputSize(); height != 64 {
		t.Errorf("the opened model takes %d pixels", height)
	}
	encoded, err := os.ReadFile(data.Test[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := opened.Predict(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	for _, v := range run.Test[0].Logits {
		want = append(want, float64(v))
	}
	if want[0] == want[1] {
		t.Errorf("the logits are the same: %v", want)
	}
	if e := relative(p.Logits, want); !(e < 1e-4) {
		t.Errorf("logits %v, after training %v", p.Logits, want)
	}

	// What was frozen is known from the file.
	trainable, frozen := m.Parameters()
	if a, b := opened.Parameters(); a != trainable || b != frozen || a == 0 || b == 0 {
		t.Errorf("%d parameters train and %d don't; before saving %d and %d", a, b, trainable, frozen)
	}
}

// TestUntrainableComesFirst checks that what can't be trained is said before a photo is read.
func TestUntrainableComesFirst(t *testing.T) {
	m, err := Scratch("tinyvgg", []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Freeze("*"); err != nil {
		t.Fatal(err)
	}
	absent := Photo{Path: filepath.Join(t.TempDir(), "absent.jpg")}
	data := &Dataset{Classes: []string{"a", "b"}, Train: []Photo{absent}, Test: []Photo{absent}}
	_, err = m.Train(t.Context(), data, TrainOptions{Strict: true})
	if err == nil || strings.Contains(err.Error(), "absent.jpg") || !strings.Contains(err.Error(), "nothing trains") {
		t.Errorf("error %v, want one of the network", err)
	}
}

// TestHeadless loads weights that come without a classifier.
func TestHeadless(t *testing.T) {
	const name = "vit_small_patch14_dinov2"
	m, err := Load(t.Context(), name, &LoadOptions{File: writeCheckpoint(t, name, "head.")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.FeatureLen(); err == nil || !strings.Contains(err.Error(), "head.weight has no values") {
		t.Errorf("error %v, want one that names the head", err)
	}
	if err := m.ReplaceHead([]string{"a", "b"}, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), name, &LoadOptions{File: writeCheckpoint(t, name, "norm.")}); err == nil {
		t.Error("no error where another tensor is missing")
	}
}
