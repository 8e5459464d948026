package jpeg

import (
	"bytes"
	"encoding/binary"

	"github.com/graft-ml/graft/internal/kernels"
)

// fastBits is the number of bits that are looked up at once.
const fastBits = 10

// A table decodes one Huffman code.
type table struct {
	// entries tells by the next bits what the next coefficient is, if they suffice for that: from the lowest bit, 8 bits
	// how many bits it takes, 8 how many coefficients to skip before it, 16 its value. Otherwise it is 0.
	entries [1 << fastBits]uint32
	// codes tells the next symbol, if the bits suffice: the length of its code and then the symbol. Otherwise it is 0.
	codes [1 << fastBits]uint16
	// Codes of each length lie below a limit, as 16 bits of which the code comes first; symbols holds the symbol of code c
	// at c + offset.
	limits  [17]uint32
	offsets [17]int32
	symbols [256]uint8
}

// endOfBlock skips all coefficients.
const endOfBlock = 64

func (d *Decoder) huffmanTables(s []byte) bool {
	for len(s) > 0 {
		class, to := s[0]>>4, s[0]&15
		if class > 1 || to > 3 || len(s) < 17 {
			return false
		}
		n := 0
		for _, count := range s[1:17] {
			n += int(count)
		}
		if n < 1 || n > 256 || len(s) < 17+n {
			return false
		}
		t := &d.tablesMemory[class][to]
		*t = table{}
		if !t.build([16]uint8(s[1:17]), s[17:17+n]) {
			return false
		}
		if class == 0 {
			t.tabulate(dcSkip)
		} else {
			t.tabulate(acSkip)
		}
		d.tables[class][to] = t
		s = s[17+n:]
	}
	return true
}

// acSkip tells how many coefficients a symbol of a sequential scan skips (T.81, F.1.2.2).
func acSkip(symbol uint8) (skip int, valid bool) {
	switch {
	case symbol == 0:
		return endOfBlock, true
	case symbol&15 == 0 && symbol != 0xf0:
		return 0, false
	}
	return int(symbol >> 4), true
}

// build assigns codes to symbols, of which there are counts[i] of i+1 bits (T.81, C.2).
func (t *table) build(counts [16]uint8, symbols []uint8) bool {
	copy(t.symbols[:], symbols)
	code, k := uint32(0), 0
	for i, count := range counts {
		length := i + 1
		t.offsets[length] = int32(k) - int32(code)
		for range count {
			if code >= 1<<length {
				return false
			}
			if length <= fastBits {
				from := code << (fastBits - length)
				for j := range uint32(1) << (fastBits - length) {
					t.codes[from+j] = uint16(length) | uint16(symbols[k])<<8
				}
			}
			code++
			k++
		}
		t.limits[length] = code << (16 - length)
		code <<= 1
	}
	return true
}

// tabulate fills entries, given what symbols skip.
func (t *table) tabulate(skip func(symbol uint8) (int, bool)) {
	for i, c := range t.codes {
		length, symbol := uint(c&0xff), uint8(c>>8)
		size := uint(symbol & 15)
		skip, valid := skip(symbol)
		if length == 0 || !valid || length+size > fastBits {
			continue
		}
		value := extend(uint32(i)>>(fastBits-length-size)&(1<<size-1), size)
		t.entries[i] = uint32(length+size) | uint32(skip)<<8 | uint32(uint16(value))<<16
	}
}

// extend is T.81's EXTEND (F.2.2.1): the value that size bits stand for.
func extend(v uint32, size uint) int32 {
	if size > 0 && v < 1<<(size-1) {
		return int32(v) - 1<<size + 1
	}
	return int32(v)
}

// symbol returns the symbol at the front of acc, and the length of its code, 0 if there is none.
func (t *table) symbol(acc uint64) (symbol uint8, length uint) {
	if c := t.codes[acc>>(64-fastBits)]; c != 0 {
		return uint8(c >> 8), uint(c & 0xff)
	}
	code := uint32(acc >> 48)
	for length := uint(fastBits + 1); length <= 16; length++ {
		if code < t.limits[length] {
			return t.symbols[uint8(int32(code>>(16-length))+t.offsets[length])], length
		}
	}
	return 0, 0
}

