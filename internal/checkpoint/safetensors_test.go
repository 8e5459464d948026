package checkpoint

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/testutil"
)

// entriesOf reads a whole file, to write it again.
func entriesOf(t testing.TB, f *File) []Entry {
	t.Helper()
	var entries []Entry
	for _, tensor := range f.Tensors() {
		entries = append(entries, Entry{tensor.Name, tensor.Shape, mustRead(t, tensor)})
	}
	return entries
}

// The files were written by safetensors' own save_file.
func TestWriteSafetensorsEqualsReference(t *testing.T) {
	for _, name := range []string{"reference.safetensors", "plain.safetensors"} {
		f := mustOpen(t, filepath.Join("testdata", name))
		entries := entriesOf(t, f)
		slices.Reverse(entries)
		path := filepath.Join(t.TempDir(), name)
		if err := WriteSafetensors(path, entries, f.Metadata); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		want, _ := os.ReadFile(filepath.Join("testdata", name))
		if !bytes.Equal(got, want) {
			t.Errorf("%s: wrote\n%q\nwant\n%q", name, got, want)
		}
	}
}

func TestWriteSafetensorsRoundTrip(t *testing.T) {
	in := mustOpen(t, testutil.Shared(t, "weights", "squeezenet1_0.safetensors"))
	entries := entriesOf(t, in)
	metadata := map[string]string{"b": "2", "a": "1", "c": ""}
	path := filepath.Join(t.TempDir(), "out.safetensors")
	if err := WriteSafetensors(path, entries, metadata); err != nil {
		t.Fatal(err)
	}
	out := mustOpen(t, path)
	if len(out.Tensors()) != len(entries) || len(out.Metadata) != 3 || out.Metadata["b"] != "2" {
		t.Fatalf("%d tensors and metadata %v", len(out.Tensors()), out.Metadata)
	}
	for _, e := range entries {
		got, _ := out.Tensor(e.Name)
		if !slices.Equal(got.Shape, e.Shape) || !slices.Equal(mustRead(t, got), e.Data) {
			t.Errorf("%s came back changed", e.Name)
		}
	}
	first, _ := os.ReadFile(path)
	if err := WriteSafetensors(path, entries, metadata); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(path); !bytes.Equal(first, second) {
		t.Error("equal input gave other bytes")
	}
}

func TestWriteSafetensorsKeepsBits(t *testing.T) {
	nan := math.Float32frombits(0x7fa00001)
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteSafetensors(path, []Entry{{"x", []int{2}, []float32{nan, float32(math.Copysign(0, -1))}}}, nil); err != nil {
		t.Fatal(err)
	}
	x := mustRead(t, mustOpen(t, path).Tensors()[0])
	if math.Float32bits(x[0]) != 0x7fa00001 || math.Float32bits(x[1]) != 1<<31 {
		t.Errorf("bits came back as %#x and %#x", math.Float32bits(x[0]), math.Float32bits(x[1]))
	}
}

func TestWriteSafetensorsOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteSafetensors(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	if f := mustOpen(t, path); len(f.Tensors()) != 0 {
		t.Errorf("found %d tensors", len(f.Tensors()))
	}
}

func TestWriteSafetensorsRefuses(t *testing.T) {
	one := []float32{1}
	for name, test := range map[string]struct {
		entries []Entry
		want    string
	}{
		"shape":          {[]Entry{{"w", []int{2}, one}}, "shape [2] doesn't fit 1 values"},
		"negative shape": {[]Entry{{"w", []int{-1, -1}, one}}, "shape [-1 -1]"},
		"huge shape":     {[]Entry{{"w", []int{1 << 32, 1 << 32}, nil}}, "doesn't fit"},
		"twice":          {[]Entry{{"w", nil, one}, {"v", nil, one}, {"w", nil, one}}, "twice"},
		"reserved name":  {[]Entry{{"__metadata__", nil, one}}, "can't be the name"},
		"not UTF-8":      {[]Entry{{"\xff", nil, one}}, "can't be the name"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.safetensors")
			if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			wantError(t, WriteSafetensors(path, test.entries, nil), path, "tensor", test.want)
			if old, _ := os.ReadFile(path); string(old) != "old" {
				t.Errorf("the old file now holds %q", old)
			}
			if files, _ := os.ReadDir(dir); len(files) != 1 {
				t.Errorf("%d files left behind", len(files)-1)
			}
		})
	}
}

// safetensors puts a file together: the length of the header, the header and n bytes of data.
func safetensors(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

func TestHostileSafetensors(t *testing.T) {
	for name, test := range map[string]struct {
		file []byte
		want []string
	}{
		"terabytes of header":   {append([]byte{0, 0, 0, 0, 0, 1, 0, 0}, "{}"...), []string{"claims a header of 1099511627776 bytes", "has 10 bytes"}},
		"header past 2^63":      {append(bytes.Repeat([]byte{0xff}, 8), "{}"...), []string{"claims a header"}},
		"not JSON":              {safetensors(`{"a"`, 0), []string{"header"}},
		"text after header":     {safetensors(`{} x`, 0), []string{"header"}},
		"two headers":           {safetensors(`{} {}`, 0), []string{"after its closing brace"}},
		"metadata of numbers":   {safetensors(`{"__metadata__":{"a":1}}`, 0), []string{"__metadata__"}},
		"tensor is a number":    {safetensors(`{"w":1}`, 0), []string{`"w"`}},
		"tensor is null":        {safetensors(`{"w":null}`, 0), []string{`"w"`, "element type"}},
		"unknown type":          {safetensors(`{"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}`, 4), []string{`"w"`, "F8_E4M3", "not supported"}},
		"no shape":              {safetensors(`{"w":{"dtype":"F32","data_offsets":[0,4]}}`, 4), []string{`"w"`, "needs a shape"}},
		"one offset":            {safetensors(`{"w":{"dtype":"F32","shape":[],"data_offsets":[0]}}`, 4), []string{`"w"`, "data_offsets"}},
		"negative offset":       {safetensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, 4), []string{`"w"`, "bytes -4 to 0, but"}},
		"offset past the end":   {safetensors(`{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 4), []string{`"w"`, "bytes 0 to 8, but there are 4 bytes"}},
		"offsets in reverse":    {safetensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4), []string{`"w"`}},
		"negative shape":        {safetensors(`{"w":{"dtype":"U8","shape":[-2,-2],"data_offsets":[0,4]}}`, 4), []string{`"w"`, "[-2 -2]"}},
		"shape overflows to 4":  {safetensors(`{"w":{"dtype":"U8","shape":[4611686018427387904,4,4],"data_offsets":[0,4]}}`, 4), []string{`"w"`, "doesn't fit"}},
		"shape overflows int64": {safetensors(`{"w":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,4]}}`, 4), []string{`"w"`}},
		"shape times type":      {safetensors(`{"w":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}}`, 8), []string{`"w"`, "doesn't fit its 8 bytes"}},
		"overlap":               {safetensors(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, 4), []string{`"b"`, "overlap"}},
		"gap":                   {safetensors(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, 4), []string{`"b"`, "gap"}},
		"data left over":        {safetensors(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 4), []string{"3 bytes after the last tensor"}},
		"the same name twice":   {safetensors(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), []string{`"a"`, "twice"}},
		"deep nesting":          {safetensors(`{"a":`+string(bytes.Repeat([]byte("["), 100000)), 0), []string{`"a"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read("hostile.safetensors", bytes.NewReader(test.file), int64(len(test.file)))
			wantError(t, err, append(test.want, "checkpoint hostile.safetensors: ")...)
		})
	}
}
