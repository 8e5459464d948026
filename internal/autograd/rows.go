package autograd

import (
	"slices"

	"github.com/graft-ml/graft/internal/kernels"
)

// rows says how the rows of a value, or of a derivative, come from memory: they are those of a buffer,
// or sums of others, after some maps. Whoever needs them computes them, a block at a time, while
// the block is in a core's cache.
type rows struct {
	buffer *buffer
	repeat repeat
	sum    []rows // if buffer is nil
	width  int
	maps   []rowMap
	set    *kernels.Set
}

// A repeat says that row r is the buffer's row r/each%count; count 0 that it is the buffer's row r.
type repeat struct{ each, count int }

// always is an each beyond all rows.
const always = 1 << 40

// A rowMap computes the rows [from, to) of dst from those of src, which may be the same memory.
type rowMap interface {
	apply(t *thread, dst, src []float32, from, to int)
	reads() []*buffer
}

// then returns r with another map after its own.
func (r rows) then(m ...rowMap) rows {
	r.maps = append(slices.Clone(r.maps), m...)
	return r
}

// plain reports whether the rows lie in memory as they are.
func (r rows) plain() bool { return r.buffer != nil && r.repeat.count == 0 && len(r.maps) == 0 }

// buffers lists what is read to compute the rows.
func (r rows) buffers() []*buffer {
	var all []*buffer
	if r.buffer != nil {
		all = append(all, r.buffer)
	}
	for _, s := range r.sum {
		all = append(all, s.buffers()...)
	}
	for _, m := range r.maps {
		all = append(all, m.reads()...)
	}
	return all
}

// sources lists the buffers that the maps are applied to.
func (r rows) sources() []*buffer {
	if r.buffer != nil {
		return []*buffer{r.buffer}
	}
	var all []*buffer
	for _, s := range r.sum {
		all = append(all, s.sources()...)
	}
	return all
}

// load returns the rows [from, to), in the buffer or in scratch memory.
func (r rows) load(t *thread, from, to int) []float32 {
	if r.plain() {
		return r.buffer.data()[from*r.width : to*r.width]
	}
	dst := t.take((to - from) * r.width)
	r.loadTo(t, dst, from, to)
	return dst
}

// loadTo computes the rows [from, to) into dst.
func (r rows) loadTo(t *thread, dst []float32, from, to int) {
	src := dst
	switch {
	case r.buffer == nil:
		if r.sum[0].plain() {
			src = r.sum[0].load(t, from, to)
		} else {
			r.sum[0].loadTo(t, dst, from, to)
		}
		for _, s := range r.sum[1:] {
			mark := t.used
			r.set.Add(dst, src, s.load(t, from, to), kernels.None)
			t.used = mark
			src = dst
		}
	case r.repeat.count > 0:
		r.runs(from, to, func(a, b int, row []float32) {
			for i := a; i < b; i++ {
				copy(dst[i*r.width:(i+1)*r.width], row)
			}
		})
	default:
		src = r.buffer.data()[from*r.width : to*r.width]
		if len(r.maps) == 0 {
			copy(dst, src)
		}
	}
	for _, m := range r.maps {
		mark := t.used
		m.apply(t, dst, src, from, to)
		t.used = mark
		src = dst
	}
}

// runs calls f for each run of equal rows among [from, to), with its bounds relative to from.
func (r rows) runs(from, to int, f func(a, b int, row []float32)) {
	data := r.buffer.data()
	for a := from; a < to; {
		i := a / r.repeat.each
		b := min((i+1)*r.repeat.each, to)
		at := i % r.repeat.count * r.width
		f(a-from, b-from, data[at:at+r.width])
		a = b
	}
}

// mulMap multiplies by other rows.
type mulMap struct{ by rows }

func (m mulMap) reads() []*buffer { return m.by.buffers() }

func (m mulMap) apply(t *thread, dst, src []float32, from, to int) {
	if w := m.by.width; m.by.repeat.count > 0 && len(m.by.maps) == 0 {
		m.by.runs(from, to, func(a, b int, row []float32) {
			m.by.set.Affine(dst[a*w:b*w], src[a*w:b*w], row, nil, kernels.None)
		})
		return
	}
	m.by.set.Mul(dst[:len(src)], src, m.by.load(t, from, to))
}
