// Package data turns folders of photos into datasets, the way torchvision's ImageFolder does.
//
// A dataset is a folder in one of two layouts, where pizza and steak stand for the classes:
//
//	DATA/train/pizza/*.jpg     DATA/pizza/*.jpg
//	DATA/train/steak/*.jpg     DATA/steak/*.jpg
//	DATA/test/pizza/*.jpg
//	DATA/test/steak/*.jpg
//
// On the left the photos to evaluate on are set apart already, in a folder named test, val, valid or validation. On the
// right, and where train stands alone, [Open] sets a part of each class aside.
//
// Classes are in the order of their names' bytes, photos in the order of their folder's path and then their name. Both
// are ImageFolder's orders
// (https://github.com/pytorch/vision/blob/main/torchvision/datasets/folder.py), so that class indices agree with those
// of a model trained in PyTorch. So does what counts as a photo: a name with one of [photo.Extensions], at any depth,
// symbolic links followed. There are three differences, all in what ImageFolder would trip over:
//
//   - Names that begin with a dot, and __MACOSX, are left out, files and folders alike: they are what operating systems
//     and tools leave behind. ImageFolder takes .ipynb_checkpoints for a class and ._1.jpg for a photo.
//   - Within a class, a folder that symbolic links reach by several ways counts once, and a link to a folder that
//     contains it is not followed. ImageFolder walks a cycle until the system stops it, and lists its photos each time.
//   - Pipes, sockets and devices are left out, since reading one may never end.
//
// Nothing here opens a photo but [Duplicates]; a damaged one is found when it is decoded.
package data

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/graft-ml/graft/internal/photo"
)

// A Sample is a photo and its class.
type Sample struct {
	Path  string // of the file
	Class int    // an index into the dataset's classes
}

// A Dataset is what [Open] finds. Each class has a photo in Train; Test may lack classes.
type Dataset struct {
	Root        string   // the folder, as given to Open
	Eval        string   // the name of the folder in Root that Test was found in, such as "test"; "" if it was split off
	Classes     []string // names, in byte order
	Train, Test []Sample // in the order of classes, folders and names
}

// Options say how a dataset without a test folder is split. The zero value is ready to use.
type Options struct {
	Val  float64 // the fraction of each class that goes to Test, above 0 and below 1; 0 means DefaultVal
	Seed uint64  // another seed picks other photos
}

// DefaultVal is the fraction of photos set aside for evaluation.
const DefaultVal = 0.2

// splitNames are the folders of the layout with splits: the one to train on, then those that may hold the photos to
// evaluate on, of which the first that exists is taken.
var splitNames = []string{"train", "test", "val", "valid", "validation"}

