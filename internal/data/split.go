package data

import (
	"crypto/sha256"
	"fmt"
	"math"
	"path/filepath"
	"slices"
)

// split sets a part of each class aside. Every photo draws a lot, a hash of the seed, its class and its path in the
// class's folder, and the lowest lots of a class go to test. So neither order nor machine matters, and most photos stay
// where they are when others come or go. The samples come class by class, as [OpenFolder] returns them for dir.
func split(dir string, samples []Sample, classes []string, opts Options) (train, test []Sample, err error) {
	for class, name := range classes {
		n := 0
		for n < len(samples) && samples[n].Class == class {
			n++
		}
		folder := filepath.Join(dir, name)
		if n == 1 {
			return nil, nil, fmt.Errorf("%s has a single photo of class %q, and it takes two to train on one and evaluate on another: add photos or remove the class",
				folder, name)
		}
		lots := make([]string, n)
		for i, s := range samples[:n] {
			path := filepath.ToSlash(s.Path[len(folder)+1:])
			lot := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", opts.Seed, name, path))
			lots[i] = string(lot[:])
		}
		aside := min(max(int(math.Round(opts.Val*float64(n))), 1), n-1)
		last := slices.Sorted(slices.Values(lots))[aside-1]
		for i, s := range samples[:n] {
			if lots[i] <= last {
				test = append(test, s)
			} else {
				train = append(train, s)
			}
		}
		samples = samples[n:]
	}
	return train, test, nil
}
