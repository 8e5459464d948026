package checkpoint

import (
	"math"
	"testing"
)

// half computes a binary16 number from the definition in IEEE 754-2019, section 3.4.
func half(h uint16) float64 {
	sign := 1 - 2*float64(h>>15)
	exponent, fraction := int(h>>10&31), float64(h&1023)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

func TestFromHalf(t *testing.T) {
	for h := range 1 << 16 {
		got, want := float64(fromHalf(uint16(h))), half(uint16(h))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (h >= 1<<15) {
			t.Fatalf("fromHalf(%#04x) = %v, want %v", h, got, want)
		}
	}
}

func TestDecodeKeepsSpecialValues(t *testing.T) {
	var got [1]float32
	decode(got[:], []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x7f}, F64)
	if !math.IsInf(float64(got[0]), 1) {
		t.Errorf("F64 infinity is read as %v", got[0])
	}
	decode(got[:], []byte{0xc0, 0x7f}, BF16)
	if got[0] == got[0] {
		t.Errorf("BF16 NaN is read as %v", got[0])
	}
	decode(got[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, I64)
	if got[0] != 1<<63 {
		t.Errorf("the largest I64 is read as %v", got[0])
	}
}
