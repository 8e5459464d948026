package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/graft-ml/graft"
)

type modelsCmd struct {
	Pattern   string   `arg:"" optional:"" help:"Only models with this in their name; with *, ? or [0-9], models of that name."`
	Sort      string   `help:"name, top1 (the best first), params, gflops or size (the least first); --sort=-size is the other way round." default:"name" enum:"name,top1,params,gflops,size,-name,-top1,-params,-gflops,-size" placeholder:"KEY"`
	MaxParams quantity `help:"Only models with at most so many parameters, such as 10M." placeholder:"N"`
	MinTop1   float64  `help:"Only weights with at least this top-1 accuracy on ImageNet, in percent." placeholder:"PERCENT" name:"min-top1"`
	License   string   `help:"Only weights with this licence, by its SPDX identifier or a part of it, such as BSD." placeholder:"NAME"`
	Measure   bool     `help:"Measure how fast the networks are on this machine, some seconds for each."`
	JSON      bool     `help:"Print an object a line." name:"json"`
}

// A row is a set of pretrained weights, or a network that has none.
type row struct {
	graft.Weights
	Sources      []string `json:"sources,omitempty"`
	*graft.Speed          // nil where it wasn't measured
}

func (c *modelsCmd) Run(e *env) error {
	var rows []*row
	for _, r := range allRows() {
		if matches(c.Pattern, r.Model) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		_, err := graft.Describe(c.Pattern, 0) // says which names are near
		return cmp.Or(err, fmt.Errorf("no model has %q in its name", c.Pattern))
	}
	if rows = slices.DeleteFunc(rows, c.leaveOut); len(rows) == 0 {
		return errors.New("no weights are left: choose other limits")
	}
	slices.SortStableFunc(rows, c.compare)
	var interrupted error
	if c.Measure {
		interrupted = measure(e, rows)
	}
	return errors.Join(c.print(rows), interrupted)
}

func allRows() (rows []*row) {
	published := map[string]bool{}
	for _, w := range graft.PretrainedWeights() {
		r := &row{Weights: w}
		for _, s := range w.Sources {
			r.Sources = append(r.Sources, s.String())
		}
		rows = append(rows, r)
		published[w.Model] = true
	}
	for _, name := range graft.Architectures() {
		if published[name] {
			continue
		}
		m, err := graft.Describe(name, 0)
		if err != nil {
			panic(err) // a network of ours
		}
		params, _ := m.Parameters()
		r := &row{Weights: graft.Weights{Model: name, Params: int64(params), FileMiB: float64(4*params) / (1 << 20)}}
		r.Transforms.CropSize, _ = m.InputSize()
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b *row) int { return strings.Compare(a.Model, b.Model) })
	return rows
}

// matches reports whether a pattern with wildcards matches s, or one without is part of it, whatever
// the case.
func matches(pattern, s string) bool {
	pattern, s = strings.ToLower(pattern), strings.ToLower(s)
	if !strings.ContainsAny(pattern, "*?[") {
		return strings.Contains(s, pattern)
	}
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

func (c *modelsCmd) leaveOut(r *row) bool {
	return c.MaxParams > 0 && float64(r.Params) > float64(c.MaxParams) || r.Acc1 < c.MinTop1 || !matches(c.License, r.License)
}

// compare orders rows by the key of --sort. What isn't known comes last.
func (c *modelsCmd) compare(a, b *row) int {
	key, reverse := strings.CutPrefix(c.Sort, "-")
	order := strings.Compare(a.Model, b.Model)
	if key != "name" {
		x, y := a.value(key), b.value(key)
		if x == 0 || y == 0 {
			return cmp.Compare(y, x)
		}
		order = cmp.Compare(x, y)
	}
	if reverse != (key == "top1") {
		return -order
	}
	return order
}

func (r *row) value(key string) float64 {
	switch key {
	case "top1":
		return r.Acc1
	case "params":
		return float64(r.Params)
	case "gflops":
		return r.GFLOPs
	default:
		return r.FileMiB
	}
}

// measure measures the rows' networks, each of a size once. An interrupted one leaves the rest without
// figures.
func measure(e *env, rows []*row) error {
	type network struct {
		name string
		size int
	}
	measured := map[network]*graft.Speed{}
	bar := &progress{}
	for i, r := range rows {
		key := network{r.Model, r.Transforms.CropSize}
		if measured[key] == nil {
			m, err := graft.Describe(cmp.Or(r.Name, r.Model), 0)
			if err != nil {
				return err
			}
			m.Threads = e.threads
			bar.Start("Measuring "+r.Model, int64(i), int64(len(rows)))
			speed, err := m.Measure(e)
			bar.Finish()
			if err != nil {
				return err
			}
			measured[key] = &speed
		}
		r.Speed = measured[key]
	}
	return nil
}

func (c *modelsCmd) print(rows []*row) error {
	if c.JSON {
		out := json.NewEncoder(os.Stdout)
		for _, r := range rows {
			if err := out.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	header, notes := "MODEL\tWEIGHTS\tTOP-1\tTOP-5\tPARAMETERS\tGFLOPS\tMIB\tINPUT\tLICENCE", "* what the model's name alone means"
	if c.Measure {
		header += "\tIMAGES/S\tMS"
		notes += "\nIMAGES/S: the network alone, from prepared photos in memory, one on each thread; MS: one photo, divided among the threads"
	}
	fmt.Fprintln(w, header)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r.cells(c.Measure), "\t"))
	}
	fmt.Fprintln(w, "\n"+notes)
	return w.Flush()
}

func (r *row) cells(speed bool) []string {
	name := cmp.Or(r.Name, "none: trains from nothing")
	if r.Default {
		name += " *"
	}
	cells := []string{r.Model, name, known(r.Acc1), known(r.Acc5), fmt.Sprintf("%.1f M", float64(r.Params)/1e6),
		known(r.GFLOPs), fmt.Sprintf("%.1f", r.FileMiB), strconv.Itoa(r.Transforms.CropSize), cmp.Or(r.License, "-")}
	switch {
	case speed && r.Speed != nil:
		cells = append(cells, fmt.Sprintf("%.1f", r.ImagesPerSecond), fmt.Sprintf("%.2f", r.Milliseconds))
	case speed:
		cells = append(cells, "-", "-")
	}
	return cells
}

// known writes a number, of which 0 means that nobody knows it.
func known(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

// A quantity is a number that may end in k, M or G.
type quantity float64

func (q *quantity) UnmarshalText(text []byte) error {
	number, unit := strings.ToLower(string(text)), 1.0
	for suffix, factor := range map[string]float64{"k": 1e3, "m": 1e6, "g": 1e9} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = rest, factor
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v > 0) {
		return fmt.Errorf("%q is no quantity: write a number above 0, such as 300k, 10M or 1.5G", text)
	}
	*q = quantity(v * unit)
	return nil
}
