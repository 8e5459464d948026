package augment

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/graft-ml/graft/internal/torchrand"
)

// A Key decides every random choice for one photo or one batch. Two evaluations with the same key choose the same,
// whatever was evaluated before, between or beside them.
//
// The generator is PyTorch's, seeded as by torch.manual_seed with the first 4 bytes, little-endian, of the SHA-256 of
// purpose, a byte of 0, Seed and View (8 bytes each, little-endian) and Sample, where the purpose is "photo" for a
// [Pipeline] and "batch" for a [Mixer].
type Key struct {
	Seed   uint64 // of the run
	View   uint64 // the epoch, or which of several views of a photo
	Sample string // what tells a photo or a batch from the others, such as a path within the data set
}

func (k Key) random(purpose string) *random {
	h := sha256.New()
	h.Write(append([]byte(purpose), 0))
	var b []byte
	b = binary.LittleEndian.AppendUint64(b, k.Seed)
	b = binary.LittleEndian.AppendUint64(b, k.View)
	h.Write(append(b, k.Sample...))
	return newRandom(uint64(binary.LittleEndian.Uint32(h.Sum(nil))))
}

// random draws as PyTorch's functions do on x86-64 processors with AVX2, so that a seed chooses what it chooses in
// torchvision. The exceptions are the logarithms and exponentials of float32 tensors, where PyTorch's vector functions may
// err in the last bit.
type random struct {
	*torchrand.Generator
	other *float64 // of a pair of normal numbers, the one that waits
}

func newRandom(seed uint64) *random { return &random{Generator: torchrand.New(seed)} }

// uniform is torch.empty(1).uniform_(low, high), which fuses multiplication and addition.
func (r *random) uniform(low, high float64) float64 {
	from, width := float32(low), float32(high)-float32(low)
	return float64(float32(float64(r.Uniform()*float64(width)) + float64(from)))
}

// logUniform is torch.exp of a uniform_ between the logarithms of low and high.
func (r *random) logUniform(low, high float64) float64 {
	log := func(v float64) float64 { return float64(float32(math.Log(float64(float32(v))))) }
	return float64(float32(math.Exp(r.uniform(log(low), log(high)))))
}

// chance reports true with probability p: torch.rand(1) < p.
func (r *random) chance(p float64) bool { return r.Uniform() < float64(float32(p)) }

// intn is torch.randint(n), for n up to 2²⁸.
func (r *random) intn(n int) int { return int(r.Uint32() % uint32(n)) }

// double is a number in [0, 1) of 53 bits.
func (r *random) double() float64 {
	high := uint64(r.Uint32())
	return float64((high<<32|uint64(r.Uint32()))&(1<<53-1)) / (1 << 53)
}

// normal is a standard normal number by Box and Muller's method, as at::normal_distribution<double> makes them in pairs.
func (r *random) normal() float64 {
	if r.other != nil {
		v := *r.other
		r.other = nil
		return v
	}
	angle := 2 * math.Pi * r.double()
	radius := math.Sqrt(-2 * math.Log1p(-r.double()))
	sin, cos := math.Sincos(angle)
	sin *= radius
	r.other = &sin
	return radius * cos
}

// normals fills dst as Tensor.normal_() does: 16 numbers of float32 at a time, the last 16 anew where they aren't aligned.
func (r *random) normals(dst []float32) {
	if len(dst) < 16 {
		for i := range dst {
			dst[i] = float32(r.normal())
		}
		return
	}
	uniform := func(dst []float32) {
		for i := range dst {
			dst[i] = float32(r.Uniform())
		}
	}
	uniform(dst)
	for i := 0; i+16 <= len(dst); i += 16 {
		boxMuller(dst[i : i+16])
	}
	if len(dst)%16 != 0 {
		last := dst[len(dst)-16:]
		uniform(last)
		boxMuller(last)
	}
}

func boxMuller(v []float32) {
	for i := range 8 {
		radius := math.Sqrt(-2 * math.Log(float64(1-v[i])))
		sin, cos := math.Sincos(2 * math.Pi * float64(v[i+8]))
		v[i], v[i+8] = float32(radius*cos), float32(radius*sin)
	}
}

// beta is torch.distributions.Beta(alpha, alpha).sample().
func (r *random) beta(alpha float64) float64 {
	alpha = float64(float32(alpha))
	a, b := r.gamma(alpha), r.gamma(alpha)
	one := math.Nextafter32(1, 0)
	return float64(min(max(float32(a/(a+b)), smallestNormal32), one))
}

const smallestNormal32 = 0x1p-126

// gamma is a number of the gamma distribution by the method of Marsaglia and Tsang (ACM Transactions on Mathematical
// Software 26, 2000), with the float32 constants of PyTorch's sample_gamma.
func (r *random) gamma(alpha float64) float64 {
	scale := 1.0
	if alpha < 1 {
		scale = math.Pow(1-r.double(), 1/alpha)
		alpha++
	}
	d := alpha - float64(float32(1)/3)
	c := 1 / math.Sqrt(9*d)
	squeeze := float64(float32(0.0331))
	for {
		x := r.normal()
		y := 1 + float64(c*x)
		for y <= 0 {
			x = r.normal()
			y = 1 + float64(c*x)
		}
		v, u, xx := y*y*y, 1-r.double(), x*x
		if u < 1-float64(squeeze*xx*xx) || math.Log(u) < float64(0.5*xx)+float64(d*(1-v+math.Log(v))) {
			return max(scale*d*v, 0x1p-1022)
		}
	}
}
