package graft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/graft-ml/graft/internal/checkpoint"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/hub"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/transform"
	"github.com/graft-ml/graft/internal/weights"
)

// LoadOptions says how to load a model; nil means the defaults.
type LoadOptions struct {
	// File is a local checkpoint to take instead of the published weights: .safetensors, .pth or .pt.
	File string
	// Progress is told of downloads.
	Progress Progress
}

// Load returns a model with its pretrained weights, which are downloaded into the cache folder if they
// aren't there (GRAFT_CACHE, or graft in the user's cache folder). A name is that of a model, meaning
// its default weights, or of a set of weights: "efficientnet_b0", "efficientnet_b0.IMAGENET1K_V1".
func Load(ctx context.Context, name string, opts *LoadOptions) (*Model, error) {
	if opts == nil {
		opts = &LoadOptions{}
	}
	entry, err := find(name)
	if err != nil {
		return nil, err
	}
	if opts.File != "" {
		return loadModel(entry, opts.File, "", Origin{Weights: cmp.Or(entry.Name, entry.Model), File: filepath.Base(opts.File)})
	}
	path, layout, err := fetch(ctx, entry, opts.Progress)
	if err != nil {
		return nil, err
	}
	return loadModel(entry, path, layout, Origin{Weights: entry.Name, License: entry.License})
}

// Scratch returns a model whose weights are drawn at random when training starts, from its seed.
func Scratch(name string, classes []string) (*Model, error) {
	return newModel(Weights{Model: name}, slices.Clone(classes))
}

// LoadOrScratch returns [Load]'s model or, where a network has no pretrained weights and no checkpoint
// is named, [Scratch]'s: its Origin then names no weights.
func LoadOrScratch(ctx context.Context, name string, classes []string, opts *LoadOptions) (*Model, error) {
	if entry, err := find(name); err == nil && entry.Name == "" && (opts == nil || opts.File == "") {
		return Scratch(name, classes)
	}
	return Load(ctx, name, opts)
}

// Pull downloads pretrained weights into the cache, if they aren't there, and returns their file.
func Pull(ctx context.Context, name string, progress Progress) (path string, err error) {
	entry, err := find(name)
	if err != nil {
		return "", err
	}
	path, _, err = fetch(ctx, entry, progress)
	return path, err
}

// find returns the weights that a name stands for. Those of a network without published weights have
// the model's name alone.
func find(name string) (Weights, error) {
	model, _, _ := strings.Cut(name, ".")
	entry, err := weights.Lookup(name)
	if _, unknown := weights.Lookup(model); unknown != nil {
		entry, err = Weights{Model: name}, nil
	}
	if err != nil {
		return entry, err
	}
	return entry, models.Known(entry.Model)
}

func fetch(ctx context.Context, entry Weights, progress Progress) (path string, layout weights.Layout, err error) {
	if entry.Name == "" {
		return "", "", fmt.Errorf("model %s has no pretrained weights: train it from scratch, or name a checkpoint", entry.Model)
	}
	client, err := newClient()
	if err != nil {
		return "", "", err
	}
	return entry.Fetch(ctx, client, progressOr(progress))
}

func newClient() (*hub.Client, error) {
	dir, err := hub.CacheDir()
	if err != nil {
		return nil, err
	}
	return hub.NewClient(dir), nil
}

func progressOr(p Progress) Progress {
	if p == nil {
		return quiet{}
	}
	return p
}

// newModel returns the model that weights are for, without values in its parameters.
func newModel(entry Weights, classes []string) (*Model, error) {
	network, err := models.New(entry.Model, len(classes))
	if err != nil {
		return nil, err
	}
	m := &Model{network: network, classes: classes}
	if entry.Name == "" {
		m.transform, err = transform.New(transform.Resize{Size: transform.Size{network.Size, network.Size}}, transform.ToTensor{})
		return m, err
	}
	if m.transform, err = publishedTransform(entry.Transforms); err != nil {
		return nil, err
	}
	if size := entry.Transforms.CropSize; size != network.Size {
		err = network.Resize(size)
	}
	return m, err
}

func publishedTransform(t weights.Transforms) (*transform.Pipeline, error) {
	var interpolation transform.Interpolation
	if err := interpolation.UnmarshalText([]byte(t.Interpolation)); err != nil {
		return nil, err
	}
	return transform.New(transform.ImageClassification(t.CropSize, t.ResizeSize, t.Mean, t.Std, interpolation)...)
}

