package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/graft-ml/graft"
)

type benchCmd struct {
	Model   string `arg:"" help:"Architecture (see graft models)."`
	Batch   int    `help:"Photos that are there at a time." default:"32"`
	Profile bool   `help:"Print how the time of one thread divides by kind of work."`
	Train   bool   `help:"Measure training steps, with every parameter training, instead of predictions."`
	JSON    bool   `help:"Print one JSON object." name:"json"`
	precision
}

func (c *benchCmd) Run(e *env) error {
	if c.Batch < 1 {
		return fmt.Errorf("--batch %d: there must be at least one photo", c.Batch)
	}
	model, err := graft.Describe(c.Model, 0)
	if err != nil {
		return err
	}
	model.Threads, model.Precision = e.threads, c.Precision
	if c.Train {
		return c.train(e, model)
	}
	b, err := model.Bench(e, c.Batch)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(b)
	}
	fmt.Printf("%s, %s, %s kernels, %d threads, batch %d\n", b.Arch, b.Precision, b.Kernels, b.Threads, b.Batch)
	fmt.Printf("%8.1f images/s\n%8.1f GFLOP/s of %.1f GFLOP/s that this machine reached in a matrix product\n", b.ImagesPerSecond, b.GFLOPs, b.PeakGFLOPs)
	if !c.Profile {
		return nil
	}
	shares, err := model.Profile()
	if err != nil {
		return err
	}
	total := 0.0
	for _, s := range shares {
		total += s.Time.Seconds()
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "work\tsteps\tms\tshare\t")
	for _, s := range shares {
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%.1f %%\t\n", s.Op, s.Runs, 1000*s.Time.Seconds(), 100*s.Time.Seconds()/total)
	}
	fmt.Fprintf(w, "one photo on one thread\t\t%.3f\t\t\n", 1000*total)
	return w.Flush()
}

func (c *benchCmd) train(e *env, model *graft.Model) error {
	b, err := model.BenchTrain(e, c.Batch)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(b)
	}
	fmt.Printf("%s, training, %s, %s kernels, %d threads, batch %d\n", b.Arch, b.Precision, b.Kernels, b.Threads, b.Batch)
	fmt.Printf("%8.1f images/s\n%8.0f MB of memory at most\n", b.ImagesPerSecond, b.Megabytes)
	return nil
}
