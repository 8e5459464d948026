package engine

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A product is a convolution or linear layer with what is computed along with it: a batch norm
// folded into its weights, a residual added to its result, an activation.
type product struct {
	node, end       *graph.Node // the layer, and the node whose value it yields
	order           []int       // in which that lies
	weight          []float32   // [out, kernel height, kernel width, in / groups]
	bias            []float32
	out, in, groups int
	residual        *graph.Node
	act             kernels.Act
}

// product emits the step for a convolution or linear layer.
func (c *compiler) product(n *graph.Node, in value) error {
	conv, isConv := n.Op.(graph.Conv2d)
	if isConv {
		in = c.ordered(in, channelsLast)
	} else {
		in = c.lastInner(in, len(in.shape)-1)
	}
	if isConv && depthwise(n) {
		if done, err := c.bands(nil, n, in); done || err != nil {
			return err
		}
	}
	p, err := c.fuse(n, in.order)
	if err != nil {
		return err
	}
	next := c.only(p.end)
	if pointwise(n) && next != nil && in.ld == 0 && p.residual == nil && depthwise(next) {
		if done, err := c.bands(p, next, in); done || err != nil {
			return err
		}
	}
	switch {
	case !isConv:
		in, out := c.typed(p, in)
		g := c.rows(p, in, out)
		g.lying(in.pitch(), c.plan.kernels.LongestRow)
		c.gemm("linear", p, g)
	case p.groups > 1 && p.groups == p.in && p.groups == p.out && p.residual == nil:
		out := c.newTyped(p.end.Shape, in.order, kernels.Fused(p.act) && c.yieldsBF16(p.end, p.out))
		c.set(p.end, out)
		c.depthwise(p, conv, c.widened(in), out)
	case suitsWinograd(n, conv):
		c.winograd(p, conv, in)
	default:
		c.convolution(p, conv, in)
	}
	return nil
}

// typed returns the input of a product in the type that it multiplies, and what the result is written
// to, which becomes the value of p.end.
func (c *compiler) typed(p *product, in value) (value, value) {
	in = c.factor(p.node, in)
	out := c.newTyped(p.end.Shape, p.order, in.bf16 && kernels.FusedBF16(p.act) && c.yieldsBF16(p.end, p.out/p.groups))
	if out.pitch()%aliasing == 0 && c.forProducts(p.end) {
		out.ld = out.pitch() + 16
		c.plan.buffers[out.buffer].size = graph.Numel(out.shape) / p.out * out.ld
	}
	c.set(p.end, out)
	return in, out
}

// forProducts reports whether only products read a node's value, or sums, which most likely become part of
// products.
func (c *compiler) forProducts(n *graph.Node) bool {
	for _, out := range c.outputs.nodes {
		if c.same[out.ID] == n {
			return false
		}
	}
	return !slices.ContainsFunc(c.users[n.ID], func(user *graph.Node) bool {
		_, add := user.Op.(graph.Add)
		return !add && !readsRows(user)
	})
}

// readsRows reports whether a layer is a matrix product on rows, or some of the rows, of its input.
func readsRows(n *graph.Node) bool {
	conv, ok := n.Op.(graph.Conv2d)
	_, linear := n.Op.(graph.Linear)
	return linear || ok && conv.Kernel == [2]int{1, 1} && conv.Pad == [4]int{} && conv.Groups == 1
}

// fuse finds what follows a layer and can be computed with it; order is how its result will lie.
func (c *compiler) fuse(n *graph.Node, order []int) (*product, error) {
	p, err := newProduct(n)
	if err != nil {
		return nil, err
	}
	_, conv := n.Op.(graph.Conv2d)
	p.order = order
	for {
		next := c.only(p.end)
		if next == nil {
			return p, nil
		}
		switch op := next.Op.(type) {
		case graph.BatchNorm:
			// A linear layer's outputs needn't be the norm's channels.
			if p.residual != nil || p.act != kernels.None || !conv {
				return p, nil
			}
			scale, shift, err := foldNorm(op, next.Params)
			if err != nil {
				return nil, err
			}
			p.scale(scale, shift)
		case graph.Permute:
			if conv {
				return p, nil
			}
			p.order = value{shape: p.end.Shape, order: p.order}.permuted(op.Order).order
		case graph.Mul:
			scale := p.channels(c.other(next, p.end))
			if p.residual != nil || p.act != kernels.None || scale == nil {
				return p, nil
			}
			p.scale(scale, make([]float32, p.out))
		case graph.Add:
			other := c.other(next, p.end)
			// The other addend must lie in memory, and alike, by the time the layer runs.
			v, known := c.values[other]
			if p.residual != nil || p.act != kernels.None || !known || v.first != 0 || !slices.Equal(v.shape, p.end.Shape) ||
				!sameOrder(v.shape, v.order, p.order) {
				return p, nil
			}
			p.residual = other
		case graph.Act:
			if p.act != kernels.None {
				return p, nil
			}
			p.act = kernelActs[op]
		default:
			return p, nil
		}
		p.end = next
		c.done[next.ID] = true
	}
}

