package main

import (
	"errors"
	"fmt"

	"github.com/graft-ml/graft"
)

// source names the model that a command uses: a run, or with --model pretrained weights.
type source struct {
	Model   string `help:"Use a pretrained model instead of a run (see graft models)." placeholder:"NAME"`
	Weights string `help:"Take the weights of --model from a local checkpoint." type:"existingfile" placeholder:"FILE"`
	precision
}

// precision is the flag of commands that compute with a whole network.
type precision struct {
	Precision graft.Precision `help:"Numbers to compute with: fp32, or bf16, which is faster where the processor has AVX512-BF16 and a little less exact." enum:"fp32,bf16" default:"fp32"`
}

// open loads the model, and returns the arguments that remain: the first names the run unless
// --model is given.
func (s source) open(e *env, args []string) (*graft.Model, []string, error) {
	if s.Model == "" && s.Weights != "" {
		return nil, nil, errors.New("--weights names a checkpoint, so --model must name its architecture")
	}
	var m *graft.Model
	var err error
	if s.Model != "" {
		m, err = graft.Load(e, s.Model, &graft.LoadOptions{File: s.Weights, Progress: &progress{}})
	} else {
		m, err = graft.Open(args[0])
		args = args[1:]
	}
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 0 {
		return nil, nil, errors.New("no photos: name files or folders after the run")
	}
	m.Threads, m.Precision = e.threads, s.Precision
	return m, args, nil
}

// interrupted turns a cancelled context into an error.
func (e *env) interrupted() error {
	if err := e.Err(); err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	return nil
}
