package nn

import (
	"math"

	"github.com/graft-ml/graft/internal/torchrand"
)

// An Init fills a new parameter; next yields uniform numbers in [0, 1).
type Init = func(data []float32, next func() float64)

// Fill sets every element to v.
func Fill(v float32) Init {
	return func(data []float32, _ func() float64) {
		for i := range data {
			data[i] = v
		}
	}
}

// Normal draws from a normal distribution of mean 0 by the Box–Muller transform.
func Normal(std float64) Init {
	return func(data []float32, next func() float64) {
		for i := range data {
			r := math.Sqrt(-2 * math.Log(1-next()))
			data[i] = float32(std * r * math.Cos(2*math.Pi*next()))
		}
	}
}

// Uniform draws from [-bound, bound), as Tensor.uniform_ does.
func Uniform(bound float64) Init {
	from, to := float64(float32(-bound)), float64(float32(bound))
	return func(data []float32, next func() float64) {
		for i := range data {
			data[i] = float32(float64(next()*(to-from)) + from)
		}
	}
}

// XavierUniform draws from ±√(6/(fanIn+fanOut)) (https://proceedings.mlr.press/v9/glorot10a.html).
func XavierUniform(fanIn, fanOut int) Init { return Uniform(math.Sqrt(6 / float64(fanIn+fanOut))) }

// kaimingUniform and fanUniform are how PyTorch starts the weights and biases of Conv2d and Linear:
// Kaiming's uniform initialisation with a = √5, and ±1/√fan_in. The two bounds differ by rounding
// alone (torch/nn/modules/linear.py, torch/nn/init.py).
func kaimingUniform(fanIn int) Init {
	gain := math.Sqrt(2.0 / 6)
	return Uniform(math.Sqrt(3) * (gain / math.Sqrt(float64(max(fanIn, 1)))))
}

func fanUniform(fanIn int) Init { return Uniform(1 / math.Sqrt(float64(max(fanIn, 1)))) }

// Initialise gives every parameter below m that has no data yet its first values, in order.
func (m *Module) Initialise(random *torchrand.Generator) {
	for _, p := range m.Params() {
		if p.Data != nil || p.Index != nil {
			continue
		}
		p.Data = make([]float32, p.Numel())
		if p.Init != nil {
			p.Init(p.Data, random.Uniform)
		}
	}
}
