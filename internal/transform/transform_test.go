package transform

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/testutil"
)

var (
	imagenetMean = [3]float64{0.485, 0.456, 0.406}
	imagenetStd  = [3]float64{0.229, 0.224, 0.225}
)

// ranqd1 is Numerical Recipes' generator, which testdata/make.py has too.
type ranqd1 uint32

func (r *ranqd1) next() int {
	*r = *r*1664525 + 1013904223
	return int(*r >> 8)
}

// picture is noise; of an odd seed in black and white, to make filters overshoot.
func picture(width, height int, seed ranqd1) *photo.RGB {
	m := &photo.RGB{Pix: make([]uint8, 3*width*height), Width: width, Height: height}
	odd := seed%2 == 1
	for i := range m.Pix {
		m.Pix[i] = uint8(seed.next())
		if odd {
			m.Pix[i] = m.Pix[i] >> 7 * 255
		}
	}
	return m
}

// A reference is a pipeline, and the tensor that torchvision makes with it of the picture of a seed. testdata/make.py
// made them.
type reference struct {
	Steps         json.RawMessage
	String        string
	Width, Height int
	Seed          ranqd1
	Output        [2]int
	SHA256        string    // of the tensor, little-endian and channels last
	First         []float32 // of the tensor
}

func references(t testing.TB) []reference {
	t.Helper()
	data, err := os.ReadFile("testdata/pipelines.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []reference
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestApplyEqualsTorchvision(t *testing.T) {
	for _, ref := range references(t) {
		var p Pipeline
		if err := json.Unmarshal(ref.Steps, &p); err != nil {
			t.Fatal(err)
		}
		if p.String() != ref.String {
			t.Errorf("got\n%s\nwant\n%s", &p, ref.String)
		}
		h, w := p.OutputSize()
		if h != ref.Output[0] || w != ref.Output[1] {
			t.Errorf("%s\ngot %d × %d, want %v", &p, h, w, ref.Output)
			continue
		}
		dst := make([]float32, 3*h*w)
		if err := p.Apply(dst, picture(ref.Width, ref.Height, ref.Seed)); err != nil {
			t.Errorf("%s\n%v", &p, err)
			continue
		}
		first := dst[:min(len(dst), len(ref.First))]
		if hash(dst) != ref.SHA256 || !slices.Equal(first, ref.First) {
			t.Errorf("%s\n%d × %d pixels of seed %d: got %v…, want %v…", &p, ref.Width, ref.Height, ref.Seed, first, ref.First)
		}
	}
}

func hash(values []float32) string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, values)
	return hex.EncodeToString(h.Sum(nil))
}

// TestPhotosEqualTorchvision compares real photos, decoded and transformed, at 16 random values of their tensors each.
func TestPhotosEqualTorchvision(t *testing.T) {
	data := testutil.Shared(t, "data")
	lines, err := os.ReadFile("testdata/photos.tsv")
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(ImageClassification(224, 256, imagenetMean, imagenetStd, Bicubic)...)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]float32, 224*224*3)
	var d photo.Decoder
	count := 0
	for i, line := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
		name, values, _ := strings.Cut(line, "\t")
		want, err := base64.StdEncoding.DecodeString(values)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		img, err := d.Decode(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := p.Apply(dst, img); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		seed := ranqd1(i)
		for ; len(want) > 0; want = want[4:] {
			at := seed.next() % len(dst)
			if want := math.Float32frombits(binary.LittleEndian.Uint32(want)); dst[at] != want {
				t.Errorf("%s: value %d is %v, want %v", name, at, dst[at], want)
			}
			count++
		}
	}
	if count < 5000 {
		t.Errorf("%d values", count)
	}
}

func TestApplyConcurrently(t *testing.T) {
	p, err := New(ImageClassification(56, 64, imagenetMean, imagenetStd, Bilinear)...)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(seed int) string {
		dst := make([]float32, 56*56*3)
		if err := p.Apply(dst, picture(40+seed, 90-seed, ranqd1(seed))); err != nil {
			t.Error(err)
		}
		return hash(dst)
	}
	var want [20]string
	for i := range want {
		want[i] = apply(i)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range want {
				if apply(i) != want[i] {
					t.Errorf("another result for picture %d", i)
				}
			}
		})
	}
	wg.Wait()
}