// loadModel returns the model of a checkpoint, with as many classes as its head has.
func loadModel(entry Weights, path string, layout weights.Layout, origin Origin) (*Model, error) {
	file, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, err := newModel(entry, numbered(publishedClasses))
	if err != nil {
		return nil, err
	}
	if n := headClasses(m.network, file, layout); n != publishedClasses {
		if m, err = newModel(entry, numbered(n)); err != nil {
			return nil, err
		}
	} else if entry.Categories != "" {
		if m.classes, err = weights.Categories(entry.Categories); err != nil {
			return nil, err
		}
	}
	m.origin = origin
	return m, fillNetwork(m.network, file, layout)
}

// publishedClasses is the number of classes of the weights that are published: ImageNet-1K's.
const publishedClasses = 1000

// headClasses returns how many classes a checkpoint of the network has, publishedClasses if it doesn't tell.
func headClasses(network *models.Network, file *checkpoint.File, layout weights.Layout) int {
	head, ok := file.Tensor(names(network, file, layout)[network.Head+".weight"])
	if !ok || len(head.Shape) == 0 || head.Shape[0] < 1 || head.Shape[0] >= 1<<20 {
		return publishedClasses
	}
	return head.Shape[0]
}

// names maps the network's names to those in the file. Where a file doesn't say whose names it bears,
// the naming is taken that knows most of its tensors.
func names(network *models.Network, file *checkpoint.File, layout weights.Layout) map[string]string {
	rename := map[string]func(string) string{"": func(name string) string { return name }}
	for other, f := range network.Rename {
		if layout == "" || string(layout) == other {
			rename[other] = f
		}
	}
	known := map[string]bool{}
	for _, p := range network.Params() {
		known[p.Name] = true
	}
	best := map[string]string{}
	for _, f := range rename {
		found := map[string]string{}
		for _, t := range file.Tensors() {
			if name := f(t.Name); known[name] {
				found[name] = t.Name
			}
		}
		if len(found) > len(best) {
			best = found
		}
	}
	return best
}

// fillNetwork loads all parameters. Counters may be missing, and index buffers have their values.
func fillNetwork(network *models.Network, file *checkpoint.File, layout weights.Layout) error {
	inFile := names(network, file, layout)
	params, err := match(network, file, inFile)
	if err != nil {
		return fmt.Errorf("model %s: %s%w", network.Name, hint(file), err)
	}
	// Reading is mostly waiting for memory, so that all processors are worth asking.
	var group sync.WaitGroup
	errs := make([]error, len(params))
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, p := range params {
		limit <- struct{}{}
		group.Go(func() {
			defer func() { <-limit }()
			t, _ := file.Tensor(inFile[p.Name])
			p.Data, errs[i] = t.Float32s()
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// match returns the parameters to load, or says which tensors of the file are missing, of another shape
// or left over.
func match(network *models.Network, file *checkpoint.File, inFile map[string]string) (load []*graph.Param, err error) {
	var want []checkpoint.Spec
	ignored := map[string]bool{}
	for _, p := range network.Params() {
		name, found := inFile[p.Name]
		switch {
		case p.Counter || p.Index != nil:
			ignored[name] = true
		case !found && network.Headless && strings.HasPrefix(p.Name, network.Head+"."):
		default:
			load = append(load, p)
			want = append(want, checkpoint.Spec{Name: cmp.Or(name, p.Name), Shape: p.Shape})
		}
	}
	return load, file.Match(want, func(name string) bool { return ignored[name] })
}

// hint says which networks a checkpoint fits, if any.
func hint(file *checkpoint.File) string {
	var fits []string
	for _, name := range models.Names() {
		network, err := models.New(name, publishedClasses)
		if err == nil {
			network, err = models.New(name, headClasses(network, file, ""))
		}
		if err != nil {
			continue
		}
		if _, err := match(network, file, names(network, file, "")); err == nil {
			fits = append(fits, name)
		}
	}
	if fits == nil {
		return ""
	}
	return "the tensors fit " + strings.Join(fits, " or ") + "; "
}

func numbered(n int) []string {
	classes := make([]string, n)
	for i := range classes {
		classes[i] = fmt.Sprintf("class %d", i)
	}
	return classes
}
