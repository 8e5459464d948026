package engine

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
)

// A value is a tensor in a buffer: its logical shape, and the order in which the dimensions lie in
// memory, outermost first.
type value struct {
	shape  []int
	order  []int
	buffer int
	bf16   bool // pairs of bfloat16 instead of float32; the innermost dimension is even
	// Rows of the innermost dimension may lie apart: the first one at first, each ld words from the one
	// before it. Only products and attention read such values; see [compiler.rowsOf].
	first, ld int // ld is 0 where rows lie together
}

// pitch returns how many words apart the rows of the innermost dimension lie.
func (v value) pitch() int {
	if v.ld != 0 {
		return v.ld
	}
	return words(v.shape[v.order[len(v.order)-1]], v.bf16)
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
func (v value) physical() []int {
	p := make([]int, len(v.order))
	for i, d := range v.order {
		p[i] = v.shape[d]
	}
	return p
}

// strides returns for each logical dimension how far apart its elements lie.
func (v value) strides() []int {
	s, n := make([]int, len(v.shape)), 1
	for i := len(v.order) - 1; i >= 0; i-- {
		s[v.order[i]] = n
		n *= v.shape[v.order[i]]
		if i == len(v.order)-1 {
			n = v.pitch()
		}
	}
	return s
}

// sameOrder reports whether two orders lay out a shape alike: dimensions of size 1 don't matter.
func sameOrder(shape, a, b []int) bool {
	some := func(order []int) []int {
		return slices.DeleteFunc(slices.Clone(order), func(d int) bool { return shape[d] == 1 })
	}
	return slices.Equal(some(a), some(b))
}

// permuted is the view of v with dimension i of the result being dimension order[i] of v.
func (v value) permuted(order []int) value {
	shape, place := make([]int, len(order)), make([]int, len(order))
	for i, d := range order {
		shape[i], place[d] = v.shape[d], i
	}
	memory := make([]int, len(order))
	for i, d := range v.order {
		memory[i] = place[d]
	}
	return value{shape: shape, order: memory, buffer: v.buffer, bf16: v.bf16}
}

// reshaped is the view of v with another shape, if the elements of every merged or divided
// dimension lie together in memory.
func (v value) reshaped(shape []int) (value, bool) {
	// Match runs of old dimensions with runs of new ones that hold as many elements.
	type run struct{ old, new []int }
	var runs []run
	i, j := 0, 0
	for i < len(v.shape) || j < len(shape) {
		var r run
		a, b := 1, 1
		for first := true; first || a != b; first = false {
			if a <= b && i < len(v.shape) {
				a *= v.shape[i]
				r.old = append(r.old, i)
				i++
			} else if j < len(shape) {
				b *= shape[j]
				r.new = append(r.new, j)
				j++
			} else {
				return value{}, false
			}
		}
		// Sizes of 1 that follow belong to the run.
		for ; i < len(v.shape) && v.shape[i] == 1; i++ {
			r.old = append(r.old, i)
		}
		for ; j < len(shape) && shape[j] == 1; j++ {
			r.new = append(r.new, j)
		}
		runs = append(runs, r)
	}
	var order, ones []int
	memory := slices.DeleteFunc(slices.Clone(v.order), func(d int) bool { return v.shape[d] == 1 })
	for len(memory) > 0 {
		k := slices.IndexFunc(runs, func(r run) bool { return slices.Contains(r.old, memory[0]) })
		for _, d := range runs[k].old {
			if v.shape[d] == 1 {
				continue
			}
			if len(memory) == 0 || memory[0] != d {
				return value{}, false
			}
			memory = memory[1:]
		}
		for _, d := range runs[k].new {
			if shape[d] != 1 {
				order = append(order, d)
			}
		}
	}
	for d, n := range shape {
		if n == 1 {
			ones = append(ones, d)
		}
	}
	return value{shape: slices.Clone(shape), order: append(ones, order...), buffer: v.buffer, bf16: v.bf16}, true
}

// copyStrided fills dst, which has the given sizes in memory order, from src, whose elements lie
// strides apart along the same dimensions, for the outermost indices [from, to).
func copyStrided(dst, src []float32, sizes, strides []int, from, to int) {
	switch len(sizes) {
	case 0:
		copy(dst, src[:1])
		return
	case 1:
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
