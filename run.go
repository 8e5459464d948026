package graft

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/graft-ml/graft/internal/atomicfile"
	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/plot"
)

// ErrRunExists is the cause of an error where a run folder would be overwritten.
var ErrRunExists = errors.New("there is a run already")

// CheckRunFolder returns an error with the cause [ErrRunExists] if dir exists and isn't an empty
// folder: something to find out before training.
func CheckRunFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s: %w", dir, ErrRunExists)
	}
	return nil
}

// Save writes the run folder dir, all of it or nothing:
//
//	model.safetensors  the trained model
//	best.safetensors   the model after its best epoch, if that isn't the last
//	config.json        what it was trained with
//	history.csv/.json  loss and accuracy of each epoch
//	curves.png         the same, drawn
//	predictions.png    some test photos with their predictions
//	confusion.png      true against predicted classes
//	events.out.*       the same as history, for TensorBoard
//
// An existing folder that isn't empty is an error with the cause [ErrRunExists], unless force is set:
// then it is replaced, once the new one is complete. What a Save of the same folder left that was killed
// is removed.
func (r *Run) Save(dir string, force bool) error {
	if err := CheckRunFolder(dir); err != nil && !(force && errors.Is(err, ErrRunExists)) {
		return err
	}
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), unsaved(dir)+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := r.write(temp); err != nil {
		return err
	}
	old := temp + oldSuffix
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, dir); err != nil {
		os.Rename(old, dir) // as it was
		return err
	}
	removeUnsaved(dir)
	return nil
}

// unsaved is how the name of a run folder begins that isn't complete, or that has been replaced: what
// follows are digits, and oldSuffix.
func unsaved(dir string) string { return "." + filepath.Base(dir) + ".graft-" }

const oldSuffix = ".old"

// removeUnsaved removes the folder that dir has replaced, and what was left where saving was killed. It
// is called when dir is complete, since until then a replaced folder may be all there is.
func removeUnsaved(dir string) {
	parent := filepath.Dir(dir)
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		digits, found := strings.CutPrefix(e.Name(), unsaved(dir))
		if _, err := strconv.ParseUint(strings.TrimSuffix(digits, oldSuffix), 10, 64); found && err == nil && e.IsDir() {
			os.RemoveAll(filepath.Join(parent, e.Name()))
		}
	}
}

func (r *Run) write(dir string) error {
	var group sync.WaitGroup
	var pictures error
	group.Go(func() {
		pictures = writeFiles(dir, []file{
			{"config.json", r.writeConfig},
			{"history.csv", r.writeCSV},
			{"history.json", func(w io.Writer) error { return writeJSON(w, r.History) }},
			{"curves.png", r.drawCurves},
			{"predictions.png", r.drawPredictions},
			{"confusion.png", func(w io.Writer) error { return plot.Confusion(w, r.Model.classes, r.confusion()) }},
		})
	})
	err := errors.Join(r.Model.Save(filepath.Join(dir, modelFile)), r.saveBest(filepath.Join(dir, bestFile)), r.writeEvents(dir))
	group.Wait()
	return errors.Join(pictures, err)
}

// bestFile is the model after the best epoch in a run folder.
const bestFile = "best.safetensors"

// saveBest writes the model after the best epoch, if that isn't the last one.
func (r *Run) saveBest(path string) error {
	if r.best == nil || r.Best == r.History[len(r.History)-1].Epoch {
		return nil
	}
	last := r.best.Swap()
	defer last.Restore()
	return r.Model.Save(path)
}

// A file is a name and what writes its content.
type file struct {
	name  string
	write func(w io.Writer) error
}

