package tensorboard

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// TestBytes compares with what TensorBoard writes.
func TestBytes(t *testing.T) {
	data, err := os.ReadFile("testdata/events.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Scalars [][3]any
		File    string
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	got := appendRecord(nil, appendVersion(appendTime(nil, time.UnixMilli(1700000000250))))
	for i, s := range want.Scalars {
		event := appendTime(nil, time.UnixMilli(1700000001500+1000*int64(i)))
		got = appendRecord(got, appendScalar(event, s[0].(string), int64(s[1].(float64)), s[2].(float64)))
	}
	if hex.EncodeToString(got) != want.File {
		t.Errorf("the file is\n%x, want\n%s", got, want.File)
	}
}

type point struct {
	tag   string
	step  int64
	value float32
}

// TestScalars reads back what is in the file at any time.
func TestScalars(t *testing.T) {
	dir := os.Getenv("GRAFT_EVENTS")
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "deep", "run")
	}
	before := time.Now()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^events\.out\.tfevents\.\d{10}\..+\.\d+\.0$`).MatchString(filepath.Base(w.Path())) {
		t.Errorf("the file is %s", w.Path())
	}
	want := []point{{"loss/train", 1, 1.5}, {"loss/test", 1, 0.25}, {"loss/train", 2, float32(math.Inf(1))}, {"", 1 << 50, -1e-30}}
	for i, p := range want {
		if err := w.Scalar(time.Now(), p.tag, p.step, float64(p.value)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, w.Path(), before); !slices.Equal(got, want[:i+1]) {
			t.Errorf("the file holds %v, want %v", got, want[:i+1])
		}
	}
	other, err := Create(dir) // in the same second
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, other.Path(), before); other.Path() == w.Path() || got != nil {
		t.Errorf("another file is %s with %v", other.Path(), got)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Scalar(time.Now(), "loss", 1, 1); err == nil {
		t.Error("a closed file can be written to")
	}
	if _, err := Create(w.Path()); err == nil {
		t.Error("a file is taken for a folder")
	}
}

// read returns the points of a file, whose events are no older than since.
func read(t *testing.T, path string, since time.Time) (points []point) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for first := true; len(data) > 0; first = false {
		n := binary.LittleEndian.Uint64(data)
		event := data[12 : 12+n]
		if !bytes.Equal(appendRecord(nil, event), data[:16+n]) {
			t.Fatalf("a record is %x", data[:16+n])
		}
		data = data[16+n:]
		fields := message(t, event)
		wall := math.Float64frombits(fields[eventWallTime].(uint64))
		if seconds := float64(since.UnixMicro()) / 1e6; wall < seconds || wall > seconds+60 {
			t.Errorf("an event is of %f, now is %f", wall, seconds)
		}
		if first {
			if version := fields[eventFileVersion].([]byte); string(version) != "brain.Event:2" {
				t.Errorf("the version is %q", version)
			}
			continue
		}
		value := message(t, message(t, fields[eventSummary].([]byte))[summaryValue].([]byte))
		step, _ := fields[eventStep].(uint64)
		points = append(points, point{string(value[valueTag].([]byte)), int64(step), math.Float32frombits(value[valueSimpleValue].(uint32))})
	}
	return points
}

// message returns the fields of a message.
func message(t *testing.T, data []byte) map[int]any {
	t.Helper()
	fields := map[int]any{}
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		data = data[n:]
		var value any
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			value, n = protowire.ConsumeFixed32(data)
		case protowire.Fixed64Type:
			value, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(data)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		fields[int(number)], data = value, data[n:]
	}
	return fields
}
