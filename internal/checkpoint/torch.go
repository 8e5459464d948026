package checkpoint

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nlpodyssey/gopickle/types"
)

// legacyMagic is how torch.save began before PyTorch 1.6: one pickle of a magic number and one of the version, 1001.
const legacyMagic = "\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."

// storageTypes are the element types by the class of the storage.
var storageTypes = map[string]DType{
	"torch.DoubleStorage": F64, "torch.FloatStorage": F32, "torch.HalfStorage": F16, "torch.BFloat16Storage": BF16,
	"torch.LongStorage": I64, "torch.IntStorage": I32, "torch.ShortStorage": I16, "torch.CharStorage": I8,
	"torch.ByteStorage": U8, "torch.BoolStorage": BOOL,
}

// locator finds a storage in the file: where it begins and how many bytes are there for it.
type locator func(*storage) (offset, size int64, err error)

// maxRank is the largest number of dimensions PyTorch works with.
const maxRank = 64

func newUnpickler(r io.Reader) *unpickler {
	return &unpickler{r: bufio.NewReader(r), storages: map[string]*storage{}}
}

// readZip reads what torch.save writes since PyTorch 1.6: below one folder a data.pkl, a byteorder, and data/0, data/1
// and so on for the storages, none of them compressed. Their checksums are left alone as torch.load leaves them:
// they may be absent.
func (f *File) readZip() error {
	archive, err := zip.NewReader(f.src, f.size)
	if err != nil {
		return fmt.Errorf("begins like a zip archive: %w; download it again", err)
	}
	entries := map[string]*zip.File{}
	for _, e := range archive.File {
		if entries[e.Name] != nil {
			return fmt.Errorf("has the zip entry %q twice", e.Name)
		}
		entries[e.Name] = e
	}
	folder := ""
	if len(archive.File) > 0 {
		folder, _, _ = strings.Cut(archive.File[0].Name, "/")
	}
	section := func(name string) (*io.SectionReader, error) { return f.section(entries, folder+"/"+name) }

	object, err := section("data.pkl")
	if err != nil {
		return err
	}
	root, err := newUnpickler(object).next()
	if err != nil {
		return err
	}
	bigEndian := false
	if order, err := section("byteorder"); err == nil { // absent before PyTorch 2.1, which meant little
		text, err := io.ReadAll(io.LimitReader(order, 3))
		if err != nil {
			return err
		}
		bigEndian = string(text) == "big"
	}
	return f.addStateDict(root, bigEndian, func(s *storage) (int64, int64, error) {
		data, err := section("data/" + s.key)
		if err != nil {
			return 0, 0, err
		}
		_, offset, size := data.Outer()
		return offset, size, nil
	})
}

// section returns a stored zip entry as the part of the file that it is.
func (f *File) section(entries map[string]*zip.File, name string) (*io.SectionReader, error) {
	e := entries[name]
	if e == nil {
		return nil, fmt.Errorf("has no zip entry %q, which torch.save would write", name)
	}
	if e.Method != zip.Store || e.Flags&1 != 0 || e.CompressedSize64 != e.UncompressedSize64 {
		return nil, fmt.Errorf("zip entry %q is compressed or encrypted, which torch.save doesn't do; load and save it with PyTorch", name)
	}
	offset, err := e.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("zip entry %q: %w", name, err)
	}
	if offset > f.size || e.CompressedSize64 > uint64(f.size-offset) {
		return nil, fmt.Errorf("zip entry %q claims %d bytes, more than the file has", name, e.CompressedSize64)
	}
	return io.NewSectionReader(f.src, offset, int64(e.CompressedSize64)), nil
}

// readLegacy reads what torch.save wrote before PyTorch 1.6: after the magic number and the version, pickles of the
// writing machine's properties, of the object and of the list of storage keys, and then the storages in that order,
// each a count of elements (int64) and the elements, all little-endian.
func (f *File) readLegacy() error {
	begin := int64(len(legacyMagic))
	u := newUnpickler(io.NewSectionReader(f.src, begin, f.size-begin))
	if _, err := u.next(); err != nil {
		return err
	}
	root, err := u.next()
	if err != nil {
		return err
	}
	keys, err := u.next()
	if err != nil {
		return err
	}
	list, ok := keys.(*types.List)
	if !ok {
		return errors.New("has no list of storages")
	}
	offsets, err := f.placeStorages(*list, u.storages, begin+u.read)
	if err != nil {
		return err
	}
	return f.addStateDict(root, false, func(s *storage) (int64, int64, error) {
		offset, ok := offsets[s.key]
		if !ok {
			return 0, 0, fmt.Errorf("storage %q is missing", s.key)
		}
		return offset, f.size - offset, nil
	})
}

// placeStorages walks over the storages, which begin at pos, and returns where each one's elements begin.
func (f *File) placeStorages(keys []any, storages map[string]*storage, pos int64) (map[string]int64, error) {
	offsets := map[string]int64{}
	for i, k := range keys {
		key, _ := k.(string)
		s := storages[key]
		if s == nil {
			return nil, fmt.Errorf("storage %d of %d is one that no tensor refers to", i+1, len(keys))
		}
		size, ok := sizes[storageTypes[s.class]]
		if !ok {
			return nil, fmt.Errorf("storage %q is a %s, which is not supported", key, s.class)
		}
		count := make([]byte, 8)
		if err := readAt(f.src, count, pos); err != nil {
			return nil, fmt.Errorf("storage %q: %w", key, err)
		}
		pos += 8
		if n := binary.LittleEndian.Uint64(count); n != uint64(s.count) || n > uint64(f.size-pos)/uint64(size) {
			return nil, fmt.Errorf("storage %q: claims %d elements, where tensors refer to %d and %d bytes are left; the file is cut short or damaged", key, n, s.count, f.size-pos)
		}
		offsets[key] = pos
		pos += int64(s.count) * int64(size)
	}
	return offsets, nil
}

