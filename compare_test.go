package graft

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graft-ml/graft/internal/checkpoint"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/testutil"
)

// quickly shortens measuring and gives the test a cache of its own.
func quickly(t *testing.T) {
	t.Helper()
	before := enough
	enough = time.Millisecond
	t.Cleanup(func() { enough = before })
	t.Setenv("GRAFT_CACHE", t.TempDir())
}

// colours makes a dataset of plain photos, red ones and blue ones.
func colours(t *testing.T) *Dataset {
	t.Helper()
	dir := t.TempDir()
	for class, c := range map[string]color.Color{"red": color.RGBA{200, 0, 0, 255}, "blue": color.RGBA{0, 0, 200, 255}} {
		for i := range 8 {
			part := []string{"train", "test"}[i/6]
			folder := filepath.Join(dir, part, class)
			if err := os.MkdirAll(folder, 0o777); err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(filepath.Join(folder, fmt.Sprintf("%d.jpg", i)))
			if err != nil {
				t.Fatal(err)
			}
			img := image.NewRGBA(image.Rect(0, 0, 40+i, 40))
			draw.Draw(img, img.Rect, image.NewUniform(c), image.Point{}, draw.Src)
			if err := errors.Join(jpeg.Encode(f, img, nil), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	d, err := OpenDataset(dir, DatasetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// writeCheckpoint writes the formula's weights for a network of a thousand classes, but for those whose
// names have the prefix without, if it isn't empty.
func writeCheckpoint(t *testing.T, architecture, without string) string {
	t.Helper()
	network, err := models.New(architecture, 1000)
	if err != nil {
		t.Fatal(err)
	}
	testutil.FormulaWeights(network.Params(), 1)
	var entries []checkpoint.Entry
	for _, p := range network.Params() {
		if !p.Counter && (without == "" || !strings.HasPrefix(p.Name, without)) {
			entries = append(entries, checkpoint.Entry{Name: p.Name, Shape: p.Shape, Data: p.Data})
		}
	}
	path := filepath.Join(t.TempDir(), architecture+".safetensors")
	if err := checkpoint.WriteSafetensors(path, entries, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCompare(t *testing.T) {
	quickly(t)
	data := colours(t)
	out := filepath.Join(t.TempDir(), "compare")
	opts := CompareOptions{Out: out, Threads: 1, Files: map[string]string{"squeezenet1_1": writeCheckpoint(t, "squeezenet1_1", "")},
		Train: TrainOptions{Epochs: 2, BatchSize: 4, Seed: 1}}
	first, err := Compare(t.Context(), data, []string{"tinyvgg", "squeezenet1_1"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkComparisons(t, first, "squeezenet1_1", "tinyvgg")
	for _, r := range first {
		run, err := Open(filepath.Join(out, r.Model))
		if err != nil {
			t.Fatal(err)
		}
		photos, err := OpenPhotos(filepath.Join(data.Root, "test"), run.Classes())
		if err != nil {
			t.Fatal(err)
		}
		e, err := run.Evaluate(t.Context(), photos, nil)
		if err != nil {
			t.Fatal(err)
		}
		if e.Accuracy != r.TestAcc || math.Abs(e.Loss-r.TestLoss) > 1e-4 {
			t.Errorf("the run of %s has accuracy %v and loss %v, the comparison %v and %v", r.Model, e.Accuracy, e.Loss, r.TestAcc, r.TestLoss)
		}
	}
	checkFiles(t, out, first)

	// What is there isn't trained again, and stays where another model is asked for.
	modified := func(model string) time.Time {
		info, err := os.Stat(filepath.Join(out, model, modelFile))
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	before := modified("squeezenet1_1")
	second, err := Compare(t.Context(), data, []string{"squeezenet1_1"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first, second) || !modified("squeezenet1_1").Equal(before) {
		t.Errorf("the second comparison is %+v, the first %+v", second, first)
	}

	// A run folder that is gone is made again, to the same result.
	if err := os.RemoveAll(filepath.Join(out, "tinyvgg")); err != nil {
		t.Fatal(err)
	}
	third, err := Compare(t.Context(), data, []string{"squeezenet1_1", "tinyvgg"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkComparisons(t, third, "squeezenet1_1", "tinyvgg")
	modified("tinyvgg")
	// Rows of one accuracy are in the order of their measured latency, which may differ this time.
	losses := map[string]float64{}
	for _, r := range first {
		losses[r.Model] = r.TestLoss
	}
	for _, r := range third {
		if r.TestLoss != losses[r.Model] {
			t.Errorf("%s has the loss %v, before %v", r.Model, r.TestLoss, losses[r.Model])
		}
	}
	if !modified("squeezenet1_1").Equal(before) {
		t.Error("squeezenet1_1 was trained again")
	}
}

func checkComparisons(t *testing.T, rows []Comparison, models ...string) {
	t.Helper()
	var names []string
	for i, r := range rows {
		names = append(names, r.Model)
		if r.Error != "" || !(r.TestLoss > 0) || r.Params == 0 || !(r.ImagesPerSecond > 0) || !(r.Milliseconds > 0) ||
			!(r.Megabytes > 0) || !(r.Seconds > 0) || r.Threads != 1 {
			t.Errorf("%+v", r)
		}
		if i > 0 && r.TestAcc > rows[i-1].TestAcc {
			t.Errorf("%s comes after %s, which is less accurate", r.Model, rows[i-1].Model)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, models) {
		t.Errorf("models %v, want %v", names, models)
	}
}

// checkFiles compares compare.json and compare.csv with the rows, and looks at compare.png.
func checkFiles(t *testing.T, out string, rows []Comparison) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "compare.json"))
	if err != nil {
		t.Fatal(err)
	}
	var saved struct{ Models []Comparison }
	if err := json.Unmarshal(text, &saved); err != nil || !slices.Equal(saved.Models, rows) {
		t.Errorf("compare.json holds %+v (%v), want %+v", saved.Models, err, rows)
	}
	if text, err = os.ReadFile(filepath.Join(out, "compare.csv")); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil || len(lines) != len(rows)+1 || lines[1][0] != rows[0].Model {
		t.Errorf("compare.csv holds %v (%v)", lines, err)
	}
	f, err := os.Open(filepath.Join(out, "compare.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Errorf("compare.png: %v", err)
	}
}

func TestCompareRefuses(t *testing.T) {
	quickly(t)
	data := colours(t)
	out := t.TempDir()
	opts := CompareOptions{Out: out, Threads: 1, Train: TrainOptions{Epochs: 1, Seed: 1}}
	if _, err := Compare(t.Context(), data, []string{"tinyvgg"}, opts); err != nil {
		t.Fatal(err)
	}
	strange := t.TempDir()
	if err := os.WriteFile(filepath.Join(strange, "thesis.txt"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, comparisonFile), []byte(`{"arguments":`), 0o666); err != nil {
		t.Fatal(err)
	}
	file := writeCheckpoint(t, "tinyvgg", "")
	for name, test := range map[string]struct {
		model  string
		change func(*CompareOptions)
		exists bool
		want   string
	}{
		"seed":       {"tinyvgg", func(o *CompareOptions) { o.Train.Seed = 2 }, true, "seed was 1 and is 2"},
		"epochs":     {"tinyvgg", func(o *CompareOptions) { o.Train.Epochs = 3 }, true, "epochs was 1 and is 3"},
		"lr":         {"tinyvgg", func(o *CompareOptions) { o.Train.LR = 0.01 }, true, "lr was 0.001 and is 0.01"},
		"threads":    {"tinyvgg", func(o *CompareOptions) { o.Threads = 2 }, true, "threads was 1 and is 2"},
		"recipe":     {"tinyvgg", func(o *CompareOptions) { o.Train.Schedule.Name = "cosine" }, true, `schedule was not given and is {"name":"cosine"}`},
		"unfreezing": {"tinyvgg", func(o *CompareOptions) { o.UnfreezeLast = 2 }, true, "unfreeze_last was not given and is 2"},
		"steps":      {"tinyvgg", func(o *CompareOptions) { o.Train.Optimizer = "lion" }, false, `optimizer "lion"`},
		"weights":    {"tinyvgg", func(o *CompareOptions) { o.Files = map[string]string{"tinyvgg": file} }, true, "the weights of tinyvgg were none and are tinyvgg.safetensors"},
		"strange":    {"tinyvgg", func(o *CompareOptions) { o.Out = strange }, true, strange},
		"damaged":    {"tinyvgg", func(o *CompareOptions) { o.Out = damaged }, true, "compare.json is damaged"},
		"name":       {"tinyvg", func(*CompareOptions) {}, false, "did you mean tinyvgg?"},
		"checkpoint": {"tinyvgg", func(o *CompareOptions) { o.Files = map[string]string{"resnet18": file} }, false, "a checkpoint for resnet18, which is none of"},
		"value":      {"tinyvgg", func(o *CompareOptions) { o.Train.Epochs = -1 }, false, "there must be at least one"},
	} {
		changed := opts
		test.change(&changed)
		rows, err := Compare(t.Context(), data, []string{test.model}, changed)
		if err == nil || errors.Is(err, ErrRunExists) != test.exists || !strings.Contains(err.Error(), test.want) || rows != nil {
			t.Errorf("%s: %v, error %v; want %q", name, rows, err, test.want)
		}
	}

	// Other photos of the same number are found out; Force starts over.
	if err := os.Truncate(data.Train[0].Path, 300); err != nil {
		t.Fatal(err)
	}
	if _, err := Compare(t.Context(), data, []string{"tinyvgg"}, opts); err == nil || !strings.Contains(err.Error(), "other photos") {
		t.Errorf("error %v, want one that says there are other photos", err)
	}
	opts.Force, opts.Train.Seed = true, 2
	rows, err := Compare(t.Context(), data, []string{"tinyvgg"}, opts)
	if err != nil || len(rows) != 1 {
		t.Errorf("with Force: %v, error %v", rows, err)
	}
}

// TestCompareGoesOn compares a model that can't be loaded and another, and then the first from a good file.
func TestCompareGoesOn(t *testing.T) {
	quickly(t)
	data := colours(t)
	out := t.TempDir()
	opts := CompareOptions{Out: out, Threads: 1, Train: TrainOptions{Epochs: 1},
		Files: map[string]string{"squeezenet1_1": writeCheckpoint(t, "squeezenet1_0", "")}}
	rows, err := Compare(t.Context(), data, []string{"squeezenet1_1", "tinyvgg"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Model != "tinyvgg" || rows[0].Error != "" || rows[1].Model != "squeezenet1_1" ||
		!strings.Contains(rows[1].Error, "the tensors fit squeezenet1_0") || rows[1].Pareto {
		t.Errorf("%+v", rows)
	}
	checkFiles(t, out, rows)
	opts.Files["squeezenet1_1"] = writeCheckpoint(t, "squeezenet1_1", "")
	if rows, err = Compare(t.Context(), data, []string{"squeezenet1_1"}, opts); err != nil {
		t.Fatal(err)
	}
	checkComparisons(t, rows, "squeezenet1_1", "tinyvgg")
}

// TestCompareInterrupted cancels in the second model.
func TestCompareInterrupted(t *testing.T) {
	quickly(t)
	data := colours(t)
	ctx, cancel := context.WithCancel(t.Context())
	epochs := 0
	opts := CompareOptions{Out: t.TempDir(), Threads: 1, Files: map[string]string{"squeezenet1_1": writeCheckpoint(t, "squeezenet1_1", "")},
		Train: TrainOptions{Epochs: 2, Epoch: func(Epoch) {
			if epochs++; epochs == 3 {
				cancel()
			}
		}}}
	models := []string{"tinyvgg", "squeezenet1_1"}
	rows, err := Compare(ctx, data, models, opts)
	if !errors.Is(err, context.Canceled) || len(rows) != 1 || rows[0].Model != "tinyvgg" {
		t.Fatalf("%+v, error %v", rows, err)
	}
	checkFiles(t, opts.Out, rows)
	if _, err := os.Stat(filepath.Join(opts.Out, "squeezenet1_1")); err == nil {
		t.Error("there is a run folder of a model that wasn't complete")
	}
	opts.Train.Epoch = nil
	if rows, err = Compare(t.Context(), data, models, opts); err != nil {
		t.Fatal(err)
	}
	checkComparisons(t, rows, "squeezenet1_1", "tinyvgg")
}

func TestCompareWithoutFolder(t *testing.T) {
	quickly(t)
	t.Chdir(t.TempDir())
	rows, err := Compare(t.Context(), colours(t), []string{"tinyvgg"}, CompareOptions{Threads: 1, Train: TrainOptions{Epochs: 1}})
	if err != nil {
		t.Fatal(err)
	}
	checkComparisons(t, rows, "tinyvgg")
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 0 {
		t.Errorf("the working folder holds %v (%v)", entries, err)
	}
}

func TestPareto(t *testing.T) {
	c := &comparing{}
	for _, r := range []struct {
		name         string
		accuracy, ms float64
		err          string
	}{
		{"slow", 0.95, 100, ""}, {"failed", 0, 0, "no weights"}, {"beaten", 0.9, 60, ""}, {"middle", 0.92, 50, ""},
		{"equal", 0.92, 50, ""}, {"late", 0.92, 55, ""}, {"fast", 0.5, 1, ""}, {"as slow", 0.94, 100, ""},
	} {
		c.add(Comparison{Model: r.name, TestAcc: r.accuracy, Speed: Speed{Milliseconds: r.ms}, Error: r.err})
	}
	var order, front []string
	for _, r := range c.Models {
		order = append(order, r.Model)
		if r.Pareto {
			front = append(front, r.Model)
		}
	}
	if want := []string{"slow", "as slow", "equal", "middle", "late", "beaten", "fast", "failed"}; !slices.Equal(order, want) {
		t.Errorf("the order is %v, want %v", order, want)
	}
	if want := []string{"slow", "equal", "middle", "fast"}; !slices.Equal(front, want) {
		t.Errorf("the front is %v, want %v", front, want)
	}
}

// TestMeasure measures a model that has no values, which leaves it as it was.
func TestMeasure(t *testing.T) {
	quickly(t)
	m, err := Describe("shufflenet_v2_x0_5", 10)
	if err != nil {
		t.Fatal(err)
	}
	m.Threads = 2
	s, err := m.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !(s.ImagesPerSecond > 0) || !(s.Milliseconds > 0) || s.Threads != 2 {
		t.Errorf("%+v", s)
	}
	for _, p := range m.network.Params() {
		if p.Data != nil {
			t.Fatalf("%s has values", p.Name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Measure(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

// TestFill checks that signals neither vanish nor grow in a deep network whose values are filled in.
func TestFill(t *testing.T) {
	for _, name := range []string{"efficientnet_b0", "mobilenet_v2", "squeezenet1_1", "densenet121"} {
		m, err := Describe(name, 10)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := m.benchPlan()
		if err != nil {
			t.Fatal(err)
		}
		s := newState(plan, 1)
		s.Run()
		sum := 0.0
		for _, v := range s.Output(0) {
			sum += math.Abs(float64(v))
		}
		if !(sum > 1e-6 && sum < 1e20) {
			t.Errorf("%s: the logits add up to %g", name, sum)
		}
	}
}
