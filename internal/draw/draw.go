// Package draw paints pictures of pizza, steak and sushi, for when no photos can be had: a network
// that learns them on a machine without internet goes through the same steps as one that learns
// from photos. They are drawings, not photos, and whoever shows them should say so; the files that
// [Dataset] writes have "drawn" in their names.
//
// A picture is a little scene, seen from above or at a slant: a table, a plate, cutlery and garnish
// at random, which say nothing about the class, and the food. Everything is a signed distance
// function with a material of colour, relief and gloss, in the manner of
// https://iquilezles.org/articles/distfunctions2d/; the light is put on at the end.
package draw

import (
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
)

// Classes are the classes that there are pictures of.
func Classes() []string { return []string{"pizza", "steak", "sushi"} }

// Picture paints a picture of 512×512 pixels. The same seed gives the same picture, and the same
// table, light and camera whatever the class. A class that isn't one of [Classes] leaves the plate empty.
func Picture(class string, seed uint64) image.Image {
	s := newScene(rand.New(rand.NewPCG(seed, 0)))
	s.setTable()
	switch class {
	case "pizza":
		s.pizza()
	case "steak":
		s.steak()
	case "sushi":
		s.sushi()
	}
	return s.develop()
}

const maxPictures = 10_000 // a class

// Dataset writes pictures of every class into a folder, so many of each to train on and so many to
// test with: dir/train/pizza/drawn_001.jpg, dir/test/sushi/drawn_001.jpg and so on. No two show the
// same scene. dir/train and dir/test appear only once all is written; if one of them exists
// already, that is an error.
func Dataset(dir string, seed uint64, train, test int) error {
	if train < 1 || test < 1 || max(train, test) > maxPictures {
		return fmt.Errorf("draw: a data set takes 1 to %d pictures a class to train on and as many to test with, not %d and %d", maxPictures, train, test)
	}
	for _, split := range []string{"train", "test"} {
		if _, err := os.Lstat(filepath.Join(dir, split)); err == nil {
			return fmt.Errorf("draw: %s has a folder %q already; name another folder for the drawn pictures", dir, split)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	unfinished, err := os.MkdirTemp(dir, ".drawing-*")
	if err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	defer os.RemoveAll(unfinished)
	err = writeAll(unfinished, seed, train, test)
	for _, split := range []string{"train", "test"} {
		if err == nil {
			err = os.Rename(filepath.Join(unfinished, split), filepath.Join(dir, split))
		}
	}
	if err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	return nil
}

// A job is a file and the picture that belongs there.
type job struct {
	path, class string
	seed        uint64
}

func writeAll(dir string, seed uint64, train, test int) error {
	var jobs []job
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, split := range []struct {
		name  string
		count int
	}{{"train", train}, {"test", test}} {
		for _, class := range Classes() {
			folder := filepath.Join(dir, split.name, class)
			if err := os.MkdirAll(folder, 0o777); err != nil {
				return err
			}
			for i := range split.count {
				jobs = append(jobs, job{filepath.Join(folder, fmt.Sprintf("drawn_%03d.jpg", i+1)), class, rng.Uint64()})
			}
		}
	}

	var next atomic.Int64
	workers := make([]error, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for workers[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					return
				}
				workers[w] = jobs[i].write()
			}
		})
	}
	wg.Wait()
	return errors.Join(workers...)
}

func (j job) write() error {
	f, err := os.Create(j.path)
	if err != nil {
		return err
	}
	return errors.Join(jpeg.Encode(f, Picture(j.class, j.seed), &jpeg.Options{Quality: 90}), f.Close())
}
