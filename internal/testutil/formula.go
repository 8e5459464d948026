package testutil

import (
	"hash/fnv"
	"math"
	"strings"

	"github.com/graft-ml/graft/internal/graph"
)

// FormulaWeights fills parameters and running statistics with numbers that depend on their names and
// shapes alone, for comparisons with PyTorch without a file of weights: matrices and kernels are
// uniform with the variance gain²/fan_in, norms are around 1, the rest is small. Other buffers stay
// as they are. testdata/formula.py computes the same bits.
func FormulaWeights(params []*graph.Param, gain float64) {
	for _, p := range params {
		if p.Buffer && !strings.HasSuffix(p.Name, "running_mean") && !strings.HasSuffix(p.Name, "running_var") {
			continue
		}
		centre, spread := 0.0, 0.1
		switch weight := strings.HasSuffix(p.Name, "weight"); {
		case strings.HasSuffix(p.Name, "running_var"):
			centre, spread = 1, 0.5
		case weight && len(p.Shape) > 1:
			spread = gain * math.Sqrt(3/float64(graph.Numel(p.Shape[1:])))
		case weight:
			centre, spread = 1, 0.2
		}
		p.Data = formula(p.Name, p.Numel(), centre, spread)
	}
}

// FormulaInput returns an input of that shape, of variance 1.
func FormulaInput(shape ...int) []float32 {
	return formula("input", graph.Numel(shape), 0, math.Sqrt(3))
}

// formula draws n numbers from [centre-spread, centre+spread) by splitmix64
// (https://prng.di.unimi.it/splitmix64.c), seeded with the FNV-1a hash of name.
func formula(name string, n int, centre, spread float64) []float32 {
	hash := fnv.New64a()
	hash.Write([]byte(name))
	state := hash.Sum64()
	data := make([]float32, n)
	for i := range data {
		state += 0x9E3779B97F4A7C15
		z := state
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		uniform := float64(z>>40)/(1<<23) - 1
		data[i] = float32(centre + float64(spread*uniform)) // the conversion keeps the two from being fused
	}
	return data
}
