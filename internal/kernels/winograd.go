package kernels

// Winograd convolution F(4×4, 3×3): 4 × 4 pixels of a 3 × 3 convolution take 36 multiplications for
// each pair of channels instead of 144 (Lavin and Gray, https://arxiv.org/abs/1509.09308, whose
// matrices these are). An input tile of 6 × 6 pixels d becomes Bᵀ·d·B; for each of its 36 positions
// the tiles are multiplied with the weights, G·g·Gᵀ, as matrices; a product tile m gives Aᵀ·m·A.

// Winograd describes the transforms of a run of neighbouring tiles of one image. The kernels for bfloat16
// compute F(2×2, 3×3): 4 × 4 pixels become 2 × 2, and distances count words.
type Winograd struct {
	Count, C int // tiles and channels; C is a multiple of 16
	// Image is where the first tile begins: the input's 6 × 6 pixels, or the 4 × 4 of the result. The
	// next tile is 4 pixels further. Row and Pixel are how far rows and pixels lie apart.
	Image      []float32
	Row, Pixel int
	// Tiles holds position p of tile i at p·Stride plus i rows of C numbers: of bfloat16 for the input of
	// F(2×2, 3×3), of float32 otherwise.
	Tiles  []float32
	Stride int
	// The rest is for the result: act(transformed tiles + Bias + Res). Res lies like Image and may be it; nil for none.
	Bias, Res []float32
	Act       Act
	// BF16 says that the result of F(2×2, 3×3) and Res are bfloat16. Act must be one that [Fused] then.
	BF16 bool
}

func (w *Winograd) check(side int) {
	last := (4*(w.Count-1)+side-1)*w.Pixel + (side-1)*w.Row + w.C - 1
	_, _ = w.Image[last], w.Tiles[35*w.Stride+w.Count*w.C-1]
	if w.Res != nil {
		_ = w.Res[last]
	}
	if w.C%16 != 0 {
		panic("kernels: Winograd takes multiples of 16 channels")
	}
}

// WinogradWeights transforms weights [out, 3, 3, in] and packs them for the 36 products.
func (s *Set) WinogradWeights(weights []float32, out, in int) (packed [36]Packed) {
	copy(packed[:], winogradWeights(weights, out, in, [][3]float64{{1.0 / 4}, {-1.0 / 6, -1.0 / 6, -1.0 / 6}, {-1.0 / 6, 1.0 / 6, -1.0 / 6},
		{1.0 / 24, 1.0 / 12, 1.0 / 6}, {1.0 / 24, -1.0 / 12, 1.0 / 6}, {0, 0, 1}}, s.Pack))
	return packed
}

// winogradWeights transforms weights by the matrix G and packs them for each position.
func winogradWeights(weights []float32, out, in int, g [][3]float64, pack func(weights, bias []float32, n, k int) Packed) []Packed {
	side := len(g)
	transformed := make([][]float32, side*side)
	for p := range transformed {
		transformed[p] = make([]float32, out*in)
	}
	rows := make([][3][]float64, side) // G·g, for all inputs
	for r := range rows {
		for c := range 3 {
			rows[r][c] = make([]float64, in)
		}
	}
	for o := range out {
		for c := range 3 {
			taps := func(k int) []float32 { return weights[((o*3+k)*3+c)*in:][:in] }
			w0, w1, w2 := taps(0), taps(1), taps(2)
			for r := range rows {
				g0, g1, g2 := g[r][0], g[r][1], g[r][2]
				for i := range rows[r][c] {
					rows[r][c][i] = g0*float64(w0[i]) + g1*float64(w1[i]) + g2*float64(w2[i])
				}
			}
		}
		for r := range side {
			x0, x1, x2 := rows[r][0], rows[r][1], rows[r][2]
			for c := range side {
				g0, g1, g2 := g[c][0], g[c][1], g[c][2]
				for i := range in {
					transformed[r*side+c][o*in+i] = float32(x0[i]*g0 + x1[i]*g1 + x2[i]*g2)
				}
			}
		}
	}
	// They lie in the order in which they are read.
	packed := make([]Packed, side*side)
	var all []float32
	for p := range packed {
		packed[p] = pack(transformed[p], nil, out, in)
		if p == 0 {
			all = make([]float32, 0, len(packed)*len(packed[0].Data))
		}
		from := len(all)
		all = append(all, packed[p].Data...)
		packed[p].Data = all[from:len(all):len(all)]
	}
	return packed
}

// inputTransform is Bᵀ of six numbers, outputTransform Aᵀ.
func inputTransform(d [6]float32) [6]float32 {
	a, b := d[4]-4*d[2], d[3]-4*d[1]
	c, e := d[4]-d[2], 2*(d[3]-d[1])
	return [6]float32{4*d[0] + (d[4] - 5*d[2]), a + b, a - b, c + e, c - e, 4*d[1] + (d[5] - 5*d[3])}
}

func outputTransform(m [6]float32) [4]float32 {
	a, b := m[1]+m[2], m[1]-m[2]
	c, e := m[3]+m[4], m[3]-m[4]
	return [4]float32{m[0] + a + c, b + 2*e, a + 4*c, b + 8*e + m[5]}
}

func winogradInputPortable(w *Winograd) {
	w.check(6)
	for t := range w.Count {
		for c := range w.C {
			var half [6][6]float32
			for x := range 6 {
				var d [6]float32
				for y := range d {
					d[y] = w.Image[(4*t+x)*w.Pixel+y*w.Row+c]
				}
				for y, v := range inputTransform(d) {
					half[y][x] = v
				}
			}
			for y := range 6 {
				for x, v := range inputTransform(half[y]) {
					w.Tiles[(y*6+x)*w.Stride+t*w.C+c] = v
				}
			}
		}
	}
}

func winogradOutputPortable(w *Winograd) {
	w.check(4)
	for t := range w.Count {
		for c := range w.C {
			var half [4][6]float32
			for x := range 6 {
				var m [6]float32
				for y := range m {
					m[y] = w.Tiles[(y*6+x)*w.Stride+t*w.C+c]
				}
				for y, v := range outputTransform(m) {
					half[y][x] = v
				}
			}
			for y := range 4 {
				for x, v := range outputTransform(half[y]) {
					at := (4*t+x)*w.Pixel + y*w.Row + c
					v += w.Bias[c]
					if w.Res != nil {
						v += w.Res[at]
					}
					w.Image[at] = v
				}
			}
		}
		for y := range 4 {
			for x := range 4 {
				actPortable(w.Act, w.Image[(4*t+x)*w.Pixel+y*w.Row:][:w.C])
			}
		}
	}
}
