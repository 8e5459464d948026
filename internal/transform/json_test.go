package transform

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	p := must(t, append([]Step{Resize{Size{300, 400}, Nearest}}, ImageClassification(224, 256, imagenetMean, imagenetStd, Bicubic)...)...)
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"type":"Resize","size":[300,400],"interpolation":"nearest"},` +
		`{"type":"Resize","size":256,"interpolation":"bicubic"},` +
		`{"type":"CenterCrop","size":224},` +
		`{"type":"ToTensor"},` +
		`{"type":"Normalize","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}]`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	var q Pipeline
	if err := json.Unmarshal(data, &q); err != nil {
		t.Fatal(err)
	}
	if q.String() != p.String() {
		t.Errorf("got %v, want %v", &q, p)
	}
}

func TestJSONRefuses(t *testing.T) {
	for data, want := range map[string]string{
		`{}`:                                     "not a list of steps",
		`[3]`:                                    "step 1",
		`[{}]`:                                   `step 1: its "type" is missing`,
		`[{"type": 3}]`:                          `its "type" is missing`,
		`[{"type": "Rotate"}]`:                   `unknown type "Rotate": known are ["CenterCrop" "Normalize" "Resize" "ToTensor"]`,
		`[{"type": "resize"}]`:                   `unknown type "resize"`,
		`[{"type": "CenterCrop"}]`:               `CenterCrop: "size" is missing`,
		`[{"type": "CenterCrop", "size": null}]`: `CenterCrop: "size" is missing`,
		`[{"type": "CenterCrop", "Size": 8}]`:    `CenterCrop: "size" is missing`,
		`[{"type": "CenterCrop", "size": 8, "fill": 3}]`:                     `CenterCrop: unknown field "fill"`,
		`[{"type": "Resize", "size": 8}]`:                                    `Resize: "interpolation" is missing`,
		`[{"type": "Resize", "size": 8, "interpolation": null}]`:             `Resize: "interpolation" is missing`,
		`[{"type": "Resize", "size": 8, "interpolation": "lanczos"}]`:        `unknown interpolation "lanczos"`,
		`[{"type": "Resize", "size": "8", "interpolation": "bilinear"}]`:     "Resize: ",
		`[{"type": "Resize", "size": 8.5, "interpolation": "bilinear"}]`:     "Resize: ",
		`[{"type": "Resize", "size": [8,9,10], "interpolation": "bicubic"}]`: "3 numbers where a size has one",
		`[{"type": "Resize", "size": [], "interpolation": "bicubic"}]`:       "0 numbers where a size has one",
		`[{"type": "CenterCrop", "size": [8, 0]}]`:                           "a width of 0 pixels",
		`[{"type": "CenterCrop", "size": 1000000000}]`:                       "a size of 1000000000 pixels",
		`[{"type": "CenterCrop", "size": 1e400}]`:                            "CenterCrop: ",
		`[{"type": "CenterCrop", "size": -8}]`:                               "a size of -8 pixels",
		`[{"type": "ToTensor", "scale": 1}]`:                                 `ToTensor: unknown field "scale"`,
		`[{"type": "Normalize", "mean": [0, 0, 0]}]`:                         `Normalize: "std" is missing`,
		`[{"type": "Normalize", "mean": [0, 0], "std": [1, 1, 1]}]`:          "Normalize: 2 numbers where there are 3 channels",
		`[{"type": "Normalize", "mean": null, "std": [1, 1, 1]}]`:            `Normalize: `,
		`[{"type": "Normalize", "mean": [0, 0, 0], "std": [1, 1, 1, 1]}]`:    "Normalize: 4 numbers",
		`[{"type": "ToTensor"}]`:                                             "depends on the photo's",
		`[]`:                                                                 "make no tensor",
		`null`:                                                               "make no tensor",
	} {
		var p Pipeline
		if err := json.Unmarshal([]byte(data), &p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", data, want, err)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, ref := range references(f) {
		f.Add([]byte(ref.Steps), 9, 7)
	}
	f.Add([]byte(`[{"type":"CenterCrop","size":[1,4096]},{"type":"ToTensor"}]`), 1, 300)
	f.Add([]byte(`[{"type":"Normalize","mean":[null,0,0],"std":[1e300,1,-1]},null]`), 1, 1)
	f.Fuzz(func(t *testing.T, data []byte, width, height int) {
		var p Pipeline
		if json.Unmarshal(data, &p) != nil {
			return
		}
		again, err := json.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		var q Pipeline
		if err := json.Unmarshal(again, &q); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if twice, _ := json.Marshal(&q); !bytes.Equal(again, twice) {
			t.Fatalf("%s became %s", again, twice)
		}
		h, w := p.OutputSize()
		if w*h > 1<<16 || width < 1 || width > 300 || height < 1 || height > 300 {
			return
		}
		if err := p.Apply(make([]float32, 3*w*h), picture(width, height, 1)); err != nil && !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s of %d × %d pixels: %v", again, width, height, err)
		}
	})
}
