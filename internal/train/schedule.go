package train

import (
	"cmp"
	"fmt"
	"math"
)

// A Schedule says how the learning rate changes from step to step, with the definitions of
// torch.optim.lr_scheduler. Lengths are in epochs and may be fractions. The zero value keeps the rate
// as it is.
type Schedule struct {
	// Name is "constant" (the default), "step" (StepLR), "cosine" (CosineAnnealingLR over what is left
	// after the warm-up) or "onecycle" (OneCycleLR, https://arxiv.org/abs/1708.07120: the optimizer's
	// rate is max_lr, and its momentum or first beta is cycled from 0.95 to 0.85 and back).
	Name string `json:"name,omitempty"`

	StepSize float64 `json:"step_size,omitempty"` // of step: epochs between two decays
	Gamma    float64 `json:"gamma,omitempty"`     // of step: the factor of a decay; 0 means 0.1
	MinLR    float64 `json:"min_lr,omitempty"`    // of cosine: eta_min, where it ends
	PctStart float64 `json:"pct_start,omitempty"` // of onecycle: the part of the steps in which the rate rises; 0 means 0.3

	// Warmup epochs come first, in which the rate rises evenly (LinearLR) from WarmupFactor of the
	// schedule's first rate; 0 means a third.
	Warmup       float64 `json:"warmup,omitempty"`
	WarmupFactor float64 `json:"warmup_factor,omitempty"`
}

// What torch.optim.lr_scheduler.OneCycleLR takes where nothing else is said.
const (
	divFactor, finalDivFactor = 25, 1e4
	baseMomentum, maxMomentum = 0.85, 0.95
)

func (s Schedule) complete() (Schedule, error) {
	s.Name = cmp.Or(s.Name, "constant")
	s.Gamma = cmp.Or(s.Gamma, 0.1)
	s.PctStart = cmp.Or(s.PctStart, 0.3)
	s.WarmupFactor = cmp.Or(s.WarmupFactor, 1.0/3)
	switch {
	case s.Name != "constant" && s.Name != "step" && s.Name != "cosine" && s.Name != "onecycle":
		return s, fmt.Errorf("schedule %q: there are constant, step, cosine and onecycle", s.Name)
	case s.Name == "step" && !(s.StepSize > 0):
		return s, fmt.Errorf("schedule step: the step size of %g epochs must be above 0", s.StepSize)
	case !(s.Gamma > 0) || math.IsInf(s.Gamma, 1):
		return s, fmt.Errorf("schedule step: gamma %g must be above 0", s.Gamma)
	case !(s.MinLR >= 0) || math.IsInf(s.MinLR, 1):
		return s, fmt.Errorf("schedule cosine: the least rate %g can't be below 0", s.MinLR)
	case !(s.PctStart > 0 && s.PctStart < 1):
		return s, fmt.Errorf("schedule onecycle: the rising part %g must be between 0 and 1", s.PctStart)
	case !(s.Warmup >= 0) || math.IsInf(s.Warmup, 1):
		return s, fmt.Errorf("%g epochs of warm-up: it can't be below 0", s.Warmup)
	case !(s.WarmupFactor > 0 && s.WarmupFactor <= 1):
		return s, fmt.Errorf("the warm-up's factor %g must be above 0 and at most 1", s.WarmupFactor)
	}
	return s, nil
}

// A Rates gives the learning rate and the momentum of each step, counted from 0.
type Rates func(step int) (lr, momentum float64)

// Rates returns what the schedule makes of an optimizer's learning rate and momentum (of Adam the
// first beta) in so many epochs.
func (s Schedule) Rates(lr, momentum float64, stepsPerEpoch, epochs int) (Rates, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	steps := func(epochs float64) int { return int(math.Round(min(epochs*float64(stepsPerEpoch), 1<<53))) }
	warmup := steps(s.Warmup)
	main := s.main(lr, momentum, steps(s.StepSize), max(stepsPerEpoch*epochs-warmup, 1))
	return func(step int) (float64, float64) {
		if step >= warmup {
			return main(step - warmup)
		}
		lr, momentum := main(0)
		return lr * (s.WarmupFactor + (1-s.WarmupFactor)*float64(step)/float64(warmup)), momentum
	}, nil
}

// main is the schedule after the warm-up.
func (s Schedule) main(lr, momentum float64, stepSize, total int) Rates {
	switch s.Name {
	case "step":
		return func(step int) (float64, float64) {
			return lr * math.Pow(s.Gamma, float64(step/max(stepSize, 1))), momentum
		}
	case "cosine":
		return func(step int) (float64, float64) {
			return anneal(lr, s.MinLR, float64(step)/float64(total)), momentum
		}
	case "onecycle":
		return func(step int) (float64, float64) { return s.oneCycle(lr, min(step, total-1), total) }
	}
	return func(int) (float64, float64) { return lr, momentum }
}

// oneCycle has two phases, as with three_phase=False.
func (s Schedule) oneCycle(max float64, step, total int) (lr, momentum float64) {
	initial := max / divFactor
	peak, last := s.PctStart*float64(total)-1, float64(total-1)
	at := float64(step)
	switch {
	case at > peak:
		part := (at - peak) / (last - peak)
		return anneal(max, initial/finalDivFactor, part), anneal(baseMomentum, maxMomentum, part)
	case peak == 0:
		return max, baseMomentum
	}
	return anneal(initial, max, at/peak), anneal(maxMomentum, baseMomentum, at/peak)
}

// anneal goes from one value to another along half a cosine, part of the way.
func anneal(from, to, part float64) float64 {
	return to + (from-to)/2*(1+math.Cos(math.Pi*part))
}
