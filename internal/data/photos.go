package data

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/photo"
)

// Photos expands arguments to the paths of photos, in their order. A file stands for itself, whatever its name. A folder
// stands for the photos in it and below, by folder and name. A path that can't be read, or a folder without photos, comes
// with an error that names it and says what to do; the paths after it follow all the same.
//
// Folders are listed as the loop goes on, in memory that grows with the number of folders and not with that of photos.
func Photos(args []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, arg := range args {
			if !expand(arg, yield) {
				return
			}
		}
	}
}

func expand(arg string, yield func(string, error) bool) (more bool) {
	info, err := os.Stat(arg)
	if err != nil {
		return yield(arg, unreadable(arg, err))
	}
	if !info.IsDir() {
		return yield(arg, nil)
	}
	empty := true
	for name, err := range photos(arg) {
		empty = false
		if !yield(name, err) {
			return false
		}
	}
	return !empty || yield(arg, noPhotos(arg))
}

// photos yields the paths of the photos in root and below. A folder that can't be read comes with an error.
func photos(root string) iter.Seq2[string, error] {
	// Names in a folder that are held at once, in some 20 MB. A folder of more is read several times.
	const limit = 1 << 18
	return func(yield func(string, error) bool) {
		for _, f := range folders(root) {
			dir := filepath.Join(root, f.path)
			if f.err != nil {
				if !yield(dir, f.err) {
					return
				}
				continue
			}
			for name, err := range images(dir, limit) {
				if !yield(filepath.Join(dir, name), err) {
					return
				}
			}
		}
	}
}

// A folder is one that photos may be in.
type folder struct {
	path string // from the root, with slashes
	err  error  // why its subfolders couldn't be listed
}

// folders finds root and the folders below it, in the order of their paths: as strings, so that "a-b" precedes "a/b".
func folders(root string) []folder {
	var found []folder
	seen := map[string]bool{}
	var visit func(string, string)
	visit = func(rel, parent string) {
		dir := filepath.Join(root, rel)
		real, err := realPath(dir)
		if err != nil {
			found = append(found, folder{rel, unreadable(dir, err)})
			return
		}
		if seen[real] || contains(real, parent) {
			return
		}
		seen[real] = true
		names, err := subfolders(dir)
		found = append(found, folder{rel, err})
		for _, name := range names {
			visit(path.Join(rel, name), real)
		}
	}
	visit("", "")
	slices.SortFunc(found, func(a, b folder) int { return cmp.Compare(a.path, b.path) })
	return found
}

// realPath is the one path of a folder that links may reach by many.
func realPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// contains reports whether folder is dir or lies below it. Both paths are real, or folder is "".
func contains(dir, folder string) bool {
	rel, err := filepath.Rel(dir, folder)
	return err == nil && filepath.IsLocal(rel)
}

// subfolders returns the names of the folders in dir, sorted.
func subfolders(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, unreadable(dir, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file: name a folder that holds one folder of photos a class", dir)
	}
	var names []string
	err = list(dir, func(name string, mode fs.FileMode) {
		if mode.IsDir() {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names, err
}

// images yields the names of the photos in dir, sorted. To do so in the memory of limit names, it reads the folder again
// for every limit names.
func images(dir string, limit int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for last := ""; ; {
			names, err := imagesAfter(dir, last, limit)
			if err != nil {
				yield("", err)
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			if len(names) < limit {
				return
			}
			last = names[limit-1]
		}
	}
}

// imagesAfter returns the first names of photos in dir that follow last, sorted and no more than limit.
func imagesAfter(dir, last string, limit int) ([]string, error) {
	const neverPhotos = fs.ModeDir | fs.ModeNamedPipe | fs.ModeSocket | fs.ModeDevice
	var names []string
	err := list(dir, func(name string, mode fs.FileMode) {
		if name <= last || mode&neverPhotos != 0 || !photo.IsImageName(name) {
			return
		}
		names = append(names, name)
		if len(names) == 2*limit {
			slices.Sort(names)
			names = names[:limit]
		}
	})
	slices.Sort(names)
	return names[:min(len(names), limit)], err
}

// list visits what is in a folder, in any order, with the type of each: of a link's target, where it has one.
func list(dir string, visit func(name string, mode fs.FileMode)) error {
	f, err := os.Open(dir)
	if err != nil {
		return unreadable(dir, err)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") || e.Name() == "__MACOSX" {
				continue
			}
			mode := e.Type()
			if mode&fs.ModeSymlink != 0 {
				if target, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
					mode = target.Mode()
				}
			}
			visit(e.Name(), mode)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return unreadable(dir, err)
		}
	}
}

// unreadable says what to do about a path that the system refuses.
func unreadable(name string, err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	advice := "move it elsewhere, or leave it out"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		advice = "check the path"
	case errors.Is(err, fs.ErrPermission):
		advice = "make it readable, or leave it out"
	}
	return fmt.Errorf("reading %s: %w: %s", name, err, advice)
}
