package graft_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/checkpoint"
)

// agree reports whether two models predict the same bits of a photo.
func agree(t *testing.T, a, b *graft.Model, d *graft.Dataset) bool {
	t.Helper()
	photo := must(os.ReadFile(d.Test[0].Path))
	p, err1 := a.Predict(photo)
	q, err2 := b.Predict(photo)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(p, q)
}

// TestSaveAndOpen gives back the model: with every kind of head, replaced or not, and as often as wanted.
func TestSaveAndOpen(t *testing.T) {
	d := few(t)
	scratch, err := graft.Scratch("tinyvgg", d.Classes)
	if err != nil {
		t.Fatal(err)
	}
	published, err := graft.Load(t.Context(), "squeezenet1_1", &graft.LoadOptions{File: formulaWeights(t.TempDir(), "squeezenet1_1")})
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*graft.Model{
		"from nothing":           trained(t, scratch, d).Model,
		"as published":           published,
		"convolution":            trained(t, pretrained(t, "squeezenet1_1", 0.3), d).Model,
		"dropout of its own":     trained(t, pretrained(t, "mobilenet_v3_small", -1), d).Model,
		"other dropout":          trained(t, pretrained(t, "mobilenet_v3_small", 0.7), d).Model,
		"no dropout":             trained(t, pretrained(t, "shufflenet_v2_x0_5", -1), d).Model,
		"dropout where was none": trained(t, pretrained(t, "shufflenet_v2_x0_5", 0.5), d).Model,
	} {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		if err := m.Save(path); err != nil {
			t.Fatal(err)
		}
		opened, err := graft.Open(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !agree(t, m, opened, d) {
			t.Errorf("%s: it predicts other numbers after opening", name)
		}
		if opened.Name() != m.Name() || !slices.Equal(opened.Classes(), m.Classes()) || opened.Transforms() != m.Transforms() ||
			opened.Origin() != m.Origin() || opened.String() != m.String() {
			t.Errorf("%s: opened as %s %q %v\n%s\n%s", name, opened.Name(), opened.Classes(), opened.Origin(), opened.Transforms(), opened)
		}
		again := path + "2"
		if err := opened.Save(again); err != nil {
			t.Fatal(err)
		}
		if name != "as published" && !bytes.Equal(must(os.ReadFile(path)), must(os.ReadFile(again))) {
			t.Errorf("%s: saving what was opened gives another file", name)
		}
	}
}

// TestHeadReplacedTwice saves and opens what the last replacement left.
func TestHeadReplacedTwice(t *testing.T) {
	d := few(t)
	for _, architecture := range []string{"shufflenet_v2_x0_5", "squeezenet1_1"} {
		weights := formulaWeights(t.TempDir(), architecture)
		for _, dropouts := range [][2]float64{{0.5, 0.2}, {0.5, 0}, {0.5, -1}, {0, 0.5}, {-1, 0.5}} {
			m := fromFile(t, architecture, weights, dropouts[0])
			if err := m.ReplaceHead(d.Classes, dropouts[1]); err != nil {
				t.Fatal(err)
			}
			m.FreezeTrunk()
			path := filepath.Join(t.TempDir(), "model.safetensors")
			if err := trained(t, m, d).Model.Save(path); err != nil {
				t.Fatal(err)
			}
			opened, err := graft.Open(path)
			if err != nil {
				t.Errorf("%s, dropout %g, then %g: %v", architecture, dropouts[0], dropouts[1], err)
			} else if !agree(t, m, opened, d) {
				t.Errorf("%s, dropout %g, then %g: it predicts other numbers after opening", architecture, dropouts[0], dropouts[1])
			}
		}
	}
}

// TestPredict has many goroutines predict at once: each gets the same bits as from a file.
func TestPredict(t *testing.T) {
	d := dataset(t)
	m := trained(t, pretrained(t, "mobilenet_v3_small", 0.2), d).Model
	want := predict(t, m, d)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for _, w := range want {
				got, err := m.Predict(must(os.ReadFile(w.File)))
				if err != nil {
					t.Error(err)
					return
				}
				got.File = w.File
				if !reflect.DeepEqual(got, w) {
					t.Errorf("%s alone is %v, among others %v", w.File, got.Best(), w.Best())
				}
			}
		})
		group.Go(func() {
			if _, err := m.PredictFiles(t.Context(), graft.Files(d.Root)); err != nil {
				t.Error(err)
			}
			if _, err := m.Predict([]byte("no photo")); err == nil {
				t.Error("no photo is classified")
			}
		})
	}
	group.Wait()
	for _, p := range want {
		sum := 0.0
		for i, c := range p.Classes {
			sum += c.Probability
			if i > 0 && c.Probability > p.Classes[i-1].Probability || m.Classes()[c.Index] != c.Name {
				t.Errorf("%s: the classes are %v", p.File, p.Classes)
			}
		}
		if math.Abs(sum-1) > 1e-9 || len(p.Logits) != 3 || len(p.Features) != 1024 {
			t.Errorf("%s: probability %v in all, %d logits, %d features", p.File, sum, len(p.Logits), len(p.Features))
		}
	}
}

