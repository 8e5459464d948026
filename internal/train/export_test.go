package train

import "github.com/graft-ml/graft/internal/graph"

// Clip is clip.
var Clip = clip

// Average returns a moving average, and a function that updates it.
func Average(decay float64) (average func() Weights, update func([]*graph.Param)) {
	e := &ema{decay: decay}
	return func() Weights { return e.average }, e.update
}

// Suggest is suggest.
var Suggest = suggest
