package data_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/data"
	"github.com/graft-ml/graft/internal/testutil"
)

// plant makes a tree in a new folder and returns its path: "a -> b" is a symbolic link a to b, "a/" an empty folder, and
// everything else a file whose content is its own name.
func plant(t testing.TB, entries ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, entry := range entries {
		name, target, link := strings.Cut(entry, " -> ")
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o777))
		switch {
		case link:
			must(t, os.Symlink(target, path))
		case strings.HasSuffix(name, "/"):
			must(t, os.Mkdir(path, 0o777))
		default:
			must(t, os.WriteFile(path, []byte(name), 0o666))
		}
	}
	return root
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// numbered returns n names of photos in a folder.
func numbered(folder string, n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s/%d.jpg", folder, i))
	}
	return names
}

// texts writes samples as "class path", with paths from root.
func texts(t testing.TB, root string, samples []data.Sample) []string {
	t.Helper()
	var list []string
	for _, s := range samples {
		rel, err := filepath.Rel(root, s.Path)
		must(t, err)
		list = append(list, fmt.Sprintf("%d %s", s.Class, filepath.ToSlash(rel)))
	}
	return list
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestOpenFolderIsImageFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the tree has names that Windows doesn't allow")
	}
	var want struct{ Tree, Classes, Samples []string }
	text, err := os.ReadFile("testdata/imagefolder.json")
	must(t, err)
	must(t, json.Unmarshal(text, &want))
	root := filepath.Join(plant(t, want.Tree...), "data")

	samples, classes, err := data.OpenFolder(root, nil)
	must(t, err)
	same(t, "classes", classes, want.Classes)
	same(t, "samples", texts(t, root, samples), want.Samples)
}

