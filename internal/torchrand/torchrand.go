// Package torchrand draws random numbers as PyTorch's CPU generator does: with the seed of
// torch.manual_seed, a new layer starts from the same values, photos are shuffled into the same order
// and dropout takes the same elements as in PyTorch.
package torchrand

import (
	"encoding/binary"
	"fmt"
)

// A Generator is a Mersenne Twister, MT19937
// (http://www.math.sci.hiroshima-u.ac.jp/m-mat/MT/emt.html), as torch.Generator is on a CPU. It is
// for one goroutine at a time.
type Generator struct {
	state [624]uint32
	next  int
}

// New returns a generator in the state that torch.manual_seed(seed) leaves.
func New(seed uint64) *Generator {
	g := &Generator{next: 624}
	g.state[0] = uint32(seed)
	for i := 1; i < len(g.state); i++ {
		last := g.state[i-1]
		g.state[i] = 1812433253*(last^last>>30) + uint32(i)
	}
	return g
}

// Uint32 returns 32 random bits.
func (g *Generator) Uint32() uint32 {
	if g.next == len(g.state) {
		g.renew()
	}
	y := g.state[g.next]
	g.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (g *Generator) renew() {
	s := &g.state
	for k := range s {
		y := s[k]&0x80000000 | s[(k+1)%624]&0x7fffffff
		s[k] = s[(k+397)%624] ^ y>>1 ^ (y&1)*0x9908b0df
	}
	g.next = 0
}

// Uniform returns a number in [0, 1) of the 24 bits that a float32 is made of in Tensor.uniform_.
func (g *Generator) Uniform() float64 { return float64(g.Uint32()&(1<<24-1)) / (1 << 24) }

// Bernoulli reports true with probability p, as an element of Tensor.bernoulli_(p) is 1.
func (g *Generator) Bernoulli(p float64) bool {
	high := uint64(g.Uint32())
	bits := high<<32 | uint64(g.Uint32())
	return float64(bits&(1<<53-1))/(1<<53) < p
}

// Perm returns torch.randperm(n), for n below 2³².
func (g *Generator) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := range n - 1 {
		j := i + int(g.Uint32())%(n-i)
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// stateLen is 624 words and the position in them, four bytes each, little-endian.
const stateLen = 4 * (624 + 1)

// State returns what the numbers to come depend on.
func (g *Generator) State() []byte {
	b := make([]byte, 0, stateLen)
	for _, word := range g.state {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return binary.LittleEndian.AppendUint32(b, uint32(g.next))
}

// SetState makes g go on as the generator whose [Generator.State] it is.
func (g *Generator) SetState(state []byte) error {
	if len(state) != stateLen {
		return fmt.Errorf("the state of a generator has %d bytes, this one %d", stateLen, len(state))
	}
	next := binary.LittleEndian.Uint32(state[4*624:])
	if next > 624 {
		return fmt.Errorf("the state of a generator is at most at its 624th number, this one at the %dth", next)
	}
	for i := range g.state {
		g.state[i] = binary.LittleEndian.Uint32(state[4*i:])
	}
	g.next = int(next)
	return nil
}
