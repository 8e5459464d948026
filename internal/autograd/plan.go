package autograd

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/graft-ml/graft/internal/graph"
)

// Memory is what nets of different batch sizes share: an arena for the values of a pass, and the
// parameters' derivatives. Only one of them can be between its inputs and the end of its Backward.
type Memory struct {
	arena []float32
	grads map[*graph.Param][]float32
}

// grad returns the memory of a parameter's derivative.
func (m *Memory) grad(p *graph.Param) []float32 {
	if m.grads[p] == nil {
		if m.grads == nil {
			m.grads = map[*graph.Param][]float32{}
		}
		m.grads[p] = make([]float32, p.Numel())
	}
	return m.grads[p]
}

// A buffer holds numbers while they are needed: in the arena, or in memory of its own.
type buffer struct {
	size   int
	fixed  []float32
	memory *Memory
	offset int // in the arena

	first, last int   // the steps that touch it
	made        int   // the last step that writes it, -1 for none
	producer    *step // that writes all of it, by rows
	readers     int   // derivatives that are made of it and haven't been used up
}

func (b *buffer) data() []float32 {
	if b.fixed != nil {
		return b.fixed
	}
	return b.memory.arena[b.offset : b.offset+b.size : b.offset+b.size]
}

// A step is a piece of work. Its units can be done in any order and by any thread.
type step struct {
	op, path string
	units    int
	run      func(t *thread, unit int)

	index int
	parts division // of the rows that it writes, if it goes by rows
	after []func(t *thread, part, from, to int)
}

// done tells a step that it has written the rows of a part.
func (s *step) done(t *thread, part int) {
	from, to := s.parts.bounds(part)
	for _, f := range s.after {
		mark := t.used
		f(t, part, from, to)
		t.used = mark
	}
}

// A division cuts the rows of a number of samples into parts: several whole samples, or a piece of one.
// It depends on shapes alone, and so does whatever is summed part by part.
type division struct {
	samples, rows int // rows of a sample
	group         int // samples of a part
	size          int // rows of a part of a sample, if a sample has several
}

// divide makes parts of at most most rows, but whole pieces.
func divide(samples, rows, most int) division {
	if rows <= most {
		return division{samples, rows, min(most/rows, samples), rows}
	}
	pieces := (rows + most - 1) / most
	return division{samples, rows, 1, (rows + pieces - 1) / pieces}
}

// pieces returns how many parts a sample has, and count how many parts there are.
func (d division) pieces() int { return (d.rows + d.size - 1) / d.size }
func (d division) count() int  { return (d.samples + d.group - 1) / d.group * d.pieces() }

// bounds returns the rows [from, to) of a part.
func (d division) bounds(part int) (from, to int) {
	n := d.pieces()
	sample, piece := part/n*d.group, part%n
	from = sample*d.rows + piece*d.size
	if n == 1 {
		return from, min(from+d.group*d.rows, d.samples*d.rows)
	}
	return from, min(from+d.size, (sample+1)*d.rows)
}

// A thread has scratch memory, which begins anew for each unit.
type thread struct {
	train   bool
	scratch []float32
	used    int
	need    int
}

// take returns n floats of scratch, whose values are undefined.
func (t *thread) take(n int) []float32 {
	const line = 16
	size := (n + line - 1) / line * line
	from := t.used
	t.used += size
	t.need = max(t.need, t.used)
	if t.used > len(t.scratch) {
		return make([]float32, n)
	}
	return t.scratch[from : from+n : from+n]
}

func (t *thread) begin() {
	t.used = 0
	if t.need > len(t.scratch) {
		t.scratch = aligned(t.need)
	}
}

// aligned allocates floats that begin at a cache line.
func aligned(n int) []float32 {
	const line = 16
	x := make([]float32, n+line)
	skip := int(-uintptr(unsafe.Pointer(&x[0]))/4) % line
	if skip < 0 {
		skip += line
	}
	return x[skip : skip+n : skip+n]
}

// do runs a step with some threads.
func (s *step) do(threads []*thread) {
	var next atomic.Int64
	work := func(t *thread) {
		for unit := int(next.Add(1)) - 1; unit < s.units; unit = int(next.Add(1)) - 1 {
			t.begin()
			s.run(t, unit)
		}
	}
	var others sync.WaitGroup
	for _, t := range threads[1:max(1, min(len(threads), s.units))] {
		others.Go(func() { work(t) })
	}
	work(threads[0])
	others.Wait()
}

// place gives each buffer its offset in the arena, and returns the arena's size: buffers that live at
// the same time don't overlap. Larger ones are placed first, each at the lowest offset that is free
// while it lives.
func place(buffers []*buffer) (size int) {
	const line = 16
	buffers = slices.DeleteFunc(slices.Clone(buffers), func(b *buffer) bool { return b.fixed != nil || b.last < b.first })
	slices.SortStableFunc(buffers, func(a, b *buffer) int { return b.size - a.size })
	var placed []*buffer // by offset
	for _, b := range buffers {
		b.offset = 0
		for _, o := range placed {
			if o.first > b.last || b.first > o.last {
				continue
			}
			if b.offset+b.size <= o.offset {
				break
			}
			b.offset = max(b.offset, (o.offset+o.size+line-1)/line*line)
		}
		size = max(size, b.offset+b.size)
		i, _ := slices.BinarySearchFunc(placed, b, func(o, b *buffer) int { return o.offset - b.offset })
		placed = slices.Insert(placed, i, b)
	}
	return size
}