func TestOpenLayouts(t *testing.T) {
	tests := []struct {
		name                 string
		tree                 []string
		eval                 string
		classes, train, test []string
	}{
		{
			name:    "train and test",
			tree:    []string{"train/b/1.jpg", "train/a/2.jpg", "train/a/10.jpg", "test/b/3.jpg", "test/a/4.jpg"},
			eval:    "test",
			classes: []string{"a", "b"},
			train:   []string{"0 train/a/10.jpg", "0 train/a/2.jpg", "1 train/b/1.jpg"},
			test:    []string{"0 test/a/4.jpg", "1 test/b/3.jpg"},
		}, {
			name:    "a class that test lacks, an index after it",
			tree:    []string{"train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "valid/c/2.jpg"},
			eval:    "valid",
			classes: []string{"a", "b", "c"},
			train:   []string{"0 train/a/1.jpg", "1 train/b/1.jpg", "2 train/c/1.jpg"},
			test:    []string{"2 valid/c/2.jpg"},
		}, {
			name:    "test before validation, and other folders beside",
			tree:    []string{"train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "validation/a/2.jpg", "labels/a.txt"},
			eval:    "test",
			classes: []string{"a", "b"},
			train:   []string{"0 train/a/1.jpg", "1 train/b/1.jpg"},
			test:    []string{"0 test/a/1.jpg"},
		}, {
			name:    "capitals",
			tree:    []string{"Train/a/1.jpg", "Train/b/1.jpg", "TEST/b/1.jpg"},
			eval:    "TEST",
			classes: []string{"a", "b"},
			train:   []string{"0 Train/a/1.jpg", "1 Train/b/1.jpg"},
			test:    []string{"1 TEST/b/1.jpg"},
		}, {
			name:    "classes named like splits",
			tree:    []string{"bus/1.jpg", "bus/2.jpg", "test/1.jpg", "test/2.jpg", "train/1.jpg", "train/2.jpg"},
			classes: []string{"bus", "test", "train"},
			train:   []string{"0 bus/1.jpg", "1 test/2.jpg", "2 train/2.jpg"},
			test:    []string{"0 bus/2.jpg", "1 test/1.jpg", "2 train/1.jpg"},
		}, {
			name:    "files named like folders",
			tree:    []string{"test", "train.jpg", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"},
			classes: []string{"a", "b"},
			train:   []string{"0 a/1.jpg", "1 b/1.jpg"},
			test:    []string{"0 a/2.jpg", "1 b/2.jpg"},
		}, {
			name: "what systems leave behind",
			tree: []string{"a/1.jpg", "a/2.jpg", "a/._1.jpg", "a/.jpg", "a/.thumbnails/1.jpg", "a/Thumbs.db", "b/1.jpg",
				"b/2.jpg", ".ipynb_checkpoints/1.jpg", "__MACOSX/a/1.jpg", "a/__MACOSX/1.jpg", ".DS_Store"},
			classes: []string{"a", "b"},
			train:   []string{"0 a/1.jpg", "1 b/1.jpg"},
			test:    []string{"0 a/2.jpg", "1 b/2.jpg"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := plant(t, test.tree...)
			d, err := data.Open(root, data.Options{})
			must(t, err)
			same(t, "root", d.Root, root)
			same(t, "eval", d.Eval, test.eval)
			same(t, "classes", d.Classes, test.classes)
			same(t, "train", texts(t, root, d.Train), test.train)
			same(t, "test", texts(t, root, d.Test), test.test)
		})
	}
}

func TestOpenErrors(t *testing.T) {
	tests := []struct {
		name string
		tree []string
		dir  string   // in the tree
		want []string // parts of the error; those that begin with / are paths in the tree
	}{
		{"missing", nil, "nowhere", []string{"/nowhere", "check the path"}},
		{"a broken link", []string{"link -> nowhere"}, "link", []string{"/link", "check the path"}},
		{"a file", []string{"photos.zip"}, "photos.zip", []string{"/photos.zip is a file", "name a folder"}},
		{"empty", []string{"notes.txt"}, "", []string{"/ has no photos", ".jpg"}},
		{"only empty classes", []string{"a/", "b/x.txt"}, "", []string{"/ has no photos", ".jpg"}},
		{"no class folders", []string{"x.jpg", "y.jpg"}, "", []string{"/ has no class folders", "x.jpg", "/pizza/1.jpg"}},
		{"no class folders in train", []string{"train/x.jpg", "test/y.jpg"}, "",
			[]string{"/train has no class folders", "/train/pizza/1.jpg"}},
		{"no class folders in test", []string{"train/a/1.jpg", "train/b/1.jpg", "test/y.jpg"}, "",
			[]string{"/test has no class folders", "/test/pizza/1.jpg"}},
		{"empty test", []string{"train/a/1.jpg", "train/b/1.jpg", "test/"}, "", []string{"/test has no photos"}},
		{"no train", []string{"test/a/1.jpg", "test/b/1.jpg", "val/a/1.jpg"}, "", []string{"/ has a folder test", "/train"}},
		{"one class", []string{"a/1.jpg", "a/2.jpg"}, "", []string{"/ has one class", `"a"`}},
		{"a folder too high", []string{"food/train/a/1.jpg", "food/train/b/1.jpg"}, "",
			[]string{"/ has one class", `"food"`, "name the folder that holds the classes"}},
		{"empty class", []string{"train/a/1.jpg", "train/b/1.txt", "train/c/"}, "",
			[]string{"/train/b: no photos of class", `"b", "c"`, ".jpg"}},
		{"empty class in test", []string{"train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/b/"}, "",
			[]string{"/test/b: no photos of class", `"b"`}},
		{"unknown class in test", []string{"train/ /1.jpg", "train/b\"/1.jpg", "test/c\n/1.jpg"}, "",
			[]string{"/test/c\n", `"c\n" is none of`, `(" ", "b\""`}},
		{"class names in another case", []string{"train/a/1.jpg", "train/b/1.jpg", "test/A/1.jpg"}, "",
			[]string{"/test/A", `"A" is none of`}},
		{"a single photo", []string{"a/1.jpg", "a/2.jpg", "b/1.jpg"}, "", []string{"/b has a single photo", `"b"`}},
		{"a single photo in train alone", []string{"train/a/1.jpg", "train/a/2.jpg", "train/b/1.jpg"}, "",
			[]string{"/train/b has a single photo", `"b"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := plant(t, test.tree...)
			d, err := data.Open(filepath.Join(root, test.dir), data.Options{})
			wantError(t, root, err, test.want...)
			if d != nil {
				t.Error("a dataset with an error")
			}
		})
	}
}

func wantError(t testing.TB, root string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if strings.HasPrefix(part, "/") {
			part = strings.Replace(root+filepath.FromSlash(part), string(filepath.Separator)+" ", " ", 1)
		}
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}

func TestOpenErrorsCanBeTold(t *testing.T) {
	_, err := data.Open(filepath.Join(t.TempDir(), "nowhere"), data.Options{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v isn't fs.ErrNotExist", err)
	}
}

func TestOpenUnreadable(t *testing.T) {
	if os.Geteuid() <= 0 {
		t.Skip("needs a user whom permissions stop: not root, not Windows")
	}
	for _, closed := range []string{"", "train", "test", "train/b", "train/b/deep"} {
		t.Run(closed, func(t *testing.T) {
			root := plant(t, "train/a/1.jpg", "train/b/1.jpg", "train/b/deep/2.jpg", "test/a/1.jpg")
			path := filepath.Join(root, closed)
			must(t, os.Chmod(path, 0))
			defer os.Chmod(path, 0o777)
			_, err := data.Open(root, data.Options{})
			wantError(t, root, err, "reading "+path+":", "make it readable")
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%v isn't fs.ErrPermission", err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	nan := func() float64 { zero := 0.0; return zero / zero }()
	root := plant(t, append(numbered("a", 2), numbered("b", 2)...)...)
	for _, val := range []float64{-0.2, 1, 1.5, 20, nan} {
		_, err := data.Open(root, data.Options{Val: val})
		wantError(t, root, err, fmt.Sprintf("val is %v", val), "0.2")
	}
}

func TestOpenFolderOfARun(t *testing.T) {
	root := plant(t, "steak/1.jpg", "pizza/2.jpg")
	run := []string{"sushi", "steak", "pizza"}
	samples, classes, err := data.OpenFolder(root, run)
	must(t, err)
	same(t, "classes", classes, run)
	same(t, "samples", texts(t, root, samples), []string{"2 pizza/2.jpg", "1 steak/1.jpg"})

	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprint("class ", i))
	}
	_, _, err = data.OpenFolder(root, many)
	wantError(t, root, err, "/pizza", `"pizza" is none of`, `"class 0", "class 1"`, `"class 9" and 990 more`)
}

func TestOpenFolderCycles(t *testing.T) {
	root := plant(t,
		"data/a/1.jpg",
		"data/a/deep/2.jpg",
		"data/a/deep/self -> .",
		"data/a/deep/up -> ..",
		"data/a/deep/out -> ../../..", // would make photos of every class photos of a
		"data/a/deep/top -> /",
		"data/a/self -> self",
		"data/b/3.jpg",
		"data/b/x -> ../../pingpong/x",
		"data/b/y -> ../../pingpong/y",
		"pingpong/x/4.jpg",
		"pingpong/x/y -> ../y",
		"pingpong/y/5.jpg",
		"pingpong/y/x -> ../x",
	)
	want := []string{"0 a/1.jpg", "0 a/deep/2.jpg", "1 b/3.jpg", "1 b/x/4.jpg", "1 b/x/y/5.jpg"}
	dir := filepath.Join(root, "data")
	samples, _, err := data.OpenFolder(dir, nil)
	must(t, err)
	same(t, "samples", texts(t, dir, samples), want)

	t.Chdir(dir)
	samples, _, err = data.OpenFolder(".", nil)
	must(t, err)
	same(t, "samples from here", texts(t, ".", samples), want)
}

func TestSplitIsStratified(t *testing.T) {
	tests := []struct {
		val  float64
		want map[string]int // of test photos, by class
	}{
		{0, map[string]int{"2": 1, "3": 1, "7": 1, "8": 2, "75": 15}}, // 0.4, 0.6, 1.4, 1.6, 15
		{0.5, map[string]int{"2": 1, "3": 2, "7": 4, "8": 4, "75": 38}},
		{0.01, map[string]int{"2": 1, "3": 1, "7": 1, "8": 1, "75": 1}},
		{0.99, map[string]int{"2": 1, "3": 2, "7": 6, "8": 7, "75": 74}},
	}
	var tree []string
	for _, n := range []int{2, 3, 7, 8, 75} {
		tree = append(tree, numbered(fmt.Sprint(n), n)...)
	}
	root := plant(t, tree...)
	all, classes, err := data.OpenFolder(root, nil)
	must(t, err)
	for _, test := range tests {
		d, err := data.Open(root, data.Options{Val: test.val})
		must(t, err)
		got := map[string]int{}
		for _, s := range d.Test {
			got[classes[s.Class]]++
		}
		if !maps.Equal(got, test.want) {
			t.Errorf("val %v: %v, want %v", test.val, got, test.want)
		}
		both := slices.Concat(d.Train, d.Test)
		slices.SortFunc(both, func(a, b data.Sample) int {
			return slices.IndexFunc(all, func(s data.Sample) bool { return s == a }) -
				slices.IndexFunc(all, func(s data.Sample) bool { return s == b })
		})
		same(t, "train and test together", both, all)
		for _, part := range [][]data.Sample{d.Train, d.Test} {
			if !slices.IsSortedFunc(part, func(a, b data.Sample) int { return a.Class - b.Class }) {
				t.Errorf("val %v: not in the order of classes", test.val)
			}
		}
	}
}

// The lots pinned here are sha256(f"{seed}\0{class}\0{path}") in Python, lowest first.
func TestSplitIsPinned(t *testing.T) {
	tree := slices.Concat(numbered("pizza", 5), numbered("pizza/deep", 5), numbered("牛排", 10))
	tests := map[uint64][]string{
		0:       {"0 pizza/2.jpg", "0 pizza/deep/2.jpg", "0 pizza/deep/3.jpg", "1 牛排/1.jpg", "1 牛排/5.jpg", "1 牛排/9.jpg"},
		1:       {"0 pizza/3.jpg", "0 pizza/4.jpg", "0 pizza/deep/2.jpg", "1 牛排/2.jpg", "1 牛排/3.jpg", "1 牛排/8.jpg"},
		1 << 63: {"0 pizza/1.jpg", "0 pizza/deep/1.jpg", "0 pizza/deep/3.jpg", "1 牛排/7.jpg", "1 牛排/8.jpg", "1 牛排/9.jpg"},
	}
	backwards := slices.Clone(tree)
	slices.Reverse(backwards)
	for seed, want := range tests {
		for _, root := range []string{plant(t, tree...), plant(t, backwards...)} {
			d, err := data.Open(root, data.Options{Seed: seed, Val: 0.3})
			must(t, err)
			same(t, fmt.Sprint("seed ", seed), texts(t, root, d.Test), want)
		}
	}
}

func TestSplitOfTrainAloneIsThatOfClasses(t *testing.T) {
	root := plant(t, slices.Concat(numbered("train/a", 20), numbered("train/b", 20))...)
	outer, err := data.Open(root, data.Options{Seed: 3})
	must(t, err)
	inner, err := data.Open(filepath.Join(root, "train"), data.Options{Seed: 3})
	must(t, err)
	same(t, "test", outer.Test, inner.Test)
	same(t, "eval", outer.Eval, "")
}

func TestPizzaSteakSushi(t *testing.T) {
	root := testutil.Shared(t, "data", "pizza_steak_sushi")
	d, err := data.Open(root, data.Options{})
	must(t, err)
	same(t, "classes", d.Classes, []string{"pizza", "steak", "sushi"})
	if d.Eval != "test" || len(d.Train) != 225 || len(d.Test) != 75 {
		t.Errorf("%d train, %d %s", len(d.Train), len(d.Test), d.Eval)
	}
	if leaks, conflicts := data.Duplicates(d.Train, d.Test); len(leaks) != 0 || len(conflicts) != 0 {
		t.Errorf("leaks %v, conflicts %v", leaks, conflicts)
	}
}
