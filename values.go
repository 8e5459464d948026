package graft

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"runtime/debug"
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
	test   train.Source
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

// none reports whether nothing is frozen, so that there is only the photo at the cut.
func (t *trunk) none() bool { return len(t.frontier) == 1 && t.frontier[0] == t.graph.Inputs[0] }

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

// values computes the frozen part of the network for all photos, or arranges for it to be computed
// whenever an epoch reads them.
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
	c := collector{model: m, opts: opts, progress: progressOr(opts.Progress), list: pipeline.List(), room: memoryForValues()}
	if opts.Solver != "" {
		c.room = math.MaxInt
	}
	views := max(opts.Views, 1)
	if len(c.list) > 0 && opts.Views == 0 {
		views = 0
	}
	train := c.plan(t.augmented(pipeline, opts.Seed), d.Train, views)
	test := c.plan(t, d.Test, 1)
	c.progress.Start("Computing features", 0, int64(train.reads()+test.reads()))
	defer c.progress.Finish()
	if v.train, _, err = c.source(ctx, train); err != nil {
		return nil, err
	}
	if v.test, test.photos, err = c.source(ctx, test); err != nil {
		return nil, err
	}
	for _, p := range test.photos {
		v.paths = append(v.paths, p.Path)
	}
	v.failed = c.failed
	return v, nil
}

// someMemory is taken for a machine's memory where that can't be found out.
const someMemory = 8 << 30

// memoryForValues is how many bytes the values of photos may take; those that take more are computed
// anew in each epoch. Tests make it less.
var memoryForValues = func() int { return int(min(memory(), uint64(debug.SetMemoryLimit(-1))) / 4) }

// augmented returns a trunk that augments photos first.
func (t *trunk) augmented(p *augment.Pipeline, seed uint64) *trunk {
	a, e := *t, *t.Extractor
	a.Extractor = &e
	if len(p.List()) > 0 {
		e.Augment, e.Seed = p, seed
	}
	return &a
}

// view returns a trunk that computes another view.
func (t *trunk) view(n uint64) *trunk {
	a, e := *t, *t.Extractor
	a.Extractor, e.View = &e, n
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

// A collector computes photos and keeps what it gets in memory, where there is room.
type collector struct {
	model    *Model
	opts     *TrainOptions
	progress Progress
	list     augment.List
	room     int // bytes
	failed   []error
}

// A plan is how one part of the photos is to be computed.
type plan struct {
	*trunk
	photos []Photo
	views  int // that epochs take turns with; 0 for new ones in each
	live   bool
}

// plan finds out whether there is room for so many views of photos.
func (c *collector) plan(t *trunk, photos []Photo, views int) plan {
	p := plan{t, photos, views, views == 0}
	bytes := 4 * t.Plan.OutputsLen()
	if !p.live && len(photos) > c.room/bytes/views {
		c.progress.Note(fmt.Sprintf("%d photos would take %.1f GB of memory: they are computed anew in each epoch", len(photos), float64(len(photos)*views*bytes)/1e9))
		p.live = true
	}
	if !p.live {
		c.room -= len(photos) * views * bytes
	}
	return p
}

// reads is how often photos are read before the first epoch.
func (p plan) reads() int {
	if p.live {
		return len(p.photos)
	}
	return p.views * len(p.photos)
}

// source returns the values of photos, and those photos that can be read.
func (c *collector) source(ctx context.Context, p plan) (train.Source, []Photo, error) {
	photos := p.photos
	if p.live {
		photos, err := c.decodable(ctx, photos)
		return &live{trunk: p.trunk, photos: photos, views: p.views}, photos, err
	}
	turns := make(turns, p.views)
	for i := range turns {
		t := p.trunk.view(uint64(i + 1))
		done, err := c.collect(ctx, t, photos, &turns[i])
		if err == nil && i > 0 && len(done) < len(photos) {
			err = fmt.Errorf("photos changed while they were read: %w", c.failed[len(c.failed)-1])
		}
		if err != nil {
			return nil, nil, err
		}
		photos = done
	}
	return turns, photos, nil
}

// collect computes one view of photos, and returns those that it could.
func (c *collector) collect(ctx context.Context, t *trunk, photos []Photo, s *train.InMemory) (done []Photo, err error) {
	if c.opts.Cache && !t.none() {
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

// live is a [train.Source] that computes each photo anew for each epoch, as turns that are in memory
// would have it.
type live struct {
	*trunk
	photos    []Photo
	views     int // that epochs take turns with; 0 for new ones in each
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
	view := epoch
	if l.views > 0 {
		view = (epoch-1)%l.views + 1
	}
	return c.Compute(l.photos[i].Path, uint64(view))
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
