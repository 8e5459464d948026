package graft

import (
	"iter"

	"github.com/graft-ml/graft/internal/data"
)

// A Photo is an image file and its class.
type Photo = data.Sample

// A Dataset is photos to train on and photos to test with, sorted into classes by their folders.
type Dataset = data.Dataset

// DatasetOptions say how to split a dataset that has no test photos of its own.
type DatasetOptions = data.Options

// OpenDataset finds the classes and photos of a folder: DATA/train/CLASS/* with DATA/test/CLASS/* (or
// val, valid, validation) beside it, or DATA/CLASS/*, of which a part is then split off for testing.
// An error names the folder or class at fault and says what to do.
func OpenDataset(dir string, opts DatasetOptions) (*Dataset, error) { return data.Open(dir, opts) }

// Files expands paths for predicting: files as they are, folders to the images in them at any depth,
// in order and while they are asked for. A path that doesn't exist is yielded with its error.
func Files(paths ...string) iter.Seq2[string, error] { return data.Photos(paths) }

// OpenPhotos finds the photos of a folder with a folder for each class. The classes are those of a
// model: a folder of another name is an error, and a class without a folder has no photos.
func OpenPhotos(dir string, classes []string) ([]Photo, error) {
	photos, _, err := data.OpenFolder(dir, classes)
	return photos, err
}

// A Pair is two files with the same content.
type Pair = data.Pair

// Duplicates finds photos that are in train and test (leaks), and in two classes (conflicts).
func Duplicates(d *Dataset) (leaks, conflicts []Pair) { return data.Duplicates(d.Train, d.Test) }