func newProduct(n *graph.Node) (*product, error) {
	for _, param := range n.Params {
		if param.Data == nil {
			return nil, fmt.Errorf("parameter %s has no values yet", param.Name)
		}
	}
	w := n.Params[0]
	p := &product{node: n, end: n, out: w.Shape[0], in: w.Shape[1], groups: 1, bias: make([]float32, w.Shape[0])}
	if len(n.Params) > 1 {
		copy(p.bias, n.Params[1].Data)
	}
	p.weight = slices.Clone(w.Data)
	if conv, ok := n.Op.(graph.Conv2d); ok {
		p.groups = conv.Groups
		p.in *= conv.Groups
		// From PyTorch's [out, in, kernel height, kernel width] to the channels-last order.
		in, taps := w.Shape[1], conv.Kernel[0]*conv.Kernel[1]
		if taps > 1 {
			for o := range p.out {
				from, to := w.Data[o*in*taps:], p.weight[o*in*taps:]
				for i := range in {
					for t := range taps {
						to[t*in+i] = from[i*taps+t]
					}
				}
			}
		}
	}
	return p, nil
}

// other returns the operand of a binary operation that isn't n.
func (c *compiler) other(binary, n *graph.Node) *graph.Node {
	if a := c.same[binary.In[0].ID]; a != n {
		return a
	}
	return c.same[binary.In[1].ID]
}

// channels returns the values of a parameter that has one for each output, such as ConvNeXt's
// layer scale; nil if n isn't one.
func (p *product) channels(n *graph.Node) []float32 {
	if _, ok := n.Op.(graph.Parameter); !ok || n.Params[0].Numel() != p.out {
		return nil
	}
	channel := p.order[len(p.order)-1]
	if i := channel - len(p.order) + len(n.Shape); i < 0 || n.Shape[i] != p.out {
		return nil
	}
	return n.Params[0].Data
}

// scale multiplies each output by scale and adds shift.
func (p *product) scale(scale, shift []float32) {
	size := len(p.weight) / p.out
	for o, s := range scale {
		for i := range p.weight[o*size : (o+1)*size] {
			p.weight[o*size+i] *= s
		}
		p.bias[o] = p.bias[o]*s + shift[o]
	}
}

// foldNorm returns the scale and shift that a batch norm in eval mode comes to.
func foldNorm(op graph.BatchNorm, params []*graph.Param) (scale, shift []float32, err error) {
	for _, p := range params[:4] {
		if p.Data == nil {
			return nil, nil, fmt.Errorf("parameter %s has no values yet", p.Name)
		}
	}
	weight, bias, mean, variance := params[0].Data, params[1].Data, params[2].Data, params[3].Data
	scale, shift = make([]float32, len(weight)), make([]float32, len(weight))
	for i := range weight {
		s := float64(weight[i]) / math.Sqrt(float64(variance[i])+op.Eps)
		scale[i] = float32(s)
		shift[i] = float32(float64(bias[i]) - float64(mean[i])*s)
	}
	return scale, shift, nil
}

// convolution multiplies the pixels with the weights as they lie if the kernel is 1 × 1; otherwise
// it first gathers the input of a block of pixels, a row for each (im2col).
func (c *compiler) convolution(p *product, conv graph.Conv2d, in value) {
	if stem(p.node, conv) {
		c.stem(p, conv, in)
		return
	}
	in, out := c.typed(p, in)
	g := c.rows(p, in, out)
	if conv.Kernel == [2]int{1, 1} && conv.Stride == [2]int{1, 1} && conv.Pad == [4]int{} && p.groups == 1 {
		g.lying(in.pitch(), c.plan.kernels.LongestRow)
		c.gemm("conv 1x1", p, g)
		return
	}
	g.gather = newWindow(conv, in, out).gather
	g.piece = g.k
	if longest := c.plan.kernels.LongestRow; g.k > 2*longest {
		g.piece = max(longest*conv.Kernel[0]/g.k, 1) * g.k / conv.Kernel[0] // whole lines of the kernel
	}
	c.gemm(fmt.Sprintf("conv %dx%d", conv.Kernel[0], conv.Kernel[1]), p, g)
}

