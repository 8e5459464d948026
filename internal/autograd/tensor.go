package autograd

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
)

// A tensor is a value of the graph: a logical shape, the order in which its dimensions lie in memory,
// outermost first, and how its rows, the innermost dimension, come about. Its derivative lies
// in the same order.
type tensor struct {
	shape, order []int
	rows
	wants bool   // a derivative is wanted
	grad  []rows // what the derivative is the sum of, as far as it is known

	copies map[bool]*tensor // with all maps applied: in the forward pass (false), in the backward pass (true)
	mosaic *buffer          // a derivative that is put together from slices
}

// natural is the order of a row-major tensor.
func natural(dims int) []int {
	order := make([]int, dims)
	for i := range order {
		order[i] = i
	}
	return order
}

// channelsLast is how images lie.
var channelsLast = []int{0, 2, 3, 1}

// usual returns the order in which values of so many dimensions are kept unless something else is
// at hand.
func usual(dims int) []int {
	if dims == 4 {
		return channelsLast
	}
	return natural(dims)
}

// physical returns the sizes in memory order.
func physical(shape, order []int) []int {
	p := make([]int, len(order))
	for i, d := range order {
		p[i] = shape[d]
	}
	return p
}

// rowLen returns the size of the innermost dimension in memory.
func rowLen(shape, order []int) int {
	if len(order) == 0 {
		return 1
	}
	return shape[order[len(order)-1]]
}

// strides returns for each logical dimension how far apart its elements lie.
func strides(shape, order []int) []int {
	s, n := make([]int, len(shape)), 1
	for i := len(order) - 1; i >= 0; i-- {
		s[order[i]] = n
		n *= shape[order[i]]
	}
	return s
}

// samples returns how the rows divide into samples: the outermost dimension in memory.
func (x *tensor) samples() (samples, rows int) {
	if len(x.order) < 2 {
		return 1, graph.Numel(x.shape) / x.width
	}
	samples = x.shape[x.order[0]]
	return samples, graph.Numel(x.shape) / x.width / samples
}

// parts divides a tensor's rows for work that touches about width floats of each.
func (x *tensor) parts(width int) division {
	samples, rows := x.samples()
	return divide(samples, rows, blockRows(width))
}

// blockRows returns how many rows of a width stay in a core's cache, in whole tiles of the matrix product.
func blockRows(width int) int {
	const tile, most, cached = 12, 240, 96 << 10
	return max(tile, min(cached/width/tile*tile, most))
}

// sameOrder reports whether two orders lay out a shape alike: dimensions of size 1 don't matter.
func sameOrder(shape, a, b []int) bool {
	some := func(order []int) []int {
		return slices.DeleteFunc(slices.Clone(order), func(d int) bool { return shape[d] == 1 })
	}
	return slices.Equal(some(a), some(b))
}

// permuted returns shape and order of the view in which dimension i is dimension order[i] of x.
func (x *tensor) permuted(order []int) (shape, memory []int) {
	shape, memory = make([]int, len(order)), make([]int, len(order))
	place := make([]int, len(order))
	for i, d := range order {
		shape[i], place[d] = x.shape[d], i
	}
	for i, d := range x.order {
		memory[i] = place[d]
	}
	return shape, memory
}

// reshaped returns the order of the view with another shape, if the elements of every merged or divided
// dimension lie together in memory.
func (x *tensor) reshaped(shape []int) (order []int, ok bool) {
	// Match runs of old dimensions with runs of new ones that hold as many elements.
	type run struct{ old, new []int }
	var runs []run
	for i, j := 0, 0; i < len(x.shape) || j < len(shape); {
		var r run
		a, b := 1, 1
		for first := true; first || a != b; first = false {
			switch {
			case a <= b && i < len(x.shape):
				a *= x.shape[i]
				r.old = append(r.old, i)
				i++
			case j < len(shape):
				b *= shape[j]
				r.new = append(r.new, j)
				j++
			default:
				return nil, false
			}
		}
		runs = append(runs, r)
	}
	whole := func(dims, shape []int) []int {
		return slices.DeleteFunc(slices.Clone(dims), func(d int) bool { return shape[d] == 1 })
	}
	for d, n := range shape {
		if n == 1 {
			order = append(order, d)
		}
	}
	for memory := whole(x.order, x.shape); len(memory) > 0; {
		r := runs[slices.IndexFunc(runs, func(r run) bool { return slices.Contains(r.old, memory[0]) })]
		old := whole(r.old, x.shape)
		if len(memory) < len(old) || !slices.Equal(memory[:len(old)], old) {
			return nil, false
		}
		memory = memory[len(old):]
		order = append(order, whole(r.new, shape)...)
	}
	return order, true
}

// copyStrided fills dst, which has the given sizes in memory order, from src, whose elements lie
// strides apart along the same dimensions, for the outermost indices [from, to).
func copyStrided(dst, src []float32, sizes, strides []int, from, to int) {
	if len(sizes) == 1 {
		if strides[0] == 1 {
			copy(dst[from:to], src[from:])
			return
		}
		for i := from; i < to; i++ {
			dst[i] = src[i*strides[0]]
		}
		return
	}
	inner := graph.Numel(sizes[1:])
	for i := from; i < to; i++ {
		copyStrided(dst[i*inner:], src[i*strides[0]:], sizes[1:], strides[1:], 0, sizes[1])
	}
}
