package jpeg

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// files returns the JPEGs of package photo's references, by name.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile("../testdata/photos.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name string
		File []byte
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, f := range list {
		if strings.HasSuffix(f.Name, ".jpg") {
			all[f.Name] = f.File
		}
	}
	if len(all) < 70 {
		t.Fatalf("%d files", len(all))
	}
	return all
}

// decode returns the pixels of a file whose size image/jpeg tells, nil where the decoder refuses it.
func decode(d *Decoder, data []byte) []uint8 {
	config, err := stdjpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	pix := make([]uint8, 3*config.Width*config.Height)
	if !d.Decode(pix, config.Width, config.Height, data) {
		return nil
	}
	return pix
}

// TestTakes tells which files the decoder takes; that their pixels are right is tested in package photo.
func TestTakes(t *testing.T) {
	var d Decoder
	for name, data := range files(t) {
		left := strings.Contains(name, "-411-") || strings.Contains(name, "cmyk") || name == "ycck.jpg" || name == "rgb.jpg"
		if got := decode(&d, data) != nil; got == left {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestKeepsNothing decodes files in turn with one decoder and with new ones.
func TestKeepsNothing(t *testing.T) {
	all := files(t)
	names := make([]string, 0, 2*len(all))
	for name := range all {
		names = append(names, name, name)
	}
	slices.Sort(names)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var kept Decoder
	for _, name := range names {
		if !bytes.Equal(decode(&kept, all[name]), decode(new(Decoder), all[name])) {
			t.Errorf("%s: another result in a used decoder", name)
		}
	}
}

// TestLargeCoefficients decodes noise at high quality, whose codes and values are long, and compares with image/jpeg, from
// whose inverse DCT a level may part.
func TestLargeCoefficients(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	img := image.NewGray(image.Rect(0, 0, 203, 101))
	for i := range img.Pix {
		img.Pix[i] = uint8(r.Uint32()) & 0x80 * 255
		if i%2 == 0 {
			img.Pix[i] = uint8(r.Uint32())
		}
	}
	for _, quality := range []int{30, 90, 100} {
		var b bytes.Buffer
		if err := stdjpeg.Encode(&b, img, &stdjpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		got := decode(new(Decoder), b.Bytes())
		if got == nil {
			t.Fatal("refused")
		}
		want, err := stdjpeg.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		for y := range 101 {
			for x := range 203 {
				g, w := got[3*(203*y+x)], want.At(x, y).(color.Gray).Y
				if max(g, w)-min(g, w) > 1 {
					t.Fatalf("quality %d, pixel (%d, %d): %d, and %d by image/jpeg", quality, x, y, g, w)
				}
			}
		}
	}
}

// TestRefuses has files that are damaged, or not what the caller was told.
func TestRefuses(t *testing.T) {
	good := files(t)["restart-420.jpg"]
	const width, height = 40, 30
	pix := make([]uint8, 3*width*height)
	var d Decoder
	if !d.Decode(pix, width, height, good) {
		t.Fatal("the whole file is refused")
	}
	if d.Decode(pix, height, width, good) || d.Decode(pix[3:], width, height, good) {
		t.Error("another size is taken")
	}
	at := func(marker string) int { return bytes.Index(good, []byte(marker)) }
	change := func(i int, v byte) []byte {
		data := slices.Clone(good)
		data[i] = v
		return data
	}
	sof, sos, dht, rst := at("\xff\xc0"), at("\xff\xda"), at("\xff\xc4"), at("\xff\xd1")
	for name, data := range map[string][]byte{
		"empty":              nil,
		"no beginning":       good[2:],
		"no end":             good[:len(good)-2],
		"half":               good[:len(good)/2],
		"arithmetic coding":  change(sof+1, 0xc9),
		"12 bits":            change(sof+4, 12),
		"two frames":         slices.Concat(good[:sof], good[sof:sof+19], good[sof:]),
		"repeated component": change(sof+13, good[sof+10]),
		"sampling":           change(sof+11, 0x41),
		"no quantisation":    change(sof+12, 3),
		"no such table":      change(sos+6, 0x33),
		"a missing code":     change(dht+5, 0xff),
		"restart marker":     change(rst+1, 0xd6),
		"scan before frame":  slices.Concat(good[:sof], good[sof+19:]),
		"no scan":            slices.Concat(good[:sos], good[len(good)-2:]),
	} {
		if d.Decode(pix, width, height, data) {
			t.Errorf("%s: taken", name)
		}
	}
	for n := range good {
		if d.Decode(pix, width, height, good[:n]) {
			t.Errorf("%d of %d bytes: taken", n, len(good))
		}
	}
}

// FuzzDecode holds the decoder to what image/jpeg takes, and a used decoder to a new one.
func FuzzDecode(f *testing.F) {
	for _, data := range files(f) {
		f.Add(data)
	}
	var used Decoder
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := stdjpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil || config.Width*config.Height > 1<<16 {
			return
		}
		got := decode(new(Decoder), data)
		if !bytes.Equal(got, decode(&used, data)) {
			t.Error("another result in a used decoder")
		}
		if got == nil {
			return
		}
		m, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil {
			// It counts the units between restart markers otherwise where a component has a scan to itself.
			if !bytes.Contains(data, []byte("\xff\xdd")) {
				t.Fatalf("image/jpeg refuses it: %v", err)
			}
			return
		}
		if m.Bounds().Size() != image.Pt(config.Width, config.Height) {
			t.Errorf("%v pixels", m.Bounds())
		}
	})
}
