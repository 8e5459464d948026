package kernels

import "cmp"

// DepthwiseRows is how many rows of a depthwise convolution are computed together.
const DepthwiseRows = 2

// Depthwise describes a depthwise convolution of one image: rows [From, To) of Y, which has OutH ×
// OutW pixels of C floats, from X of H × W pixels. Zeros surround X. Divided into parts, it has the same bits
// where each begins at a multiple of [DepthwiseRows].
type Depthwise struct {
	X, Y                 []float32
	H, W, C              int
	OutH, OutW           int
	KernelH, KernelW     int
	StrideH, StrideW     int
	DilationH, DilationW int
	Top, Left            int // rows and columns of zeros before X
	DepthwiseWeights
	Act      Act
	From, To int
	// RowY and PixelY are the distances between rows and between pixels of Y in words; 0 means that
	// they follow each other.
	RowY, PixelY int
	// Sums, if not nil, receives the sum over each row's pixels of what was computed: [OutH, C], with rows
	// RowSums apart; 0 means that they follow each other.
	Sums    []float32
	RowSums int
	// With BF16, Y is of bfloat16: C is even then, and Act one that [Fused].
	BF16 bool
}

// words returns how many words n numbers of Y take.
func (d *Depthwise) words(n int) int {
	if d.BF16 {
		return n / 2
	}
	return n
}

// strides returns RowY and PixelY.
func (d *Depthwise) strides() (row, pixel int) {
	return cmp.Or(d.RowY, d.OutW*d.words(d.C)), cmp.Or(d.PixelY, d.words(d.C))
}

// sumsOf returns the sums of a row.
func (d *Depthwise) sumsOf(row int) []float32 {
	return d.Sums[row*cmp.Or(d.RowSums, d.C):][:d.C]
}

// Channels returns the convolution of the channels [from, to) alone, from being a multiple of 16: Y and Sums
// are where those of d are, and X is left to be set, to an image of those channels.
func (d *Depthwise) Channels(from, to int) Depthwise {
	p := *d
	p.RowY, p.PixelY = d.strides()
	p.C, p.X, p.RowSums = to-from, nil, cmp.Or(d.RowSums, d.C)
	if d.Y != nil {
		p.Y = d.Y[d.words(from):]
	}
	if d.Sums != nil {
		p.Sums = d.Sums[from:]
	}
	blocks, first, last := (d.C+depthwiseBlock-1)/depthwiseBlock, from/depthwiseBlock, (to+depthwiseBlock-1)/depthwiseBlock
	of := func(x []float32) []float32 { return x[first*(len(x)/blocks) : last*(len(x)/blocks)] }
	p.DepthwiseWeights = DepthwiseWeights{of(d.Taps), of(d.Bias), of(d.Minimal)}
	if d.Minimal == nil {
		p.Minimal = nil
	}
	return p
}

func (d *Depthwise) check() {
	row, pixel := d.strides()
	blocks := (d.C + depthwiseBlock - 1) / depthwiseBlock
	_ = d.X[d.H*d.W*d.C-1]
	_ = d.Y[(d.To-1)*row+(d.OutW-1)*pixel+d.words(d.C)-1]
	if d.BF16 && (d.C%2 != 0 || !Fused(d.Act)) {
		panic("kernels: a depthwise convolution can't yield bfloat16 of so many channels or with this activation")
	}
	_ = d.Taps[blocks*d.KernelH*d.KernelW*depthwiseBlock-1]
	_ = d.Bias[blocks*depthwiseBlock-1]
	if d.Sums != nil {
		_ = d.sumsOf(d.To - 1)
	}
}

// depthwiseBlock is the number of channels in a block of packed weights.
const depthwiseBlock = 16

// DepthwiseWeights are the packed weights of a [Depthwise], see [Depthwise.Pack].
type DepthwiseWeights struct {
	// Taps and Bias are [blocks, taps, 16] and [blocks, 16], in blocks of 16 channels padded with zeros.
	Taps, Bias []float32
	// Minimal are the weights for minimal filtering, [blocks, lines, products, 16]: lines of taps, or of 3 × 3
	// taps at a stride of 1 columns. It is nil if the kernels don't know the size.
	Minimal []float32
}

// Pack packs weights [C, KernelH, KernelW] and biases [C], nil for zeros, for convolutions like d.
func (d *Depthwise) Pack(weights, bias []float32) {
	taps, blocks := d.KernelH*d.KernelW, (d.C+depthwiseBlock-1)/depthwiseBlock
	p := DepthwiseWeights{Taps: make([]float32, blocks*taps*depthwiseBlock), Bias: make([]float32, blocks*depthwiseBlock)}
	copy(p.Bias, bias)
	place := func(packed []float32, ch, of, i int, w float32) {
		packed[(ch/depthwiseBlock*of+i)*depthwiseBlock+ch%depthwiseBlock] = w
	}
	var lines [][]int // of taps that are filtered together
	if d.slides(1) {
		lines = [][]int{{0, 3, 6}, {1, 4, 7}, {2, 5, 8}}
	} else if d.minimal() {
		for y := range d.KernelH {
			line := make([]int, d.KernelW)
			for x := range line {
				line[x] = y*d.KernelW + x
			}
			lines = append(lines, line)
		}
	}
	for ch := range d.C {
		of := weights[ch*taps : (ch+1)*taps]
		for i, w := range of {
			place(p.Taps, ch, taps, i, w)
		}
		var minimal []float32
		for _, line := range lines {
			g := make([]float32, len(line))
			for i, t := range line {
				g[i] = of[t]
			}
			minimal = append(minimal, minimalWeights(g, d.StrideW)...)
		}
		if p.Minimal == nil && minimal != nil {
			p.Minimal = make([]float32, blocks*len(minimal)*depthwiseBlock)
		}
		for i, w := range minimal {
			place(p.Minimal, ch, len(minimal), i, w)
		}
	}
	d.DepthwiseWeights = p
}

// minimal reports whether kernels may compute the convolution by minimal filtering.
func (d *Depthwise) minimal() bool {
	return d.slides(1) || d.DilationH == 1 && d.DilationW == 1 && d.StrideH == d.StrideW &&
		(d.KernelW == 5 && d.StrideW <= 2 || d.KernelW == 7 && d.StrideW == 1)
}

// slides reports whether there are 3 × 3 taps at a stride, which kernels take column by column: at a stride of
// 1 minimal filtering goes down the columns, not along the lines.
func (d *Depthwise) slides(stride int) bool {
	return d.KernelH == 3 && d.KernelW == 3 && d.StrideH == stride && d.StrideW == stride && d.DilationH == 1 && d.DilationW == 1
}

// minimalWeights returns the factors by which the products of a line's data, which asm/strip.go lists, are
// multiplied. Those of F(2, 3) are Winograd's (https://arxiv.org/abs/1509.09308, section 4.1).
func minimalWeights(taps []float32, stride int) []float32 {
	var all []float32
	for phase := range stride {
		var g []float32
		for i := phase; i < len(taps); i += stride {
			g = append(g, taps[i])
		}
		for len(g) > 0 {
			switch {
			case len(g) == 3 || len(g) > 4:
				all = append(all, g[0], (g[0]+g[1]+g[2])/2, (g[0]-g[1]+g[2])/2, g[2])
				g = g[3:]
			case len(g) >= 2:
				all = append(all, g[0], g[0]+g[1], g[1])
				g = g[2:]
			default:
				all = append(all, g[0], -g[0])
				g = nil
			}
		}
	}
	return all
}
