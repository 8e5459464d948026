package npy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write writes rows of the given width that count up in steps of a half.
func write(t *testing.T, path string, rows, cols int) {
	t.Helper()
	w, err := Create(path, cols)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Discard()
	row := make([]float32, cols)
	for i := range rows {
		for j := range row {
			row[j] = float32(i*cols+j)/2 - 1
		}
		if err := w.Append(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

// The files were written by numpy.save.
func TestEqualsNumPy(t *testing.T) {
	for name, shape := range map[string][2]int{"3x2.npy": {3, 2}, "0x5.npy": {0, 5}, "1x300.npy": {1, 300}} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, shape[0], shape[1])
		got, _ := os.ReadFile(path)
		want, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: wrote\n%q\nwant\n%q", name, got, want)
		}
	}
}

func TestHeaderHoldsAnySize(t *testing.T) {
	const most = 1<<63 - 1
	h := header(most, most)
	if len(h) != headerSize || h[headerSize-1] != '\n' {
		t.Errorf("header of %d bytes: %q", len(h), h)
	}
}

func TestAppendRefusesAnotherWidth(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "x.npy"), 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(make([]float32, 3)); err != nil {
		t.Fatal(err)
	}
	err = w.Append(make([]float32, 2))
	if err == nil || !strings.Contains(err.Error(), "x.npy: row 1 has 2 values, want 3") {
		t.Errorf("error %v", err)
	}
	w.Discard()
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("left %v behind", files)
	}
}

func TestCreateInAbsentFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent", "x.npy")
	if _, err := Create(path, 1); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v doesn't name %s", err, path)
	}
}
