package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/graft-ml/graft"
)

type compareCmd struct {
	training `embed:""`
	scope    `embed:""`
	course   `embed:""`
	recipe   `embed:""`
	solving  `embed:""`

	Models  []string          `help:"Pretrained models or weights (see graft models), and networks without any to start from nothing." required:"" placeholder:"NAME"`
	Weights map[string]string `help:"Take the weights of a model from a local checkpoint." placeholder:"NAME=FILE" mapsep:","`
	Out     string            `help:"Folder for the results and a run folder a model; what is complete there isn't trained again. Default runs/compare- and the data's name." type:"path" placeholder:"DIR"`
	Force   bool              `help:"Start over where that folder holds something else."`
	JSON    bool              `help:"Print an object a line, a model each." name:"json"`
}

func (c *compareCmd) Run(e *env) error {
	opts, err := c.options(&c.course, &c.recipe, &c.solving)
	if err != nil {
		return err
	}
	if c.Out == "" {
		out, err := c.folder("compare-")
		if err != nil {
			return err
		}
		c.Out = out
	}
	for name, file := range c.Weights {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("--weights %s: %w", name, err)
		}
	}
	data, err := c.open()
	if err != nil {
		return err
	}
	models, err := graft.Compare(e, data, c.Models, graft.CompareOptions{
		Out: c.Out, Force: c.Force, Files: c.Weights, Threads: e.threads, Train: opts,
		Whole: c.scope.Train == "all", UnfreezeLast: c.Last,
	})
	if errors.Is(err, graft.ErrRunExists) {
		return fmt.Errorf("%w; choose another --out, or --force to start over", err)
	}
	if len(models) > 0 {
		if err := c.print(models); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	for _, m := range models {
		if m.Error != "" {
			fmt.Fprintf(os.Stderr, "graft: %s: %s\n", m.Model, m.Error)
			err = errReported
		}
	}
	return err
}

func (c *compareCmd) print(models []graft.Comparison) error {
	if !c.JSON {
		return c.table(models)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, m := range models {
		if err := out.Encode(m); err != nil {
			return err
		}
	}
	return nil
}

func (c *compareCmd) table(models []graft.Comparison) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "model\taccuracy\tloss\tparameters\timages/s\tms\tMB\ttraining s\t")
	threads := 0
	for _, m := range models {
		name := m.Model
		if m.Pareto {
			name = "* " + name
		}
		if m.Error != "" {
			fmt.Fprintf(w, "%s\tfailed\t-\t-\t-\t-\t-\t-\t\n", name)
			continue
		}
		threads = m.Threads
		fmt.Fprintf(w, "%s\t%.4f\t%.4f\t%d\t%.1f\t%.2f\t%.2f\t%.1f\t\n", name, m.TestAcc, m.TestLoss, m.Params,
			m.ImagesPerSecond, m.Milliseconds, m.Megabytes, m.Seconds)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Printf(`
* Pareto front: no other model is as accurate and as fast for one photo
accuracy, loss  on the test photos, after the last epoch
images/s        the network alone, from prepared photos in memory, one on each of %d threads
ms              the same for one photo, divided among the threads
MB              the weights in float32
training s      features and epochs; features that are in the cache take none
%s
`, threads, filepath.Join(c.Out, "compare.png"))
	return err
}