// stateDictKeys are where training scripts keep the state dict in a checkpoint that holds more.
var stateDictKeys = []string{"state_dict", "model", "model_state_dict"}

// wrappers are the prefixes that a wrapped model puts before every name, in either order of wrapping.
var wrappers = []string{"_orig_mod.", "module.", "_orig_mod."}

// addStateDict lists the tensors of the state dict that root is or has.
func (f *File) addStateDict(root any, bigEndian bool, locate locator) error {
	dict, err := stateDict(root)
	if err != nil {
		return err
	}
	var names []string
	var views []*view
	for _, e := range dict {
		v, isTensor := e.Value.(*view)
		name, isName := e.Key.(string)
		if isTensor && isName {
			names = append(names, name)
			views = append(views, v)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("holds a dict without tensors (its keys: %s); save model.state_dict()", keysOf(dict))
	}
	for _, prefix := range wrappers {
		if !slices.ContainsFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) }) {
			for i := range names {
				names[i] = names[i][len(prefix):]
			}
		}
	}
	for i, v := range views {
		t, err := v.tensor(locate)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", names[i], err)
		}
		t.Name, t.bigEndian, t.file = names[i], bigEndian, f
		if err := f.add(t); err != nil {
			return err
		}
	}
	return nil
}

// stateDict returns the items of the state dict that root is or has, in order.
func stateDict(root any) ([]types.DictEntry, error) {
	dict, ok := items(root)
	if !ok {
		return nil, notStateDict(root)
	}
	for _, key := range stateDictKeys {
		i := slices.IndexFunc(dict, func(e types.DictEntry) bool { return e.Key == key })
		if i < 0 {
			continue
		}
		if inner, ok := items(dict[i].Value); ok {
			return inner, nil
		}
		if _, ok := dict[i].Value.(*object); ok {
			return nil, fmt.Errorf("under %q %w", key, notStateDict(dict[i].Value))
		}
	}
	return dict, nil
}

// items returns the items of a dict or OrderedDict in order.
func items(v any) ([]types.DictEntry, bool) {
	switch v := v.(type) {
	case *types.Dict:
		return *v, true
	case *types.OrderedDict:
		entries := make([]types.DictEntry, 0, v.Len())
		for e := v.List.Front(); e != nil; e = e.Next() {
			item := e.Value.(*types.OrderedDictEntry)
			entries = append(entries, types.DictEntry{Key: item.Key, Value: item.Value})
		}
		return entries, true
	}
	return nil, false
}

func keysOf(dict []types.DictEntry) string {
	var keys []string
	for _, e := range dict[:min(len(dict), maxListed)] {
		if key, ok := e.Key.(string); ok {
			keys = append(keys, fmt.Sprintf("%.50q", key))
		}
	}
	if len(keys) == 0 {
		return "none"
	}
	return strings.Join(keys, ", ")
}

// tensor checks the view against its storage and the storage against the file.
func (v *view) tensor(locate locator) (Tensor, error) {
	s := v.storage
	dtype, ok := storageTypes[s.class]
	if !ok {
		return Tensor{}, fmt.Errorf("is kept in a %s, which is not supported", s.class)
	}
	offset, size, err := locate(s)
	if err != nil {
		return Tensor{}, err
	}
	elementSize := sizes[dtype]
	if int64(s.count) > size/int64(elementSize) {
		return Tensor{}, fmt.Errorf("storage %q claims %d elements of %s, but has %d bytes", s.key, s.count, dtype, size)
	}
	if err := v.check(); err != nil {
		return Tensor{}, err
	}
	t := Tensor{DType: dtype, Shape: v.shape, offset: offset + int64(v.offset)*int64(elementSize)}
	if !v.contiguous() {
		t.axes = v.axes()
	}
	return t, nil
}

// check makes sure that the view stays inside its storage, and that it doesn't repeat elements so often that reading it
// would take more memory than the storage does.
func (v *view) check() error {
	count := int64(v.storage.count)
	if len(v.shape) != len(v.strides) || len(v.shape) > maxRank {
		return fmt.Errorf("has %d dimensions and %d strides", len(v.shape), len(v.strides))
	}
	n, ok := elements(v.shape, count)
	if !ok {
		return fmt.Errorf("shape %v doesn't fit a storage of %d elements; save it with .contiguous() if it is expanded", v.shape, count)
	}
	if v.offset < 0 || int64(v.offset) > count {
		return fmt.Errorf("begins at element %d of a storage of %d", v.offset, count)
	}
	if n == 0 {
		return nil
	}
	left := count - int64(v.offset)
	for i, d := range v.shape {
		if stride := v.strides[i]; stride < 0 || stride > 0 && int64(d-1) > left/int64(stride) {
			return fmt.Errorf("shape %v with strides %v leaves its storage of %d elements", v.shape, v.strides, count)
		}
		left -= int64(d-1) * int64(v.strides[i])
	}
	if left < 1 {
		return fmt.Errorf("shape %v with strides %v leaves its storage of %d elements", v.shape, v.strides, count)
	}
	return nil
}

// contiguous tells whether the elements lie in row-major order without gaps.
func (v *view) contiguous() bool {
	axes, want := v.axes(), 1
	for _, a := range slices.Backward(axes) {
		if a.stride != want {
			return false
		}
		want *= a.length
	}
	return true
}

// axes pairs shape and strides, without the dimensions of one element, whose strides mean nothing.
func (v *view) axes() []axis {
	var axes []axis
	for i, d := range v.shape {
		if d != 1 {
			axes = append(axes, axis{d, v.strides[i]})
		}
	}
	return axes
}
