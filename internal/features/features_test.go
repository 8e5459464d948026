package features_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/features"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/transform"
)

// photos writes n photos, no two alike and of different sizes.
func photos(t *testing.T, n int) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 5+i%7, 4+i%5))
		for p := range img.Rect.Dx() * img.Rect.Dy() {
			img.Set(p%img.Rect.Dx(), p/img.Rect.Dx(), color.RGBA{uint8(40*p + i), uint8(13 * i), uint8(p), 255})
		}
		path := filepath.Join(dir, fmt.Sprintf("%03d.png", i))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(png.Encode(f, img), f.Close()); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// extractor has a plan with two outputs.
func extractor(t *testing.T, seed uint64, threads int) *features.Extractor {
	t.Helper()
	pipeline, err := transform.New(transform.Resize{Size: transform.Size{9, 9}}, transform.ToTensor{})
	if err != nil {
		t.Fatal(err)
	}
	m := nn.Sequential(nn.Conv2d(nn.Conv{In: 3, Out: 20, Kernel: nn.Square(3)}), nn.Act(graph.SiLU, false),
		nn.Conv2d(nn.Conv{In: 20, Out: 20, Kernel: nn.Square(3), Groups: 20}), nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
	m.Initialise(torchrand.New(seed))
	set, err := kernels.Best()
	if err != nil {
		t.Fatal(err)
	}
	trace := func(images int) (*graph.Graph, error) { return nn.Trace(m, images, 3, 9, 9) }
	outputs := func(g *graph.Graph) []*graph.Node { return []*graph.Node{g.Output, g.Nodes[1]} }
	g, err := trace(1)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := engine.Compile(g, set, outputs(g)...)
	if err != nil {
		t.Fatal(err)
	}
	batch := func() (*engine.Batch, error) { return engine.NewBatch(trace, set, 3, outputs) }
	return &features.Extractor{Transform: pipeline, Plan: plan, Batch: batch, Threads: threads}
}

func each(paths []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, path := range paths {
			if !yield(path, nil) {
				return
			}
		}
	}
}

// collect returns all results, none of which may be an error.
func collect(t *testing.T, e *features.Extractor, paths []string) (rows [][][]float32) {
	t.Helper()
	i := 0
	for r := range e.Each(t.Context(), each(paths)) {
		if r.Err != nil || r.Path != paths[i] {
			t.Fatalf("result %d is of %s: %v", i, r.Path, r.Err)
		}
		if len(r.Outputs) != 2 || len(r.Outputs[0]) != 20 || len(r.Outputs[1]) != 20*7*7 {
			t.Fatalf("%s has %d outputs", r.Path, len(r.Outputs))
		}
		rows = append(rows, r.Outputs)
		i++
	}
	if i != len(paths) {
		t.Fatalf("%d results of %d photos", i, len(paths))
	}
	return rows
}

func equal(a, b [][][]float32) bool {
	return slices.EqualFunc(a, b, func(x, y [][]float32) bool { return slices.EqualFunc(x, y, slices.Equal) })
}

// TestOrder gives the same bits in the same order with any number of threads and photos: fewer than threads are divided
// among them, a few computed one by one, and more in batches.
func TestOrder(t *testing.T) {
	paths := photos(t, 50)
	want := collect(t, extractor(t, 1, 1), paths)
	for i := range want[1:] {
		if slices.Equal(want[i][0], want[i+1][0]) {
			t.Fatalf("photos %d and %d give the same features", i, i+1)
		}
	}
	for _, threads := range []int{2, 5} {
		if !equal(collect(t, extractor(t, 1, threads), paths), want) {
			t.Errorf("%d threads give other features", threads)
		}
		for i := range 3 {
			if !equal(collect(t, extractor(t, 1, threads), paths[i:i+1]), want[i:i+1]) {
				t.Errorf("a photo alone on %d threads gives other features", threads)
			}
		}
		for _, n := range []int{2, 3, 5, 8, 9, 20, 21} {
			if !equal(collect(t, extractor(t, 1, threads), paths[n:2*n]), want[n:2*n]) {
				t.Errorf("%d photos on %d threads give other features", n, threads)
			}
		}
	}
	for range extractor(t, 1, 2).Each(t.Context(), each(nil)) {
		t.Error("no photo has a result")
	}
}

// TestErrors stand in the places of the photos that they are about.
func TestErrors(t *testing.T) {
	paths := photos(t, 12)
	data, err := os.ReadFile(paths[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(paths[2], data[:len(data)/2], 0o666), os.Remove(paths[5]), os.WriteFile(paths[6], nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	source := func(yield func(string, error) bool) {
		for i, path := range paths {
			var err error
			if i == 9 {
				err = refused
			}
			if !yield(path, err) {
				return
			}
		}
	}
	for _, threads := range []int{1, 4} {
		var failed []int
		i := 0
		for r := range extractor(t, 1, threads).Each(t.Context(), source) {
			if r.Path != paths[i] || (r.Err == nil) != (r.Outputs != nil) {
				t.Errorf("result %d: %+v", i, r)
			}
			if r.Err != nil {
				failed = append(failed, i)
				if i != 9 && !strings.Contains(r.Err.Error(), paths[i]) {
					t.Errorf("the error doesn't name %s: %v", paths[i], r.Err)
				}
			}
			switch {
			case i == 5 && !errors.Is(r.Err, os.ErrNotExist), i == 9 && r.Err != refused:
				t.Errorf("result %d: %v", i, r.Err)
			}
			i++
		}
		if !slices.Equal(failed, []int{2, 5, 6, 9}) || i != len(paths) {
			t.Errorf("%d threads: %v of %d failed", threads, failed, i)
		}
	}
	// An error alone, which takes the way of a single photo.
	for r := range extractor(t, 1, 2).Each(t.Context(), each(paths[5:6])) {
		if !errors.Is(r.Err, os.ErrNotExist) {
			t.Errorf("a missing photo alone: %v", r.Err)
		}
	}
}

// TestStop ends by the caller's leaving and by cancelling: nothing more is yielded, few paths have been
// read ahead, and the source is left.
func TestStop(t *testing.T) {
	paths := photos(t, 3)
	for i := range 80 {
		for _, threads := range []int{1, 4} {
			cancels := i%2 == 0
			ctx, cancel := context.WithCancel(t.Context())
			taken, left := 0, false
			endless := func(yield func(string, error) bool) {
				defer func() { left = true }()
				for ; ; taken++ {
					if !yield(paths[taken%3], nil) {
						return
					}
				}
			}
			results := 0
			for range extractor(t, 1, threads).Each(ctx, endless) {
				if results++; results == 10 {
					if !cancels {
						break
					}
					cancel()
				}
			}
			cancel()
			if results != 10 || !left || taken > 10+6*threads+3 {
				t.Errorf("%d threads, cancelled %v: %d results, %d paths taken, source left %v", threads, cancels, results, taken, left)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 3 {
		for r := range extractor(t, 1, 2).Each(ctx, each(paths[:n])) {
			t.Errorf("after cancelling came %s", r.Path)
		}
	}
}
