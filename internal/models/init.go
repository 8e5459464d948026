package models

import (
	"math"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// How a family's layers start where torchvision departs from PyTorch's constructors. It matters
// only to networks that are trained from scratch.

// A weightInit gives the first values of a weight of that shape.
type weightInit func(shape []int) nn.Init

// initLayers sets how the layers of a type below m start; a nil bias leaves PyTorch's.
func initLayers(m *nn.Module, typ string, weight weightInit, bias nn.Init) {
	for _, layer := range m.Walk() {
		if layer.Type != typ {
			continue
		}
		own := layer.Own()
		own[0].Init = weight(own[0].Shape)
		if len(own) > 1 && bias != nil {
			own[1].Init = bias
		}
	}
}

func normal(std float64) weightInit { return func([]int) nn.Init { return nn.Normal(std) } }

// kaimingOut and kaimingIn are torch.nn.init.kaiming_normal_ for ReLU in the modes fan_out and
// fan_in (https://arxiv.org/abs/1502.01852).
func kaimingOut(shape []int) nn.Init { return nn.Normal(math.Sqrt(2 / fanOut(shape))) }
func kaimingIn(shape []int) nn.Init  { return nn.Normal(math.Sqrt(2 / fanIn(shape))) }

func fanOut(shape []int) float64 { return float64(shape[0] * graph.Numel(shape[2:])) }
func fanIn(shape []int) float64  { return float64(graph.Numel(shape[1:])) }
