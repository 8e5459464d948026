package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/graft-ml/graft/internal/torchrand"
)

// Config says how to train. Fields that are zero have PyTorch's defaults, or are off.
type Config struct {
	Epochs    int                  // at least 1
	BatchSize int                  // at least 1
	Classes   int                  // the network's outputs
	Random    *torchrand.Generator // orders the samples and decides what dropout takes; nil for one of seed 0

	Optimizer OptimizerConfig
	Schedule  Schedule
	Loss      CrossEntropy // while training; the test loss is without smoothing and weights
	ClipNorm  float64      // the largest norm of all gradients together; 0 for any
	// Accumulate makes one step for so many batches, as if they were one; 0 means 1.
	Accumulate int
	// EMA is the decay of a moving average of the weights, which is what is tested, kept and left in the
	// parameters instead of the weights themselves; 0 for none.
	EMA float64

	// Monitor is what makes an epoch the best: "loss" (the default) or "acc", of the test samples.
	Monitor string
	// Patience ends training after so many epochs without a better one; 0 for never.
	Patience int

	// Mix changes the inputs (see [Source]; each is [samples, values]) and targets (probabilities,
	// [samples, classes]) of a batch, counted from 0 in each epoch, as mixup and CutMix do. It runs
	// in the background and must depend on its arguments alone.
	Mix func(epoch, batch int, inputs [][]float32, targets []float32)
	// Workers is how many goroutines read samples; 0 means one for each processor.
	Workers int

	State StateConfig
}

// complete returns c with the defaults in place of zeros.
func (c Config) complete() (Config, error) {
	var errs [2]error
	c.Optimizer, errs[0] = c.Optimizer.complete()
	c.Schedule, errs[1] = c.Schedule.complete()
	c.Accumulate = cmp.Or(c.Accumulate, 1)
	c.Monitor = cmp.Or(c.Monitor, "loss")
	c.Workers = workers(c.Workers)
	if c.Random == nil {
		c.Random = torchrand.New(0)
	}
	if err := errors.Join(errs[0], errs[1], c.Loss.check(c.Classes)); err != nil {
		return c, err
	}
	switch {
	case c.Epochs < 1:
		return c, fmt.Errorf("%d epochs: there must be at least one", c.Epochs)
	case c.BatchSize < 1:
		return c, fmt.Errorf("batch size %d: it must be at least 1", c.BatchSize)
	case c.Classes < 1:
		return c, fmt.Errorf("%d classes: there must be at least one", c.Classes)
	case c.Accumulate < 1:
		return c, fmt.Errorf("steps of %d batches: there must be at least one", c.Accumulate)
	case !(c.ClipNorm >= 0):
		return c, fmt.Errorf("gradients of norm %g at most: it must be above 0", c.ClipNorm)
	case !(c.EMA >= 0 && c.EMA < 1):
		return c, fmt.Errorf("averaged weights with a decay of %g: it must be at least 0 and below 1", c.EMA)
	case c.Monitor != "loss" && c.Monitor != "acc":
		return c, fmt.Errorf("epochs can't be compared by %q: there are loss and acc", c.Monitor)
	case c.Patience < 0:
		return c, fmt.Errorf("a patience of %d epochs: it can't be below 0", c.Patience)
	}
	return c, nil
}

// An Epoch is what a pass over the training samples came to. Losses are means over samples (weighted
// ones where classes have weights), and accuracies shares of all samples: while training for train
// (with dropout active and the weights changing, as PyTorch users count it), after the epoch for test.
type Epoch struct {
	Epoch     int     `json:"epoch"`
	TrainLoss float64 `json:"train_loss"`
	TrainAcc  float64 `json:"train_acc"`
	TestLoss  float64 `json:"test_loss"`
	TestAcc   float64 `json:"test_acc"`
	LR        float64 `json:"lr"` // of the last step
	Seconds   float64 `json:"seconds"`
}

// A Result is what training came to.
type Result struct {
	History []Epoch
	Best    int     // the best epoch, 0 if none was completed
	Weights Weights // after the best epoch; nil if none was completed
}