// writeFiles writes files into a folder, side by side.
func writeFiles(dir string, files []file) error {
	errs := make([]error, len(files))
	var group sync.WaitGroup
	for i, f := range files {
		group.Go(func() {
			if err := atomicfile.Write(filepath.Join(dir, f.name), f.write); err != nil {
				errs[i] = fmt.Errorf("%s: %w", f.name, err)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (r *Run) writeConfig(w io.Writer) error {
	m := r.Model
	return writeJSON(w, struct {
		Architecture string     `json:"architecture"`
		Classes      []string   `json:"classes"`
		Origin       Origin     `json:"origin"`
		Arguments    *Arguments `json:"arguments"`
		Transform    any        `json:"transform"`
		LeftOut      int        `json:"photos_left_out"`
		Best         int        `json:"best_epoch"`
		Solution     *Solution  `json:"solution,omitempty"`
	}{m.network.Name, m.classes, m.origin, m.trained, m.transform, len(r.Failed), r.Best, r.Solution})
}

func (r *Run) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{"epoch", "train_loss", "train_acc", "test_loss", "test_acc", "lr", "seconds"})
	for _, e := range r.History {
		row := []string{strconv.Itoa(e.Epoch)}
		for _, v := range []float64{e.TrainLoss, e.TrainAcc, e.TestLoss, e.TestAcc, e.LR, e.Seconds} {
			row = append(row, strconv.FormatFloat(v, 'g', 8, 64))
		}
		c.Write(row)
	}
	c.Flush()
	return c.Error()
}

func (r *Run) drawCurves(w io.Writer) error {
	var h plot.History
	for _, e := range r.History {
		h.TrainLoss = append(h.TrainLoss, e.TrainLoss)
		h.TrainAccuracy = append(h.TrainAccuracy, e.TrainAcc)
		h.TestLoss = append(h.TestLoss, e.TestLoss)
		h.TestAccuracy = append(h.TestAccuracy, e.TestAcc)
	}
	return plot.Curves(w, fmt.Sprintf("%s on %s", r.Model.Name(), r.Model.trained.Data), h)
}

// drawPredictions shows test photos that are chosen by the run's seed. One that can't be read any more
// leaves an empty square: it mustn't cost the trained model.
func (r *Run) drawPredictions(w io.Writer) error {
	const most = 9
	random := rand.New(rand.NewPCG(r.Model.trained.Seed, 0))
	chosen := random.Perm(len(r.Test))[:min(most, len(r.Test))]
	slices.Sort(chosen)
	var shown []plot.Prediction
	for _, i := range chosen {
		p := plotted(r.Test[i])
		p.Photo = orBlank(p.Photo)
		p.Truth = r.Model.classes[r.truth[i]]
		shown = append(shown, p)
	}
	return plot.Predictions(w, shown)
}

func plotted(p Prediction) plot.Prediction {
	return plot.Prediction{Photo: reader(p.File), Pred: p.Best().Name, Prob: p.Best().Probability}
}

// reader returns a function that reads and decodes a photo.
func reader(path string) func() (*photo.RGB, error) {
	return func() (*photo.RGB, error) {
		encoded, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		img, err := photo.Decode(encoded)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return img, nil
	}
}

// orBlank gives a grey pixel in place of a photo that can't be read.
func orBlank(read func() (*photo.RGB, error)) func() (*photo.RGB, error) {
	return func() (*photo.RGB, error) {
		img, err := read()
		if err != nil {
			return &photo.RGB{Pix: []uint8{0xe3, 0xe8, 0xed}, Width: 1, Height: 1}, nil
		}
		return img, nil
	}
}

// Plot draws predictions of files as a PNG grid, titled with class and probability: 100 at most.
func Plot(w io.Writer, predictions []Prediction) error {
	var shown []plot.Prediction
	for _, p := range predictions {
		if p.Err != nil {
			continue
		}
		shown = append(shown, plotted(p))
	}
	return plot.Predictions(w, shown)
}

func (r *Run) confusion() [][]int {
	matrix := make([][]int, len(r.Model.classes))
	for i := range matrix {
		matrix[i] = make([]int, len(matrix))
	}
	for i, p := range r.Test {
		matrix[r.truth[i]][p.Best().Index]++
	}
	return matrix
}

// Version returns graft's version, as the Go toolchain recorded it in the binary.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == "github.com/graft-ml/graft" {
			return m.Version
		}
	}
	return "unknown"
}
