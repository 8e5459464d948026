package train

import (
	"math"

	"github.com/graft-ml/graft/internal/graph"
)

// Adam is torch.optim.Adam (https://arxiv.org/abs/1412.6980) with PyTorch's order of operations.
type Adam struct {
	LR           float64
	Beta1, Beta2 float64
	Eps          float64

	step    int
	moments map[*graph.Param]*moments
}

// moments are the running averages of a parameter's gradient and of its square.
type moments struct{ first, second []float32 }

// NewAdam returns an optimizer with PyTorch's defaults but the learning rate.
func NewAdam(lr float64) *Adam {
	return &Adam{LR: lr, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, moments: map[*graph.Param]*moments{}}
}

// Step changes each parameter by its gradient.
func (a *Adam) Step(params []*graph.Param, grad func(*graph.Param) []float32) {
	a.step++
	correction1 := 1 - math.Pow(a.Beta1, float64(a.step))
	correction2 := math.Sqrt(1 - math.Pow(a.Beta2, float64(a.step)))
	size := float32(a.LR / correction1)
	b1, b2, eps, root := float32(1-a.Beta1), float32(a.Beta2), float32(a.Eps), float32(correction2)
	b2c := float32(1 - a.Beta2)
	for _, p := range params {
		m := a.moments[p]
		if m == nil {
			m = &moments{make([]float32, p.Numel()), make([]float32, p.Numel())}
			a.moments[p] = m
		}
		for i, g := range grad(p) {
			m.first[i] += b1 * (g - m.first[i])
			m.second[i] = m.second[i]*b2 + b2c*g*g
			p.Data[i] -= size * m.first[i] / (float32(math.Sqrt(float64(m.second[i])))/root + eps)
		}
	}
}
