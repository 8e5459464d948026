package graft

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/atomicfile"
	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/npy"
	"github.com/graft-ml/graft/internal/photo"
)

// A Class is one of a model's classes with the probability that a photo shows it.
type Class struct {
	Index       int     `json:"index"`
	Name        string  `json:"class"`
	Probability float64 `json:"probability"`
}

// A Prediction is what a model says of a photo.
type Prediction struct {
	File     string    // "" where the photo wasn't a file
	Classes  []Class   // all classes, the most probable first
	Logits   []float32 // by class index
	Features []float32 // pooled features, what the head reads; nil for predictions of a Run
	Err      error     // why there is no prediction
}

// Best returns the most probable class.
func (p Prediction) Best() Class { return p.Classes[0] }

// Predict classifies an encoded photo: JPEG, PNG, GIF, WebP, BMP, TIFF or PPM. It is prepared exactly
// as the photos in training were. Any number of goroutines may predict at once; each call computes on
// one processor.
func (m *Model) Predict(encoded []byte) (Prediction, error) {
	img, err := photo.Decode(encoded)
	if err != nil {
		return Prediction{}, err
	}
	plan, err := m.compiled()
	if err != nil {
		return Prediction{}, err
	}
	s, ok := m.states.Get().(*engine.State)
	if !ok {
		s = plan.NewState(1)
	}
	defer m.states.Put(s)
	if err := m.transform.Apply(s.Input(0), img); err != nil {
		return Prediction{}, err
	}
	s.Run()
	return m.prediction("", slices.Clone(s.Output(0)), slices.Clone(s.Output(1))), nil
}

// PredictFiles classifies files (see [Files]) and yields their predictions in order and as they come,
// in constant memory. A file that can't be read or decoded is a prediction with Err set. When ctx is
// cancelled it stops early.
func (m *Model) PredictFiles(ctx context.Context, files iter.Seq2[string, error]) (iter.Seq[Prediction], error) {
	e, err := m.extractor()
	if err != nil {
		return nil, err
	}
	return func(yield func(Prediction) bool) {
		for r := range e.Each(ctx, files) {
			p := Prediction{File: r.Path, Err: r.Err}
			if r.Err == nil {
				p = m.prediction(r.Path, r.Outputs[0], r.Outputs[1])
			}
			if !yield(p) {
				return
			}
		}
	}, nil
}

// prediction ranks the classes by the softmax of their logits.
func (m *Model) prediction(file string, logits, features []float32) Prediction {
	p := Prediction{File: file, Logits: logits, Features: features, Classes: make([]Class, len(logits))}
	top, sum := float64(slices.Max(logits)), 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	for i, v := range logits {
		p.Classes[i] = Class{i, m.classes[i], math.Exp(float64(v)-top) / sum}
	}
	slices.SortStableFunc(p.Classes, func(a, b Class) int { return cmp.Compare(b.Probability, a.Probability) })
	return p
}

// FeatureLen returns how many pooled features the network has.
func (m *Model) FeatureLen() (int, error) {
	plan, err := m.compiled()
	if err != nil {
		return 0, err
	}
	return plan.OutputLen(1), nil
}

// Embed writes the pooled features of files to a NumPy file: float32, photos × features. The photos of
// its rows are listed, a path a line, in the file that [EmbedList] names. Files that can't be read or
// decoded have no row; failed is called for each. It returns how many rows there are and how many
// files failed. Both files appear when they are complete.
func (m *Model) Embed(ctx context.Context, files iter.Seq2[string, error], out string, failed func(Prediction)) (rows, failures int, err error) {
	if out == EmbedList(out) {
		return 0, 0, fmt.Errorf("%s: the list of photos would have the same name: give the features another one, such as features.npy", out)
	}
	e, err := m.embedder()
	if err != nil {
		return 0, 0, err
	}
	w, err := npy.Create(out, e.Plan.OutputLen(0))
	if err != nil {
		return 0, 0, err
	}
	defer w.Discard()
	err = atomicfile.Write(EmbedList(out), func(list io.Writer) error {
		for r := range e.Each(ctx, files) {
			if r.Err != nil {
				failures++
				failed(Prediction{File: r.Path, Err: r.Err})
				continue
			}
			if err := w.Append(r.Outputs[0]); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(list, r.Path); err != nil {
				return err
			}
			rows++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if rows == 0 {
			return fmt.Errorf("none of %d photos could be read", failures)
		}
		return w.Commit()
	})
	return rows, failures, err
}

// EmbedList names the file beside a file of features that lists its photos.
func EmbedList(out string) string { return strings.TrimSuffix(out, filepath.Ext(out)) + ".txt" }
