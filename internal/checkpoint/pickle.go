package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"
)

// Bounds on one pickle. PyTorch needs some 40 operations and 100 bytes for a tensor, and as much again for each value
// that an optimizer keeps of it. The decoder takes up to 400 bytes of memory for an operation, so that no pickle, however
// hostile, costs more than 400 MB.
const (
	maxPickle     = 64 << 20 // bytes
	maxOperations = 1 << 20
)

// unpickler decodes the pickles of one checkpoint, which follow one another in r.
type unpickler struct {
	r        *bufio.Reader
	read     int64               // bytes of r decoded so far
	storages map[string]*storage // those that the pickles referred to, by key
}

// storage is what a pickle says of the memory behind a tensor. Where it lies is known to the container alone.
type storage struct {
	class string // such as torch.FloatStorage
	key   string
	count int // elements
}

// view is a tensor as a pickle describes it: part of a storage.
type view struct {
	storage        *storage
	offset         int // of the first element, in elements
	shape, strides []int
}

// object stands for an instance of a class, of which nothing but the name matters.
type object struct{ class string }

func (*object) PySetState(any) error { return nil }
func (*object) Set(key, value any)   {}
func (*object) Append(value any)     {}

// global stands for a function or class that a pickle names. There is nothing behind it that could be executed.
type global struct{ name string }

// inert are the callables beside those that rebuild tensors which PyTorch's own restricted loader allows
// (torch/_weights_only_unpickler.py). What they would make is of no use here.
var inert = map[string]bool{
	"torch.Size": true, "torch.device": true, "torch.serialization._get_layout": true, "collections.Counter": true,
	"_codecs.encode": true, "__builtin__.set": true, "__builtin__.bytearray": true, "__builtin__.complex": true,
}

// Call stands in for a call of the global.
func (g *global) Call(args ...any) (any, error) {
	switch g.name {
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return rebuildTensor(args)
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) == 0 {
			return nil, fmt.Errorf("calls %s without a tensor", g.name)
		}
		return args[0], nil
	}
	if inert[g.name] {
		return &object{g.name}, nil
	}
	return nil, fmt.Errorf("asks for a call of %s, which a state dict has no need of: refused, and nothing was executed; save model.state_dict() alone", g.name)
}

// PyNew stands in for making an instance of the global.
func (g *global) PyNew(...any) (any, error) { return &object{g.name}, nil }

// rebuildTensor takes storage, offset, shape and strides; what follows concerns gradients.
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("rebuilds a tensor from %d arguments, want at least 4", len(args))
	}
	s, okStorage := args[0].(*storage)
	offset, okOffset := args[1].(int)
	shape, okShape := integers(args[2])
	strides, okStrides := integers(args[3])
	if !okStorage || !okOffset || !okShape || !okStrides {
		return nil, errors.New("rebuilds a tensor from other things than a storage, an offset, a shape and strides")
	}
	return &view{s, offset, shape, strides}, nil
}

func integers(v any) ([]int, bool) {
	tuple, ok := v.(*types.Tuple)
	if !ok {
		return nil, false
	}
	n := make([]int, tuple.Len())
	for i, item := range *tuple {
		if n[i], ok = item.(int); !ok {
			return nil, false
		}
	}
	return n, true
}

// persistentLoad resolves what PyTorch keeps outside the pickle:
// ("storage", class, key, device, count) or, in files before 1.6, also ("module", class, source file, source).
func (u *unpickler) persistentLoad(id any) (any, error) {
	tuple, ok := id.(*types.Tuple)
	if !ok || tuple.Len() < 2 {
		return nil, errors.New("refers to something outside that is neither a storage nor a module")
	}
	class, ok := tuple.Get(1).(*global)
	if ok && tuple.Get(0) == "module" {
		return nil, notStateDict(&object{class.name})
	}
	if !ok || tuple.Get(0) != "storage" || tuple.Len() < 5 {
		return nil, errors.New("refers to something outside that is neither a storage nor a module")
	}
	key, okKey := tuple.Get(2).(string)
	count, okCount := tuple.Get(4).(int)
	if !okKey || !okCount || count < 0 {
		return nil, errors.New("refers to a storage without a key or a count of elements")
	}
	if tuple.Len() > 5 && tuple.Get(5) != nil {
		return nil, fmt.Errorf("storage %q is part of another one, which PyTorch stopped writing; load and save it with a current PyTorch", key)
	}
	s := &storage{class.name, key, count}
	if known, ok := u.storages[key]; !ok {
		u.storages[key] = s
	} else if *known != *s {
		return nil, fmt.Errorf("storage %q is referred to as %d elements of %s and as %d of %s", key, known.count, known.class, s.count, s.class)
	}
	return u.storages[key], nil
}

// notStateDict explains what a checkpoint holds in place of a state dict.
func notStateDict(v any) error {
	what := "a Python value that is not a dict"
	switch v := v.(type) {
	case *object:
		what = "a pickled Python object of class " + v.class
	case *view:
		what = "a single tensor"
	}
	return fmt.Errorf("holds %s, not a state dict; save model.state_dict()", what)
}

