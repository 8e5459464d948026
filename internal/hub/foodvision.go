package hub

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// foodVisionURL is where the course "Learn PyTorch for Deep Learning: Zero to Mastery" keeps the photos, a sample of
// Food-101 (https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/).
const foodVisionURL = "https://github.com/mrdbourke/pytorch-deep-learning/raw/main/data/pizza_steak_sushi.zip"

const foodVisionName = "pizza_steak_sushi"

// The photos are known by their number and by the sha256 of the listing that
// "LC_ALL=C sort -k 2" makes of "sha256sum pizza_steak_sushi/*/*/*.jpg".
const (
	foodVisionPhotos  = 300
	foodVisionListing = "c4e49333f80908954e95990bcf203904c67efa4dc528a0720d391036bbee3932"
)

// foodVisionLimit bounds what is unpacked; the photos have 15.4 MiB.
const foodVisionLimit = 32 << 20

// FoodVisionMini returns the folder of the FoodVision Mini photos in the client's cache, downloading them if need be:
// train/ with 225 and test/ with 75 photos of pizza, steak and sushi, each verified. progress may be nil.
func FoodVisionMini(ctx context.Context, client *Client, progress Progress) (dir string, err error) {
	if progress == nil {
		progress = silent{}
	}
	folder, err := client.folder("datasets/foodvision_mini")
	if err != nil {
		return "", err
	}
	dir = filepath.Join(folder, foodVisionName)
	exists := func() bool {
		_, err := os.Stat(dir)
		return err == nil
	}
	err = produce(ctx, folder, progress, exists, func() error {
		archive := dir + ".zip"
		if _, err := client.fetchFirst(ctx, folder, []Source{HTTP{URL: foodVisionURL}}, progress); err != nil {
			return fmt.Errorf("can't get the FoodVision Mini photos: %w", err)
		}
		defer os.Remove(archive)
		return unpackFoodVision(archive, dir)
	})
	if err != nil {
		return "", err
	}
	return dir, nil
}

// unpackFoodVision makes dir, whole and verified, from the archive.
func unpackFoodVision(archive, dir string) error {
	part := dir + ".part"
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o777)); err != nil {
		return &cacheError{err}
	}
	defer os.RemoveAll(part)
	if err := unzipPhotos(archive, part); err != nil {
		return fmt.Errorf("%s: %w", foodVisionURL, err)
	}
	photos, listing, err := listingSHA256(part, foodVisionName)
	if err != nil {
		return &cacheError{err}
	}
	if photos != foodVisionPhotos || listing != foodVisionListing {
		return fmt.Errorf("%s: these aren't the FoodVision Mini photos and were removed: %d of them with the listing's sha256 %s, expected %d and %s",
			foodVisionURL, photos, listing, foodVisionPhotos, foodVisionListing)
	}
	if err := os.Rename(part, dir); err != nil {
		return &cacheError{err}
	}
	return nil
}

// unzipPhotos unpacks the photos of an archive into dir, which no name can leave. Other files are left out.
func unzipPhotos(archive, dir string) error {
	zipped, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer zipped.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return &cacheError{err}
	}
	defer root.Close()
	photos, left := 0, int64(foodVisionLimit)
	for _, file := range zipped.File {
		if !file.Mode().IsRegular() || path.Ext(file.Name) != ".jpg" {
			continue
		}
		n, err := unzipFile(root, strings.TrimPrefix(file.Name, foodVisionName+"/"), file, left)
		if err != nil {
			return fmt.Errorf("%q: %w", file.Name, err)
		}
		photos++
		if left -= n; left < 0 || photos > foodVisionPhotos {
			return fmt.Errorf("it holds more than %d photos or %d bytes", foodVisionPhotos, foodVisionLimit)
		}
	}
	return nil
}

// unzipFile writes an archive's file to root under name, at most limit+1 bytes, and returns their number.
func unzipFile(root *os.Root, name string, file *zip.File, limit int64) (int64, error) {
	src, err := file.Open()
	if err != nil {
		return 0, err
	}
	defer src.Close()
	if err := root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return 0, err
	}
	dst, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return 0, err
	}
	defer dst.Close()
	n, err := io.Copy(cacheWriter{dst}, io.LimitReader(src, limit+1))
	if err != nil {
		return n, err
	}
	if err := dst.Close(); err != nil {
		return n, &cacheError{err}
	}
	return n, nil
}

// listingSHA256 returns the number of files below dir and the sha256 of their listing: "<sha256>  <name>/<path>" lines
// in the order of the paths.
func listingSHA256(dir, name string) (files int, digest string, err error) {
	lines := map[string]string{}
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		lines[path.Join(name, filepath.ToSlash(rel))], err = sha256sum(file)
		return err
	})
	if err != nil {
		return 0, "", err
	}
	listing := sha256.New()
	for _, file := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(listing, "%s  %s\n", lines[file], file)
	}
	return len(lines), hex.EncodeToString(listing.Sum(nil)), nil
}
