package checkpoint

import (
	"fmt"
	"strings"
	"testing"
)

func specsOf(f *File) []Spec {
	var specs []Spec
	for _, t := range f.Tensors() {
		specs = append(specs, Spec{t.Name, t.Shape})
	}
	return specs
}

func TestMatch(t *testing.T) {
	f := mustOpen(t, "testdata/checkpoint_zip.pth")
	want := specsOf(f)
	if err := f.Match(want, nil); err != nil {
		t.Errorf("a file doesn't match itself: %v", err)
	}

	want = append(want[1:], Spec{"head.scale", []int{3}})
	for i := range want {
		if want[i].Name == "head.weight" {
			want[i].Shape = []int{5, 2}
		}
	}
	const problems = "checkpoint testdata/checkpoint_zip.pth does not fit: " +
		"1 missing tensor (head.scale); 1 unexpected tensor (conv.weight); 1 wrong shape (head.weight is [3, 2], want [5, 2])"
	if err := f.Match(want, nil); err == nil || err.Error() != problems {
		t.Errorf("got  %v\nwant %s", err, problems)
	}
	but := func(name string) bool { return strings.HasPrefix(name, "head.") || name == "conv.weight" }
	if err := f.Match(want, but); err != nil {
		t.Errorf("what is ignored is reported: %v", err)
	}
}

func TestMatchListsTenAndCountsTheRest(t *testing.T) {
	f := mustOpen(t, "testdata/checkpoint_zip.pth")
	want := specsOf(f)
	for i := range 25 {
		want = append(want, Spec{fmt.Sprintf("layer.%d", i), nil})
	}
	err := f.Match(want, nil)
	wantError(t, err, "25 missing tensors (layer.0, layer.1, ", "layer.9, and 15 more)")
	if strings.Contains(err.Error(), "unexpected") {
		t.Errorf("error %q speaks of what isn't wrong", err)
	}
}
