package graft

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/graft-ml/graft/internal/atomicfile"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/plot"
)

// A Comparison is what came of one of the models that were compared.
type Comparison struct {
	Model   string `json:"model"`   // the name that it was asked for by
	Weights string `json:"weights"` // the set of pretrained weights or the checkpoint's file, "" if it started from nothing

	TestAcc  float64 `json:"test_acc"`  // after the last epoch, a share
	TestLoss float64 `json:"test_loss"` // after the last epoch
	Params   int     `json:"params"`
	Speed
	Megabytes float64 `json:"megabytes"` // 10⁶ bytes, of the weights in float32
	Seconds   float64 `json:"seconds"`   // that features and epochs took; cached features take none

	// Pareto says that no other model is at least as accurate and as fast for one photo, and better in one of the two.
	Pareto bool `json:"pareto"`
	// Error says why there are no figures; otherwise it is empty.
	Error string `json:"error,omitempty"`
}

// CompareOptions say how to compare models. Zero fields mean the defaults.
type CompareOptions struct {
	Out     string            // folder that keeps the results and a run folder for each model; "" for none
	Force   bool              // start over where Out holds something else
	Files   map[string]string // local checkpoints to take instead of published weights, by model
	Threads int               // processors that computing uses; 0 means all
	Train   TrainOptions      // for each model; the features of photos are kept on disk in any case

	// What trains of pretrained networks, besides the head: all, or the last stages (see [Model.UnfreezeLast]).
	Whole        bool
	UnfreezeLast int
}

// Compare trains a new head on each of several pretrained networks, which stay frozen unless opts say
// otherwise, and networks without pretrained weights from nothing; then it measures how fast they are. It returns the most
// accurate first, of equally accurate ones the fastest. A model that can't be had or trained doesn't
// stop the others: its Error says why.
//
// The folder opts.Out holds compare.json, compare.csv, compare.png (accuracy against latency) and a
// run folder of each model's name (see [Run.Save]). Models that are there already, from the same
// photos and arguments, aren't trained again, and are part of the result; where photos or arguments
// differ, the error has the cause [ErrRunExists] and says in what. When ctx is cancelled, Compare
// returns the models that are complete, and its error.
func Compare(ctx context.Context, d *Dataset, models []string, opts CompareOptions) ([]Comparison, error) {
	c, err := newComparing(d, models, opts)
	if err != nil {
		return nil, err
	}
	for i, name := range models {
		if c.has(name) {
			continue
		}
		progressOr(opts.Train.Progress).Note(fmt.Sprintf("%s (%d of %d)", name, i+1, len(models)))
		row, err := c.model(ctx, name)
		if err != nil && ctx.Err() != nil {
			break
		}
		if err != nil {
			row = Comparison{Model: name, Weights: c.weights[name], Error: err.Error()}
		}
		c.add(row)
		if err := c.save(); err != nil {
			return c.Models, err
		}
	}
	return c.Models, errors.Join(c.draw(), ctx.Err())
}

// comparing is a comparison as compare.json holds it, and what it takes to go on with it.
type comparing struct {
	Arguments comparingArguments `json:"arguments"`
	Models    []Comparison       `json:"models"`

	data    *Dataset
	opts    CompareOptions
	weights map[string]string // that each model is asked for with, see Comparison
}

// comparingArguments are what all models of a comparison have in common.
type comparingArguments struct {
	Data   string `json:"data"`
	Photos string `json:"photos"` // see fingerprint
	TrainOptions
	Whole        bool   `json:"whole,omitempty"`
	UnfreezeLast int    `json:"unfreeze_last,omitempty"`
	Threads      int    `json:"threads"`
	Kernels      string `json:"kernels"`
}

const comparisonFile = "compare.json"

