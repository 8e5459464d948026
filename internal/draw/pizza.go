package draw

import "math"

func (s *scene) pizza() {
	p := pose{x: s.between(-0.12, 0.12), y: s.between(-0.12, 0.12), turn: s.between(0, 2*math.Pi), size: s.between(0.8, 1.1)}
	crust := s.between(0.11, 0.2)
	outline := disc(0.98)
	switch s.IntN(5) {
	case 0: // a slice is missing
		slice := wedge(s.between(0.3, 0.9))
		outline = outline.without(func(x, y float32) float32 { return -slice(x, y) })
	case 1: // one slice
		outline = outline.without(wedge(s.between(0.35, 0.6)))
		p.size *= 1.35
		p = p.at(-0.62, 0)
	}
	outline = s.rough(outline, 0.035, 0.4)
	s.solid(p, outline, 0.05, flat(hex(0xa8703a), 0.04, 0.1), s.dough(crust))

	toppings := []func(pose){s.pepperoni, s.pepperoni, s.basil, s.mozzarella, s.olive, s.pepper, s.onion, s.mushroom}
	for range 1 + s.IntN(3) {
		topping := pick(s, toppings...)
		for range 8 + s.IntN(14) {
			r, a := (0.9-crust)*sqrt(s.Float32()), s.between(0, 2*math.Pi)
			x, y := r*cos(a), r*sin(a)
			if outline.at(x, y) > -0.07 {
				continue
			}
			at := p.at(x, y)
			at.z, at.turn = 0.05*p.size, s.between(0, 2*math.Pi)
			topping(at)
		}
	}
}

// wedge is positive outside of the angle half to both sides of the x axis.
func wedge(half float32) func(x, y float32) float32 {
	c, si := cos(half), sin(half)
	return func(x, y float32) float32 { return abs(y)*c - x*si }
}

// dough is crust outside, sauce and melted cheese inside.
func (s *scene) dough(crust float32) material {
	baked, cheese := s.between(-0.2, 0.4), s.between(-0.2, 0.7)
	yellow := pick(s, hex(0xf2cf7a), hex(0xf0d9a0), hex(0xe8b850))
	pale, brown, char := hex(0xe2b070), hex(0xa8642c), hex(0x3a2012)
	sauce, thick, toasted := hex(0xb0301a), hex(0x8a2412), hex(0xc07a2c)
	ox, oy := s.between(0, 99), s.between(0, 99)
	return func(x, y, d float32) texel {
		low, high := noise(x*3+ox, y*3+oy), noise(x*9+oy, y*9+ox)
		in := 0.98 - hypot(x, y) + 0.03*low // from the edge of the whole pizza
		t := clamp(in/crust, 0, 1)
		rim := texel{mix(pale, brown, smooth(0.5+0.5*low+baked)), crust * (2.2*t*(1-t) + 0.05*high), 0.15}
		rim.colour = mix(rim.colour, char, 0.85*smooth((high+0.6*low+baked-0.75)*3))

		melted := smooth((low+0.5*high+cheese+(in-crust)*1.5)*2 + 0.3)
		top := texel{mix(sauce, thick, smooth(0.5+high)), 0.02 * high, 0.5}
		gold := mix(yellow, toasted, smooth((high+0.5*low+baked-0.25)*1.6))
		top.colour = mix(top.colour, gold, melted)
		top.height += 0.035*melted + 0.02*low

		edge := smooth((in - crust*0.85) / (0.25 * crust))
		return texel{mix(rim.colour, top.colour, edge), rim.height + edge*(top.height-rim.height), rim.gloss + edge*(top.gloss-rim.gloss)}
	}
}

func (s *scene) pepperoni(p pose) {
	p.size *= s.between(0.1, 0.135)
	red := mix(hex(0xb8392a), hex(0x8a2016), s.Float32())
	outline := s.rough(disc(1), 0.06, 0.8)
	s.shadow(p, outline, 0.12)
	s.paint(p, outline, func(x, y, d float32) texel {
		fat := smooth((noise(3*x, 3*y) - 0.35) * 4)
		colour := mix(red, hex(0xd98a66), 0.5*fat)
		colour = mix(colour, red.times(0.45), smooth((d+0.22)*6))
		return texel{colour, 0.1*smooth((d+0.4)*3) - 0.04*noise(2*x, 2*y), 0.7}
	})
}

func (s *scene) mozzarella(p pose) {
	p.size *= s.between(0.1, 0.2)
	s.paint(p, s.rough(disc(0.9), 0.25, 0.9), func(x, y, d float32) texel {
		return texel{mix(hex(0xf8f1e0), hex(0xe8c98a), smooth(1+d*3)), dome(d, 0.6) * 0.5, 0.6}
	})
}

func (s *scene) olive(p pose) {
	p.size *= s.between(0.05, 0.07)
	black := pick(s, hex(0x1d1a1c), hex(0x5a6428))
	s.shadow(p, ring(0.7, 0.55), 0.2)
	s.paint(p, ring(0.7, 0.55), flat(black, 0.25, 0.9))
}

func (s *scene) pepper(p pose) {
	p.size *= s.between(0.12, 0.18)
	colour := pick(s, hex(0x3f8a2c), hex(0xc23320), hex(0xe0a020))
	arc := s.rough(ring(0.85, 0.24), 0.05, 0.4).without(wedge(s.between(0.8, 2)))
	s.shadow(p, arc, 0.1)
	s.paint(p, arc, flat(colour, 0.1, 0.7))
}

func (s *scene) onion(p pose) {
	p.size *= s.between(0.1, 0.17)
	arc := s.rough(ring(0.85, 0.12), 0.12, 0.7).without(wedge(s.between(1.2, 3.2)))
	s.paint(p, arc, flat(pick(s, hex(0xd9c2d0), hex(0xf0e4cc), hex(0xa8648c)), 0.06, 0.6))
}

func (s *scene) mushroom(p pose) {
	p.size *= s.between(0.1, 0.15)
	cap := disc(0.9).without(func(x, y float32) float32 { return -y - 0.15 }).with(box(0.25, 0.45, 0.15).moved(0, -0.4))
	s.shadow(p, cap, 0.12)
	s.paint(p, cap, func(x, y, d float32) texel {
		return texel{mix(hex(0xd8bf96), hex(0x7a5636), smooth(1.1+d*5)), dome(d, 0.15) + 0.02*noise(3*x, 3*y), 0.3}
	})
}
