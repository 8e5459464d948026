package train

import "github.com/graft-ml/graft/internal/graph"

// ema is an exponential moving average of weights and running statistics, as
// torch.optim.swa_utils.AveragedModel keeps with get_ema_multi_avg_fn(decay) and use_buffers=True: the
// first update copies.
type ema struct {
	decay   float64
	average Weights // nil before the first update
}

func (e *ema) update(variables []*graph.Param) {
	if e.average == nil {
		e.average = copyOf(variables)
		return
	}
	part := float32(1 - e.decay)
	for _, p := range variables {
		average := e.average[p]
		for i, v := range p.Data {
			average[i] += part * (v - average[i])
		}
	}
}
