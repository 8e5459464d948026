package graft

import (
	"cmp"
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
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/transform"
)

// A Model is a network with the transforms and class names that belong to its weights. Predicting is
// safe for any number of goroutines; changing the model (its fields, its head, training it) is not.
type Model struct {
	// Threads is how many processors computing uses; 0 means all, and more than MaxThreads is MaxThreads.
	Threads int
	// Precision is what products are computed in where nothing trains; "" means FP32.
	Precision Precision

	network   *models.Network
	transform *transform.Pipeline
	classes   []string
	origin    Origin
	dropout   *float64 // of a replaced head; nil for the published one
	trained   *Arguments

	mu      sync.Mutex
	plan    *engine.Plan // of the whole network; nil until something predicts
	planned Precision    // of the plan
	states  sync.Pool    // of the plan, for one thread
}

// A Precision is the type of number that convolutions and linear layers multiply where nothing trains.
type Precision = engine.Precision

// The precisions. BF16, bfloat16, is faster and takes a processor with AVX512-BF16: anything else is an
// error when computing begins. Its logits differ from those of FP32 by about 1 % of their spread.
const (
	FP32 = engine.FP32
	BF16 = engine.BF16
)

// Origin says where a model's weights came from.
type Origin struct {
	Weights string `json:"weights"`        // the set's name, "" if they were drawn at random
	File    string `json:"file,omitempty"` // the local checkpoint that was named
	License string `json:"license,omitempty"`
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
	meta, err := readMetadata([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
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
	if err := fillNetwork(m.network, file, ""); err != nil {
		return nil, err
	}
	for _, p := range m.network.Params() {
		p.RequiresGrad = p.RequiresGrad && (meta.Trainable == nil || slices.Contains(meta.Trainable, p.Name))
	}
	return m, nil
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
	Trainable    []string           `json:"trainable,omitempty"` // the parameters that trained; without any, all do
}

// readMetadata looks at the version first: another one may have other fields.
func readMetadata(text []byte) (meta metadata, err error) {
	var format struct{ Version int }
	if err = json.Unmarshal(text, &format); err == nil && format.Version != metadataVersion {
		return meta, fmt.Errorf("it has format %d, and this version of graft reads %d: use another version", format.Version, metadataVersion)
	}
	if err == nil {
		err = json.Unmarshal(text, &meta)
	}
	if err != nil {
		err = fmt.Errorf("its metadata is damaged: %w", err)
	}
	return meta, err
}

// Save writes the model to a .safetensors file: weights under PyTorch's names, and in the metadata
// what [Open] needs. An existing file is replaced at once or, after an error, not at all.
func (m *Model) Save(path string) error {
	var entries []checkpoint.Entry
	var trainable []string
	for _, p := range m.network.Params() {
		if p.Data != nil && !p.Counter {
			entries = append(entries, checkpoint.Entry{Name: p.Name, Shape: p.Shape, Data: p.Data})
		}
		if p.RequiresGrad && m.trained != nil {
			trainable = append(trainable, p.Name)
		}
	}
	meta, err := json.Marshal(struct {
		metadata
		Transform *transform.Pipeline `json:"transform"`
	}{metadata{
		Version: metadataVersion, Architecture: m.network.Name, Classes: m.classes, Dropout: m.dropout,
		Origin: m.origin, Arguments: m.trained, Trainable: trainable,
	}, m.transform})
	if err != nil {
		return err
	}
	return checkpoint.WriteSafetensors(path, entries, map[string]string{"graft": string(meta)})
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

// Freeze keeps the parameters that patterns match from training. A pattern is the path of a module,
// which means all parameters in it, or of a parameter, with the wildcards of [path.Match] for an
// element: "features.[0-5]", "blocks.*.*.bn1". Where a network has no module of the name "features",
// that means its trunk, all but the head.
func (m *Model) Freeze(patterns ...string) error { return m.network.Freeze(patterns...) }

// Unfreeze lets the parameters that patterns match (see [Model.Freeze]) train.
func (m *Model) Unfreeze(patterns ...string) error { return m.network.Unfreeze(patterns...) }

// InputSize returns the height and width in pixels to which the transforms bring photos.
func (m *Model) InputSize() (height, width int) { return m.transform.OutputSize() }

// Resize makes the model take photos of size × size pixels: its transforms resize and crop in the same
// proportion as before, and position embeddings are interpolated. The error says which sizes the
// network takes, where that is known.
func (m *Model) Resize(size int) error {
	before, _ := m.InputSize()
	scale := func(s transform.Size) transform.Size {
		return transform.Size{(s[0]*size + before/2) / before, (s[1]*size + before/2) / before}
	}
	steps := m.transform.Steps()
	for i, step := range steps {
		switch step := step.(type) {
		case transform.Resize:
			step.Size = scale(step.Size)
			steps[i] = step
		case transform.CenterCrop:
			step.Size = scale(step.Size)
			steps[i] = step
		}
	}
	resized, err := transform.New(steps...)
	if err == nil {
		err = m.network.Resize(size)
	}
	if err != nil {
		return err
	}
	m.transform = resized
	m.changed()
	return nil
}

// ReplaceHead puts a new layer for the given classes at the end, with PyTorch's initialisation when
// training starts, and a Dropout of probability p before it; p < 0 keeps the network's own.
func (m *Model) ReplaceHead(classes []string, p float64) error {
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

// MaxThreads is how many threads computing uses at most: each takes memory, and those beyond the
// machine's processors gain nothing.
func MaxThreads() int { return max(64, 4*runtime.NumCPU()) }

func (m *Model) threads() int {
	if m.Threads > 0 {
		return min(m.Threads, MaxThreads())
	}
	return runtime.GOMAXPROCS(0)
}

// trace runs the module tree on a batch of photos of the transforms' size.
func (m *Model) trace(batch int) (*graph.Graph, error) {
	height, width := m.InputSize()
	return m.network.Trace(batch, 3, height, width)
}

// options are what to compile the network for.
func (m *Model) options() (engine.Options, error) {
	best := kernels.Best
	if m.Precision == BF16 {
		best = kernels.BestBF16
	}
	set, err := best()
	if err != nil {
		return engine.Options{}, fmt.Errorf("precision %s: %w", cmp.Or(m.Precision, FP32), err)
	}
	return engine.Options{Kernels: set, Precision: m.Precision}, nil
}

// compiled returns the plan of the whole network for one photo: logits and pooled features.
func (m *Model) compiled() (*engine.Plan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plan != nil && m.planned == m.Precision {
		return m.plan, nil
	}
	m.plan, m.planned, m.states = nil, m.Precision, sync.Pool{}
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	g, err := m.trace(1)
	if err != nil {
		return nil, err
	}
	for _, p := range m.network.Params() {
		if p.Data == nil && p.Index == nil && !p.Counter {
			return nil, fmt.Errorf("model %s: %s has no values: train the model first", m.Name(), p.Name)
		}
	}
	m.plan, err = options.Compile(g, g.Output, m.network.Features(g))
	return m.plan, err
}

// extractor computes logits and features of photos.
func (m *Model) extractor() (*features.Extractor, error) {
	plan, err := m.compiled()
	if err != nil {
		return nil, err
	}
	batch := func() (*engine.Batch, error) {
		return m.batch(func(g *graph.Graph) []*graph.Node { return []*graph.Node{g.Output, m.network.Features(g)} })
	}
	return &features.Extractor{Transform: m.transform, Plan: plan, Batch: batch, Threads: m.threads()}, nil
}

// embedder computes features alone, which a network whose head has no values has too.
func (m *Model) embedder() (*features.Extractor, error) {
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	g, err := m.trace(1)
	if err != nil {
		return nil, err
	}
	plan, err := options.Compile(g, m.network.Features(g))
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", m.Name(), err)
	}
	batch := func() (*engine.Batch, error) {
		return m.batch(func(g *graph.Graph) []*graph.Node { return []*graph.Node{m.network.Features(g)} })
	}
	return &features.Extractor{Transform: m.transform, Plan: plan, Batch: batch, Threads: m.threads()}, nil
}

// batchSize is how many photos a thread computes together where weights are large: beyond it there is
// little to gain.
const batchSize = 8

// batch compiles nodes of the network's graph for many photos.
func (m *Model) batch(outputs func(*graph.Graph) []*graph.Node) (*engine.Batch, error) {
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	return options.NewBatch(m.trace, batchSize, outputs)
}
