package engine

import (
	"fmt"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A block of a mobile network expands its channels by a 1 × 1 convolution, convolves each depthwise,
// and often projects them by another 1 × 1 convolution. What is expanded goes panel of channels by panel of
// channels: the product's panel is convolved while it is at hand, and never lies in memory as an image. Where
// the image still wouldn't stay in a core's cache the block is computed by bands of rows, which do.

// leastBanded is the size in bytes of an expanded image from which on it is computed by bands.
const leastBanded = 576 << 10

// A banded block is computed by bands of rows or by panels.
type banded struct {
	set        *kernels.Set
	depthwise  kernels.Depthwise
	expand     []panel         // nil for none
	project    *kernels.Packed // nil for none
	expandAct  kernels.Act
	projectAct kernels.Act
	rows       int // of the result, in a band
	most       int // rows of the expanded image that a band sees
}

// A panel is what the expansion computes at once, and the convolution of those channels.
type panel struct {
	first     int // channel
	expand    kernels.Packed
	depthwise kernels.Depthwise
}

// panels divides an expansion and the convolution d of its result into panels. Their weights lie in the order in
// which they are needed, since a product fetches what lies ahead of its own.
func panels(expand kernels.Packed, d kernels.Depthwise) []panel {
	var panels []panel
	all := make([]float32, 0, len(expand.Data)+len(d.Taps)+len(d.Minimal)+len(d.Bias))
	move := func(x *[]float32) {
		from := len(all)
		all = append(all, *x...)
		*x = all[from:len(all):len(all)]
	}
	for i := range divided(d.C, expand.Width) {
		p := panel{first: i * expand.Width, expand: expand.Panel(i)}
		p.depthwise = d.Channels(p.first, min(p.first+expand.Width, d.C))
		move(&p.expand.Data)
		if p.depthwise.Minimal != nil {
			move(&p.depthwise.Minimal)
		} else {
			move(&p.depthwise.Taps)
		}
		move(&p.depthwise.Bias)
		panels = append(panels, p)
	}
	return panels
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
	large := 4*mid[1]*mid[2]*mid[3] >= leastBanded
	if !large && expand == nil {
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
		b.expandAct = expand.act
		op = "expand+" + op
	}
	yields := kernels.Fused(q.act) // bfloat16, if that is wanted
	var residual *value
	reads := []int{in.buffer}
	if next := c.only(q.end); large && next != nil && pointwise(next) && q.residual == nil {
		r, err := c.fuse(next, channelsLast)
		if err != nil {
			return false, err
		}
		b.depthwise.BF16 = yields && c.bf16 != nil && evenRows(next)
		yields = b.depthwise.BF16 && kernels.FusedBF16(r.act)
		packed := c.pack(r.weight, r.bias, r.out, r.in, b.depthwise.BF16)
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
	if expand != nil {
		b.expand = panels(c.pack(expand.weight, expand.bias, expand.out, expand.in, in.bf16), b.depthwise)
	}
	if large {
		c.emitBands(b, s, in, out, sums, residual)
	} else {
		c.emitPanels(b, s, in, out, sums)
	}
	c.done[node.ID] = true
	c.set(end.end, out)
	return true, nil
}

// emitBands emits the step, whose units are bands.
func (c *compiler) emitBands(b *banded, s step, in, out value, sums int, residual *value) {
	d := &b.depthwise
	// So many rows of the expansion's product at least: they are computed in whole tiles, and few of them
	// twice. An even number of bands is shared alike by two threads.
	const least, together = 672, kernels.DepthwiseRows
	groups, perImage := divided(d.OutH, together), 1 // of rows that are computed together
	if most := divided(least, d.StrideH*d.W*together); groups > most {
		perImage = divided(divided(groups, most), 2) * 2
	}
	bound := func(band int) int { return min(band*groups/perImage*together, d.OutH) }
	b.rows = divided(groups, perImage) * together
	s.units = out.shape[0] * perImage
	expanded := 0
	if b.expand != nil {
		b.most = min((b.rows-1)*d.StrideH+(d.KernelH-1)*d.DilationH+1, d.H)
		expanded = b.most * d.W * len(b.expand) * b.set.Width
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
			n, band := u/perImage, u%perImage
			w.x, w.y = of(st, in, n, image), of(st, out, n, result)
			if sums >= 0 {
				w.sums = st.buffer(sums)[n*d.OutH*d.C:]
			}
			if residual != nil {
				w.residual, w.residualBF16 = of(st, *residual, n, result), residual.bf16
			}
			w.compute(n, bound(band), bound(band+1))
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
	panel                 kernels.Depthwise
	gemm                  kernels.Gemm
}

// compute computes the rows [first, last) of image n's result.
func (w *bandWorker) compute(n, first, last int) {
	d := w.depthwise
	a := min(max(first*d.StrideH-d.Top, 0), d.H-1)
	b := max(min((last-1)*d.StrideH-d.Top+(d.KernelH-1)*d.DilationH+1, d.H), a+1)
	line := d.W * d.C
	// Seen from row a and row first on, the convolution has fewer zeros above.
	d.Top += a - first*d.StrideH
	d.H, d.OutH, d.From, d.To = b-a, last-first, 0, last-first
	if w.sums != nil {
		d.Sums = w.sums[first*d.C:]
	}
	if w.project == nil {
		d.Y = w.y[first*d.OutW*words(d.C, d.BF16):]
	} else {
		d.Y = w.convolved
	}
	if w.expand == nil {
		d.X = w.x[a*line : b*line]
		w.set.Depthwise(&d)
	} else {
		w.expandRows(n, a, b, &d)
	}
	if w.project == nil {
		return
	}
	outs := w.project.N
	at := first * d.OutW * outs
	g := kernels.Gemm{M: (last - first) * d.OutW, A: w.convolved, LDA: w.project.K, B: *w.project,
		C: w.y[words(at, w.outBF16):], LDC: words(outs, w.outBF16), CBF16: w.outBF16, Act: w.projectAct}
	if w.residual != nil {
		g.Res, g.LDR, g.ResBF16 = w.residual[words(at, w.residualBF16):], words(outs, w.residualBF16), w.residualBF16
	}
	w.set.Gemm(&g)
}

// expandRows makes expanded hold the rows [a, b) of the expanded image, and convolves them by d, each panel
// as soon as it is there.
func (w *bandWorker) expandRows(n, a, b int, whole *kernels.Depthwise) {
	kept := 0
	if n == w.image && w.from <= a && a < w.to {
		kept = w.to - a
	}
	for i := range w.expand {
		p, d := &w.expand[i], &w.panel
		// The same rows of the panel.
		*d = p.depthwise
		in := p.expand.K
		line := d.W * d.C
		d.Top, d.H, d.OutH, d.To, d.BF16 = whole.Top, whole.H, whole.OutH, whole.To, whole.BF16
		d.Y = whole.Y[words(p.first, d.BF16):]
		if whole.Sums != nil {
			d.Sums = whole.Sums[p.first:]
		}
		x := w.expanded[i*w.most*d.W*w.set.Width:]
		if kept > 0 {
			copy(x, x[(a-w.from)*line:(w.to-w.from)*line])
		}
		w.gemm = kernels.Gemm{M: (b - a - kept) * d.W, A: w.x[(a+kept)*d.W*in:], LDA: in, B: p.expand,
			C: x[kept*line:], LDC: d.C, Act: w.expandAct}
		w.set.Gemm(&w.gemm)
		d.X = x[:(b-a)*line]
		w.set.Depthwise(d)
	}
	w.image, w.from, w.to = n, a, b
}

// emitPanels emits the step of an expansion whose images are small, and of the convolution. Its units are
// panels of channels of some images.
func (c *compiler) emitPanels(b *banded, s step, in, out value, sums int) {
	const rows = 256 // of a product
	d := b.depthwise
	images := max(1, min(rows/(d.H*d.W), out.shape[0]))
	pixels, result := d.H*d.W, d.OutH*d.OutW*words(d.C, d.BF16)
	c.needScratch(images * pixels * b.set.Width)
	s.units = divided(out.shape[0], images) * len(b.expand)
	s.weights = awaited(4*len(b.expand)*len(b.expand[0].expand.Data), out.shape[0]*pixels)
	s.run = func(st *State, thread, from, to int) {
		x, y, expanded := st.buffer(in.buffer), st.buffer(out.buffer), st.scratch[thread]
		var gemm kernels.Gemm // one of each, since their address escapes
		var panel kernels.Depthwise
		for u := from; u < to; u++ {
			first, p := u/len(b.expand)*images, &b.expand[u%len(b.expand)]
			last, in := min(first+images, out.shape[0]), p.expand.K
			panel = p.depthwise
			panel.To = panel.OutH
			gemm = kernels.Gemm{M: (last - first) * pixels, A: x[first*pixels*in:], LDA: in, B: p.expand,
				C: expanded, LDC: panel.C, Act: b.expandAct}
			if d.OutH*d.OutW == d.H*d.W {
				gemm.Fetch, gemm.LDF = y[first*result+words(p.first, d.BF16):], words(d.C, d.BF16)
			}
			b.set.Gemm(&gemm)
			for n := first; n < last; n++ {
				panel.X = expanded[(n-first)*pixels*panel.C:]
				panel.Y = y[n*result+words(p.first, d.BF16):]
				if sums >= 0 {
					panel.Sums = st.buffer(sums)[n*d.OutH*d.C+p.first:]
				}
				b.set.Depthwise(&panel)
			}
		}
	}
	c.emit(s)
}
