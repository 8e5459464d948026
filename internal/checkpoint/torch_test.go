package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A checkpoint that holds something else than a state dict says what it holds.
func TestNotAStateDict(t *testing.T) {
	for name, want := range map[string][]string{
		"model_%s.pth":         {"a pickled Python object of class __main__.Net, not a state dict", "save model.state_dict()"},
		"in_checkpoint_%s.pth": {"a pickled Python object of class __main__.Net, not a state dict"},
		"tensor_%s.pth":        {"a single tensor, not a state dict"},
		"no_tensors_%s.pth":    {"without tensors", `"epoch", "weights"`},
		"evil_%s.pth":          {"asks for a call of posix.system", "nothing was executed"},
		"eval_%s.pth":          {"asks for a call of __builtin__.eval", "nothing was executed"},
	} {
		for _, kind := range []string{"zip", "legacy"} {
			path := filepath.Join("testdata", fmt.Sprintf(name, kind))
			_, err := Open(path)
			wantError(t, err, append(want, path)...)
		}
	}
	if _, err := os.Stat("executed"); err == nil {
		t.Error("a pickle was executed")
	}
}

func TestUnsupported(t *testing.T) {
	for name, want := range map[string]string{
		"protocol4.pth": "protocol 4",
		"complex.pth":   `tensor "w": is kept in a torch.ComplexFloatStorage, which is not supported`,
		"make.py":       "is neither safetensors nor a PyTorch checkpoint",
		".":             "is not a regular file",
		"absent.pth":    "no such file",
	} {
		path := filepath.Join("testdata", name)
		_, err := Open(path)
		wantError(t, err, path, want)
	}
}

// archive packs a pickle and storages as torch.save does.
func archive(t testing.TB, pickle string, storages ...string) []byte {
	t.Helper()
	entries := []zipEntry{{"a/data.pkl", pickle, zip.Store}}
	for i, s := range storages {
		entries = append(entries, zipEntry{fmt.Sprintf("a/data/%d", i), s, zip.Store})
	}
	return pack(t, entries...)
}

type zipEntry struct {
	name, data string
	method     uint16
}

func pack(t testing.TB, entries ...zipEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, e.data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// legacy puts the same together in the older format, with one storage "0" at most.
func legacy(object, storage string) []byte {
	b := []byte(legacyMagic + "\x80\x02}." + object)
	if storage == "" {
		return append(b, "\x80\x02]."...)
	}
	b = append(b, "\x80\x02](X\x01\x00\x00\x000e."...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(storage)/4))
	return append(b, storage...)
}

const rebuild = "ctorch._utils\n_rebuild_tensor_v2\n"

// tensor is the pickle of {"w": tensor} with float32 storage "0" of count elements; offset, shape and strides are
// pickled values.
func tensor(count byte, offset, shape, strides string) string {
	storage := "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK" + string(count) + "tQ"
	return "\x80\x02}X\x01\x00\x00\x00w" + rebuild + "(" + storage + offset + shape + strides + "\x89NtRs."
}

