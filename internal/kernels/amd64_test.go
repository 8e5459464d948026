//go:build amd64

package kernels

import (
	"os"
	"regexp"
	"testing"
	"unsafe"
)

// TestOffsets holds the structures against the offsets that asm/main.go tells the kernels.
func TestOffsets(t *testing.T) {
	var p panel
	var s segment
	var g transposed
	var c columns
	var k taps
	var b blocks
	var r resample
	var w tiles
	var l strips
	var rg rowGroup
	var ti tile
	for name, at := range map[string][2]uintptr{
		"panel.b": {unsafe.Offsetof(p.b), 16}, "panel.m": {unsafe.Offsetof(p.m), 56}, "panel.atRes": {unsafe.Offsetof(p.atRes), 120}, "panel.cBF16": {unsafe.Offsetof(p.cBF16), 136}, "panel.next": {unsafe.Offsetof(p.next), 144},
		"panel.ldFetch": {unsafe.Offsetof(p.ldFetch), 160},
		"strips.groups": {unsafe.Offsetof(l.groups), 40}, "strips.act": {unsafe.Offsetof(l.act), 80}, "strips.vectorX": {unsafe.Offsetof(l.vectorX), 104}, "strips.vectorSums": {unsafe.Offsetof(l.vectorSums), 152}, "strips.yBF16": {unsafe.Offsetof(l.yBF16), 160},
		"strips.group": {unsafe.Offsetof(l.group), 208}, "strips.tile": {unsafe.Offsetof(l.tile), 224}, "strips.lanes": {unsafe.Offsetof(l.lanes), 248}, "strips.after": {unsafe.Offsetof(l.after), 264},
		"strips.half": {unsafe.Offsetof(l.half), 272}, "strips.steps": {unsafe.Offsetof(l.steps), 280},
		"group.first": {unsafe.Offsetof(rg.first), 32}, "group.rows": {unsafe.Offsetof(rg.rows), 56}, "group": {unsafe.Sizeof(rg), 72},
		"tile.valid": {unsafe.Offsetof(ti.valid), 16}, "tile.kind": {unsafe.Offsetof(ti.kind), 32}, "tile": {unsafe.Sizeof(ti), 40},
		"tiles.res": {unsafe.Offsetof(w.res), 88},
		"segment.w": {unsafe.Offsetof(s.w), 40}, "segment.bias": {unsafe.Offsetof(s.bias), 88},
		"segment.kernelH": {unsafe.Offsetof(s.kernelH), 128}, "segment.atSums": {unsafe.Offsetof(s.atSums), 176}, "segment.left": {unsafe.Offsetof(s.left), 208}, "segment.yBF16": {unsafe.Offsetof(s.yBF16), 216}, "segment.pairs": {unsafe.Offsetof(s.pairs), 224},
		"blocks.extents": {unsafe.Offsetof(b.extents), 16}, "blocks.pairs": {unsafe.Offsetof(b.pairs), 40},
		"resample.srcStride": {unsafe.Offsetof(r.srcStride), 24}, "resample.row": {unsafe.Offsetof(r.row), 64}, "resample.columns": {unsafe.Offsetof(r.columns), 72},
		"transposed.k": {unsafe.Offsetof(g.k), 64}, "transposed.packed": {unsafe.Offsetof(g.packed), 80}, "transposed.atC": {unsafe.Offsetof(g.atC), 96},
		"columns.rows": {unsafe.Offsetof(c.rows), 32}, "columns.s0": {unsafe.Offsetof(c.s0), 72}, "columns.act": {unsafe.Offsetof(c.act), 88},
		"taps.tapX": {unsafe.Offsetof(k.tapX), 40}, "taps.tapDW": {unsafe.Offsetof(k.tapDW), 72}, "taps.channels": {unsafe.Offsetof(k.channels), 96},
	} {
		if at[0] != at[1] {
			t.Errorf("%s is at %d, the kernels read it at %d", name, at[0], at[1])
		}
	}
}

// TestAVX2Registers looks for registers that only AVX-512 has: where a kernel for AVX2 needs more than 16, the generator
// takes them without a word, and a processor that has AVX-512 runs it.
func TestAVX2Registers(t *testing.T) {
	assembly, err := os.ReadFile("avx2_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^.*\b(?:Z\d+|[XY](?:1[6-9]|2\d|3[01])|K[0-7])\b.*$`)
	if found := line.Find(assembly); found != nil {
		t.Errorf("avx2_amd64.s has %s", found)
	}
}
