package draw

import (
	"image"
	"math"
	"math/rand/v2"
)

const size = 512 // pixels, the side of a picture

// A texel is what a pixel shows before the light is put on.
type texel struct {
	colour rgb
	height float32 // in pixels; only its slope matters
	gloss  float32 // 0 dull to 1 wet
}

// A scene is a table with food on it, a camera above and a lamp. The table is a plane with the
// food about its origin; a dinner plate has a radius of about 1.2.
type scene struct {
	*rand.Rand
	texels []texel
	camera camera
	lamp   lamp
	film   film
}

// A camera looks at the point (x, y) of the table. It sees about scale to each side of it.
type camera struct {
	x, y, cos, sin float32
	scale          float32
	squash         float32 // 1 from right above, less at a slant
	lift           float32 // how far something a unit high appears to be moved away
	perspective    float32
}

// A lamp shines from the direction x, y, z of length 1, in the axes of the picture.
type lamp struct {
	x, y, z float32
	ambient float32
	colour  rgb
}

// A film is what happens to the light after the lens.
type film struct {
	exposure float32
	vignette float32 // what is lost at the middle of an edge
	slope    float32 // what is gained there towards the lamp
	grain    float32
	seed     uint32
}

func newScene(rng *rand.Rand) *scene {
	fillTiles()
	s := &scene{Rand: rng, texels: make([]texel, size*size)}
	turn := s.between(0, 2*math.Pi)
	squash := min(1, s.between(0.6, 1.15))
	s.camera = camera{
		x: s.between(-0.3, 0.3), y: s.between(-0.3, 0.3), cos: cos(turn), sin: sin(turn),
		scale:       s.between(0.65, 1.5),
		squash:      squash,
		lift:        sqrt(1-squash*squash) / squash,
		perspective: 0.5 * (1 - squash),
	}
	from, steep := s.between(0, 2*math.Pi), s.between(0.5, 1.2)
	s.lamp = lamp{
		x: cos(from) * cos(steep), y: sin(from) * cos(steep), z: sin(steep),
		ambient: s.between(0.35, 0.6),
		colour:  mix(rgb{0.85, 0.97, 1.15}, rgb{1.25, 1, 0.66}, s.between(0.15, 1)),
	}
	s.film = film{s.between(0.65, 1.3), s.between(0, 0.25), s.between(0, 0.3), s.between(0, 0.08), s.Uint32()}
	return s
}

func (s *scene) between(lo, hi float32) float32 { return lo + (hi-lo)*s.Float32() }

func (s *scene) chance(p float32) bool { return s.Float32() < p }

// pick returns one of the choices.
func pick[T any](s *scene, choices ...T) T { return choices[s.IntN(len(choices))] }

// A pose puts a thing of the given size on the table, at x, y and z above it.
type pose struct{ x, y, z, turn, size float32 }

// at returns the pose of a part that lies at x and y in the axes and units of the whole.
func (p pose) at(x, y float32) pose {
	c, s := cos(p.turn)*p.size, sin(p.turn)*p.size
	p.x, p.y = p.x+c*x-s*y, p.y+s*x+c*y
	return p
}

// A shape is an outline: at is a point's signed distance from it, negative inside, and all of the
// inside lies within w and h of the origin.
type shape struct {
	w, h float32
	at   func(x, y float32) float32
}

// A material is what a thing shows at a point that lies -d inside its outline.
type material func(x, y, d float32) texel

// each visits the pixels on which a thing with the half sides w and h may lie. x, y and the width
// of a pixel, px, are in the thing's own units.
func (s *scene) each(p pose, w, h float32, visit func(t *texel, x, y, px float32)) {
	c, pcos, psin := s.camera, cos(p.turn), sin(p.turn)
	first, last := c.rows(p, hypot(w, h)*p.size)
	for j := first; j < last; j++ {
		v := (float32(j)+0.5)/(size/2) - 1
		zoom := c.scale / (1 + c.perspective*v)
		gx, gy := (0.5/(size/2)-1)*zoom, v*zoom/c.squash+p.z*c.lift
		tx, ty := c.cos*gx-c.sin*gy+c.x-p.x, c.sin*gx+c.cos*gy+c.y-p.y
		x, y := (pcos*tx+psin*ty)/p.size, (pcos*ty-psin*tx)/p.size
		px := zoom / (size / 2) / p.size
		dx, dy := px*(pcos*c.cos+psin*c.sin), px*(pcos*c.sin-psin*c.cos)
		a0, a1 := within(x, dx, w+px)
		b0, b1 := within(y, dy, h+px)
		row := s.texels[j*size:][:size]
		for i := max(a0, b0); i < min(a1, b1); i++ {
			visit(&row[i], x+float32(i)*dx, y+float32(i)*dy, px)
		}
	}
}

// within returns the pixels i of a row for which start+i*step is at most limit from zero.
func within(start, step, limit float32) (i0, i1 int) {
	if abs(step) < 1e-9 {
		step = 1e-9
	}
	a, b := (-limit-start)/step, (limit-start)/step
	return int(clamp(min(a, b), 0, size)), int(clamp(max(a, b)+1, 0, size))
}

