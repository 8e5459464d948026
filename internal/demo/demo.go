// Package demo prepares graft's demonstration: sample photos and a pretrained network, or the nearest
// to them that can be had.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/draw"
	"github.com/graft-ml/graft/internal/hub"
)

// A Story is what the demonstration trains, and on what.
type Story struct {
	Model  *graft.Model
	Data   *graft.Dataset
	Epochs int
	Notes  []string // what to tell the user, line by line
}

// The drawn dataset has as many pictures as FoodVision Mini has photos.
const (
	seed  = 42
	train = 75
	test  = 25
)

// Prepare gets the FoodVision Mini photos or draws pictures in their place, and loads
// EfficientNet-Lite0 or, with no host in reach, starts TinyVGG from random weights.
func Prepare(ctx context.Context, progress graft.Progress) (*Story, error) {
	s := &Story{Epochs: 5}
	dir, err := s.photos(ctx, progress)
	if err != nil {
		return nil, err
	}
	if s.Data, err = graft.OpenDataset(dir, graft.DatasetOptions{}); err != nil {
		return nil, err
	}
	s.Model, err = graft.Load(ctx, "efficientnet_lite0", &graft.LoadOptions{Progress: progress})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		s.note("%v", err)
		s.note("No pretrained weights can be had, so TinyVGG, a small network, learns from nothing: expect it to do little " +
			"better than guessing. A pretrained network already knows what photos look like.")
		s.Epochs = 20
		s.Model, err = graft.Scratch("tinyvgg", s.Data.Classes)
		return s, err
	}
	if err := s.Model.ReplaceHead(s.Data.Classes, 0.2); err != nil {
		return nil, err
	}
	return s, s.Model.Freeze("features")
}

func (s *Story) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// photos returns a folder with train and test photos of pizza, steak and sushi.
func (s *Story) photos(ctx context.Context, progress graft.Progress) (string, error) {
	cache, err := hub.CacheDir()
	if err != nil {
		return "", err
	}
	dir, err := hub.FoodVisionMini(ctx, hub.NewClient(cache), progress)
	if err == nil {
		s.note("Photos: FoodVision Mini (%s)", dir)
		return dir, nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	s.note("%v", err)
	dir = filepath.Join(cache, "datasets", "drawn", "pizza_steak_sushi")
	if _, err := os.Stat(filepath.Join(dir, "test")); errors.Is(err, os.ErrNotExist) {
		if err := draw.Dataset(dir, seed, train, test); err != nil {
			return "", err
		}
	}
	s.note("So these are no photos but pictures of pizza, steak and sushi that graft drew itself (%s)", dir)
	return dir, nil
}
