// Package summary prints networks as PyTorch's users know them: [Summary] gives torchinfo's table
// and [Repr] what print(model) shows, both byte for byte.
//
// The table follows torchinfo 1.8.0 (https://github.com/TylerYep/torchinfo) as it prints under
// Python 3.11: "(Units.MEGABYTES)" where its documentation shows "(M)".
package summary

import (
	"fmt"
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/nn"
)

// DefaultDepth is torchinfo's default for [Options.Depth].
const DefaultDepth = 3

// Options are the arguments of torchinfo's summary and the flags of graft summary, by the same
// names.
type Options struct {
	// InputSize is the shape of the input with the batch in front, [N, C, H, W]:
	// --input-size 32,3,224,224. The table then lists the modules in the order in which they run,
	// each as often as it does, and leaves out those that don't, such as auxiliary classifiers.
	// Without an input size it lists the whole tree, and the columns input_size, output_size and
	// mult_adds aren't to be had.
	InputSize []int

	// ColNames are the columns, in their order: --col-names input_size,output_size,num_params,trainable.
	//
	//   - input_size, output_size: the shapes of the first tensor that goes in and of the one that
	//     comes out
	//   - num_params: the parameters of a module without children, or with everything below where
	//     the depth ends; otherwise those that no row below counts. In parentheses if they are
	//     frozen; (recursive) if an earlier row counts them
	//   - params_percent: num_params as a share of the network's
	//   - kernel_size: the window of a convolution or pooling
	//   - mult_adds: multiplications with a parameter and additions, for the whole batch
	//   - trainable: True, False, Partial, or -- without parameters
	//
	// Nil means output_size and num_params, or num_params alone without an input size.
	ColNames []string

	// ColWidth is the width of a column in characters: --col-width 20. 0 means 25. A longer value
	// pushes the rest of its row to the right.
	ColWidth int

	// Depth is how many levels below the root are shown: --depth 3, which is the flag's default
	// ([DefaultDepth]). 0 shows the root alone. The totals count everything at any depth.
	Depth int

	// RowSettings say how a row begins: --row-settings var_names,depth. Nil means depth.
	//
	//   - var_names: the name of the module in its parent, "Conv2d (0)"
	//   - depth: the level, and a number that counts the rows of that level, "Conv2d: 4-1"
	//   - ascii_only: draw the tree with + and |
	//   - hide_recursive_layers: no rows for modules that have one already
	RowSettings []string
}

// The row settings.
const (
	rowDepth         = "depth"
	rowVarNames      = "var_names"
	rowASCIIOnly     = "ascii_only"
	rowHideRecursive = "hide_recursive_layers"
)

var rowSettings = []string{rowDepth, rowVarNames, rowASCIIOnly, rowHideRecursive}

// Summary returns torchinfo's table of a network, without a newline at its end. It needs no values
// in the parameters. The error names the flag that can't be met, or is that of [nn.Trace] for an
// input size that the network doesn't take.
func Summary(m *nn.Module, opts Options) (string, error) {
	t, err := opts.table()
	if err != nil {
		return "", err
	}
	var rows []*layer
	if opts.InputSize == nil {
		rows = everything(m)
	} else {
		g, err := nn.Trace(m, opts.InputSize...)
		if err != nil {
			return "", fmt.Errorf("--input-size: %w", err)
		}
		rows = executed(m, g.Calls)
	}
	connect(rows)
	return t.print(rows), nil
}

// table checks the options and fills in the defaults.
func (o Options) table() (*table, error) {
	if o.ColNames == nil {
		o.ColNames = []string{"output_size", "num_params"}
		if o.InputSize == nil {
			o.ColNames = []string{"num_params"}
		}
	}
	if o.ColWidth == 0 {
		o.ColWidth = 25
	}
	if o.ColWidth < 0 {
		return nil, fmt.Errorf("--col-width is %d: it must be positive", o.ColWidth)
	}
	if o.RowSettings == nil {
		o.RowSettings = []string{rowDepth}
	}
	for _, s := range o.RowSettings {
		if !slices.Contains(rowSettings, s) {
			return nil, fmt.Errorf("--row-settings: there is no setting %q; choose from %s", s, strings.Join(rowSettings, ", "))
		}
	}
	t := &table{Options: o}
	for _, name := range o.ColNames {
		i := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("--col-names: there is no column %q; choose from %s", name, columnNames())
		}
		if columns[i].needsInput && o.InputSize == nil {
			return nil, fmt.Errorf("--col-names: the column %s needs --input-size", name)
		}
		t.columns = append(t.columns, columns[i])
	}
	return t, nil
}
