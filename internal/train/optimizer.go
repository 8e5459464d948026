package train

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// OptimizerConfig says how gradients change parameters. Zero fields have PyTorch's defaults.
type OptimizerConfig struct {
	Name string  // "adam" (the default), "adamw" or "sgd", each as in torch.optim
	LR   float64 // learning rate; 0 means 0.001
	// WeightDecay is added to the gradient as a multiple of the parameter (adam, sgd) or taken off the
	// parameter itself (adamw), whose 0 means 0.01: adamw without any is adam.
	WeightDecay  float64
	SpareVectors bool // no weight decay for parameters of one dimension: biases and the weights of norms

	Betas    [2]float64 // of adam and adamw; zeros mean 0.9 and 0.999
	Eps      float64    // of adam and adamw; 0 means 1e-8
	Momentum float64    // of sgd
	Nesterov bool       // of sgd

	// LRScale multiplies a parameter's learning rate, as a parameter group with its own lr does; nil
	// means 1 for all.
	LRScale func(*graph.Param) float64
}

// complete returns c with the defaults in place of zeros.
func (c OptimizerConfig) complete() (OptimizerConfig, error) {
	c.Name = cmp.Or(c.Name, "adam")
	c.LR = cmp.Or(c.LR, 1e-3)
	c.Betas[0] = cmp.Or(c.Betas[0], 0.9)
	c.Betas[1] = cmp.Or(c.Betas[1], 0.999)
	c.Eps = cmp.Or(c.Eps, 1e-8)
	if c.Name == "adamw" {
		c.WeightDecay = cmp.Or(c.WeightDecay, 1e-2)
	}
	unit := func(v float64) bool { return v >= 0 && v < 1 }
	switch {
	case c.Name != "adam" && c.Name != "adamw" && c.Name != "sgd":
		return c, fmt.Errorf("optimizer %q: there are adam, adamw and sgd", c.Name)
	case !(c.LR > 0) || math.IsInf(c.LR, 1):
		return c, fmt.Errorf("learning rate %g: it must be above 0", c.LR)
	case !(c.WeightDecay >= 0) || math.IsInf(c.WeightDecay, 1):
		return c, fmt.Errorf("weight decay %g: it can't be below 0", c.WeightDecay)
	case !unit(c.Betas[0]) || !unit(c.Betas[1]):
		return c, fmt.Errorf("betas %v: both must be at least 0 and below 1", c.Betas)
	case !(c.Eps > 0):
		return c, fmt.Errorf("eps %g: it must be above 0", c.Eps)
	case !(c.Momentum >= 0) || math.IsInf(c.Momentum, 1):
		return c, fmt.Errorf("momentum %g: it can't be below 0", c.Momentum)
	case c.Nesterov && c.Momentum == 0:
		return c, errors.New("momentum 0: Nesterov's needs one above 0")
	}
	return c, nil
}

// momentum returns what OneCycleLR cycles: the momentum of sgd, the first beta of the others.
func (c OptimizerConfig) momentum() float64 {
	if c.Name == "sgd" {
		return c.Momentum
	}
	return c.Betas[0]
}

// An Optimizer changes parameters by their gradients. It is torch.optim's Adam
// (https://arxiv.org/abs/1412.6980), AdamW (https://arxiv.org/abs/1711.05101) or SGD, with PyTorch's
// order of operations, in float32.
type Optimizer struct {
	OptimizerConfig
	set   *kernels.Set
	steps int
	slots map[*graph.Param]*slots
}

// slots are what an optimizer remembers of a parameter: running averages of the gradient and of its
// square (adam, adamw), or the momentum's buffer (sgd, which leaves the second nil).
type slots struct{ first, second []float32 }

// NewOptimizer returns an optimizer that has made no step yet.
func NewOptimizer(c OptimizerConfig) (*Optimizer, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	set, err := kernels.Best()
	if err != nil {
		return nil, err
	}
	return &Optimizer{OptimizerConfig: c, set: set, slots: map[*graph.Param]*slots{}}, nil
}

// Step changes each parameter by its gradient, with a learning rate and a momentum that a [Schedule]
// gives.
func (o *Optimizer) Step(params []*graph.Param, grad func(*graph.Param) []float32, lr, momentum float64) {
	o.steps++
	for _, p := range params {
		s := o.slot(p)
		scaled := lr
		if o.LRScale != nil {
			scaled *= o.LRScale(p)
		}
		decay := o.WeightDecay
		if o.SpareVectors && len(p.Shape) < 2 {
			decay = 0
		}
		if o.Name == "sgd" {
			o.sgd(p.Data, grad(p), s, scaled, momentum, decay)
		} else {
			o.adam(p.Data, grad(p), s, scaled, momentum, decay)
		}
	}
}

func (o *Optimizer) slot(p *graph.Param) *slots {
	s := o.slots[p]
	if s == nil {
		s = &slots{first: make([]float32, p.Numel())}
		if o.Name != "sgd" {
			s.second = make([]float32, p.Numel())
		}
		o.slots[p] = s
	}
	return s
}

func (o *Optimizer) adam(data, grad []float32, s *slots, lr, beta1, decay float64) {
	correction1 := 1 - math.Pow(beta1, float64(o.steps))
	correction2 := math.Sqrt(1 - math.Pow(o.Betas[1], float64(o.steps)))
	size := float32(lr / correction1)
	b1, b2, eps, root := float32(1-beta1), float32(o.Betas[1]), float32(o.Eps), float32(correction2)
	b2c := float32(1 - o.Betas[1])
	keep, l2 := float32(1), float32(0)
	if o.Name == "adamw" {
		keep = float32(1 - lr*decay)
	} else {
		l2 = float32(decay)
	}
	o.set.Adam(&kernels.Adam{Param: data, First: s.first, Second: s.second, Grad: grad, Rate1: b1, Beta2: b2, Rate2: b2c,
		Size: size, Root: root, Eps: eps, Keep: keep, Decay: l2})
}

func (o *Optimizer) sgd(data, grad []float32, s *slots, lr, momentum, decay float64) {
	rate, m, l2 := float32(lr), float32(momentum), float32(decay)
	for i, g := range grad {
		g += l2 * data[i]
		if m != 0 {
			s.first[i] = s.first[i]*m + g
			if o.Nesterov {
				g += m * s.first[i]
			} else {
				g = s.first[i]
			}
		}
		data[i] -= rate * g
	}
}
