package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// alone checks that a folder holds that many files.
func alone(t *testing.T, dir string, n int) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != n {
		t.Errorf("the folder has %v (%v), want %d files", files, err, n)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.csv")
	for _, text := range []string{"first", "second and longer", ""} {
		err := Write(path, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
		if got := contents(t, path); err != nil || got != text {
			t.Errorf("wrote %q: got %q, %v", text, got, err)
		}
		alone(t, dir, 1)
	}
}

func TestWriteFailsAndKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	os.WriteFile(path, []byte("old"), 0o644)
	failure := errors.New("no loss to write")
	err := Write(path, func(w io.Writer) error {
		fmt.Fprint(w, strings.Repeat("half a file", 100000))
		return failure
	})
	if !errors.Is(err, failure) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v should wrap the cause and name %s", err, path)
	}
	if got := contents(t, path); got != "old" {
		t.Errorf("the old file holds %.20q", got)
	}
	alone(t, dir, 1)
}

func TestWritePanicLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	func() {
		defer func() { recover() }()
		Write(filepath.Join(dir, "x"), func(io.Writer) error { panic("in a plot") })
	}()
	alone(t, dir, 0)
}

func TestWriteToWhereNothingCanBe(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "absent", "x"): "no such file",
		dir:                               "not a regular file",
		os.DevNull:                        "not a regular file",
	} {
		err := Write(path, func(io.Writer) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "writing "+path) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ".tmp") {
			t.Errorf("error %v should name %s and say %q", err, path, want)
		}
	}
	alone(t, dir, 0)
}

func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	dir := t.TempDir()
	plain, path := filepath.Join(dir, "plain"), filepath.Join(dir, "x")
	os.WriteFile(plain, nil, 0o666)
	for _, mode := range []os.FileMode{0, 0o600, 0o664} {
		if mode != 0 {
			os.Chmod(path, mode)
		} else if info, err := os.Stat(plain); err == nil {
			mode = info.Mode() // what a new file gets
		}
		if err := Write(path, func(io.Writer) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, mode)
		}
	}
}

func TestSymbolicLinkStaysOne(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	os.WriteFile(target, []byte("old"), 0o644)
	if err := os.Symlink("target", link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	err := Write(link, func(w io.Writer) error {
		_, err := io.WriteString(w, "new")
		return err
	})
	if _, notLink := os.Readlink(link); err != nil || notLink != nil || contents(t, target) != "new" {
		t.Errorf("target holds %q, errors %v, %v", contents(t, target), err, notLink)
	}
}

func ExampleCreate() {
	dir, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "counted.txt")

	f, err := Create(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Discard()
	n, _ := fmt.Fprintln(f, "? bytes")
	f.WriteAt(fmt.Append(nil, n), 0)
	_, err = os.Stat(path)
	fmt.Println("there before Commit:", err == nil)
	if err := f.Commit(); err != nil {
		fmt.Println(err)
		return
	}
	text, _ := os.ReadFile(path)
	fmt.Print(string(text))
	// Output:
	// there before Commit: false
	// 8 bytes
}
