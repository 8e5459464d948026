package graft

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// notes is a Progress that keeps what it is told.
type notes struct {
	quiet
	lines []string
	total int64
}

func (n *notes) Start(_ string, _, total int64) { n.total = total }
func (n *notes) Note(line string)               { n.lines = append(n.lines, line) }

// TestMemoryForValues trains the same bits where photos are computed anew for want of memory, and says so.
func TestMemoryForValues(t *testing.T) {
	defer func(before func() int) { memoryForValues = before }(memoryForValues)
	data := colours(t)
	const row = 4 * 3 * 64 * 64
	for _, opts := range []TrainOptions{{}, {Augment: "light", Views: 2}} {
		train := len(data.Train) * max(opts.Views, 1)
		var want map[string][]float32
		for room, live := range map[int]int{(train + len(data.Test)) * row: 0, train * row: 1, 1: 2} {
			memoryForValues = func() int { return room }
			progress := &notes{}
			opts.Epochs, opts.BatchSize, opts.Seed, opts.Progress = 3, 4, 1, progress
			m, err := Scratch("tinyvgg", data.Classes)
			if err != nil {
				t.Fatal(err)
			}
			run, err := m.Train(t.Context(), data, opts)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][]float32{"losses": nil}
			for _, p := range m.network.Params() {
				got[p.Name] = p.Data
			}
			for _, e := range run.History {
				got["losses"] = append(got["losses"], float32(e.TestLoss))
			}
			if want == nil {
				want = got
			} else if !maps.EqualFunc(got, want, slices.Equal) {
				t.Errorf("%d views with room for %d bytes: other bits", opts.Views, room)
			}
			reads := []int{train, train, len(data.Train)}[live] + len(data.Test)
			if len(progress.lines) != live || progress.total != int64(reads) ||
				live == 2 && !strings.HasPrefix(progress.lines[0], fmt.Sprintf("%d photos would take ", len(data.Train))) {
				t.Errorf("%d views with room for %d bytes: %d photos are read, and the notes are %q", opts.Views, room, progress.total, progress.lines)
			}
		}
	}
	if memory := memory(); memory < 1<<28 {
		t.Errorf("this machine has %d bytes of memory", memory)
	}
}
