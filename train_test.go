package graft_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/checkpoint"
)

// tensors reads what a model saves.
func tensors(t *testing.T, m *graft.Model) map[string][]float32 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	file := must(checkpoint.Open(path))
	defer file.Close()
	all := map[string][]float32{}
	for _, tensor := range file.Tensors() {
		all[tensor.Name] = must(tensor.Float32s())
	}
	return all
}

// recorder notes what progress is told.
type recorder struct {
	calls []string
	done  int
}

func (r *recorder) Start(name string, done, total int64) {
	r.calls = append(r.calls, fmt.Sprint("start ", name, " ", done, "/", total))
}
func (r *recorder) Add(n int)        { r.done += n }
func (r *recorder) Finish()          { r.calls = append(r.calls, "finish") }
func (r *recorder) Note(line string) { r.calls = append(r.calls, "note "+line) }

// TestTrain changes what isn't frozen, and nothing else: neither the trunk's weights nor the running
// statistics of its norms.
func TestTrain(t *testing.T) {
	d := dataset(t)
	m := pretrained(t, "mobilenet_v3_small", 0.2)
	before := must(checkpoint.Open(formulaWeights(t.TempDir(), "mobilenet_v3_small")))
	defer before.Close()
	progress, epochs := &recorder{}, []graft.Epoch(nil)
	run, err := m.Train(t.Context(), d, graft.TrainOptions{Epochs: 3, BatchSize: 5, LR: 0.01, Progress: progress,
		Epoch: func(e graft.Epoch) { epochs = append(epochs, e) }})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"start Computing features 0/27", "finish"}; !slices.Equal(progress.calls, want) || progress.done != 27 {
		t.Errorf("progress is told %q and of %d photos", progress.calls, progress.done)
	}
	if len(run.History) != 3 || !slices.Equal(epochs, run.History) || run.Failed != nil {
		t.Errorf("the history is %+v, %+v were reported; failed: %v", run.History, epochs, run.Failed)
	}
	for i, e := range run.History {
		if e.Epoch != i+1 || !(e.TrainLoss > 0 && e.TestLoss > 0 && e.TrainAcc >= 0 && e.TrainAcc <= 1 && e.TestAcc >= 0 && e.TestAcc <= 1) {
			t.Errorf("epoch %d is %+v", i+1, e)
		}
	}
	after := tensors(t, run.Model)
	changed := 0
	for _, tensor := range before.Tensors() {
		if strings.HasPrefix(tensor.Name, "classifier.3.") {
			changed++
		} else if !slices.Equal(must(tensor.Float32s()), after[tensor.Name]) {
			t.Errorf("%s is frozen and changed", tensor.Name)
		}
	}
	if changed != 2 || len(after["classifier.3.weight"]) != 3*1024 {
		t.Errorf("the head has %d numbers", len(after["classifier.3.weight"]))
	}

	// The run's own predictions are those of the model, and of the last epoch.
	correct := 0
	for i, p := range predict(t, m, d) {
		own := run.Test[i]
		if own.File != p.File || own.Best().Name != p.Best().Name || own.Features != nil {
			t.Errorf("test photo %d is %s, %s in the run; %s, %s to the model", i, own.File, own.Best().Name, p.File, p.Best().Name)
		}
		for j, v := range p.Logits {
			if math.Abs(float64(v-own.Logits[j])) > 1e-5 {
				t.Errorf("%s: logits %v in the run, %v of the model", p.File, own.Logits, p.Logits)
			}
		}
		if p.Best().Index == d.Test[i].Class {
			correct++
		}
	}
	if last := run.History[2]; last.TestAcc != float64(correct)/9 {
		t.Errorf("%d of 9 are right, the last epoch says %v", correct, last.TestAcc)
	}
	evaluation, err := m.Evaluate(t.Context(), d.Test, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last := run.History[2]; evaluation.Accuracy != last.TestAcc || math.Abs(evaluation.Loss-last.TestLoss) > 1e-5 || evaluation.Photos != 9 {
		t.Errorf("evaluating gives %+v, the last epoch %+v", evaluation, last)
	}
}

