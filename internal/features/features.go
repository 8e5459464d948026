// Package features runs photos through the part of a network that doesn't train: decode, transform,
// trunk. What comes out is computed once for each photo and can be kept on disk ([Cache]).
package features

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"os"
	"sync"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

// An Extractor computes a plan's outputs for photos. Its fields must not change while it works.
type Extractor struct {
	Transform *transform.Pipeline
	Plan      *engine.Plan // takes one image
	Threads   int
	Cache     *Cache // nil for none
}

// A Result is what came of one photo: the plan's outputs, or why there are none.
type Result struct {
	Path    string
	Outputs [][]float32
	Err     error
}

// Each computes photos and yields a result for each, in their order and as they come. It reads ahead
// only a little, so any number of photos takes the same memory. An error that paths yields is passed
// on as the result of that path. When ctx is cancelled it stops early: the caller looks at ctx.Err().
//
// Photos are computed side by side, one on each thread; one photo alone is divided among them. The
// results are the same either way.
func (e *Extractor) Each(ctx context.Context, paths iter.Seq2[string, error]) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		next, stop := iter.Pull2(paths)
		defer stop()
		path, err, ok := next()
		if !ok {
			return
		}
		second, secondErr, more := next()
		if !more {
			if w := e.worker(e.Threads); ctx.Err() == nil {
				yield(w.result(path, err))
			}
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		// Slots wait in order for their results while workers fill them.
		type slot struct {
			path   string
			err    error
			result chan Result
		}
		slots := make(chan *slot, 4*e.Threads)
		work := make(chan *slot)
		var workers sync.WaitGroup
		defer func() {
			cancel()
			workers.Wait()
		}()
		for range e.Threads {
			workers.Go(func() {
				w := e.worker(1)
				for s := range work {
					s.result <- w.result(s.path, s.err)
				}
			})
		}
		workers.Go(func() {
			defer close(slots)
			defer close(work)
			give := func(path string, err error) bool {
				s := &slot{path, err, make(chan Result, 1)}
				select {
				case slots <- s:
				case <-ctx.Done():
					return false
				}
				select {
				case work <- s:
				case <-ctx.Done():
					close(s.result)
					return false
				}
				return true
			}
			if !give(path, err) || !give(second, secondErr) {
				return
			}
			for {
				if path, err, ok := next(); !ok || !give(path, err) {
					return
				}
			}
		})
		for s := range slots {
			r, ok := <-s.result
			if !ok || ctx.Err() != nil || !yield(r) {
				cancel()
				for range slots { // until the feeder has seen it
				}
				return
			}
		}
	}
}

// worker has the memory to compute one photo at a time.
type worker struct {
	*Extractor
	state   *engine.State
	decoder photo.Decoder
}

func (e *Extractor) worker(threads int) *worker {
	return &worker{Extractor: e, state: e.Plan.NewState(threads)}
}

func (w *worker) result(path string, err error) Result {
	r := Result{Path: path, Err: err}
	if err == nil {
		r.Outputs, r.Err = w.compute(path)
	}
	return r
}

func (w *worker) compute(path string) ([][]float32, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var key Key
	if w.Cache != nil {
		key = sha256.Sum256(data)
		if row, ok := w.Cache.get(key); ok {
			return w.split(row), nil
		}
	}
	img, err := w.decoder.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := w.Transform.Apply(w.state.Input(0), img); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	w.state.Run()
	row := make([]float32, 0, w.Plan.OutputsLen())
	for i := range w.Plan.Outputs() {
		row = append(row, w.state.Output(i)...)
	}
	if w.Cache != nil {
		if err := w.Cache.put(key, row); err != nil {
			return nil, err
		}
	}
	return w.split(row), nil
}

// split cuts a row into the plan's outputs.
func (w *worker) split(row []float32) [][]float32 {
	outputs := make([][]float32, w.Plan.Outputs())
	for i := range outputs {
		n := w.Plan.OutputLen(i)
		outputs[i], row = row[:n:n], row[n:]
	}
	return outputs
}
