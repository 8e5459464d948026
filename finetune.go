package graft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"github.com/graft-ml/graft/internal/augment"
	"github.com/graft-ml/graft/internal/plot"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/train"
)

// FinetuneOptions say how to fine-tune; zero fields mean the defaults.
type FinetuneOptions struct {
	// TrainOptions are those of the second part. Defaults that differ: LR 0.002, which the second part
	// halves; LRMult 0.01; the schedule onecycle.
	TrainOptions
	HeadEpochs int // of the first part; default 1
	// Unfreeze says what trains in the second part besides the head; nil means everything.
	Unfreeze func(*Model) error
}

// Finetune trains the head alone for some epochs, and then the whole network, with lower learning rates
// for earlier layers: fastai's fine_tune (https://docs.fast.ai/callback.schedule.html). The epochs of both
// parts are the run's; the best is one of the second part.
func (m *Model) Finetune(ctx context.Context, d *Dataset, opts FinetuneOptions) (*Run, error) {
	first, second := opts.parts()
	unfreeze := opts.Unfreeze
	if unfreeze == nil {
		unfreeze = func(m *Model) error { return m.Unfreeze("*") }
	}
	// What can't be done in the second part is found out before the first.
	if err := unfreeze(m); err != nil {
		return nil, err
	}
	undo := m.initialise(torchrand.New(opts.Seed), &second)
	_, err := m.prepare(d, nil, &second)
	undo()
	if err != nil {
		return nil, err
	}
	m.FreezeTrunk()
	head, err := m.head(ctx, d, first, second)
	if err != nil {
		return head, err
	}
	if err := unfreeze(m); err != nil {
		return head, err
	}
	run, err := m.Train(ctx, d, second)
	if run == nil {
		m.FreezeTrunk() // as it was trained
		if second.resumes() {
			return nil, err // the state is further than the head
		}
		return head, err
	}
	run.History = append(head.History, run.History...)
	m.trained.HeadEpochs, m.trained.LR = len(head.History), first.LR
	return run, err
}

// head trains the head. Where the state of the second part is there to go on from, it holds all of the
// first but its history.
func (m *Model) head(ctx context.Context, d *Dataset, first, second TrainOptions) (*Run, error) {
	if !second.resumes() {
		return m.Train(ctx, d, first)
	}
	history, err := train.History(filepath.Join(first.State, stateFile))
	return &Run{History: history}, err
}

// parts returns the options of both parts.
func (o *FinetuneOptions) parts() (first, second TrainOptions) {
	second = o.TrainOptions
	second.LR = cmp.Or(o.LR, 0.002)
	second.LRMult = cmp.Or(o.LRMult, 0.01)
	if second.Schedule == (Schedule{}) {
		second.Schedule.Name = "onecycle"
	}
	second.before = cmp.Or(o.HeadEpochs, 1)
	first = second
	first.Epochs, first.before = second.before, 0
	first.LRMult, first.Patience, first.Schedule.Warmup = 1, 0, 0
	if list, err := augment.Parse(o.Augment); err == nil { // the head's values can't be mixed
		if list = list.Unmixed(); len(list) == 0 {
			first.Views = 0
		}
		first.Augment = list.String()
	}
	if first.Schedule.Name == "onecycle" {
		first.Schedule.PctStart = 0.99 // it rises nearly to the end, and the second part goes on from there
	}
	second.LR /= 2
	first.part = fmt.Sprintf("%d epochs of the head", first.Epochs)
	second.part = "after " + first.part
	if o.State != "" {
		first.State = filepath.Join(o.State, "head")
	}
	return first, second
}

// An LRCurve is the loss at rising learning rates, and which rates it suggests.
type LRCurve struct {
	train.LRCurve
	title string
}

// LRRange says which learning rates FindLR tries; zero fields mean 100 steps from 1e-7 to 10.
type LRRange = train.LRRange

// FindLR tries learning rates: each step has a higher one than the step before, until the loss explodes.
// The model is afterwards as it was. (Smith, https://arxiv.org/abs/1506.01186, as fastai's lr_find.)
func (m *Model) FindLR(ctx context.Context, d *Dataset, opts TrainOptions, rates LRRange) (*LRCurve, error) {
	random := torchrand.New(opts.Seed)
	defer m.initialise(random, &opts)()
	cfg, err := m.prepare(d, random, &opts)
	if err != nil {
		return nil, err
	}
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	only := *d
	only.Test = nil
	v, err := m.values(ctx, &only, options, &opts)
	if err != nil {
		return nil, err
	}
	if v.train.Len() == 0 {
		return nil, errors.Join(append([]error{errors.New("no photo is left to train with")}, v.failed...)...)
	}
	m.finish(&cfg, v, opts)
	curve, err := train.FindLR(ctx, m.builder(options.Kernels), v.train, cfg, rates)
	if err != nil {
		return nil, err
	}
	return &LRCurve{curve, fmt.Sprintf("%s on %s", m.Name(), filepath.Base(d.Root))}, nil
}

// Draw writes the curve as a PNG.
func (c *LRCurve) Draw(w io.Writer) error {
	var rates, losses []float64
	for _, p := range c.Points {
		rates, losses = append(rates, p.LR), append(losses, p.Loss)
	}
	var marks []plot.Mark
	for _, m := range []plot.Mark{{Name: "steepest", Rate: c.Steep}, {Name: "a tenth of the lowest", Rate: c.Minimum}} {
		if m.Rate > 0 {
			m.Loss = c.near(m.Rate)
			marks = append(marks, m)
		}
	}
	return plot.Rates(w, c.title, rates, losses, marks)
}

// near returns the loss at the point whose rate is nearest.
func (c *LRCurve) near(rate float64) float64 {
	best, loss := math.Inf(1), 0.0
	for _, p := range c.Points {
		if d := math.Abs(math.Log(p.LR / rate)); d < best {
			best, loss = d, p.Loss
		}
	}
	return loss
}
