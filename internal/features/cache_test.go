package features_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/graft-ml/graft/internal/features"
)

// cached returns an extractor of the weights of a seed, with a cache that belongs to an identity.
func cached(t *testing.T, root string, identity byte, seed uint64, threads int) *features.Extractor {
	t.Helper()
	e := extractor(t, seed, threads)
	var err error
	if e.Cache, err = features.OpenCache(root, [32]byte{identity}, e.Plan.OutputsLen()); err != nil {
		t.Fatal(err)
	}
	return e
}

// segments lists the files below root, without the temporary ones that mustn't be left.
func segments(t *testing.T, root string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(root, "*", ".*"))
	if err != nil || hidden != nil {
		t.Errorf("left behind: %v, %v", hidden, err)
	}
	return files
}

// fill computes photos and keeps them.
func fill(t *testing.T, e *features.Extractor, paths []string) [][][]float32 {
	t.Helper()
	rows := collect(t, e, paths)
	if err := e.Cache.Flush(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestCache tells what comes from the cache by changing the weights under it, which an identity in
// earnest would show.
func TestCache(t *testing.T) {
	root, paths := t.TempDir(), photos(t, 10)
	want, other := collect(t, extractor(t, 1, 1), paths), collect(t, extractor(t, 2, 1), paths)

	e := cached(t, root, 'a', 1, 3)
	if !equal(fill(t, e, paths[:6]), want[:6]) {
		t.Error("what is computed for the cache differs")
	}
	if err := e.Cache.Flush(); err != nil || len(segments(t, root)) != 1 {
		t.Errorf("nothing new was flushed: %v, %v", segments(t, root), err)
	}
	if !equal(fill(t, cached(t, root, 'a', 2, 3), paths), slices.Concat(want[:6], other[6:])) {
		t.Error("six photos were in the cache, and four weren't")
	}
	if got := len(segments(t, root)); got != 2 {
		t.Errorf("%d segments after two runs that found new photos", got)
	}
	if !equal(collect(t, cached(t, root, 'a', 3, 1), paths[5:6]), want[5:6]) {
		t.Error("a photo alone doesn't come from the cache")
	}
	if !equal(collect(t, cached(t, root, 'b', 2, 3), paths), other) {
		t.Error("another identity gets the same rows")
	}
}

// TestCacheByContent finds a photo under another name, and not what takes its name.
func TestCacheByContent(t *testing.T) {
	root, paths := t.TempDir(), photos(t, 3)
	want, other := collect(t, extractor(t, 1, 1), paths), collect(t, extractor(t, 2, 1), paths)
	fill(t, cached(t, root, 'a', 1, 1), paths[:2])
	if err := errors.Join(os.Rename(paths[0], paths[0]+".png"), os.Rename(paths[2], paths[0])); err != nil {
		t.Fatal(err)
	}
	got := collect(t, cached(t, root, 'a', 2, 1), []string{paths[0] + ".png", paths[0]})
	if !equal(got, [][][]float32{want[0], other[2]}) {
		t.Error("photos aren't known by their content")
	}
}

// TestSegmentsDontDependOnThreads writes the same files whatever the order in which photos are done.
func TestSegmentsDontDependOnThreads(t *testing.T) {
	paths := photos(t, 40)
	var contents [2][]byte
	var names [2]string
	for i := range contents {
		root := t.TempDir()
		fill(t, cached(t, root, 'a', 1, 1+4*i), paths)
		files := segments(t, root)
		if len(files) != 1 {
			t.Fatalf("the segments are %v", files)
		}
		names[i] = filepath.Base(files[0])
		var err error
		if contents[i], err = os.ReadFile(files[0]); err != nil {
			t.Fatal(err)
		}
	}
	if names[0] != names[1] || !slices.Equal(contents[0], contents[1]) {
		t.Error("one thread and five write different segments")
	}
}

// TestDamagedSegments are removed, and their photos computed again.
func TestDamagedSegments(t *testing.T) {
	paths := photos(t, 4)
	want := collect(t, extractor(t, 1, 1), paths)
	for name, damage := range map[string]func(data []byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"truncated":      func(data []byte) []byte { return data[:len(data)-1] },
		"header alone":   func(data []byte) []byte { return data[:16] },
		"half":           func(data []byte) []byte { return data[:len(data)/2] },
		"longer":         func(data []byte) []byte { return append(data, 0) },
		"magic":          func(data []byte) []byte { data[0] ^= 1; return data },
		"row size":       func(data []byte) []byte { data[8]--; return data },
		"count":          func(data []byte) []byte { data[12]++; return data },
		"huge count":     func(data []byte) []byte { copy(data[12:], "\xff\xff\xff\xff"); return data },
		"a key":          func(data []byte) []byte { data[20] ^= 1; return data },
		"a number":       func(data []byte) []byte { data[100] ^= 1; return data },
		"the checksum":   func(data []byte) []byte { data[len(data)-1] ^= 1; return data },
		"something else": func([]byte) []byte { return []byte(strings.Repeat("no segment ", 30)) },
	} {
		root := t.TempDir()
		fill(t, cached(t, root, 'a', 2, 1), paths) // other rows, that would show
		path := segments(t, root)[0]
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, damage(data), 0o666); err != nil {
			t.Fatal(err)
		}
		e := cached(t, root, 'a', 1, 1)
		if left := segments(t, root); left != nil {
			t.Errorf("%s: %v is still there", name, left)
		}
		if !equal(fill(t, e, paths), want) {
			t.Errorf("%s: the photos weren't computed again", name)
		}
		if !equal(collect(t, cached(t, root, 'a', 2, 1), paths), want) {
			t.Errorf("%s: they weren't kept", name)
		}
	}
}

// TestOtherSize has a cache whose rows are of another length: they are of no use.
func TestOtherSize(t *testing.T) {
	root := t.TempDir()
	fill(t, cached(t, root, 'a', 1, 1), photos(t, 2))
	if _, err := features.OpenCache(root, [32]byte{'a'}, 5); err != nil || segments(t, root) != nil {
		t.Errorf("rows of another length: %v, %v", segments(t, root), err)
	}
}

// TestTwoAtOnce has two processes that share a cache: neither loses or damages what the other keeps.
func TestTwoAtOnce(t *testing.T) {
	root, paths := t.TempDir(), photos(t, 12)
	want := collect(t, extractor(t, 1, 1), paths)
	var group sync.WaitGroup
	for _, part := range [][]string{paths[:8], paths[4:], paths} {
		e := cached(t, root, 'a', 1, 2)
		group.Go(func() {
			for r := range e.Each(t.Context(), each(part)) {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
			if err := e.Cache.Flush(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if !equal(collect(t, cached(t, root, 'a', 2, 1), paths), want) {
		t.Error("not all photos are in the cache")
	}
	// One removes a damaged segment that another has just listed.
	if err := os.Symlink(filepath.Join(root, "gone"), segments(t, root)[0]+".seg"); err != nil {
		t.Skip(err)
	}
	if !equal(collect(t, cached(t, root, 'a', 2, 1), paths), want) {
		t.Error("a segment that vanished spoils the others")
	}
}

// TestCacheErrors name the cache.
func TestCacheErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := features.OpenCache(file, [32]byte{}, 1); err == nil || !strings.HasPrefix(err.Error(), "feature cache: ") {
		t.Errorf("a file in the folder's place: %v", err)
	}

	root, paths := t.TempDir(), photos(t, 1)
	e := cached(t, root, 'a', 1, 1)
	collect(t, e, paths)
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if err := e.Cache.Flush(); err == nil || !strings.HasPrefix(err.Error(), "feature cache: ") {
		t.Errorf("a folder that was removed: %v", err)
	}
}

// TestUndecodable photos aren't kept.
func TestUndecodable(t *testing.T) {
	root, path := t.TempDir(), filepath.Join(t.TempDir(), "photo.jpg")
	if err := os.WriteFile(path, []byte("no photo"), 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		e := cached(t, root, 'a', 1, 1)
		for r := range e.Each(t.Context(), each([]string{path})) {
			if r.Err == nil {
				t.Error("it has features")
			}
		}
		if err := e.Cache.Flush(); err != nil || segments(t, root) != nil {
			t.Errorf("kept: %v, %v", segments(t, root), err)
		}
	}
}
