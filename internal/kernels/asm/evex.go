package main

import (
	"encoding/binary"
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	avopass "github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/reg"
)

// The instructions of AVX512_BF16, which neither avo nor Go's assembler knows: they go through avo's
// register allocation like any other, and are then replaced by their bytes.

// An evexOp is what tells an instruction of map 0F38 with vectors of registers from others: Intel's
// manual, volume 2, section 2.7 (https://www.intel.com/sdm).
type evexOp struct{ prefix, opcode byte }

// The mandatory prefixes F3 and F2, as EVEX counts them.
const (
	prefixF3 = 2
	prefixF2 = 3
)

var evexOps = map[string]evexOp{
	"VDPBF16PS":      {prefixF3, 0x52},
	"VCVTNEPS2BF16":  {prefixF3, 0x72},
	"VCVTNE2PS2BF16": {prefixF2, 0x72},
}

// VDPBF16PS adds to each float32 of acc the products of two pairs of bfloat16: first the odd ones', then
// the even ones'.
func VDPBF16PS(a, b, acc Op) { evex("VDPBF16PS", a, b, acc, acc) }

// VCVTNEPS2BF16 rounds float32 to bfloat16, to half a vector.
func VCVTNEPS2BF16(x, dst Op) { evex("VCVTNEPS2BF16", x, nil, dst) }

// VCVTNE2PS2BF16 rounds two vectors of float32 to one of bfloat16, low in its lower half.
func VCVTNE2PS2BF16(low, high, dst Op) { evex("VCVTNE2PS2BF16", low, high, dst) }

// evex adds an instruction; second is nil for one of two operands, and more are inputs besides.
func evex(name string, first, second, dst Op, more ...Op) {
	in := []Op{first}
	if second != nil {
		in = append(in, second)
	}
	Instruction(&ir.Instruction{Opcode: name, Operands: append(in[:len(in):len(in)], dst), Inputs: append(in, more...),
		Outputs: []Op{dst}, ISA: []string{"AVX512_BF16"}})
}

func init() {
	avopass.Compile = avopass.Concat(avopass.Compile, avopass.FunctionPass(encodeAll))
}

// encodeAll replaces the instructions of evexOps, whose registers are known by now, by their bytes.
func encodeAll(f *ir.Function) error {
	var nodes []ir.Node
	for _, n := range f.Nodes {
		i, ok := n.(*ir.Instruction)
		op, known := evexOp{}, false
		if ok {
			op, known = evexOps[i.Opcode]
		}
		if !known {
			nodes = append(nodes, n)
			continue
		}
		code, err := op.encode(i.Operands)
		if err != nil {
			return fmt.Errorf("%s: %w", i.Opcode, err)
		}
		nodes = append(nodes,
			&ir.Instruction{Opcode: "LONG", Operands: []Op{U32(binary.LittleEndian.Uint32(code[:4]))}},
			&ir.Instruction{Opcode: "WORD", Operands: []Op{U16(binary.LittleEndian.Uint16(code[4:]))}})
	}
	f.Nodes = nodes
	return nil
}

// encode returns the bytes of an instruction in Go's order of operands: [r/m, vvvv,] reg. The first
// operand says how long its vectors are.
func (o evexOp) encode(operands []Op) (code [6]byte, err error) {
	ids := make([]byte, len(operands))
	for i, op := range operands {
		r, ok := op.(reg.Physical)
		if !ok || r.Kind() != reg.KindVector {
			return code, fmt.Errorf("%v isn't a vector register", op)
		}
		ids[i] = byte(r.PhysicalIndex())
	}
	rm, vvvv, r := ids[0], byte(0), ids[len(ids)-1]
	if len(ids) == 3 {
		vvvv = ids[1]
	}
	length := map[uint]byte{16: 0, 32: 1, 64: 2}[operands[0].(reg.Physical).Size()]
	not := func(register byte, bit int) byte { return ^register >> bit & 1 }
	const map0F38 = 2
	return [6]byte{
		0x62,
		not(r, 3)<<7 | not(rm, 4)<<6 | not(rm, 3)<<5 | not(r, 4)<<4 | map0F38,
		^vvvv&15<<3 | 1<<2 | o.prefix,
		length<<5 | not(vvvv, 4)<<3,
		o.opcode,
		0b11<<6 | r&7<<3 | rm&7,
	}, nil
}
