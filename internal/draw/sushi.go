package draw

import "math"

func (s *scene) sushi() {
	piece := pose{turn: s.between(0, 2*math.Pi), size: s.between(0.24, 0.36)}
	rows, columns := 1+s.IntN(3), 2+s.IntN(4)
	kinds := []func(pose){s.nigiri(), s.nigiri(), s.maki(), s.maki(), s.uramaki()}
	for r := range rows {
		kind := pick(s, kinds...)
		for c := range columns {
			if s.chance(0.15) {
				kind = pick(s, kinds...)
			}
			across, along := float32(r)-float32(rows-1)/2, float32(c)-float32(columns-1)/2
			p := piece.at(2.15*across+s.between(-0.1, 0.1), 1.45*along+s.between(-0.1, 0.1))
			p.turn += s.between(-0.15, 0.15)
			kind(p)
		}
	}
	if s.chance(0.5) {
		s.wasabi(s.aside(0.6, 0.9, s.between(0.09, 0.15)))
	}
	if s.chance(0.4) {
		s.ginger(s.aside(0.6, 0.9, 0.14))
	}
}

func (s *scene) wasabi(p pose) {
	paste := func(x, y, d float32) texel {
		n := noise(3*x, 3*y)
		return texel{hex(0x9ab85a).times(1 + 0.2*n), dome(d, 0.8) + 0.12*n, 0.2}
	}
	s.solid(p, s.rough(disc(1), 0.25, 0.7), 0.3, paste, paste)
}

// ginger comes pickled, in thin pink slices.
func (s *scene) ginger(p pose) {
	for range 4 {
		s.solid(p, s.rough(disc(1), 0.3, 0.8), 0.08, flat(hex(0xd98a7a), 0.05, 0.4), func(x, y, d float32) texel {
			n := noise(x, 5*y)
			return texel{mix(hex(0xf2b8a4), hex(0xf6d8c0), smooth(0.5+n)), 0.08 * n, 0.7}
		})
		p = p.at(s.between(-0.7, 0.7), s.between(-0.7, 0.7))
		p.turn++
	}
}

// cooked is rice, in pieces of the given edge.
func cooked(round float32) material {
	white := hex(0xf5f0e4)
	return func(x, y, d float32) texel {
		g := grains(x*3.2, y*3.2)
		return texel{white.times(0.62 + 0.4*g), 0.09*g + dome(d, round), 0.35}
	}
}

// nigiri lies along the x axis: a block of rice under a slice of fish.
func (s *scene) nigiri() func(pose) {
	fish := pick(s, s.fish(hex(0xf08a4a), hex(0xfbd9b8), 1), s.fish(hex(0xf08a4a), hex(0xfbd9b8), 1), s.fish(hex(0xb02a34), hex(0xd06a64), 0.3), s.fish(hex(0xf6d8c4), hex(0xe87a50), 0.8), s.fish(hex(0xf2c84a), hex(0xe8b038), 0.2))
	band := s.chance(0.15)
	return func(p pose) {
		s.solid(p, s.rough(box(0.88, 0.42, 0.25), 0.04, 0.3), 0.35, cooked(0.2), cooked(0.2))
		p.z = 0.35 * p.size
		outline := s.rough(box(1, 0.46, 0.2), 0.08, 0.8)
		s.solid(p, outline, 0.12, fish, fish)
		if band {
			p.z += 0.12 * p.size
			s.paint(p, box(0.16, 0.5, 0.05), flat(hex(0x1c2a1e), 0.3, 0.5))
		}
	}
}

// fish has slanted stripes of fat.
func (s *scene) fish(flesh, fat rgb, share float32) material {
	gap, bend := s.between(0.2, 0.3), s.between(0.3, 0.9)
	return func(x, y, d float32) texel {
		n := noise(2*x, 2*y)
		line := (x+bend*y+0.5*y*y+0.12*n)/gap + 0.3*n
		stripe := share * smooth((0.16-abs(line-floor(line)-0.5))*9)
		return texel{mix(flesh.times(1+0.15*n), fat, stripe), dome(d, 0.3) + 0.02*n - 0.012*stripe, 0.9}
	}
}

// filling paints what is inside a roll: one to three pieces within r.
func (s *scene) filling() func(p pose, r float32) {
	colours := []rgb{hex(0xf08a4a), hex(0x7fae4a), hex(0xb8303a), hex(0xf2d060), hex(0xc8d890), hex(0xf4e4d8)}
	n, first := 1+s.IntN(3), s.IntN(len(colours))
	return func(p pose, r float32) {
		off, w := 0.5*r, 0.55*r
		if n == 1 {
			off, w = 0, 0.9*r
		}
		for i := range n {
			a := 2 * math.Pi * float32(i) / float32(n)
			bite := flat(colours[(first+i*2)%len(colours)], 0.1, 0.7)
			s.paint(p.at(off*cos(a), off*sin(a)), s.rough(box(w, w*0.8, w*0.4), 0.08*r, r), bite)
		}
	}
}

// maki stands on end: a sheet of nori around rice around a filling.
func (s *scene) maki() func(pose) {
	fill := s.filling()
	high, inner := s.between(0.5, 0.9), s.between(0.35, 0.48)
	return func(p pose) {
		p.size *= 0.72
		nori := flat(hex(0x1a241b), 0.08, 0.5)
		outline := s.rough(disc(1), 0.05, 0.9)
		s.solid(p, outline, high, nori, nori)
		p.z += high * p.size
		s.paint(p, s.rough(disc(0.88), 0.05, 0.6), cooked(0.15))
		fill(p, inner)
	}
}

// uramaki is a roll with the rice outside, in sesame or roe.
func (s *scene) uramaki() func(pose) {
	fill := s.filling()
	seed := pick(s, hex(0xe8d8b0), hex(0x1a1815), hex(0xf07020))
	return func(p pose) {
		p.size *= 0.78
		rice := cooked(0.2)
		crumbs := func(x, y, d float32) texel {
			t := rice(x, y, d)
			if g := noise(5*x+3, 5*y); g > 0.45 {
				t.colour, t.gloss = mix(t.colour, seed, smooth((g-0.45)*8)), 0.6
			}
			return t
		}
		outline := s.rough(disc(1), 0.06, 0.5)
		s.solid(p, outline, 0.7, crumbs, crumbs)
		p.z += 0.7 * p.size
		s.paint(p, ring(0.62, 0.09), flat(hex(0x1a241b), 0.05, 0.4))
		fill(p, 0.5)
	}
}
