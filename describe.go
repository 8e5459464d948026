package graft

import (
	"fmt"
	"slices"

	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/summary"
	"github.com/graft-ml/graft/internal/weights"
)

// Weights describes a set of pretrained weights: names, accuracy, size, licence and transforms.
type Weights = weights.Entry

// PretrainedWeights lists the sets of weights that [Load] knows: those of torchvision, then timm's.
func PretrainedWeights() []Weights {
	known := models.Names()
	return slices.DeleteFunc(weights.All(), func(w Weights) bool { return !slices.Contains(known, w.Model) })
}

// Architectures lists the networks that there are, with pretrained weights or without.
func Architectures() []string { return models.Names() }

// Describe returns a model without weights, to look at: classes is the number of its outputs, 0 for
// as many as its pretrained weights have.
func Describe(name string, classes int) (*Model, error) {
	entry, err := find(name)
	if err != nil {
		return nil, err
	}
	if classes == 0 {
		classes = publishedClasses
	}
	return newModel(entry, numbered(classes))
}

// SummaryOptions are the arguments of torchinfo's summary.
type SummaryOptions = summary.Options

// Summary returns torchinfo's table of the network. Without an input size, it is that of one photo.
func (m *Model) Summary(opts SummaryOptions) (string, error) {
	if opts.InputSize == nil {
		height, width := m.transform.OutputSize()
		opts.InputSize = []int{1, 3, height, width}
	}
	text, err := summary.Summary(m.network.Module, opts)
	if _, misfit := m.network.Trace(opts.InputSize...); misfit != nil {
		return "", fmt.Errorf("--input-size: %w", misfit)
	}
	if err != nil {
		return "", fmt.Errorf("model %s: %w", m.Name(), err)
	}
	return text, nil
}

// String returns the network as PyTorch prints it.
func (m *Model) String() string { return summary.Repr(m.network.Module) }