// rows returns the rows of pixels that a disc on the table may cover.
func (c camera) rows(p pose, radius float32) (first, last int) {
	tx, ty := p.x-c.x, p.y-c.y
	gy := c.cos*ty - c.sin*tx - p.z*c.lift
	row := func(gy float32) float32 {
		a := gy * c.squash / c.scale
		v := a / max(1-c.perspective*a, 0.1)
		return clamp((v+1)*size/2, -1, size+1)
	}
	return max(int(row(gy-radius))-1, 0), min(int(row(gy+radius))+2, size)
}

// paint covers what lies inside the outline with the material.
func (s *scene) paint(p pose, outline shape, m material) {
	relief := p.size * size / 2 / s.camera.scale
	s.each(p, outline.w, outline.h, func(t *texel, x, y, px float32) {
		d := outline.at(x, y)
		a := 0.5 - d/px
		if a <= 0 {
			return
		}
		top := m(x, y, d)
		top.height *= relief
		if a >= 1 {
			*t = top
			return
		}
		t.colour = mix(t.colour, top.colour, a)
		t.height += a * (top.height - t.height)
		t.gloss += a * (top.gloss - t.gloss)
	})
}

// shadow darkens what lies below and beside a thing that is high units thick.
func (s *scene) shadow(p pose, outline shape, high float32) {
	x, y := s.inAxesOf(p, s.lamp.x, s.lamp.y)
	length, soft := 0.6*high*min(1/s.lamp.z, 2), 0.02+0.8*high
	p.z = 0
	grow := length + soft
	s.each(p, outline.w+grow, outline.h+grow, func(t *texel, px, py, _ float32) {
		// Far inside, the thing itself will hide the table.
		if d := outline.at(px+length*x, py+length*y); d < soft && d > -length-soft {
			t.colour = t.colour.times(1 - 0.62*smooth((soft-d)/(1.6*soft)))
		}
	})
}

// inAxesOf turns a direction in the picture into one in a thing's own axes.
func (s *scene) inAxesOf(p pose, x, y float32) (float32, float32) {
	x, y = s.camera.cos*x-s.camera.sin*y, s.camera.sin*x+s.camera.cos*y
	c, si := cos(p.turn), sin(p.turn)
	return c*x + si*y, c*y - si*x
}

// solid puts a thing on the table that is high units thick: its shadow, its side and its top.
func (s *scene) solid(p pose, outline shape, high float32, side, top material) {
	s.shadow(p, outline, high)
	if rise := high * s.camera.lift; rise > 0 {
		// From the table's plane to the top, the outline moves away from the viewer.
		x, y := s.inAxesOf(p, 0, rise)
		s.paint(p, shape{outline.w + rise, outline.h + rise, func(px, py float32) float32 {
			d := outline.at(px+x, py+y)
			if d < -0.05 {
				return 1 // the top covers it
			}
			for t := float32(0); t < 1 && d > 0; t += 0.25 {
				d = min(d, outline.at(px+t*x, py+t*y))
			}
			return d
		}}, side)
	}
	p.z += high * p.size
	s.paint(p, outline, top)
}

// develop puts the light on the scene and takes the picture.
func (s *scene) develop() *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	l := s.lamp
	// Blinn and Phong's highlight, between the lamp and the viewer.
	hx, hy, hz := l.x, l.y+0.3*s.camera.lift, l.z+1
	h := 1 / sqrt(hx*hx+hy*hy+hz*hz)
	hx, hy, hz = hx*h, hy*h, hz*h
	f, dust := s.film, s.film.seed
	for j := range size {
		row := s.texels[j*size:][:size]
		up, down := s.texels[max(j-1, 0)*size:][:size], s.texels[min(j+1, size-1)*size:][:size]
		pix := img.Pix[j*img.Stride:][:4*size]
		v := float32(j)/(size/2) - 1
		for i := range row {
			t := &row[i]
			nx := (row[max(i-1, 0)].height - row[min(i+1, size-1)].height) / 2
			ny := (up[i].height - down[i].height) / 2
			n := 1 / sqrt(nx*nx+ny*ny+1)
			lit := l.ambient + (1-l.ambient)*clamp((nx*l.x+ny*l.y+l.z)*n/l.z, 0, 2.2)
			shine := clamp((nx*hx+ny*hy+hz)*n, 0, 1)
			for range 6 { // to the power of 64
				shine *= shine
			}
			u := float32(i)/(size/2) - 1
			dust = dust*1664525 + 1013904223 // Numerical Recipes' quick generator
			e := f.exposure * (1 - f.vignette*(u*u+v*v)) * (1 + f.slope*(u*l.x+v*l.y)) * (1 + f.grain*(float32(dust>>8)/(1<<23)-1))
			shine *= 0.35 * t.gloss
			k := pix[4*i:][:4]
			k[0] = expose((t.colour.r*lit + shine) * l.colour.r * e)
			k[1] = expose((t.colour.g*lit + shine) * l.colour.g * e)
			k[2] = expose((t.colour.b*lit + shine) * l.colour.b * e)
			k[3] = 255
		}
	}
	return img
}

// expose turns light into a byte: with a gamma of 2, and bending where it would clip.
func expose(v float32) uint8 {
	if v > 0.7 {
		v = 0.7 + (v-0.7)/(1+(v-0.7)*2.2)
	}
	return uint8(255*sqrt(min(v, 1)) + 0.5)
}
