// Package tensorboard writes event files, which TensorBoard draws curves from.
//
// A file is a run of records, each framed as TensorFlow's RecordWriter does
// (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details); a record is an
// Event message
// (https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto).
package tensorboard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Writer appends events to a file. Each is there for TensorBoard as soon as it is written. It is for
// one goroutine at a time.
type Writer struct{ file *os.File }

// Create makes an event file, and the folder for it, which TensorBoard shows as one run together with
// those that are there. The caller closes the writer.
func Create(dir string) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	now := time.Now()
	file, err := createUnique(filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%010d.%s.%d", now.Unix(), host, os.Getpid())))
	if err != nil {
		return nil, err
	}
	w := &Writer{file}
	if err := w.write(appendVersion(appendTime(nil, now))); err != nil {
		file.Close()
		return nil, err
	}
	return w, nil
}

// createUnique adds the first number to a name that makes it a new one.
func createUnique(name string) (*os.File, error) {
	for i := 0; ; i++ {
		file, err := os.OpenFile(fmt.Sprintf("%s.%d", name, i), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return file, err
		}
	}
}

// Path is the file's.
func (w *Writer) Path() string { return w.file.Name() }

// Scalar adds a point to the curve of a tag, such as "loss/train"; what stands before a slash is the
// group that it is shown in.
func (w *Writer) Scalar(at time.Time, tag string, step int64, value float64) error {
	return w.write(appendScalar(appendTime(nil, at), tag, step, value))
}

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }

func (w *Writer) write(event []byte) error {
	_, err := w.file.Write(appendRecord(nil, event))
	return err
}

// The numbers of the fields that are used of the messages Event, Summary and Summary.Value.
const (
	eventWallTime, eventStep, eventFileVersion, eventSummary = 1, 2, 3, 5
	summaryValue                                             = 1
	valueTag, valueSimpleValue                               = 1, 2
)

func appendTime(event []byte, t time.Time) []byte {
	event = protowire.AppendTag(event, eventWallTime, protowire.Fixed64Type)
	return protowire.AppendFixed64(event, math.Float64bits(float64(t.UnixMicro())/1e6))
}

// appendVersion makes an event the first of a file.
func appendVersion(event []byte) []byte {
	event = protowire.AppendTag(event, eventFileVersion, protowire.BytesType)
	return protowire.AppendString(event, "brain.Event:2")
}

func appendScalar(event []byte, tag string, step int64, value float64) []byte {
	v := protowire.AppendTag(nil, valueTag, protowire.BytesType)
	v = protowire.AppendString(v, tag)
	v = protowire.AppendTag(v, valueSimpleValue, protowire.Fixed32Type)
	v = protowire.AppendFixed32(v, math.Float32bits(float32(value)))
	summary := protowire.AppendTag(nil, summaryValue, protowire.BytesType)
	summary = protowire.AppendBytes(summary, v)
	if step != 0 {
		event = protowire.AppendTag(event, eventStep, protowire.VarintType)
		event = protowire.AppendVarint(event, uint64(step))
	}
	event = protowire.AppendTag(event, eventSummary, protowire.BytesType)
	return protowire.AppendBytes(event, summary)
}

// appendRecord frames data: its length, the length's checksum, data, and data's checksum.
func appendRecord(dst, data []byte) []byte {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	dst = append(dst, length...)
	dst = binary.LittleEndian.AppendUint32(dst, maskedCRC(length))
	dst = append(dst, data...)
	return binary.LittleEndian.AppendUint32(dst, maskedCRC(data))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is a CRC-32C, turned and shifted so that data may hold checksums of its own.
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}
