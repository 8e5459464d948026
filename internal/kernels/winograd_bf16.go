package kernels

// Winograd convolution F(2×2, 3×3) for bfloat16: 2 × 2 pixels take 16 multiplications instead of 36.
// F(4×4, 3×3) takes 9 for as many, but rounding the tiles to bfloat16 then costs nine times the error of a
// direct convolution: this costs one and a half times that, since its transforms only add.

func (w *Winograd) checkBF16(input bool) {
	side, c, n := 2, w.C, w.C
	if input || w.BF16 {
		c /= 2
	}
	if input {
		side, n = 4, n/2
	}
	last := (2*(w.Count-1)+side-1)*w.Pixel + (side-1)*w.Row + c - 1
	_, _ = w.Image[last], w.Tiles[15*w.Stride+w.Count*n-1]
	if w.Res != nil {
		_ = w.Res[last]
	}
	if w.C%16 != 0 || !Fused(w.Act) || !input && len(w.Bias) < w.C {
		panic("kernels: Winograd takes multiples of 16 channels, a bias for each, and an activation of registers")
	}
}

// WinogradWeightsBF16 transforms weights [out, 3, 3, in] and packs them for the 16 products.
func (s *Set) WinogradWeightsBF16(weights []float32, out, in int) (packed [16]Packed) {
	copy(packed[:], winogradWeights(weights, out, in, [][3]float64{{1}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}}, s.PackBF16))
	return packed
}

// inputTransform2 is Bᵀ of four numbers, outputTransform2 Aᵀ.
func inputTransform2(d [4]float32) [4]float32 {
	return [4]float32{d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]}
}

func outputTransform2(m [4]float32) [2]float32 {
	return [2]float32{m[0] + m[1] + m[2], m[1] - m[2] - m[3]}
}

func winogradInputBF16Portable(w *Winograd) {
	w.checkBF16(true)
	pixels, out := make([][]float32, 16), make([][]float32, 16)
	for p := range pixels {
		pixels[p], out[p] = make([]float32, w.C), make([]float32, w.C)
	}
	for t := range w.Count {
		for p := range pixels {
			widenPortable(pixels[p], w.Image[(2*t+p%4)*w.Pixel+p/4*w.Row:])
		}
		for c := range w.C {
			var half [4][4]float32
			for x := range 4 {
				for y, v := range inputTransform2([4]float32{pixels[x][c], pixels[4+x][c], pixels[8+x][c], pixels[12+x][c]}) {
					half[y][x] = v
				}
			}
			for y := range 4 {
				for x, v := range inputTransform2(half[y]) {
					out[y*4+x][c] = v
				}
			}
		}
		for p, row := range out {
			narrowPortable(w.Tiles[p*w.Stride+t*w.C/2:], row)
		}
	}
}

func winogradOutputBF16Portable(w *Winograd) {
	w.checkBF16(false)
	row, res := make([]float32, w.C), make([]float32, w.C)
	for t := range w.Count {
		for p := range 4 {
			for c := range row {
				var half [4]float32
				for x := range half {
					at := func(y int) float32 { return w.Tiles[(y*4+x)*w.Stride+t*w.C+c] }
					half[x] = outputTransform2([4]float32{at(0), at(1), at(2), at(3)})[p/2]
				}
				row[c] = outputTransform2(half)[p%2] + w.Bias[c]
			}
			at := (2*t+p%2)*w.Pixel + p/2*w.Row
			if w.Res != nil {
				if w.BF16 {
					widenPortable(res, w.Res[at:])
				} else {
					copy(res, w.Res[at:])
				}
				for c, v := range res {
					row[c] += v
				}
			}
			actPortable(w.Act, row)
			if w.BF16 {
				narrowPortable(w.Image[at:], row)
			} else {
				copy(w.Image[at:], row)
			}
		}
	}
}