// TestUntrained models say so, where their head or all of them has no values yet.
func TestUntrained(t *testing.T) {
	d := few(t)
	photo := must(os.ReadFile(d.Train[0].Path))
	scratch, err := graft.Scratch("tinyvgg", d.Classes)
	if err != nil {
		t.Fatal(err)
	}
	described, err := graft.Describe("efficientnet_b0", 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*graft.Model{scratch, described, pretrained(t, "mobilenet_v3_small", 0)} {
		if _, err := m.Predict(photo); err == nil || !strings.Contains(err.Error(), "has no values: train the model first") {
			t.Errorf("%s predicts: %v", m.Name(), err)
		}
	}
}

// damaged writes a model file after a change of its metadata or tensors, and opens it.
func damaged(t *testing.T, path string, change func(meta map[string]any, tensors map[string]*checkpoint.Entry)) error {
	t.Helper()
	file, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var meta map[string]any
	if err := json.Unmarshal([]byte(file.Metadata["graft"]), &meta); err != nil {
		t.Fatal(err)
	}
	tensors := map[string]*checkpoint.Entry{}
	for _, tensor := range file.Tensors() {
		tensors[tensor.Name] = &checkpoint.Entry{Name: tensor.Name, Shape: tensor.Shape, Data: must(tensor.Float32s())}
	}
	change(meta, tensors)
	metadata := map[string]string{"graft": string(must(json.Marshal(meta)))}
	if text, ok := meta["graft"].(string); ok {
		metadata["graft"] = text
	}
	var entries []checkpoint.Entry
	for _, e := range tensors {
		entries = append(entries, *e)
	}
	other := filepath.Join(t.TempDir(), "damaged.safetensors")
	if err := checkpoint.WriteSafetensors(other, entries, metadata); err != nil {
		t.Fatal(err)
	}
	m, err := graft.Open(other)
	if err != nil && (m != nil || !strings.Contains(err.Error(), other)) {
		t.Errorf("an error that doesn't name the file, or comes with a model: %v", err)
	}
	return err
}

// TestDamagedModels are refused, with an error that says what is wrong with which file.
func TestDamagedModels(t *testing.T) {
	d := few(t)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := trained(t, pretrained(t, "shufflenet_v2_x0_5", 0.5), d).Model.Save(path); err != nil {
		t.Fatal(err)
	}
	type tensors = map[string]*checkpoint.Entry
	set := func(key string, value any) func(map[string]any, tensors) {
		return func(meta map[string]any, _ tensors) { meta[key] = value }
	}
	step := func(fields map[string]any) []any {
		return []any{fields, map[string]any{"type": "ToTensor"}}
	}
	for name, test := range map[string]struct {
		change func(meta map[string]any, t tensors)
		want   string
	}{
		"no change":            {func(map[string]any, tensors) {}, ""},
		"no JSON":              {set("graft", "{"), "its metadata is damaged"},
		"another type":         {set("graft", "[1]"), "its metadata is damaged"},
		"a field's type":       {set("classes", 7), "its metadata is damaged"},
		"empty":                {set("graft", "{}"), "has format 0"},
		"a later version":      {set("version", 2), "has format 2, and this version of graft reads 1"},
		"a later transform":    {func(m map[string]any, _ tensors) { m["version"], m["transform"] = 2, "new" }, "has format 2, and this version of graft reads 1"},
		"no architecture":      {set("architecture", ""), `there is no model ""`},
		"another architecture": {set("architecture", "shufflenet_v2_x1_0"), "does not fit"},
		"an unknown one":       {set("architecture", "resnet5"), `there is no model "resnet5"`},
		"no classes":           {set("classes", []string{}), "0 classes"},
		"more classes":         {set("classes", []string{"a", "b", "c", "d"}), "wrong shape"},
		"very many classes":    {set("classes", make([]string, 100_000)), "wrong shape"},
		"another head":         {set("dropout", nil), "missing tensor"},
		"absurd dropout":       {set("dropout", 1.5), "dropout 1.5"},
		"no transform":         {set("transform", []any{}), "metadata is damaged"},
		"null for a transform": {set("transform", nil), "metadata is damaged"},
		"no square":            {set("transform", step(map[string]any{"type": "Resize", "size": []int{64, 32}, "interpolation": "bilinear"})), "64 × 32 pixels"},
		"too large":            {set("transform", step(map[string]any{"type": "CenterCrop", "size": []int{1 << 30, 1 << 30}})), "damaged"},
		"larger than networks": {set("transform", step(map[string]any{"type": "CenterCrop", "size": []int{5000, 5000}})), "5000 pixels"},
		"too small":            {set("transform", step(map[string]any{"type": "CenterCrop", "size": []int{0, 0}})), "damaged"},
		"any size":             {set("transform", step(map[string]any{"type": "Resize", "size": 64, "interpolation": "bilinear"})), "output's size depends on the photo's"},
		"an unknown transform": {set("transform", step(map[string]any{"type": "Execute", "size": 64})), `unknown type "Execute"`},
		"a tensor less":        {func(_ map[string]any, t tensors) { delete(t, "fc.1.bias") }, "1 missing tensor (fc.1.bias)"},
		"a tensor more": {func(_ map[string]any, t tensors) {
			t["fc.2.bias"] = &checkpoint.Entry{Name: "fc.2.bias", Shape: []int{0}}
		}, "1 unexpected tensor (fc.2.bias)"},
		"another shape":         {func(_ map[string]any, t tensors) { t["fc.1.weight"].Shape = []int{1024, 3} }, "1 wrong shape"},
		"an empty tensor":       {func(_ map[string]any, t tensors) { t["fc.1.weight"].Shape, t["fc.1.weight"].Data = []int{0, 1024}, nil }, "1 wrong shape"},
		"trainable of nowhere":  {set("trainable", []string{"nowhere"}), ""},
		"arguments of no sense": {set("arguments", map[string]any{"epochs": -1, "batch_size": 0}), ""},
	} {
		err := damaged(t, path, test.change)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestOpenErrors has files that are no models at all.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"):        "there is no model: name a run folder or a model file",
		dir:                                  "there is no model: name a run folder or a model file",
		formulaWeights(dir, "squeezenet1_1"): "is a checkpoint without graft's metadata",
		write("text", "hello"):               "is neither safetensors nor a PyTorch checkpoint",
		write("empty", ""):                   "is neither safetensors nor a PyTorch checkpoint",
		write("huge", "\xff\xff\xff\xff\xff\xff\xff\x7f{"): "claims a header",
		write("pickle", "\x80\x02cos\nsystem\n."):          "pickle",
	} {
		if m, err := graft.Open(path); err == nil || m != nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", filepath.Base(path), err, want)
		}
	}
}

