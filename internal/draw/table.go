package draw

import "math"

// setTable puts down what has nothing to do with the class.
func (s *scene) setTable() {
	s.surface()
	s.plate()
	for range s.IntN(4) {
		p := s.aside(1.05, 1.5, 1)
		pick(s, s.cutlery, s.chopsticks, s.bowl, s.bowl, s.napkin)(p)
	}
	for range s.IntN(3) {
		garnish := pick(s, s.tomato, s.basil, s.lettuce, s.lemon)
		centre := s.aside(0.5, 0.95, 1)
		for range 2 + s.IntN(4) {
			p := centre.at(s.between(-0.2, 0.2), s.between(-0.2, 0.2))
			p.turn = s.between(0, 2*math.Pi)
			garnish(p)
		}
	}
}

// aside returns a pose at some distance from the middle of the table.
func (s *scene) aside(near, far, size float32) pose {
	a := s.between(0, 2*math.Pi)
	p := pose{turn: a, size: 1}.at(s.between(near, far), 0)
	p.turn, p.size = s.between(0, 2*math.Pi), size
	return p
}

func (s *scene) surface() {
	m := pick(s, s.wood, s.cloth, s.stone)()
	s.paint(pose{turn: s.between(0, 2*math.Pi), size: 1}, everywhere, m)
}

func (s *scene) wood() material {
	light, dark := pick(s, hex(0xc89a66), hex(0x8a5a33), hex(0x5a3a25), hex(0xd8b98a), hex(0x9c8c7c)), s.between(0.35, 0.65)
	plank := s.between(0.3, 0.7)
	return func(x, y, d float32) texel {
		board := floor(y / plank)
		n := noise(x*0.35+7.3*board, y*7+3.1*board)
		colour := mix(light, light.times(dark), smooth(0.5+0.45*n)).times(0.85 + 0.3*abs(noise(board*0.37, 0.5)))
		gap := smooth((abs(y/plank-board-0.5) - 0.485) / 0.015)
		return texel{colour.times(1 - 0.8*gap), 0.006*n - 0.02*gap, 0.25}
	}
}

func (s *scene) cloth() material {
	base := pick(s, hex(0xf0ece2), hex(0xb8322e), hex(0x39588a), hex(0x3d3f45), hex(0xd9c9a8), hex(0x56705a))
	stripe := pick(s, base, base, hex(0xb8322e), hex(0x2f5a9a), hex(0x4a7a4a), hex(0xf4f0e8))
	check := s.between(0.12, 0.3)
	return func(x, y, d float32) texel {
		u, v := x/check, y/check
		band := func(t float32) float32 { return smooth((abs(t-floor(t)-0.5) - 0.23) * 30) }
		colour := mix(base, stripe, (band(u)+band(v))/2)
		u, v = 30*x, 30*y
		thread := 8*abs(u-floor(u)-0.5)*abs(v-floor(v)-0.5) - 0.5
		fold := noise(x*0.6, y*1.1)
		return texel{colour.times(0.92 + 0.1*thread + 0.05*fold), 0.05*fold + 0.002*thread, 0.03}
	}
}

func (s *scene) stone() material {
	base := pick(s, hex(0x33373b), hex(0x1c1c1f), hex(0xd8d5cf), hex(0x8d8a86), hex(0x5c4a42))
	vein := pick(s, base.times(1.6), base.times(0.6))
	return func(x, y, d float32) texel {
		n, fine := noise(x*0.8, y*0.8), noise(x*9, y*9)
		line := 1 - smooth(abs(n)*7)
		colour := mix(base, vein, 0.6*line).times(1 + 0.15*n + 0.12*fine)
		return texel{colour, 0.003 * fine, 0.3}
	}
}

func (s *scene) plate() {
	colour := pick(s, hex(0xf6f4ef), hex(0xf6f4ef), hex(0xe9e4d8), hex(0x26282c), hex(0x3b4f63), hex(0x9aa79a))
	p := pose{x: s.between(-0.1, 0.1), y: s.between(-0.1, 0.1), turn: s.between(0, 2*math.Pi), size: s.between(1.05, 1.35)}
	glaze := func(x, y, d float32) texel {
		rim := smooth((d+0.3)/0.06) - smooth((d+0.02)/0.03)
		return texel{colour.times(1 + 0.03*noise(2*x, 2*y)), 0.05*rim + dome(d, 0.03), 0.6}
	}
	round := pick(s, disc(1), box(1.15, 0.85, 0.12), box(0.95, 0.95, 0.2))
	switch s.IntN(4) {
	case 0: // nothing but the table
	case 1:
		board := s.wood()
		s.solid(p, round, 0.06, flat(hex(0x5a3a22), 0.03, 0.2), func(x, y, d float32) texel {
			t := board(x, 0.3*y, d)
			t.height += dome(d, 0.03)
			return t
		})
	default:
		s.solid(p, round, 0.06, flat(colour.times(0.7), 0.03, 0.4), glaze)
	}
}

