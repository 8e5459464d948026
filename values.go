package graft

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"unsafe"

	"github.com/graft-ml/graft/internal/augment"
	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/features"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/hub"
	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/train"
)

// values are what training reads of the photos: what the network has for each at the cut.
type values struct {
	train  train.Source
	groups []int // of the rows of train that are in memory, which photo each is of
	test   train.InMemory
	paths  []string // of the test samples
	failed []error  // photos that couldn't be decoded
	mix    func(epoch, batch int, inputs [][]float32, targets []float32)
}

// A trunk computes the frozen part of a network.
type trunk struct {
	*features.Extractor
	graph    *graph.Graph
	frontier []*graph.Node
	tail     []bool
	options  engine.Options
}

// trunk compiles what stands before the first thing that trains.
func (m *Model) trunk(options engine.Options) (*trunk, error) {
	g, err := m.trace(1)
	if err != nil {
		return nil, err
	}
	t := &trunk{graph: g, options: options}
	t.tail, t.frontier = g.Split()
	plan, err := options.Compile(g, t.frontier...)
	if err != nil {
		return nil, err
	}
	atCut := func(g *graph.Graph) []*graph.Node {
		nodes := make([]*graph.Node, len(t.frontier))
		for i, n := range t.frontier {
			nodes[i] = g.Nodes[n.ID]
		}
		return nodes
	}
	t.Extractor = &features.Extractor{Transform: m.transform, Plan: plan, Threads: m.threads(),
		Batch: sync.OnceValues(func() (*engine.Batch, error) { return m.batch(atCut) })}
	return t, nil
}

// values computes the frozen part of the network for all photos, or arranges for it to be computed for
// each epoch's augmented photos.
func (m *Model) values(ctx context.Context, d *Dataset, options engine.Options, opts *TrainOptions) (*values, error) {
	t, err := m.trunk(options)
	if err != nil {
		return nil, err
	}
	pipeline, err := m.augmentation(opts)
	if err != nil {
		return nil, err
	}
	v := &values{}
	if mixer := pipeline.Mixer(); mixer != nil {
		v.mix = m.mixing(mixer, opts.Seed)
	}
	c := collector{trunk: t, model: m, opts: opts, progress: progressOr(opts.Progress), list: pipeline.List()}
	views := max(opts.Views, 1)
	if len(c.list) > 0 && opts.Views == 0 {
		views = 0
	}
	c.progress.Start("Computing features", 0, int64(max(views, 1)*len(d.Train)+len(d.Test)))
	defer c.progress.Finish()
	if views == 0 {
		photos, err := c.decodable(ctx, d.Train)
		if err != nil {
			return nil, err
		}
		v.train = &live{trunk: t.augmented(pipeline, opts.Seed), photos: photos}
	} else if err := c.views(ctx, d.Train, pipeline, views, v); err != nil {
		return nil, err
	}
	test, err := c.collect(ctx, t, d.Test, &v.test)
	for _, p := range test {
		v.paths = append(v.paths, p.Path)
	}
	v.failed = c.failed
	return v, err
}

// augmented returns a trunk that augments photos first.
func (t *trunk) augmented(p *augment.Pipeline, seed uint64) *trunk {
	a, e := *t, *t.Extractor
	a.Extractor = &e
	if len(p.List()) > 0 {
		e.Augment, e.Seed = p, seed
	}
	return &a
}

// augmentation returns how photos are augmented.
func (m *Model) augmentation(o *TrainOptions) (*augment.Pipeline, error) {
	list, err := augment.Parse(o.Augment)
	if err != nil {
		return nil, err
	}
	return augment.NewPipeline(m.transform, list)
}

// mixing returns what MixUp and CutMix do to a batch.
func (m *Model) mixing(mixer *augment.Mixer, seed uint64) func(epoch, batch int, inputs [][]float32, targets []float32) {
	height, width := m.InputSize()
	classes := m.outputs()
	return func(epoch, batch int, inputs [][]float32, targets []float32) {
		key := augment.Key{Seed: seed, View: uint64(epoch), Sample: fmt.Sprint(batch)}
		if err := mixer.Apply(key, inputs[0], len(targets)/classes, height, width, 3, targets, classes); err != nil {
			panic(err) // the sizes are the network's own
		}
	}
}

// A collector computes photos and keeps what it gets in memory.
type collector struct {
	*trunk
	model    *Model
	opts     *TrainOptions
	progress Progress
	list     augment.List
	failed   []error
}