// Fit trains for cfg.Epochs, or until cfg.Patience ends it, and calls report after each epoch.
//
// In the end, and after any error, the parameters and running statistics hold what the last whole
// epoch left; the result's Weights are those of the best. Cancelling ctx stops Fit between two steps.
// A loss, gradient or parameter that is no longer a number is an error with the cause [ErrDiverged].
func Fit(ctx context.Context, build Builder, train, test Source, cfg Config, report func(Epoch)) (Result, error) {
	f, err := newFitter(build, train, test, cfg)
	if err != nil {
		return Result{}, err
	}
	err = f.run(ctx, report)
	f.last.Restore()
	return Result{f.History, f.Best, f.best}, err
}

// A fitter trains. What it holds besides progress and weights is made from Fit's arguments.
type fitter struct {
	trainer
	cfg         Config
	train, test Source
	rates       Rates
	steps       int // of an epoch

	progress
	ema  ema
	last Weights // after the last whole epoch
	best Weights // after the best epoch

	clock time.Time // up to when progress.Seconds counts
	saved time.Time
}

// progress is where training is.
type progress struct {
	Epoch   int     `json:"epoch"` // under way, from 1
	Step    int     `json:"step"`  // steps of the epoch that were made
	Loss    float64 `json:"loss"`  // sums over the samples of these steps
	Mass    float64 `json:"mass"`
	Correct int     `json:"correct"`
	Seconds float64 `json:"seconds"` // of the epoch
	Start   []byte  `json:"start"`   // state of the generator before the epoch's order was drawn

	History []Epoch `json:"history"`
	Best    int     `json:"best"`
}

func newFitter(build Builder, train, test Source, cfg Config) (*fitter, error) {
	if train.Len() == 0 || test.Len() == 0 {
		return nil, fmt.Errorf("there are %d samples to train and %d to test with: neither can be none", train.Len(), test.Len())
	}
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	for _, s := range []Source{train, test} {
		if l := slices.Max(Labels(s)); l >= cfg.Classes {
			return nil, fmt.Errorf("a sample is of class %d, and there are %d: the first is 0", l, cfg.Classes)
		}
	}
	f := &fitter{cfg: cfg, train: train, test: test, ema: ema{decay: cfg.EMA}, progress: progress{Epoch: 1}}
	if f.trainer, err = newTrainer(build, train, cfg); err != nil {
		return nil, err
	}
	f.steps = ceil(ceil(train.Len(), cfg.BatchSize), cfg.Accumulate)
	f.rates, err = cfg.Schedule.Rates(cfg.Optimizer.LR, cfg.Optimizer.momentum(), f.steps, cfg.Epochs)
	if err != nil {
		return nil, err
	}
	f.last = copyOf(f.variables)
	f.clock, f.saved = time.Now(), time.Now()
	if cfg.State.Resume {
		err = f.load()
	}
	return f, err
}

func ceil(a, b int) int { return (a + b - 1) / b }

func (f *fitter) run(ctx context.Context, report func(Epoch)) error {
	for f.Epoch <= f.cfg.Epochs && !f.impatient() {
		if err := f.epoch(ctx); err != nil {
			return err
		}
		if err := f.save(); err != nil {
			return err
		}
		report(f.History[len(f.History)-1])
	}
	return nil
}

// impatient reports whether the last epoch that was better than all before is too long ago.
func (f *fitter) impatient() bool {
	return f.cfg.Patience > 0 && len(f.History)-f.Best >= f.cfg.Patience
}

// epoch makes what is left of an epoch's steps, and tests.
func (f *fitter) epoch(ctx context.Context) error {
	groups, r, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	for _, group := range groups {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, f.save())
		}
		if _, err := f.step(r, group); err != nil {
			return err
		}
		if time.Since(f.saved) >= f.cfg.State.interval() {
			if err := f.save(); err != nil {
				return err
			}
		}
	}
	err = f.finish(ctx)
	if ctx.Err() != nil && f.Step > 0 {
		return errors.Join(err, f.save())
	}
	return err
}

// open begins to read what is left of an epoch, and returns it as steps, each of several batches of
// samples.
func (f *fitter) open(ctx context.Context) ([][][]int, *reader, error) {
	order, err := f.order()
	if err != nil {
		return nil, nil, err
	}
	batches := slices.Collect(slices.Chunk(order, f.cfg.BatchSize))
	done := min(f.Step*f.cfg.Accumulate, len(batches))
	groups := slices.Collect(slices.Chunk(batches[done:], f.cfg.Accumulate))
	// A step that has begun is finished, since a state between two batches of it can't be kept.
	r := read(context.WithoutCancel(ctx), f.train, f.Epoch, batches[done:], f.cfg.Workers, f.mix(done))
	return groups, r, nil
}