func newComparing(d *Dataset, models []string, opts CompareOptions) (*comparing, error) {
	opts.Train.Cache = true
	if err := opts.Train.complete(); err != nil {
		return nil, err
	}
	weights, err := weightsOf(models, opts.Files)
	if err != nil {
		return nil, err
	}
	if opts.Train.Solver == "" {
		if err := opts.Train.config(len(d.Classes)).Check(); err != nil {
			return nil, err
		}
	}
	set, err := kernels.Best()
	if err != nil {
		return nil, err
	}
	photos, err := fingerprint(d)
	if err != nil {
		return nil, err
	}
	c := &comparing{data: d, opts: opts, weights: weights}
	c.Arguments = comparingArguments{Data: filepath.Base(filepath.Clean(d.Root)), Photos: photos, TrainOptions: opts.Train,
		Whole: opts.Whole, UnfreezeLast: opts.UnfreezeLast, Threads: (&Model{Threads: opts.Threads}).threads(), Kernels: set.Name}
	if opts.Out == "" {
		return c, nil
	}
	if err := c.resume(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.Out, 0o777); err != nil {
		return nil, err
	}
	return c, c.save()
}

// weightsOf returns the weights that models are asked for with, those in files by the file's name.
func weightsOf(models []string, files map[string]string) (map[string]string, error) {
	weights := map[string]string{}
	for _, name := range models {
		entry, err := find(name)
		if err != nil {
			return nil, err
		}
		weights[name] = entry.Name
		if file := files[name]; file != "" {
			weights[name] = filepath.Base(file)
		}
	}
	for name := range files {
		if _, ok := weights[name]; !ok {
			return nil, fmt.Errorf("there is a checkpoint for %s, which is none of the models %s", name, strings.Join(models, ", "))
		}
	}
	return weights, nil
}

// fingerprint identifies the photos of a dataset by their names, classes and lengths in bytes.
func fingerprint(d *Dataset) (string, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "%q\n", d.Classes)
	for _, photos := range [][]Photo{d.Train, d.Test} {
		fmt.Fprintln(hash, len(photos))
		for _, p := range photos {
			info, err := os.Stat(p.Path)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(hash, filepath.Base(p.Path), p.Class, info.Size())
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:16]), nil
}

// resume takes over the models of the comparison that is in the folder, if there is one.
func (c *comparing) resume() error {
	dir := c.opts.Out
	if err := CheckRunFolder(dir); err == nil || errors.Is(err, ErrRunExists) && c.opts.Force {
		return nil
	} else if !errors.Is(err, ErrRunExists) {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, comparisonFile))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w, and no comparison", dir, ErrRunExists)
	} else if err != nil {
		return err
	}
	var old comparing
	if err := json.Unmarshal(data, &old); err != nil {
		return fmt.Errorf("%s: %w, whose %s is damaged: %w", dir, ErrRunExists, comparisonFile, err)
	}
	differences, err := c.differences(&old)
	if err != nil {
		return err
	}
	if differences != nil {
		return fmt.Errorf("%s: %w, which differs: %s", dir, ErrRunExists, strings.Join(differences, ", "))
	}
	for _, row := range old.Models {
		if _, err := os.Stat(filepath.Join(dir, row.Model, modelFile)); err == nil && row.Error == "" {
			c.add(row)
		}
	}
	return nil
}

// differences lists in what an older comparison differs, other than in its models.
func (c *comparing) differences(old *comparing) (list []string, err error) {
	was, err := old.Arguments.fields()
	if err != nil {
		return nil, err
	}
	is, err := c.Arguments.fields()
	if err != nil {
		return nil, err
	}
	both := maps.Clone(is)
	maps.Copy(both, was)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		before, now := string(was[name]), string(is[name])
		switch {
		case before == now:
		case name == "photos":
			list = append(list, "other photos")
		default:
			list = append(list, fmt.Sprintf("%s was %s and is %s", name, cmp.Or(before, "not given"), cmp.Or(now, "not given")))
		}
	}
	for _, row := range old.Models {
		if now, asked := c.weights[row.Model]; asked && now != row.Weights && row.Error == "" {
			list = append(list, fmt.Sprintf("the weights of %s were %s and are %s", row.Model, cmp.Or(row.Weights, "none"), cmp.Or(now, "none")))
		}
	}
	return list, nil
}

// fields returns the arguments in JSON, by name.
func (a comparingArguments) fields() (fields map[string]json.RawMessage, err error) {
	data, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(data, &fields)
	return fields, err
}

func (c *comparing) has(name string) bool {
	return slices.ContainsFunc(c.Models, func(r Comparison) bool { return r.Model == name })
}

