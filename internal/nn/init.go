package nn

import (
	"math"
	"math/rand/v2"
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

// Uniform draws from [-bound, bound).
func Uniform(bound float64) Init {
	return func(data []float32, next func() float64) {
		for i := range data {
			data[i] = float32((2*next() - 1) * bound)
		}
	}
}

// uniformFan is how PyTorch starts the weights and biases of Conv2d and Linear: Kaiming's uniform
// initialisation with a = √5, which comes to ±1/√fan_in (torch/nn/modules/linear.py).
func uniformFan(fanIn int) Init { return Uniform(1 / math.Sqrt(float64(max(fanIn, 1)))) }

// Initialise gives every parameter below m that has no data yet its first values. The values
// depend on seed, the order of the parameters and nothing else.
func (m *Module) Initialise(seed uint64) {
	for i, p := range m.Params() {
		if p.Data != nil {
			continue
		}
		p.Data = make([]float32, p.Numel())
		if p.Init != nil {
			p.Init(p.Data, rand.New(rand.NewPCG(seed, uint64(i))).Float64)
		}
	}
}
