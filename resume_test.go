package graft_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/graft-ml/graft"
)

// snapshot is the content of a folder's files.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

// points reads a run folder's TensorBoard file, of which there must be one: "tag step value" each.
func points(t *testing.T, dir string) (all []string) {
	t.Helper()
	files := must(filepath.Glob(filepath.Join(dir, "events.out.tfevents.*")))
	if len(files) != 1 {
		t.Fatalf("%s has the event files %q", dir, files)
	}
	for data := must(os.ReadFile(files[0])); len(data) > 0; {
		length := binary.LittleEndian.Uint64(data)
		event := fields(data[12 : 12+length])
		data = data[16+length:]
		if summary := event[5]; summary != nil {
			value := fields(fields(summary)[1])
			all = append(all, fmt.Sprintf("%s %v %v", value[1], must(binary.ReadUvarint(strings.NewReader(string(event[2])))),
				math.Float32frombits(binary.LittleEndian.Uint32(value[2]))))
		}
	}
	return all
}

// fields splits a protocol buffers message into the bytes of each field.
func fields(message []byte) map[protowire.Number][]byte {
	all := map[protowire.Number][]byte{}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		message = message[n:]
		n = protowire.ConsumeFieldValue(number, kind, message)
		all[number] = message[:n]
		if kind == protowire.BytesType {
			all[number], _ = protowire.ConsumeBytes(message)
		}
		message = message[n:]
	}
	return all
}

// pointsOf is what a history is in TensorBoard.
func pointsOf(history []graft.Epoch) (all []string) {
	for _, e := range history {
		for _, p := range []struct {
			tag   string
			value float64
		}{{"loss/train", e.TrainLoss}, {"loss/test", e.TestLoss}, {"accuracy/train", e.TrainAcc}, {"accuracy/test", e.TestAcc}, {"lr", e.LR}} {
			all = append(all, fmt.Sprintf("%s %d %v", p.tag, e.Epoch, float32(p.value)))
		}
	}
	return all
}

// stopAt trains until an epoch, and returns the error.
func stopAt(t *testing.T, epoch int, fit func(context.Context, func(graft.Epoch)) (*graft.Run, error)) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := fit(ctx, func(e graft.Epoch) {
		if e.Epoch == epoch {
			cancel()
		}
	})
	return err
}

// equalRuns compares two runs but for the time they took.
func equalRuns(t *testing.T, what string, got, want *graft.Run) {
	t.Helper()
	if !reflect.DeepEqual(tensors(t, got.Model), tensors(t, want.Model)) {
		t.Errorf("%s: other weights", what)
	}
	if !slices.Equal(withoutSeconds(got.History), withoutSeconds(want.History)) || got.Best != want.Best {
		t.Errorf("%s: the history is %+v, best %d; want %+v, best %d", what, got.History, got.Best, want.History, want.Best)
	}
}

// TestRunOfTwo writes the same run folder for a run that was stopped as for one that wasn't, with one
// event file that has all epochs.
func TestRunOfTwo(t *testing.T) {
	d := few(t)
	opts := graft.TrainOptions{Epochs: 3, LR: 0.003}
	want := train(t, tinyVGG(t), d, opts)
	opts.State = filepath.Join(t.TempDir(), "state")
	stopAt(t, 2, func(ctx context.Context, report func(graft.Epoch)) (*graft.Run, error) {
		opts := opts
		opts.Epoch = report
		return tinyVGG(t).Train(ctx, d, opts)
	})
	if list := points(t, opts.State); !slices.Equal(list, pointsOf(want.History[:2])) {
		t.Errorf("while training, TensorBoard gets %q, want %q", list, pointsOf(want.History[:2]))
	}
	opts.Resume = true
	got := train(t, tinyVGG(t), d, opts)
	dirs := [2]string{filepath.Join(t.TempDir(), "got"), filepath.Join(t.TempDir(), "want")}
	if err := errors.Join(got.Save(dirs[0], false), want.Save(dirs[1], false)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if list := points(t, dir); !slices.Equal(list, pointsOf(want.History)) {
			t.Errorf("TensorBoard gets %q, want %q", list, pointsOf(want.History))
		}
	}
	for path, data := range snapshot(t, dirs[1]) {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "events.") || strings.HasPrefix(name, "history.") { // seconds differ
			continue
		}
		if string(must(os.ReadFile(filepath.Join(dirs[0], name)))) != data {
			t.Errorf("%s differs", name)
		}
	}
}

