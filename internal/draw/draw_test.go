package draw

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func picture(class string, seed uint64) *image.RGBA { return Picture(class, seed).(*image.RGBA) }

func TestPictureIsDeterministic(t *testing.T) {
	var wg sync.WaitGroup
	for _, class := range Classes() {
		wg.Go(func() {
			first := picture(class, 7)
			if first.Rect != image.Rect(0, 0, 512, 512) || !first.Opaque() {
				t.Errorf("%s: %v, opaque %v", class, first.Rect, first.Opaque())
			}
			if !bytes.Equal(first.Pix, picture(class, 7).Pix) {
				t.Errorf("%s: the same seed gave two pictures", class)
			}
			if bytes.Equal(first.Pix, picture(class, 8).Pix) {
				t.Errorf("%s: two seeds gave the same picture", class)
			}
		})
	}
	wg.Wait()
}

// TestTableSaysNothing compares pictures with the empty table of the same seed: beside the food
// and its shadow they are the same, byte for byte.
func TestTableSaysNothing(t *testing.T) {
	for seed := range uint64(6) {
		empty := picture("", seed)
		for _, class := range Classes() {
			full, same := picture(class, seed), 0
			for i := 0; i < len(full.Pix); i += 4 {
				if [4]byte(full.Pix[i:]) == [4]byte(empty.Pix[i:]) {
					same++
				}
			}
			food := 1 - float64(same)/(size*size)
			if food < 0.02 || food > 0.999 {
				t.Errorf("%s of seed %d covers %.1f %% of the picture", class, seed, 100*food)
			}
		}
	}
}

// TestFoodHasItsColours looks at what distinguishes the classes where it differs from the empty
// table: pizza is golden, steak is dark and red, sushi is largely white or black.
func TestFoodHasItsColours(t *testing.T) {
	mean := map[string][3]float64{}
	for _, class := range Classes() {
		var sum [3]float64
		n := 0.0
		for seed := range uint64(8) {
			full, empty := picture(class, seed+50), picture("", seed+50)
			for i := 0; i < len(full.Pix); i += 4 {
				if [4]byte(full.Pix[i:]) != [4]byte(empty.Pix[i:]) {
					for c := range sum {
						sum[c] += float64(full.Pix[i+c])
					}
					n++
				}
			}
		}
		mean[class] = [3]float64{sum[0] / n, sum[1] / n, sum[2] / n}
	}
	yellow := func(class string) float64 { return min(mean[class][0], mean[class][1]) - mean[class][2] }
	if yellow("pizza") < yellow("steak")+15 || yellow("pizza") < yellow("sushi")+15 {
		t.Errorf("pizza should be the most golden: %v", mean)
	}
	if mean["steak"][1] > mean["pizza"][1]-15 || mean["steak"][1] > mean["sushi"][1]-15 {
		t.Errorf("steak should be the darkest: %v", mean)
	}
}

// TestShapesKeepTheirBounds: nothing of a shape may lie outside the box that says where to draw it.
func TestShapesKeepTheirBounds(t *testing.T) {
	fillTiles()
	s := &scene{Rand: rand.New(rand.NewPCG(3, 4))}
	for name, a := range map[string]shape{
		"disc": disc(0.7), "oval": oval(0.9, 0.3), "box": box(0.8, 0.2, 0.1), "ring": ring(0.6, 0.2), "leaf": leaf(0.4),
		"rough": s.rough(box(0.5, 0.3, 0.1), 0.15, 0.4), "moved": box(0.3, 0.1, 0.05).moved(0.4, -0.3),
		"joined": disc(0.2).with(oval(0.1, 0.8)), "cut": disc(0.7).without(wedge(0.5)),
	} {
		inside := 0
		for range 20_000 {
			x, y := s.between(-2, 2), s.between(-2, 2)
			if a.at(x, y) >= 0 {
				continue
			}
			inside++
			if abs(x) > a.w || abs(y) > a.h {
				t.Fatalf("%s: (%v, %v) is inside, but beyond %v, %v", name, x, y, a.w, a.h)
			}
		}
		if inside < 50 {
			t.Errorf("%s: only %d of 20000 points lie inside", name, inside)
		}
	}
}

