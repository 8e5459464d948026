package graft

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/tensorboard"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/train"
)

// An Epoch is what a pass over the training photos came to. Losses are means over photos, accuracies
// shares of all photos: for train while training, with dropout active; for test after the epoch.
type Epoch = train.Epoch

// A Run is what training came to.
type Run struct {
	Model   *Model
	History []Epoch
	Best    int          // the epoch that was the best by [TrainOptions].Monitor
	Failed  []error      // photos that couldn't be decoded, and were left out
	Test    []Prediction // of the test photos, by the trained model
	truth   []int        // their classes

	Solution *Solution // of a solver, nil for training by steps

	best  train.Weights // after the best epoch
	state string        // the folder that was given for the state
}

// Train fits the parameters that aren't frozen, with cross-entropy. The values that the frozen part of
// the network has for each photo are computed once, before the first epoch, unless photos are augmented
// anew for each.
//
// When ctx is cancelled, Train returns its error; the run isn't nil if an epoch was completed, and
// holds the model as the last one left it.
func (m *Model) Train(ctx context.Context, d *Dataset, opts TrainOptions) (*Run, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	if len(d.Classes) != m.outputs() {
		return nil, fmt.Errorf("the data has %d classes and the network's head %d: replace the head", len(d.Classes), m.outputs())
	}
	random := torchrand.New(opts.Seed)
	m.network.Initialise(random)
	m.network.Norms = nn.NormMode(opts.Norms)
	defer m.changed()
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	set := options.Kernels
	build := m.builder(set)
	if _, err := build(1); err != nil { // before hours of features, not after
		return nil, fmt.Errorf("model %s: %w", m.Name(), err)
	}
	v, err := m.values(ctx, d, options, &opts)
	if err != nil {
		return nil, err
	}
	if v.train.Len() == 0 || v.test.Len() == 0 {
		return nil, errors.Join(append([]error{errors.New("no photo is left to train or test with")}, v.failed...)...)
	}
	run := &Run{Model: m, Failed: v.failed, state: opts.State}
	var stopped error
	if opts.Solver != "" {
		stopped = m.solve(ctx, run, v, set, build, opts)
	} else {
		stopped = m.fit(ctx, run, v, d, random, build, opts)
	}
	if len(run.History) == 0 {
		return nil, stopped
	}
	trainable, frozen := m.Parameters()
	if opts.Optimizer == "" {
		opts.Optimizer = "adam"
	}
	opts.Epochs = len(run.History)
	m.trained = &Arguments{Data: filepath.Base(filepath.Clean(d.Root)), TrainOptions: opts, Trainable: trainable, Frozen: frozen,
		Train: v.train.Len(), Test: v.test.Len(), Kernels: set.Name,
		Precision: string(cmp.Or(m.Precision, FP32)), Version: Version()}
	logits, err := train.Logits(context.WithoutCancel(ctx), build, &v.test, opts.BatchSize)
	if err != nil {
		return nil, err
	}
	run.truth = v.test.Labels
	for i, path := range v.paths {
		run.Test = append(run.Test, m.prediction(path, logits[i*len(m.classes):(i+1)*len(m.classes)], nil))
	}
	return run, stopped
}

// builder returns what makes the trainable part of the network for a batch size.
func (m *Model) builder(set *kernels.Set) train.Builder {
	var memory autograd.Memory
	return func(batch int) (train.Net, error) {
		g, err := m.trace(batch)
		if err != nil {
			return nil, err
		}
		return memory.New(g, set, m.threads())
	}
}

// fit trains by steps.
func (m *Model) fit(ctx context.Context, run *Run, v *values, d *Dataset, random *torchrand.Generator, build train.Builder, opts TrainOptions) error {
	cfg := m.config(v, random, opts)
	log := func(Epoch) error { return nil }
	if opts.State != "" {
		board, err := tensorboard.Create(opts.State)
		if err != nil {
			return err
		}
		defer board.Close()
		log = func(e Epoch) error { return logEpoch(board, e) }
		path := filepath.Join(opts.State, stateFile)
		_, err = os.Stat(path)
		cfg.State = train.StateConfig{Path: path, Resume: opts.Resume && err == nil, Description: m.describe(d, opts)}
	}
	var unlogged error
	result, stopped := train.Fit(ctx, build, v.train, &v.test, cfg, func(e Epoch) {
		unlogged = errors.Join(unlogged, log(e))
		if opts.Epoch != nil {
			opts.Epoch(e)
		}
	})
	run.History, run.Best, run.best = result.History, result.Best, result.Weights
	return errors.Join(stopped, unlogged)
}

