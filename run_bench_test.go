package graft

import (
	"io"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/graft-ml/graft/internal/testutil"
)

// BenchmarkPlot draws the first photos that there are, as predict --plot does.
func BenchmarkPlot(b *testing.B) {
	dir := testutil.Shared(b, "data", "pizza_steak_sushi", "test")
	photos, err := OpenPhotos(dir, []string{"pizza", "steak", "sushi"})
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{9, 16} {
		var shown []Prediction
		for i := range n {
			p := photos[i*len(photos)/n]
			shown = append(shown, Prediction{File: p.Path, Classes: []Class{{p.Class, filepath.Base(filepath.Dir(p.Path)), 0.954}}})
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				if err := Plot(io.Discard, shown); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
