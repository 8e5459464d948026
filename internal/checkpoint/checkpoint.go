// Package checkpoint reads named tensors from the files that PyTorch and Hugging Face write, and writes them as
// safetensors.
//
// [Open] tells three kinds apart by their content, never by their name:
//
//   - safetensors (https://github.com/huggingface/safetensors#format),
//   - what torch.save writes since PyTorch 1.6: a zip archive with a pickle and one entry for each storage,
//   - what torch.save wrote before, and torchvision's weights still are: a run of pickles followed by the storages
//     (both in https://github.com/pytorch/pytorch/blob/main/torch/serialization.py).
//
// Of a PyTorch checkpoint it finds the state dict: the object itself, or what it holds under "state_dict", "model" or
// "model_state_dict". Prefixes that DataParallel ("module.") and torch.compile ("_orig_mod.") put before every name are
// taken off. A pickle is never trusted: nothing that it names is executed, and one that asks for a call other than
// those that rebuild a tensor is refused.
//
// Opening reads and checks the directory of the file, which is small; a tensor's values are read when they are asked
// for, straight into memory that the caller owns. Files are taken as hostile: sizes, offsets, shapes and names are
// checked against the size of the file before anything is allocated from them.
package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// File is an open checkpoint. It may be used from several goroutines until it is closed.
type File struct {
	// Metadata is the free text of a safetensors file, its __metadata__. PyTorch files have none.
	Metadata map[string]string

	path    string
	src     io.ReaderAt
	size    int64
	tensors []Tensor
	index   map[string]int // position in tensors by name
}

// Open reads the directory of the checkpoint at path. Every error names the file, and the tensor it is about.
// The caller must close the file.
func Open(path string) (*File, error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	f, err := openFile(path, src)
	if err != nil {
		src.Close()
		return nil, err
	}
	return f, nil
}

func openFile(path string, src *os.File) (*File, error) {
	info, err := src.Stat()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("checkpoint %s: is not a regular file", path)
	}
	return read(path, src, info.Size())
}

// read reads the directory of a checkpoint that lies in the first size bytes of src.
func read(path string, src io.ReaderAt, size int64) (*File, error) {
	f := &File{path: path, src: src, size: size, index: map[string]int{}}
	if err := f.readDirectory(); err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return f, nil
}

func (f *File) readDirectory() error {
	head := make([]byte, min(f.size, int64(len(legacyMagic))))
	if err := readAt(f.src, head, 0); err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return f.readZip()
	case string(head) == legacyMagic:
		return f.readLegacy()
	case len(head) > 8 && head[8] == '{':
		return f.readSafetensors()
	case len(head) > 0 && head[0] == 0x80:
		return errors.New("is a pickle that torch.save did not write with its default protocol; save model.state_dict() with torch.save")
	default:
		return fmt.Errorf("is neither safetensors nor a PyTorch checkpoint: it has %d bytes and begins with %q", f.size, head)
	}
}

// Tensors returns the tensors in the order of the file. The caller must not modify the slice.
func (f *File) Tensors() []Tensor { return f.tensors }

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return Tensor{}, false
	}
	return f.tensors[i], true
}

// Close closes the file. Values that were read stay valid; tensors that were not read can't be read any more.
func (f *File) Close() error {
	if c, ok := f.src.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// add lists a tensor whose position and shape have been checked.
func (f *File) add(t Tensor) error {
	if _, ok := f.index[t.Name]; ok {
		return fmt.Errorf("tensor %q: the name is there twice", t.Name)
	}
	f.index[t.Name] = len(f.tensors)
	f.tensors = append(f.tensors, t)
	return nil
}

// readAt fills b from off. A file that ends before is an error that says so.
func readAt(src io.ReaderAt, b []byte, off int64) error {
	n, err := src.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the file ends after %d of the %d bytes at offset %d", n, len(b), off)
	default:
		return err
	}
}

// elements returns the number of elements of a shape, and false if a dimension is negative or the number exceeds limit.
func elements(shape []int, limit int64) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > 0 && n > limit/int64(d) {
			return 0, false
		}
		n *= int64(d)
	}
	return n, n <= limit
}
