package summary

import (
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// A layer is a row of the table: a module that ran, or one around it that didn't.
type layer struct {
	*nn.Module
	name   string // in its parent; the root's is its type
	depth  int
	parent *layer // its place in the tree, which needn't be a row

	in, out           []int // nil where the module itself didn't run
	params, trainable int   // with everything below
	multAdds          int
	recursive         bool // an earlier row has the same module

	index int      // counts the rows of its depth
	below []*layer // the rows that follow and are deeper
}

// places gives the layer of each path of the tree, parents before children.
func places(m *nn.Module) (paths []string, at map[string]*layer) {
	at = map[string]*layer{}
	for path, mod := range m.Walk() {
		l := &layer{Module: mod, name: m.Type}
		if path != "" {
			dot := strings.LastIndexByte(path, '.')
			l.parent, l.name = at[path[:max(dot, 0)]], path[dot+1:]
			l.depth = l.parent.depth + 1
		}
		paths, at[path] = append(paths, path), l
	}
	return paths, at
}

// everything gives a row for each module of the tree.
func everything(m *nn.Module) (rows []*layer) {
	paths, at := places(m)
	seen := map[*nn.Module]bool{}
	for _, path := range paths {
		l := at[path]
		l.count()
		l.recursive, seen[l.Module] = seen[l.Module], true
		rows = append(rows, l)
	}
	return rows
}

// executed gives a row for each call, and rows for the modules around it that weren't called
// themselves, such as a ModuleList.
func executed(m *nn.Module, calls []graph.Call) (rows []*layer) {
	_, at := places(m)
	seen := map[*nn.Module]bool{}
	var ran []*layer
	for _, c := range calls {
		l := *at[c.Path]
		l.in, l.out = c.In, c.Out
		l.count()
		l.recursive, seen[l.Module] = seen[l.Module], true
		ran = append(ran, &l)
	}

	var open []*layer // the row last added, after those around it
	for _, l := range ran {
		for _, around := range l.ancestors() {
			if d := around.depth; d >= len(open) || open[d].Module != around.Module {
				around.count()
				around.recursive, seen[around.Module] = seen[around.Module], true
				rows, open = append(rows, around), append(open[:d], around)
			}
		}
		rows, open = append(rows, l), append(open[:l.depth], l)
	}
	return rows
}

// ancestors lists the places around a layer from the outside in, without the root.
func (l *layer) ancestors() (around []*layer) {
	for p := l.parent; p != nil && p.depth > 0; p = p.parent {
		around = append(around, p)
	}
	slices.Reverse(around)
	return around
}

// connect notes which rows are below which, and counts the rows of each depth.
func connect(rows []*layer) {
	counts := map[int]int{}
	for i, l := range rows {
		counts[l.depth]++
		l.index = counts[l.depth]
		end := i + 1
		for end < len(rows) && rows[end].depth > l.depth {
			end++
		}
		l.below = rows[i+1 : end]
	}
}

// count sums up the parameters of a module and, if it ran, its multiply-adds.
func (l *layer) count() {
	l.params, l.trainable, l.multAdds = 0, 0, 0
	seen := map[*graph.Param]bool{}
	for path, m := range l.Walk() {
		for _, p := range m.Own() {
			if p.Buffer || seen[p] {
				continue
			}
			seen[p] = true
			n := p.Numel()
			l.params += n
			if p.RequiresGrad {
				l.trainable += n
			}
			if l.out != nil {
				l.multAdds += n * l.uses(nn.Join(path, p.Name[strings.LastIndexByte(p.Name, '.')+1:]))
			}
		}
	}
}

// uses tells how often torchinfo takes each number of a parameter to be used, by its name below
// the layer: once for each position of a convolution's output, and otherwise once for each sample
// (a Linear on a sequence included).
func (l *layer) uses(param string) int {
	switch {
	case param == "weight" || param == "bias":
		if strings.Contains(l.Type, "Conv") {
			return l.out[0] * graph.Numel(l.out[min(2, len(l.out)):])
		}
		return l.out[0]
	case strings.Contains(param, "weight") || strings.Contains(param, "bias"):
		return graph.Numel(l.out[:min(2, len(l.out))])
	default:
		return 0
	}
}

// leaf reports whether the module has no children, so that its row counts in the totals whole.
func (l *layer) leaf() bool {
	for range l.Children() {
		return false
	}
	return true
}

// leftover counts the parameters, and those among them that train, that no row below counts: a
// class token, or modules that didn't run.
func (l *layer) leftover() (params, trainable int) {
	params, trainable = l.params, l.trainable
	for _, c := range l.below {
		if !c.recursive {
			p, t := c.leftover()
			params, trainable = params-p, trainable-t
		}
	}
	return params, trainable
}
