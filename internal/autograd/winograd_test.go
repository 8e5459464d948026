package autograd_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
)

// TestTiles compares 3 × 3 convolutions, which are computed by tiles, with 3 × 4 ones whose last column is
// zero, which aren't.
func TestTiles(t *testing.T) {
	for _, size := range [][2]int{{5, 8}, {14, 14}, {7, 7}, {19, 30}, {4, 57}} {
		for pad := range 3 {
			if size[0]+2*pad < 7 {
				continue
			}
			var outs [2][]float32
			var grads [2]map[string][]float32
			for i := range outs {
				op := graph.Conv2d{Kernel: nn.Pair{3, 3 + i}, Stride: nn.Square(1), Dilation: nn.Square(1), Pad: [4]int{pad, pad, pad, pad + i}, Groups: 1}
				m := nn.Sequential(point(3, 32), conv2d(op, 32, 48), relu())
				params := m.Params()
				testutil.FormulaWeights(params, 1)
				for _, p := range params[2:3] {
					weights := testutil.FormulaInput(48, 32, 3, 3)
					p.Data = make([]float32, p.Numel())
					for j, v := range weights {
						p.Data[j/3*(3+i)+j%3] = v / 20
					}
				}
				for _, p := range params {
					p.RequiresGrad = true
				}
				shape := []int{3, 3, size[0], size[1]}
				g, err := nn.Trace(m, shape...)
				if err != nil {
					t.Fatal(err)
				}
				net, err := autograd.New(g, kernels.All()[0], 2)
				if err != nil {
					t.Fatal(err)
				}
				copy(net.Input(0), testutil.FormulaInput(shape...))
				outs[i] = slices.Clone(net.Forward(true, nil))
				net.Backward(testutil.FormulaInput(len(outs[i])))
				grads[i] = map[string][]float32{}
				for _, p := range params {
					grads[i][p.Name] = net.Grad(p)
				}
			}
			what := fmt.Sprintf("%v padded by %d", size, pad)
			near(t, what+": output", outs[0], float64s(outs[1]), 1e-5, 0)
			for name, g := range grads[0] {
				want := grads[1][name]
				if name == "1.weight" {
					want = nil
					for j, v := range grads[1][name] {
						if j%4 < 3 {
							want = append(want, v)
						}
					}
				}
				near(t, what+": gradient of "+name, g, float64s(want), 5e-5, 0)
			}
		}
	}
}

func float64s(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
