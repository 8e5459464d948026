package features

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// FuzzLoad reads segments that others may have written.
func FuzzLoad(f *testing.F) {
	const size = 3
	c, err := OpenCache(f.TempDir(), Key{}, size)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 4 {
		f.Add(segment(size, i))
		if err := c.put(Key{byte(i)}, []float32{1, 2, 3}); err != nil {
			f.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		f.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(c.dir, "*.seg"))
	if err != nil || len(written) != 1 {
		f.Fatal(written, err)
	}
	data, err := os.ReadFile(written[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-40])
	f.Add(segment(0, 0))
	f.Add(segment(1<<30, 1))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Anybody can compute the checksum.
		if len(data) >= sha256.Size {
			sum := sha256.Sum256(data[:len(data)-sha256.Size])
			copy(data[len(data)-sha256.Size:], sum[:])
		}
		c := &Cache{size: size, rows: map[Key][]float32{}}
		if !c.load(data) {
			if len(c.rows) > 0 {
				t.Error("rows of a segment that isn't whole")
			}
			return
		}
		if count := (len(data) - 16 - sha256.Size) / (sha256.Size + 4*size); len(c.rows) > count || count > 0 && len(c.rows) == 0 {
			t.Errorf("%d rows in a segment of %d", len(c.rows), count)
		}
		for _, row := range c.rows {
			if len(row) != size {
				t.Errorf("a row has %d numbers", len(row))
			}
		}
	})
}

// segment is one with as many rows of zeros.
func segment(size, rows int) []byte {
	data := binary.LittleEndian.AppendUint32(magic[:], uint32(size))
	data = binary.LittleEndian.AppendUint32(data, uint32(rows))
	for i := range rows {
		key := Key{byte(i)}
		data = append(append(data, key[:]...), make([]byte, 4*min(size, 10))...)
	}
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}

// TestFlushInTime keeps what has been in memory alone for long.
func TestFlushInTime(t *testing.T) {
	c, err := OpenCache(t.TempDir(), Key{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key byte) {
		if err := c.put(Key{key}, []float32{float32(key)}); err != nil {
			t.Fatal(err)
		}
	}
	reopened := func() int {
		d, err := OpenCache(filepath.Dir(c.dir), Key{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		return len(d.rows)
	}
	put(1)
	put(1)
	if n := reopened(); n != 0 {
		t.Errorf("%d rows are on disk right away", n)
	}
	c.oldest = time.Now().Add(-2 * interval)
	put(2)
	if n := reopened(); n != 2 {
		t.Errorf("%d rows are on disk after a while, want 2", n)
	}
	if row, ok := c.get(Key{1}); !ok || !slices.Equal(row, []float32{1}) {
		t.Errorf("the first row is %v", row)
	}
}