// A gemmStep is a matrix product of a step: rows × k times k × columns.
type gemmStep struct {
	rows     int
	columns  int // of all groups
	k, ld    int // in words of in
	in, out  value
	residual value
	added    bool // whether there is a residual
	reads    []int
	piece    int // how much of a row is multiplied at once
	// gather, if not nil, copies a piece, [from, to) of each row, of the rows [first, first+rows) of a
	// group from the input x to dst, where they lie ld apart. If it is nil the rows lie ready.
	gather func(dst []float32, ld int, x []float32, first, rows, group, from, to int)
}

// kernel returns the kernel's argument for rows from row and columns from column on of the result, with
// the residual.
func (g *gemmStep) kernel(s *State, row, column int) kernels.Gemm {
	k := kernels.Gemm{LDC: g.out.pitch(), CBF16: g.out.bf16}
	k.C = s.buffer(g.out.buffer)[row*k.LDC+words(column, g.out.bf16):]
	if g.added {
		k.ResBF16, k.LDR = g.residual.bf16, g.residualPitch()
		k.Res = s.buffer(g.residual.buffer)[row*k.LDR+words(column, g.residual.bf16):]
	}
	return k
}

// residualPitch is the pitch of the residual's rows as this product sees them, whatever dimensions of size 1 its
// value has.
func (g *gemmStep) residualPitch() int {
	return cmp.Or(g.residual.ld, words(g.columns, g.residual.bf16))
}

// add makes k, for piece i of so many, the sum with the pieces before. Sums are kept in the result or, so
// as not to round them, in a panel of several in partial.
func (g *gemmStep) add(k *kernels.Gemm, i, pieces int, partial []float32, panel, panels int) {
	if pieces == 1 {
		return
	}
	ld := panels * k.B.Width
	if g.out.bf16 {
		partial = partial[panel*k.B.Width:]
	} else {
		partial, ld = k.C, k.LDC
	}
	if i > 0 {
		k.Res, k.LDR, k.ResBF16 = partial, ld, false
	}
	if i < pieces-1 {
		k.C, k.LDC, k.CBF16, k.Act = partial, ld, false, kernels.None
	}
}

// rows describes the product that yields out, a row for each pixel or token.
func (c *compiler) rows(p *product, in, out value) gemmStep {
	g := gemmStep{rows: graph.Numel(out.shape) / p.out, columns: p.out, k: words(len(p.weight)/p.out, in.bf16), in: in, out: out, reads: []int{in.buffer}}
	if p.residual != nil {
		g.residual, g.added = c.rowsOf(p.residual), true
		g.reads = append(g.reads, g.residual.buffer)
	}
	return g
}

// over returns what the result may lie over: the residual, which is read where the result is written.
func (g *gemmStep) over() []int {
	if !g.added || g.residual.buffer == g.in.buffer || g.residual.bf16 != g.out.bf16 || g.residualPitch() != g.out.pitch() {
		return nil
	}
	return []int{g.residual.buffer}
}

// awaited returns the bytes of weights that a product of so many rows waits for: with many rows there is
// time to fetch the next ones while some are multiplied.
func awaited(weights, rows int) int {
	if rows >= 128 {
		return 0
	}
	return weights
}

// aliasing is the number of floats, 4 KiB, of which multiples may not lie between rows: they would push
// each other out of the first-level cache.
const aliasing = 1024

// lying describes rows that lie ld floats apart in memory. They are cut into pieces of at most so many words.
func (g *gemmStep) lying(ld, longest int) {
	g.ld = ld
	pieces := divided(g.k, longest)
	g.piece = (g.k/pieces + 15) / 16 * 16
	if ld%aliasing == 0 {
		g.gather = func(dst []float32, ld int, x []float32, first, rows, _, from, to int) {
			for r := range rows {
				copy(dst[r*ld:], x[(first+r)*g.ld+from:][:to-from])
			}
		}
	}
}

// blocks divides the rows of a product with so many panels of columns into blocks of most rows, or a few
// more, and says how many panels of a block are computed together, of at most so many. Both are chosen so
// that two threads have the same to do.
func (g *gemmStep) blocks(most, panels, together int) (blocks, panelsTogether int) {
	blocks = divided(g.rows, most)
	byPanels := blocks == 1 && (panels%2 == 0 || panels > 8 || g.rows < 24)
	if !byPanels {
		blocks = divided(blocks, 2) * 2
	}
	groups := divided(panels, together)
	if byPanels {
		groups = divided(groups, 2) * 2
	}
	return blocks, divided(panels, groups)
}