// Open finds the classes and photos of a dataset in one of the two layouts. The names train, val, valid, validation and
// test are matched in any case, and test goes before the others. A dataset has two classes or more, each
// with a photo in train; test may lack classes, but not have others.
//
// Without an evaluation folder, each class of n photos sets round(opts.Val·n) aside for Test, though at least one and at
// most n-1. Which ones depends on opts.Seed, the class's name and the photos' paths in the class's folder alone.
//
// An error names the folder or class at fault and says what to do.
func Open(dir string, opts Options) (*Dataset, error) {
	if opts.Val == 0 {
		opts.Val = DefaultVal
	}
	if !(opts.Val > 0 && opts.Val < 1) {
		return nil, fmt.Errorf("val is %v: it is the fraction of photos to evaluate on, so give a number above 0 and below 1, such as %v",
			opts.Val, DefaultVal)
	}
	train, eval, err := layout(dir)
	if err != nil {
		return nil, err
	}
	d := &Dataset{Root: dir, Eval: eval}
	if d.Train, d.Classes, err = OpenFolder(train, nil); err != nil {
		return nil, err
	}
	if len(d.Classes) == 1 {
		return nil, fmt.Errorf("%s has one class only, %q: add a folder for each other class, or name the folder that holds the classes",
			train, d.Classes[0])
	}
	if eval != "" {
		d.Test, _, err = OpenFolder(filepath.Join(dir, eval), d.Classes)
	} else {
		d.Train, d.Test, err = split(train, d.Train, d.Classes, opts)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// layout tells the folder to train on, and the name of the one to evaluate on or "".
func layout(dir string) (train, eval string, err error) {
	names, err := subfolders(dir)
	if err != nil {
		return "", "", err
	}
	train, eval = find(names, splitNames[:1]), find(names, splitNames[1:])
	others := slices.ContainsFunc(names, func(name string) bool { return find([]string{name}, splitNames) == "" })
	switch {
	case train == "" && eval != "" && !others:
		return "", "", fmt.Errorf("%s has a folder %s but none named train: put the photos to train on in %s, in one folder a class",
			dir, eval, filepath.Join(dir, "train"))
	case train == "":
		return dir, "", nil
	}
	train = filepath.Join(dir, train)
	classes, err := subfolders(train)
	if err != nil {
		return "", "", err
	}
	if len(classes) == 0 && others {
		return dir, "", nil // train is a class, beside bus and plane
	}
	return train, eval, nil
}

// find returns the first of the wanted names that is in names in any case, spelled as there, or "".
func find(names, wanted []string) string {
	for _, want := range wanted {
		for _, name := range names {
			if strings.EqualFold(name, want) {
				return name
			}
		}
	}
	return ""
}

// OpenFolder finds the photos in a folder of class folders, and returns them with the classes that Sample.Class indexes.
// These are the names of the folders if classes is nil, and otherwise classes itself, in its order: then a folder of
// another name is an error, and a class without a folder is none. A class folder without photos is an error.
func OpenFolder(dir string, classes []string) ([]Sample, []string, error) {
	folders, err := subfolders(dir)
	if err != nil {
		return nil, nil, err
	}
	if len(folders) == 0 {
		return nil, nil, noClasses(dir)
	}
	if classes == nil {
		classes = folders
	}
	var samples []Sample
	var empty []string
	for _, name := range folders {
		folder := filepath.Join(dir, name)
		class := slices.Index(classes, name)
		if class < 0 && find([]string{name}, splitNames) != "" {
			return nil, nil, fmt.Errorf("%s has a folder %s, which is none of the classes: name that folder itself, %s", dir, name, folder)
		}
		if class < 0 {
			return nil, nil, fmt.Errorf("%s: %q is none of the classes (%s): rename or remove the folder, or train on that class too",
				folder, name, abridged(classes))
		}
		before := len(samples)
		for path, err := range photos(folder) {
			if err != nil {
				return nil, nil, err
			}
			samples = append(samples, Sample{path, class})
		}
		if len(samples) == before {
			empty = append(empty, name)
		}
	}
	if len(samples) == 0 {
		return nil, nil, noPhotos(dir)
	}
	if len(empty) > 0 {
		return nil, nil, fmt.Errorf("%s: no photos of class %s: add some (%s) or remove the folder",
			filepath.Join(dir, empty[0]), abridged(empty), strings.Join(photo.Extensions, " "))
	}
	return samples, classes, nil
}

// noClasses is the error for a folder without class folders, which may hold photos all the same.
func noClasses(dir string) error {
	for path, err := range photos(dir) {
		if err != nil {
			return err
		}
		return fmt.Errorf("%s has no class folders, its photos (%s) lie directly in it: sort them into one folder a class, as in %s and %s",
			dir, filepath.Base(path), filepath.Join(dir, "pizza", "1.jpg"), filepath.Join(dir, "steak", "2.jpg"))
	}
	return noPhotos(dir)
}

func noPhotos(dir string) error {
	return fmt.Errorf("%s has no photos in it or below: name another folder, or add files of a known type (%s)",
		dir, strings.Join(photo.Extensions, " "))
}

// abridged lists names for an error message.
func abridged(names []string) string {
	const most = 10
	var quoted []string
	for _, name := range names[:min(len(names), most)] {
		quoted = append(quoted, strconv.Quote(name))
	}
	list := strings.Join(quoted, ", ")
	if len(names) > most {
		list += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return list
}
