package main

import (
	"testing"

	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// TestEncode compares with what GNU as 2.40 makes of the instructions.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		name     string
		operands []Op
		want     [6]byte
	}{
		{"VDPBF16PS", []Op{Z1, Z2, Z3}, [6]byte{0x62, 0xf2, 0x6e, 0x48, 0x52, 0xd9}},
		{"VDPBF16PS", []Op{Z31, Z16, Z8}, [6]byte{0x62, 0x12, 0x7e, 0x40, 0x52, 0xc7}},
		{"VDPBF16PS", []Op{Z9, Z30, Z23}, [6]byte{0x62, 0xc2, 0x0e, 0x40, 0x52, 0xf9}},
		{"VDPBF16PS", []Op{Z17, Z7, Z15}, [6]byte{0x62, 0x32, 0x46, 0x48, 0x52, 0xf9}},
		{"VDPBF16PS", []Op{Y12, Y24, Y1}, [6]byte{0x62, 0xd2, 0x3e, 0x20, 0x52, 0xcc}},
		{"VDPBF16PS", []Op{Y26, Y11, Y29}, [6]byte{0x62, 0x02, 0x26, 0x28, 0x52, 0xea}},
		{"VCVTNEPS2BF16", []Op{Z1, Y2}, [6]byte{0x62, 0xf2, 0x7e, 0x48, 0x72, 0xd1}},
		{"VCVTNEPS2BF16", []Op{Z28, Y19}, [6]byte{0x62, 0x82, 0x7e, 0x48, 0x72, 0xdc}},
		{"VCVTNEPS2BF16", []Op{Y10, X25}, [6]byte{0x62, 0x42, 0x7e, 0x28, 0x72, 0xca}},
		{"VCVTNE2PS2BF16", []Op{Z1, Z2, Z3}, [6]byte{0x62, 0xf2, 0x6f, 0x48, 0x72, 0xd9}},
		{"VCVTNE2PS2BF16", []Op{Z20, Z13, Z31}, [6]byte{0x62, 0x22, 0x17, 0x48, 0x72, 0xfc}},
		{"VCVTNE2PS2BF16", []Op{Y8, Y27, Y6}, [6]byte{0x62, 0xd2, 0x27, 0x20, 0x72, 0xf0}},
	} {
		got, err := evexOps[c.name].encode(c.operands)
		if err != nil || got != c.want {
			t.Errorf("%s %v: % x, %v, want % x", c.name, c.operands, got, err, c.want)
		}
	}
	if _, err := evexOps["VDPBF16PS"].encode([]Op{RAX, Z1, Z2}); err == nil {
		t.Error("a general register was taken for a vector")
	}
}
