package graft

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/features"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/train"
)

// A Bench is the throughput of a network on this machine, from normalised input to logits.
type Bench struct {
	Arch            string  `json:"arch"`
	Precision       string  `json:"precision"`
	Kernels         string  `json:"kernels"`
	Batch           int     `json:"batch"`
	Threads         int     `json:"threads"`
	ImagesPerSecond float64 `json:"img_s"`        // the best of several runs of the batch
	GFLOPs          float64 `json:"gflop_s"`      // 10⁹ operations a second that they amount to, as the layers define them
	PeakGFLOPs      float64 `json:"peak_gflop_s"` // what the same threads reach in a matrix product that suits them
}

// Bench measures the time of a batch of photos, which the threads of m take one by one. Parameters
// without values count as if they had some.
func (m *Model) Bench(ctx context.Context, batch int) (Bench, error) {
	defer fill(m.network.Params())()
	options, err := m.options()
	if err != nil {
		return Bench{}, err
	}
	run, err := m.round(batch)
	if err != nil {
		return Bench{}, err
	}
	b := Bench{Arch: m.Name(), Precision: string(cmp.Or(m.Precision, FP32)), Kernels: options.Kernels.Name, Batch: batch, Threads: m.threads()}
	run()
	seconds := least(ctx, run).Seconds()
	b.ImagesPerSecond = float64(batch) / seconds
	operations, err := m.operations()
	if err != nil {
		return Bench{}, err
	}
	b.GFLOPs = operations * b.ImagesPerSecond / 1e9
	b.PeakGFLOPs = peak(ctx, options, b.Threads)
	return b, ctx.Err()
}

// round returns a function that computes so many photos as [Model.PredictFiles] does: fewer than threads one after the
// other on all of them, a few on each thread one by one, and more in batches.
func (m *Model) round(photos int) (func(), error) {
	threads := m.threads()
	plan, err := m.benchPlan()
	if err != nil {
		return nil, err
	}
	if photos < max(threads, 2) {
		s := newState(plan, threads)
		return func() {
			for range photos {
				s.Run()
			}
		}, nil
	}
	var batch *engine.Batch
	size := 1
	if photos > features.Few*threads {
		if batch, err = m.batch(func(g *graph.Graph) []*graph.Node { return []*graph.Node{g.Output} }); err != nil {
			return nil, err
		}
		size = batch.Size()
	}
	type state struct {
		one  *engine.State
		many *engine.BatchState
	}
	states := make([]state, threads)
	for i := range states {
		states[i].one = newState(plan, 1)
		if batch != nil {
			states[i].many = batch.NewState()
			noise(states[i].many.Input())
		}
	}
	return func() {
		work := make(chan struct{}, photos)
		for range photos {
			work <- struct{}{}
		}
		close(work)
		var group sync.WaitGroup
		for _, s := range states {
			group.Go(func() {
				features.Divide(context.Background(), work, threads, size,
					func(struct{}) { s.one.Run() }, func(struct{}) { s.many.Add() }, func() { s.many.Run() })
			})
		}
		group.Wait()
	}, nil
}

// Profile returns how the time of one photo on one thread divides by kind of work, longest first.
func (m *Model) Profile() ([]engine.Share, error) {
	plan, err := m.benchPlan()
	if err != nil {
		return nil, err
	}
	s := newState(plan, 1)
	s.Run()
	return s.Profile(30)
}

func (m *Model) benchPlan() (*engine.Plan, error) {
	defer fill(m.network.Params())()
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	g, err := m.trace(1)
	if err != nil {
		return nil, err
	}
	return options.Compile(g, g.Output)
}

// operations counts the multiplications and additions of convolutions, linear layers and attention
// for one photo, as their definitions have them: an algorithm that needs fewer looks faster.
func (m *Model) operations() (float64, error) {
	g, err := m.trace(1)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, n := range g.Nodes {
		switch n.Op.(type) {
		case graph.Conv2d, graph.Linear:
			w := n.Params[0]
			total += graph.Numel(n.Shape) * w.Numel() / w.Shape[0]
		case graph.Attention:
			q, k := n.In[0].Shape, n.In[1].Shape
			total += q[0] * q[1] * k[1] * (q[2] + n.Shape[2])
		}
	}
	return 2 * float64(total), nil
}

// peak is the rate of a matrix product whose operands stay in the cores' caches, in 10⁹ operations a
// second.
func peak(ctx context.Context, o engine.Options, threads int) float64 {
	const m, n, k, times = 240, 64, 256, 50
	weights := make([]float32, n*k)
	products := make([]kernels.Gemm, threads)
	for i := range products {
		products[i] = kernels.Gemm{M: m, A: make([]float32, m*k), LDA: k, B: o.Kernels.Pack(weights, nil, n, k), C: make([]float32, m*n), LDC: n}
		if o.Precision == BF16 {
			products[i].B, products[i].LDA = o.Kernels.PackBF16(weights, nil, n, k), k/2
		}
	}
	fastest := least(ctx, func() {
		var group sync.WaitGroup
		for i := range products {
			group.Go(func() {
				for range times {
					o.Kernels.Gemm(&products[i])
				}
			})
		}
		group.Wait()
	})
	return 2 * m * n * k * times * float64(threads) / float64(fastest) * float64(time.Second) / 1e9
}

// A TrainBench is the throughput of training on this machine: forward, loss, backward and a step of Adam, with
// every parameter training.
type TrainBench struct {
	Arch            string  `json:"arch"`
	Precision       string  `json:"precision"`
	Kernels         string  `json:"kernels"`
	Batch           int     `json:"batch"`
	Threads         int     `json:"threads"`
	ImagesPerSecond float64 `json:"train_img_s"` // the best of several steps
	Megabytes       float64 `json:"memory_mb"`   // 10⁶ bytes that the process has taken from the system at most
}

// BenchTrain measures steps of training on a batch of random photos of as many classes as the model has.
func (m *Model) BenchTrain(ctx context.Context, batch int) (TrainBench, error) {
	defer fill(m.network.Params())()
	if err := m.Unfreeze("*"); err != nil {
		return TrainBench{}, err
	}
	set, err := kernels.Best()
	if err != nil {
		return TrainBench{}, err
	}
	net, err := m.builder(set)(batch)
	if err != nil {
		return TrainBench{}, err
	}
	adam, err := train.NewOptimizer(train.OptimizerConfig{})
	if err != nil {
		return TrainBench{}, err
	}
	noise(net.Input(0))
	random, classes := torchrand.New(1), m.outputs()
	labels, grad := make([]int, batch), make([]float32, batch*classes)
	for i := range labels {
		labels[i] = i % classes
	}
	step := func() {
		train.CrossEntropy{}.Labels(net.Forward(true, random), labels, grad)
		net.Backward(grad)
		adam.Step(net.Params(), net.Grad, 1e-4, 0.9)
	}
	step()
	b := TrainBench{Arch: m.Name(), Precision: "fp32", Kernels: set.Name, Batch: batch, Threads: m.threads()}
	b.ImagesPerSecond = float64(batch) / least(ctx, func() { step() }).Seconds()
	b.Megabytes = peakMemory() / 1e6
	return b, ctx.Err()
}
