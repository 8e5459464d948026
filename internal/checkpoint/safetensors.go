package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/graft-ml/graft/internal/atomicfile"
)

// maxHeader is the longest header the reference implementation reads, in bytes.
const maxHeader = 100_000_000

// metadataKey is the key of the header that isn't a tensor.
const metadataKey = "__metadata__"

// tensorInfo is what the header says of a tensor. The offsets count from the end of the header.
type tensorInfo struct {
	DType   DType   `json:"dtype"`
	Shape   []int   `json:"shape"`
	Offsets []int64 `json:"data_offsets"`
}

// readSafetensors reads the header and checks, as the reference implementation does, that the tensors cover the rest of
// the file without gap or overlap.
func (f *File) readSafetensors() error {
	length := make([]byte, 8)
	if err := readAt(f.src, length, 0); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(length)
	if n > maxHeader || n > uint64(f.size-8) {
		return fmt.Errorf("claims a header of %d bytes, but has %d bytes (and no header may have more than %d); download it again", n, f.size, maxHeader)
	}
	header := make([]byte, n)
	if err := readAt(f.src, header, 8); err != nil {
		return err
	}
	if err := f.parseHeader(header); err != nil {
		return err
	}
	return f.checkCover(8 + int64(n))
}

// parseHeader takes the entries one by one, since a map would hide a name that is there twice.
func (f *File) parseHeader(header []byte) error {
	dec := json.NewDecoder(bytes.NewReader(header))
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fmt.Errorf("header: %w", err)
		}
		name := key.(string) // the decoder lets nothing else stand before a colon
		if name == metadataKey {
			if err := dec.Decode(&f.Metadata); err != nil {
				return fmt.Errorf("header: %s: %w", metadataKey, err)
			}
			continue
		}
		var info tensorInfo
		if err := dec.Decode(&info); err != nil {
			return fmt.Errorf("header: tensor %q: %w", name, err)
		}
		if err := f.addInfo(name, info, 8+int64(len(header))); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("header: has more after its closing brace")
	}
	return nil
}

// addInfo lists a tensor after checking what the header says of it. Its data lies behind data.
func (f *File) addInfo(name string, info tensorInfo, data int64) error {
	size, ok := sizes[info.DType]
	if !ok {
		return fmt.Errorf("has element type %q, which is not supported", info.DType)
	}
	if info.Shape == nil || len(info.Offsets) != 2 {
		return errors.New("needs a shape and two data_offsets")
	}
	begin, end := info.Offsets[0], info.Offsets[1]
	if begin < 0 || end < begin || end > f.size-data {
		return fmt.Errorf("lies at bytes %d to %d, but there are %d bytes of data: the file is cut short or damaged", begin, end, f.size-data)
	}
	if n, ok := elements(info.Shape, end-begin); !ok || n*int64(size) != end-begin {
		return fmt.Errorf("shape %v of %s doesn't fit its %d bytes", info.Shape, info.DType, end-begin)
	}
	return f.add(Tensor{Name: name, DType: info.DType, Shape: info.Shape, file: f, offset: data + begin})
}

// checkCover checks that the tensors fill the file from data on, each beginning where another ends.
func (f *File) checkCover(data int64) error {
	byOffset := slices.Clone(f.tensors)
	slices.SortFunc(byOffset, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.Len(), b.Len()))
	})
	end := data
	for _, t := range byOffset {
		if t.offset != end {
			return fmt.Errorf("tensor %q: begins at byte %d of the data, where %d was due: tensors overlap or leave a gap", t.Name, t.offset-data, end-data)
		}
		end += int64(t.Len() * sizes[t.DType])
	}
	if end != f.size {
		return fmt.Errorf("has %d bytes after the last tensor", f.size-end)
	}
	return nil
}

// Entry is a named tensor to be written.
type Entry struct {
	Name  string
	Shape []int     // outermost dimension first, empty for a scalar
	Data  []float32 // row-major
}

// WriteSafetensors writes a safetensors file of F32 tensors, sorted by name, in the layout of the reference
// implementation: its safe_open and load_file read it, and for at most one metadata key its save_file writes the same
// bytes. Equal input gives equal bytes. The file is complete or absent: an error leaves an old file at path as it was.
// It is an error if a shape doesn't fit its data, or a name is there twice, isn't UTF-8 or is "__metadata__".
func WriteSafetensors(path string, entries []Entry, metadata map[string]string) error {
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	header, err := formatHeader(sorted, metadata)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, e := range sorted {
			if err := writeFloats(w, e.Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// formatHeader returns the header with its length before it, padded with spaces so that the data begins at a multiple
// of eight.
func formatHeader(sorted []Entry, metadata map[string]string) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 8))
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	separator := byte('{')
	field := func(name string, value any) {
		b.WriteByte(separator)
		separator = ','
		enc.Encode(name)
		b.Truncate(b.Len() - 1) // the encoder ends each value with a newline
		b.WriteByte(':')
		enc.Encode(value)
		b.Truncate(b.Len() - 1)
	}
	if len(metadata) > 0 {
		field(metadataKey, metadata)
	}
	offset := int64(0)
	for i, e := range sorted {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		if i > 0 && e.Name == sorted[i-1].Name {
			return nil, fmt.Errorf("tensor %q: the name is there twice", e.Name)
		}
		end := offset + 4*int64(len(e.Data))
		field(e.Name, tensorInfo{F32, append([]int{}, e.Shape...), []int64{offset, end}})
		offset = end
	}
	if separator == '{' {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	return b.Bytes(), nil
}

func (e Entry) check() error {
	if e.Name == metadataKey || !utf8.ValidString(e.Name) {
		return errors.New("can't be the name of a tensor")
	}
	if n, ok := elements(e.Shape, int64(len(e.Data))); !ok || n != int64(len(e.Data)) {
		return fmt.Errorf("shape %v doesn't fit %d values", e.Shape, len(e.Data))
	}
	return nil
}

// writeFloats writes values little-endian, a piece at a time.
func writeFloats(w io.Writer, values []float32) error {
	buf := make([]byte, 0, 1<<15)
	for piece := range slices.Chunk(values, cap(buf)/4) {
		buf = buf[:0]
		for _, v := range piece {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}