// block returns the rows [first, end) of the i-th of so many blocks, which are whole tiles of 12 rows but for
// the last.
func (g *gemmStep) block(i, blocks int) (first, end int) {
	bound := func(i int) int {
		if i == blocks {
			return g.rows
		}
		return i * g.rows / blocks / 12 * 12
	}
	return bound(i), bound(i + 1)
}

func divided(n, by int) int { return (n + by - 1) / by }

// alike returns the size of parts into which n is divided, most at most: two of them or, as far as that
// comes out, an even number, which two threads share alike; n itself if that isn't too many.
func alike(n, most int) int {
	if n <= most {
		return n
	}
	return divided(n, divided(divided(n, most), 2)*2)
}

// gemm emits the step of a product. Its units are blocks of rows, small enough for a block's input to
// stay in a core's cache, times groups of panels of columns: a panel is read once for the block. The
// products of the pieces of long rows are added up in the result.
func (c *compiler) gemm(op string, p *product, g gemmStep) {
	const cached = 512 << 10 // bytes of a block's input
	outs := p.out / p.groups
	set := c.plan.kernels
	panels, together := divided(outs, set.Width), 1
	switch { // which a piece, once in the cache, serves
	case g.gather != nil:
		together = 12
	case g.piece < g.k:
		together = 4
	}
	blocks, together := g.blocks(max(12, min(cached/4/g.piece/12*12, 240)), panels, together)
	tallest := 0
	for i := range blocks {
		first, end := g.block(i, blocks)
		tallest = max(tallest, end-first)
	}
	packed := make([][]kernels.Packed, p.groups) // by piece
	size := len(p.weight) / p.out
	for i := range packed {
		packed[i] = c.packPieces(p.weight[i*outs*size:(i+1)*outs*size], p.bias[i*outs:(i+1)*outs], g.piece, g.in.bf16)
	}
	ld := g.ld
	if g.gather != nil {
		ld = g.piece + 16
	}
	var scratch struct{ gathered, partial int } // words
	if g.gather != nil {
		scratch.gathered = tallest * ld
	}
	if g.out.bf16 && g.piece < g.k {
		scratch.partial = tallest * together * set.Width
	}
	c.needScratch(scratch.gathered + scratch.partial)
	perGroup := divided(panels, together)
	perBlock := p.groups * perGroup
	c.emit(step{
		op: op, path: p.node.Path, units: blocks * perBlock, reads: g.reads, write: g.out.buffer, over: g.over(), weights: awaited(4*words(len(p.weight), g.in.bf16), g.rows),
		run: func(s *State, thread, from, to int) {
			in := s.buffer(g.in.buffer)[g.in.first:]
			rows, partial := s.scratch[thread][:scratch.gathered], s.scratch[thread][scratch.gathered:]
			gathered := [3]int{-1} // the first row, group and piece that rows holds
			for unit := from; unit < to; unit++ {
				first, end := g.block(unit/perBlock, blocks)
				group, panel := unit%perBlock/perGroup, unit%perGroup*together
				m := end - first
				for i, b := range packed[group] {
					a := rows
					if g.gather == nil {
						a = in[first*ld+i*g.piece:]
					} else if id := [3]int{first, group, i}; gathered != id {
						g.gather(rows, ld, in, first, m, group, i*g.piece, i*g.piece+b.K)
						gathered = id
					}
					for j := panel; j < min(panel+together, panels); j++ {
						k := g.kernel(s, first, group*outs+j*set.Width)
						k.M, k.A, k.LDA, k.B, k.Act = m, a, ld, b.Panel(j), p.act
						g.add(&k, i, len(packed[group]), partial, j-panel, together)
						set.Gemm(&k)
					}
				}
			}
		},
	})
}

// A window says which input a convolution's pixels see. Channels are counted in words.
type window struct {
	conv       graph.Conv2d
	h, w, c    int // of the input; c is how far its pixels lie apart
	outH, outW int
	channels   int // of a group
}

func newWindow(conv graph.Conv2d, in, out value) *window {
	return &window{conv: conv, h: in.shape[2], w: in.shape[3], c: in.pitch(), outH: out.shape[2], outW: out.shape[3],
		channels: words(in.shape[1], in.bf16) / conv.Groups}
}

