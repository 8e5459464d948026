package augment

import (
	"fmt"
	"slices"
)

// A List is a list of steps in the order in which they are applied:
//
//   - a [RandomResizedCrop], if any, comes first;
//   - then steps on the picture at the network's input size;
//   - then [RandomErasing], on the normalised tensor;
//   - then [MixUp] or [CutMix] or both, on batches.
//
// Its text form is described at [Parse]. In JSON it is an array of objects of each step's "type" and all its arguments.
type List []Step

// maxSteps is far more than makes sense, and few enough for any input.
const maxSteps = 32

// check reports arguments out of range and steps in the wrong place.
func (l List) check() error {
	if len(l) > maxSteps {
		return fmt.Errorf("augment: %d steps, more than %d", len(l), maxSteps)
	}
	stage := 0
	seen := map[string]bool{}
	for i, step := range l {
		if err := step.check(); err != nil {
			return fmt.Errorf("augment: step %d, %s: %w", i+1, step.name(), err)
		}
		now, place := stageOf(step)
		if now < stage || seen[step.name()] && (now == cropStage || now == batchStage) {
			return fmt.Errorf("augment: step %d, %s: %s", i+1, step.name(), place)
		}
		stage, seen[step.name()] = now, true
	}
	return nil
}

const (
	cropStage = iota
	photoStage
	tensorStage
	batchStage
)

// stageOf returns when a step's turn is, and how to say so.
func stageOf(step Step) (stage int, place string) {
	switch step.(type) {
	case photoStep:
		return photoStage, "it works on pictures, so it must stand before RandomErasing, MixUp and CutMix"
	case tensorStep:
		return tensorStage, "it works on tensors, so it must stand before MixUp and CutMix"
	case batchStep:
		return batchStage, "it must stand at the end, once"
	default:
		return cropStage, "it takes the place of the model's resize and crop, so it must stand at the beginning, once"
	}
}

// Unmixed returns the list without the steps on batches.
func (l List) Unmixed() List {
	return slices.DeleteFunc(slices.Clone(l), func(s Step) bool { _, mixes := s.(batchStep); return mixes })
}

// Mixer returns what the steps on batches do, and nil where there are none.
func (l List) Mixer() (*Mixer, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	var m Mixer
	for _, step := range l {
		if step, ok := step.(batchStep); ok {
			m.choices = append(m.choices, step)
		}
	}
	if m.choices == nil {
		return nil, nil
	}
	return &m, nil
}
