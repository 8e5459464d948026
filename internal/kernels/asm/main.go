// Command asm writes the amd64 kernels. Run `go generate ./internal/kernels` after changing it.
//
// Each kernel is written once, for both instruction sets: an isa knows how wide a vector is and how
// to load, store and mask it.
package main

import (
	"flag"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	set := flag.String("set", "avx512", "avx512, avx512bf16 or avx2")
	ConstraintExpr("amd64")
	flag.Parse()
	switch *set {
	case "avx512":
		avx512.float32()
	case "avx512bf16":
		avx512.bf16()
	case "avx2":
		avx2.float32()
	}
	Generate()
}

func (v isa) float32() {
	v.gemm(false)
	v.depthwise()
	v.slide(1)
	v.slide(2)
	for _, s := range minimal {
		v.strip(s[0], s[1])
	}
	v.elementwise()
	v.rows()
	v.winograd()
	if v == avx2 {
		v.pixels()
	}
	v.gemmT()
	v.columns()
	v.gradients()
	v.depthwiseGrad()
}

func (v isa) bf16() {
	v.gemm(true)
	v.conversions()
	v.pair()
	v.winogradBF16()
}

// fields gives the offsets of the structures in amd64.go that the kernels read; a test there
// compares them.
var fields = map[string]map[string]int{
	"panel": {"a": 0, "lda": 8, "b": 16, "c": 24, "ldc": 32, "res": 40, "ldr": 48, "m": 56, "k": 64, "n": 72, "act": 80,
		"segments": 88, "jump": 96, "atA": 104, "atC": 112, "atRes": 120, "resBF16": 128, "cBF16": 136, "next": 144, "atFetch": 152, "ldFetch": 160},
	"segment": {"x": 0, "rowX": 8, "pixelX": 16, "tapX": 24, "skipX": 32, "w": 40, "blockW": 48, "skipW": 56, "y": 64, "rowY": 72,
		"pixelY": 80, "bias": 88, "sums": 96, "rowSums": 104, "rows": 112, "cols": 120, "kernelH": 128, "kernelW": 136,
		"channels": 144, "act": 152, "atX": 160, "atY": 168, "atSums": 176, "colX": 184, "colY": 192, "atW": 200, "left": 208, "yBF16": 216, "pairs": 224},
	"strips": {"x": 0, "w": 8, "bias": 16, "y": 24, "sums": 32, "groups": 40, "tiles": 48, "count": 56, "columns": 64, "channels": 72, "act": 80,
		"pixelX": 88, "lineX": 96, "vectorX": 104, "blockW": 112, "pixelY": 120, "rowY": 128, "vectorY": 136, "rowSums": 144, "vectorSums": 152,
		"yBF16": 160, "atX": 168, "atW": 176, "atBias": 184, "atY": 192, "atSums": 200, "group": 208, "groupsLeft": 216, "tile": 224, "tilesLeft": 232,
		"masked": 240, "lanes": 248, "before": 256, "after": 264,
		"half": 272, "step0": 280, "step1": 288, "step2": 296, "step3": 304},
	"group": {"x": 0, "y": 8, "w": 16, "sums": 24, "first": 32, "lines": 40, "last": 48, "rows": 56, "valid": 64},
	"tile":  {"x": 0, "y": 8, "valid": 16, "columns": 24, "kind": 32},
	"tiles": {"image": 0, "row": 8, "pixel": 16, "tiles": 24, "stride": 32, "channels": 40, "count": 48, "bias": 56, "act": 64,
		"buffer": 72, "atImage": 80, "res": 88},
	"blocks": {"coefficients": 0, "quant": 8, "extents": 16, "dst": 24, "stride": 32, "pairs": 40},
	"resample": {"dst": 0, "dstStride": 8, "src": 16, "srcStride": 24, "starts": 32, "weights": 40, "n": 48, "units": 56,
		"row": 64, "columns": 72},
	"transposed": {"a": 0, "lda": 8, "b": 16, "ldb": 24, "c": 32, "ldc": 40, "m": 48, "n": 56, "k": 64, "add": 72, "packed": 80, "atA": 88, "atC": 96},
	"columns":    {"x": 0, "y": 8, "dst": 16, "ld": 24, "rows": 32, "n": 40, "p0": 48, "p1": 56, "p2": 64, "s0": 72, "s1": 80, "act": 88},
	"taps": {"x": 0, "dy": 8, "dw": 16, "pixelX": 24, "rowX": 32, "tapX": 40, "lineX": 48, "pixelDY": 56, "rowDY": 64, "tapDW": 72,
		"rows": 80, "cols": 88, "channels": 96},
}

// sizes are those of the structures that lie in slices.
var sizes = map[string]int{"group": 72, "tile": 40}

// record is the argument of a kernel: a pointer to one of those structures.
type record struct {
	base reg.GPVirtual
	of   map[string]int
}

func argument(structure string) record {
	r := record{GP64(), fields[structure]}
	Load(Param("a"), r.base)
	return r
}

func (r record) field(name string) Mem {
	off, ok := r.of[name]
	if !ok {
		panic("no field " + name)
	}
	return Mem{Base: r.base, Disp: off}
}

// at is the structure that a field points to.
func (r record) at(name string) record { return record{r.load(name), fields[name]} }

// cursors copies pointers to the fields that the kernel moves along: the pointers themselves stay
// inside their slices, as the garbage collector expects.
func (r record) cursors(pairs ...[2]string) {
	for _, p := range pairs {
		MOVQ(r.load(p[0]), r.field(p[1]))
	}
}

// load brings a field into a register.
func (r record) load(name string) reg.GPVirtual {
	g := GP64()
	MOVQ(r.field(name), g)
	return g
}

// kernel begins a function.
func kernel(name, signature string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
}
