package graft

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/graft-ml/graft/internal/metrics"
	"github.com/graft-ml/graft/internal/plot"
)

// Scores are Precision, Recall and F1, each 0 where its denominator is, and Support, the number of photos
// of the class.
type Scores = metrics.Scores

// ClassScores are the [Scores] of a Class.
type ClassScores = metrics.ClassScores

// A CalibrationBin counts the photos whose predicted class has a probability above Low and up to High, with
// their mean probability (Confidence) and the share that was predicted rightly (Accuracy).
type CalibrationBin = metrics.Bin

// Confused is how often (Count) photos of the class True were taken for Predicted; both are indices.
type Confused = metrics.Confused

// An Evaluation is how well a model does on photos whose classes are known. Its definitions are
// scikit-learn's, and for calibration those of Guo et al. (https://arxiv.org/abs/1706.04599).
//
// Its JSON has the fields below under their tags' names, and besides: failed, how many photos failed;
// failures, their errors; and top_losses, the twelve results with the highest losses.
type Evaluation struct {
	Photos       int              `json:"photos"`         // that were evaluated
	Accuracy     float64          `json:"accuracy"`       // share of photos whose most probable class is theirs
	TopK         int              `json:"top_k"`          // 5, or the number of classes if there are fewer
	TopKAccuracy float64          `json:"top_k_accuracy"` // share of photos whose class is among the TopK most probable
	Loss         float64          `json:"loss"`           // mean cross-entropy
	Classes      []string         `json:"classes"`        // names, by index
	PerClass     []ClassScores    `json:"per_class"`      // by class index
	Macro        Scores           `json:"macro_avg"`      // means over the classes that occur, as true or as predicted ones
	Weighted     Scores           `json:"weighted_avg"`   // means over classes weighted by their photos
	Confusion    [][]int          `json:"confusion"`      // photos by true class, then by predicted class
	ECE          float64          `json:"ece"`            // expected calibration error, from 0 to 1
	Calibration  []CalibrationBin `json:"calibration"`    // 15 bins of equal width
	Results      []Result         `json:"-"`              // for each photo that was evaluated, in order
	Failed       []error          `json:"-"`              // photos that couldn't be read, decoded or judged
}

// A Result is what a model says of a photo whose class is known.
type Result struct {
	File            string  `json:"file"`
	True            string  `json:"true"`             // class
	Predicted       string  `json:"predicted"`        // the most probable class
	Probability     float64 `json:"probability"`      // of the predicted class
	TrueProbability float64 `json:"true_probability"` // of the true class
	Loss            float64 `json:"loss"`             // cross-entropy
}

// topLosses is how many results with high losses are drawn and are part of the JSON.
const topLosses = 12

