package augment

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/graft-ml/graft/internal/photo"
	"github.com/graft-ml/graft/internal/transform"
)

// ranqd1 is Numerical Recipes' generator, which testdata/make.py has too.
type ranqd1 uint32

func (r *ranqd1) next() int {
	*r = *r*1664525 + 1013904223
	return int(*r >> 8)
}

// picture is that of testdata/make.py: slopes that differ for each channel, and noise.
func picture(width, height int, seed ranqd1) *photo.RGB {
	m := &photo.RGB{Pix: make([]uint8, 3*width*height), Width: width, Height: height}
	slope := int(seed % 5)
	for i := range m.Pix {
		x, y, c := i/3%width, i/3/width, i%3
		m.Pix[i] = uint8((x*(slope+c) + y*(3-c) + seed.next()%64) * 256 / (width + height + 64) % 256)
	}
	return m
}

func load[T any](t testing.TB, name string) (list []T) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return list
}

func digest(values any) string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, values)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func newWorkspace(img *photo.RGB) *workspace {
	return &workspace{picture: img, spare: new(photo.RGB)}
}

// reference is an operation, and what torchvision makes with it of the picture of a seed.
type reference struct {
	Op            string
	Args          []json.RawMessage
	Width, Height int
	Seed          ranqd1
	SHA256        string
	Pix           []byte // of small pictures
}

func arg[T any](t *testing.T, ref *reference, i int) (v T) {
	t.Helper()
	if err := json.Unmarshal(ref.Args[i], &v); err != nil {
		t.Fatal(err)
	}
	return v
}

var policyOps = map[string]operation{
	"Identity": identityOp, "ShearX": shearXOp, "ShearY": shearYOp, "TranslateX": translateXOp, "TranslateY": translateYOp,
	"Rotate": rotateOp, "Brightness": brightnessOp, "Color": colorOp, "Contrast": contrastOp, "Sharpness": sharpnessOp,
	"Posterize": posterizeOp, "Solarize": solarizeOp, "AutoContrast": autoContrastOp, "Equalize": equalizeOp,
}

// run applies the operation of a reference.
func run(t *testing.T, ref *reference, w *workspace) {
	factor := func() float64 { return arg[float64](t, ref, 0) }
	switch ref.Op {
	case "crop":
		n := func(i int) int { return arg[int](t, ref, i) }
		window := image.Rect(n(1), n(0), n(1)+n(3), n(0)+n(2))
		if err := transform.ResizedCrop(w.spare, w.picture, window, n(5), n(4), arg[transform.Interpolation](t, ref, 6)); err != nil {
			t.Fatal(err)
		}
		w.picture = w.spare
	case "policy":
		op, ok := policyOps[arg[string](t, ref, 0)]
		if !ok {
			t.Fatalf("no operation %s", ref.Args[0])
		}
		op.apply(w, arg[float64](t, ref, 1), arg[transform.Interpolation](t, ref, 2), arg[Fill](t, ref, 3))
	case "rotate":
		w.replace(func(dst, src *photo.RGB) {
			rotate(dst, src, factor(), arg[transform.Interpolation](t, ref, 1), arg[Fill](t, ref, 2))
		})
	case "brightness":
		adjustBrightness(w.picture, factor())
	case "contrast":
		adjustContrast(w.picture, factor())
	case "saturation":
		adjustSaturation(w.picture, factor())
	case "hue":
		adjustHue(w.picture, factor())
	case "sharpness":
		w.replace(func(dst, src *photo.RGB) { adjustSharpness(dst, src, factor()) })
	case "posterize":
		posterize(w.picture, arg[int](t, ref, 0))
	case "solarize":
		solarize(w.picture, factor())
	case "equalize":
		equalize(w.picture)
	case "autocontrast":
		autocontrast(w.picture)
	case "gray":
		toGrayscale(w.picture)
	case "hflip":
		flipHorizontal(w.picture)
	case "vflip":
		flipVertical(w.picture)
	default:
		t.Fatalf("no operation %q", ref.Op)
	}
}

