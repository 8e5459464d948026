package features

import (
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/transform"
)

// BenchmarkInput takes all photos of a folder from file to tensor on one thread, as docs/bench/input.py does with Pillow
// and torchvision, and reports the mean of each photo's fastest run, which other work on the machine hardly disturbs.
func BenchmarkInput(b *testing.B) {
	paths, err := filepath.Glob(filepath.Join(testutil.Shared(b, "data/pizza_steak_sushi"), "*", "*", "*.jpg"))
	if err != nil || len(paths) == 0 {
		b.Fatalf("%d photos, %v", len(paths), err)
	}
	run := func(name string, each func(path string) error) {
		b.Run(name, func(b *testing.B) {
			fastest := slices.Repeat([]time.Duration{math.MaxInt64}, len(paths))
			for b.Loop() {
				for i, path := range paths {
					begin := time.Now()
					if err := each(path); err != nil {
						b.Fatal(err)
					}
					fastest[i] = min(fastest[i], time.Since(begin))
				}
			}
			sum := 0.0
			for _, t := range fastest {
				sum += t.Seconds()
			}
			b.ReportMetric(1000*sum/float64(len(paths)), "ms/photo")
		})
	}
	var r reader
	run("decode", func(path string) error {
		data, err := r.read(path)
		if err == nil {
			_, err = r.decoder.Decode(data)
		}
		return err
	})
	for _, by := range []transform.Interpolation{transform.Bicubic, transform.Bilinear} {
		mean, std := [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
		p, err := transform.New(transform.ImageClassification(224, 256, mean, std, by)...)
		if err != nil {
			b.Fatal(err)
		}
		e, dst := Extractor{Transform: p}, make([]float32, 224*224*3)
		run(by.String(), func(path string) error {
			_, _, err := e.prepare(path, nil, &r, dst)
			return err
		})
	}
}