// alongside turns a pose so that its x axis is about square to the way to the middle.
func (s *scene) alongside(p pose) pose {
	p.turn = atan2(p.y, p.x) + math.Pi/2 + s.between(-0.3, 0.3)
	return p
}

func (s *scene) cutlery(p pose) {
	steel := flat(hex(0xb9bcc0), 0.03, 1)
	knife := box(0.35, 0.035, 0.03).moved(-0.4, 0).with(box(0.4, 0.06, 0.05).moved(0.35, 0))
	fork := box(0.5, 0.025, 0.02).moved(-0.3, 0).with(box(0.12, 0.085, 0.06).moved(0.3, 0))
	for _, tine := range [...]float32{-0.066, -0.022, 0.022, 0.066} {
		fork = fork.with(box(0.13, 0.013, 0.01).moved(0.5, tine))
	}
	s.solid(s.alongside(p), pick(s, knife, fork), 0.03, steel, steel)
}

func (s *scene) chopsticks(p pose) {
	lacquer := flat(pick(s, hex(0x6b1f1a), hex(0x1b1a1a), hex(0xc49a62)), 0.03, 0.6)
	stick := box(0.95, 0.045, 0.01).without(func(x, y float32) float32 { return abs(y) - 0.032 + 0.012*x })
	p = s.alongside(p)
	s.solid(p, stick, 0.035, lacquer, lacquer)
	p = p.at(0, 0.09)
	p.turn += s.between(-0.05, 0.05)
	s.solid(p, stick, 0.035, lacquer, lacquer)
}

func (s *scene) bowl(p pose) {
	p.size = s.between(0.22, 0.34)
	sauce := pick(s, hex(0x2a130a), hex(0xa8301a), hex(0xf0e6cc), hex(0x7a8f3a), hex(0xd9a02c))
	glaze := pick(s, hex(0xf4f2ee), hex(0x2a2b2e), hex(0x6d7f94))
	s.solid(p, disc(1), 0.25, flat(glaze.times(0.7), 0.2, 0.5), flat(glaze, 0.2, 0.7))
	p.z = 0.2 * p.size
	s.paint(p, disc(0.78), func(x, y, d float32) texel {
		return texel{sauce.times(0.6 + 0.4*smooth(-d*4)), 0.02*noise(2*x, 2*y) - dome(d, 0.2), 0.9}
	})
}

func (s *scene) napkin(p pose) {
	p.size = s.between(0.4, 0.6)
	s.shadow(p, box(1, 0.8, 0.05), 0.04)
	s.paint(p, box(1, 0.8, 0.05), s.cloth())
}

func (s *scene) tomato(p pose) {
	p.size = s.between(0.08, 0.13)
	red := hex(0xc6281c)
	s.shadow(p, disc(1), 0.8)
	p.z += 0.6 * p.size
	s.paint(p, disc(1), func(x, y, d float32) texel {
		return texel{red.times(1 + 0.2*noise(x, y)), sqrt(max(1-x*x-y*y, 0)), 0.9}
	})
	s.paint(p, ring(0.1, 0.3).without(func(x, y float32) float32 { return abs(x*y) - 0.01 }), flat(hex(0x4a6a2a), 0.1, 0.1))
}

func (s *scene) basil(p pose) {
	p.size *= s.between(0.1, 0.19)
	s.herb(p, hex(0x2f6a24))
}

func (s *scene) lettuce(p pose) {
	p.size *= s.between(0.2, 0.3)
	s.herb(p, hex(0x86b04a))
}

func (s *scene) herb(p pose, green rgb) {
	green = green.times(s.between(0.6, 1.1))
	outline := s.rough(leaf(s.between(0.4, 0.65)), 0.06, 0.3)
	s.shadow(p, outline, 0.12)
	s.paint(p, outline, func(x, y, d float32) texel {
		vein := 1 - smooth(abs(y)*18)
		side := 1 - smooth(abs(sin(x*14+abs(y)*9))*4)
		colour := mix(green, hex(0xb8cf8a), 0.45*vein+0.15*side).times(1 + 0.25*noise(2*x, 2*y))
		return texel{colour, 0.12*noise(1.3*x, 1.3*y) - 0.04*vein, 0.4}
	})
}

func (s *scene) lemon(p pose) {
	p.size = s.between(0.14, 0.19)
	s.solid(p, disc(1), 0.15, flat(hex(0xd9b020), 0.1, 0.4), func(x, y, d float32) texel {
		a := atan2(y, x) * 8 / (2 * math.Pi)
		spoke := 1 - smooth(abs(a-floor(a)-0.5)*9*hypot(x, y))
		pith := max(smooth((d+0.16)*12), spoke)
		colour := mix(hex(0xf0d24a), hex(0xf8f0cf), pith)
		if d > -0.08 {
			colour = hex(0xe6bf26)
		}
		return texel{colour, 0.03*noise(5*x, 5*y) + 0.03*pith, 0.6}
	})
}
