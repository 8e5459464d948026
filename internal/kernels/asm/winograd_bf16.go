package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// winogradBF16 writes the transforms of F(2×2, 3×3), all of whose 16 positions fit in registers: from an
// image of bfloat16 to tiles of it, and from products in float32 to an image of either.
func (v isa) winogradBF16() {
	kernel("winogradInputBF16"+v.name, "func(a *byte)")
	t := v.winogradTile()
	t.each(v.bytes()/2, v.bytes()/2, 2, func() {
		grid, line := make([][]reg.VecVirtual, 4), GP64()
		MOVQ(t.image, line)
		for y := range grid {
			pixel := GP64()
			MOVQ(line, pixel)
			grid[y] = v.vecs(4)
			for x, r := range grid[y] {
				v.loadBF16(Mem{Base: pixel}, nil, r)
				if x < 3 {
					ADDQ(t.pixel, pixel)
				}
			}
			ADDQ(t.row, line)
		}
		for x := range 4 {
			v.inputTransform2(grid[0][x], grid[1][x], grid[2][x], grid[3][x])
		}
		to := GP64()
		MOVQ(t.tiles, to)
		for _, row := range grid {
			v.inputTransform2(row[0], row[1], row[2], row[3])
			for _, r := range row {
				v.storeBF16(r, nil, Mem{Base: to})
				ADDQ(t.stride, to)
			}
		}
	})
	v.winogradOutputBF16("winogradOutputBF16", true)
	v.winogradOutputBF16("winogradOutputFloat", false)
}

// inputTransform2 is the function of that name in the package, in place.
func (v isa) inputTransform2(a, b, c, d reg.VecVirtual) {
	difference := v.vec()
	VSUBPS(c, a, a)
	VSUBPS(d, b, d)
	VSUBPS(b, c, difference)
	VADDPS(c, b, b)
	VMOVAPS(difference, c)
}

func (v isa) winogradOutputBF16(name string, bf16 bool) {
	size := v.bytes()
	load, store := v.load, v.store
	if bf16 {
		size, load, store = size/2, v.loadBF16, v.storeBF16
	}
	kernel(name+v.name, "func(a *byte)")
	t := v.winogradTile()
	t.each(size, v.bytes(), 2, func() {
		tile := GP64()
		MOVQ(t.tiles, tile)
		var grid [4][]reg.VecVirtual // the 4 × 4 products
		for y := range grid {
			grid[y] = v.vecs(4)
			for _, r := range grid[y] {
				VMOVUPS(Mem{Base: tile}, r)
				ADDQ(t.stride, tile)
			}
		}
		bias := v.vec()
		VMOVUPS(Mem{Base: t.arg.load("bias"), Index: t.done, Scale: 1}, bias)
		for x := range 4 {
			v.outputTransform2(grid[0][x], grid[1][x], grid[2][x], grid[3][x])
		}
		var out []reg.VecVirtual
		for _, row := range grid[:2] {
			v.outputTransform2(row[0], row[1], row[2], row[3])
			VADDPS(bias, row[0], row[0])
			VADDPS(bias, row[1], row[1])
			out = append(out, row[:2]...)
		}
		pixels := func(first reg.GPVirtual) (at []Mem) {
			second := GP64()
			LEAQ(Mem{Base: first, Index: t.row, Scale: 1}, second)
			for _, p := range []reg.GPVirtual{first, second} {
				at = append(at, Mem{Base: p}, Mem{Base: p, Index: t.pixel, Scale: 1})
			}
			return at
		}
		res := t.arg.load("res")
		CMPQ(res, Imm(0))
		JE(LabelRef("nores"))
		SUBQ(t.arg.field("image"), res)
		ADDQ(t.image, res)
		for i, at := range pixels(res) {
			r := v.vec()
			load(at, nil, r)
			VADDPS(r, out[i], out[i])
		}
		Label("nores")
		v.apply("tile", inRegisters, t.arg.field("act"), out)
		for i, at := range pixels(t.image) {
			store(out[i], nil, at)
		}
	})
}

// outputTransform2 is the function of that name in the package: a and b become the results.
func (v isa) outputTransform2(a, b, c, d reg.VecVirtual) {
	VADDPS(b, a, a)
	VADDPS(c, a, a)
	VSUBPS(c, b, b)
	VSUBPS(d, b, b)
}
