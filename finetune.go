package graft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"

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
// parts are the run's.
func (m *Model) Finetune(ctx context.Context, d *Dataset, opts FinetuneOptions) (*Run, error) {
	first, second := opts.parts()
	m.FreezeTrunk()
	head, err := m.Train(ctx, d, first)
	if err != nil {
		return head, err
	}
	unfreeze := opts.Unfreeze
	if unfreeze == nil {
		unfreeze = func(m *Model) error { return m.Unfreeze("*") }
	}
	if err := unfreeze(m); err != nil {
		return head, err
	}
	renumber := func(e Epoch) Epoch {
		e.Epoch += len(head.History)
		return e
	}
	report := second.Epoch
	second.Epoch = func(e Epoch) {
		if report != nil {
			report(renumber(e))
		}
	}
	second.Progress = opts.Progress
	run, err := m.Train(ctx, d, second)
	if run == nil {
		return head, err
	}
	for i, e := range run.History {
		run.History[i] = renumber(e)
	}
	run.Best += len(head.History)
	run.History = append(head.History, run.History...)
	return run, err
}

// parts returns the options of both parts.
func (o *FinetuneOptions) parts() (first, second TrainOptions) {
	second = o.TrainOptions
	second.LR = cmp.Or(o.LR, 0.002)
	second.LRMult = cmp.Or(o.LRMult, 0.01)
	if second.Schedule == (Schedule{}) {
		second.Schedule.Name = "onecycle"
	}
	first = second
	first.Epochs = cmp.Or(o.HeadEpochs, 1)
	first.LRMult, first.Patience = 1, 0
	if first.Schedule.Name == "onecycle" {
		first.Schedule.PctStart = 0.99 // it rises nearly to the end, and the second part goes on from there
	}
	second.LR /= 2
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
	if err := opts.complete(); err != nil {
		return nil, err
	}
	if len(d.Classes) != m.outputs() {
		return nil, fmt.Errorf("the data has %d classes and the network's head %d: replace the head", len(d.Classes), m.outputs())
	}
	random := torchrand.New(opts.Seed)
	m.network.Initialise(random)
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
	cfg := m.config(v, random, opts)
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
