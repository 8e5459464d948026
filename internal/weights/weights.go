// Package weights is the registry of pretrained weights: what each set is called, where its file lies, how its photos
// have to be prepared and how good it is. The sets are data (torchvision.json, timm.json), generated from torchvision
// and timm by the scripts beside them and read at the first use.
//
// Names are theirs. A model is asked for by its name, which means its default weights, or together with a set of
// weights:
//
//	efficientnet_b0
//	efficientnet_b0.IMAGENET1K_V1
//	EfficientNet_B0_Weights.IMAGENET1K_V1
//	efficientnet_lite0
//	tf_efficientnet_lite0.in1k
package weights

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"

	"github.com/graft-ml/graft/internal/hub"
)

// An Entry describes one set of pretrained weights. A zero field is one that the publisher doesn't state.
type Entry struct {
	Model   string   `json:"model"`   // the architecture, "efficientnet_b0"
	Name    string   `json:"name"`    // the set's full name, "EfficientNet_B0_Weights.IMAGENET1K_V1"
	Default bool     `json:"default"` // whether the model's name alone means this set
	Sources []Source `json:"sources"` // in the order to try

	Params  int64   `json:"params"`   // number of parameters, the published head included
	GFLOPs  float64 `json:"gflops"`   // giga multiply-adds of one photo of CropSize, torchvision's _ops
	FileMiB float64 `json:"file_mib"` // size in units of 2²⁰ bytes, torchvision's _file_size

	// Acc1 and Acc5 are the top-1 and top-5 accuracy on ImageNet-1K's validation set, in percent, as published:
	// torchvision's meta, timm's results-imagenet.csv. timm measures with its own transforms: EfficientNet-Lite0 has
	// 74.846 there and 75.1 at https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
	Acc1 float64 `json:"acc1"`
	Acc5 float64 `json:"acc5"`

	MinSize    [2]int     `json:"min_size"` // smallest height and width of a photo, in pixels
	Recipe     string     `json:"recipe"`   // page that says how the weights were trained
	License    string     `json:"license"`  // SPDX identifier; torchvision's own where its weights have none
	Transforms Transforms `json:"transforms"`
	Categories string     `json:"categories"` // name of the list of classes, see [Categories]; "" without a classifier
}

// Transforms are a model's inference transforms, torchvision's ImageClassification preset: resize the shorter side,
// crop the centre, scale to 0…1, then subtract Mean and divide by Std, channel by channel in the order R, G, B.
//
// EfficientNet-Lite has 127/255 and 128/255 here, which is (x−127)/128 on grey levels, where timm's own configuration
// says 0.5 and 0.5: the former is what TensorFlow trained the weights with (MEAN_RGB and STDDEV_RGB in
// https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py).
// On 500 ImageNet photos EfficientNet-Lite0 reached 88.4 % with it, and 77.6 % with ImageNet's usual mean and deviation.
type Transforms struct {
	ResizeSize    int        `json:"resize_size"`   // pixels
	CropSize      int        `json:"crop_size"`     // pixels, of a square
	Interpolation string     `json:"interpolation"` // "bilinear" or "bicubic"
	Antialias     bool       `json:"antialias"`
	Mean          [3]float64 `json:"mean"`
	Std           [3]float64 `json:"std"`
}

// A Layout says whose names the tensors of a file bear.
type Layout string

const (
	Torchvision Layout = "torchvision"
	Timm        Layout = "timm"
	Lukemelas   Layout = "lukemelas" // https://github.com/lukemelas/EfficientNet-PyTorch
)

// A Source is one place that has a set's file.
type Source struct {
	hub.Source
	Layout Layout
}

