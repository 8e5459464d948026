// Package train fits the trainable part of a network on the values at the graph's cut.
//
// [Fit] is the loop: batches that are read ahead from a [Source], an [Optimizer] at the rates of a
// [Schedule], [CrossEntropy], and after each epoch a look at the test samples. What it computes
// depends on the samples, the parameters' values and its [Config] alone: neither timing nor the number
// of threads changes a bit, and nor does stopping and going on from its state file.
package train

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/torchrand"
)

// A Net computes the trainable part of a network for batches of one size, forward and backward.
type Net interface {
	// Input returns the memory of a value at the cut, for the caller to fill: a row for each sample.
	Input(i int) []float32
	// Params returns the parameters that train, in an order that doesn't change.
	Params() []*graph.Param
	// Grad returns the derivative of the loss by a parameter, which the caller may change and the next
	// Backward overwrites.
	Grad(*graph.Param) []float32
	// Forward returns the output, [batch, classes], which the next Forward overwrites. In training,
	// random operations draw from random, and Buffers change.
	Forward(train bool, random *torchrand.Generator) []float32
	// Backward takes the loss's derivative by the output of the last Forward.
	Backward(grad []float32)
}

// buffered is a [Net] with running statistics.
type buffered interface {
	// Buffers returns what Forward changes in training, in an order that doesn't change.
	Buffers() []*graph.Param
}

// A Builder makes the net for a batch size. All nets share their parameters and buffers.
type Builder func(batch int) (Net, error)

// ErrDiverged is the cause of an error where the loss, a gradient or a parameter is no longer a number.
var ErrDiverged = errors.New("training diverged")

// nets holds the nets for the batch sizes that occur.
type nets struct {
	build  Builder
	bySize map[int]Net
}

func newNets(build Builder) *nets { return &nets{build, map[int]Net{}} }

func (n *nets) of(batch int) (Net, error) {
	if net := n.bySize[batch]; net != nil {
		return net, nil
	}
	net, err := n.build(batch)
	if err != nil {
		return nil, err
	}
	n.bySize[batch] = net
	return net, nil
}

// Weights are copies of parameters and running statistics.
type Weights map[*graph.Param][]float32

func copyOf(variables []*graph.Param) Weights {
	w := Weights{}
	for _, p := range variables {
		w[p] = slices.Clone(p.Data)
	}
	return w
}

// Restore gives the parameters and running statistics the copied values.
func (w Weights) Restore() {
	for p, data := range w {
		copy(p.Data, data)
	}
}

// Swap is Restore; it returns the values that the parameters had before.
func (w Weights) Swap() Weights {
	old := Weights{}
	for p := range w {
		old[p] = slices.Clone(p.Data)
	}
	w.Restore()
	return old
}

// take copies the present values.
func (w Weights) take() {
	for p, data := range w {
		copy(data, p.Data)
	}
}

// A trainer makes steps.
type trainer struct {
	nets      *nets
	params    []*graph.Param // that train
	variables []*graph.Param // these and the running statistics
	loss      CrossEntropy
	optimizer *Optimizer
	clipNorm  float64
	random    *torchrand.Generator
	sum       Weights // gradients of several batches
}

func newTrainer(build Builder, s Source, cfg Config) (trainer, error) {
	t := trainer{nets: newNets(build), loss: cfg.Loss, clipNorm: cfg.ClipNorm, random: cfg.Random, sum: Weights{}}
	net, err := t.nets.of(min(cfg.BatchSize, s.Len()))
	if err != nil {
		return t, err
	}
	t.params, t.variables = net.Params(), net.Params()
	if b, ok := net.(buffered); ok {
		t.variables = slices.Concat(t.params, b.Buffers())
	}
	t.optimizer, err = NewOptimizer(cfg.Optimizer)
	return t, err
}

// step makes one step of the optimizer for the next batches as if they were one, whose samples have a
// certain mass (see [CrossEntropy.mass]). It returns the mean loss and how many samples were correct.
func (t *trainer) step(r *reader, batches int, mass, lr, momentum float64) (loss float64, correct int, err error) {
	grad := func(p *graph.Param) []float32 { return t.sum[p] }
	for i := range batches {
		b, err := r.next()
		if err != nil {
			return 0, 0, err
		}
		net, err := t.nets.of(len(b.labels))
		if err != nil {
			return 0, 0, err
		}
		l, c, err := t.backward(net, b, mass)
		loss += l
		correct += c
		if err != nil {
			return loss, correct, err
		}
		if batches == 1 {
			grad = net.Grad
		} else {
			t.accumulate(net, i == 0)
		}
	}
	if err := clip(t.params, grad, t.clipNorm); err != nil {
		return loss, correct, err
	}
	t.optimizer.Step(t.params, grad, lr, momentum)
	for _, p := range t.params {
		if !allFinite(p.Data) {
			return loss, correct, fmt.Errorf("%w: %s is no longer a number", ErrDiverged, p.Name)
		}
	}
	return loss, correct, nil
}

// backward computes the derivatives of the loss of one batch.
func (t *trainer) backward(net Net, b *batch, mass float64) (loss float64, correct int, err error) {
	if err := b.fill(net); err != nil {
		return 0, 0, err
	}
	logits := net.Forward(true, t.random)
	grad := make([]float32, len(logits))
	if b.targets != nil {
		loss, correct = t.loss.soft(logits, b.targets, grad, len(b.labels), mass)
	} else {
		loss, correct = t.loss.labels(logits, b.labels, grad, mass)
	}
	if !finite(loss) {
		return loss, correct, fmt.Errorf("%w: the loss is no longer a number", ErrDiverged)
	}
	net.Backward(grad)
	return loss, correct, nil
}

func (t *trainer) accumulate(net Net, first bool) {
	for _, p := range t.params {
		if t.sum[p] == nil {
			t.sum[p] = make([]float32, p.Numel())
		}
		sum := t.sum[p]
		if first {
			clear(sum)
		}
		for i, g := range net.Grad(p) {
			sum[i] += g
		}
	}
}

// clip is torch.nn.utils.clip_grad_norm_, where limit isn't 0. A gradient that is no longer a number
// is an error in any case.
func clip(params []*graph.Param, grad func(*graph.Param) []float32, limit float64) error {
	total := 0.0
	for _, p := range params {
		squares := 0.0
		for _, g := range grad(p) {
			squares += float64(g) * float64(g)
		}
		if !finite(squares) {
			return fmt.Errorf("%w: the gradient of %s is no longer a number", ErrDiverged, p.Name)
		}
		total += squares
	}
	scale := float32(limit / (math.Sqrt(total) + 1e-6))
	if limit == 0 || scale >= 1 {
		return nil
	}
	for _, p := range params {
		g := grad(p)
		for i := range g {
			g[i] *= scale
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func allFinite(values []float32) bool {
	sum := float32(0)
	for _, v := range values {
		sum += v * 0 // NaN for NaN and the infinities
	}
	return sum == 0
}
