package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/graft-ml/graft"
)

type evalCmd struct {
	RunDir string `arg:"" name:"run" help:"Run folder or model file."`
	Data   string `arg:"" help:"Folder with a folder of photos for each class." type:"existingdir"`
	JSON   bool   `help:"Print one JSON object." name:"json"`
	precision
}

func (c *evalCmd) Run(e *env) error {
	model, err := graft.Open(c.RunDir)
	if err != nil {
		return err
	}
	model.Threads, model.Precision = e.threads, c.Precision
	photos, err := graft.OpenPhotos(c.Data, model.Classes())
	if err != nil {
		return err
	}
	result, err := model.Evaluate(e, photos, &progress{})
	if err != nil {
		return err
	}
	for _, err := range result.Failed {
		fmt.Fprintln(os.Stderr, "graft:", err)
	}
	if c.JSON {
		if err := c.json(model, result); err != nil {
			return err
		}
	} else {
		c.table(model, result)
	}
	if len(result.Failed) > 0 {
		return errReported
	}
	return nil
}

func (c *evalCmd) json(model *graft.Model, r *graft.Evaluation) error {
	return json.NewEncoder(os.Stdout).Encode(struct {
		Photos    int      `json:"photos"`
		Failed    int      `json:"failed"`
		Accuracy  float64  `json:"accuracy"`
		Loss      float64  `json:"loss"`
		Classes   []string `json:"classes"`
		Confusion [][]int  `json:"confusion"`
	}{r.Photos, len(r.Failed), r.Accuracy, r.Loss, model.Classes(), r.Confusion})
}

func (c *evalCmd) table(model *graft.Model, r *graft.Evaluation) {
	fmt.Printf("%d photos | loss: %.4f | accuracy: %.4f\n", r.Photos, r.Loss, r.Accuracy)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "class\tphotos\tcorrect\taccuracy\t")
	for i, name := range model.Classes() {
		total := 0
		for _, n := range r.Confusion[i] {
			total += n
		}
		if total > 0 {
			fmt.Fprintf(w, "%s\t%d\t%d\t%.4f\t\n", name, total, r.Confusion[i][i], float64(r.Confusion[i][i])/float64(total))
		}
	}
	w.Flush()
}
