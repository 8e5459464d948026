// Package solver fits a linear head to features at its optimum, in the time of a few epochs:
// logistic regression of several classes with an L2 penalty, whose strength cross-validation chooses.
package solver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/graft-ml/graft/internal/kernels"
)

// Data are the features and classes of samples.
type Data struct {
	Features [][]float32 // a row for each sample
	Labels   []int
	Classes  int
	// Groups holds a number for each sample; those of one number, such as views of one photo, are never
	// divided between what is fitted and what it is judged by. Nil means that each is its own.
	Groups []int
}

// Options say how to fit; zero fields mean the defaults.
type Options struct {
	// Strengths are what to choose from: C as scikit-learn's, the inverse of the penalty's strength,
	// rising. Of a single one nothing is chosen. Nil means fifteen from 0.001 to 10000, divided by the
	// mean variance of the features.
	Strengths []float64
	Folds     int // of the cross-validation; 0 means 5
	Threads   int // 0 means one for each processor; the result is the same with any number

	Progress func(done, total int) // is told of the fits that are done
}

// A Score is what the cross-validation made of a strength.
type Score struct {
	C    float64 `json:"c"`
	Loss float64 `json:"loss"` // mean over all samples, each by the fit that it was held out of
}

// A Solution is a linear layer.
type Solution struct {
	Weight     []float32 // [classes, features]
	Bias       []float32 // [classes]
	C          float64   // the strength that was chosen, or the only one
	Scores     []Score   // of the strengths that were tried; nil if there was only one
	Iterations int       // of the last fit
}

// Solve minimises Σ -log softmax(W·x + b)[label] + |W|²/(2C) over all samples, as scikit-learn's
// LogisticRegression does: the bias isn't penalised, and features are taken as they are. (To standardise
// them made the loss of other photos higher for five of six sets of features: those of EfficientNet-Lite0,
// MobileNetV2 and SqueezeNet, fitted to 225 photos and to 75.)
//
// C is the one with the lowest loss in stratified cross-validation. Strengths are tried from the
// smallest on, each fit starting from the one before, until the loss has risen twice in a row.
// Products are computed in float32, all else in float64.
func Solve(ctx context.Context, set *kernels.Set, d Data, o Options) (*Solution, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	o, err := o.complete(d)
	if err != nil {
		return nil, err
	}
	m := newMatrix(set, d.Features)
	if o.Strengths == nil {
		for e := -3.0; e <= 4; e += 0.5 {
			o.Strengths = append(o.Strengths, math.Pow(10, e)/cmp.Or(m.variance, 1))
		}
	}
	s := &Solution{C: o.Strengths[0]}
	total := len(o.Strengths)*o.Folds + 1
	if len(o.Strengths) == 1 {
		total = 1
	} else if s.C, s.Scores, err = choose(ctx, m, set, d, o, total); err != nil {
		return nil, err
	}
	all := newObjective(m, set, d.Labels, d.Classes, o.Threads, func(int) bool { return false })
	params := make([]float64, all.dimensions())
	if s.Iterations, err = all.fit(ctx, s.C, params, finalTolerance); err != nil {
		return nil, err
	}
	s.Weight, s.Bias = all.layer(params)
	o.Progress(total, total)
	return s, nil
}

func (d Data) check() error {
	n := len(d.Features)
	switch {
	case n == 0 || len(d.Features[0]) == 0:
		return errors.New("there are no features to fit to")
	case len(d.Labels) != n:
		return fmt.Errorf("there are features of %d samples and classes of %d", n, len(d.Labels))
	case d.Groups != nil && len(d.Groups) != n:
		return fmt.Errorf("there are features of %d samples and groups of %d", n, len(d.Groups))
	case d.Classes < 1:
		return fmt.Errorf("%d classes: there must be at least one", d.Classes)
	}
	for i, row := range d.Features {
		if len(row) != len(d.Features[0]) {
			return fmt.Errorf("sample %d has %d features, and the first %d", i, len(row), len(d.Features[0]))
		}
		for j, v := range row {
			if v-v != 0 {
				return fmt.Errorf("feature %d of sample %d is %v", j, i, v)
			}
		}
		if l := d.Labels[i]; l < 0 || l >= d.Classes {
			return fmt.Errorf("sample %d is of class %d, and there are %d: the first is 0", i, l, d.Classes)
		}
	}
	return nil
}

func (o Options) complete(d Data) (Options, error) {
	o.Folds = cmp.Or(o.Folds, 5)
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	for i, c := range o.Strengths {
		if !(c > 0) || math.IsInf(c, 1) || i > 0 && c <= o.Strengths[i-1] {
			return o, fmt.Errorf("strengths %v: they must be above 0 and rise", o.Strengths)
		}
	}
	if len(o.Strengths) == 1 {
		return o, nil
	}
	groups := len(d.Labels)
	if d.Groups != nil {
		groups = len(slices.Compact(slices.Sorted(slices.Values(d.Groups))))
	}
	if o.Folds < 2 || o.Folds > groups {
		return o, fmt.Errorf("%d folds of %d photos: there must be at least two folds, and no more than photos; or give one strength", o.Folds, groups)
	}
	return o, nil
}

// The tolerances of fits; most come much nearer.
const (
	foldTolerance  = 1e-2
	finalTolerance = 1e-4
)

// choose finds the best of several strengths.
func choose(ctx context.Context, m *matrix, set *kernels.Set, d Data, o Options, total int) (c float64, scores []Score, err error) {
	fold := folds(d.Labels, d.Groups, o.Folds)
	fits := make([]*objective, o.Folds)
	params := make([][]float64, o.Folds)
	for f := range fits {
		fits[f] = newObjective(m, set, d.Labels, d.Classes, max(1, o.Threads/o.Folds), func(i int) bool { return fold[i] == f })
		params[f] = make([]float64, fits[f].dimensions())
	}
	best, rises := 0, 0
	for n, c := range o.Strengths {
		errs := make([]error, o.Folds)
		parallel(o.Folds, o.Threads, func(f int) { _, errs[f] = fits[f].fit(ctx, c, params[f], foldTolerance) })
		if err := errors.Join(errs...); err != nil {
			return 0, nil, err
		}
		loss := 0.0
		for i, f := range fold {
			loss += fits[f].losses[i] / float64(len(fold))
		}
		scores = append(scores, Score{c, loss})
		o.Progress((n+1)*o.Folds, total)
		if loss < scores[best].Loss {
			best = n
		}
		if rises++; n == 0 || loss < scores[n-1].Loss {
			rises = 0
		}
		if rises == 2 {
			break
		}
	}
	return scores[best].C, scores, nil
}

// parallel does [0, n) in so many goroutines.
func parallel(n, threads int, do func(i int)) {
	next := make(chan int)
	var wait sync.WaitGroup
	for range min(n, threads) {
		wait.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
}