// gather writes what the pixels [first, first+rows) of the result see of a group's channels: a row of
// kernel height × kernel width × channels words for each, zeros outside the image, and of that the
// whole lines of the kernel in [from, to).
func (g *window) gather(dst []float32, ld int, x []float32, first, rows, group, from, to int) {
	kw, c := g.conv.Kernel[1], group*g.channels
	sh, sw := g.conv.Stride[0], g.conv.Stride[1]
	dh, dw := g.conv.Dilation[0], g.conv.Dilation[1]
	line := kw * g.channels
	together := dw == 1 && g.channels == g.c // neighbouring taps lie together
	for i := range rows {
		r := first + i
		n, oy, ox := r/(g.outH*g.outW), r/g.outW%g.outH, r%g.outW
		image := x[n*g.h*g.w*g.c:]
		ix := ox*sw - g.conv.Pad[1]
		lines := dst[i*ld:]
		for ky := from / line; ky < to/line; ky++ {
			row := lines[:line:line]
			lines = lines[line:]
			iy := oy*sh - g.conv.Pad[0] + ky*dh
			if iy < 0 || iy >= g.h {
				clear(row)
				continue
			}
			source := image[iy*g.w*g.c:]
			if together && ix >= 0 && ix+kw <= g.w {
				copy(row, source[ix*g.c:])
				continue
			}
			for kx := range kw {
				to := row[kx*g.channels : (kx+1)*g.channels]
				if at := ix + kx*dw; at < 0 || at >= g.w {
					clear(to)
				} else {
					copy(to, source[at*g.c+c:])
				}
			}
		}
	}
}

// depthwise emits the step of a convolution that treats each channel by itself. Where all that is
// wanted of the result besides its values is their mean, as before squeeze and excitation, the
// rows' sums are kept from the registers.
func (c *compiler) depthwise(p *product, conv graph.Conv2d, in, out value) {
	d := newDepthwise(p, conv, in.shape, out.shape)
	d.BF16 = out.bf16
	sums, units := c.rowSums(p, in, out), divided(d.OutH, kernels.DepthwiseRows) // of an image
	set := c.plan.kernels
	write := step{
		op: fmt.Sprintf("depthwise %dx%d", conv.Kernel[0], conv.Kernel[1]), path: p.node.Path,
		units: out.shape[0] * units, reads: []int{in.buffer}, write: out.buffer,
		run: func(s *State, _, from, to int) {
			x, y := s.buffer(in.buffer), s.buffer(out.buffer)
			for from < to { // image by image
				n := from / units
				end := min((n+1)*units, to)
				d := d
				d.X, d.Y = x[n*d.H*d.W*d.C:], y[n*d.OutH*d.OutW*words(d.C, d.BF16):]
				d.From, d.To = (from-n*units)*kernels.DepthwiseRows, min((end-n*units)*kernels.DepthwiseRows, d.OutH)
				if sums >= 0 {
					d.Sums = s.buffer(sums)[n*d.OutH*d.C:]
				}
				set.Depthwise(&d)
				from = end
			}
		},
	}
	if sums >= 0 {
		write.also = []int{sums}
	}
	c.emit(write)
}

func newDepthwise(p *product, conv graph.Conv2d, in, out []int) kernels.Depthwise {
	d := kernels.Depthwise{H: in[2], W: in[3], C: p.out, OutH: out[2], OutW: out[3],
		KernelH: conv.Kernel[0], KernelW: conv.Kernel[1], StrideH: conv.Stride[0], StrideW: conv.Stride[1],
		DilationH: conv.Dilation[0], DilationW: conv.Dilation[1], Top: conv.Pad[0], Left: conv.Pad[1], Act: p.act}
	d.Pack(p.weight, p.bias)
	return d
}

// rowSums returns the buffer for the sums of a depthwise convolution's rows, -1 if nobody wants them.
func (c *compiler) rowSums(p *product, in, out value) int {
	if !c.pooled(p.end) || !kernels.Fused(p.act) || c.constant(in) != nil {
		return -1
	}
	sums := c.newBuffer(out.shape[0] * out.shape[2] * p.out)
	c.sums[p.end] = sums
	return sums
}

// pooled reports whether a node's mean over the whole image is among what is wanted of it.
func (c *compiler) pooled(n *graph.Node) bool {
	return slices.ContainsFunc(c.users[n.ID], func(user *graph.Node) bool {
		pool, ok := user.Op.(graph.AdaptiveAvgPool)
		return ok && pool.Size == [2]int{1, 1}
	})
}
