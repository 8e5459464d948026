package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/graft-ml/graft"
)

type trainCmd struct {
	training `embed:""`

	Model    string   `help:"Pretrained model or weights (see graft models)." default:"efficientnet_b0" placeholder:"NAME"`
	Weights  string   `help:"Take the weights from a local checkpoint." type:"existingfile" placeholder:"FILE"`
	Out      string   `help:"Run folder to write; default runs/ and the data's name." type:"path" placeholder:"DIR"`
	Force    bool     `help:"Replace an existing run folder."`
	Size     int      `help:"Pixels a side of the photos that the network gets; 0 means the size it was trained with." placeholder:"N"`
	Freeze   []string `help:"Freeze modules or parameters, by path, with * and [0-9] as wildcards; features is the trunk of any network, which is frozen unless the network starts from nothing." placeholder:"PATTERN"`
	Unfreeze []string `help:"Let them train, after --freeze." placeholder:"PATTERN"`
	Dropout  float64  `help:"Probability of the Dropout before the new head; below 0 the network's own." default:"-1"`
	Cache    bool     `help:"Keep the features of photos on disk, for later runs."`
	precision
}

// training is what train and compare have in common.
type training struct {
	Data   string  `arg:"" help:"Folder with train/CLASS/* and test/CLASS/* (or val, valid, validation), or CLASS/* to be split." type:"existingdir"`
	Epochs int     `help:"Passes over the training photos." default:"5"`
	Batch  int     `help:"Photos in a batch." default:"32" name:"batch-size"`
	LR     float64 `help:"Learning rate of Adam." default:"0.001" name:"lr"`
	Seed   uint64  `help:"Seed of everything random." default:"42"`
	Val    float64 `help:"Share of photos to test with where the data has no test folder." default:"0.2"`
	Strict bool    `help:"Stop at a photo that can't be decoded instead of leaving it out."`
}

// folder returns the run folder that is written by default: runs/, prefix and the data's name.
func (t *training) folder(prefix string) (string, error) {
	abs, err := filepath.Abs(t.Data)
	return filepath.Join("runs", prefix+filepath.Base(abs)), err
}

// open checks the flags and finds the photos.
func (t *training) open() (*graft.Dataset, error) {
	switch { // in the options, zero would mean the default
	case t.Epochs == 0:
		return nil, errors.New("0 epochs: there must be at least one")
	case t.Batch == 0:
		return nil, errors.New("batch size 0: it must be at least 1")
	case t.LR == 0:
		return nil, errors.New("learning rate 0: it must be above 0")
	}
	data, err := graft.OpenDataset(t.Data, graft.DatasetOptions{Val: t.Val, Seed: t.Seed})
	if err == nil {
		warn(data)
	}
	return data, err
}

func (t *training) options() graft.TrainOptions {
	return graft.TrainOptions{Epochs: t.Epochs, BatchSize: t.Batch, LR: t.LR, Seed: t.Seed, Strict: t.Strict, Progress: &progress{}}
}

func (c *trainCmd) Run(e *env) error {
	if c.Out == "" {
		out, err := c.folder("")
		if err != nil {
			return err
		}
		c.Out = out
	}
	if err := graft.CheckRunFolder(c.Out); errors.Is(err, graft.ErrRunExists) && !c.Force {
		return fmt.Errorf("%w: choose another --out, or --force to replace it", err)
	} else if err != nil && !errors.Is(err, graft.ErrRunExists) {
		return err
	}
	data, err := c.open()
	if err != nil {
		return err
	}
	model, err := graft.LoadOrScratch(e, c.Model, data.Classes, &graft.LoadOptions{File: c.Weights, Progress: &progress{}})
	if err != nil {
		return err
	}
	if model.Origin().Weights != "" {
		if err := model.ReplaceHead(data.Classes, c.Dropout); err != nil {
			return err
		}
		model.FreezeTrunk()
	}
	if c.Size != 0 {
		if err := model.Resize(c.Size); err != nil {
			return fmt.Errorf("--size %d: %w", c.Size, err)
		}
	}
	if err := errors.Join(model.Freeze(c.Freeze...), model.Unfreeze(c.Unfreeze...)); err != nil {
		return err
	}
	model.Threads, model.Precision = e.threads, c.Precision
	fmt.Printf("%s: %d photos of %d classes to train, %d to test\n", c.Data, len(data.Train), len(data.Classes), len(data.Test))
	trainable, frozen := model.Parameters()
	fmt.Printf("%s: %d parameters train, %d are frozen\n", model.Name(), trainable, frozen)

	opts := c.options()
	opts.Cache, opts.Epoch = c.Cache, printEpoch
	run, err := model.Train(e, data, opts)
	return finish(run, err, c.Out, c.Force)
}

// finish saves a run, also one that was interrupted after an epoch, and says where.
func finish(run *graft.Run, trained error, out string, force bool) error {
	if run == nil {
		return trained
	}
	if err := run.Save(out, force); err != nil {
		return errors.Join(trained, err)
	}
	if trained != nil {
		fmt.Printf("Stopped after %d epochs; the run so far is in %s\n", len(run.History), out)
		return trained
	}
	if n := len(run.Failed); n > 0 {
		fmt.Fprintf(os.Stderr, "%d photos couldn't be decoded and were left out\n", n)
	}
	last := run.History[len(run.History)-1]
	fmt.Printf("Test accuracy %.1f %%. Run folder: %s\n", 100*last.TestAcc, out)
	for _, picture := range []string{"curves.png", "predictions.png", "confusion.png"} {
		fmt.Println(" ", filepath.Join(out, picture))
	}
	return nil
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
