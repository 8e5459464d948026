package models

import "github.com/graft-ml/graft/internal/nn"

// What timm's convolutional families are built of.

// chainShortcut is the forward function that runs the children in order and, if add, adds the input
// to what the last of them, drop_path, lets through; otherwise drop_path doesn't run.
func chainShortcut(add bool) func(*nn.Module, nn.Value) nn.Value {
	return func(m *nn.Module, x nn.Value) nn.Value {
		y := x
		for name, c := range m.Children() {
			if add || name != "drop_path" {
				y = c.Call(y)
			}
		}
		if add {
			y = y.Add(x)
		}
		return y
	}
}

// globalPool is SelectAdaptivePool2d of kind "avg", flattened or not.
func globalPool(flatten *nn.Module) *nn.Module {
	return nn.New("SelectAdaptivePool2d", nn.Chain).Add("pool", nn.AdaptiveAvgPool2d(1)).Add("flatten", flatten)
}
