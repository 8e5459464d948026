package graft

import (
	"context"
	"fmt"
	"time"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/solver"
	"github.com/graft-ml/graft/internal/train"
)

// A Solution says with which penalty a head's optimum was computed: |W|²/(2C), as in scikit-learn's
// LogisticRegression.
type Solution struct {
	C      float64        `json:"c"`
	Scores []solver.Score `json:"cross_validation"` // of each strength that was tried
}

// solve computes the optimum of the last layer, and reports it as one epoch.
func (m *Model) solve(ctx context.Context, run *Run, v *values, set *kernels.Set, build train.Builder, opts TrainOptions) error {
	begin := time.Now()
	// All views count, each in the fold of its photo.
	data := solver.Data{Classes: m.outputs()}
	all := v.train.(turns)
	for _, view := range all {
		for i, rows := range view.Values {
			data.Features = append(data.Features, rows[0])
			data.Labels = append(data.Labels, view.Labels[i])
			data.Groups = append(data.Groups, i)
		}
	}
	progress := progressOr(opts.Progress)
	started, last := false, 0
	solution, err := solver.Solve(ctx, set, data, solver.Options{Threads: m.threads(), Progress: func(done, total int) {
		if !started {
			progress.Start("Choosing the penalty", 0, int64(total))
			started = true
		}
		progress.Add(done - last)
		last = done
	}})
	if started {
		progress.Finish()
	}
	if err != nil {
		return err
	}
	head := m.network.Child(m.network.Head).Own()
	copy(head[0].Data, solution.Weight)
	copy(head[1].Data, solution.Bias)
	run.Solution = &Solution{C: solution.C, Scores: solution.Scores}

	e := Epoch{Epoch: 1}
	for _, part := range []struct {
		source    train.Source
		labels    []int
		loss, acc *float64
	}{{v.train, all[0].Labels, &e.TrainLoss, &e.TrainAcc}, {v.test, train.Labels(v.test), &e.TestLoss, &e.TestAcc}} {
		logits, err := train.Logits(ctx, build, part.source, opts.BatchSize)
		if err != nil {
			return err
		}
		loss, correct := train.CrossEntropy{}.Labels(logits, part.labels, nil)
		*part.loss, *part.acc = loss, float64(correct)/float64(len(part.labels))
	}
	e.Seconds = time.Since(begin).Seconds()
	run.History, run.Best = []Epoch{e}, 1
	if opts.Epoch != nil {
		opts.Epoch(e)
	}
	return nil
}

// solvable reports why the head can't be solved for, if something but its last Linear layer trains.
func (m *Model) solvable() error {
	head := m.network.Child(m.network.Head)
	if head.Type != "Linear" || len(head.Own()) != 2 {
		return fmt.Errorf("model %s: its head is a %s, and the solver takes a Linear layer with a bias: train it by steps", m.Name(), head.Type)
	}
	for _, p := range m.network.Params() {
		if p.RequiresGrad && p != head.Own()[0] && p != head.Own()[1] {
			return fmt.Errorf("the solver takes a network that is frozen but for its head, and %s isn't: freeze it, or train by steps", p.Name)
		}
	}
	g, err := m.trace(1)
	if err != nil {
		return err
	}
	tail, _ := g.Split()
	for _, n := range g.Nodes {
		switch n.Op.(type) {
		case graph.Linear, graph.Dropout, graph.Parameter:
		default:
			if tail[n.ID] {
				return fmt.Errorf("the solver takes a network whose head comes last, and %T at %s varies while training: train it by steps", n.Op, n.Path)
			}
		}
	}
	return nil
}