// TestOperationsEqualTorchvision demands equal bits but of shears that interpolate: their tangent may differ in its last
// digit, which shows, as one level, where a value lies on a whole number.
func TestOperationsEqualTorchvision(t *testing.T) {
	for _, ref := range load[reference](t, "ops.json") {
		w := newWorkspace(picture(ref.Width, ref.Height, ref.Seed))
		run(t, &ref, w)
		got := w.picture.Pix
		if digest(got) == ref.SHA256 {
			continue
		}
		highest, count := 0, 0
		for i, want := range ref.Pix {
			if d := int(got[i]) - int(want); d != 0 {
				highest, count = max(highest, d, -d), count+1
			}
		}
		if ref.Op == "policy" && strings.HasPrefix(arg[string](t, &ref, 0), "Shear") && highest == 1 && count < len(got)/50 {
			continue
		}
		t.Errorf("%s%s of %d × %d pixels of seed %d: %d values (of %d known) differ, by up to %d",
			ref.Op, ref.Args, ref.Width, ref.Height, ref.Seed, count, len(ref.Pix), highest)
	}
}

func TestSpacesEqualTorchvision(t *testing.T) {
	for _, ref := range load[struct {
		Policy              string
		Bins, Width, Height int
		Operations          []struct {
			Name       string
			Magnitudes []float64
			Signed     bool
		}
	}](t, "spaces.json") {
		s := trivialSpace
		if ref.Policy == "RandAugment" {
			s = randSpace(ref.Width, ref.Height)
		}
		if len(ref.Operations) != int(operations) {
			t.Fatalf("%s has %d operations", ref.Policy, len(ref.Operations))
		}
		for i, want := range ref.Operations {
			op := operation(i)
			if policyOps[want.Name] != op {
				t.Errorf("%s: operation %d is %s", ref.Policy, i, want.Name)
			}
			if op.graded() != (want.Magnitudes != nil) {
				t.Errorf("%s: %s is graded: %v", ref.Policy, want.Name, op.graded())
			}
			for bin, m := range want.Magnitudes {
				if got := s.magnitude(op, bin, ref.Bins); got != m {
					t.Errorf("%s: %s in bin %d of %d: %v, want %v", ref.Policy, want.Name, bin, ref.Bins, got, m)
				}
			}
			flips := 0
			for seed := range 1000 {
				if op.sign(newRandom(uint64(seed)), 1) < 0 {
					flips++
				}
			}
			if want.Signed != (flips > 450 && flips < 550) || !want.Signed && flips > 0 {
				t.Errorf("%s: %s is turned around %d times in 1000", ref.Policy, want.Name, flips)
			}
		}
	}
}

var (
	imagenetMean = [3]float64{0.485, 0.456, 0.406}
	imagenetStd  = [3]float64{0.229, 0.224, 0.225}
)

