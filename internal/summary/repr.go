package summary

import (
	"fmt"
	"strings"

	"github.com/graft-ml/graft/internal/nn"
)

// Repr returns what print(model) shows in PyTorch (torch.nn.Module.__repr__), without a newline at
// its end. A ModuleList writes equal neighbours once, as "(0-2): 3 x Block(…)".
func Repr(m *nn.Module) string {
	type entry struct {
		first, last, text string
		count             int
	}
	var entries []entry
	for name, c := range m.Children() {
		text := Repr(c)
		if n := len(entries); m.Type == "ModuleList" && n > 0 && entries[n-1].text == text {
			entries[n-1].last = name
			entries[n-1].count++
			continue
		}
		entries = append(entries, entry{name, name, text, 1})
	}
	if len(entries) == 0 {
		return m.Type + "(" + m.Extra + ")"
	}

	lines := []string{m.Type + "("}
	if m.Extra != "" {
		lines = append(lines, m.Extra)
	}
	for _, e := range entries {
		line := fmt.Sprintf("(%s): %s", e.first, e.text)
		if e.count > 1 {
			line = fmt.Sprintf("(%s-%s): %d x %s", e.first, e.last, e.count, e.text)
		}
		lines = append(lines, strings.ReplaceAll(line, "\n", "\n  "))
	}
	return strings.Join(lines, "\n  ") + "\n)"
}
