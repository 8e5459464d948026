// Package engine executes graphs: it compiles the part that never changes for inference alone, with
// norms folded into convolutions, activations and additions fused, and memory planned ahead.
//
// Images lie channels-last: the logical [N, C, H, W] of a graph is N·H·W rows of C floats. A
// permutation costs nothing until an operation needs another order than the value has.
package engine

import (
	"fmt"
	"math"
	"slices"
	"time"
	"unsafe"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// Version names what the engine computes: it changes when the same graph would give other bits.
const Version = "6"

// A Plan is a compiled graph. It is immutable and may be run by any number of [State]s at once.
type Plan struct {
	kernels *kernels.Set
	steps   []step
	buffers []buffer
	inputs  []int // buffers
	outputs []int
	shapes  [][]int // of the outputs, logical
	arena   int     // floats that a State needs
	scratch int     // floats that each thread needs besides
}

// A step computes one value. Its work is divided into units that can be done in any order; how they
// are divided among threads doesn't change what they compute.
type step struct {
	op    string // what kind of work it is, for profiles
	path  string // of the module
	units int
	run   func(s *State, thread, from, to int)
	reads []int // buffers
	write int
	also  []int // buffers written besides
	over  []int // of reads: those that write may lie over, if nobody reads them later

	weights int // bytes that it reads besides and waits for
}

// A buffer holds a value, in the arena or, if it is constant, by itself.
type buffer struct {
	size     int // in words: a float32 or a pair of bfloat16
	constant []float32
	offset   int // in the arena
}

// A Precision is the type of number that matrix products multiply.
type Precision string

// The precisions. Sums, norms, softmax and the inputs and outputs of plans are float32 with either.
const (
	FP32 Precision = "fp32"
	// BF16 rounds the factors of products to bfloat16, and what lies in memory between them. It takes a
	// set that has kernels for it.
	BF16 Precision = "bf16"
)

// Options say what to compile for. The zero Precision is FP32.
type Options struct {
	Kernels   *kernels.Set
	Precision Precision
}

// Compile prepares a graph for computing the given nodes, in float32.
func Compile(g *graph.Graph, set *kernels.Set, outputs ...*graph.Node) (*Plan, error) {
	return Options{Kernels: set}.Compile(g, outputs...)
}

// Compile prepares a graph for computing the given nodes.
func (o Options) Compile(g *graph.Graph, outputs ...*graph.Node) (*Plan, error) {
	g, outputs = trimmed(g, outputs)
	return o.compile(g, values{nodes: g.Inputs}, values{nodes: outputs})
}

// values are the inputs or outputs of a plan.
type values struct {
	nodes []*graph.Node
	bf16  bool
}

// compile prepares the part of a graph between given values, the plan's inputs, and the outputs.
func (o Options) compile(g *graph.Graph, given, outputs values) (*Plan, error) {
	c, err := o.newCompiler(g, given, outputs)
	if err != nil {
		return nil, err
	}
	if err := c.lower(); err != nil {
		return nil, err
	}
	c.plan.place()
	return &c.plan, nil
}

// Shape returns the logical shape of an output.
func (p *Plan) Shape(output int) []int { return p.shapes[output] }

// InputLen and OutputLen return how many floats an input or output has.
func (p *Plan) InputLen(i int) int  { return p.buffers[p.inputs[i]].size }
func (p *Plan) OutputLen(i int) int { return p.buffers[p.outputs[i]].size }

// Outputs returns how many outputs there are, and OutputsLen how many floats they have together.
func (p *Plan) Outputs() int { return len(p.outputs) }
func (p *Plan) OutputsLen() int {
	n := 0
	for i := range p.outputs {
		n += p.OutputLen(i)
	}
	return n
}

// Bytes returns the memory that a State with the given number of threads takes.
func (p *Plan) Bytes(threads int) int { return 4 * (p.arena + threads*p.scratch) }

// A State is the memory of one run at a time, with a number of threads that share each run.
type State struct {
	plan    *Plan
	memory  []float32
	scratch [][]float32
	profile []time.Duration // nil unless profiling; by step
}

// NewState allocates a State for runs that are divided among threads goroutines.
func (p *Plan) NewState(threads int) *State {
	s := &State{plan: p, memory: aligned(p.arena), scratch: make([][]float32, max(threads, 1))}
	for i := range s.scratch {
		s.scratch[i] = aligned(p.scratch)
	}
	return s
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

func (s *State) buffer(i int) []float32 {
	b := &s.plan.buffers[i]
	if b.constant != nil {
		return b.constant
	}
	return s.memory[b.offset : b.offset+b.size : b.offset+b.size]
}

// Input returns the memory of an input, for the caller to fill before each Run: the values of
// [N, C, H, W] lie channels-last, as N·H·W rows of C floats.
func (s *State) Input(i int) []float32 { return s.buffer(s.plan.inputs[i]) }

// Output returns the memory of an output, which the next Run overwrites. Images lie channels-last.
func (s *State) Output(i int) []float32 { return s.buffer(s.plan.outputs[i]) }

// Run computes the outputs from the inputs.
func (s *State) Run() {
	threads := len(s.scratch)
	if threads == 1 {
		for i := range s.plan.steps {
			st := &s.plan.steps[i]
			begin := time.Time{}
			if s.profile != nil {
				begin = time.Now()
			}
			st.run(s, 0, 0, st.units)
			if s.profile != nil {
				s.profile[i] = min(s.profile[i], time.Since(begin))
			}
		}
		return
	}
	s.runOn(threads)
}

// place gives each buffer its offset in the arena: those that are needed at the same time don't
// overlap. Larger ones are placed first, each at the lowest offset that is free while it lives.
func (p *Plan) place() {
	type life struct{ buffer, first, last int }
	lives := make([]life, len(p.buffers))
	for i := range lives {
		lives[i] = life{i, len(p.steps), -1}
	}
	use := func(buffer, step int) {
		l := &lives[buffer]
		l.first, l.last = min(l.first, step), max(l.last, step)
	}
	for i, st := range p.steps {
		use(st.write, i)
		for _, r := range slices.Concat(st.reads, st.also) {
			use(r, i)
		}
	}
	for _, in := range p.inputs {
		use(in, -1)
	}
	for _, out := range p.outputs {
		use(out, len(p.steps))
	}
	// A result that lies over what it was added to needs no memory of its own, nor to be fetched.
	under := make([]int, len(p.buffers)) // the first of the buffers that lie in one place
	for i := range under {
		under[i] = i
	}
	for i, st := range p.steps {
		for _, r := range st.over {
			below := &lives[under[r]]
			if below.last == i && lives[st.write].first == i && !slices.Contains(p.inputs, r) && p.buffers[r].constant == nil && p.buffers[r].size == p.buffers[st.write].size {
				under[st.write] = below.buffer
				below.last, lives[st.write] = lives[st.write].last, life{st.write, 0, -1}
				break
			}
		}
	}
	slices.SortStableFunc(lives, func(a, b life) int { return p.buffers[b.buffer].size - p.buffers[a.buffer].size })
	const line = 16
	var placed []life
	for _, l := range lives {
		b := &p.buffers[l.buffer]
		if b.constant != nil || l.last < l.first {
			continue
		}
		size := (b.size + line - 1) / line * line
		var near []life // those that live at the same time, by offset
		for _, o := range placed {
			if o.first <= l.last && l.first <= o.last {
				near = append(near, o)
			}
		}
		slices.SortFunc(near, func(a, b life) int { return p.buffers[a.buffer].offset - p.buffers[b.buffer].offset })
		at := 0
		for _, o := range near {
			other := p.buffers[o.buffer]
			if at+size <= other.offset {
				break
			}
			at = max(at, other.offset+(other.size+line-1)/line*line)
		}
		b.offset = at
		p.arena = max(p.arena, at+size)
		placed = append(placed, l)
	}
	for i, b := range under {
		p.buffers[i].offset = p.buffers[b].offset
	}
}

// A Share is the time that a kind of work took.
type Share struct {
	Op   string
	Time time.Duration
	Runs int // steps of this kind
}

// Profile runs a State of one thread a number of times and adds up the best time of each step by kind
// of work, longest first.
func (s *State) Profile(runs int) ([]Share, error) {
	if len(s.scratch) != 1 {
		return nil, fmt.Errorf("profiling takes a state of one thread, not %d", len(s.scratch))
	}
	s.profile = slices.Repeat([]time.Duration{math.MaxInt64}, len(s.plan.steps))
	defer func() { s.profile = nil }()
	for range runs {
		s.Run()
	}
	byOp := map[string]*Share{}
	for i, st := range s.plan.steps {
		if byOp[st.op] == nil {
			byOp[st.op] = &Share{Op: st.op}
		}
		byOp[st.op].Time += s.profile[i]
		byOp[st.op].Runs++
	}
	var shares []Share
	for _, sh := range byOp {
		shares = append(shares, *sh)
	}
	slices.SortFunc(shares, func(a, b Share) int { return int(b.Time - a.Time) })
	return shares, nil
}
