package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/graft-ml/graft"
)

type summaryCmd struct {
	Model       string   `arg:"" help:"Architecture or weights (see graft models), run folder or model file."`
	InputSize   []int    `help:"Shape of the input, with the batch in front: 32,3,224,224."`
	ColNames    []string `help:"Columns: input_size, output_size, num_params, params_percent, kernel_size, groups, mult_adds, trainable." default:"input_size,output_size,num_params,trainable"`
	ColWidth    int      `help:"Characters of a column." default:"20"`
	Depth       int      `help:"Levels below the root to show." default:"3"`
	RowSettings []string `help:"What rows begin with: var_names, depth, ascii_only, hide_recursive_layers." default:"var_names"`
	Classes     int      `help:"Replace the head by one for so many classes."`
	Freeze      []string `help:"Freeze modules or parameters, by path, with * and [0-9] as wildcards; features is the trunk of any network." placeholder:"PATTERN"`
	Unfreeze    []string `help:"Let them train, after --freeze." placeholder:"PATTERN"`
	Repr        bool     `help:"Print the modules as PyTorch does instead."`
}

func (c *summaryCmd) Run() error {
	model, err := c.model()
	if err != nil {
		return err
	}
	if c.Classes > 0 {
		classes := make([]string, c.Classes)
		if err := model.ReplaceHead(classes, -1); err != nil {
			return err
		}
	}
	if err := errors.Join(model.Freeze(c.Freeze...), model.Unfreeze(c.Unfreeze...)); err != nil {
		return err
	}
	if c.Repr {
		fmt.Println(model)
		return nil
	}
	text, err := model.Summary(graft.SummaryOptions{InputSize: c.InputSize, ColNames: c.ColNames, ColWidth: c.ColWidth,
		Depth: c.Depth, RowSettings: c.RowSettings})
	if err != nil {
		return err
	}
	fmt.Println(text)
	return nil
}

// model describes an architecture, or opens a run where none has that name.
func (c *summaryCmd) model() (*graft.Model, error) {
	model, err := graft.Describe(c.Model, 0)
	if err == nil {
		return model, nil
	}
	if _, absent := os.Stat(c.Model); absent == nil {
		return graft.Open(c.Model)
	}
	return nil, err
}