// number pickles a 64-bit integer.
func number(n int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func TestHandmadePickleIsRead(t *testing.T) {
	pickle := tensor(2, "K\x00", "K\x02\x85", "K\x01\x85")
	storage := "\x00\x00\x80\x3f\x00\x00\x00\x40"
	for kind, file := range map[string][]byte{"zip": archive(t, pickle, storage), "legacy": legacy(pickle, storage)} {
		f, err := read(kind, bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		w, _ := f.Tensor("w")
		if v := mustRead(t, w); len(v) != 2 || v[0] != 1 || v[1] != 2 {
			t.Errorf("%s: read %v", kind, v)
		}
	}
}

// Both containers refuse what a pickle claims and the file doesn't bear out.
func TestHostilePickles(t *testing.T) {
	eight := strings.Repeat("\x00", 8)
	for name, test := range map[string]struct {
		pickle string
		want   []string
	}{
		"offset outside":           {tensor(2, "K\x03", "K\x01\x85", "K\x01\x85"), []string{`"w"`, "begins at element 3 of a storage of 2"}},
		"negative offset":          {tensor(2, number(-1), "K\x01\x85", "K\x01\x85"), []string{`"w"`, "begins at element -1"}},
		"shape outside":            {tensor(2, "K\x01", "K\x02\x85", "K\x01\x85"), []string{`"w"`, "leaves its storage"}},
		"stride outside":           {tensor(2, "K\x00", "K\x02\x85", "K\x02\x85"), []string{`"w"`, "leaves its storage"}},
		"stride overflows":         {tensor(2, "K\x00", "K\x02K\x01\x86", number(1<<62)+number(1<<62)+"\x86"), []string{`"w"`, "leaves its storage"}},
		"negative stride":          {tensor(2, "K\x01", "K\x02\x85", number(-1)+"\x85"), []string{`"w"`, "leaves its storage"}},
		"negative shape":           {tensor(2, "K\x00", number(-2)+"\x85", "K\x01\x85"), []string{`"w"`, "shape [-2]"}},
		"shape overflows":          {tensor(2, "K\x00", number(1<<62)+number(4)+"\x86", "K\x01K\x01\x86"), []string{`"w"`, "doesn't fit"}},
		"terabytes by stride 0":    {tensor(2, "K\x00", number(1<<40)+"\x85", "K\x00\x85"), []string{`"w"`, "doesn't fit", "contiguous"}},
		"fewer strides":            {tensor(2, "K\x00", "K\x02\x85", ")"), []string{`"w"`, "1 dimensions and 0 strides"}},
		"too many dimensions":      {tensor(2, "K\x00", "("+strings.Repeat("K\x01", 65)+"t", "("+strings.Repeat("K\x01", 65)+"t"), []string{`"w"`, "65 dimensions"}},
		"storage not there":        {tensor(3, "K\x00", "K\x03\x85", "K\x01\x85"), []string{`storage "0"`}},
		"shape of strings":         {tensor(2, "K\x00", "X\x00\x00\x00\x00\x85", "K\x01\x85"), []string{"rebuilds a tensor from other things"}},
		"tensor of nothing":        {"\x80\x02" + rebuild + ")R.", []string{"from 0 arguments"}},
		"parameter of nothing":     {"\x80\x02ctorch._utils\n_rebuild_parameter\n)R.", []string{"without a tensor"}},
		"negative storage":         {"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x00\x00\x00\x00NJ\xff\xff\xff\xfftQ.", []string{"without a key or a count"}},
		"other persistent object":  {"\x80\x02K\x01Q.", []string{"neither a storage nor a module"}},
		"storage of no class":      {"\x80\x02(X\x07\x00\x00\x00storageNNNNtQ.", []string{"neither a storage nor a module"}},
		"a gigabyte of string":     {"\x80\x02X\x00\x00\x00\x40abc.", []string{"more than 67108864 bytes"}},
		"a string cut short":       {"\x80\x02X\x00\x00\x00\x01abc.", []string{"pickle", "byte"}},
		"four gigabytes of string": {"\x80\x02T\xff\xff\xff\xffabc.", []string{"more than 67108864 bytes"}},
		"quadratic integer":        {"\x80\x02\x8b\x00\x00\x00\x01.", []string{"operation 0x8b"}},
		"extension":                {"\x80\x02\x82\x01.", []string{"operation 0x82"}},
		"operation 255":            {"\x80\x02\xff.", []string{"operation 0xff"}},
		"instance by text":         {"\x80\x02(ios\nsystem\n.", []string{"operation 0x69"}},
		"integer of no bytes":      {"\x80\x02\x8a\x00.", []string{"malformed"}},
		"list as a key":            {"\x80\x02ccollections\nOrderedDict\n)R]Ns.", []string{"without tensors", "none"}},
		"odd items":                {"\x80\x02}(Nu.", []string{"malformed"}},
		"nothing on the stack":     {"\x80\x02R.", []string{"pickle"}},
		"no mark":                  {"\x80\x02t.", []string{"pickle"}},
		"a model with a partial":   {"\x80\x02c__main__\nNet\nq\x00)\x81q\x01cfunctools\npartial\n)Rb.", []string{"object of class __main__.Net, not a state dict"}},
		"shape of no tuple":        {tensor(2, "K\x00", "K\x02", "K\x01\x85"), []string{"rebuilds a tensor from other things"}},
		"view of a storage":        {strings.Replace(tensor(2, "K\x00", ")", ")"), "tQ", "K\x01tQ", 1), []string{"part of another one"}},
		"a list":                   {"\x80\x02].", []string{"a Python value that is not a dict"}},
		"None":                     {"\x80\x02N.", []string{"a Python value that is not a dict"}},
		"an empty dict":            {"\x80\x02}.", []string{"without tensors", "none"}},
		"a dict in itself":         {"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.", []string{"without tensors"}},
		"the same name twice":      {"\x80\x02" + strings.TrimSuffix(tensor(2, "K\x00", ")", ")"), ".")[2:] + strings.TrimPrefix(tensor(2, "K\x00", ")", ")"), "\x80\x02}"), []string{`"w"`, "twice"}},
		"two million operations":   {"\x80\x02" + strings.Repeat("N0", 1<<20) + ".", []string{"more than 1048576 operations"}},
		"no end":                   {"\x80\x02}", []string{"pickle"}},
	} {
		storage := ""
		if strings.Contains(test.pickle, "FloatStorage") {
			storage = eight
		}
		for kind, file := range map[string][]byte{"zip": archive(t, test.pickle, storage), "legacy": legacy(test.pickle, storage)} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				_, err := read("hostile.pth", bytes.NewReader(file), int64(len(file)))
				wantError(t, err, append(test.want, "checkpoint hostile.pth: ")...)
			})
		}
	}
}