// TestNotANumber has weights that make no sense: predicting doesn't panic.
func TestNotANumber(t *testing.T) {
	d := few(t)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := trained(t, pretrained(t, "squeezenet1_1", 0), d).Model.Save(path); err != nil {
		t.Fatal(err)
	}
	for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32} {
		file := must(checkpoint.Open(path))
		var entries []checkpoint.Entry
		for _, tensor := range file.Tensors() {
			e := checkpoint.Entry{Name: tensor.Name, Shape: tensor.Shape, Data: must(tensor.Float32s())}
			if e.Name == "features.0.weight" || e.Name == "classifier.1.bias" {
				e.Data[0] = float32(value)
			}
			entries = append(entries, e)
		}
		file.Close()
		other := filepath.Join(t.TempDir(), "model.safetensors")
		if err := checkpoint.WriteSafetensors(other, entries, file.Metadata); err != nil {
			t.Fatal(err)
		}
		m, err := graft.Open(other)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := m.Predict(must(os.ReadFile(d.Test[0].Path))); err != nil || len(p.Classes) != 3 {
			t.Errorf("with %v: %v, %v", value, p.Classes, err)
		}
		// Photos whose outputs aren't finite can't be judged.
		if e, err := m.Evaluate(t.Context(), d.Test[:2], nil); err != nil && !strings.Contains(err.Error(), "finite") {
			t.Errorf("with %v: %v", value, err)
		} else if err == nil {
			must(json.Marshal(e)) // which takes no NaN
		}
	}
}
