// Package npy writes matrices in NumPy's .npy format, version 1.0, as numpy.load reads it
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
package npy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/graft-ml/graft/internal/atomicfile"
)

// headerSize leaves room for any number of rows: the header is written first and completed last.
const headerSize = 128

// A Writer writes a float32 matrix [rows, cols], C order, little-endian, row by row. The file appears under its name
// only when [Writer.Commit] succeeds.
type Writer struct {
	path       string
	file       *atomicfile.File
	buf        *bufio.Writer
	rows, cols int
}

// Create begins the file at path, in a folder that exists. Follow it with `defer w.Discard()`.
func Create(path string, cols int) (*Writer, error) {
	file, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	w := &Writer{path: path, file: file, buf: bufio.NewWriterSize(file, 1<<16), cols: cols}
	w.buf.Write(make([]byte, headerSize))
	return w, nil
}

// Append adds a row of cols values, which it copies.
func (w *Writer) Append(row []float32) error {
	if len(row) != w.cols {
		return fmt.Errorf("writing %s: row %d has %d values, want %d", w.path, w.rows, len(row), w.cols)
	}
	b := w.buf.AvailableBuffer()
	for _, v := range row {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	if _, err := w.buf.Write(b); err != nil {
		return fmt.Errorf("writing %s: row %d: %w", w.path, w.rows, err)
	}
	w.rows++
	return nil
}

// Commit completes the header and puts the file in its place.
func (w *Writer) Commit() error {
	if err := w.buf.Flush(); err != nil {
		return fmt.Errorf("writing %s: %w", w.path, err)
	}
	if _, err := w.file.WriteAt(header(w.rows, w.cols), 0); err != nil {
		return fmt.Errorf("writing %s: %w", w.path, err)
	}
	return w.file.Commit()
}

// Discard gives the file up and removes what was written. It does nothing after [Writer.Commit].
func (w *Writer) Discard() { w.file.Discard() }

// header is the magic, the version, the length of what follows, and a Python dict literal padded with spaces to
// headerSize, a multiple of 64, with a newline at the end.
func header(rows, cols int) []byte {
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, cols)
	h := append([]byte("\x93NUMPY\x01\x00"), headerSize-10, 0)
	return fmt.Appendf(h, "%-*s\n", headerSize-11, dict)
}
