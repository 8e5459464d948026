package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/graft-ml/graft"
)

type modelsCmd struct {
	JSON bool `help:"Print an object a line." name:"json"`
}

func (c *modelsCmd) Run() error {
	if c.JSON {
		out := json.NewEncoder(os.Stdout)
		for _, w := range graft.PretrainedWeights() {
			if err := out.Encode(w); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MODEL\tWEIGHTS\tTOP-1\tTOP-5\tPARAMETERS\tGFLOPS\tMIB\tINPUT\tLICENCE")
	for _, e := range graft.PretrainedWeights() {
		name := e.Name
		if e.Default {
			name += " *"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f M\t%.2f\t%.1f\t%d\t%s\n", e.Model, name, percent(e.Acc1), percent(e.Acc5),
			float64(e.Params)/1e6, e.GFLOPs, e.FileMiB, e.Transforms.CropSize, e.License)
	}
	fmt.Fprintln(w, "\n* what the model's name alone means")
	return w.Flush()
}

func percent(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

type pullCmd struct {
	Name string `arg:"" help:"Model or weights (see graft models)."`
}

func (c *pullCmd) Run(e *env) error {
	path, err := graft.Pull(e, c.Name, &progress{})
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

type summaryCmd struct {
	Model       string   `arg:"" help:"Architecture, or a run folder."`
	InputSize   []int    `help:"Shape of the input, with the batch in front: 32,3,224,224."`
	ColNames    []string `help:"Columns: input_size, output_size, num_params, params_percent, kernel_size, groups, mult_adds, trainable." default:"input_size,output_size,num_params,trainable"`
	ColWidth    int      `help:"Characters of a column." default:"20"`
	Depth       int      `help:"Levels below the root to show." default:"3"`
	RowSettings []string `help:"What rows begin with: var_names, depth, ascii_only, hide_recursive_layers." default:"var_names"`
	Classes     int      `help:"Replace the head by one for so many classes."`
	Freeze      []string `help:"Freeze modules, by path; features is the trunk of any network."`
	Repr        bool     `help:"Print the modules as PyTorch does instead."`
}

func (c *summaryCmd) Run() error {
	model, err := graft.Describe(c.Model, 0)
	if err != nil {
		return err
	}
	if c.Classes > 0 {
		classes := make([]string, c.Classes)
		if err := model.ReplaceHead(classes, -1); err != nil {
			return err
		}
	}
	if err := model.Freeze(c.Freeze...); err != nil {
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
