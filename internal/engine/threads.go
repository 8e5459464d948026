package engine

import (
	"runtime"
	"sync/atomic"
	"time"
)

// runOn runs the plan on several threads, step by step. Of each step's units a thread has a share, the same part each
// time, since its core's cache holds what it has computed there. Whoever is done helps the others: cores aren't equally
// fast, and have other things to do. A step is over when its units are, not when all threads have noticed.
func (s *State) runOn(threads int) {
	r := &run{State: s, shares: make([]share, threads)}
	r.begin(0)
	for t := 1; t < threads; t++ {
		go r.work(t)
	}
	r.work(0)
}

// A run is one of a State on several threads.
type run struct {
	*State
	step   atomic.Int64
	left   atomic.Int64 // units of the step that aren't computed yet
	shares []share
}

// begin hands out the units of the next step that has some.
func (r *run) begin(step int) {
	for ; step < len(r.plan.steps) && r.plan.steps[step].units == 0; step++ {
	}
	if step < len(r.plan.steps) {
		r.left.Store(int64(r.plan.steps[step].units))
		for t := range r.shares {
			from, _ := r.share(step, t)
			r.shares[t].next.Store(uint64(step)<<32 | uint64(from))
		}
	}
	r.step.Store(int64(step))
}

// share returns the units that a thread has of a step.
func (r *run) share(step, thread int) (from, to int) {
	units, threads := r.plan.steps[step].units, len(r.shares)
	return units * thread / threads, units * (thread + 1) / threads
}

// work computes units until the run is over. It spins where it has to wait, since a step often takes only
// microseconds, and yields to others now and then.
func (r *run) work(thread int) {
	for spins := 1; ; spins++ {
		step := int(r.step.Load())
		if step == len(r.plan.steps) {
			return
		}
		if r.compute(step, thread) {
			spins = 0
			continue
		}
		switch {
		case spins > 1<<22: // some milliseconds: another process has the processor that we wait for
			time.Sleep(20 * time.Microsecond)
		case spins%4096 == 0:
			runtime.Gosched()
		}
	}
}

// compute computes what the thread can get of a step's units, and reports whether that was any.
func (r *run) compute(step, thread int) (any bool) {
	for other := range r.shares {
		owner := (thread + other) % len(r.shares)
		_, end := r.share(step, owner)
		for {
			from, to := r.shares[owner].take(step, end)
			if from == to {
				break
			}
			any = true
			r.plan.steps[step].run(r.State, thread, from, to)
			if r.left.Add(int64(from-to)) == 0 {
				r.begin(step + 1)
			}
		}
	}
	return any
}

// A share is a thread's units of a step, of which those before next, whose upper half is the step, are taken.
type share struct {
	next atomic.Uint64
	_    [56]byte // the rest of a line of the cache
}

// take returns units before end to compute, half of those that are left, or none.
func (s *share) take(step, end int) (from, to int) {
	for {
		next := s.next.Load()
		from := int(next & (1<<32 - 1))
		if int(next>>32) != step || from >= end {
			return 0, 0
		}
		half := from + (end-from+1)/2
		if s.next.CompareAndSwap(next, uint64(step)<<32|uint64(half)) {
			return from, half
		}
	}
}