// config is what training by steps needs of the options.
func (m *Model) config(v *values, random *torchrand.Generator, o TrainOptions) train.Config {
	cfg := train.Config{
		Epochs: o.Epochs, BatchSize: o.BatchSize, Classes: m.outputs(), Random: random,
		Optimizer: train.OptimizerConfig{Name: o.Optimizer, LR: o.LR, WeightDecay: o.WeightDecay, SpareVectors: true,
			Momentum: o.Momentum, Nesterov: o.Nesterov},
		Schedule: o.Schedule,
		Loss:     train.CrossEntropy{LabelSmoothing: o.LabelSmoothing},
		ClipNorm: o.ClipNorm, Accumulate: o.Accumulate, EMA: o.EMA, Monitor: o.Monitor, Patience: o.Patience,
		Mix: v.mix, Workers: m.threads(),
	}
	if o.Balance {
		labels := make([]int, v.train.Len())
		for i := range labels {
			labels[i] = v.train.Label(i)
		}
		cfg.Loss.Weight = train.Balanced(labels, m.outputs())
	}
	if o.LRMult != 0 && o.LRMult != 1 {
		scales := rateScales(m.network, o.LRMult)
		cfg.Optimizer.LRScale = func(p *graph.Param) float64 { return scales[p] }
	}
	return cfg
}

// stateFile is the file in a state's folder from which training can go on.
const stateFile = "state.safetensors"

// logEpoch writes an epoch's figures to a TensorBoard event file.
func logEpoch(w *tensorboard.Writer, e Epoch) error {
	var err error
	for _, s := range []struct {
		tag   string
		value float64
	}{{"loss/train", e.TrainLoss}, {"loss/test", e.TestLoss}, {"accuracy/train", e.TrainAcc}, {"accuracy/test", e.TestAcc}, {"lr", e.LR}} {
		err = errors.Join(err, w.Scalar(s.tag, int64(e.Epoch), s.value))
	}
	return err
}

// describe says what is trained on what, so that another training can't go on from this one's state.
func (m *Model) describe(d *Dataset, opts TrainOptions) map[string]string {
	photos := sha256.New()
	for _, list := range [][]Photo{d.Train, d.Test} {
		fmt.Fprintln(photos, len(list))
		for _, p := range list {
			path, err := filepath.Rel(d.Root, p.Path)
			if err != nil {
				path = p.Path
			}
			var size int64
			if info, err := os.Stat(p.Path); err == nil {
				size = info.Size()
			}
			fmt.Fprintln(photos, filepath.ToSlash(path), size, p.Class)
		}
	}
	var trainable []string
	for _, p := range m.network.Params() {
		if p.RequiresGrad {
			trainable = append(trainable, p.Name)
		}
	}
	set := ""
	if best, err := kernels.Best(); err == nil {
		set = best.Name
	}
	return map[string]string{
		"photos":                  fmt.Sprintf("%d to train, %d to test (%.8x)", len(d.Train), len(d.Test), photos.Sum(nil)),
		"classes":                 strings.Join(d.Classes, ", "),
		"model":                   m.Name(),
		"weights":                 fmt.Sprintf("%s %s", m.origin.Weights, m.origin.File),
		"transforms":              m.Transforms(),
		"parameters that train":   fmt.Sprintf("%d (%.8x)", len(trainable), sha256.Sum256([]byte(strings.Join(trainable, "\n")))),
		"seed":                    fmt.Sprint(opts.Seed),
		"augmentation":            opts.Augment,
		"views":                   fmt.Sprint(opts.Views),
		"norms":                   opts.Norms,
		"learning rate multiple":  fmt.Sprint(opts.LRMult),
		"kernels (see GRAFT_CPU)": set,
	}
}

// UnfreezeLast lets the last n stages of the trunk train too, and returns their modules' paths: for
// EfficientNet-B0, 2 means features.7 and features.8.
func (m *Model) UnfreezeLast(n int) ([]string, error) {
	stages := m.network.Stages()
	if n < 0 || n > len(stages) {
		return nil, fmt.Errorf("model %s has %d stages before its head, so that the last %d can't be unfrozen", m.Name(), len(stages), n)
	}
	var paths []string
	for _, s := range slices.Backward(stages) {
		if len(paths) == n {
			break
		}
		paths = append(paths, s.Path)
		for _, p := range s.Params {
			p.RequiresGrad = !p.Buffer
		}
	}
	slices.Reverse(paths)
	return paths, nil
}
