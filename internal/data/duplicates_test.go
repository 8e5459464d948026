package data_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/data"
)

func TestDuplicates(t *testing.T) {
	dir := t.TempDir()
	long := bytes.Repeat([]byte("photo "), 2000)
	otherEnd := slices.Concat(long[:len(long)-1], []byte("!"))
	otherStart := slices.Concat([]byte("!"), long[1:])
	sample := func(name string, class int, content []byte) data.Sample {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, content, 0o666))
		return data.Sample{Path: path, Class: class}
	}
	must(t, os.Symlink("a1", filepath.Join(dir, "link")))

	a1 := sample("a1", 0, long)
	a2 := sample("a2", 0, long) // twice in one class: harmless
	a3 := sample("a3", 0, []byte("short"))
	a4 := sample("a4", 0, nil) // empty files are no photos
	b1 := sample("b1", 1, otherEnd)
	b2 := sample("b2", 1, long)
	b3 := sample("b3", 1, nil)
	train := []data.Sample{a1, a2, a3, a4, b1, b2, b3}

	t1 := sample("t1", 0, otherStart)
	t2 := sample("t2", 0, long)
	t3 := sample("t3", 1, []byte("short"))
	t4 := sample("t4", 1, []byte("shart"))
	t5 := sample("t5", 1, nil)
	link := data.Sample{Path: filepath.Join(dir, "link"), Class: 1}
	gone := data.Sample{Path: filepath.Join(dir, "gone"), Class: 1}
	test := []data.Sample{t1, t2, t3, t4, t5, gone, gone, link}

	leaks, conflicts := data.Duplicates(train, test)
	same(t, "leaks", leaks, []data.Pair{{A: a1, B: t2}, {A: a3, B: t3}, {A: a1, B: link}})
	same(t, "conflicts", conflicts, []data.Pair{{A: a1, B: b2}})

	leaks, conflicts = data.Duplicates(nil, nil)
	same(t, "leaks of nothing", leaks, []data.Pair(nil))
	same(t, "conflicts of nothing", conflicts, []data.Pair(nil))
}