func TestHostileZips(t *testing.T) {
	pickle := tensor(2, "K\x00", "K\x02\x85", "K\x01\x85")
	eight := strings.Repeat("\x00", 8)
	claim := func(file []byte) []byte { // a size of almost 4 GB in the central directory, for the last entry
		at := bytes.LastIndex(file, []byte("PK\x01\x02"))
		copy(file[at+20:], "\xf0\xff\xff\xff\xf0\xff\xff\xff")
		return file
	}
	for name, test := range map[string]struct {
		file []byte
		want []string
	}{
		"magic alone":       {[]byte("PK\x03\x04" + strings.Repeat(" ", 30)), []string{"zip"}},
		"no data.pkl":       {pack(t, zipEntry{"a/b", "", zip.Store}), []string{`no zip entry "a/data.pkl"`}},
		"no storage":        {archive(t, pickle), []string{`"w"`, `no zip entry "a/data/0"`}},
		"short storage":     {archive(t, pickle, "abcd"), []string{`"w"`, "claims 2 elements of F32, but has 4 bytes"}},
		"entry twice":       {pack(t, zipEntry{"a/data.pkl", pickle, zip.Store}, zipEntry{"a/data.pkl", pickle, zip.Store}), []string{"twice"}},
		"compressed":        {pack(t, zipEntry{"a/data.pkl", pickle, zip.Store}, zipEntry{"a/data/0", eight, zip.Deflate}), []string{`"w"`, `"a/data/0" is compressed`}},
		"compressed pickle": {pack(t, zipEntry{"a/data.pkl", pickle, zip.Deflate}), []string{"is compressed"}},
		"size of 4 GB":      {claim(archive(t, pickle, eight)), []string{`"w"`, "claims 4294967280 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read("hostile.pth", bytes.NewReader(test.file), int64(len(test.file)))
			wantError(t, err, append(test.want, "checkpoint hostile.pth: ")...)
		})
	}
}

