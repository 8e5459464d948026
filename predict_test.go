package graft_test

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/graft-ml/graft"
)

// TestConstantMemory predicts a photo that a thousand names link to. The memory that is in use after so
// many photos is that after a hundred, to within a few photos.
func TestConstantMemory(t *testing.T) {
	d := dataset(t)
	m, err := graft.Scratch("tinyvgg", d.Classes)
	if err != nil {
		t.Fatal(err)
	}
	m = trained(t, m, d).Model
	dir := t.TempDir()
	photo := filepath.Join(dir, "photo.jpg")
	writePhoto(t, photo, color.RGBA{100, 100, 100, 255}, 1)
	links := filepath.Join(dir, "links")
	if err := os.Mkdir(links, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := os.Symlink(photo, filepath.Join(links, fmt.Sprintf("%04d.jpg", i))); err != nil {
			t.Skip(err)
		}
	}
	predictions, err := m.PredictFiles(t.Context(), graft.Files(links))
	if err != nil {
		t.Fatal(err)
	}
	inUse := map[int]int64{}
	n := 0
	for p := range predictions {
		if p.Err != nil {
			t.Fatal(p.Err)
		}
		if n++; n == 100 || n == 900 {
			var stats runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&stats)
			inUse[n] = int64(stats.HeapAlloc)
		}
	}
	const perPhoto = 3 * 80 * 60 // bytes of a decoded one, the least that could be left of each
	if grown := inUse[900] - inUse[100]; n != 1000 || grown > 800*perPhoto/10 {
		t.Errorf("after %d photos %d bytes more are in use than after 100", n, grown)
	}
}

// TestPredictFiles has errors in their places, and stops when it is cancelled.
func TestPredictFiles(t *testing.T) {
	d := dataset(t)
	m := trained(t, pretrained(t, "squeezenet1_1", 0), d).Model
	missing, broken := filepath.Join(d.Root, "missing.jpg"), d.Test[1].Path
	if err := os.Truncate(broken, 10); err != nil {
		t.Fatal(err)
	}
	predictions, err := m.PredictFiles(t.Context(), graft.Files(d.Test[0].Path, missing, broken, d.Test[2].Path))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for p := range predictions {
		got = append(got, fmt.Sprintf("%s %v", p.File, p.Err == nil))
		if p.Err != nil && (!strings.Contains(p.Err.Error(), p.File) || p.Classes != nil || p.Logits != nil) {
			t.Errorf("%+v", p)
		}
	}
	want := fmt.Sprint([]string{d.Test[0].Path + " true", missing + " false", broken + " false", d.Test[2].Path + " true"})
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if predictions, err = m.PredictFiles(ctx, graft.Files(d.Root)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range predictions {
		if n++; n == 5 {
			cancel()
		}
	}
	if n != 5 {
		t.Errorf("after cancelling at 5, %d photos were predicted", n)
	}
}

func TestEvaluateErrors(t *testing.T) {
	d := dataset(t)
	m := trained(t, pretrained(t, "squeezenet1_1", 0), d).Model
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Evaluate(ctx, d.Test, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, p := range d.Test[:2] {
		if err := os.Truncate(p.Path, 10); err != nil {
			t.Fatal(err)
		}
	}
	e, err := m.Evaluate(t.Context(), d.Test, nil)
	if err != nil || e.Photos != 7 || len(e.Failed) != 2 {
		t.Errorf("two of nine can't be decoded: %+v, %v", e, err)
	}
	total := 0
	for _, row := range e.Confusion {
		for _, n := range row {
			total += n
		}
	}
	if total != 7 {
		t.Errorf("the matrix counts %d photos, want 7", total)
	}
	if _, err := m.Evaluate(t.Context(), d.Test[:2], nil); err == nil || !strings.Contains(err.Error(), "none of 2 photos") {
		t.Errorf("nothing can be decoded: %v", err)
	}
}

// TestEmbedStops leaves no file in part.
func TestEmbedStops(t *testing.T) {
	d := dataset(t)
	m := trained(t, pretrained(t, "squeezenet1_1", 0), d).Model
	dir := t.TempDir()
	out := filepath.Join(dir, "features.npy")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	files := func(yield func(string, error) bool) {
		for _, p := range d.Test {
			if !yield(p.Path, nil) {
				return
			}
		}
		cancel()
	}
	if _, _, err := m.Embed(ctx, files, out, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if entries := must(os.ReadDir(dir)); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	failed := 0
	rows, failures, err := m.Embed(t.Context(), graft.Files(d.Root, filepath.Join(d.Root, "missing.jpg")), out, func(p graft.Prediction) { failed++ })
	if err != nil || rows != 27 || failures != 1 || failed != 1 {
		t.Errorf("%d rows, %d failures of which %d were told: %v", rows, failures, failed, err)
	}
	if n, err := m.FeatureLen(); err != nil || n != 512 {
		t.Errorf("%d features, %v", n, err)
	}
	for name, want := range map[string]int64{"features.npy": 128 + 27*512*4} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, _, err := m.Embed(t.Context(), graft.Files(d.Root), filepath.Join(dir, "features.txt"), nil); err == nil || !strings.Contains(err.Error(), "same name") {
		t.Errorf("features in the list's place: %v", err)
	}
}
