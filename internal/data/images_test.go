package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestImagesInPieces(t *testing.T) {
	for _, n := range []int{0, 1, 4, 5, 6, 9, 10, 11, 57} {
		dir := t.TempDir()
		var want []string
		for i := range n {
			name := fmt.Sprintf("%d.jpg", i*7919%n)
			want = append(want, name)
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(want)
		for _, limit := range []int{1, 5, 1000} {
			var got []string
			for name, err := range images(dir, limit) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, name)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d photos, %d at once: %q, want %q", n, limit, got, want)
			}
		}
	}
}