// model trains and measures one of the models.
func (c *comparing) model(ctx context.Context, name string) (Comparison, error) {
	row := Comparison{Model: name, Weights: c.weights[name]}
	m, err := LoadOrScratch(ctx, name, c.data.Classes, &LoadOptions{File: c.opts.Files[name], Progress: c.opts.Train.Progress})
	if err != nil {
		return row, err
	}
	if row.Weights != "" {
		if err := m.ReplaceHead(c.data.Classes, -1); err != nil {
			return row, err
		}
		m.FreezeTrunk()
		if err := c.unfreeze(m); err != nil {
			return row, err
		}
	}
	m.Threads = c.opts.Threads
	begin := time.Now()
	run, err := m.Train(ctx, c.data, c.opts.Train)
	if err != nil {
		return row, err
	}
	row.Seconds = time.Since(begin).Seconds()
	last := run.History[len(run.History)-1]
	row.TestAcc, row.TestLoss = last.TestAcc, last.TestLoss
	trainable, frozen := m.Parameters()
	row.Params = trainable + frozen
	row.Megabytes = float64(4*row.Params) / 1e6
	if row.Speed, err = m.Measure(ctx); err != nil {
		return row, err
	}
	if c.opts.Out != "" {
		err = run.Save(filepath.Join(c.opts.Out, name), true)
	}
	return row, err
}

// unfreeze lets train what the options say.
func (c *comparing) unfreeze(m *Model) error {
	if c.opts.Whole {
		return m.Unfreeze("*")
	}
	_, err := m.UnfreezeLast(c.opts.UnfreezeLast)
	return err
}

// add takes a row in, and finds the order and the Pareto front anew.
func (c *comparing) add(row Comparison) {
	c.Models = append(c.Models, row)
	slices.SortFunc(c.Models, func(a, b Comparison) int {
		switch {
		case a.Error == "" && b.Error != "":
			return -1
		case a.Error != "" && b.Error == "":
			return 1
		}
		return cmp.Or(cmp.Compare(b.TestAcc, a.TestAcc), cmp.Compare(a.Milliseconds, b.Milliseconds), strings.Compare(a.Model, b.Model))
	})
	var front *Comparison // the last one
	for i := range c.Models {
		r := &c.Models[i]
		r.Pareto = r.Error == "" && (front == nil || r.Milliseconds < front.Milliseconds ||
			r.Milliseconds == front.Milliseconds && r.TestAcc == front.TestAcc)
		if r.Pareto {
			front = r
		}
	}
}

// save writes compare.json.
func (c *comparing) save() error {
	if c.opts.Out == "" {
		return nil
	}
	return atomicfile.Write(filepath.Join(c.opts.Out, comparisonFile), func(w io.Writer) error { return writeJSON(w, c) })
}

// draw writes compare.csv and compare.png.
func (c *comparing) draw() error {
	if c.opts.Out == "" {
		return nil
	}
	var points []plot.Point
	for _, r := range c.Models {
		if r.Error == "" {
			points = append(points, plot.Point{Name: r.Model, X: r.Milliseconds, Y: r.TestAcc, Front: r.Pareto})
		}
	}
	err := atomicfile.Write(filepath.Join(c.opts.Out, "compare.csv"), c.writeCSV)
	if err != nil || points == nil {
		return err
	}
	title := "Accuracy against latency on " + c.Arguments.Data
	xName := fmt.Sprintf("Milliseconds for one photo (network alone, %d threads, %s)", c.Arguments.Threads, c.Arguments.Kernels)
	return atomicfile.Write(filepath.Join(c.opts.Out, "compare.png"), func(w io.Writer) error {
		return plot.Scatter(w, title, xName, "Test accuracy", points)
	})
}

func (c *comparing) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.Write([]string{"model", "weights", "test_acc", "test_loss", "params", "images_per_second", "milliseconds", "megabytes", "seconds", "pareto", "error"})
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 8, 64) }
	for _, r := range c.Models {
		row := []string{r.Model, r.Weights, number(r.TestAcc), number(r.TestLoss), strconv.Itoa(r.Params), number(r.ImagesPerSecond),
			number(r.Milliseconds), number(r.Megabytes), number(r.Seconds), strconv.FormatBool(r.Pareto), r.Error}
		if r.Error != "" {
			clear(row[2:10])
		}
		out.Write(row)
	}
	out.Flush()
	return out.Error()
}
