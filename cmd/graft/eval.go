package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"github.com/graft-ml/graft"
)

type evalCmd struct {
	source `embed:""`
	Args   []string `arg:"" name:"run data" help:"The run folder or model file, then a folder with a folder of photos for each class, by the class's name; with --model the latter alone."`
	JSON   bool     `help:"Print one JSON object." name:"json"`
	Out    string   `help:"Also write pictures (highest losses, confusion matrix, calibration), predictions.csv and evaluation.json to this folder." type:"path" placeholder:"DIR"`
}

func (c *evalCmd) Run(e *env) error {
	if c.Out != "" {
		if err := graft.CheckEvaluationFolder(c.Out); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	model, folders, err := c.open(e, c.Args)
	if err != nil {
		return err
	}
	if len(folders) > 1 {
		return fmt.Errorf("%s and %s: name one folder, which has a folder of photos for each class", folders[0], folders[1])
	}
	photos, err := graft.OpenPhotos(folders[0], model.Classes())
	if err != nil {
		return err
	}
	result, err := model.Evaluate(e, photos, &progress{})
	if err != nil {
		return err
	}
	for _, err := range result.Failed {
		fmt.Fprintln(os.Stderr, "graft:", err)
	}
	if c.Out != "" {
		if err := result.Save(c.Out); err != nil {
			return err
		}
	}
	if c.JSON {
		out := json.NewEncoder(os.Stdout)
		out.SetEscapeHTML(false)
		err = out.Encode(result)
	} else {
		_, err = fmt.Print(c.report(result))
	}
	if err == nil && len(result.Failed) > 0 {
		err = errReported
	}
	return err
}

func (c *evalCmd) report(r *graft.Evaluation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d photos | loss: %.4f | accuracy: %.4f | top-%d accuracy: %.4f\n", r.Photos, r.Loss, r.Accuracy, r.TopK, r.TopKAccuracy)
	if n := len(r.Failed); n > 0 {
		fmt.Fprintf(&b, "%d more couldn't be evaluated\n", n)
	}
	b.WriteString("\n" + classTable(r) + confusedLines(r) + "\n" + calibrationTable(r))
	if c.Out != "" {
		b.WriteString("\n")
		for _, name := range []string{"top_losses.png", "confusion.png", "calibration.png", "predictions.csv", "evaluation.json"} {
			fmt.Fprintln(&b, filepath.Join(c.Out, name))
		}
	}
	return b.String()
}

// classTable has the classes that occur, as true or as predicted ones, and the averages over them.
func classTable(r *graft.Evaluation) string {
	predicted := make([]int, len(r.Classes))
	for _, row := range r.Confusion {
		for j, n := range row {
			predicted[j] += n
		}
	}
	rows := [][]string{{"class", "precision", "recall", "f1", "photos"}}
	add := func(name string, s graft.Scores) {
		share := func(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }
		rows = append(rows, []string{printable(name), share(s.Precision), share(s.Recall), share(s.F1), strconv.Itoa(s.Support)})
	}
	for i, class := range r.PerClass {
		if class.Support+predicted[i] > 0 {
			add(class.Class, class.Scores)
		}
	}
	left := len(r.PerClass) - (len(rows) - 1)
	add("macro average", r.Macro)
	add("weighted average", r.Weighted)
	text := table(rows)
	if left > 0 {
		text += fmt.Sprintf("%d of %d classes have no photos here and were predicted for none\n", left, len(r.PerClass))
	}
	return text
}

// confusedLines are the classes that are mixed up most.
func confusedLines(r *graft.Evaluation) string {
	const most = 5
	var b strings.Builder
	pairs := r.MostConfused()
	for _, p := range pairs[:min(most, len(pairs))] {
		if b.Len() == 0 {
			b.WriteString("\nMost confused:\n")
		}
		fmt.Fprintf(&b, "  %s taken for %s: %d\n", printable(r.Classes[p.True]), printable(r.Classes[p.Predicted]), p.Count)
	}
	return b.String()
}

func calibrationTable(r *graft.Evaluation) string {
	rows := [][]string{{"probability", "confidence", "accuracy", "photos"}}
	for _, b := range r.Calibration {
		if b.Count > 0 {
			rows = append(rows, []string{fmt.Sprintf("%.3f to %.3f", b.Low, b.High),
				fmt.Sprintf("%.4f", b.Confidence), fmt.Sprintf("%.4f", b.Accuracy), strconv.Itoa(b.Count)})
		}
	}
	return fmt.Sprintf("Expected calibration error: %.4f (%d bins)\n", r.ECE, len(r.Calibration)) + table(rows)
}

// table aligns columns, the first to the left, by the cells of a terminal: a Chinese character takes two.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], uniseg.StringWidth(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell))
			if i == 0 {
				b.WriteString("  " + cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// printable quotes names that would do something else to a terminal than show.
func printable(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}
