package data

import (
	"crypto/sha256"
	"io"
	"math"
	"os"
)

// A Pair is two samples whose files are equal byte for byte.
type Pair struct{ A, B Sample }

// Duplicates looks for photos that spoil a dataset. A leak is a photo that is in train (A) and in test (B), where it
// makes the result look better than it is; there is one pair for each such photo in test. A conflict is a photo that is
// in train under two classes (A and B), of which one must be wrong. Both are in the order of B.
//
// Files are read only as far as needed: those of a size that others have too, and of these the whole only if they begin
// like another. A file that can't be read is passed over, since decoding it will report it.
func Duplicates(train, test []Sample) (leaks, conflicts []Pair) {
	contents := fingerprints(train, test)
	first := map[content]Sample{}
	for i, s := range train {
		if other, ok := first[contents[i]]; !ok {
			first[contents[i]] = s
		} else if other.Class != s.Class {
			conflicts = append(conflicts, Pair{other, s})
		}
	}
	for i, s := range test {
		if other, ok := first[contents[len(train)+i]]; ok {
			leaks = append(leaks, Pair{other, s})
		}
	}
	return leaks, conflicts
}

// content is as much of a file's content as tells it from the others: its size, the SHA-256 of its beginning, that of
// the whole. A file that equals none has the zero size less a number of its own.
type content struct {
	size        int64
	head, whole [sha256.Size]byte
}

// fingerprints returns the content of each file, equal for equal files alone.
func fingerprints(train, test []Sample) []content {
	samples := append(train[:len(train):len(train)], test...)
	contents := make([]content, len(samples))
	refine := func(step func(c *content, path string) error) {
		count := map[content]int{}
		for _, c := range contents {
			count[c]++
		}
		for i, s := range samples {
			if count[contents[i]] < 2 {
				continue
			}
			if err := step(&contents[i], s.Path); err != nil || contents[i].size == 0 {
				contents[i] = content{size: -1 - int64(i)}
			}
		}
	}
	refine(func(c *content, path string) error {
		info, err := os.Stat(path)
		if err == nil {
			c.size = info.Size()
		}
		return err
	})
	refine(func(c *content, path string) error { return hash(&c.head, path, 4096) })
	refine(func(c *content, path string) error { return hash(&c.whole, path, math.MaxInt64) })
	return contents
}

// hash computes the SHA-256 of a file's first bytes.
func hash(sum *[sha256.Size]byte, path string, bytes int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, io.LimitReader(f, bytes))
	h.Sum(sum[:0])
	return err
}
