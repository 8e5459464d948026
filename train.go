package graft

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/features"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/hub"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/train"
)

// An Epoch is what a pass over the training photos came to. Losses are means over photos, accuracies
// shares of all photos: for train while training, with dropout active; for test after the epoch.
type Epoch = train.Epoch

// TrainOptions say how to train; zero fields mean the defaults.
type TrainOptions struct {
	Epochs    int     // default 5
	BatchSize int     // default 32
	LR        float64 // learning rate of Adam, default 0.001
	Seed      uint64  // of new layers' values, the order of photos and dropout: torch.manual_seed's
	Cache     bool    // keep the features of photos on disk, for other runs with the same trunk
	Strict    bool    // stop at a photo that can't be decoded instead of going on without it

	Progress Progress    // is told while features are computed
	Epoch    func(Epoch) // is called after each epoch
}

// complete fills in the defaults and checks the values.
func (o *TrainOptions) complete() error {
	o.Epochs = cmp.Or(o.Epochs, 5)
	o.BatchSize = cmp.Or(o.BatchSize, 32)
	o.LR = cmp.Or(o.LR, 0.001)
	switch {
	case o.Epochs < 0:
		return fmt.Errorf("%d epochs: there must be at least one", o.Epochs)
	case o.BatchSize < 0:
		return fmt.Errorf("batch size %d: it must be at least 1", o.BatchSize)
	case !(o.LR > 0):
		return fmt.Errorf("learning rate %g: it must be above 0", o.LR)
	}
	return nil
}

// Arguments are what a model was trained with; they travel in its file.
type Arguments struct {
	Data      string  `json:"data"`
	Epochs    int     `json:"epochs"`
	BatchSize int     `json:"batch_size"`
	LR        float64 `json:"lr"`
	Optimizer string  `json:"optimizer"`
	Seed      uint64  `json:"seed"`
	Trainable int     `json:"trainable_parameters"`
	Frozen    int     `json:"frozen_parameters"`
	Train     int     `json:"train_photos"`
	Test      int     `json:"test_photos"`
	Kernels   string  `json:"kernels"`
	Precision string  `json:"precision"` // of what doesn't train
	Version   string  `json:"version"`
}

// A Run is what training came to.
type Run struct {
	Model   *Model
	History []Epoch
	Failed  []error      // photos that couldn't be decoded, and were left out
	Test    []Prediction // of the test photos, by the trained model
	truth   []int        // their classes
}

// Train fits the parameters that aren't frozen, with cross-entropy and Adam. The values that the
// frozen part of the network has for each photo are computed once, before the first epoch.
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
	defer m.changed()
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	set := options.Kernels
	table, err := m.cutValues(ctx, d, options, opts)
	if err != nil {
		return nil, err
	}
	run := &Run{Model: m, Failed: table.failed}
	if len(table.train.Labels) == 0 || len(table.test.Labels) == 0 {
		return nil, errors.Join(append([]error{errors.New("no photo is left to train or test with")}, table.failed...)...)
	}
	cfg := train.Config{Epochs: opts.Epochs, BatchSize: opts.BatchSize, LR: opts.LR, Random: random}
	stopped := train.Fit(ctx, m.trace, set, table.train, table.test, cfg, func(e Epoch) {
		run.History = append(run.History, e)
		if opts.Epoch != nil {
			opts.Epoch(e)
		}
	})
	if len(run.History) == 0 {
		return nil, stopped
	}
	trainable, frozen := m.Parameters()
	m.trained = &Arguments{Data: filepath.Base(filepath.Clean(d.Root)), Epochs: len(run.History), BatchSize: opts.BatchSize,
		LR: opts.LR, Optimizer: "Adam", Seed: opts.Seed, Trainable: trainable, Frozen: frozen,
		Train: len(table.train.Labels), Test: len(table.test.Labels), Kernels: set.Name,
		Precision: string(cmp.Or(m.Precision, FP32)), Version: Version()}
	logits, err := train.Logits(m.trace, set, table.test, opts.BatchSize)
	if err != nil {
		return nil, err
	}
	run.truth = table.test.Labels
	for i, path := range table.paths {
		run.Test = append(run.Test, m.prediction(path, logits[i*len(m.classes):(i+1)*len(m.classes)], nil))
	}
	return run, stopped
}

