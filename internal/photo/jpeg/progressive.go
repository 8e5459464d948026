package jpeg

// firstDC decodes the first coefficient but for its low bits (T.81, G.1.2.1).
func (b *bits) firstDC(c *[64]int16, t *table, dc *int16, low uint) bool {
	size, ok := b.symbol(t)
	if !ok || size > 15 {
		return false
	}
	*dc += int16(extend(b.take(uint(size)), uint(size)))
	c[0] = *dc << low
	return true
}

// run decodes how many blocks beside this one have no more coefficients, given the symbol for that.
func (b *bits) run(symbol uint8) int {
	size := uint(symbol >> 4)
	return 1<<size + int(b.take(size)) - 1
}

// firstAC decodes other coefficients but for their low bits (T.81, G.1.2.2).
func (b *bits) firstAC(c *[64]int16, t *table, sc *scan) bool {
	if sc.endRun > 0 {
		sc.endRun--
		return true
	}
	for k := sc.from; k <= sc.to; k++ {
		symbol, ok := b.symbol(t)
		if !ok {
			return false
		}
		skip, size := int(symbol>>4), uint(symbol&15)
		if size == 0 && skip < 15 {
			sc.endRun = b.run(symbol)
			return true
		}
		if k += skip; k > sc.to {
			return false
		}
		if size > 0 {
			c[zigzag[k]] = int16(extend(b.take(size), size) << sc.low)
		}
	}
	return true
}

// refineAC decodes one more bit of coefficients (T.81, G.1.2.3).
func (b *bits) refineAC(c *[64]int16, t *table, sc *scan) bool {
	k := sc.from
	for sc.endRun == 0 && k <= sc.to {
		symbol, ok := b.symbol(t)
		if !ok {
			return false
		}
		skip, size := int(symbol>>4), symbol&15
		value := int16(0)
		switch {
		case size == 0 && skip < 15:
			sc.endRun = b.run(symbol) + 1
			continue
		case size == 1:
			value = 1 << sc.low
			if b.take(1) == 0 {
				value = -value
			}
		case size > 1:
			return false
		}
		if k = b.refine(c, k, skip, sc); k > sc.to {
			return false
		}
		if value != 0 {
			c[zigzag[k]] = value
		}
		k++
	}
	if sc.endRun > 0 {
		sc.endRun--
		b.refine(c, k, 64, sc)
	}
	return true
}

// refine reads a bit for each coefficient from k on that isn't zero, and returns where there is a zero after skip others.
func (b *bits) refine(c *[64]int16, k, skip int, sc *scan) int {
	for ; k <= sc.to; k++ {
		v := &c[zigzag[k]]
		switch {
		case *v == 0 && skip == 0:
			return k
		case *v == 0:
			skip--
		case b.take(1) == 0:
		case *v > 0:
			*v += 1 << sc.low
		default:
			*v -= 1 << sc.low
		}
	}
	return k
}