func TestHostileLegacy(t *testing.T) {
	pickle := tensor(2, "K\x00", "K\x02\x85", "K\x01\x85")
	sysInfo := legacyMagic + "\x80\x02}."
	for name, test := range map[string]struct {
		file string
		want string
	}{
		"magic alone":       {legacyMagic, "pickle"},
		"no list of keys":   {sysInfo + pickle + "\x80\x02N.", "no list of storages"},
		"keys are numbers":  {sysInfo + pickle + "\x80\x02](K\x00e.", "no tensor refers to"},
		"storage not there": {string(legacy(pickle, "")), `storage "0" is missing`},
		"terabytes":         {sysInfo + pickle + "\x80\x02](X\x01\x00\x00\x000e.\x00\x00\x00\x00\x00\x01\x00\x00", "claims 1099511627776 elements"},
		"other pickle":      {"\x80\x02}.", "a pickle that torch.save did not write"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read("hostile.pth", strings.NewReader(test.file), int64(len(test.file)))
			wantError(t, err, test.want)
		})
	}
}

// A file that ends at any byte before its last is an error, and so is one that became shorter after it was opened.
func TestTruncated(t *testing.T) {
	for name := range expectations(t) {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			if _, err := read("cut", bytes.NewReader(whole[:n]), int64(n)); err == nil {
				t.Errorf("%s: the first %d of %d bytes open without an error", name, n, len(whole))
			}
		}
	}

	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteSafetensors(path, []Entry{{"w", []int{3}, []float32{1, 2, 3}}}, nil); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, path)
	if err := os.Truncate(path, 70); err != nil {
		t.Fatal(err)
	}
	_, err := f.Tensors()[0].Float32s()
	wantError(t, err, path, `tensor "w"`, "the file ends")
}

// Whichever byte is another one, reading ends in values or an error.
func TestChangedBytes(t *testing.T) {
	for name := range expectations(t) {
		file, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for i, old := range file {
			file[i] = ^old
			readAll(t, file)
			file[i] = old
		}
	}
}

// readAll opens a file and reads its tensors, and checks what holds for every file.
func readAll(t testing.TB, file []byte) {
	f, err := read("fuzz", bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return
	}
	for _, tensor := range f.Tensors() {
		values, err := tensor.Float32s()
		if err != nil || len(values) != tensor.Len() || len(values) > len(file) {
			t.Errorf("tensor %q %v of a file of %d bytes: %d values, error %v", tensor.Name, tensor.Shape, len(file), len(values), err)
		}
	}
}

// What a small file claims doesn't make it cost more than its size allows.
func TestHostileFilesTakeLittleMemory(t *testing.T) {
	const limit = 4 << 20
	for name, file := range map[string][]byte{
		"string":           archive(t, "\x80\x02X\x00\x00\x00\x03abc."),
		"storage":          []byte(legacyMagic + "\x80\x02}." + tensor(2, "K\x00", number(1<<50)+"\x85", "K\x01\x85") + "\x80\x02]."),
		"zero stride":      archive(t, tensor(2, "K\x00", number(1<<50)+"\x85", "K\x00\x85"), strings.Repeat("\x00", 8)),
		"header":           append([]byte{0, 0, 0, 5, 0, 0, 0, 0}, '{'),
		"safetensor shape": safetensors(`{"w":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}`, 4),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		readAll(t, file)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > limit {
			t.Errorf("%s: %d bytes of file took %d bytes of memory", name, len(file), took)
		}
	}
}

func FuzzOpen(f *testing.F) {
	pytorch, _ := filepath.Glob("testdata/*.pth")
	safetensors, _ := filepath.Glob("testdata/*.safetensors")
	for _, name := range slices.Concat(pytorch, safetensors) {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) { readAll(t, file) })
}

// Pickles alone: a fuzzer seldom gets through a zip archive's checksums and offsets.
func FuzzPickle(f *testing.F) {
	for _, name := range []string{"checkpoint_zip.pth", "views_zip.pth", "model_zip.pth", "evil_zip.pth"} {
		archive, err := zip.OpenReader(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		entry, err := archive.File[0].Open()
		if err != nil {
			f.Fatal(err)
		}
		pickle, err := io.ReadAll(entry)
		if err != nil {
			f.Fatal(err)
		}
		archive.Close()
		f.Add(pickle)
	}
	f.Fuzz(func(t *testing.T, pickle []byte) {
		readAll(t, legacy(string(pickle), strings.Repeat("\x00", 400)))
		readAll(t, archive(t, string(pickle), strings.Repeat("\x00", 400), "1234"))
	})
}
