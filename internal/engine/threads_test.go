package engine

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestThreadsHelp has the first unit of each step wait for all others, which other threads have to take from the share of
// the one that waits. Each unit is computed once, after all units of the steps before.
func TestThreadsHelp(t *testing.T) {
	for _, threads := range []int{2, 3, 8} {
		for range 20 {
			var plan Plan
			var done [5]atomic.Int64
			for i, units := range []int{1, 0, 2, 9, 100} {
				plan.steps = append(plan.steps, step{units: units, run: func(_ *State, _, from, to int) {
					for u := to - 1; u >= from; u-- {
						for u == 0 && done[i].Load() < int64(units-1) {
							time.Sleep(time.Microsecond)
						}
						for before := range i {
							if n := done[before].Load(); n != int64(plan.steps[before].units) {
								t.Errorf("step %d runs after %d units of step %d", i, n, before)
							}
						}
						done[i].Add(1)
					}
				}})
			}
			plan.NewState(threads).Run()
			for i := range done {
				if n := done[i].Load(); n != int64(plan.steps[i].units) {
					t.Fatalf("%d threads: %d of %d units of step %d are computed when all are done", threads, n, plan.steps[i].units, i)
				}
			}
		}
	}
}
