package main

import (
	"fmt"
	"path/filepath"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/demo"
)

type demoCmd struct {
	Out string `help:"Run folder to write; default runs/demo, or the next that is free." type:"path" placeholder:"DIR"`
}

func (c *demoCmd) Run(e *env) error {
	story, err := demo.Prepare(e, &progress{})
	if err != nil {
		return err
	}
	for _, line := range story.Notes {
		fmt.Println(line)
	}
	if c.Out == "" {
		c.Out = filepath.Join("runs", "demo")
		for n := 2; graft.CheckRunFolder(c.Out) != nil; n++ {
			c.Out = filepath.Join("runs", fmt.Sprintf("demo-%d", n))
		}
	}
	story.Model.Threads = e.threads
	trainable, frozen := story.Model.Parameters()
	fmt.Printf("%s: %d parameters train, %d are frozen\n", story.Model.Name(), trainable, frozen)
	run, err := story.Model.Train(e, story.Data, graft.TrainOptions{Epochs: story.Epochs, Seed: 42, Progress: &progress{}, Epoch: printEpoch})
	if err := finish(run, err, &output{Out: c.Out}, ""); err != nil {
		return err
	}
	fmt.Printf("Now try: graft predict %s YOUR_PHOTO.jpg\n", c.Out)
	return nil
}
