package graft_test

import (
	"encoding/csv"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft"
)

// evaluated trains a model, and evaluates it on test photos of which one is damaged and one class is absent.
func evaluated(t *testing.T) (*graft.Evaluation, *graft.Dataset) {
	t.Helper()
	d := dataset(t)
	m := trained(t, pretrained(t, "squeezenet1_1", 0), d).Model
	photos := slices.DeleteFunc(slices.Clone(d.Test), func(p graft.Photo) bool { return p.Class == 1 })
	if err := os.Truncate(photos[0].Path, 10); err != nil {
		t.Fatal(err)
	}
	e, err := m.Evaluate(t.Context(), photos, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e, d
}

func TestEvaluate(t *testing.T) {
	e, _ := evaluated(t)
	if e.Photos != 5 || len(e.Results) != 5 || len(e.Failed) != 1 || e.TopK != 3 || e.TopKAccuracy != 1 {
		t.Errorf("%d photos, %d results, %d failures, top %d: %v", e.Photos, len(e.Results), len(e.Failed), e.TopK, e.TopKAccuracy)
	}
	correct, loss := 0, 0.0
	for _, r := range e.Results {
		if r.Predicted == r.True {
			correct++
		}
		if (r.Predicted == r.True) != (r.Probability == r.TrueProbability) || math.Abs(math.Exp(-r.Loss)-r.TrueProbability) > 1e-12 {
			t.Errorf("it doesn't agree with itself: %+v", r)
		}
		loss += r.Loss
	}
	if e.Accuracy != float64(correct)/5 || math.Abs(e.Loss-loss/5) > 1e-12 {
		t.Errorf("accuracy %v, loss %v; of the results %d of 5 are right, with losses of %v in all", e.Accuracy, e.Loss, correct, loss)
	}
	for i, want := range []int{2, 0, 3} {
		if c := e.PerClass[i]; c.Class != e.Classes[i] || c.Support != want {
			t.Errorf("class %d is %+v, with %d photos", i, c, want)
		}
	}
	top := e.TopLosses(3)
	if len(top) != 3 || top[0].Loss < top[1].Loss || top[1].Loss < top[2].Loss || len(e.TopLosses(100)) != 5 {
		t.Errorf("the highest losses are %+v", top)
	}
	for _, r := range e.Results {
		if r.Loss > top[0].Loss {
			t.Errorf("%s has a higher loss than the highest", r.File)
		}
	}
}

func TestEvaluationJSON(t *testing.T) {
	e, _ := evaluated(t)
	text := must(json.Marshal(e))
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	want := []string{"accuracy", "calibration", "classes", "confusion", "ece", "failed", "failures", "loss", "macro_avg",
		"per_class", "photos", "top_k", "top_k_accuracy", "top_losses", "weighted_avg"}
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("its fields are %q, want %q", names, want)
	}
	if fields["failed"] != 1.0 || len(fields["failures"].([]any)) != 1 || len(fields["top_losses"].([]any)) != 5 {
		t.Errorf("%s", text)
	}
	var back graft.Evaluation
	if err := json.Unmarshal(text, &back); err != nil || back.Macro != e.Macro || !slices.Equal(back.Calibration, e.Calibration) || !slices.Equal(back.PerClass, e.PerClass) {
		t.Errorf("read back it is %+v, %v", back, err)
	}
}

func TestEvaluationSave(t *testing.T) {
	e, d := evaluated(t)
	dir := filepath.Join(t.TempDir(), "new", "folder")
	other := filepath.Join(dir, "notes.txt")
	for range 2 { // the second time photos are gone, and files are replaced
		if err := e.Save(dir); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"confusion.png", "calibration.png", "top_losses.png"} {
			f := must(os.Open(filepath.Join(dir, name)))
			if _, err := png.Decode(f); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			f.Close()
		}
		rows := must(csv.NewReader(must(os.Open(filepath.Join(dir, "predictions.csv")))).ReadAll())
		if len(rows) != 6 || strings.Join(rows[0], " ") != "file true predicted probability true_probability loss" || rows[1][0] != e.Results[0].File {
			t.Errorf("the table is %q", rows)
		}
		var back graft.Evaluation
		if err := json.Unmarshal(must(os.ReadFile(filepath.Join(dir, "evaluation.json"))), &back); err != nil || back.Photos != 5 {
			t.Errorf("%+v, %v", back, err)
		}
		if err := os.WriteFile(other, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(d.Root); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, entry := range must(os.ReadDir(dir)) {
		names = append(names, entry.Name())
	}
	want := []string{"calibration.png", "confusion.png", "evaluation.json", "notes.txt", "predictions.csv", "top_losses.png"}
	if !slices.Equal(names, want) {
		t.Errorf("the folder holds %q, want %q", names, want)
	}
	if err := e.Save(other); err == nil || !strings.Contains(err.Error(), "notes.txt is a file") {
		t.Errorf("into a file: %v", err)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	d := few(t)
	m := trained(t, pretrained(t, "squeezenet1_1", 0), d).Model
	for _, class := range []int{-1, 3} {
		_, err := m.Evaluate(t.Context(), []graft.Photo{d.Test[0], {Path: "last.jpg", Class: class}}, nil)
		if err == nil || !strings.Contains(err.Error(), "last.jpg is of class") {
			t.Errorf("class %d: %v", class, err)
		}
	}
	// Weights so large that outputs overflow.
	huge, err := graft.Load(t.Context(), "resnet18", &graft.LoadOptions{File: scaledWeights(t.TempDir(), "resnet18", 1e30)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := huge.Evaluate(t.Context(), d.Test, nil); err == nil || !strings.Contains(err.Error(), "finite") {
		t.Errorf("outputs that overflow: %v", err)
	}
}