func model(t testing.TB, size, resize int, by transform.Interpolation) *transform.Pipeline {
	t.Helper()
	p, err := transform.New(transform.ImageClassification(size, resize, imagenetMean, imagenetStd, by)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parse(t testing.TB, text string) List {
	t.Helper()
	list, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func pipeline(t testing.TB, m *transform.Pipeline, text string) *Pipeline {
	t.Helper()
	p, err := NewPipeline(m, parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestViewsEqualTorchvision compares whole pipelines, random choices included, with torchvision after torch.manual_seed.
func TestViewsEqualTorchvision(t *testing.T) {
	m := model(t, 32, 40, transform.Bicubic)
	for _, ref := range load[struct {
		Text     string
		Height   int
		Pictures []string
		Tensors  [][]float64
	}](t, "views.json") {
		p := pipeline(t, m, ref.Text)
		img := func(seed int) *photo.RGB { return picture(90+7*(seed%5), ref.Height, ranqd1(seed)) }
		for seed, want := range ref.Pictures {
			w := newWorkspace(new(photo.RGB))
			if err := p.augment(w, img(seed), newRandom(uint64(seed))); err != nil {
				t.Fatal(err)
			}
			if got := digest(w.picture.Pix)[:len(want)]; got != want {
				t.Errorf("%s, seed %d: another picture", ref.Text, seed)
			}
		}
		x := make([]float32, 32*32*3)
		for seed, want := range ref.Tensors {
			if err := p.apply(x, img(seed), newRandom(uint64(seed))); err != nil {
				t.Fatal(err)
			}
			r := ranqd1(seed)
			got := []float64{0}
			for range want[1:] {
				got = append(got, float64(x[r.next()%len(x)]))
			}
			for _, v := range x {
				got[0] += float64(v)
			}
			for i, v := range want {
				if tolerance := 0.0001 + 0.005*float64(1-min(i, 1)); math.Abs(got[i]-v) > tolerance {
					t.Errorf("%s, seed %d: sum and values %.4f, want %.4f", ref.Text, seed, got, want)
					break
				}
			}
		}
	}
}

func TestMixersEqualTorchvision(t *testing.T) {
	for _, ref := range load[struct {
		Mix     string
		Alpha   float64
		Seed    ranqd1
		Shape   [4]int
		Classes int
		Labels  []int
		SHA256  string
		Targets []float32
	}](t, "batches.json") {
		n, h, w, c := ref.Shape[0], ref.Shape[1], ref.Shape[2], ref.Shape[3]
		x, targets := batch(n*h*w*c, ref.Seed), make([]float32, n*ref.Classes)
		for i, label := range ref.Labels {
			targets[i*ref.Classes+label] = 1
		}
		var step batchStep = MixUp{ref.Alpha}
		if ref.Mix == "CutMix" {
			step = CutMix{ref.Alpha}
		}
		step.applyBatch(newRandom(uint64(ref.Seed)), x, n, h, w, c, targets)
		if digest(x) != ref.SHA256 || !slices.Equal(targets, ref.Targets) {
			t.Errorf("%v, seed %d: another batch; targets %v, want %v", step, ref.Seed, targets, ref.Targets)
		}
	}
}

func batch(n int, seed ranqd1) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(seed.next()%256) / 256
	}
	return x
}

func TestNoStepsIsTheModelsTransform(t *testing.T) {
	for _, by := range []transform.Interpolation{transform.Bilinear, transform.Bicubic} {
		m := model(t, 56, 64, by)
		want, got := make([]float32, 56*56*3), make([]float32, 56*56*3)
		img := picture(130, 97, 3)
		if err := m.Apply(want, img); err != nil {
			t.Fatal(err)
		}
		// Steps that never do anything go the long way round.
		for _, text := range []string{"none", "RandomHorizontalFlip(p=0),RandomErasing(p=0)"} {
			clear(got)
			if err := pipeline(t, m, text).Apply(got, img, Key{}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %v: another tensor than the model's transform makes", text, by)
			}
		}
	}
}

const everything = "RandomResizedCrop,RandomHorizontalFlip,RandomVerticalFlip,RandomRotation(degrees=20)," +
	"ColorJitter(brightness=0.4,contrast=0.4,saturation=0.4,hue=0.2),RandAugment,TrivialAugmentWide,RandomGrayscale,RandomErasing(p=1,value=random)"

// TestTheKeyDecides evaluates the same views in order, then backwards in many goroutines.
func TestTheKeyDecides(t *testing.T) {
	p := pipeline(t, model(t, 24, 24, transform.Bilinear), everything)
	img := picture(40, 30, 1)
	before := slices.Clone(img.Pix)
	keys := []Key{}
	for seed := range uint64(2) {
		for view := range uint64(4) {
			for _, sample := range []string{"", "a", "a.jpg", "b"} {
				keys = append(keys, Key{seed, view, sample})
			}
		}
	}
	view := func(key Key) string {
		x := make([]float32, 24*24*3)
		if err := p.Apply(x, img, key); err != nil {
			t.Error(err)
		}
		return digest(x)
	}
	digests := make([]string, len(keys))
	seen := map[string]Key{}
	for i, key := range keys {
		digests[i] = view(key)
		if other, ok := seen[digests[i]]; ok {
			t.Errorf("%v and %v give the same view", other, key)
		}
		seen[digests[i]] = key
	}
	var all sync.WaitGroup
	for i, key := range slices.Backward(keys) {
		all.Go(func() {
			if view(key) != digests[i] {
				t.Errorf("%v gives another view the second time", key)
			}
		})
	}
	all.Wait()
	if !slices.Equal(img.Pix, before) {
		t.Error("the photo was changed")
	}
}

// TestKeyIsAsDocumented fails if what old seeds mean changes.
func TestKeyIsAsDocumented(t *testing.T) {
	message := "photo\x00" + "\x2a\x00\x00\x00\x00\x00\x00\x00" + "\x07\x00\x00\x00\x00\x00\x00\x00" + "sushi/1.jpg"
	sum := sha256.Sum256([]byte(message))
	want := newRandom(uint64(binary.LittleEndian.Uint32(sum[:]))).Uint32()
	if got := (Key{42, 7, "sushi/1.jpg"}).random("photo").Uint32(); got != want {
		t.Errorf("the first number is %d, want %d", got, want)
	}
}

// TestFrequencies counts what many keys choose.
func TestFrequencies(t *testing.T) {
	const n = 20000
	flips, erased, grays, counts := 0, 0, 0, [operations]int{}
	var turned, area, lambda float64
	for i := range n {
		r := Key{Seed: 1, Sample: fmt.Sprint(i)}.random("photo")
		flips += btoi(r.chance(0.5))
		erased += btoi(r.chance(0.1))
		grays += btoi(r.chance(1)) + btoi(r.chance(0))
		counts[r.intn(int(operations))]++
		turned += r.uniform(-30, 30) / n
		window := RandomResizedCrop{Range{0.08, 1}, Range{0.75, 4.0 / 3}}.window(r, 400, 400)
		area += float64(window.Dx()*window.Dy()) / (400 * 400) / n
		lambda += r.beta(0.2) / n
	}
	near := func(what string, got, want, tolerance float64) {
		t.Helper()
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s: %.4f, want %.4f", what, got, want)
		}
	}
	near("flips", float64(flips)/n, 0.5, 0.01)
	near("erased", float64(erased)/n, 0.1, 0.007)
	near("always and never", float64(grays)/n, 1, 0)
	near("mean angle", turned, 0, 0.4)
	near("mean area", area, 0.478, 0.006) // less than (0.08 + 1) / 2, as large windows of other ratios don't fit; torchvision has it too
	near("mean weight", lambda, 0.5, 0.01)
	for op, count := range counts {
		near(fmt.Sprint("operation ", op), float64(count)/n, 1.0/14, 0.006)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestWindowFits draws from photos of all shapes.
func TestWindowFits(t *testing.T) {
	for _, s := range []RandomResizedCrop{
		{Range{0.08, 1}, Range{0.75, 4.0 / 3}}, {Range{1, 1}, Range{1, 1}}, {Range{1e-9, 1e-9}, Range{1, 1}},
		{Range{1, 1}, Range{1000, 1000}}, {Range{1, 1}, Range{0.001, 0.001}}, {Range{1e-300, 1}, Range{0.001, 1000}},
	} {
		for seed, size := range [][2]int{{1, 1}, {1, 5000}, {5000, 1}, {17, 3}, {640, 480}, {photo.MaxSide, 1}} {
			window := s.window(newRandom(uint64(seed)), size[0], size[1])
			if window.Empty() || !window.In(image.Rect(0, 0, size[0], size[1])) {
				t.Errorf("%v: %v of %d × %d pixels", s, window, size[0], size[1])
			}
		}
	}
}

// TestTinyPictures goes through all steps at the smallest sizes, where nothing may panic.
func TestTinyPictures(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5} {
		p := pipeline(t, model(t, size, size, transform.Bicubic), everything)
		x := make([]float32, size*size*3)
		for seed := range uint64(300) {
			if err := p.Apply(x, picture(int(seed%7)+1, int(seed%5)+1, 2), Key{Seed: seed}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestApplyRejects(t *testing.T) {
	p := pipeline(t, model(t, 8, 8, transform.Bilinear), "trivial")
	if err := p.Apply(make([]float32, 5), picture(9, 9, 0), Key{}); err == nil || !strings.Contains(err.Error(), "8 × 8") {
		t.Errorf("a short slice: %v", err)
	}
	for _, img := range []*photo.RGB{{}, {Width: 4, Height: 4}, {Width: -1, Height: 3}} {
		if err := p.Apply(make([]float32, 192), img, Key{}); err == nil || !strings.Contains(err.Error(), "no picture") {
			t.Errorf("%d × %d: %v", img.Width, img.Height, err)
		}
	}
	if _, err := NewPipeline(new(transform.Pipeline), nil); err == nil {
		t.Error("a model's transform without steps passes")
	}
}

func TestMixer(t *testing.T) {
	m, err := parse(t, "MixUp(alpha=0.2),CutMix").Mixer()
	if err != nil {
		t.Fatal(err)
	}
	const n, h, w, c, classes = 4, 6, 5, 3, 3
	cuts := 0
	for i := range 200 {
		x, targets := batch(n*h*w*c, 9), make([]float32, n*classes)
		for i := range n {
			targets[i*classes+i%classes] = 1
		}
		before := slices.Clone(x)
		key := Key{Seed: uint64(i), Sample: "0"}
		if err := m.Apply(key, x, n, h, w, c, targets, classes); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if sum := targets[i*classes] + targets[i*classes+1] + targets[i*classes+2]; math.Abs(float64(sum)-1) > 1e-6 {
				t.Errorf("targets %v", targets[i*classes:][:classes])
			}
		}
		old := true // a cut batch has no new values
		for _, v := range x {
			old = old && slices.Contains(before, v)
		}
		cuts += btoi(old)
		again := slices.Clone(before)
		if err := m.Apply(key, again, n, h, w, c, make([]float32, n), 1); err != nil || !slices.Equal(again, x) {
			t.Errorf("another batch the second time; %v", err)
		}
	}
	if cuts < 80 || cuts > 125 {
		t.Errorf("%d of 200 batches are cut", cuts)
	}
	if err := m.Apply(Key{}, make([]float32, 7), n, h, w, c, nil, classes); err == nil || !strings.Contains(err.Error(), "[4, 6, 5, 3]") {
		t.Errorf("a short batch: %v", err)
	}
	if m, err := parse(t, "trivial").Mixer(); m != nil || err != nil {
		t.Errorf("a list without mixing: %v, %v", m, err)
	}
}

func TestSheet(t *testing.T) {
	for _, n := range []int{-1, 0, 101} {
		if _, err := pipeline(t, model(t, 16, 16, transform.Bilinear), "none").Sheet(picture(9, 9, 1), Key{}, n); err == nil {
			t.Errorf("a sheet of %d views", n)
		}
	}
	p := pipeline(t, model(t, 16, 16, transform.Bilinear), "trivial")
	img := picture(40, 30, 1)
	sheet, err := p.Sheet(img, Key{Seed: 3}, 5)
	if err != nil {
		t.Fatal(err)
	}
	if size := sheet.Bounds().Size(); size != image.Pt(48, 32) {
		t.Errorf("5 views make %v", size)
	}
	w := newWorkspace(new(photo.RGB))
	if err := p.augment(w, img, Key{Seed: 3, View: 4}.random("photo")); err != nil {
		t.Fatal(err)
	}
	if r, _, _, _ := sheet.At(16, 16).RGBA(); uint8(r) != w.picture.Pix[0] {
		t.Errorf("the fifth view begins with %d, want %d", uint8(r), w.picture.Pix[0])
	}
}
