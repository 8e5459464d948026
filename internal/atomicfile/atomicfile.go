// Package atomicfile writes files that are either complete or absent. The bytes go to a temporary file in the same
// folder, which takes the place of the old file in one rename once all of it is on disk. Whatever fails before that
// leaves the old file as it was and nothing beside it.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// prefix begins the names of temporary files.
const prefix = ".graft-"

// Write replaces the file at path by what write produces. The writer is buffered and valid only during the call.
// The folder must exist. A new file gets the permissions the umask leaves; an old one's are kept.
func Write(path string, write func(io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := write(w); err != nil {
		return writing(path, err)
	}
	if err := w.Flush(); err != nil {
		return writing(path, err)
	}
	return f.Commit()
}

// A File is being written and appears under its own name only at [File.Commit]. It is for contents that don't arrive
// within one function call; otherwise use [Write].
type File struct {
	temp *os.File
	path string
}

// Create begins a file that is to replace the one at path, of which nothing is touched yet. If path is a symbolic
// link, the file it points to is replaced. Follow it with `defer f.Discard()`.
func Create(path string) (*File, error) {
	target := path
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		target = resolved
	}
	old, err := os.Stat(target)
	exists := err == nil
	if exists && !old.Mode().IsRegular() {
		return nil, writing(path, errors.New("it exists and is not a regular file"))
	}
	name := filepath.Join(filepath.Dir(target), fmt.Sprintf("%s%016x.tmp", prefix, rand.Uint64()))
	temp, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, writing(path, err)
	}
	f := &File{temp: temp, path: target}
	if exists {
		if err := temp.Chmod(old.Mode().Perm()); err != nil {
			f.Discard()
			return nil, writing(path, err)
		}
	}
	return f, nil
}

// Write implements [io.Writer], unbuffered.
func (f *File) Write(p []byte) (int, error) { return f.temp.Write(p) }

// WriteAt implements [io.WriterAt], for headers that are known only at the end.
func (f *File) WriteAt(p []byte, off int64) (int, error) { return f.temp.WriteAt(p, off) }

// Commit flushes the file to disk and puts it in its place. On an error the old file stays and the new one is gone.
func (f *File) Commit() error {
	defer f.Discard()
	if err := f.temp.Sync(); err != nil {
		return writing(f.path, err)
	}
	if err := f.temp.Close(); err != nil {
		return writing(f.path, err)
	}
	if err := os.Rename(f.temp.Name(), f.path); err != nil {
		return writing(f.path, err)
	}
	f.temp = nil
	return nil
}

// Discard removes what was written so far. It does nothing after [File.Commit].
func (f *File) Discard() {
	if f.temp == nil {
		return
	}
	f.temp.Close()
	os.Remove(f.temp.Name())
	f.temp = nil
}

// writing names the file that was asked for, in place of the temporary one that system calls speak of.
func writing(path string, err error) error {
	var pathError *fs.PathError
	var linkError *os.LinkError
	if errors.As(err, &pathError) && strings.HasPrefix(filepath.Base(pathError.Path), prefix) {
		err = pathError.Err
	} else if errors.As(err, &linkError) {
		err = linkError.Err
	}
	return fmt.Errorf("writing %s: %w", path, err)
}
