package draw

import (
	"math"
	"math/rand/v2"
	"sync"
)

func sqrt(v float32) float32     { return float32(math.Sqrt(float64(v))) }
func sin(v float32) float32      { return float32(math.Sin(float64(v))) }
func cos(v float32) float32      { return float32(math.Cos(float64(v))) }
func abs(v float32) float32      { return max(v, -v) }
func atan2(y, x float32) float32 { return float32(math.Atan2(float64(y), float64(x))) }

// clamp is quicker than min and max, which look for NaN.
func clamp(v, lo, hi float32) float32 {
	if v < lo {
		return lo
	}
	if v > hi {
		return hi
	}
	return v
}

func hypot(x, y float32) float32 { return sqrt(x*x + y*y) }

// smooth rises from 0 at 0 to 1 at 1 without a kink.
func smooth(v float32) float32 {
	v = clamp(v, 0, 1)
	return v * v * (3 - 2*v)
}

// An rgb is a colour in which light adds up: the squares of what a picture stores.
type rgb struct{ r, g, b float32 }

func hex(v uint32) rgb {
	f := func(shift int) float32 {
		c := float32(v>>shift&0xff) / 255
		return c * c
	}
	return rgb{f(16), f(8), f(0)}
}

func (c rgb) times(v float32) rgb { return rgb{c.r * v, c.g * v, c.b * v} }

func mix(a, b rgb, t float32) rgb {
	return rgb{a.r + t*(b.r-a.r), a.g + t*(b.g-a.g), a.b + t*(b.b-a.b)}
}

// The shapes, about the origin.

// everywhere is the shape that has no outside.
var everywhere = shape{99, 99, func(x, y float32) float32 { return -1 }}

func disc(r float32) shape {
	return shape{r, r, func(x, y float32) float32 { return hypot(x, y) - r }}
}

// oval is an ellipse; its distances are right near the outline alone.
func oval(rx, ry float32) shape {
	return shape{rx, ry, func(x, y float32) float32 { return (hypot(x/rx, y/ry) - 1) * min(rx, ry) }}
}

// box has the half sides w and h and corners of radius r.
func box(w, h, r float32) shape {
	return shape{w, h, func(x, y float32) float32 {
		dx, dy := abs(x)-w+r, abs(y)-h+r
		if dx > 0 && dy > 0 {
			return hypot(dx, dy) - r
		}
		if dx > dy {
			return dx - r
		}
		return dy - r
	}}
}

// ring is a circle drawn with a pen of the given width.
func ring(r, width float32) shape {
	return shape{r + width/2, r + width/2, func(x, y float32) float32 { return abs(hypot(x, y)-r) - width/2 }}
}

// leaf is pointed at both ends, at x = ±1, and w wide to each side.
func leaf(w float32) shape {
	r := (1 + w*w) / (2 * w)
	return shape{1, w, func(x, y float32) float32 { return hypot(x, abs(y)+r-w) - r }}
}

// moved shifts a shape to x and y.
func (a shape) moved(x, y float32) shape {
	return shape{a.w + abs(x), a.h + abs(y), func(px, py float32) float32 { return a.at(px-x, py-y) }}
}

// with joins two shapes.
func (a shape) with(b shape) shape {
	return shape{max(a.w, b.w), max(a.h, b.h), func(x, y float32) float32 { return min(a.at(x, y), b.at(x, y)) }}
}

// without takes the part of a shape away for which outside is positive.
func (a shape) without(outside func(x, y float32) float32) shape {
	return shape{a.w, a.h, func(x, y float32) float32 { return max(a.at(x, y), outside(x, y)) }}
}

// rough shifts the outline by about amount, in bumps of about the given size.
func (s *scene) rough(a shape, amount, bumps float32) shape {
	ox, oy, far := s.between(0, 99), s.between(0, 99), 2.5*amount
	return shape{a.w + 1.5*amount, a.h + 1.5*amount, func(x, y float32) float32 {
		d := a.at(x, y)
		if abs(d) > far {
			return d
		}
		return d + amount*noise(x/bumps+ox, y/bumps+oy)
	}}
}

// flat is a material of one colour with rounded edges.
func flat(colour rgb, round, gloss float32) material {
	return func(x, y, d float32) texel {
		return texel{colour.times(1 + 0.1*noise(5*x, 5*y)), dome(d, round), gloss}
	}
}

// dome is the height of an edge that is rounded over the width round.
func dome(d, round float32) float32 {
	t := clamp(1+d/round, 0, 1)
	return round * sqrt(1-t*t) * 0.8
}

// tile is a square of numbers that repeats without a seam.
const tile = 256

// noise is about zero and mostly within ±1, with features of the size of 1 and smaller ones on
// them (fractional Brownian motion).
func noise(x, y float32) float32 { return sample(&clouds, x*32, y*32) }

// grains is the relief of heaped rice, 0 to 1, for grains 1 long.
func grains(x, y float32) float32 { return sample(&rice, x*22, y*22) }

func sample(t *[tile * tile]float32, x, y float32) float32 {
	const positive = 64 * tile // so that cutting off the fraction rounds down
	x, y = x+positive, y+positive
	i, j := int(x), int(y)
	x, y = x-float32(i), y-float32(j)
	i, j = i&(tile-1), j&(tile-1)
	i2, j2 := (i+1)&(tile-1), (j+1)&(tile-1)
	a, b := t[j*tile+i], t[j*tile+i2]
	c, d := t[j2*tile+i], t[j2*tile+i2]
	a, c = a+x*(b-a), c+x*(d-c)
	return a + y*(c-a)
}

func floor(v float32) float32 {
	f := float32(int32(v))
	if f > v {
		f--
	}
	return f
}

// clouds and rice are filled by the first scene.
var (
	clouds, rice [tile * tile]float32
	fillTiles    = sync.OnceFunc(func() { fillClouds(); fillRice() })
)

func fillClouds() {
	rng := rand.New(rand.NewPCG(1, 1))
	for cells, weight := 8, float32(1); cells <= tile/2; cells, weight = cells*2, weight*0.55 {
		lattice := make([]float32, cells*cells)
		for i := range lattice {
			lattice[i] = 2*rng.Float32() - 1
		}
		at := func(i, j int) float32 { return lattice[j%cells*cells+i%cells] }
		for y := range tile {
			for x := range tile {
				fx, fy := float32(x*cells)/tile, float32(y*cells)/tile
				i, j := int(fx), int(fy)
				u, v := smooth(fx-float32(i)), smooth(fy-float32(j))
				top := at(i, j) + u*(at(i+1, j)-at(i, j))
				bottom := at(i, j+1) + u*(at(i+1, j+1)-at(i, j+1))
				clouds[y*tile+x] += weight * (top + v*(bottom-top))
			}
		}
	}
}

func fillRice() {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 1600 {
		x, y, turn := rng.IntN(tile), rng.IntN(tile), 2*math.Pi*rng.Float32()
		c, s, lift := cos(turn), sin(turn), 0.4*rng.Float32()
		for j := -11; j <= 11; j++ {
			for i := -11; i <= 11; i++ {
				u, v := c*float32(i)+s*float32(j), c*float32(j)-s*float32(i)
				if dome := 1 - u*u/121 - v*v/20; dome > 0 {
					grain := &rice[(y+j)&(tile-1)*tile+(x+i)&(tile-1)]
					*grain = max(*grain, lift+0.6*sqrt(dome))
				}
			}
		}
	}
}