// next decodes the pickle that comes next.
func (u *unpickler) next() (value any, err error) {
	data, err := cutPickle(u.r)
	if err != nil {
		return nil, fmt.Errorf("pickle: %w", err)
	}
	u.read += int64(len(data))
	if class, ok := instanceOf(data); ok {
		return nil, notStateDict(&object{class})
	}
	// gopickle indexes slices without a check in places (an integer of no bytes, an odd number of dict items).
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pickle: malformed: %v", r)
		}
	}()
	d := pickle.NewUnpickler(bytes.NewReader(data))
	d.FindClass = func(module, name string) (any, error) { return &global{module + "." + name}, nil }
	d.PersistentLoad = u.persistentLoad
	if value, err = d.Load(); err != nil {
		return nil, fmt.Errorf("pickle: %.300w", err)
	}
	return value, nil
}

// instanceOf returns the class of a pickle that begins by making an instance (GLOBAL, BINPUT, EMPTY_TUPLE, NEWOBJ).
// The instance is all that such a pickle holds, whatever else it would ask for on the way.
func instanceOf(data []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(data, []byte("\x80\x02c"))
	class, _, found := bytes.Cut(rest, []byte("\nq\x00)\x81"))
	if !ok || !found || bytes.Count(class, []byte("\n")) != 1 {
		return "", false
	}
	return strings.Replace(string(class), "\n", ".", 1), true
}

// cutPickle reads one pickle, from its first operation to STOP, without interpreting it. It makes sure of what gopickle
// trusts: that counted data is really there (gopickle allocates first and reads then), that nothing but the operations
// of protocol 2 occur, and that there are not too many of them.
// The operations are those of https://github.com/python/cpython/blob/main/Lib/pickletools.py.
func cutPickle(r *bufio.Reader) ([]byte, error) {
	c := cutter{r: r}
	for range maxOperations {
		op, err := c.operation()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			return c.data, nil
		}
	}
	return nil, fmt.Errorf("has more than %d operations", maxOperations)
}

// cutter collects the bytes of a pickle.
type cutter struct {
	r    *bufio.Reader
	data []byte
}

// operation takes one operation with its operand.
func (c *cutter) operation() (byte, error) {
	if err := c.take(1); err != nil {
		return 0, err
	}
	op := c.data[len(c.data)-1]
	switch op {
	case '.', '(', '0', '1', 'N', ')', ']', '}', 'a', 'b', 'e', 's', 't', 'u', 'Q', 'R', 0x81, 0x85, 0x86, 0x87, 0x88, 0x89:
		return op, nil
	case 'K', 'h', 'q': // BININT1, BINGET, BINPUT
		return op, c.take(1)
	case 'M': // BININT2
		return op, c.take(2)
	case 'J', 'j', 'r': // BININT, LONG_BINGET, LONG_BINPUT
		return op, c.take(4)
	case 'G': // BINFLOAT
		return op, c.take(8)
	case 'U', 0x8a: // SHORT_BINSTRING, LONG1
		return op, c.takeCounted(1)
	case 'T', 'X': // BINSTRING, BINUNICODE
		return op, c.takeCounted(4)
	case 'c': // GLOBAL
		return op, c.takeLines(2)
	case 0x80: // PROTO
		if err := c.take(1); err != nil {
			return 0, err
		}
		if v := c.data[len(c.data)-1]; v != 2 {
			return 0, fmt.Errorf("is of protocol %d; save it with torch.save's default, protocol 2", v)
		}
		return op, nil
	}
	return 0, fmt.Errorf("has operation %#02x at byte %d, which protocol 2 doesn't use", op, len(c.data)-1)
}

// take moves n bytes. What it allocates grows with what arrives, whatever n claims.
func (c *cutter) take(n int) error {
	if n > maxPickle-len(c.data) {
		return fmt.Errorf("has or claims more than %d bytes", maxPickle)
	}
	for range n {
		b, err := c.r.ReadByte()
		if err != nil {
			return fmt.Errorf("ends early, at byte %d: %w", len(c.data), err)
		}
		c.data = append(c.data, b)
	}
	return nil
}

// takeCounted moves a length of the given size and as many bytes as it says.
func (c *cutter) takeCounted(size int) error {
	if err := c.take(size); err != nil {
		return err
	}
	var length [4]byte
	copy(length[:], c.data[len(c.data)-size:])
	return c.take(int(min(binary.LittleEndian.Uint32(length[:]), math.MaxInt32)))
}

// takeLines moves bytes up to the nth newline.
func (c *cutter) takeLines(n int) error {
	for n > 0 {
		if err := c.take(1); err != nil {
			return err
		}
		if c.data[len(c.data)-1] == '\n' {
			n--
		}
	}
	return nil
}
