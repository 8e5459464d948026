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
	Batch     func() (*engine.Batch, error) // computes the same outputs; called if there are more than a few photos
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
// Photos are computed side by side, on each thread one by one as long as they are [Few], and otherwise in batches;
// where there are fewer than threads, each is divided among all threads. The results are the same either way.
func (e *Extractor) Each(ctx context.Context, paths iter.Seq2[string, error]) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		next, stop := iter.Pull2(paths)
		defer stop()
		var first []*slot
		for len(first) <= Few*e.Threads {
			path, err, ok := next()
			if !ok {
				break
			}
			first = append(first, newSlot(path, err))
		}
		if len(first) < max(e.Threads, 2) {
			one := e.newOne(e.Threads)
			for _, s := range first {
				if ctx.Err() != nil || !yield(one.compute(s.path, s.err)) {
					return
				}
			}
			return
		}
		var batch *engine.Batch
		if len(first) > Few*e.Threads {
			var err error
			if batch, err = e.Batch(); err != nil { // no photo can be computed
				for _, s := range first {
					if !yield(Result{Path: s.path, Err: err}) {
						return
					}
				}
				for path, _, ok := next(); ok && yield(Result{Path: path, Err: err}); path, _, ok = next() {
				}
				return
			}
		}
		ctx, cancel := context.WithCancel(ctx)
		// Slots wait in order for their results while workers fill them.
		ahead := len(first)
		if batch != nil {
			ahead = 2 * e.Threads * batch.Size()
		}
		slots, work := make(chan *slot, ahead), make(chan *slot, ahead)
		var workers sync.WaitGroup
		defer func() {
			cancel()
			workers.Wait()
		}()
		for range e.Threads {
			workers.Go(func() { e.newWorker(batch).serve(ctx, work) })
		}
		workers.Go(func() {
			defer close(slots)
			defer close(work)
			give := func(s *slot) bool {
				if ctx.Err() != nil {
					return false
				}
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
			for _, s := range first {
				if !give(s) {
					return
				}
			}
			for {
				if path, err, ok := next(); !ok || !give(newSlot(path, err)) {
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

func newSlot(path string, err error) *slot { return &slot{path, err, make(chan Result, 1)} }

// Few is how many photos a thread computes without preparing for batches.
const Few = 4

// A worker has the memory to compute one photo or one batch at a time.
type worker struct {
	*Extractor
	reader  reader
	one     *one               // nil until it is needed
	batch   *engine.BatchState // nil for no batches
	size    int                // of a batch
	pending []computed         // in the batch
}

func (e *Extractor) newWorker(batch *engine.Batch) *worker {
	w := &worker{Extractor: e, size: 1}
	if batch != nil {
		w.batch, w.size = batch.NewState(), batch.Size()
	}
	return w
}

// computed is a photo whose outputs are being computed, and under which key they are to be cached.
type computed struct {
	*slot
	key Key
}

// serve takes photos until there are no more.
func (w *worker) serve(ctx context.Context, work <-chan *slot) {
	Divide(ctx, work, w.Threads, w.size, func(s *slot) {
		if w.one == nil {
			w.one = w.newOne(1)
		}
		s.result <- w.one.compute(s.path, s.err)
	}, w.add, w.finish)
}

// Divide takes photos, one of several threads does, until there are no more: in batches of at most so many, by add and
// then finish, while there are enough for all threads, and otherwise one by one.
func Divide[Photo any](ctx context.Context, work <-chan Photo, threads, most int, one, add func(Photo), finish func()) {
	for photo := range work {
		if ctx.Err() != nil {
			return
		}
		share := min(most, 1+len(work)/threads)
		if share <= max(most/2, 1) { // a batch takes as long if it isn't full
			one(photo)
			continue
		}
		for n := 1; ; n++ {
			add(photo)
			more := n < share && ctx.Err() == nil
			if more {
				select {
				case photo, more = <-work:
				default:
					more = false
				}
			}
			if !more {
				break
			}
		}
		finish()
	}
}

// add takes a photo into the batch, or gives its result right away.
func (w *worker) add(s *slot) {
	key, row, err := w.prepare(s.path, s.err, &w.reader, w.batch.Input())
	if err != nil || row != nil {
		s.result <- Result{s.path, w.split(row), err}
		return
	}
	w.batch.Add()
	w.pending = append(w.pending, computed{s, key})
}

// finish computes the batch and gives the results.
func (w *worker) finish() {
	if len(w.pending) == 0 {
		return
	}
	w.batch.Run()
	for i, c := range w.pending {
		c.result <- w.keep(c.path, c.key, func(output int) []float32 { return w.batch.Output(output, i) })
	}
	w.pending = w.pending[:0]
}

// A one has the memory to compute one photo at a time on some threads.
type one struct {
	*Extractor
	reader reader
	state  *engine.State
}

func (e *Extractor) newOne(threads int) *one {
	return &one{Extractor: e, state: e.Plan.NewState(threads)}
}

func (o *one) compute(path string, err error) Result {
	key, row, err := o.prepare(path, err, &o.reader, o.state.Input(0))
	if err != nil || row != nil {
		return Result{path, o.split(row), err}
	}
	o.state.Run()
	return o.keep(path, key, o.state.Output)
}

// A Computer computes one photo at a time on one thread, without the cache.
type Computer struct{ *one }

// NewComputer allocates the memory for it.
func (e *Extractor) NewComputer() *Computer {
	uncached := *e
	uncached.Cache = nil
	return &Computer{uncached.newOne(1)}
}

// Compute returns the outputs for a view of a photo.
func (c *Computer) Compute(path string, view uint64) ([][]float32, error) {
	c.View = view
	r := c.compute(path, nil)
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
