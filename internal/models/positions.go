package models

import (
	"fmt"
	"math"

	"github.com/graft-ml/graft/internal/graph"
)

// Position embeddings for other image sizes.

// An interpolation gives the weights [to][from] with which each of to samples is made of from samples
// on the same line.
type interpolation func(from, to int) [][]float64

// resizePositions returns the function by which a network with the position embeddings pos adapts to
// another image size. pos is [1, 1+grid², features]: the class token's, which stays, then those of
// the patches, row by row.
func resizePositions(pos *graph.Param, patch int, interpolate interpolation) func(size int) error {
	return func(size int) error {
		if size%patch != 0 {
			return fmt.Errorf("images of %d pixels don't divide into patches: take a multiple of %d", size, patch)
		}
		from, to, features := squareRoot(pos.Shape[1]-1), size/patch, pos.Shape[2]
		if from == to {
			return nil
		}
		if pos.Data != nil {
			grid := resample(pos.Data[features:], features, interpolate(from, to))
			pos.Data = append(pos.Data[:features:features], grid...)
		}
		pos.Shape = []int{1, 1 + to*to, features}
		return nil
	}
}

// squareRoot returns the side of a square of n patches.
func squareRoot(n int) int { return int(math.Round(math.Sqrt(float64(n)))) }

// resample interpolates a square grid of vectors along both of its sides.
func resample(grid []float32, features int, weights [][]float64) []float32 {
	from, to := len(weights[0]), len(weights)
	rows := make([]float64, to*from*features)
	for y, line := range weights {
		for v, w := range line {
			for i := range from * features {
				rows[y*from*features+i] += w * float64(grid[v*from*features+i])
			}
		}
	}
	out := make([]float32, to*to*features)
	for y := range to {
		for x, line := range weights {
			for i := range features {
				var sum float64
				for u, w := range line {
					sum += w * rows[(y*from+u)*features+i]
				}
				out[(y*to+x)*features+i] = float32(sum)
			}
		}
	}
	return out
}

// bicubicCorners is torch.nn.functional.interpolate with mode="bicubic" and align_corners=True, as
// torchvision.models.vision_transformer.interpolate_embeddings uses it: the first and last samples
// of both lines coincide, and beyond them the line goes on with its last value.
func bicubicCorners(from, to int) [][]float64 {
	weights := zeros(from, to)
	for i, line := range weights {
		at := float64(i*(from-1)) / float64(max(to-1, 1))
		for j := int(at) - 1; j <= int(at)+2; j++ {
			line[min(max(j, 0), from-1)] += cubic(at-float64(j), -0.75)
		}
	}
	return weights
}

// bicubicAntialias is the same with align_corners=False and antialias=True, as
// timm.layers.resample_abs_pos_embed uses it: when the line shrinks, the kernel widens with it.
func bicubicAntialias(from, to int) [][]float64 {
	weights := zeros(from, to)
	scale := float64(from) / float64(to)
	stretch := max(scale, 1)
	for i, line := range weights {
		centre := scale * (float64(i) + 0.5)
		first, last := max(int(centre-2*stretch+0.5), 0), min(int(centre+2*stretch+0.5), from)
		var sum float64
		for j := first; j < last; j++ {
			line[j] = cubic((float64(j)+0.5-centre)/stretch, -0.5)
			sum += line[j]
		}
		for j := first; j < last; j++ {
			line[j] /= sum
		}
	}
	return weights
}

func zeros(from, to int) [][]float64 {
	weights := make([][]float64, to)
	for i := range weights {
		weights[i] = make([]float64, from)
	}
	return weights
}

// cubic is the kernel of cubic convolution with slope a at 1 (R. G. Keys, Cubic Convolution
// Interpolation for Digital Image Processing, 1981, https://doi.org/10.1109/TASSP.1981.1163711).
func cubic(x, a float64) float64 {
	switch x = math.Abs(x); {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((x-5)*x+8)*x*a - 4*a
	}
	return 0
}