// TestEachVisitsAllOfADisc compares what each visits with a search of the whole picture.
func TestEachVisitsAllOfADisc(t *testing.T) {
	for seed := range uint64(20) {
		s := newScene(rand.New(rand.NewPCG(seed, 0)))
		p := pose{x: s.between(-1, 1), y: s.between(-1, 1), z: s.between(0, 0.3), turn: s.between(0, 6), size: s.between(0.05, 1.5)}
		count := func(w, h float32) (n int) {
			s.each(p, w, h, func(_ *texel, x, y, px float32) {
				if math.Hypot(float64(x), float64(2*y)) < 1 {
					n++
				}
			})
			return n
		}
		if got, want := count(1, 0.5), count(1000, 1000); got != want {
			t.Errorf("seed %d: visited %d of %d pixels", seed, got, want)
		}
	}
}

func TestNoise(t *testing.T) {
	fillTiles()
	sum, most := 0.0, float32(0)
	for i := range 40_000 {
		x, y := float32(i%200)*0.043-3, float32(i/200)*0.043-3
		v := noise(x, y)
		sum, most = sum+float64(v), max(most, abs(v))
		if d := abs(noise(x+0.001, y) - v); d > 0.1 {
			t.Fatalf("noise jumps by %v at %v, %v", d, x, y)
		}
		if abs(noise(x+8, y-16)-v) > 1e-3 {
			t.Fatalf("noise has a seam between %v, %v and its repetition", x, y)
		}
	}
	if mean := sum / 40_000; math.Abs(mean) > 0.1 || most < 0.8 || most > 2 {
		t.Errorf("noise has the mean %v and goes up to %v", mean, most)
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	contents := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		contents[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

func TestDataset(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "drawn pictures")
	if err := Dataset(dir, 5, 2, 1); err != nil {
		t.Fatal(err)
	}
	got := files(t, dir)
	seen := map[string]string{}
	for _, split := range []string{"train", "test"} {
		for _, class := range Classes() {
			names := []string{"drawn_001.jpg", "drawn_002.jpg"}
			if split == "test" {
				names = names[:1]
			}
			for _, name := range names {
				path := split + "/" + class + "/" + name
				img, err := jpeg.Decode(strings.NewReader(got[path]))
				if err != nil {
					t.Errorf("%s: %v", path, err)
				} else if img.Bounds().Size() != image.Pt(512, 512) {
					t.Errorf("%s: %v", path, img.Bounds())
				}
				if other, twice := seen[got[path]]; twice {
					t.Errorf("%s and %s are the same", path, other)
				}
				seen[got[path]] = path
				delete(got, path)
			}
		}
	}
	for path := range got {
		t.Errorf("unexpected file %s", path)
	}

	again := t.TempDir() // there already, but empty
	if err := Dataset(again, 5, 2, 1); err != nil {
		t.Fatal(err)
	}
	for path, data := range files(t, again) {
		if seen[data] != path {
			t.Errorf("%s differs between two runs with the same seed", path)
		}
	}
}

func TestDatasetRejects(t *testing.T) {
	for _, n := range [][2]int{{0, 1}, {1, 0}, {-1, -1}, {10_001, 1}, {1, math.MaxInt}} {
		dir := filepath.Join(t.TempDir(), "new")
		if err := Dataset(dir, 1, n[0], n[1]); err == nil {
			t.Errorf("no error for %v pictures", n)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%v pictures: a folder was left behind", n)
		}
	}

	taken := t.TempDir()
	photo := filepath.Join(taken, "test", "photo.jpg")
	if err := errors.Join(os.Mkdir(filepath.Dir(photo), 0o777), os.WriteFile(photo, []byte("x"), 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{taken, photo} {
		if err := Dataset(dir, 1, 1, 1); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got the error %v", dir, err)
		}
	}
	var left []string
	for path := range files(t, taken) {
		left = append(left, path)
	}
	if !slices.Equal(left, []string{"test/photo.jpg"}) {
		t.Errorf("the folder holds %v", left)
	}
}
