package train

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// A Source gives samples: what the trainable part of a network reads of each, and its class. Its
// methods are called from several goroutines at a time.
type Source interface {
	// Len is the number of samples.
	Len() int
	// Label is the class of sample i.
	Label(i int) int
	// Rows returns the values at the cut, one slice each, of sample i as it is seen in an epoch, counted
	// from 1. They depend on the epoch and i alone; the caller doesn't change them.
	Rows(ctx context.Context, epoch, i int) ([][]float32, error)
}

// InMemory is a [Source] of values that have been computed.
type InMemory struct {
	Values [][][]float32 // of each sample, one slice for each value at the cut
	Labels []int
}

// Len implements [Source].
func (m *InMemory) Len() int { return len(m.Labels) }

// Label implements [Source].
func (m *InMemory) Label(i int) int { return m.Labels[i] }

// Rows implements [Source].
func (m *InMemory) Rows(_ context.Context, _, i int) ([][]float32, error) { return m.Values[i], nil }

func labels(s Source, samples []int) []int {
	l := make([]int, len(samples))
	for i, sample := range samples {
		l[i] = s.Label(sample)
	}
	return l
}

// Labels returns the classes of all samples.
func Labels(s Source) []int {
	l := make([]int, s.Len())
	for i := range l {
		l[i] = s.Label(i)
	}
	return l
}

// A batch is what a step reads.
type batch struct {
	inputs  [][]float32 // of each value at the cut, [samples, values]
	labels  []int
	targets []float32 // [samples, classes], nil where labels say all
}

// fill copies the batch to the inputs of a net of its size.
func (b *batch) fill(net Net) error {
	for i, in := range b.inputs {
		if want := len(net.Input(i)); len(in) != want {
			return fmt.Errorf("a batch of %d samples has %d values at the cut, and the network takes %d", len(b.labels), len(in), want)
		}
		copy(net.Input(i), in)
	}
	return nil
}

// A reader reads batches ahead, so that samples are decoded while the net computes.
type reader struct {
	ctx     context.Context
	cancel  context.CancelFunc
	batches chan result
	done    sync.WaitGroup
}

type result struct {
	batch *batch
	err   error
}

// ahead is how many batches wait; one more is being read and one in use.
const ahead = 1

// read begins to read the samples of one epoch, in batches. The caller closes the reader.
func read(ctx context.Context, s Source, epoch int, batches [][]int, workers int, finish func(i int, b *batch)) *reader {
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{ctx: ctx, cancel: cancel, batches: make(chan result, ahead)}
	r.done.Go(func() {
		for i, samples := range batches {
			b, err := readBatch(ctx, s, epoch, samples, workers)
			if err == nil && finish != nil {
				finish(i, b)
			}
			select {
			case r.batches <- result{b, err}:
			case <-ctx.Done():
				return
			}
		}
	})
	return r
}

// next returns the next batch.
func (r *reader) next() (*batch, error) {
	select {
	case next := <-r.batches:
		return next.batch, next.err
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	}
}

// close waits until the source is no longer used.
func (r *reader) close() {
	r.cancel()
	r.done.Wait()
}

func readBatch(ctx context.Context, s Source, epoch int, samples []int, workers int) (*batch, error) {
	rows := make([][][]float32, len(samples))
	errs := make([]error, len(samples))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(workers, len(samples)) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(samples) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				rows[i], errs[i] = s.Rows(ctx, epoch, samples[i])
			}
		})
	}
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	b := &batch{labels: labels(s, samples), inputs: make([][]float32, len(rows[0]))}
	for j, first := range rows[0] {
		in := make([]float32, 0, len(samples)*len(first))
		for i := range rows {
			if len(rows[i]) != len(rows[0]) || len(rows[i][j]) != len(first) {
				return nil, fmt.Errorf("samples %d and %d have different numbers of values at the cut", samples[0], samples[i])
			}
			in = append(in, rows[i][j]...)
		}
		b.inputs[j] = in
	}
	return b, nil
}

// Logits computes the network's output for samples as they are seen in an epoch, [samples, classes],
// with dropout inactive.
func Logits(ctx context.Context, build Builder, s Source, batchSize int) ([]float32, error) {
	return newNets(build).logits(ctx, s, 1, batchSize, workers(0))
}

func (n *nets) logits(ctx context.Context, s Source, epoch, batchSize, workers int) ([]float32, error) {
	samples := make([]int, s.Len())
	for i := range samples {
		samples[i] = i
	}
	batches := slices.Collect(slices.Chunk(samples, batchSize))
	r := read(ctx, s, epoch, batches, workers, nil)
	defer r.close()
	var all []float32
	for range batches {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := r.next()
		if err != nil {
			return nil, err
		}
		net, err := n.of(len(b.labels))
		if err != nil {
			return nil, err
		}
		if err := b.fill(net); err != nil {
			return nil, err
		}
		all = append(all, net.Forward(false, nil)...)
	}
	return all, nil
}

// workers is the number of goroutines that read samples, of which 0 means as many as processors.
func workers(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}
