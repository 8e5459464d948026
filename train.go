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
	"time"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/nn"
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

	best train.Weights // after the best epoch
}

// ErrDiverged is the cause of an error where the loss or a weight is no longer a number.
var ErrDiverged = train.ErrDiverged

// ErrOtherTraining is the cause of an error where the state to go on from is of another training.
var ErrOtherTraining = train.ErrOtherTraining

// Train fits the parameters that aren't frozen, with cross-entropy. The values that the frozen part of
// the network has for each photo are computed once, before the first epoch, unless photos are augmented
// anew for each.
//
// When ctx is cancelled, Train returns its error; the run isn't nil if an epoch was completed, and
// holds the model as the last one left it. So it is with an error with the cause [ErrDiverged].
func (m *Model) Train(ctx context.Context, d *Dataset, opts TrainOptions) (run *Run, err error) {
	random := torchrand.New(opts.Seed)
	undo := m.initialise(random, &opts)
	defer func() {
		if run == nil {
			undo()
		}
		m.changed()
	}()
	cfg, err := m.prepare(d, random, &opts)
	if err != nil {
		return nil, err
	}
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	v, err := m.values(ctx, d, options, &opts)
	if err != nil {
		return nil, err
	}
	if v.train.Len() == 0 || v.test.Len() == 0 {
		return nil, errors.Join(append([]error{errors.New("no photo is left to train or test with")}, v.failed...)...)
	}
	run = &Run{Model: m, Failed: v.failed}
	set := options.Kernels
	build := m.builder(set)
	var stopped error
	if opts.Solver != "" {
		stopped = m.solve(ctx, run, v, set, build, opts)
	} else {
		stopped = m.fit(ctx, run, v, build, cfg, opts)
	}
	if len(run.History) == 0 {
		return nil, stopped
	}
	trainable, frozen := m.Parameters()
	opts.Epochs = len(run.History)
	m.trained = &Arguments{Data: filepath.Base(filepath.Clean(d.Root)), TrainOptions: opts, Trainable: trainable, Frozen: frozen,
		Train: v.train.Len(), Test: v.test.Len(), Kernels: set.Name,
		Precision: string(cmp.Or(m.Precision, FP32)), Version: Version()}
	logits, err := train.Logits(context.WithoutCancel(ctx), build, v.test, opts.BatchSize)
	if err != nil {
		return nil, err
	}
	run.truth = train.Labels(v.test)
	for i, path := range v.paths {
		run.Test = append(run.Test, m.prediction(path, logits[i*len(m.classes):(i+1)*len(m.classes)], nil))
	}
	return run, stopped
}

// initialise gives new layers their first values and norms their mode, and returns what undoes it.
func (m *Model) initialise(random *torchrand.Generator, o *TrainOptions) (undo func()) {
	norms := m.network.Norms
	var drawn []*graph.Param
	for _, p := range m.network.Params() {
		if p.Data == nil && p.Index == nil {
			drawn = append(drawn, p)
		}
	}
	m.network.Initialise(random)
	m.network.Norms = nn.NormMode(o.Norms)
	return func() {
		m.network.Norms = norms
		for _, p := range drawn {
			p.Data = nil
		}
	}
}

// prepare completes the options, and finds out what would keep the model from training before photos
// are read, which may take hours.
func (m *Model) prepare(d *Dataset, random *torchrand.Generator, opts *TrainOptions) (train.Config, error) {
	if err := opts.complete(); err != nil {
		return train.Config{}, err
	}
	if len(d.Classes) != m.outputs() {
		return train.Config{}, fmt.Errorf("the data has %d classes and the network's head %d: replace the head", len(d.Classes), m.outputs())
	}
	if err := m.trains(opts); err != nil {
		return train.Config{}, err
	}
	if opts.Solver != "" {
		return train.Config{}, m.solvable()
	}
	cfg := m.config(d, random, *opts)
	return cfg, cfg.Check()
}

// trains reports why what isn't frozen can't be trained on photos that are augmented so.
func (m *Model) trains(o *TrainOptions) error {
	g, err := m.trace(1)
	if err != nil {
		return err
	}
	tail, frontier := g.Split()
	if !tail[g.Output.ID] {
		return errors.New("nothing trains: every parameter is frozen; replace the head, or freeze less")
	}
	options, err := m.options()
	if err != nil {
		return err
	}
	if _, err := m.builder(options.Kernels)(1); err != nil {
		return fmt.Errorf("model %s: %w", m.Name(), err)
	}
	pipeline, err := m.augmentation(o)
	switch {
	case err != nil:
		return err
	case pipeline.Mixer() != nil && (len(frontier) != 1 || frontier[0] != g.Inputs[0]):
		return errors.New("MixUp and CutMix mix pixels: they need a network that trains from its first layer on; unfreeze all of it, or leave them out")
	case o.Solver != "" && (pipeline.Mixer() != nil || len(pipeline.List()) > 0 && o.Views == 0):
		return errors.New("the solver needs all photos at once: say how many augmented views of each there shall be (--views), and leave out MixUp and CutMix")
	}
	return nil
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
func (m *Model) fit(ctx context.Context, run *Run, v *values, build train.Builder, cfg train.Config, opts TrainOptions) error {
	m.finish(&cfg, v, opts)
	log := events{dir: opts.State}
	var unlogged error
	result, stopped := train.Fit(ctx, build, v.train, v.test, cfg, func(e Epoch) {
		e.Epoch += opts.before
		unlogged = errors.Join(unlogged, log.add(e, time.Now()))
		if opts.Epoch != nil {
			opts.Epoch(e)
		}
	})
	for i := range result.History {
		result.History[i].Epoch += opts.before
	}
	run.History, run.Best, run.best = result.History, result.Best+opts.before, result.Weights
	return errors.Join(stopped, unlogged, log.close())
}

// config is what training by steps needs of the options, but for what the photos decide.
func (m *Model) config(d *Dataset, random *torchrand.Generator, o TrainOptions) train.Config {
	cfg := o.config(m.outputs())
	cfg.Random, cfg.Workers = random, m.threads()
	if o.LRMult != 0 && o.LRMult != 1 {
		scales := rateScales(m.network, o.LRMult)
		cfg.Optimizer.LRScale = func(p *graph.Param) float64 { return scales[p] }
	}
	if o.State != "" {
		cfg.State = train.StateConfig{Path: filepath.Join(o.State, stateFile), Resume: o.resumes(), Description: m.describe(d, o)}
	}
	return cfg
}

// finish adds to cfg what the photos decide.
func (m *Model) finish(cfg *train.Config, v *values, o TrainOptions) {
	cfg.Mix = v.mix
	if o.Balance {
		cfg.Loss.Weight = train.Balanced(train.Labels(v.train), m.outputs())
	}
}

// stateFile is the file in a state's folder from which training can go on.
const stateFile = "state.safetensors"

// resumes reports whether training is to go on and there is something to go on from.
func (o *TrainOptions) resumes() bool {
	_, err := os.Stat(filepath.Join(o.State, stateFile))
	return o.Resume && err == nil
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
	if options, err := m.options(); err == nil {
		set = options.Kernels.Name
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
		"class balance":           fmt.Sprint(opts.Balance),
		"part":                    opts.part,
		"precision":               string(cmp.Or(m.Precision, FP32)),
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