// coefficient is what entries hold, in a whole register, where the bits looked up didn't suffice; 0 for no valid code.
func (t *table) coefficient(acc uint64, skip func(uint8) (int, bool)) uint64 {
	symbol, length := t.symbol(acc)
	s, valid := skip(symbol)
	if length == 0 || !valid {
		return 0
	}
	size := uint(symbol & 15)
	value := extend(uint32(acc<<length>>1>>(63-size)), size)
	return uint64(length+size) | uint64(s)<<8 | uint64(uint16(value))<<16
}

// bits reads a restart interval bit by bit.
type bits struct {
	data []byte // without the zeros stuffed behind 0xff, and padded with zeros
	end  int    // where padding begins
	pos  int    // of the next byte that isn't in acc
	acc  uint64 // the next bits, from the highest on
	n    uint   // how many of them; what follows is zero or what comes next
}

// padding is more than a block and a refill can take.
const padding = 300

// start takes the interval at the start of data and returns what follows, from a marker on.
func (b *bits) start(data []byte) (rest []byte) {
	b.data = b.data[:0]
	for {
		i := bytes.IndexByte(data, 0xff)
		if i < 0 {
			i = len(data)
		}
		b.data = append(b.data, data[:i]...)
		data = data[i:]
		if len(data) < 2 || data[1] != 0 {
			break
		}
		b.data = append(b.data, 0xff)
		data = data[2:]
	}
	b.end = len(b.data)
	b.data = append(b.data, make([]byte, padding)...)
	b.pos, b.acc, b.n = 0, 0, 0
	return data
}

// refill brings at least 56 bits to acc.
func (b *bits) refill() {
	b.acc |= binary.BigEndian.Uint64(b.data[b.pos:]) >> b.n
	b.pos += int(63-b.n) >> 3
	b.n |= 56
}

// over reports whether more bits were taken than there were.
func (b *bits) over() bool { return 8*b.pos-int(b.n) > 8*b.end }

// take returns the next size bits, at most 16.
func (b *bits) take(size uint) uint32 {
	if b.n < 16 {
		b.refill()
	}
	v := uint32(b.acc >> 1 >> (63 - size))
	b.acc <<= size
	b.n -= size
	return v
}

// symbol returns the next symbol of a code, and whether there is one.
func (b *bits) symbol(t *table) (uint8, bool) {
	if b.n < 16 {
		b.refill()
	}
	symbol, length := t.symbol(b.acc)
	b.acc <<= length
	b.n -= length
	return symbol, length > 0
}

// dcSkip is for tables of DC differences.
func dcSkip(symbol uint8) (skip int, valid bool) { return 0, symbol <= 15 }

// block decodes a block of a sequential scan (T.81, F.2.2) into c, which is zero. dc is the prediction of its first
// coefficient, and becomes that of the next block.
func (b *bits) block(c *[64]int16, dcTable, acTable *table, dc *int16) (extent kernels.Extent, ok bool) {
	if b.n < 32 {
		b.refill()
	}
	e := uint64(dcTable.entries[b.acc>>(64-fastBits)])
	if e == 0 {
		if e = dcTable.coefficient(b.acc, dcSkip); e == 0 {
			return 0, false
		}
	}
	acc, n, pos := b.acc<<(e&63), b.n-uint(e&63), b.pos
	*dc += int16(e >> 16)
	c[0] = *dc
	k := uint(1)
	for k < 64 {
		if n < 32 {
			acc |= binary.BigEndian.Uint64(b.data[pos:]) >> (n & 63)
			pos += int(63-n) >> 3
			n |= 56
		}
		e := uint64(acTable.entries[acc>>(64-fastBits)])
		if e == 0 {
			if e = acTable.coefficient(acc, acSkip); e == 0 {
				return 0, false
			}
		}
		acc <<= e & 63
		n -= uint(e & 63)
		skip := uint(e >> 8 & 0xff)
		if k+skip > 63 {
			if skip != endOfBlock {
				return 0, false
			}
			break
		}
		c[zigzag[k+skip]&63] = int16(e >> 16)
		k += skip + 1
	}
	b.acc, b.n, b.pos = acc, n, pos
	return extents[k-1], !b.over()
}

// extents bounds the coefficients up to one in the order of the file.
var extents = func() (t [64]kernels.Extent) {
	for i := range t {
		switch {
		case i == 0:
			t[i] = kernels.ExtentDC
		case i < 10: // four diagonals
			t[i] = kernels.ExtentCorner
		default:
			t[i] = kernels.ExtentAll
		}
	}
	return t
}()