// views collects so many views of each photo; epochs take turns with them.
func (c *collector) views(ctx context.Context, photos []Photo, p *augment.Pipeline, n int, v *values) error {
	turns := make(turns, n)
	for i := range turns {
		t := c.augmented(p, c.opts.Seed)
		t.View = uint64(i + 1)
		done, err := c.collect(ctx, t, photos, &turns[i])
		if err == nil && i > 0 && len(done) < len(photos) {
			err = fmt.Errorf("photos changed while they were read: %w", c.failed[len(c.failed)-1])
		}
		if err != nil {
			return err
		}
		photos = done
		for j := range turns[i].Labels {
			v.groups = append(v.groups, j)
		}
	}
	v.train = turns
	return nil
}

// collect computes one view of photos, and returns those that it could.
func (c *collector) collect(ctx context.Context, t *trunk, photos []Photo, s *train.InMemory) (done []Photo, err error) {
	if c.opts.Cache {
		if t.Cache, err = c.model.openCache(t, c.list); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, t.Cache.Flush()) }()
	}
	i := 0
	for r := range t.Each(ctx, paths(photos)) {
		if r.Err == nil {
			s.Values = append(s.Values, r.Outputs)
			s.Labels = append(s.Labels, photos[i].Class)
			done = append(done, photos[i])
		} else if err := c.leaveOut(r.Err); err != nil {
			return nil, err
		}
		c.progress.Add(1)
		i++
	}
	return done, ctx.Err()
}

// leaveOut notes a photo that can't be decoded; strictly, that is an error.
func (c *collector) leaveOut(err error) error {
	if c.opts.Strict {
		return err
	}
	c.failed = append(c.failed, err)
	c.progress.Note(fmt.Sprintf("left out: %v", err))
	return nil
}

// decodable decodes photos for nothing but to know which can be: where they are computed anew for each
// epoch, it is too late to leave one out when an epoch reads it.
func (c *collector) decodable(ctx context.Context, photos []Photo) (can []Photo, err error) {
	threads := c.model.threads()
	decoders := make([]features.Decoder, threads)
	errs := make([]error, threads)
	for chunk := range slices.Chunk(photos, threads) {
		var wait sync.WaitGroup
		for i, p := range chunk {
			wait.Go(func() { errs[i] = decoders[i].Decode(p.Path) })
		}
		wait.Wait()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i, p := range chunk {
			if errs[i] == nil {
				can = append(can, p)
			} else if err := c.leaveOut(errs[i]); err != nil {
				return nil, err
			}
			c.progress.Add(1)
		}
	}
	return can, nil
}

// turns are views of the same photos, of which each epoch sees another.
type turns []train.InMemory

func (t turns) Len() int        { return t[0].Len() }
func (t turns) Label(i int) int { return t[0].Label(i) }
func (t turns) Rows(_ context.Context, epoch, i int) ([][]float32, error) {
	return t[(epoch-1)%len(t)].Values[i], nil
}

// live is a [train.Source] that computes each photo anew for each epoch.
type live struct {
	*trunk
	photos    []Photo
	computers sync.Pool
}

func (l *live) Len() int        { return len(l.photos) }
func (l *live) Label(i int) int { return l.photos[i].Class }
func (l *live) Rows(_ context.Context, epoch, i int) ([][]float32, error) {
	c, ok := l.computers.Get().(*features.Computer)
	if !ok {
		c = l.NewComputer()
	}
	defer l.computers.Put(c)
	return c.Compute(l.photos[i].Path, uint64(epoch))
}

func paths(photos []Photo) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, p := range photos {
			if !yield(p.Path, nil) {
				return
			}
		}
	}
}

// openCache opens the cache of what the trunk computes with its present weights, transforms and view.
func (m *Model) openCache(t *trunk, list augment.List) (*features.Cache, error) {
	root, err := hub.CacheDir()
	if err != nil {
		return nil, err
	}
	text, err := m.transform.MarshalJSON()
	if err != nil {
		return nil, err
	}
	identity := sha256.New()
	fmt.Fprintf(identity, "%s %s\n%s %s\n%s\n", engine.Version, photo.Version, t.options.Kernels.Name, cmp.Or(t.options.Precision, FP32), text)
	if t.Augment != nil {
		fmt.Fprintf(identity, "%v of seed %d, view %d\n", list, t.Seed, t.View)
	}
	for _, n := range t.graph.Nodes {
		if t.tail[n.ID] {
			continue
		}
		fmt.Fprintf(identity, "%T %+v %v\n", n.Op, n.Op, n.Shape)
		for _, p := range n.Params {
			if len(p.Data) > 0 {
				identity.Write(unsafe.Slice((*byte)(unsafe.Pointer(&p.Data[0])), 4*len(p.Data)))
			}
		}
	}
	for _, n := range t.frontier {
		io.WriteString(identity, n.Path)
	}
	return features.OpenCache(filepath.Join(root, "features"), [32]byte(identity.Sum(nil)), t.Plan.OutputsLen())
}
