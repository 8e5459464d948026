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
	if t.tail, t.frontier = g.Split(); !t.tail[g.Output.ID] {
		return nil, errors.New("nothing trains: every parameter is frozen; replace the head, or freeze less")
	}
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
	list, err := augment.Parse(opts.Augment)
	if err != nil {
		return nil, err
	}
	pipeline, err := augment.NewPipeline(m.transform, list)
	if err != nil {
		return nil, err
	}
	v := &values{}
	if mixer := pipeline.Mixer(); mixer != nil {
		if v.mix, err = m.mixing(t, mixer, opts.Seed); err != nil {
			return nil, err
		}
	}
	c := collector{trunk: t, model: m, opts: opts, progress: progressOr(opts.Progress), list: list}
	views := max(opts.Views, 1)
	if len(list) > 0 && opts.Views == 0 {
		views = 0
	}
	c.progress.Start("Computing features", 0, int64(views*len(d.Train)+len(d.Test)))
	defer c.progress.Finish()
	if views == 0 {
		v.train = &live{trunk: t.augmented(pipeline, opts.Seed), photos: d.Train}
	} else if err := c.views(ctx, d.Train, pipeline, views, v); err != nil {
		return nil, err
	}
	v.paths, err = c.collect(ctx, t, d.Test, &v.test)
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

// mixing returns what MixUp and CutMix do to a batch.
func (m *Model) mixing(t *trunk, mixer *augment.Mixer, seed uint64) (func(epoch, batch int, inputs [][]float32, targets []float32), error) {
	if len(t.frontier) != 1 || t.frontier[0] != t.graph.Inputs[0] {
		return nil, errors.New("MixUp and CutMix mix pixels: they need a network that trains from its first layer on; unfreeze all of it, or leave them out")
	}
	height, width := m.InputSize()
	classes := m.outputs()
	return func(epoch, batch int, inputs [][]float32, targets []float32) {
		key := augment.Key{Seed: seed, View: uint64(epoch), Sample: fmt.Sprint(batch)}
		if err := mixer.Apply(key, inputs[0], len(targets)/classes, height, width, 3, targets, classes); err != nil {
			panic(err) // the sizes are the network's own
		}
	}, nil
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
		failed := len(c.failed)
		if _, err := c.collect(ctx, t, photos, &turns[i]); err != nil {
			return err
		}
		if i > 0 {
			c.failed = c.failed[:failed] // they are the same
		}
		for j := range turns[i].Labels {
			v.groups = append(v.groups, j)
		}
	}
	v.train = turns
	return nil
}

// collect computes one view of photos, and returns the paths of those that it could.
func (c *collector) collect(ctx context.Context, t *trunk, photos []Photo, s *train.InMemory) (done []string, err error) {
	if c.opts.Cache {
		if t.Cache, err = c.model.openCache(t, c.list); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, t.Cache.Flush()) }()
	}
	i := 0
	for r := range t.Each(ctx, paths(photos)) {
		switch {
		case r.Err == nil:
			s.Values = append(s.Values, r.Outputs)
			s.Labels = append(s.Labels, photos[i].Class)
			done = append(done, r.Path)
		case c.opts.Strict:
			return nil, r.Err
		default:
			c.failed = append(c.failed, r.Err)
			c.progress.Note(fmt.Sprintf("left out: %v", r.Err))
		}
		c.progress.Add(1)
		i++
	}
	return done, ctx.Err()
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
