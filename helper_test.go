package graft_test

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/checkpoint"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/torchrand"
)

// must is for what goes wrong only where the test itself is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var hues = map[string]color.RGBA{"blue": {30, 60, 200, 255}, "green": {40, 180, 50, 255}, "red": {200, 40, 50, 255}}

// dataset makes photos of three colours, six of each to train on and three to test with.
func dataset(t testing.TB) *graft.Dataset {
	t.Helper()
	dir := t.TempDir()
	for class, hue := range hues {
		for i := range 9 {
			part := "train"
			if i >= 6 {
				part = "test"
			}
			writePhoto(t, filepath.Join(dir, part, class, fmt.Sprintf("%d.jpg", i)), hue, uint64(i))
		}
	}
	return must(graft.OpenDataset(dir, graft.DatasetOptions{}))
}

// few is a dataset with a photo of each class to train on and one to test with.
func few(t testing.TB) *graft.Dataset {
	t.Helper()
	d := dataset(t)
	first := func(photos []graft.Photo) []graft.Photo {
		return slices.CompactFunc(photos, func(a, b graft.Photo) bool { return a.Class == b.Class })
	}
	d.Train, d.Test = first(d.Train), first(d.Test)
	return d
}

// writePhoto writes a photo of 80 × 60 pixels around a hue.
func writePhoto(t testing.TB, path string, hue color.RGBA, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, uint64(hue.R)))
	img := image.NewRGBA(image.Rect(0, 0, 80, 60))
	for p := range 80 * 60 {
		vary := func(v uint8) uint8 { return v + uint8(random.IntN(50)) }
		img.SetRGBA(p%80, p/80, color.RGBA{vary(hue.R), vary(hue.G), vary(hue.B), 255})
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	f := must(os.Create(path))
	if err := errors.Join(jpeg.Encode(f, img, nil), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// formulaWeights writes a checkpoint of ten classes, in PyTorch's names, and returns its path.
func formulaWeights(dir, architecture string) string { return scaledWeights(dir, architecture, 1) }

func scaledWeights(dir, architecture string, gain float64) string {
	network := must(models.New(architecture, 10))
	testutil.FormulaWeights(network.Params(), gain)
	network.Initialise(torchrand.New(0))
	var entries []checkpoint.Entry
	for _, p := range network.Params() {
		if !p.Counter {
			entries = append(entries, checkpoint.Entry{Name: p.Name, Shape: p.Shape, Data: p.Data})
		}
	}
	path := filepath.Join(dir, architecture+".safetensors")
	if err := checkpoint.WriteSafetensors(path, entries, nil); err != nil {
		panic(err)
	}
	return path
}

// pretrained loads a network with the formula's weights, a new head and a frozen trunk.
func pretrained(t testing.TB, architecture string, dropout float64) *graft.Model {
	t.Helper()
	return fromFile(t, architecture, formulaWeights(t.TempDir(), architecture), dropout)
}

func fromFile(t testing.TB, architecture, path string, dropout float64) *graft.Model {
	t.Helper()
	m, err := graft.Load(t.Context(), architecture, &graft.LoadOptions{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.ReplaceHead([]string{"blue", "green", "red"}, dropout); err != nil {
		t.Fatal(err)
	}
	m.FreezeTrunk()
	return m
}

// tinyVGG is a small network that trains wholly, from nothing.
func tinyVGG(t testing.TB) *graft.Model {
	t.Helper()
	m, err := graft.Scratch("tinyvgg", []string{"blue", "green", "red"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// train trains a model, which mustn't fail.
func train(t testing.TB, m *graft.Model, d *graft.Dataset, opts graft.TrainOptions) *graft.Run {
	t.Helper()
	run, err := m.Train(t.Context(), d, opts)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// withoutSeconds is what is the same in the histories of equal trainings.
func withoutSeconds(history []graft.Epoch) []graft.Epoch {
	history = slices.Clone(history)
	for i := range history {
		history[i].Seconds = 0
	}
	return history
}

// trained trains a model for an epoch.
func trained(t testing.TB, m *graft.Model, d *graft.Dataset) *graft.Run {
	t.Helper()
	return train(t, m, d, graft.TrainOptions{Epochs: 1})
}

// predict returns the predictions of a dataset's test photos, none of which may fail.
func predict(t testing.TB, m *graft.Model, d *graft.Dataset) (all []graft.Prediction) {
	t.Helper()
	predictions, err := m.PredictFiles(t.Context(), graft.Files(filepath.Join(d.Root, "test")))
	if err != nil {
		t.Fatal(err)
	}
	for p := range predictions {
		if p.Err != nil {
			t.Fatal(p.Err)
		}
		all = append(all, p)
	}
	if len(all) != len(d.Test) {
		t.Fatalf("%d predictions of %d photos", len(all), len(d.Test))
	}
	return all
}
