package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/atomicfile"
)

type lrFindCmd struct {
	training `embed:""`
	network  `embed:""`
	scope    `embed:""`
	recipe   `embed:""`

	Start float64 `help:"Lowest learning rate." default:"1e-7"`
	End   float64 `help:"Highest learning rate." default:"10"`
	Steps int     `help:"Steps between them." default:"100"`
	Plot  string  `help:"PNG to draw." default:"lr_find.png" type:"path" placeholder:"FILE"`
	JSON  bool    `help:"Print the curve as one object." name:"json"`
}

func (c *lrFindCmd) Run(e *env) error {
	opts, err := c.options(&c.recipe)
	switch { // in the range, zero would mean the default
	case err != nil:
		return err
	case c.Start == 0 || c.End == 0 || c.Steps == 0:
		return fmt.Errorf("learning rates from %g to %g in %d steps: all must be above 0", c.Start, c.End, c.Steps)
	}
	data, model, err := c.load(e, &c.training)
	if err != nil {
		return err
	}
	if _, err := c.freeze(model, c.scope); err != nil {
		return err
	}
	curve, err := model.FindLR(e, data, opts, graft.LRRange{Start: c.Start, End: c.End, Steps: c.Steps})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(c.Plot, curve.Draw); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(curve)
	}
	if curve.Steep == 0 {
		fmt.Printf("The loss never fell clearly; see %s\n", c.Plot)
		return nil
	}
	fmt.Printf("The loss falls fastest at a learning rate of %.2g; a tenth of the one where it is lowest is %.2g.\nTry --lr %.1g. The curve: %s\n",
		curve.Steep, curve.Minimum, curve.Steep, c.Plot)
	return nil
}
