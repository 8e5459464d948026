package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unsafe"
)

// DType is an element type, by the name safetensors gives it.
type DType string

const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"  // IEEE 754 half precision
	BF16 DType = "BF16" // the upper half of a float32
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U8   DType = "U8"
	BOOL DType = "BOOL" // one byte an element
)

// sizes is the bytes an element of each type takes; a type that isn't here is not supported.
var sizes = map[DType]int{F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1}

// Tensor is one named tensor of a [File].
type Tensor struct {
	Name  string
	DType DType // as stored
	Shape []int // outermost dimension first, empty for a scalar; the caller must not modify it

	file      *File
	offset    int64  // of the first element, in bytes from the start of the file
	axes      []axis // of a view as PyTorch stores them; nil for a row-major tensor without gaps
	bigEndian bool
}

// axis is a dimension of a view: its length, and how many elements of the storage lie from one index to the next.
type axis struct{ length, stride int }

// Len returns the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32s reads the values in row-major order, converted to float32: F64 and integers to the nearest value, booleans
// to 0 and 1, F16 and BF16 exactly. F32 keeps its bits, and lands in the slice without a copy in between. The slice is
// new with each call and belongs to the caller.
func (t Tensor) Float32s() ([]float32, error) {
	values, err := t.values()
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: tensor %q: %w", t.file.path, t.Name, err)
	}
	return values, nil
}

func (t Tensor) values() ([]float32, error) {
	n := t.Len()
	if t.axes == nil || n == 0 {
		return t.run(n)
	}
	span := 1 // from the first element to the last
	for _, a := range t.axes {
		span += (a.length - 1) * a.stride
	}
	stored, err := t.run(span)
	if err != nil {
		return nil, err
	}
	return gather(make([]float32, 0, n), stored, t.axes), nil
}

// gather appends the elements of a view of src in row-major order.
func gather(dst, src []float32, axes []axis) []float32 {
	outer, inner := axes[0], axes[1:]
	if len(inner) == 0 {
		for i := range outer.length {
			dst = append(dst, src[i*outer.stride])
		}
		return dst
	}
	for i := range outer.length {
		dst = gather(dst, src[i*outer.stride:], inner)
	}
	return dst
}

// run reads n consecutive elements.
func (t Tensor) run(n int) ([]float32, error) {
	values := make([]float32, n)
	if t.DType == F32 && !t.bigEndian && littleEndianHost {
		raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*n)
		return values, readAt(t.file.src, raw, t.offset)
	}
	size := sizes[t.DType]
	buf := make([]byte, min(n*size, 1<<16))
	for done := 0; done < n; {
		chunk := buf[:min(len(buf), (n-done)*size)]
		if err := readAt(t.file.src, chunk, t.offset+int64(done)*int64(size)); err != nil {
			return nil, err
		}
		if t.bigEndian {
			for element := range slices.Chunk(chunk, size) {
				slices.Reverse(element)
			}
		}
		decode(values[done:], chunk, t.DType)
		done += len(chunk) / size
	}
	return values, nil
}

var littleEndianHost = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// decode converts the little-endian elements in src.
func decode(dst []float32, src []byte, dtype DType) {
	le := binary.LittleEndian
	dst = dst[:len(src)/sizes[dtype]]
	for i := range dst {
		switch dtype {
		case F64:
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		case F32:
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		case F16:
			dst[i] = fromHalf(le.Uint16(src[2*i:]))
		case BF16:
			dst[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
		case I64:
			dst[i] = float32(int64(le.Uint64(src[8*i:])))
		case I32:
			dst[i] = float32(int32(le.Uint32(src[4*i:])))
		case I16:
			dst[i] = float32(int16(le.Uint16(src[2*i:])))
		case I8:
			dst[i] = float32(int8(src[i]))
		case U8:
			dst[i] = float32(src[i])
		case BOOL:
			dst[i] = float32(min(src[i], 1))
		}
	}
}

// fromHalf converts an IEEE 754 binary16 number. Its exponent and fraction, moved to a float32's place, stand for the
// same number scaled by 2^-112, subnormals included; only infinities and NaNs need an exponent of their own.
func fromHalf(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	magnitude := uint32(h&0x7fff) << 13
	if h&0x7c00 == 0x7c00 {
		return math.Float32frombits(sign | magnitude | 0x7f800000)
	}
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(magnitude)*0x1p112))
}
