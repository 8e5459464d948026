package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/graft-ml/graft"
)

type trainCmd struct {
	training `embed:""`
	network  `embed:""`
	scope    `embed:""`
	course   `embed:""`
	recipe   `embed:""`
	solving  `embed:""`
	output   `embed:""`

	Cache bool `help:"Keep the features of photos on disk, for later runs."`
}

// training is what all commands that train have in common.
type training struct {
	Data   string  `arg:"" help:"Folder with train/CLASS/* and test/CLASS/* (or val, valid, validation), or CLASS/* to be split." type:"existingdir"`
	Batch  int     `help:"Photos in a batch." default:"32" name:"batch-size"`
	Seed   uint64  `help:"Seed of everything random." default:"42"`
	Val    float64 `help:"Share of photos to test with where the data has no test folder." default:"0.2"`
	Strict bool    `help:"Stop at a photo that can't be decoded instead of leaving it out."`
}

// folder returns the run folder that is written by default: runs/, prefix and the data's name.
func (t *training) folder(prefix string) (string, error) {
	abs, err := filepath.Abs(t.Data)
	return filepath.Join("runs", prefix+filepath.Base(abs)), err
}

// open finds the photos.
func (t *training) open() (*graft.Dataset, error) {
	data, err := graft.OpenDataset(t.Data, graft.DatasetOptions{Val: t.Val, Seed: t.Seed})
	if err == nil {
		warn(data)
	}
	return data, err
}

// options are what the flags say, with those of the other parts.
func (t *training) options(parts ...interface {
	fill(*graft.TrainOptions) error
}) (graft.TrainOptions, error) {
	o := graft.TrainOptions{BatchSize: t.Batch, Seed: t.Seed, Strict: t.Strict, Progress: &progress{}}
	if t.Batch == 0 { // in the options, zero would mean the default
		return o, errors.New("batch size 0: it must be at least 1")
	}
	for _, part := range parts {
		if err := part.fill(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (c *trainCmd) Run(e *env) error {
	opts, err := c.options(&c.course, &c.recipe, &c.solving)
	if err != nil {
		return err
	}
	state, done, err := c.check(&c.training)
	if err != nil || done {
		return err
	}
	data, model, err := c.load(e, &c.training)
	if err != nil {
		return err
	}
	last, err := c.freeze(model, c.scope)
	if err != nil {
		return err
	}
	printLast(last)
	fmt.Printf("%s: %d photos of %d classes to train, %d to test\n", c.Data, len(data.Train), len(data.Classes), len(data.Test))
	printParameters(model)

	opts.Cache, opts.Epoch, opts.State, opts.Resume = c.Cache, printEpoch, state, c.Resume
	run, err := model.Train(e, data, opts)
	return finish(run, err, &c.output, state)
}

func printParameters(m *graft.Model) {
	trainable, frozen := m.Parameters()
	fmt.Printf("%s: %d parameters train, %d are frozen\n", m.Name(), trainable, frozen)
}

// finish saves a run, also one that was stopped after an epoch, and says where and how to go on.
func finish(run *graft.Run, trained error, to *output, state string) error {
	if run != nil {
		if err := run.Save(to.Out, to.Force || to.Resume); err != nil {
			return errors.Join(trained, err)
		}
	}
	if trained == nil || errors.Is(trained, graft.ErrDiverged) { // which going on wouldn't change
		if err := os.RemoveAll(state); err != nil {
			return errors.Join(trained, err)
		}
	}
	if trained != nil {
		return stopped(run, trained, to, state)
	}
	if n := len(run.Failed); n > 0 {
		fmt.Fprintf(os.Stderr, "%d photos couldn't be decoded and were left out\n", n)
	}
	last := run.History[len(run.History)-1]
	if s := run.Solution; s != nil {
		fmt.Printf("Solved with the penalty of C = %.3g, the best of %d in cross-validation\n", s.C, len(s.Scores))
	}
	fmt.Printf("Test accuracy %.1f %%. Run folder: %s\n", 100*last.TestAcc, to.Out)
	for _, picture := range []string{"curves.png", "predictions.png", "confusion.png"} {
		fmt.Println(" ", filepath.Join(to.Out, picture))
	}
	return nil
}

// stopped says what there is of a training that ended early, and how to go on.
func stopped(run *graft.Run, why error, to *output, state string) error {
	said := ""
	if run != nil {
		said = fmt.Sprintf("Stopped after %s; the run so far is in %s.", count(len(run.History), "epoch"), to.Out)
	} else if errors.Is(why, context.Canceled) {
		said = "Stopped."
	}
	if entries, _ := os.ReadDir(state); said != "" && len(entries) > 0 {
		fmt.Println(said, "The same command with --resume goes on.")
	} else if run != nil {
		fmt.Println(said)
	}
	if errors.Is(why, graft.ErrOtherTraining) {
		return fmt.Errorf("%w; --force without --resume starts over", why)
	}
	return why
}

func printEpoch(e graft.Epoch) {
	fmt.Printf("Epoch: %d | train_loss: %.4f | train_acc: %.4f | test_loss: %.4f | test_acc: %.4f\n",
		e.Epoch, e.TrainLoss, e.TrainAcc, e.TestLoss, e.TestAcc)
}

// warn points out photos that make results look better than they are, or confuse training.
func warn(data *graft.Dataset) {
	leaks, conflicts := graft.Duplicates(data)
	say := func(pairs []graft.Pair, what string) {
		if len(pairs) == 0 {
			return
		}
		line := fmt.Sprintf("Warning: the same photo is in %s: %s and %s", what, pairs[0].A.Path, pairs[0].B.Path)
		if more := len(pairs) - 1; more > 0 {
			line += fmt.Sprintf(" (and %d more)", more)
		}
		fmt.Fprintln(os.Stderr, line)
	}
	say(leaks, "train and test")
	say(conflicts, "two classes")
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
