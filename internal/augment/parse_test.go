package augment

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/transform"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]List{
		"":                       nil,
		" none ":                 nil,
		"RandomHorizontalFlip":   {RandomHorizontalFlip{0.5}},
		"RandomHorizontalFlip()": {RandomHorizontalFlip{0.5}},
		"RandomResizedCrop(scale=0.35:1.0),RandomHorizontalFlip(p=0.5),ColorJitter(brightness=0.2,contrast=0.2),TrivialAugmentWide,RandomErasing(p=0.1)": {
			RandomResizedCrop{Range{0.35, 1}, Range{0.75, 4.0 / 3}}, RandomHorizontalFlip{0.5}, ColorJitter{Brightness: Spread{0.2}, Contrast: Spread{0.2}},
			TrivialAugmentWide{Bins: 31, Interpolation: transform.Nearest}, RandomErasing{P: 0.1, Scale: Range{0.02, 0.33}, Ratio: Range{0.3, 3.3}},
		},
		" RandomRotation ( degrees = -30:0 , interpolation = bicubic, fill = 1:2:3 ) ": {RandomRotation{Spread{-30, 0}, transform.Bicubic, Fill{1, 2, 3}}},
		"light,RandAugment(num_ops=1, magnitude=3)": {
			RandomResizedCrop{Range{0.35, 1}, Range{0.75, 4.0 / 3}}, RandomHorizontalFlip{0.5},
			RandAugment{NumOps: 1, Magnitude: 3, Bins: 31, Interpolation: transform.Nearest},
		},
		"RandomErasing(value=random),MixUp(alpha=0.2),CutMix": {
			RandomErasing{P: 0.5, Scale: Range{0.02, 0.33}, Ratio: Range{0.3, 3.3}, Value: EraseValue{Random: true}}, MixUp{0.2}, CutMix{1},
		},
	} {
		got, err := Parse(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %#v, %v", text, got, err)
		}
	}
}

func TestString(t *testing.T) {
	for _, text := range []string{
		"none", "RandomResizedCrop", "RandomResizedCrop(scale=0.35:1,ratio=1:1.25)", "RandomHorizontalFlip(p=0.25),RandomVerticalFlip",
		"RandomRotation(degrees=15,interpolation=bilinear,fill=128)", "RandomRotation(degrees=0:90)",
		"ColorJitter(brightness=0.2,contrast=0.9:1.1,hue=-0.1:0)", "RandAugment(num_ops=3,num_magnitude_bins=11)",
		"TrivialAugmentWide(fill=124:116:104)", "RandomGrayscale,RandomErasing(scale=0.1:0.2,value=-1.5),MixUp,CutMix(alpha=0.3)",
	} {
		if got := parse(t, text).String(); got != text {
			t.Errorf("%s becomes %s", text, got)
		}
	}
	if got := parse(t, "trivial").String(); got != presets["trivial"] {
		t.Errorf("trivial becomes %s", got)
	}
}

func TestParseRejects(t *testing.T) {
	for text, want := range map[string]string{
		"RandomHorizontalFlop":                                     `unknown step "RandomHorizontalFlop": did you mean RandomHorizontalFlip?`,
		"trivialaugmentwide":                                       "did you mean TrivialAugmentWide",
		"ligth":                                                    "did you mean light?",
		"flip":                                                     "did you mean RandomHorizontalFlip or RandomVerticalFlip?",
		"GaussianBlur(sigma=3)":                                    "known are ColorJitter, CutMix",
		"RandomErasing(prob=0.1)":                                  `RandomErasing: unknown argument "prob": known are p, scale, ratio, value`,
		"ColorJitter(brightnes=0.1)":                               "did you mean brightness?",
		"RandomResizedCrop(size=224)":                              `unknown argument "size"`,
		"RandomErasing(0.1)":                                       "arguments have names, as in p=",
		"RandomErasing(p=0.1,p=0.2)":                               "p is given twice",
		"RandomErasing(p=often)":                                   `p=often: "often" is no number`,
		"RandomErasing(p=nan)":                                     "is no number",
		"RandomErasing(p=0.1:0.2)":                                 "one number is needed",
		"RandomErasing(p=1.5)":                                     "p=1.5: a probability is from 0 to 1",
		"RandomErasing(value=noise)":                               "is no number",
		"RandomResizedCrop(scale=0.5)":                             "two numbers",
		"RandomResizedCrop(scale=0:1)":                             "above 0",
		"RandomResizedCrop(scale=0.5:1.1)":                         "scale=0.5:1.1",
		"RandomResizedCrop(ratio=2:1)":                             "ratio=2:1",
		"RandomRotation":                                           "degrees=15",
		"RandomRotation(degrees=361)":                              "within -360:360",
		"RandomRotation(degrees=-3)":                               "such as 0.2 or 0.8:1.2",
		"RandomRotation(degrees=3,fill=256)":                       "whole number from 0 to 255",
		"RandomRotation(degrees=3,fill=1:2)":                       "red, green and blue",
		"RandomRotation(degrees=3,interpolation=x)":                `known are ["bilinear" "bicubic" "nearest"]`,
		"ColorJitter(hue=0.6)":                                     "hue=0.6",
		"ColorJitter(brightness=1.2:0.8)":                          "brightness=1.2:0.8",
		"RandAugment(magnitude=31)":                                "from 0 to 30",
		"RandAugment(num_ops=1.5)":                                 "no whole number",
		"RandAugment(num_ops=-1)":                                  "num_ops=-1",
		"TrivialAugmentWide(num_magnitude_bins=1)":                 "from 2 to 1000",
		"MixUp(alpha=0)":                                           "alpha=0",
		"RandomGrayscale,":                                         "nothing follows the last comma",
		",RandomGrayscale":                                         `unknown step ""`,
		"RandomGrayscale(p=0.1":                                    "parentheses don't match",
		"RandomGrayscale)p=0.1(":                                   "parentheses don't match",
		"RandomGrayscale((p=0.1))":                                 "parentheses don't match",
		"RandomGrayscale(p=0.1)RandomErasing":                      "comma is missing",
		"light(p=1)":                                               `unknown step "light"`,
		"RandomGrayscale,RandomResizedCrop":                        "step 2, RandomResizedCrop: it takes the place of the model's resize and crop",
		"light,light":                                              "must stand at the beginning, once",
		"RandomErasing,RandomGrayscale":                            "must stand before RandomErasing",
		"MixUp,RandomErasing":                                      "must stand before MixUp",
		"MixUp,MixUp":                                              "at the end, once",
		strings.Repeat("RandomGrayscale,", 40) + "RandomGrayscale": "more than 32",
	} {
		if list, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", text, list, err, want)
		}
	}
}

