package main

import (
	"fmt"

	"github.com/graft-ml/graft"
)

type finetuneCmd struct {
	training `embed:""`
	network  `embed:""`
	recipe   `embed:""`
	output   `embed:""`

	HeadEpochs int  `help:"Epochs for the head alone, before the rest trains too." default:"1"`
	Cache      bool `help:"Keep the features of photos on disk, for later runs."`
}

func (c *finetuneCmd) Run(e *env) error {
	state, err := c.check(&c.training)
	if err != nil {
		return err
	}
	data, err := c.open()
	if err != nil {
		return err
	}
	model, err := c.load(e, data)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d photos of %d classes to train, %d to test\n", c.Data, len(data.Train), len(data.Classes), len(data.Test))
	opts := graft.FinetuneOptions{TrainOptions: c.options(), HeadEpochs: c.HeadEpochs}
	c.fill(&opts.TrainOptions)
	opts.Cache, opts.Epoch, opts.State, opts.Resume = c.Cache, printEpoch, state, c.Resume
	opts.Unfreeze = func(m *graft.Model) error {
		if c.Last == 0 && c.Freeze == nil && c.Unfreeze == nil {
			if err := m.Unfreeze("*"); err != nil {
				return err
			}
		} else if err := c.freeze(m); err != nil {
			return err
		}
		printParameters(m)
		return nil
	}
	printParameters(model)
	run, err := model.Finetune(e, data, opts)
	return finish(run, err, &c.output, state)
}
