package demo_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/checkpoint"
	"github.com/graft-ml/graft/internal/demo"
	"github.com/graft-ml/graft/internal/draw"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/testutil"
)

type silent struct{}

func (silent) Start(string, int64, int64) {}
func (silent) Add(int)                    {}
func (silent) Finish()                    {}
func (silent) Note(string)                {}

// TestMain cuts the network off: the proxy is a closed port.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "HF_ENDPOINT"} {
		os.Setenv(name, "http://127.0.0.1:1")
	}
	os.Unsetenv("NO_PROXY")
	os.Unsetenv("no_proxy")
	os.Setenv("PATH", "") // and there is no pip
	m.Run()
}

// cache is an empty one.
func cache(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("GRAFT_CACHE", dir)
	return dir
}

// pictures writes one of each class to train on and one to test with.
func pictures(t *testing.T, dir string) {
	t.Helper()
	if err := draw.Dataset(dir, 1, 1, 1); err != nil {
		t.Fatal(err)
	}
}

// TestNoNetwork trains TinyVGG from nothing on pictures that are drawn already, and says so.
func TestNoNetwork(t *testing.T) {
	dir := filepath.Join(cache(t), "datasets", "drawn", "pizza_steak_sushi")
	pictures(t, dir)
	s, err := demo.Prepare(t.Context(), silent{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Model.Name() != "tinyvgg" || s.Epochs != 20 || s.Data.Root != dir || len(s.Data.Train) != 3 || len(s.Data.Test) != 3 {
		t.Errorf("%s, %d epochs, %d and %d photos in %s", s.Model.Name(), s.Epochs, len(s.Data.Train), len(s.Data.Test), s.Data.Root)
	}
	if trainable, frozen := s.Model.Parameters(); trainable != 8083 || frozen != 0 {
		t.Errorf("%d parameters train, %d are frozen", trainable, frozen)
	}
	for i, want := range []string{"can't get the FoodVision Mini photos", "pictures of pizza, steak and sushi that graft drew itself (" + dir,
		"none of its 2 sources works", "No pretrained weights can be had, so TinyVGG"} {
		if i >= len(s.Notes) || !strings.Contains(s.Notes[i], want) {
			t.Errorf("the notes are %q; want one with %q", s.Notes, want)
		}
	}
}

// TestCached takes photos and weights that are there.
func TestCached(t *testing.T) {
	dir := cache(t)
	photos := filepath.Join(dir, "datasets", "foodvision_mini", "pizza_steak_sushi")
	pictures(t, photos)
	network, err := models.New("efficientnet_lite0", 1000)
	if err != nil {
		t.Fatal(err)
	}
	testutil.FormulaWeights(network.Params(), 1)
	var entries []checkpoint.Entry
	for _, p := range network.Params() {
		if !p.Counter {
			entries = append(entries, checkpoint.Entry{Name: p.Name, Shape: p.Shape, Data: p.Data})
		}
	}
	weights := filepath.Join(dir, "weights", "tf_efficientnet_lite0.in1k")
	if err := os.MkdirAll(weights, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.WriteSafetensors(filepath.Join(weights, "model.safetensors"), entries, nil); err != nil {
		t.Fatal(err)
	}
	s, err := demo.Prepare(t.Context(), silent{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Model.Name() != "efficientnet_lite0" || s.Epochs != 5 || s.Data.Root != photos || !slices.Equal(s.Model.Classes(), draw.Classes()) {
		t.Errorf("%s, %d epochs, classes %q, photos in %s", s.Model.Name(), s.Epochs, s.Model.Classes(), s.Data.Root)
	}
	if trainable, frozen := s.Model.Parameters(); trainable != 3*1280+3 || frozen != 3371008 {
		t.Errorf("%d parameters train, %d are frozen", trainable, frozen)
	}
	if want := []string{"Photos: FoodVision Mini (" + photos + ")"}; !slices.Equal(s.Notes, want) {
		t.Errorf("the notes are %q, want %q", s.Notes, want)
	}
	run, err := s.Model.Train(t.Context(), s.Data, graft.TrainOptions{Epochs: 1})
	if err != nil || len(run.History) != 1 {
		t.Errorf("training: %v", err)
	}
}

// TestCancelled is no reason to draw or to do without weights.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := cache(t)
	if _, err := demo.Prepare(ctx, silent{}); !errors.Is(err, context.Canceled) {
		t.Errorf("without photos: %v", err)
	}
	pictures(t, filepath.Join(dir, "datasets", "foodvision_mini", "pizza_steak_sushi"))
	if _, err := demo.Prepare(ctx, silent{}); !errors.Is(err, context.Canceled) {
		t.Errorf("without weights: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "datasets", "drawn")); err == nil {
		t.Error("pictures were drawn")
	}
}