// order returns the samples in the order of the epoch, and leaves the generator as the steps that were
// made left it.
func (f *fitter) order() ([]int, error) {
	now := f.random.State()
	if f.Step == 0 {
		f.Start = now
	} else if err := f.random.SetState(f.Start); err != nil {
		return nil, err
	}
	order := f.random.Perm(f.train.Len())
	if f.Step == 0 {
		return order, nil
	}
	return order, f.random.SetState(now)
}

// mix returns what is done to the batches that are read, of which so many were read before.
func (f *fitter) mix(before int) func(i int, b *batch) {
	if f.cfg.Mix == nil {
		return nil
	}
	epoch, classes := f.Epoch, f.cfg.Classes
	return func(i int, b *batch) {
		b.targets = make([]float32, len(b.labels)*classes)
		for row, label := range b.labels {
			b.targets[row*classes+label] = 1
		}
		f.cfg.Mix(epoch, before+i, b.inputs, b.targets)
	}
}

// step makes the next step, on the samples of several batches, and returns its loss.
func (f *fitter) step(r *reader, batches [][]int) (float64, error) {
	samples := slices.Concat(batches...)
	mass := float64(len(samples))
	if f.cfg.Mix == nil {
		mass = f.loss.mass(labels(f.train, samples))
	}
	lr, momentum := f.rates((f.Epoch-1)*f.steps + f.Step)
	loss, correct, err := f.trainer.step(r, len(batches), mass, lr, momentum)
	if err != nil {
		return loss, f.diverged(err, fmt.Sprintf("step %d", f.Step+1))
	}
	if f.ema.decay > 0 {
		f.ema.update(f.variables)
	}
	f.Step++
	f.Loss += loss * mass
	f.Mass += mass
	f.Correct += correct
	return loss, nil
}

// diverged adds to an error with that cause where it happened and what may help.
func (f *fitter) diverged(err error, where string) error {
	if !errors.Is(err, ErrDiverged) {
		return err
	}
	return fmt.Errorf("%w in epoch %d, %s: try a lower learning rate than %g", err, f.Epoch, where, f.cfg.Optimizer.LR)
}

// finish tests the weights of a whole epoch, and compares it with the best.
func (f *fitter) finish(ctx context.Context) error {
	if f.ema.decay > 0 {
		raw := copyOf(f.variables)
		defer raw.Restore()
		f.ema.average.Restore()
	}
	n := float64(f.train.Len())
	lr, _ := f.rates(f.Epoch*f.steps - 1)
	e := Epoch{Epoch: f.Epoch, TrainLoss: f.Loss / f.Mass, TrainAcc: float64(f.Correct) / n, LR: lr}
	logits, err := f.nets.logits(ctx, f.test, f.Epoch, f.cfg.BatchSize, f.cfg.Workers)
	if err != nil {
		return err
	}
	truth := Labels(f.test)
	loss, correct := CrossEntropy{}.Labels(logits, truth, nil)
	if !finite(loss) {
		return f.diverged(fmt.Errorf("%w: the test loss is no longer a number", ErrDiverged), "after the last step")
	}
	e.TestLoss, e.TestAcc = loss, float64(correct)/float64(len(truth))
	f.tick()
	e.Seconds = f.Seconds

	f.last.take()
	if f.Best == 0 || f.better(e, f.History[f.Best-1]) {
		f.Best, f.best = f.Epoch, copyOf(f.variables)
	}
	f.progress = progress{Epoch: f.Epoch + 1, History: append(f.History, e), Best: f.Best}
	return nil
}

func (f *fitter) better(a, b Epoch) bool {
	if f.cfg.Monitor == "acc" {
		return a.TestAcc > b.TestAcc
	}
	return a.TestLoss < b.TestLoss
}

// tick counts the time since it was last called.
func (f *fitter) tick() {
	now := time.Now()
	f.Seconds += now.Sub(f.clock).Seconds()
	f.clock = now
}