// UnmarshalJSON reads {"layout": …} with one of the keys "http", "hugging_face" and "pip".
func (s *Source) UnmarshalJSON(data []byte) error {
	var kinds struct {
		Layout      Layout
		HTTP        *hub.HTTP
		HuggingFace *hub.HuggingFace `json:"hugging_face"`
		Pip         *hub.Pip
	}
	if err := json.Unmarshal(data, &kinds); err != nil {
		return err
	}
	s.Layout = kinds.Layout
	switch {
	case kinds.HTTP != nil:
		s.Source = *kinds.HTTP
	case kinds.HuggingFace != nil:
		s.Source = *kinds.HuggingFace
	case kinds.Pip != nil:
		s.Source = *kinds.Pip
	default:
		return fmt.Errorf("a source without a place: %s", data)
	}
	return nil
}

// Fetch gets the set's file into the client's cache, or finds it there, and returns its path and whose tensor names
// it bears. Errors and progress are those of [hub.Client.Fetch].
func (e Entry) Fetch(ctx context.Context, client *hub.Client, progress hub.Progress) (path string, layout Layout, err error) {
	sources := make([]hub.Source, len(e.Sources))
	for i, source := range e.Sources {
		sources[i] = source.Source
	}
	path, from, err := client.Fetch(ctx, "weights/"+e.Name, sources, progress)
	if err != nil {
		return "", "", err
	}
	return path, e.Sources[slices.Index(sources, from)].Layout, nil
}

// All returns every entry: torchvision's by model name, then timm's. The caller must not modify what the entries
// refer to.
func All() []Entry { return slices.Clone(entries()) }

// Lookup returns the entry that a name stands for, in any of the forms of the package comment; the suffix DEFAULT is
// the default set too. The error for an unknown name says which ones are near.
func Lookup(name string) (Entry, error) {
	model, tag, _ := strings.Cut(name, ".")
	var models, tags []string
	for _, e := range entries() {
		family, entryTag, _ := strings.Cut(e.Name, ".")
		models = append(models, e.Model)
		if model != e.Model && model != family {
			continue
		}
		if tag == entryTag || e.Default && (tag == "" || tag == "DEFAULT") {
			return e, nil
		}
		tags = append(tags, model+"."+entryTag)
	}
	if tags != nil {
		return Entry{}, fmt.Errorf("weights: %s has no weights %q: there are %s", model, tag, strings.Join(tags, ", "))
	}
	if near := Suggest(model, models); near != nil {
		return Entry{}, fmt.Errorf("weights: no model %q: did you mean %s?", model, strings.Join(near, " or "))
	}
	return Entry{}, fmt.Errorf("weights: no model %q", model)
}

// Suggest returns up to three of the candidates that name could have been meant as, the nearest first: those that
// begin with it, and those within a Levenshtein distance of a third of its length, whatever the case.
func Suggest(name string, candidates []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	limit := max(2, len(name)/3)
	for _, other := range candidates {
		a, b := strings.ToLower(name), strings.ToLower(other)
		if len(a) > len(b)+limit {
			continue
		}
		if d := levenshtein.ComputeDistance(a, b); d <= limit || a != "" && strings.HasPrefix(b, a) {
			near = append(near, candidate{other, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.name, b.name))
	})
	near = slices.Compact(near)
	var names []string
	for _, c := range near[:min(3, len(near))] {
		names = append(names, c.name)
	}
	return names
}

// Categories returns the class names of a list, in the order of the classifier's outputs. The list "imagenet-1k" is
// the one of torchvision's meta["categories"].
func Categories(list string) ([]string, error) {
	data, err := files.ReadFile(list + ".txt")
	if err != nil {
		return nil, fmt.Errorf("weights: no list of categories %q", list)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), nil
}

//go:embed *.json *.txt
var files embed.FS

var entries = sync.OnceValue(func() []Entry {
	var all []Entry
	for _, name := range []string{"torchvision.json", "timm.json"} {
		data, err := files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		var some []Entry
		if err := json.Unmarshal(data, &some); err != nil {
			panic(fmt.Sprintf("weights: %s: %v", name, err))
		}
		all = append(all, some...)
	}
	return all
})
