package engine

import (
	"fmt"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A block of a mobile network expands its channels by a 1 × 1 convolution, convolves each depthwise,
// and often projects them by another 1 × 1 convolution. The expanded image is large, so where it
// wouldn't stay in a core's cache the block is computed by bands of rows, which do.

// leastBanded is the size in bytes of an expanded image from which on it is computed by bands.
const leastBanded = 576 << 10

// A banded block: expand and project may be nil.
type banded struct {
	set             *kernels.Set
	depthwise       kernels.Depthwise
	expand, project *kernels.Packed
	expandAct       kernels.Act
	projectAct      kernels.Act
	rows            int // of the result, in a band
}

func pointwise(n *graph.Node) bool {
	conv, ok := n.Op.(graph.Conv2d)
	return ok && conv.Kernel == [2]int{1, 1} && conv.Stride == [2]int{1, 1} && conv.Pad == [4]int{} && conv.Groups == 1
}

func depthwise(n *graph.Node) bool {
	conv, ok := n.Op.(graph.Conv2d)
	return ok && conv.Groups > 1 && n.Params[0].Shape[0] == conv.Groups && n.Params[0].Shape[1] == 1
}

// bands emits the step for a depthwise convolution, node, of in or, if expand isn't nil, of what that
// layer makes of it; and for the projection, if that is all that uses its result. It reports false,
// having emitted nothing, where the image isn't large enough or something stands between.
func (c *compiler) bands(expand *product, node *graph.Node, in value) (bool, error) {
	mid := node.In[0].Shape
	if 4*mid[1]*mid[2]*mid[3] < leastBanded {
		return false, nil
	}
	if next := c.only(node); next != nil {
		if _, adds := next.Op.(graph.Add); adds {
			return false, nil
		}
	}
	q, err := c.fuse(node, channelsLast)
	if err != nil {
		return false, err
	}
	conv := node.Op.(graph.Conv2d)
	b := &banded{set: c.plan.kernels, depthwise: newDepthwise(q, conv, mid, q.end.Shape)}
	op, end := "depthwise", q
	if expand == nil {
		in = c.widened(in)
	} else {
		in = c.factor(expand.node, in)
		packed := pack(expand.weight, expand.bias, expand.out, expand.in, in.bf16)
		b.expand, b.expandAct = &packed, expand.act
		op = "expand+" + op
	}
	yields := kernels.Fused(q.act) // bfloat16, if that is wanted
	var residual *value
	reads := []int{in.buffer}
	if next := c.only(q.end); next != nil && pointwise(next) && q.residual == nil {
		r, err := c.fuse(next, channelsLast)
		if err != nil {
			return false, err
		}
		b.depthwise.BF16 = yields && c.bf16 != nil && evenRows(next)
		yields = b.depthwise.BF16 && kernels.FusedBF16(r.act)
		packed := pack(r.weight, r.bias, r.out, r.in, b.depthwise.BF16)
		b.project, b.projectAct, end = &packed, r.act, r
		if r.residual != nil {
			v := c.value(r.residual)
			residual = &v
			reads = append(reads, v.buffer)
		}
		c.done[next.ID] = true
		op += "+project"
	}
	out := c.newTyped(end.end.Shape, channelsLast, yields && c.yieldsBF16(end.end, end.out))
	s := step{op: fmt.Sprintf("%s %dx%d", op, conv.Kernel[0], conv.Kernel[1]), path: node.Path, reads: reads, write: out.buffer}
	sums := -1
	if b.project == nil {
		b.depthwise.BF16 = out.bf16
		if sums = c.rowSums(q, in, out); sums >= 0 {
			s.also = []int{sums}
		}
	}
	c.emitBands(b, s, in, out, sums, residual)
	c.done[node.ID] = true
	c.set(end.end, out)
	return true, nil
}

// emitBands emits the step, whose units are bands.
func (c *compiler) emitBands(b *banded, s step, in, out value, sums int, residual *value) {
	d := &b.depthwise
	// So many rows of the expansion's product at least: they are computed in whole tiles, and few of them
	// twice. An even number of bands is shared alike by two threads.
	const least = 672
	b.rows = alike(d.OutH, max(least/(d.StrideH*d.W), 1))
	perImage := divided(d.OutH, b.rows)
	s.units = out.shape[0] * perImage
	expanded := 0
	if b.expand != nil {
		expanded = ((b.rows-1)*d.StrideH + (d.KernelH-1)*d.DilationH + 1) * d.W * d.C
	}
	convolved := 0
	if b.project != nil {
		convolved = b.rows * d.OutW * words(d.C, d.BF16)
	}
	c.needScratch(expanded + convolved)
	image, result := graph.Numel(in.shape[1:]), graph.Numel(out.shape[1:])
	of := func(st *State, v value, n, size int) []float32 {
		size = words(size, v.bf16)
		return st.buffer(v.buffer)[n*size : (n+1)*size]
	}
	s.run = func(st *State, thread, from, to int) {
		w := bandWorker{banded: b, outBF16: out.bf16, expanded: st.scratch[thread][:expanded], convolved: st.scratch[thread][expanded:], image: -1}
		for u := from; u < to; u++ {
			n, first := u/perImage, u%perImage*b.rows
			w.x, w.y = of(st, in, n, image), of(st, out, n, result)
			if sums >= 0 {
				w.sums = st.buffer(sums)[n*d.OutH*d.C:]
			}
			if residual != nil {
				w.residual, w.residualBF16 = of(st, *residual, n, result), residual.bf16
			}
			w.compute(n, first, min(first+b.rows, d.OutH))
		}
	}
	c.emit(s)
}

// A bandWorker computes bands one after the other; of the expanded rows it keeps those that the next
// band needs too.
type bandWorker struct {
	*banded
	x, y, sums, residual  []float32 // of the image
	outBF16, residualBF16 bool
	expanded, convolved   []float32
	image                 int
	from, to              int // the rows of that image which expanded holds
}

// compute computes the rows [first, last) of image n's result.
func (w *bandWorker) compute(n, first, last int) {
	d := w.depthwise
	a := min(max(first*d.StrideH-d.Top, 0), d.H-1)
	b := max(min((last-1)*d.StrideH-d.Top+(d.KernelH-1)*d.DilationH+1, d.H), a+1)
	line := d.W * d.C
	if w.expand == nil {
		d.X = w.x[a*line : b*line]
	} else {
		w.expandRows(n, a, b)
		d.X = w.expanded[:(b-a)*line]
	}
	// Seen from row a and row first on, the convolution has fewer zeros above.
	d.Top += a - first*d.StrideH
	d.H, d.OutH, d.From, d.To = b-a, last-first, 0, last-first
	if w.sums != nil {
		d.Sums = w.sums[first*d.C:]
	}
	if w.project == nil {
		d.Y = w.y[first*d.OutW*words(d.C, d.BF16):]
		w.set.Depthwise(&d)
		return
	}
	d.Y = w.convolved
	w.set.Depthwise(&d)
	outs := w.project.N
	at := first * d.OutW * outs
	g := kernels.Gemm{M: (last - first) * d.OutW, A: w.convolved, LDA: w.project.K, B: *w.project,
		C: w.y[words(at, w.outBF16):], LDC: words(outs, w.outBF16), CBF16: w.outBF16, Act: w.projectAct}
	if w.residual != nil {
		g.Res, g.LDR, g.ResBF16 = w.residual[words(at, w.residualBF16):], words(outs, w.residualBF16), w.residualBF16
	}
	w.set.Gemm(&g)
}

// expandRows makes expanded hold the rows [a, b) of the expanded image.
func (w *bandWorker) expandRows(n, a, b int) {
	d := &w.depthwise
	line, kept := d.W*d.C, 0
	if n == w.image && w.from <= a && a < w.to {
		kept = w.to - a
		copy(w.expanded, w.expanded[(a-w.from)*line:(w.to-w.from)*line])
	}
	w.image, w.from, w.to = n, a, b
	in := w.expand.K
	w.set.Gemm(&kernels.Gemm{M: (b - a - kept) * d.W, A: w.x[(a+kept)*d.W*in:], LDA: in, B: *w.expand,
		C: w.expanded[kept*line:], LDC: d.C, Act: w.expandAct})
}