// TestTrainPartly trains the second half of a network.
func TestTrainPartly(t *testing.T) {
	d := dataset(t)
	m, err := graft.Scratch("tinyvgg", d.Classes)
	if err != nil {
		t.Fatal(err)
	}
	first := tensors(t, trained(t, m, d).Model)
	photo := must(os.ReadFile(d.Test[0].Path))
	before := must(m.Predict(photo))
	if err := m.Freeze("conv_block_1", "conv_block_2.0"); err != nil {
		t.Fatal(err)
	}
	if trainable, frozen := m.Parameters(); trainable != 910+5073 || frozen != 280+910+910 {
		t.Errorf("%d parameters train, %d are frozen", trainable, frozen)
	}
	second := tensors(t, trained(t, m, d).Model)
	for name, values := range first {
		frozen := strings.HasPrefix(name, "conv_block_1.") || strings.HasPrefix(name, "conv_block_2.0.")
		if slices.Equal(values, second[name]) != frozen {
			t.Errorf("%s: frozen %v, and the opposite happened", name, frozen)
		}
	}
	if slices.Equal(before.Logits, must(m.Predict(photo)).Logits) {
		t.Error("it predicts as before it was trained again")
	}
}

// TestRepeatable gives the same bits with any number of threads, with features kept and with those found,
// and other bits with another seed. Features of other weights aren't found.
func TestRepeatable(t *testing.T) {
	t.Setenv("GRAFT_CACHE", t.TempDir())
	d := dataset(t)
	const architecture = "shufflenet_v2_x0_5"
	weights, others := scaledWeights(t.TempDir(), architecture, 1), scaledWeights(t.TempDir(), architecture, 1.1)
	train := func(weights string, threads int, opts graft.TrainOptions) map[string][]float32 {
		m := fromFile(t, architecture, weights, 0.3)
		m.Threads = threads
		opts.Epochs = 2
		run, err := m.Train(t.Context(), d, opts)
		if err != nil {
			t.Fatal(err)
		}
		return tensors(t, run.Model)
	}
	want := train(weights, 1, graft.TrainOptions{Seed: 1})
	for what, got := range map[string]map[string][]float32{
		"three threads":    train(weights, 3, graft.TrainOptions{Seed: 1}),
		"far too many":     train(weights, 1<<30, graft.TrainOptions{Seed: 1}),
		"a cold cache":     train(weights, 2, graft.TrainOptions{Seed: 1, Cache: true}),
		"a warm cache":     train(weights, 1, graft.TrainOptions{Seed: 1, Cache: true}),
		"default settings": train(weights, 1, graft.TrainOptions{Seed: 1, BatchSize: 32, LR: 0.001}),
	} {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: other bits", what)
		}
	}
	if reflect.DeepEqual(train(weights, 1, graft.TrainOptions{Seed: 2, Cache: true}), want) {
		t.Error("another seed gives the same bits")
	}
	if !reflect.DeepEqual(train(others, 1, graft.TrainOptions{Seed: 1, Cache: true}), train(others, 1, graft.TrainOptions{Seed: 1})) {
		t.Error("features of other weights are taken")
	}
}

