package features

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/graft-ml/graft/internal/atomicfile"
)

// A Key identifies a photo by its content: the SHA-256 of its bytes.
type Key = [sha256.Size]byte

// A Cache keeps rows of features on disk, by the photo they come from. Its folder is named by
// everything else that decides them: transform, trunk and kernels.
//
// Rows are kept in segments, files that are written once and whole: any number of processes can use
// a cache at once, and an interrupted one loses at most the last minute's rows. A segment is a
// header (magic, row length, count), then key and row for each photo, then the SHA-256 of it all.
type Cache struct {
	dir  string
	size int // floats in a row

	mu     sync.Mutex
	rows   map[Key][]float32
	fresh  []Key // not yet on disk
	oldest time.Time
}

var magic = [8]byte{'g', 'r', 'a', 'f', 't', 'F', '3', '2'}

// interval is how long fresh rows may stay in memory alone.
const interval = time.Minute

// OpenCache opens the cache for rows of size floats below root that belong to identity. Damaged
// segments are deleted: they are computed again.
func OpenCache(root string, identity [sha256.Size]byte, size int) (*Cache, error) {
	c := &Cache{dir: filepath.Join(root, hex.EncodeToString(identity[:16])), size: size, rows: map[Key][]float32{}}
	if err := os.MkdirAll(c.dir, 0o777); err != nil {
		return nil, fmt.Errorf("feature cache: %w", err)
	}
	segments, err := filepath.Glob(filepath.Join(c.dir, "*.seg"))
	if err != nil {
		return nil, fmt.Errorf("feature cache: %w", err)
	}
	for _, path := range segments {
		data, err := os.ReadFile(path)
		if err == nil && !c.load(data) {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) { // another process may have removed it
			return nil, fmt.Errorf("feature cache: %w", err)
		}
	}
	return c, nil
}

// load takes the rows of a segment, and reports whether it is whole.
func (c *Cache) load(data []byte) bool {
	const header = len(magic) + 4 + 4
	if len(data) < header+sha256.Size || !bytes.Equal(data[:len(magic)], magic[:]) {
		return false
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	size, count := binary.LittleEndian.Uint32(body[8:]), binary.LittleEndian.Uint32(body[12:])
	record := sha256.Size + 4*c.size
	if int(size) != c.size || uint64(len(body)-header) != uint64(count)*uint64(record) || sha256.Sum256(body) != [sha256.Size]byte(sum) {
		return false
	}
	for body = body[header:]; len(body) > 0; body = body[record:] {
		row := make([]float32, c.size)
		if _, err := binary.Decode(body[sha256.Size:record], binary.LittleEndian, row); err != nil {
			return false
		}
		c.rows[Key(body)] = row
	}
	return true
}

// get returns the row of a photo, which the caller must not change.
func (c *Cache) get(key Key) ([]float32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	row, ok := c.rows[key]
	return row, ok
}

// put keeps a row, which the caller must not change any more.
func (c *Cache) put(key Key, row []float32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.rows[key]; ok {
		return nil
	}
	if len(c.fresh) == 0 {
		c.oldest = time.Now()
	}
	c.rows[key] = row
	c.fresh = append(c.fresh, key)
	if time.Since(c.oldest) > interval {
		return c.flush()
	}
	return nil
}

// Flush writes what isn't on disk yet.
func (c *Cache) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

func (c *Cache) flush() error {
	if len(c.fresh) == 0 {
		return nil
	}
	slices.SortFunc(c.fresh, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	name := sha256.New() // of the photos in it, so that equal runs write equal files
	for _, key := range c.fresh {
		name.Write(key[:])
	}
	path := filepath.Join(c.dir, hex.EncodeToString(name.Sum(nil)[:8])+".seg")
	err := atomicfile.Write(path, func(w io.Writer) error {
		sum := sha256.New()
		out := io.MultiWriter(w, sum)
		head := binary.LittleEndian.AppendUint32(magic[:], uint32(c.size))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(c.fresh)))
		if _, err := out.Write(head); err != nil {
			return err
		}
		for _, key := range c.fresh {
			if _, err := out.Write(key[:]); err != nil {
				return err
			}
			if err := binary.Write(out, binary.LittleEndian, c.rows[key]); err != nil {
				return err
			}
		}
		_, err := w.Write(sum.Sum(nil))
		return err
	})
	if err != nil {
		return fmt.Errorf("feature cache: %w", err)
	}
	c.fresh = nil
	return nil
}
