package summary

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/graft-ml/graft/internal/graph"
)

// A column of the table. Its value for a row may depend on whether the depth ends there (last).
type column struct {
	name, title string
	needsInput  bool
	value       func(l *layer, last bool, total totals) string
}

var columns = []column{
	{"input_size", "Input Shape", true, func(l *layer, _ bool, _ totals) string { return list(l.in) }},
	{"output_size", "Output Shape", true, func(l *layer, _ bool, _ totals) string { return list(l.out) }},
	{"num_params", "Param #", false, func(l *layer, last bool, _ totals) string { return l.numParams(last) }},
	{"params_percent", "Param %", false, (*layer).paramsPercent},
	{"kernel_size", "Kernel Shape", false, func(l *layer, _ bool, _ totals) string { return l.kernelSize() }},
	{"mult_adds", "Mult-Adds", true, func(l *layer, last bool, _ totals) string { return l.multAddsText(last) }},
	{"trainable", "Trainable", false, func(l *layer, _ bool, _ totals) string { return l.trainableText() }},
}

func columnNames() string {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// none stands where there is nothing to say.
const none = "--"

func list(shape []int) string {
	if len(shape) == 0 {
		return none
	}
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ")
}

func (l *layer) numParams(last bool) string {
	switch {
	case l.params == 0:
		return none
	case l.recursive:
		return "(recursive)"
	case last || l.leaf():
		if l.trainable == 0 {
			return "(" + thousands(l.params) + ")"
		}
		return thousands(l.params)
	}
	if n, _ := l.leftover(); n > 0 {
		return thousands(n)
	}
	return none
}

func (l *layer) paramsPercent(last bool, total totals) string {
	n := l.params
	if !last {
		n, _ = l.leftover()
	}
	switch {
	case total.params > 0 && l.recursive:
		return "(recursive)"
	case total.params == 0 || n == 0:
		return "     " + none
	}
	return fmt.Sprintf("%6.2f%%", float64(n)/float64(total.params)*100)
}

var kernelSize = regexp.MustCompile(`kernel_size=(\d+|\([^)]*\))`)

func (l *layer) kernelSize() string {
	match := kernelSize.FindStringSubmatch(l.Extra)
	if match == nil {
		return none
	}
	return strings.NewReplacer("(", "[", ")", "]").Replace(match[1])
}

func (l *layer) multAddsText(last bool) string {
	switch {
	case l.multAdds == 0:
		return none
	case l.leaf():
		return thousands(l.multAdds)
	case last:
		sum := 0
		for _, c := range l.below {
			if c.leaf() {
				sum += c.multAdds
			}
		}
		return thousands(sum)
	}
	return none
}

func (l *layer) trainableText() string {
	switch l.trainable {
	case l.params:
		if l.params == 0 {
			return none
		}
		return "True"
	case 0:
		return "False"
	}
	return "Partial"
}

// totals are the sums under the table.
type totals struct {
	params, trainable, multAdds int
	outputBytes, paramBytes     int
}

// Sizes in bytes: of a float32, and of the Python object around an input's values, which torchinfo
// counts too.
const (
	float32Bytes  = 4
	storageObject = 64
)

func sum(rows []*layer) (t totals) {
	for _, l := range rows {
		if l.leaf() {
			t.multAdds += l.multAdds
			if l.params > 0 && l.out != nil {
				t.outputBytes += 2 * float32Bytes * graph.Numel(l.out) // the gradient is as large
			}
		}
		if l.recursive {
			continue
		}
		params, trainable := l.leftover()
		t.params += max(params, 0)
		t.trainable += max(trainable, 0)
		if l.leaf() {
			t.paramBytes += float32Bytes * l.params
		}
	}
	return t
}

// A table lays the rows out.
type table struct {
	Options
	columns   []column
	nameWidth int
	b         strings.Builder
}

func (t *table) print(rows []*layer) string {
	total := sum(rows)
	t.nameWidth = t.widest(rows)
	rule := strings.Repeat("=", t.nameWidth+len(t.columns)*t.ColWidth)

	fmt.Fprintln(&t.b, rule)
	t.row(t.header(), func(c column) string { return c.title })
	fmt.Fprintln(&t.b, rule)
	for _, l := range rows {
		if l.depth <= t.Depth && !(l.recursive && t.has(rowHideRecursive)) {
			t.row(t.branch(l.depth)+t.label(l), func(c column) string { return c.value(l, l.depth == t.Depth, total) })
		}
	}
	fmt.Fprintf(&t.b, "%s\nTotal params: %s\nTrainable params: %s\nNon-trainable params: %s\n",
		rule, thousands(total.params), thousands(total.trainable), thousands(total.params-total.trainable))
	if t.InputSize != nil {
		input := float32Bytes*graph.Numel(t.InputSize) + storageObject
		fmt.Fprintf(&t.b, "Total mult-adds %s\n%s\n", units(total.multAdds), rule)
		fmt.Fprintf(&t.b, "Input size (MB): %s\n", megabytes(input))
		fmt.Fprintf(&t.b, "Forward/backward pass size (MB): %s\n", megabytes(total.outputBytes))
		fmt.Fprintf(&t.b, "Params size (MB): %s\n", megabytes(total.paramBytes))
		fmt.Fprintf(&t.b, "Estimated Total Size (MB): %s\n", megabytes(input+total.outputBytes+total.paramBytes))
	}
	t.b.WriteString(rule)
	return t.b.String()
}

func (t *table) has(setting string) bool { return slices.Contains(t.RowSettings, setting) }

// widest gives the width of the first column: at least 40, and with the hidden rows in mind too.
func (t *table) widest(rows []*layer) int {
	const least, step = 40, 5
	longest := 0
	for _, l := range rows {
		longest = max(longest, utf8.RuneCountInString(t.label(l))+step*l.depth+1)
	}
	return max(least, (longest+step-1)/step*step)
}

func (t *table) header() string {
	s := "Layer (type"
	if t.has(rowVarNames) {
		s += " (var_name)"
	}
	if t.has(rowDepth) {
		s += ":depth-idx"
	}
	return s + ")"
}

func (t *table) label(l *layer) string {
	s := l.Type
	if t.has(rowVarNames) {
		s += " (" + l.name + ")"
	}
	if t.has(rowDepth) && l.depth > 0 {
		s += fmt.Sprintf(": %d-%d", l.depth, l.index)
	}
	return s
}

// branch draws the tree to the left of a row.
func (t *table) branch(depth int) string {
	first, further, line := "├─", "└─", "│    "
	if t.has(rowASCIIOnly) {
		first, further, line = "+ ", "+ ", "|    "
	}
	switch depth {
	case 0:
		return ""
	case 1:
		return first
	}
	return strings.Repeat(line, depth-1) + further
}

func (t *table) row(label string, value func(column) string) {
	s := fmt.Sprintf("%-*s ", t.nameWidth, label)
	for _, c := range t.columns {
		s += fmt.Sprintf("%-*s ", t.ColWidth, value(c))
	}
	fmt.Fprintln(&t.b, strings.TrimRight(s, " "))
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// units writes a number in millions, or in billions or trillions from one of those on.
func units(n int) string {
	unit, size := "MEGABYTES", 1_000_000
	if n >= 1_000_000_000_000 {
		unit, size = "TERABYTES", 1_000_000_000_000
	} else if n >= 1_000_000_000 {
		unit, size = "GIGABYTES", 1_000_000_000
	}
	if n%size == 0 {
		return fmt.Sprintf("(Units.%s): %s", unit, thousands(n/size))
	}
	whole, cents, _ := strings.Cut(fmt.Sprintf("%.2f", float64(n)/float64(size)), ".")
	n, _ = strconv.Atoi(whole)
	return fmt.Sprintf("(Units.%s): %s.%s", unit, thousands(n), cents)
}

func megabytes(bytes int) string { return fmt.Sprintf("%.2f", float64(bytes)/1e6) }
