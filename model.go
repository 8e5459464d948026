package graft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/graft-ml/graft/internal/checkpoint"
	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/features"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/hub"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/transform"
	"github.com/graft-ml/graft/internal/weights"
)

// A Model is a network with the transforms and class names that belong to its weights. Predicting is
// safe for any number of goroutines; changing the model (its fields, its head, training it) is not.
type Model struct {
	// Threads is how many processors computing uses; 0 means all.
	Threads int

	network   *models.Network
	transform *transform.Pipeline
	classes   []string
	origin    Origin
	dropout   *float64 // of a replaced head; nil for the published one
	trained   *Arguments

	mu     sync.Mutex
	plan   *engine.Plan // of the whole network; nil until something predicts
	states sync.Pool    // of the plan, for one thread
}

// Origin says where a model's weights came from.
type Origin struct {
	Weights string `json:"weights"`        // the set's name, "" if they were drawn at random
	File    string `json:"file,omitempty"` // the local checkpoint that was named
	License string `json:"license,omitempty"`
}

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
	entry, err := weights.Lookup(name)
	if err != nil {
		if slices.Contains(models.Names(), name) && opts.File == "" {
			return nil, fmt.Errorf("model %s has no pretrained weights: train it from scratch, or name a checkpoint", name)
		}
		return nil, err
	}
	m := &Model{origin: Origin{Weights: entry.Name, License: entry.License}}
	path, layout := opts.File, weights.Layout("")
	if path == "" {
		client, err := newClient()
		if err != nil {
			return nil, err
		}
		if path, layout, err = entry.Fetch(ctx, client, progressOr(opts.Progress)); err != nil {
			return nil, err
		}
	} else {
		m.origin = Origin{Weights: entry.Name, File: filepath.Base(path)}
	}
	if m.transform, err = publishedTransform(entry); err != nil {
		return nil, err
	}
	if m.classes, err = weights.Categories(entry.Categories); entry.Categories != "" && err != nil {
		return nil, err
	}
	if m.network, err = loadNetwork(entry.Model, path, layout); err != nil {
		return nil, err
	}
	if n := m.outputs(); n != len(m.classes) {
		m.classes = numbered(n)
	}
	return m, nil
}

// Scratch returns a model whose weights are drawn at random when training starts, from its seed.
func Scratch(name string, classes []string) (*Model, error) {
	network, err := models.New(name, len(classes))
	if err != nil {
		return nil, err
	}
	m := &Model{network: network, classes: slices.Clone(classes)}
	m.transform, err = transform.New(transform.Resize{Size: transform.Size{network.Size, network.Size}}, transform.ToTensor{})
	return m, err
}

// LoadOrScratch returns [Load]'s model or, where a network has no pretrained weights and no checkpoint
// is named, [Scratch]'s: its Origin then names no weights.
func LoadOrScratch(ctx context.Context, name string, classes []string, opts *LoadOptions) (*Model, error) {
	if _, err := weights.Lookup(name); err != nil && slices.Contains(models.Names(), name) && (opts == nil || opts.File == "") {
		return Scratch(name, classes)
	}
	return Load(ctx, name, opts)
}

// Pull downloads pretrained weights into the cache, if they aren't there, and returns their file.
func Pull(ctx context.Context, name string, progress Progress) (path string, err error) {
	entry, err := weights.Lookup(name)
	if err != nil {
		return "", err
	}
	client, err := newClient()
	if err != nil {
		return "", err
	}
	path, _, err = entry.Fetch(ctx, client, progressOr(progress))
	return path, err
}