func TestTrainErrors(t *testing.T) {
	d := few(t)
	two := &graft.Dataset{Classes: d.Classes[:2], Train: d.Train, Test: d.Test}
	frozen := pretrained(t, "squeezenet1_1", 0)
	if err := frozen.Freeze("features", "classifier"); err != nil {
		t.Fatal(err)
	}
	for want, test := range map[string]struct { // by what the error says
		model *graft.Model
		data  *graft.Dataset
		opts  graft.TrainOptions
	}{
		"-1 epochs":                              {pretrained(t, "squeezenet1_1", 0), d, graft.TrainOptions{Epochs: -1}},
		"batch size -5":                          {pretrained(t, "squeezenet1_1", 0), d, graft.TrainOptions{BatchSize: -5}},
		"rate NaN":                               {pretrained(t, "squeezenet1_1", 0), d, graft.TrainOptions{LR: math.NaN()}},
		"rate -0.1":                              {pretrained(t, "squeezenet1_1", 0), d, graft.TrainOptions{LR: -0.1}},
		"has 2 classes and the network's head 3": {pretrained(t, "squeezenet1_1", 0), two, graft.TrainOptions{}},
		"every parameter is frozen":              {frozen, d, graft.TrainOptions{}},
		"no longer a number":                     {pretrained(t, "mobilenet_v3_small", 0), d, graft.TrainOptions{LR: 1e38}},
	} {
		run, err := test.model.Train(t.Context(), test.data, test.opts)
		if err == nil || !strings.Contains(err.Error(), want) || run != nil && run.History == nil {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, dropout := range []float64{1, 2, math.NaN(), math.Inf(1)} {
		m := pretrained(t, "squeezenet1_1", 0)
		if err := m.ReplaceHead(d.Classes, dropout); err == nil || !strings.Contains(err.Error(), "must be below 1") {
			t.Errorf("dropout %v: %v", dropout, err)
		}
	}
}

// TestTrainCancelled returns what there is: nothing before the first epoch, and then the model as the
// last whole one left it.
func TestTrainCancelled(t *testing.T) {
	d := few(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if run, err := pretrained(t, "squeezenet1_1", 0).Train(ctx, d, graft.TrainOptions{}); !errors.Is(err, context.Canceled) || run != nil {
		t.Errorf("before it began: %v", err)
	}

	whole, err := pretrained(t, "squeezenet1_1", 0.2).Train(t.Context(), d, graft.TrainOptions{Epochs: 2, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	run, err := pretrained(t, "squeezenet1_1", 0.2).Train(ctx, d, graft.TrainOptions{Epochs: 9, Seed: 3, Epoch: func(e graft.Epoch) {
		if e.Epoch == 2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || run == nil || len(run.History) != 2 {
		t.Fatalf("in the third epoch: %v", err)
	}
	if !reflect.DeepEqual(tensors(t, run.Model), tensors(t, whole.Model)) {
		t.Error("it isn't what two epochs come to")
	}
	dir := filepath.Join(t.TempDir(), "run")
	if err := run.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	if _, err := graft.Open(dir); err != nil {
		t.Error(err)
	}
}

// TestUndecodable leaves photos out, unless it is to be strict, however often photos are read.
func TestUndecodable(t *testing.T) {
	d := dataset(t)
	bad := []string{d.Train[4].Path, d.Test[2].Path}
	for _, path := range bad {
		if err := os.Truncate(path, 30); err != nil {
			t.Fatal(err)
		}
	}
	readable := func(photos []graft.Photo) []graft.Photo {
		return slices.DeleteFunc(slices.Clone(photos), func(p graft.Photo) bool { return slices.Contains(bad, p.Path) })
	}
	without := &graft.Dataset{Root: d.Root, Classes: d.Classes, Train: readable(d.Train), Test: readable(d.Test)}
	for _, opts := range []graft.TrainOptions{{}, {Augment: "light"}, {Augment: "light", Views: 2}} {
		opts.Epochs = 2
		same := train(t, small(t, "squeezenet1_1", 0), without, opts)
		progress := &recorder{}
		opts.Progress = progress
		run := train(t, small(t, "squeezenet1_1", 0), d, opts)
		photos := 27
		if opts.Views > 0 {
			photos += 17 // the second view
		}
		if len(run.Failed) != 2 || len(progress.calls) != 4 || len(run.Test) != 8 || progress.done != photos {
			t.Fatalf("%+v: %d test photos, failed %v; progress: %q, %d done", opts, len(run.Test), run.Failed, progress.calls, progress.done)
		}
		for i, path := range bad {
			if !strings.HasPrefix(run.Failed[i].Error(), path+": ") || progress.calls[1+i] != "note left out: "+run.Failed[i].Error() {
				t.Errorf("%+v: failed: %v; progress: %q", opts, run.Failed[i], progress.calls[1+i])
			}
		}
		if !reflect.DeepEqual(tensors(t, run.Model), tensors(t, same.Model)) || run.History[1].TestLoss != same.History[1].TestLoss {
			t.Errorf("%+v: leaving photos out isn't as if they weren't there", opts)
		}
		opts.Strict = true
		run, err := small(t, "squeezenet1_1", 0).Train(t.Context(), d, opts)
		if err == nil || !strings.HasPrefix(err.Error(), bad[0]+": ") || run != nil {
			t.Errorf("%+v: strictly: %v", opts, err)
		}
	}
}

// TestVanishingPhoto stops at a photo that could be decoded before, and keeps the epochs until then.
func TestVanishingPhoto(t *testing.T) {
	d := few(t)
	gone := d.Train[1].Path
	content := must(os.ReadFile(gone))
	run, err := tinyVGG(t).Train(t.Context(), d, graft.TrainOptions{Augment: "light", Epoch: func(graft.Epoch) { os.Remove(gone) }})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), gone) || run == nil || len(run.History) != 1 {
		t.Errorf("in the second epoch: %v", err)
	}
	if err := os.WriteFile(gone, content, 0o666); err != nil {
		t.Fatal(err)
	}
	run, err = tinyVGG(t).Train(t.Context(), d, graft.TrainOptions{Augment: "light", Views: 2, Progress: &counting{len(d.Train), func() { os.Remove(gone) }}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "photos changed while they were read: ") || run != nil {
		t.Errorf("in the second view: %v", err)
	}
}

// counting does something when so many photos are done.
type counting struct {
	left int
	do   func()
}

func (c *counting) Start(string, int64, int64) {}
func (c *counting) Finish()                    {}
func (c *counting) Note(string)                {}
func (c *counting) Add(n int) {
	if c.left -= n; c.left == 0 {
		c.do()
	}
}

// TestRunSave writes all of a folder or nothing, and replaces one only if that is wanted.
func TestRunSave(t *testing.T) {
	d := dataset(t)
	run := trained(t, pretrained(t, "squeezenet1_1", 0), d)
	parent := t.TempDir()
	dir := filepath.Join(parent, "deep", "run")
	if err := run.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "mine.txt")
	if err := os.WriteFile(mine, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := run.Save(dir, false); !errors.Is(err, graft.ErrRunExists) || !strings.Contains(err.Error(), dir) {
		t.Errorf("over a run: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}

	// A photo that has gone since doesn't cost the model.
	gone := run.Test[0].File
	content := must(os.ReadFile(gone))
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(parent, "other")
	if err := run.Save(other, false); err != nil {
		t.Errorf("a photo is gone: %v", err)
	}
	if _, err := graft.Open(other); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(gone, content, 0o666); err != nil {
		t.Fatal(err)
	}

	// What saving left that was killed goes, and nothing else does.
	beside := filepath.Dir(dir)
	others := []string{".run-123", ".run.graft-1.graft-5", ".run.graft-mine", ".runs.graft-7"}
	for _, name := range append([]string{".run.graft-123456", ".run.graft-9.old"}, others...) {
		if err := os.Mkdir(filepath.Join(beside, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	others = append(others, filepath.Base(mustWrite(t, filepath.Join(beside, ".run.graft-42"))))
	slices.Sort(others)
	if err := run.Save(dir+"/", true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mine); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the old run held: %v", err)
	}
	var names []string
	for _, e := range must(os.ReadDir(beside)) {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, append(others, "run")) {
		t.Errorf("there are %q, want %q and the run", names, others)
	}
	for _, name := range []string{"curves.png", "predictions.png", "confusion.png"} {
		if data := must(os.ReadFile(filepath.Join(dir, name))); !bytes.HasPrefix(data, []byte("\x89PNG")) {
			t.Errorf("%s begins with %q", name, data[:8])
		}
	}

	if err := run.Save(mustWrite(t, filepath.Join(parent, "file")), true); err == nil {
		t.Error("a file was replaced by a run")
	}
	if err := graft.CheckRunFolder(filepath.Join(parent, "none")); err != nil {
		t.Error(err)
	}
	if err := graft.CheckRunFolder(dir); !errors.Is(err, graft.ErrRunExists) {
		t.Errorf("a run: %v", err)
	}
}

func mustWrite(t *testing.T, path string) string {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}