// TestResume comes to the same as if training hadn't been stopped, with other threads too.
func TestResume(t *testing.T) {
	d := dataset(t)
	d.Train, d.Test = slices.Concat(d.Train[:2], d.Train[6:8], d.Train[12:13]), few(t).Test
	for name, opts := range map[string]graft.TrainOptions{
		"adam":         {},
		"sgd":          {Optimizer: "sgd", Momentum: 0.9, Schedule: graft.Schedule{Name: "onecycle"}, EMA: 0.9, Balance: true},
		"augmentation": {Augment: "light,MixUp", Schedule: graft.Schedule{Name: "cosine", Warmup: 1}, Accumulate: 2},
		"views":        {Augment: "light", Views: 3, Monitor: "acc", Patience: 3},
	} {
		opts.Epochs, opts.BatchSize, opts.LR, opts.Seed = 3, 2, 0.003, 5
		want := train(t, tinyVGG(t), d, opts)
		for _, epoch := range []int{1, 2} {
			opts.State = filepath.Join(t.TempDir(), "state")
			err := stopAt(t, epoch, func(ctx context.Context, report func(graft.Epoch)) (*graft.Run, error) {
				opts := opts
				opts.Epoch = report
				return tinyVGG(t).Train(ctx, d, opts)
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			opts := opts
			opts.Resume = true
			m := tinyVGG(t)
			m.Threads = 2*epoch - 1
			var reported []graft.Epoch
			opts.Epoch = func(e graft.Epoch) { reported = append(reported, e) }
			equalRuns(t, fmt.Sprintf("%s stopped after epoch %d", name, epoch), train(t, m, d, opts), want)
			if len(reported) != 3-epoch || reported[0].Epoch != epoch+1 {
				t.Errorf("%s: after epoch %d, %+v are reported", name, epoch, reported)
			}
			if epoch == 2 { // the state is of the end now, where there is nothing left to do
				equalRuns(t, name+" gone on with after its end", train(t, tinyVGG(t), d, opts), want)
			}
		}
	}
}

// TestResumeOther refuses to go on with another training's state, says what differs, and changes nothing.
// It does so before photos are read.
func TestResumeOther(t *testing.T) {
	d := dataset(t)
	state := filepath.Join(t.TempDir(), "state")
	opts := graft.TrainOptions{Epochs: 2, BatchSize: 6, State: state, Augment: "light", Views: 1}
	err := stopAt(t, 1, func(ctx context.Context, report func(graft.Epoch)) (*graft.Run, error) {
		opts := opts
		opts.Epoch = report
		return tinyVGG(t).Train(ctx, d, opts)
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	before := snapshot(t, state)
	for want, change := range map[string]func(m *graft.Model, d *graft.Dataset, o *graft.TrainOptions) error{
		`seed was "0" and is "1"`:                  func(_ *graft.Model, _ *graft.Dataset, o *graft.TrainOptions) error { o.Seed = 1; return nil },
		`learning rate was "0.001" and is "0.002"`: func(_ *graft.Model, _ *graft.Dataset, o *graft.TrainOptions) error { o.LR = 0.002; return nil },
		`batch size was "6" and is "5"`:            func(_ *graft.Model, _ *graft.Dataset, o *graft.TrainOptions) error { o.BatchSize = 5; return nil },
		`optimizer was "adam" and is "adamw"`:      func(_ *graft.Model, _ *graft.Dataset, o *graft.TrainOptions) error { o.Optimizer = "adamw"; return nil },
		`augmentation was "light" and is "trivial"`: func(_ *graft.Model, _ *graft.Dataset, o *graft.TrainOptions) error {
			o.Augment = "trivial"
			return nil
		},
		`views was "1" and is "2"`: func(_ *graft.Model, _ *graft.Dataset, o *graft.TrainOptions) error { o.Views = 2; return nil },
		`class balance was "false" and is "true"`: func(_ *graft.Model, _ *graft.Dataset, o *graft.TrainOptions) error {
			o.Balance = true
			return nil
		},
		`"blue, green, red" and is "cat, dog, owl"`: func(_ *graft.Model, d *graft.Dataset, _ *graft.TrainOptions) error {
			d.Classes = []string{"cat", "dog", "owl"}
			return nil
		},
		"photos was \"18 to train, 9 to test (": func(_ *graft.Model, d *graft.Dataset, _ *graft.TrainOptions) error {
			d.Train = d.Train[:len(d.Train)-1]
			return nil
		},
		`parameters that train was "10 (`: func(m *graft.Model, _ *graft.Dataset, _ *graft.TrainOptions) error {
			return m.Freeze("conv_block_1")
		},
	} {
		m, d, opts := tinyVGG(t), *d, opts
		opts.Resume = true
		if err := change(m, &d, &opts); err != nil {
			t.Fatal(err)
		}
		progress := &recorder{}
		opts.Progress = progress
		run, err := m.Train(t.Context(), &d, opts)
		if err == nil || !strings.Contains(err.Error(), "state.safetensors: the state is of another training: ") || !strings.Contains(err.Error(), want) || run != nil {
			t.Errorf("%s: %v", want, err)
		}
		if progress.calls != nil {
			t.Errorf("%s: photos were read: %q", want, progress.calls)
		}
		if !reflect.DeepEqual(snapshot(t, state), before) {
			t.Errorf("%s: the state changed", want)
		}
	}
	other := pretrained(t, "squeezenet1_1", 0)
	opts.Resume = true
	if _, err := other.Train(t.Context(), d, opts); err == nil || !strings.Contains(err.Error(), `model was "tinyvgg" and is "squeezenet1_1"`) {
		t.Errorf("another network: %v", err)
	}
	if err := os.Truncate(filepath.Join(state, "state.safetensors"), 2000); err != nil {
		t.Fatal(err)
	}
	if _, err := tinyVGG(t).Train(t.Context(), d, opts); err == nil || !strings.Contains(err.Error(), "state.safetensors") {
		t.Errorf("a state that is cut off: %v", err)
	}
}

// TestFinetune trains the head, and then all of the network, as one run.
func TestFinetune(t *testing.T) {
	d := dataset(t)
	d.Train, d.Test = slices.Concat(d.Train[:2], d.Train[6:8], d.Train[12:13]), few(t).Test
	var reported []graft.Epoch
	var parts []int // parameters that train
	m := tinyVGG(t)
	opts := graft.FinetuneOptions{HeadEpochs: 2, TrainOptions: graft.TrainOptions{Epochs: 3, BatchSize: 4, LR: 0.01, Augment: "light,MixUp",
		Epoch: func(e graft.Epoch) {
			reported = append(reported, e)
			trainable, _ := m.Parameters()
			parts = append(parts, trainable)
		}}}
	want, err := m.Finetune(t.Context(), d, opts)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(reported, want.History) || len(reported) != 5 || !slices.Equal(parts, []int{5073, 5073, 8083, 8083, 8083}) {
		t.Errorf("%+v are reported, with %v parameters that train; the history is %+v", reported, parts, want.History)
	}
	for i, e := range want.History {
		if e.Epoch != i+1 || e.LR > 0.01 {
			t.Errorf("epoch %d is %+v", i+1, e)
		}
	}
	if want.Best < 3 || want.History[2].LR > 0.005 || want.History[4].LR > 1e-5 {
		t.Errorf("epoch %d is the best of %+v", want.Best, want.History)
	}
	if a := arguments(t, m); a.Epochs != 3 || a.HeadEpochs != 2 || a.LR != 0.01 || a.LRMult != 0.01 || a.Schedule.Name != "onecycle" || a.Trainable != 8083 {
		t.Errorf("the file says %+v", a)
	}

	// It goes on in either part, and stops between them.
	opts.TrainOptions.Epoch = nil
	for epoch := 1; epoch <= 4; epoch++ {
		opts.State = filepath.Join(t.TempDir(), "state")
		err := stopAt(t, epoch, func(ctx context.Context, report func(graft.Epoch)) (*graft.Run, error) {
			opts := opts
			opts.Epoch = report
			return tinyVGG(t).Finetune(ctx, d, opts)
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		opts := opts
		opts.Resume = true
		before := snapshot(t, opts.State)
		for what, change := range map[string]func(*graft.FinetuneOptions){
			"seed was":                          func(o *graft.FinetuneOptions) { o.Seed = 9 },
			`part was "2 epochs of the head"`:   func(o *graft.FinetuneOptions) { o.HeadEpochs = 3 },
			`decay of averaged weights was "0"`: func(o *graft.FinetuneOptions) { o.EMA = 0.9 },
		} {
			opts := opts
			change(&opts)
			what = strings.Replace(what, `"2`, map[bool]string{true: `"2`, false: `"after 2`}[epoch <= 2], 1)
			if _, err := tinyVGG(t).Finetune(t.Context(), d, opts); err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("after epoch %d, %s: %v", epoch, what, err)
			}
			if !reflect.DeepEqual(snapshot(t, opts.State), before) {
				t.Errorf("after epoch %d, %s: the state changed", epoch, what)
			}
		}
		// Stopped again while it reads the photos for the second part, there is what the head came to, unless
		// the state is further: then the head's values aren't computed again.
		parts := 2
		if epoch > 2 {
			parts = 1
		}
		ctx, cancel := context.WithCancel(t.Context())
		again := opts
		again.Progress = &counting{parts * (len(d.Train) + len(d.Test)), cancel}
		run, err := tinyVGG(t).Finetune(ctx, d, again)
		if !errors.Is(err, context.Canceled) || (run == nil) != (epoch > 2) {
			t.Errorf("stopped after epoch %d and again before the second part: %v, %v", epoch, run, err)
		}
		if run, err = tinyVGG(t).Finetune(t.Context(), d, opts); err != nil {
			t.Fatal(err)
		}
		equalRuns(t, fmt.Sprintf("stopped after epoch %d", epoch), run, want)
	}
}

// TestFinetuneErrors come before the head is trained.
func TestFinetuneErrors(t *testing.T) {
	d := few(t)
	for want, change := range map[string]func(*graft.FinetuneOptions){
		"-1 epochs: ": func(o *graft.FinetuneOptions) { o.HeadEpochs = -1 },
		"did you mean conv_block_1": func(o *graft.FinetuneOptions) {
			o.Unfreeze = func(m *graft.Model) error { return m.Unfreeze("conv_block_9") }
		},
		"every parameter is frozen": func(o *graft.FinetuneOptions) { o.Unfreeze = func(m *graft.Model) error { return m.Freeze("*") } },
		"MixUp and CutMix mix pixels": func(o *graft.FinetuneOptions) {
			o.Augment, o.Unfreeze = "CutMix", func(m *graft.Model) error { return m.Freeze("conv_block_1") }
		},
		`schedule "never": there are`:     func(o *graft.FinetuneOptions) { o.Schedule.Name = "never" },
		"the solver lbfgs makes no steps": func(o *graft.FinetuneOptions) { o.Solver = "lbfgs" },
	} {
		opts := graft.FinetuneOptions{TrainOptions: graft.TrainOptions{Epoch: func(e graft.Epoch) { t.Errorf("%s: epoch %d was trained", want, e.Epoch) }}}
		change(&opts)
		if run, err := tinyVGG(t).Finetune(t.Context(), d, opts); err == nil || !strings.Contains(err.Error(), want) || run != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}