func TestApplyLeavesThePhotoAlone(t *testing.T) {
	for _, ref := range references(t) {
		var p Pipeline
		if err := json.Unmarshal(ref.Steps, &p); err != nil {
			t.Fatal(err)
		}
		img := picture(ref.Width, ref.Height, ref.Seed)
		before := slices.Clone(img.Pix)
		h, w := p.OutputSize()
		if err := p.Apply(make([]float32, 3*h*w), img); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(img.Pix, before) {
			t.Errorf("%s\nchanged the photo", &p)
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	p, err := New(CenterCrop{Size{8}}, ToTensor{})
	if err != nil {
		t.Fatal(err)
	}
	good := picture(9, 9, 0)
	dst := make([]float32, 8*8*3)
	cases := map[string]struct {
		p   *Pipeline
		dst []float32
		img *photo.RGB
	}{
		"no steps":        {new(Pipeline), nil, good},
		"room for 191":    {p, dst[:191], good},
		"0 × 0":           {p, dst, &photo.RGB{}},
		"9 × 1000":        {p, dst, &photo.RGB{Pix: good.Pix, Width: 9, Height: 1000}},
		"-9 × -9":         {p, dst, &photo.RGB{Pix: good.Pix, Width: -9, Height: -9}},
		"65536 × 1":       {p, dst, &photo.RGB{Pix: make([]uint8, 3*65536), Width: 65536, Height: 1}},
		"more than 17895": {must(t, Resize{Size: Size{MaxSize}}, Resize{Size: Size{8, 8}}, ToTensor{}), dst, picture(1, 60000, 0)},
	}
	for want, c := range cases {
		if err := c.p.Apply(c.dst, c.img); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func must(t *testing.T, steps ...Step) *Pipeline {
	t.Helper()
	p, err := New(steps...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestExtremePhoto resizes a photo whose whole result would have 4 gigapixels, of which the crop keeps little.
func TestExtremePhoto(t *testing.T) {
	p := must(t, Resize{Size: Size{256}}, CenterCrop{Size{224}}, ToTensor{})
	dst := make([]float32, 224*224*3)
	img := &photo.RGB{Pix: make([]uint8, 3*photo.MaxSide), Width: 1, Height: photo.MaxSide}
	for i := range img.Pix {
		img.Pix[i] = 51
	}
	if err := p.Apply(dst, img); err != nil {
		t.Fatal(err)
	}
	for _, v := range dst {
		if v != 0.2 {
			t.Fatalf("got %v of a picture of 51s", v)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	cases := []struct {
		want  string
		steps []Step
	}{
		{"make no tensor", nil},
		{"make no tensor", []Step{CenterCrop{Size{8}}}},
		{"depends on the photo's", []Step{ToTensor{}}},
		{"depends on the photo's", []Step{Resize{Size: Size{8}}, ToTensor{}}},
		{"step 2, CenterCrop: it works on images", []Step{ToTensor{}, CenterCrop{Size{8}}}},
		{"step 2, Normalize: there must be one ToTensor", []Step{CenterCrop{Size{8}}, Normalize{Std: imagenetStd}}},
		{"step 3, ToTensor: there must be one ToTensor", []Step{CenterCrop{Size{8}}, ToTensor{}, ToTensor{}}},
		{"step 3, Normalize: a std of 0", []Step{CenterCrop{Size{8}}, ToTensor{}, Normalize{}}},
		{"becomes", []Step{CenterCrop{Size{8}}, ToTensor{}, Normalize{Mean: Channels{math.NaN()}, Std: imagenetStd}}},
		{"becomes", []Step{CenterCrop{Size{8}}, ToTensor{}, Normalize{Mean: imagenetMean, Std: Channels{1e-40, 1, 1}}}},
		{"a size of 0 pixels", []Step{CenterCrop{}, ToTensor{}}},
		{"a size of -1 pixels", []Step{CenterCrop{Size{8, -1}}, ToTensor{}}},
		{"a size of 4097 pixels", []Step{Resize{Size: Size{8, MaxSize + 1}}, ToTensor{}}},
		{"unknown interpolation 7", []Step{Resize{Size{8, 8}, 7}, ToTensor{}}},
	}
	for _, c := range cases {
		if _, err := New(c.steps...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: want %q, got %v", c.steps, c.want, err)
		}
	}
}

// TestScale makes the pixels that Resize does.
func TestScale(t *testing.T) {
	img := picture(50, 30, 1)
	for _, size := range []Size{{20, 70}, {30, 50}, {1, 1}} {
		p := must(t, Resize{Size: size, Interpolation: Bilinear}, ToTensor{})
		values := make([]float32, 3*size[0]*size[1])
		if err := p.Apply(values, img); err != nil {
			t.Fatal(err)
		}
		got := Scale(img, size[1], size[0], Bilinear)
		if got.Width != size[1] || got.Height != size[0] {
			t.Fatalf("%d × %d pixels, want %v", got.Width, got.Height, size)
		}
		for i, v := range got.Pix {
			if float32(v)/255 != values[i] {
				t.Fatalf("%v: byte %d is %d, want %v", size, i, v, 255*values[i])
			}
		}
	}
}

func ExampleImageClassification() {
	mean, std := [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
	p, err := New(ImageClassification(224, 256, mean, std, Bilinear)...)
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(p.String())
	// Output:
	// Compose(
	//     Resize(size=256, interpolation=bilinear, max_size=None, antialias=True)
	//     CenterCrop(size=(224, 224))
	//     ToTensor()
	//     Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
	// )
}
