package data_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/data"
)

// expanded writes what Photos yields, with paths from root; one with an error ends in "!".
func expanded(root string, args ...string) []string {
	var list []string
	for path, err := range data.Photos(args) {
		path = filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if err != nil {
			path += "!"
		}
		list = append(list, path)
	}
	return list
}

func TestPhotos(t *testing.T) {
	root := plant(t, "x/2.jpg", "x/1.JPG", "x/a/3.png", "x/a-b/4.gif", "x/notes.txt", "x/.hidden.jpg", "x/loop -> .",
		"empty/notes.txt", "odd", "y.jpg")
	in := func(name string) string { return filepath.Join(root, name) }
	same(t, "photos", expanded(root, in("y.jpg"), in("nowhere.jpg"), in("x"), in("odd"), in("empty"), in("x/a"), in("y.jpg")),
		[]string{"y.jpg", "nowhere.jpg!", "x/1.JPG", "x/2.jpg", "x/a/3.png", "x/a-b/4.gif", "odd", "empty!", "x/a/3.png", "y.jpg"})
	same(t, "none", expanded(root), []string(nil))

	for path, err := range data.Photos([]string{in("nowhere.jpg")}) {
		wantError(t, root, err, "/nowhere.jpg", "check the path")
		same(t, "path", path, in("nowhere.jpg"))
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v isn't fs.ErrNotExist", err)
		}
	}
	for _, err := range data.Photos([]string{in("empty")}) {
		wantError(t, root, err, "/empty has no photos", ".jpg")
	}
}

func TestPhotosFromHere(t *testing.T) {
	t.Chdir(plant(t, "1.jpg", "-a/2.jpg", "a/3.jpg", "a/abs/"))
	here, err := os.Getwd()
	must(t, err)
	must(t, os.Symlink(here, "a/abs/loop"))
	same(t, "photos", expanded("/", "."), []string{"1.jpg", "-a/2.jpg", "a/3.jpg"})
}

func TestPhotosStopsWhereTold(t *testing.T) {
	root := plant(t, "x/1.jpg", "x/2.jpg", "y/3.jpg")
	in := func(name string) string { return filepath.Join(root, name) }
	for _, last := range []string{in("nowhere"), in("x/1.jpg"), in("y/3.jpg")} {
		n := 0
		for path := range data.Photos([]string{in("nowhere"), in("x"), in("y/3.jpg"), in("y")}) {
			n++
			if path == last {
				break
			}
		}
		if want := map[string]int{in("nowhere"): 1, in("x/1.jpg"): 2, in("y/3.jpg"): 4}[last]; n != want {
			t.Errorf("stopped at %s after %d, want %d", last, n, want)
		}
	}
}

func TestPhotosSeesFilesAddedOnTheWay(t *testing.T) {
	root := plant(t, "1.jpg", "late/2.jpg")
	var list []string
	for path := range data.Photos([]string{root}) {
		list = append(list, filepath.Base(path))
		if len(list) == 1 {
			must(t, os.WriteFile(filepath.Join(root, "late", "3.jpg"), nil, 0o666))
		}
	}
	same(t, "photos of a folder listed lazily", list, []string{"1.jpg", "2.jpg", "3.jpg"})
}

func TestPhotosGoesOnAfterUnreadable(t *testing.T) {
	if os.Geteuid() <= 0 {
		t.Skip("needs a user whom permissions stop: not root, not Windows")
	}
	root := plant(t, "a/1.jpg", "b/2.jpg", "c/3.jpg")
	closed := filepath.Join(root, "b")
	must(t, os.Chmod(closed, 0))
	defer os.Chmod(closed, 0o777)
	same(t, "photos", expanded(root, root), []string{"a/1.jpg", "b!", "c/3.jpg"})
}

func TestPhotosLeavesPipesOut(t *testing.T) {
	root := plant(t, "1.jpg", "link.jpg -> pipe.jpg", "null.jpg -> /dev/null")
	if err := exec.Command("mkfifo", filepath.Join(root, "pipe.jpg")).Run(); err != nil {
		t.Skip("needs mkfifo: ", err)
	}
	same(t, "photos", expanded(root, root), []string{"1.jpg"})
}
