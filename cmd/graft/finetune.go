package main

import (
	"errors"
	"fmt"

	"github.com/graft-ml/graft"
)

type finetuneCmd struct {
	training `embed:""`
	network  `embed:""`
	stages   `embed:""`
	course   `embed:""`
	recipe   `embed:""`
	output   `embed:""`

	HeadEpochs int  `help:"Epochs for the head alone, before the rest trains too." default:"1"`
	Cache      bool `help:"Keep the features of photos on disk, for later runs."`
}

func (c *finetuneCmd) Run(e *env) error {
	if c.HeadEpochs == 0 { // in the options, zero would mean the default
		return errors.New("0 epochs for the head: there must be at least one")
	}
	options, err := c.options(&c.course, &c.recipe)
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
	opts := graft.FinetuneOptions{TrainOptions: options, HeadEpochs: c.HeadEpochs}
	opts.Cache, opts.Epoch, opts.State, opts.Resume = c.Cache, printEpoch, state, c.Resume
	opts.Unfreeze = func(m *graft.Model) error {
		_, err := c.unfreeze(m)
		return err
	}
	last, err := c.unfreeze(model)
	if err != nil {
		return err
	}
	all, _ := model.Parameters()
	model.FreezeTrunk()
	head, _ := model.Parameters()
	printLast(last)
	fmt.Printf("%s: %d photos of %d classes to train, %d to test\n", c.Data, len(data.Train), len(data.Classes), len(data.Test))
	fmt.Printf("%s: %d parameters train first, and then %d\n", model.Name(), head, all)
	run, err := model.Finetune(e, data, opts)
	return finish(run, err, &c.output, state)
}

// unfreeze lets all train but what the flags say.
func (c *finetuneCmd) unfreeze(m *graft.Model) (last []string, err error) {
	what := scope{stages: c.stages}
	if c.Last == 0 && c.Unfreeze == nil {
		what.Train = "all"
	}
	return c.freeze(m, what)
}
