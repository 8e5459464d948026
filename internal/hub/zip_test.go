package hub

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"testing"
)

// zipped returns an archive of the files, a name and a content each. A name that ends with "@" becomes a symbolic link
// to its content. Only what is big enough for a bomb is compressed.
func zipped(t testing.TB, files ...string) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for i := 0; i < len(files); i += 2 {
		header := &zip.FileHeader{Name: files[i]}
		if len(files[i+1]) > 4<<20 {
			header.Method = zip.Deflate
		}
		if n := len(header.Name) - 1; header.Name[n] == '@' {
			header.Name = header.Name[:n]
			header.SetMode(fs.ModeSymlink | 0o777)
		}
		f, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(f, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}