// TestDocumentedPresets keeps the comment on Parse true.
func TestDocumentedPresets(t *testing.T) {
	if want := []string{"light", "none", "rand", "trivial"}; !slices.Equal(Presets(), want) {
		t.Errorf("presets %q", Presets())
	}
	for _, name := range Presets() {
		if list := parse(t, name); name != "none" && list.String() != presets[name] {
			t.Errorf("%s is %s, which is printed as %v", name, presets[name], list)
		}
	}
}

// all has each step with other arguments than usual.
const all = "RandomResizedCrop(scale=0.2:0.9,ratio=0.5:2),RandomHorizontalFlip(p=0.1),RandomVerticalFlip(p=0.2),RandomGrayscale(p=0.3)," +
	"RandomRotation(degrees=-10:20,interpolation=bicubic,fill=9),ColorJitter(brightness=0.1,contrast=0.5:2,saturation=0.3,hue=0.4)," +
	"RandAugment(num_ops=1,magnitude=2,num_magnitude_bins=3,interpolation=bilinear,fill=1:2:3),TrivialAugmentWide(num_magnitude_bins=5)," +
	"RandomErasing(p=0.4,scale=0.1:0.2,ratio=1:2,value=random),MixUp(alpha=0.5),CutMix(alpha=0.6)"

func TestJSON(t *testing.T) {
	list := parse(t, all)
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"type":"RandomResizedCrop","scale":[0.2,0.9],"ratio":[0.5,2]}`,
		`{"type":"RandomRotation","degrees":[-10,20],"interpolation":"bicubic","fill":9}`,
		`{"type":"ColorJitter","brightness":0.1,"contrast":[0.5,2],"saturation":0.3,"hue":0.4}`,
		`"interpolation":"bilinear","fill":[1,2,3]}`,
		`"ratio":[1,2],"value":"random"}`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s\nlacks %s", data, want)
		}
	}
	var again List
	if err := json.Unmarshal(data, &again); err != nil || !slices.Equal(again, list) {
		t.Errorf("%v becomes %v; %v", list, again, err)
	}
	if data, err := json.Marshal(List{}); err != nil || string(data) != "[]" {
		t.Errorf("an empty list is %s; %v", data, err)
	}
	if len(list) != len(defaults) {
		t.Errorf("%d of %d steps are tested", len(list), len(defaults))
	}
}

func TestUnmarshalRejects(t *testing.T) {
	for data, want := range map[string]string{
		`{}`:                                 "not a list of steps",
		`[{"p":0.5}]`:                        `step 1: its "type" is missing`,
		`[null]`:                             `"type" is missing`,
		`[{"type":"CutMax"}]`:                "did you mean CutMix?",
		`[{"type":"MixUp"}]`:                 `MixUp: "alpha" is missing`,
		`[{"type":"MixUp","alpha":null}]`:    `"alpha" is missing`,
		`[{"type":"MixUp","alpha":"1"}]`:     "alpha",
		`[{"type":"MixUp","alpha":-1}]`:      "alpha=-1",
		`[{"type":"MixUp","alpha":1,"p":1}]`: `unknown argument "p"`,
		`[{"type":"RandomResizedCrop","scale":[0.1],"ratio":[1,1]}]`:                  "two numbers",
		`[{"type":"RandomResizedCrop","scale":[0.1,1,1],"ratio":[1,1]}]`:              "two numbers",
		`[{"type":"RandomErasing","p":1,"scale":[0,1],"ratio":[1,1],"value":"rand"}]`: `"value"`,
		`[{"type":"CutMix","alpha":1},{"type":"RandomGrayscale","p":1}]`:              "step 2, RandomGrayscale",
	} {
		list := List{CutMix{1}}
		if err := json.Unmarshal([]byte(data), &list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want an error with %q", data, err, want)
		}
		if !slices.Equal(list, List{CutMix{1}}) {
			t.Errorf("%s changes the list in spite of its error", data)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Presets() {
		f.Add(name)
	}
	f.Add(all)
	f.Add("RandomRotation(degrees=-0:0)")
	f.Add("ColorJitter(hue=-0),light(")
	f.Add("RandomErasing(value=1e-320,scale=0x1p-2:1)")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(list.String())
		if err != nil || !reflect.DeepEqual(again, list) {
			t.Errorf("%q becomes %v, then %v; %v", text, list, again, err)
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	for _, text := range append(Presets(), all) {
		list, err := Parse(text)
		if err != nil {
			f.Fatal(err)
		}
		data, err := json.Marshal(list)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var list, again List
		if json.Unmarshal(data, &list) != nil {
			return
		}
		written, err := json.Marshal(list)
		if err == nil {
			err = json.Unmarshal(written, &again)
		}
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("%s becomes %s, then %v; %v", data, written, again, err)
		}
	})
}
