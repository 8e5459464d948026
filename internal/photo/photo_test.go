package photo

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/testutil"
)

// A reference is an image file and the pixels that Pillow reads in it. testdata/make.py made them.
type reference struct {
	Name          string
	File          []byte
	Width, Height int
	Pixels        []byte // in JSON compressed by zlib
	Tolerance     int    // where image/jpeg's inverse DCT is used
}

func references(t testing.TB) []reference {
	t.Helper()
	data, err := os.ReadFile("testdata/photos.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []reference
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		z, err := zlib.NewReader(bytes.NewReader(list[i].Pixels))
		if err != nil {
			t.Fatal(err)
		}
		if list[i].Pixels, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func TestDecodeEqualsPillow(t *testing.T) {
	var d Decoder
	for _, ref := range references(t) {
		t.Run(ref.Name, func(t *testing.T) {
			m, err := d.Decode(ref.File)
			if err != nil {
				t.Fatal(err)
			}
			if m.Width != ref.Width || m.Height != ref.Height || len(m.Pix) != len(ref.Pixels) {
				t.Fatalf("got %d × %d pixels in %d bytes, want %d × %d", m.Width, m.Height, len(m.Pix), ref.Width, ref.Height)
			}
			for i := range m.Pix {
				if d := distance(m.Pix[i], ref.Pixels[i]); d > ref.Tolerance {
					t.Fatalf("pixel (%d, %d), channel %d: got %d, want %d", i/3%m.Width, i/3/m.Width, i%3, m.Pix[i], ref.Pixels[i])
				}
			}
		})
	}
}

// TestOddJPEG has a byte between segments that doesn't belong there. Such files go through image/jpeg, and come as close as
// its inverse DCT does.
func TestOddJPEG(t *testing.T) {
	n := 0
	for _, ref := range references(t) {
		start := bytes.Index(ref.File, []byte("\xff\xda"))
		if !strings.HasPrefix(ref.Name, "waves-") {
			continue
		}
		n++
		file := slices.Insert(slices.Clone(ref.File), start, 0)
		var d Decoder
		if d.jpeg.Decode(make([]uint8, len(ref.Pixels)), ref.Width, ref.Height, file) {
			t.Errorf("%s: package jpeg takes it", ref.Name)
		}
		m, err := d.Decode(file)
		if err != nil {
			t.Errorf("%s: %v", ref.Name, err)
			continue
		}
		for i := range m.Pix {
			if distance(m.Pix[i], ref.Pixels[i]) > 3 {
				t.Errorf("%s: pixel (%d, %d), channel %d: got %d, want %d", ref.Name, i/3%m.Width, i/3/m.Width, i%3, m.Pix[i], ref.Pixels[i])
				break
			}
		}
	}
	if n < 15 {
		t.Errorf("%d files", n)
	}
}

func distance(a, b uint8) int { return int(max(a, b) - min(a, b)) }

// TestSamplesEqualPillow compares real photos at 48 random pixels each.
func TestSamplesEqualPillow(t *testing.T) {
	data := testutil.Shared(t, "data")
	lines, err := os.ReadFile("testdata/samples.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var d Decoder
	count := 0
	for i, line := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
		fields := strings.Split(line, "\t")
		width, _ := strconv.Atoi(fields[1])
		height, _ := strconv.Atoi(fields[2])
		want, _ := base64.StdEncoding.DecodeString(fields[3])
		file, err := os.ReadFile(filepath.Join(data, fields[0]))
		if err != nil {
			t.Fatal(err)
		}
		m, err := d.Decode(file)
		if err != nil {
			t.Errorf("%s: %v", fields[0], err)
			continue
		}
		if m.Width != width || m.Height != height {
			t.Errorf("%s: got %d × %d pixels, want %d × %d", fields[0], m.Width, m.Height, width, height)
			continue
		}
		seed := uint32(i)
		next := func(n int) int {
			seed = seed*1664525 + 1013904223
			return int(seed>>8) % n
		}
		for len(want) > 0 {
			x, y := next(width), next(height)
			if got := m.Row(y)[3*x : 3*x+3]; !bytes.Equal(got, want[:3]) {
				t.Errorf("%s: pixel (%d, %d) is %v, want %v", fields[0], x, y, got, want[:3])
			}
			count++
			want = want[3:]
		}
	}
	if count < 16_000 {
		t.Errorf("%d pixels", count)
	}
}

func TestSniff(t *testing.T) {
	for _, ref := range references(t) {
		name, ok := Sniff(ref.File)
		ending := strings.TrimPrefix(filepath.Ext(ref.Name), ".")
		want := map[string]string{
			"jpg": "JPEG", "png": "PNG", "webp": "WebP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF", "ppm": "PPM", "pgm": "PPM",
		}[ending]
		if name != want || !ok {
			t.Errorf("%s: got %q, %v", ref.Name, name, ok)
		}
		if !IsImageName(ref.Name) {
			t.Errorf("%s is no image's name", ref.Name)
		}
	}
	if name, ok := Sniff([]byte("RIFF")); ok {
		t.Errorf("got %q for RIFF", name)
	}
}

func TestIsImageName(t *testing.T) {
	for name, want := range map[string]bool{
		"a.jpg": true, "dir.d/A.JPeG": true, "x.tif": true, "x.gif": true, ".png": true,
		"jpg": false, "a.jpg.txt": false, "a.svg": false, "": false, "dir.jpg/file": false,
	} {
		if got := IsImageName(name); got != want {
			t.Errorf("IsImageName(%q) = %v", name, got)
		}
	}
}

func TestDecoderKeepsNothing(t *testing.T) {
	var kept Decoder
	refs := references(t)
	for _, ref := range slices.Concat(refs, refs) {
		file := slices.Clone(ref.File)
		got, err := kept.Decode(file)
		if err != nil {
			t.Fatal(ref.Name, err)
		}
		clear(file)
		want, err := Decode(ref.File)
		if err != nil {
			t.Fatal(ref.Name, err)
		}
		if !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s: another result in a used Decoder", ref.Name)
		}
	}
}

func TestNoImage(t *testing.T) {
	for _, text := range []string{"", "\n", "hello, world, this is text", "<svg></svg>", "\xff\xd8", "BAM", "RIFF....WAVE", "P9 1 1 255"} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, ref := range references(t) {
		for n := 0; n < len(ref.File); n += 1 + len(ref.File)/50 {
			m, err := Decode(ref.File[:n])
			// What follows may be other frames or metadata.
			if n < len(ref.File)/3 && err == nil {
				t.Errorf("%s: %d of %d bytes gave %d × %d pixels", ref.Name, n, len(ref.File), m.Width, m.Height)
			}
			if err != nil && strings.Contains(err.Error(), "panicked") {
				t.Errorf("%s: %d of %d bytes: %v", ref.Name, n, len(ref.File), err)
			}
		}
	}
}

func TestUnsupportedSaysSo(t *testing.T) {
	_, err := Decode([]byte("RIFF\x20\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	if err == nil || !strings.Contains(err.Error(), "animation") {
		t.Errorf("animated WebP: %v", err)
	}
}

// headers returns the first bytes of files that claim a size.
func headers(width, height int) map[string][]byte {
	be, le := binary.BigEndian, binary.LittleEndian
	w16, h16 := uint16(width), uint16(height)
	png := slices.Clone([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"))
	png = be.AppendUint32(be.AppendUint32(png, uint32(width)), uint32(height))
	png = append(png, 8, 2, 0, 0, 0)
	png = be.AppendUint32(png, crc32.ChecksumIEEE(png[12:]))
	jpeg := be.AppendUint16(be.AppendUint16([]byte("\xff\xd8\xff\xc0\x00\x0b\x08"), h16), w16)
	jpeg = append(jpeg, "\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"...)
	gif := le.AppendUint16(le.AppendUint16([]byte("GIF89a"), w16), h16)
	gif = append(gif, "\x80\x00\x00\x00\x00\x00\xff\xff\xff"...)
	bmp := append([]byte("BM"), make([]byte, 52)...)
	bmp[10], bmp[14], bmp[26], bmp[28] = 54, 40, 1, 24
	le.PutUint32(bmp[18:], uint32(width))
	le.PutUint32(bmp[22:], uint32(height))
	tiff := []byte("II*\x00\x08\x00\x00\x00\x06\x00")
	for _, tag := range [][2]int{{256, width}, {257, height}, {258, 8}, {262, 1}, {273, 8}, {279, 8}} {
		tiff = le.AppendUint16(le.AppendUint16(tiff, uint16(tag[0])), 4)
		tiff = le.AppendUint32(le.AppendUint32(tiff, 1), uint32(tag[1]))
	}
	return map[string][]byte{
		"JPEG": jpeg, "PNG": png, "GIF": gif, "BMP": bmp, "TIFF": tiff,
		"PPM": fmt.Appendf(nil, "P6 %d %d 255\n", width, height),
	}
}

func TestTooLarge(t *testing.T) {
	for name, data := range headers(65535, 2731) {
		if _, err := Decode(data); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "65535 × 2731") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range headers(1, 65536) {
		if name == "JPEG" || name == "GIF" {
			continue // whose sizes have 16 bits
		}
		if _, err := Decode(data); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForgedSizeTakesNoMemory(t *testing.T) {
	for name, data := range headers(13000, 13000) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "more than its") {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

func TestZeroSize(t *testing.T) {
	for name, data := range headers(0, 0) {
		if _, err := Decode(data); err == nil {
			t.Errorf("%s of 0 × 0 pixels decoded", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, ref := range references(f) {
		f.Add(ref.File)
	}
	for _, data := range headers(300, 200) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Decoder
		m, err := d.decode(data)
		if err == nil && (m.Width < 1 || m.Height < 1 || len(m.Pix) != 3*m.Width*m.Height) {
			t.Errorf("%d × %d pixels in %d bytes", m.Width, m.Height, len(m.Pix))
		}
	})
}
