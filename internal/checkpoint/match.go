package checkpoint

import (
	"fmt"
	"slices"
	"strings"
)

// Spec is a tensor that a checkpoint should have.
type Spec struct {
	Name  string
	Shape []int
}

// maxListed is how many names of a kind an error lists before it only counts them.
const maxListed = 10

// Match compares the file with the tensors that are wanted, and reports every missing and unexpected name and every
// other shape in one error. Names for which ignore returns true may be absent, present or of any shape; a nil ignore
// ignores none.
func (f *File) Match(want []Spec, ignore func(name string) bool) error {
	if ignore == nil {
		ignore = func(string) bool { return false }
	}
	var missing, unexpected, shapes []string
	wanted := make(map[string]bool, len(want))
	for _, w := range want {
		wanted[w.Name] = true
		have, ok := f.Tensor(w.Name)
		switch {
		case ignore(w.Name):
		case !ok:
			missing = append(missing, w.Name)
		case !slices.Equal(have.Shape, w.Shape):
			shapes = append(shapes, fmt.Sprintf("%s is %s, want %s", w.Name, formatShape(have.Shape), formatShape(w.Shape)))
		}
	}
	for _, t := range f.tensors {
		if !wanted[t.Name] && !ignore(t.Name) {
			unexpected = append(unexpected, t.Name)
		}
	}
	problems := slices.Concat(list("missing tensor", missing), list("unexpected tensor", unexpected), list("wrong shape", shapes))
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("checkpoint %s does not fit: %s", f.path, strings.Join(problems, "; "))
}

// list counts the items and shows the first of them. It returns nothing for none.
func list(kind string, items []string) []string {
	if len(items) == 0 {
		return nil
	}
	if len(items) > 1 {
		kind += "s"
	}
	shown := strings.Join(items[:min(len(items), maxListed)], ", ")
	if more := len(items) - maxListed; more > 0 {
		shown += fmt.Sprintf(", and %d more", more)
	}
	return []string{fmt.Sprintf("%d %s (%s)", len(items), kind, shown)}
}

// formatShape writes a shape as PyTorch does: [64, 3, 7, 7].
func formatShape(shape []int) string { return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ") }
