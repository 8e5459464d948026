// Package features runs photos through the part of a network that doesn't train: decode, transform,
// trunk. What comes out is computed once for each photo and can be kept on disk ([Cache]).
package features

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"os"
	"sync"

	"github.com/graft-ml/graft/internal/augment"
	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

// An Extractor computes a network's outputs for photos. Its fields must not change while it works.
type Extractor struct {
	Transform *transform.Pipeline
	Augment   *augment.Pipeline // in place of Transform, with keys of Seed, View and the photo's content; nil for none
	Seed      uint64
	View      uint64
	Plan      *engine.Plan                  // takes one image
	Batch     func() (*engine.Batch, error) // computes the same outputs; called if there is more than one photo
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
// Photos are computed side by side, a batch on each thread; one photo alone is divided among the
// threads. The results are the same either way.
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
			if ctx.Err() == nil {
				yield(e.single(path, err))
			}
			return
		}
		batch, batchErr := e.Batch()
		if batchErr != nil { // no photo can be computed
			for ok := yield(Result{Path: path, Err: batchErr}); ok && more; second, _, more = next() {
				ok = yield(Result{Path: second, Err: batchErr})
			}
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		// Slots wait in order for their results while workers fill them.
		ahead := 2 * e.Threads * batch.Size()
		slots, work := make(chan *slot, ahead), make(chan *slot, ahead)
		var workers sync.WaitGroup
		defer func() {
			cancel()
			workers.Wait()
		}()
		for range e.Threads {
			workers.Go(func() { (&worker{Extractor: e, size: batch.Size(), state: batch.NewState()}).serve(ctx, work) })
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
					return true
				case <-ctx.Done(): // the workers may have left
					return false
				}
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
			select {
			case r := <-s.result:
				if ctx.Err() == nil && yield(r) {
					continue
				}
			case <-ctx.Done():
			}
			cancel()
			for range slots { // until the feeder has seen it
			}
			return
		}
	}
}

// A slot is a photo that waits for its result.
type slot struct {
	path   string
	err    error
	result chan Result
}

// A worker has the memory to compute one batch at a time.
type worker struct {
	*Extractor
	reader  reader
	state   *engine.BatchState
	size    int
	pending []computed // in the batch
}

// computed is a photo whose outputs are being computed, and under which key they are to be cached.
type computed struct {
	*slot
	key Key
}

// serve takes photos until there are no more: several at once while there are enough for all threads.
func (w *worker) serve(ctx context.Context, work <-chan *slot) {
	for s := range work {
		share := min(w.size, 1+len(work)/w.Threads)
		for n := 1; s != nil; n++ {
			if ctx.Err() != nil {
				return
			}
			w.add(s)
			s = nil
			if n < share {
				select {
				case s = <-work: // nil when there are no more
				default:
				}
			}
		}
		w.finish()
	}
}

// add takes a photo into the batch, or gives its result right away.
func (w *worker) add(s *slot) {
	key, row, err := w.prepare(s.path, s.err, &w.reader, w.state.Input())
	if err != nil || row != nil {
		s.result <- Result{s.path, w.split(row), err}
		return
	}
	w.state.Add()
	w.pending = append(w.pending, computed{s, key})
}

// finish computes the batch and gives the results.
func (w *worker) finish() {
	if len(w.pending) == 0 {
		return
	}
	w.state.Run()
	for i, c := range w.pending {
		c.result <- w.keep(c.path, c.key, func(output int) []float32 { return w.state.Output(output, i) })
	}
	w.pending = w.pending[:0]
}

// single computes a photo on all threads.
func (e *Extractor) single(path string, err error) Result {
	s := e.Plan.NewState(e.Threads)
	key, row, err := e.prepare(path, err, new(reader), s.Input(0))
	if err != nil || row != nil {
		return Result{path, e.split(row), err}
	}
	s.Run()
	return e.keep(path, key, s.Output)
}

// A Computer computes one photo at a time on one thread, without the cache.
type Computer struct {
	extractor Extractor
	reader    reader
	state     *engine.State
}

// NewComputer allocates the memory for it.
func (e *Extractor) NewComputer() *Computer {
	c := &Computer{extractor: *e, state: e.Plan.NewState(1)}
	c.extractor.Cache = nil
	return c
}

// Compute returns the outputs for a view of a photo.
func (c *Computer) Compute(path string, view uint64) ([][]float32, error) {
	c.extractor.View = view
	key, _, err := c.extractor.prepare(path, nil, &c.reader, c.state.Input(0))
	if err != nil {
		return nil, err
	}
	c.state.Run()
	r := c.extractor.keep(path, key, c.state.Output)
	return r.Outputs, r.Err
}

// A Decoder finds out whether photos can be decoded, one after the other.
type Decoder struct{ reader }

// Decode returns the error that computing the photo would, if it can't be read or decoded.
func (d *Decoder) Decode(path string) error {
	data, err := d.read(path)
	if err != nil {
		return err
	}
	if _, err := d.decoder.Decode(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// A reader has the memory that one photo after the other is read and decoded in.
type reader struct {
	file    bytes.Buffer
	decoder photo.Decoder
}

// read returns the bytes of a file, which are valid until the next call.
func (r *reader) read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r.file.Reset()
	_, err = r.file.ReadFrom(f)
	return r.file.Bytes(), err
}

// prepare reads a photo and writes its tensor to dst, unless the cache has its row.
func (e *Extractor) prepare(path string, err error, r *reader, dst []float32) (key Key, row []float32, _ error) {
	if err != nil {
		return key, nil, err
	}
	data, err := r.read(path)
	if err != nil {
		return key, nil, err
	}
	if e.Cache != nil || e.Augment != nil {
		key = sha256.Sum256(data)
	}
	if e.Cache != nil {
		if row, ok := e.Cache.get(key); ok {
			return key, row, nil
		}
	}
	img, err := r.decoder.Decode(data)
	switch {
	case err != nil:
	case e.Augment != nil:
		err = e.Augment.Apply(dst, img, augment.Key{Seed: e.Seed, View: e.View, Sample: string(key[:])})
	default:
		err = e.Transform.Apply(dst, img)
	}
	if err != nil {
		return key, nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil, nil
}

// keep copies the outputs of a photo, and puts them into the cache.
func (e *Extractor) keep(path string, key Key, output func(i int) []float32) Result {
	row := make([]float32, 0, e.Plan.OutputsLen())
	for i := range e.Plan.Outputs() {
		row = append(row, output(i)...)
	}
	if e.Cache != nil {
		if err := e.Cache.put(key, row); err != nil {
			return Result{Path: path, Err: err}
		}
	}
	return Result{path, e.split(row), nil}
}

// split cuts a row into the outputs.
func (e *Extractor) split(row []float32) [][]float32 {
	if row == nil {
		return nil
	}
	outputs := make([][]float32, e.Plan.Outputs())
	for i := range outputs {
		n := e.Plan.OutputLen(i)
		outputs[i], row = row[:n:n], row[n:]
	}
	return outputs
}
