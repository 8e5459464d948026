package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/testutil"
)

// expectation is what PyTorch found in a file of testdata, as make.py noted it down.
type expectation struct {
	Name   string
	DType  DType
	Shape  []int
	Values []float32
}

func expectations(t testing.TB) map[string][]expectation {
	t.Helper()
	data, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var files map[string][]expectation
	if err := json.Unmarshal(data, &files); err != nil {
		t.Fatal(err)
	}
	return files
}

func mustOpen(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mustRead(t testing.TB, tensor Tensor) []float32 {
	t.Helper()
	values, err := tensor.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestOpenFindsWhatPyTorchFinds(t *testing.T) {
	for name, want := range expectations(t) {
		t.Run(name, func(t *testing.T) {
			f := mustOpen(t, filepath.Join("testdata", name))
			if got := len(f.Tensors()); got != len(want) {
				t.Fatalf("%d tensors, want %d", got, len(want))
			}
			for i, w := range want {
				got := f.Tensors()[i]
				if strings.HasSuffix(name, ".safetensors") { // in the order of its header
					got, _ = f.Tensor(w.Name)
				}
				if got.Name != w.Name || got.DType != w.DType || !slices.Equal(got.Shape, w.Shape) {
					t.Errorf("tensor %d is %s %s %v, want %s %s %v", i, got.Name, got.DType, got.Shape, w.Name, w.DType, w.Shape)
				}
				if values := mustRead(t, got); !slices.Equal(values, w.Values) || got.Len() != len(w.Values) {
					t.Errorf("%s = %v, want %v", w.Name, values, w.Values)
				}
			}
		})
	}
}

func TestTensorsKeepFileOrder(t *testing.T) {
	f := mustOpen(t, "testdata/reference.safetensors")
	var names []string
	for _, tensor := range f.Tensors() {
		names = append(names, tensor.Name)
	}
	if want := []string{"a", "b\"\\/<>&é\n\x01", "head.bias", "head.weight"}; !slices.Equal(names, want) {
		t.Errorf("order %q, want %q", names, want)
	}
	if got := f.Metadata["classes"]; got != `pizza, "steak" & <sushi>` {
		t.Errorf("metadata %q", got)
	}
}

// Values belong to the caller: changing them changes nothing that is read later.
func TestValuesAreTheCallers(t *testing.T) {
	f := mustOpen(t, "testdata/dtypes_zip.pth")
	tensor, ok := f.Tensor("F32")
	if !ok {
		t.Fatal("no tensor F32")
	}
	first := mustRead(t, tensor)
	want := first[0]
	first[0]++
	if got := mustRead(t, tensor)[0]; got != want {
		t.Errorf("read %v after a caller changed its copy, want %v", got, want)
	}
	if _, ok := f.Tensor("f32"); ok {
		t.Error("found a tensor by a name that it doesn't have")
	}
}

func TestReadAfterClose(t *testing.T) {
	f := mustOpen(t, "testdata/dtypes.safetensors")
	f.Close()
	_, err := f.Tensors()[0].Float32s()
	wantError(t, err, "dtypes.safetensors", f.Tensors()[0].Name, "closed")
}

func TestRealWeights(t *testing.T) {
	for name, params := range map[string]int{
		"mobilenet_v2.safetensors":  3504872 + 2*17056 + 52, // with running statistics and batch counters
		"squeezenet1_0.safetensors": 1248424,
	} {
		f := mustOpen(t, testutil.Shared(t, "weights", name))
		n := 0
		for _, tensor := range f.Tensors() {
			n += len(mustRead(t, tensor))
		}
		if n != params {
			t.Errorf("%s has %d values, want %d", name, n, params)
		}
	}
}

// wantError checks that an error says all of it.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q doesn't say %q", err, part)
		}
	}
}
