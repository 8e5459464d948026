// Package train fits the trainable part of a network on the values at the graph's cut, which have
// been computed once for all photos.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/torchrand"
)

// Samples are the inputs of the trainable part: a row for each photo, and its class.
type Samples struct {
	Rows   func(i int) [][]float32 // one slice for each value at the cut
	Labels []int
}

// Config says how to train.
type Config struct {
	Epochs    int
	BatchSize int
	LR        float64              // Adam's learning rate
	Random    *torchrand.Generator // orders the photos and decides what dropout takes
}

// An Epoch is what a pass over the training photos came to. Losses are means over photos, and
// accuracies shares of all photos: while training for train (with dropout active and the weights
// changing, as PyTorch users count it), after the epoch for test.
type Epoch struct {
	Epoch     int     `json:"epoch"`
	TrainLoss float64 `json:"train_loss"`
	TrainAcc  float64 `json:"train_acc"`
	TestLoss  float64 `json:"test_loss"`
	TestAcc   float64 `json:"test_acc"`
	Seconds   float64 `json:"seconds"`
}

// A Tracer gives the network's graph for a batch size.
type Tracer func(batch int) (*graph.Graph, error)

// Fit trains for cfg.Epochs and calls report after each. What it computes depends on the samples,
// the parameters' values and cfg alone. Cancelling ctx stops it between two steps; the parameters
// then hold what the last whole epoch left.
func Fit(ctx context.Context, trace Tracer, set *kernels.Set, train, test Samples, cfg Config, report func(Epoch)) error {
	nets := nets{trace: trace, set: set, bySize: map[int]*autograd.Net{}}
	if _, err := nets.of(min(cfg.BatchSize, len(train.Labels))); err != nil {
		return err
	}
	adam := NewAdam(cfg.LR)
	for epoch := 1; epoch <= cfg.Epochs; epoch++ {
		begin := time.Now()
		e := Epoch{Epoch: epoch}
		restore := nets.keep()
		order := cfg.Random.Perm(len(train.Labels))
		for first := 0; first < len(order); first += cfg.BatchSize {
			if err := ctx.Err(); err != nil {
				restore()
				return err
			}
			batch := order[first:min(first+cfg.BatchSize, len(order))]
			net, err := nets.of(len(batch))
			if err != nil {
				return err
			}
			labels := fill(net, train, batch)
			logits := net.Forward(true, cfg.Random)
			grad := make([]float32, len(logits))
			loss, correct := CrossEntropy(logits, labels, grad)
			if math.IsNaN(loss) || math.IsInf(loss, 0) {
				restore()
				return fmt.Errorf("%w in epoch %d, step %d: try a lower learning rate than %g", ErrDiverged, epoch, first/cfg.BatchSize+1, cfg.LR)
			}
			net.Backward(grad)
			adam.Step(net.Params(), net.Grad)
			e.TrainLoss += loss * float64(len(batch))
			e.TrainAcc += float64(correct)
		}
		e.TrainLoss /= float64(len(order))
		e.TrainAcc /= float64(len(order))
		logits, err := nets.logits(test, cfg.BatchSize)
		if err != nil {
			return err
		}
		var correct int
		e.TestLoss, correct = CrossEntropy(logits, test.Labels, nil)
		e.TestAcc = float64(correct) / float64(len(test.Labels))
		e.Seconds = time.Since(begin).Seconds()
		report(e)
	}
	return nil
}

// ErrDiverged is the cause of Fit's error where the loss is no longer a number.
var ErrDiverged = errors.New("the loss is no longer a number")

// nets holds the trainable part for each batch size that occurs; all share their parameters.
type nets struct {
	trace  Tracer
	set    *kernels.Set
	bySize map[int]*autograd.Net
	memory autograd.Memory
}

func (n *nets) of(batch int) (*autograd.Net, error) {
	if net := n.bySize[batch]; net != nil {
		return net, nil
	}
	g, err := n.trace(batch)
	if err != nil {
		return nil, err
	}
	net, err := n.memory.New(g, n.set, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	n.bySize[batch] = net
	return net, nil
}

// keep returns a function that sets the parameters and running statistics back to what they are now.
func (n *nets) keep() (restore func()) {
	saved := map[*graph.Param][]float32{}
	for _, net := range n.bySize {
		for _, p := range slices.Concat(net.Params(), net.Buffers()) {
			saved[p] = slices.Clone(p.Data)
		}
	}
	return func() {
		for p, data := range saved {
			copy(p.Data, data)
		}
	}
}

// Logits computes the network's output for samples, [samples, classes], with dropout inactive.
func Logits(trace Tracer, set *kernels.Set, s Samples, batchSize int) ([]float32, error) {
	n := nets{trace: trace, set: set, bySize: map[int]*autograd.Net{}}
	return n.logits(s, batchSize)
}

func (n *nets) logits(s Samples, batchSize int) ([]float32, error) {
	var all []float32
	for first := 0; first < len(s.Labels); first += batchSize {
		batch := make([]int, min(batchSize, len(s.Labels)-first))
		for i := range batch {
			batch[i] = first + i
		}
		net, err := n.of(len(batch))
		if err != nil {
			return nil, err
		}
		fill(net, s, batch)
		all = append(all, net.Forward(false, nil)...)
	}
	return all, nil
}

// fill copies the samples of a batch to the net's inputs and returns their labels.
func fill(net *autograd.Net, s Samples, batch []int) []int {
	labels := make([]int, len(batch))
	for i, sample := range batch {
		for j, row := range s.Rows(sample) {
			copy(net.Input(j)[i*len(row):], row)
		}
		labels[i] = s.Labels[sample]
	}
	return labels
}