// Open returns the model of a run folder, or of a model file that [Model.Save] wrote.
func Open(path string) (*Model, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, modelFile)
	}
	file, err := checkpoint.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no model: name a run folder or a model file that graft train wrote", path)
	} else if err != nil {
		return nil, err
	}
	defer file.Close()
	text, ok := file.Metadata["graft"]
	if !ok {
		return nil, fmt.Errorf("%s is a checkpoint without graft's metadata: name its architecture and give it as the weights", path)
	}
	var meta metadata
	if err := json.Unmarshal([]byte(text), &meta); err != nil {
		return nil, fmt.Errorf("%s: its metadata is damaged: %w", path, err)
	}
	if meta.Version != metadataVersion {
		return nil, fmt.Errorf("%s has format %d, and this version of graft reads %d: use another version", path, meta.Version, metadataVersion)
	}
	m := &Model{transform: &meta.Transform, classes: meta.Classes, origin: meta.Origin, dropout: meta.Dropout, trained: meta.Arguments}
	if m.network, err = models.New(meta.Architecture, len(meta.Classes)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.dropout != nil {
		if err := m.network.ReplaceHead(len(meta.Classes), *m.dropout); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	height, width := m.transform.OutputSize()
	if height != width || height < 1 {
		return nil, fmt.Errorf("%s: its transforms make photos of %d × %d pixels, which no network here takes", path, height, width)
	}
	if height != m.network.Size {
		if err := m.network.Resize(height); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return m, fillNetwork(m.network, file, "")
}

// modelFile is the model's file in a run folder.
const modelFile = "model.safetensors"

const metadataVersion = 1

// metadata is what a model file holds besides the weights, as JSON under "graft".
type metadata struct {
	Version      int                `json:"version"`
	Architecture string             `json:"architecture"`
	Classes      []string           `json:"classes"`
	Dropout      *float64           `json:"dropout,omitempty"`
	Transform    transform.Pipeline `json:"transform"`
	Origin       Origin             `json:"origin"`
	Arguments    *Arguments         `json:"arguments,omitempty"`
}

// Save writes the model to a .safetensors file: weights under PyTorch's names, and in the metadata
// what [Open] needs. An existing file is replaced at once or, after an error, not at all.
func (m *Model) Save(path string) error {
	meta, err := json.Marshal(struct {
		metadata
		Transform *transform.Pipeline `json:"transform"`
	}{metadata{
		Version: metadataVersion, Architecture: m.network.Name, Classes: m.classes, Dropout: m.dropout,
		Origin: m.origin, Arguments: m.trained,
	}, m.transform})
	if err != nil {
		return err
	}
	var entries []checkpoint.Entry
	for _, p := range m.network.Params() {
		if p.Data != nil && !p.Counter {
			entries = append(entries, checkpoint.Entry{Name: p.Name, Shape: p.Shape, Data: p.Data})
		}
	}
	return checkpoint.WriteSafetensors(path, entries, map[string]string{"graft": string(meta)})
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

func publishedTransform(entry weights.Entry) (*transform.Pipeline, error) {
	t := entry.Transforms
	var interpolation transform.Interpolation
	if err := interpolation.UnmarshalText([]byte(t.Interpolation)); err != nil {
		return nil, err
	}
	return transform.New(transform.ImageClassification(t.CropSize, t.ResizeSize, t.Mean, t.Std, interpolation)...)
}

// loadNetwork builds an architecture with as many classes as a checkpoint's head has, and loads it.
func loadNetwork(name, path string, layout weights.Layout) (*models.Network, error) {
	file, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	network, err := models.New(name, 1000)
	if err != nil {
		return nil, err
	}
	renamed := names(network, file, layout)
	head, ok := file.Tensor(renamed[network.Head+".weight"])
	if ok && len(head.Shape) > 0 && head.Shape[0] > 0 && head.Shape[0] != 1000 && head.Shape[0] < 1<<20 {
		if network, err = models.New(name, head.Shape[0]); err != nil {
			return nil, err
		}
	}
	return network, fillNetwork(network, file, layout)
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
	params := network.Params()
	var want []checkpoint.Spec
	ignored := map[string]bool{}
	for _, p := range params {
		name, ok := inFile[p.Name]
		if !ok {
			name = p.Name
		}
		if p.Counter || p.Index != nil {
			ignored[name] = true
			continue
		}
		want = append(want, checkpoint.Spec{Name: name, Shape: p.Shape})
	}
	if err := file.Match(want, func(name string) bool { return ignored[name] }); err != nil {
		return fmt.Errorf("model %s: %w", network.Name, err)
	}
	// Reading is mostly waiting for memory, so that all processors are worth asking.
	var group sync.WaitGroup
	errs := make([]error, len(params))
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, p := range params {
		if ignored[p.Name] || p.Counter || p.Index != nil {
			continue
		}
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

func numbered(n int) []string {
	classes := make([]string, n)
	for i := range classes {
		classes[i] = fmt.Sprintf("class %d", i)
	}
	return classes
}

// Name returns the name of the architecture.
func (m *Model) Name() string { return m.network.Name }

// Classes returns the class names, in the order of the network's outputs.
func (m *Model) Classes() []string { return slices.Clone(m.classes) }

// Origin returns where the weights came from.
func (m *Model) Origin() Origin { return m.origin }

// Transforms describes what is done to a photo, as torchvision prints it.
func (m *Model) Transforms() string { return m.transform.String() }

// Parameters returns how many parameters train and how many are frozen.
func (m *Model) Parameters() (trainable, frozen int) {
	for _, p := range m.network.Params() {
		switch {
		case p.Buffer:
		case p.RequiresGrad:
			trainable += p.Numel()
		default:
			frozen += p.Numel()
		}
	}
	return trainable, frozen
}

// outputs returns how many classes the network's head has.
func (m *Model) outputs() int { return m.network.Child(m.network.Head).Own()[0].Shape[0] }

// FreezeTrunk keeps all parameters but the head's from training.
func (m *Model) FreezeTrunk() { m.network.FreezeTrunk() }

// Freeze keeps the parameters of the modules at the given paths from training, such as "features",
// which means the trunk where a network has no module of that name.
func (m *Model) Freeze(paths ...string) error { return m.network.Freeze(paths...) }

// ReplaceHead puts a new layer for the given classes at the end, with PyTorch's initialisation when
// training starts, and a Dropout of probability p before it; p < 0 keeps the network's own.
func (m *Model) ReplaceHead(classes []string, p float64) error {
	if p >= 1 {
		return fmt.Errorf("dropout %g: the probability must be below 1", p)
	}
	if err := m.network.ReplaceHead(len(classes), p); err != nil {
		return err
	}
	m.classes, m.dropout = slices.Clone(classes), &p
	m.changed()
	return nil
}

// changed forgets what was compiled.
func (m *Model) changed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan, m.states = nil, sync.Pool{}
}

func (m *Model) threads() int {
	if m.Threads > 0 {
		return m.Threads
	}
	return runtime.GOMAXPROCS(0)
}

// trace runs the module tree on a batch of photos of the transforms' size.
func (m *Model) trace(batch int) (*graph.Graph, error) {
	height, width := m.transform.OutputSize()
	return nn.Trace(m.network.Module, batch, 3, height, width)
}

// compiled returns the plan of the whole network for one photo: logits and pooled features.
func (m *Model) compiled() (*engine.Plan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plan != nil {
		return m.plan, nil
	}
	set, err := kernels.Best()
	if err != nil {
		return nil, err
	}
	g, err := m.trace(1)
	if err != nil {
		return nil, err
	}
	m.plan, err = engine.Compile(g, set, g.Output, m.network.Features(g))
	return m.plan, err
}

// extractor computes logits and features of photos.
func (m *Model) extractor() (*features.Extractor, error) {
	plan, err := m.compiled()
	if err != nil {
		return nil, err
	}
	return &features.Extractor{Transform: m.transform, Plan: plan, Threads: m.threads()}, nil
}