// Evaluate predicts photos, whose classes are indices of the model's, and compares.
func (m *Model) Evaluate(ctx context.Context, photos []Photo, progress Progress) (*Evaluation, error) {
	for _, p := range photos {
		if p.Class < 0 || p.Class >= len(m.classes) {
			return nil, fmt.Errorf("%s is of class %d, but the model has the classes 0 to %d", p.Path, p.Class, len(m.classes)-1)
		}
	}
	predictions, err := m.PredictFiles(ctx, paths(photos))
	if err != nil {
		return nil, err
	}
	progress = progressOr(progress)
	progress.Start("Evaluating", 0, int64(len(photos)))
	defer progress.Finish()
	meter := metrics.NewMeter(m.classes)
	e := &Evaluation{}
	i := 0
	for p := range predictions {
		truth := photos[i].Class
		i++
		progress.Add(1)
		if p.Err != nil {
			e.Failed = append(e.Failed, p.Err)
			continue
		}
		o := metrics.Judge(p.Logits, truth)
		if math.IsNaN(o.Loss) || math.IsInf(o.Loss, 0) {
			e.Failed = append(e.Failed, fmt.Errorf("%s: the network's outputs aren't finite numbers: its weights may be damaged", p.File))
			continue
		}
		meter.Add(o, truth)
		e.Results = append(e.Results, Result{p.File, m.classes[truth], m.classes[o.Predicted], o.Probability, o.TrueProbability, o.Loss})
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(e.Results) == 0 {
		return nil, errors.Join(append([]error{fmt.Errorf("none of %d photos could be evaluated", len(photos))}, e.Failed...)...)
	}
	r := meter.Report()
	e.Photos, e.Accuracy, e.Loss = len(e.Results), r.Accuracy, r.Loss
	e.TopK, e.TopKAccuracy = r.TopK, r.TopKAccuracy
	e.Classes, e.PerClass, e.Macro, e.Weighted, e.Confusion = m.Classes(), r.PerClass, r.Macro, r.Weighted, r.Confusion
	e.ECE, e.Calibration = r.ECE, r.Calibration
	return e, nil
}

// TopLosses returns the results that the model is most wrong about: at most n, the highest loss first.
func (e *Evaluation) TopLosses(n int) []Result {
	sorted := slices.SortedStableFunc(slices.Values(e.Results), func(a, b Result) int { return cmp.Compare(b.Loss, a.Loss) })
	return sorted[:min(n, len(sorted))]
}

// MostConfused returns the pairs of classes that were mixed up, the most frequent first.
func (e *Evaluation) MostConfused() []Confused { return metrics.MostConfused(e.Confusion) }

// MarshalJSON implements [json.Marshaler].
func (e *Evaluation) MarshalJSON() ([]byte, error) {
	type fields Evaluation
	failures := make([]string, len(e.Failed))
	for i, err := range e.Failed {
		failures[i] = err.Error()
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	err := out.Encode(struct {
		*fields
		Failed    int      `json:"failed"`
		Failures  []string `json:"failures"`
		TopLosses []Result `json:"top_losses"`
	}{(*fields)(e), len(failures), failures, e.TopLosses(topLosses)})
	return text.Bytes(), err
}

// CheckEvaluationFolder returns an error if [Evaluation.Save] would refuse dir: something to find out
// before evaluating.
func CheckEvaluationFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file: name a folder", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, modelFile)); err == nil {
		return fmt.Errorf("%s is a run folder, whose pictures are of its training: name another, such as %s", dir, filepath.Join(dir, "eval"))
	}
	return nil
}

// Save writes into the folder dir, which it makes where there is none:
//
//	evaluation.json  the evaluation as JSON
//	predictions.csv  the results, a photo a row
//	confusion.png    true against predicted classes
//	calibration.png  accuracy against probability: the reliability diagram
//	top_losses.png   the photos that the model is most wrong about
//
// It replaces files of these names and leaves others alone. A run folder is an error.
func (e *Evaluation) Save(dir string) error {
	if err := CheckEvaluationFolder(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return writeFiles(dir, []file{
		{"evaluation.json", func(w io.Writer) error { return writeJSON(w, e) }},
		{"predictions.csv", e.writeCSV},
		{"confusion.png", func(w io.Writer) error { return plot.Confusion(w, e.Classes, e.Confusion) }},
		{"calibration.png", e.drawCalibration},
		{"top_losses.png", e.drawTopLosses},
	})
}

func (e *Evaluation) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{"file", "true", "predicted", "probability", "true_probability", "loss"})
	for _, r := range e.Results {
		row := []string{r.File, r.True, r.Predicted}
		for _, v := range []float64{r.Probability, r.TrueProbability, r.Loss} {
			row = append(row, strconv.FormatFloat(v, 'g', 8, 64))
		}
		c.Write(row)
	}
	c.Flush()
	return c.Error()
}

func (e *Evaluation) drawCalibration(w io.Writer) error {
	var bins []plot.Bin
	for _, b := range e.Calibration {
		bins = append(bins, plot.Bin{Count: b.Count, Confidence: b.Confidence, Accuracy: b.Accuracy})
	}
	return plot.Calibration(w, bins, e.ECE)
}

func (e *Evaluation) drawTopLosses(w io.Writer) error {
	var shown []plot.Prediction
	for _, r := range e.TopLosses(topLosses) {
		shown = append(shown, plot.Prediction{Photo: orBlank(reader(r.File)),
			Pred: r.Predicted, Truth: r.True, Prob: r.Probability, Loss: r.Loss})
	}
	return plot.TopLosses(w, shown)
}