// values are what the network has for each photo at the cut.
type values struct {
	train, test train.Samples
	paths       []string // of the test samples
	failed      []error
}

// cutValues computes the frozen part of the network for all photos.
func (m *Model) cutValues(ctx context.Context, d *Dataset, compile engine.Options, opts TrainOptions) (*values, error) {
	g, err := m.trace(1)
	if err != nil {
		return nil, err
	}
	tail, frontier := g.Split()
	if !tail[g.Output.ID] {
		return nil, errors.New("nothing trains: every parameter is frozen; replace the head, or freeze less")
	}
	if _, err := autograd.New(g, compile.Kernels); err != nil { // before hours of features, not after
		return nil, fmt.Errorf("model %s: %w", m.Name(), err)
	}
	plan, err := compile.Compile(g, frontier...)
	if err != nil {
		return nil, err
	}
	atCut := func(g *graph.Graph) []*graph.Node {
		nodes := make([]*graph.Node, len(frontier))
		for i, n := range frontier {
			nodes[i] = g.Nodes[n.ID]
		}
		return nodes
	}
	e := &features.Extractor{Transform: m.transform, Plan: plan, Threads: m.threads(),
		Batch: sync.OnceValues(func() (*engine.Batch, error) { return m.batch(atCut) })}
	if opts.Cache {
		if e.Cache, err = m.openCache(g, tail, frontier, plan, compile); err != nil {
			return nil, err
		}
	}
	progress := progressOr(opts.Progress)
	progress.Start("Computing features", 0, int64(len(d.Train)+len(d.Test)))
	defer progress.Finish()
	v := &values{}
	collect := func(photos []Photo, s *train.Samples) error {
		var rows [][][]float32
		i := 0
		for r := range e.Each(ctx, paths(photos)) {
			switch {
			case r.Err == nil:
				rows = append(rows, r.Outputs)
				s.Labels = append(s.Labels, photos[i].Class)
				if s == &v.test {
					v.paths = append(v.paths, r.Path)
				}
			case opts.Strict:
				return r.Err
			default:
				v.failed = append(v.failed, r.Err)
				progress.Note(fmt.Sprintf("left out: %v", r.Err))
			}
			progress.Add(1)
			i++
		}
		s.Rows = func(i int) [][]float32 { return rows[i] }
		return ctx.Err()
	}
	err = collect(d.Train, &v.train)
	if err == nil {
		err = collect(d.Test, &v.test)
	}
	if e.Cache != nil {
		err = errors.Join(err, e.Cache.Flush())
	}
	return v, err
}

func paths(photos []Photo) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, p := range photos {
			if !yield(p.Path, nil) {
				return
			}
		}
	}
}

// openCache opens the cache of what the trunk computes with its present weights and transforms.
func (m *Model) openCache(g *graph.Graph, tail []bool, frontier []*graph.Node, plan *engine.Plan, o engine.Options) (*features.Cache, error) {
	root, err := hub.CacheDir()
	if err != nil {
		return nil, err
	}
	text, err := m.transform.MarshalJSON()
	if err != nil {
		return nil, err
	}
	identity := sha256.New()
	fmt.Fprintf(identity, "%s\n%s %s\n%s\n", engine.Version, o.Kernels.Name, cmp.Or(o.Precision, FP32), text)
	for _, n := range g.Nodes {
		if tail[n.ID] {
			continue
		}
		fmt.Fprintf(identity, "%T %+v %v\n", n.Op, n.Op, n.Shape)
		for _, p := range n.Params {
			if len(p.Data) > 0 {
				identity.Write(unsafe.Slice((*byte)(unsafe.Pointer(&p.Data[0])), 4*len(p.Data)))
			}
		}
	}
	for _, n := range frontier {
		io.WriteString(identity, n.Path)
	}
	return features.OpenCache(filepath.Join(root, "features"), [32]byte(identity.Sum(nil)), plan.OutputsLen())
}
