package graft

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/graph"
)

// A Speed is how fast a network computes on this machine, from prepared photos in memory to logits.
type Speed struct {
	ImagesPerSecond float64 `json:"images_per_second"` // of many photos, one on each thread at a time
	Milliseconds    float64 `json:"milliseconds"`      // for one photo, divided among the threads
	Threads         int     `json:"threads"`
}

// Measure finds out how fast the network computes with m.Threads threads: the best of several runs,
// which take about two seconds, or longer where a single photo does. Parameters without values count
// as if they had some, so that a model that [Describe] returned can be measured.
func (m *Model) Measure(ctx context.Context) (Speed, error) {
	defer fill(m.network.Params())()
	s := Speed{Threads: m.threads()}
	for _, photos := range []int{1, 2 * batchSize * s.Threads} {
		round, err := m.round(photos)
		if err != nil {
			return Speed{}, err
		}
		round()
		best := least(ctx, round).Seconds()
		if photos == 1 {
			s.Milliseconds = 1000 * best
		} else {
			s.ImagesPerSecond = float64(photos) / best
		}
	}
	return s, ctx.Err()
}

// enough is how long a figure is measured; tests make it shorter.
var enough = time.Second

// least returns the least time that f takes: it runs once, then again until there was time enough.
func least(ctx context.Context, f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for first := time.Now(); ; {
		begin := time.Now()
		f()
		best = min(best, time.Since(begin))
		if time.Since(first) > enough || ctx.Err() != nil {
			return best
		}
	}
}

func newState(plan *engine.Plan, threads int) *engine.State {
	s := plan.NewState(threads)
	noise(s.Input(0))
	return s
}

// noise fills an input with normal numbers.
func noise(input []float32) {
	random := rand.New(rand.NewPCG(1, 1))
	for i := range input {
		input[i] = float32(random.NormFloat64())
	}
}

// fill gives the parameters that have no values some with which signals neither vanish nor grow, since
// numbers near zero take longer to compute with. The function it returns takes them away again.
func fill(params []*graph.Param) (restore func()) {
	random := rand.New(rand.NewPCG(1, 1))
	noise := make([]float32, 1<<16)
	for i := range noise {
		noise[i] = 2*random.Float32() - 1
	}
	var filled []*graph.Param
	for _, p := range params {
		if p.Data != nil || p.Index != nil {
			continue
		}
		filled = append(filled, p)
		p.Data = make([]float32, p.Numel())
		switch {
		case len(p.Shape) > 1 && !p.Buffer: // uniform, with the variance of https://arxiv.org/abs/1502.01852
			bound := float32(math.Sqrt(6 / float64(graph.Numel(p.Shape[1:]))))
			for i := range p.Data {
				p.Data[i] = bound * noise[i%len(noise)]
			}
		case p.Init != nil:
			p.Init(p.Data, random.Float64)
		}
	}
	return func() {
		for _, p := range filled {
			p.Data = nil
		}
	}
}
