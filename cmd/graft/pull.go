package main

import (
	"fmt"

	"github.com/graft-ml/graft"
)

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
