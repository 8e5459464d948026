package draw

import "math"

func (s *scene) steak() {
	p := pose{x: s.between(-0.15, 0.15), y: s.between(-0.15, 0.15), turn: s.between(0, 2*math.Pi), size: s.between(0.65, 0.95)}
	switch s.IntN(3) {
	case 0:
		s.slices(p)
	case 1:
		s.slab(p, 0.6)
		p = p.at(0.7, 0)
		s.slices(p)
	default:
		s.slab(p, 1)
	}
	s.dressing(p)
}

// slab is a piece of seared meat, as wide as the share of a whole steak.
func (s *scene) slab(p pose, share float32) {
	outline := s.rough(oval(share, s.between(0.55, 0.8)), 0.16, s.between(0.6, 1))
	high := s.between(0.15, 0.28)
	raw := s.between(0, 0.5)
	side := func(x, y, d float32) texel {
		n := noise(3*x, 3*y)
		return texel{mix(hex(0x4a2716), hex(0x9a4a3a), smooth(raw+0.4*n)).times(0.8), 0.03 * n, 0.4}
	}
	s.solid(p, outline, high, side, s.seared())
}

// seared is browned meat with a rim of fat along one side and maybe the marks of a grill.
func (s *scene) seared() material {
	brown := mix(hex(0x8a5232), hex(0x54301e), s.Float32())
	gap, way, marks := s.between(0.17, 0.28), s.between(0, math.Pi), s.IntN(3)
	fat, fx, fy := s.between(-0.05, 0.11), cos(way), sin(way)
	seared, burnt, tallow, charred := hex(0xb07048), hex(0x1a0e09), hex(0xe8cf9a), hex(0xb07a3c)
	var directions [2][2]float32
	for i := range directions {
		directions[i] = [2]float32{cos(way+1.2*float32(i)) / gap, sin(way+1.2*float32(i)) / gap}
	}
	ox, oy := s.between(0, 99), s.between(0, 99)
	return func(x, y, d float32) texel {
		low, high, fibre := noise(2*x+ox, 2*y+oy), noise(8*x+oy, 8*y+ox), noise(2.5*x+ox, 14*y)
		colour := mix(brown, brown.times(0.3), smooth(0.45+0.5*low+0.3*high))
		colour = mix(colour, seared, 0.5*smooth(fibre+0.4*high-0.3))
		height := 0.02*low + 0.018*high + 0.012*fibre + dome(d, 0.12)
		for _, way := range directions[:marks] {
			line := way[0]*x + way[1]*y
			mark := smooth((0.19 - abs(line-floor(line)-0.5) + 0.05*high) * 12)
			colour = mix(colour, burnt, 0.9*mark)
			height -= 0.02 * mark
		}
		rim := smooth((d+fat*(1+0.5*low))*18) * smooth((fx*x+fy*y)*4)
		colour = mix(colour, mix(tallow, charred, smooth(0.3+high)), rim)
		return texel{colour, height, 0.75}
	}
}

// slices lie fanned, with their cut sides up.
func (s *scene) slices(p pose) {
	n := 4 + s.IntN(4)
	step, lean := s.between(0.2, 0.3), s.between(-0.12, 0.12)
	done := s.between(0, 1)
	for i := range n {
		at := float32(i) - float32(n-1)/2
		q := p.at(step*at, s.between(-0.04, 0.04))
		q.turn += lean*at + s.between(-0.05, 0.05)
		long := s.between(0.45, 0.6) - 0.02*at*at
		outline := s.rough(box(0.17, long, 0.13), 0.06, 0.5)
		s.solid(q, outline, 0.08, flat(hex(0x3a1f12), 0.05, 0.3), s.cutMeat(done))
	}
}

// cutMeat is dark at its edge and pink to red within; done is 0 for rare, 1 for well done.
func (s *scene) cutMeat(done float32) material {
	core := mix(hex(0xb83a3a), hex(0xb8806a), done)
	grey, crust, fat := hex(0x9a6a50), hex(0x3e2113), hex(0xe8c8b0)
	ox, oy := s.between(0, 99), s.between(0, 99)
	return func(x, y, d float32) texel {
		n, fibre := noise(3*x+ox, 3*y), noise(16*x, 4*y+oy)
		colour := mix(grey, core, smooth((-d-0.05+0.02*n)*14))
		colour = mix(colour, fat, 0.35*smooth(fibre-0.3))
		colour = mix(crust, colour, smooth((-d-0.02+0.012*n)*40))
		return texel{colour.times(1 + 0.12*fibre), 0.018*fibre + 0.02*n + dome(d, 0.06), 0.7}
	}
}

// dressing is what a cook puts on a steak.
func (s *scene) dressing(p pose) {
	somewhere := func(within float32) pose {
		q := p.at(s.between(-within, within), s.between(-within, within))
		q.turn = s.between(0, 2*math.Pi)
		return q
	}
	if s.chance(0.45) {
		s.rosemary(somewhere(0.25))
	}
	if s.chance(0.3) {
		q := somewhere(0.25)
		q.size *= 0.16
		q.z = 0.15
		butter := flat(hex(0xf2dc86), 0.2, 0.8)
		s.solid(q, box(0.9, 0.7, 0.2), 0.3, butter, butter)
	}
	for range s.IntN(40) {
		q := somewhere(0.5)
		q.size = s.between(0.006, 0.014)
		s.paint(q, disc(1), flat(pick(s, hex(0xf4f0e8), hex(0x141210)), 0.5, 0.3))
	}
}

func (s *scene) rosemary(p pose) {
	p.size *= s.between(0.35, 0.5)
	p.z = 0.15
	green := hex(0x3c5a30).times(s.between(0.8, 1.3))
	needle, stem := box(0.16, 0.026, 0.02), box(1, 0.025, 0.02)
	sprig := shape{1.05, 0.4, func(x, y float32) float32 {
		y += 0.1 * x * x
		u, v := x-0.14*floor(x/0.14)-0.07, abs(y)-0.14
		return min(stem.at(x, y), max(needle.at(0.6*u+0.8*v, 0.8*u-0.6*v), abs(x)-0.95))
	}}
	s.shadow(p, sprig, 0.06)
	s.paint(p, sprig, flat(green, 0.03, 0.3))
}
