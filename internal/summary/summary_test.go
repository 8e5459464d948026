package summary

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
)

// odd is class Odd of goldens.py.
func odd() *models.Network {
	shared := nn.Sequential(nn.Conv2d(nn.Conv{In: 4, Out: 4, Kernel: nn.Pair{1, 3}}), nn.BatchNorm2d(4, 1e-5, 0.1))
	root := nn.New("Odd", func(m *nn.Module, x nn.Value) nn.Value {
		x = m.Sub("stem", x).Add(m.Param("token", x))
		x = m.Sub("act", m.Sub("blocks.0.0", x))
		x = m.Sub("shared", m.Sub("blocks.1.0", x))
		x = m.Sub("blocks.1.0", m.Sub("act", m.Sub("blocks.0.0", x)))
		return m.Sub("head", m.Sub("tied", x).Mean(2, 3))
	}).
		AddParam("token", nil, 1, 4, 1, 1).
		Add("stem", nn.Conv2d(nn.Conv{In: 3, Out: 4, Kernel: nn.Square(1)})).
		Add("blocks", nn.New("ModuleList", nil).
			Append(nn.Sequential(nn.Conv2d(nn.Conv{In: 4, Out: 4, Kernel: nn.Square(3), Padding: nn.Square(1)}))).
			Append(nn.Sequential(nn.Conv2d(nn.Conv{In: 4, Out: 4, Kernel: nn.Square(1), NoBias: true})))).
		Add("act", nn.Act(graph.ReLU, false)).
		Add("shared", shared).
		Add("tied", shared).
		Add("unused", nn.Linear(4, 5, true)).
		Add("head", nn.Linear(4, 3, true))
	return &models.Network{Module: root, Name: "odd", Head: "head"}
}

// network builds a model.
func network(t *testing.T, name string, classes int) *models.Network {
	t.Helper()
	if name == "odd" {
		return odd()
	}
	n, err := models.New(name, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if classes != 1000 {
		if err := n.ReplaceHead(classes, -1); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// run makes the table that a line of arguments asks for.
func run(t *testing.T, line string) string {
	t.Helper()
	name, line, _ := strings.Cut(line, " ")
	var (
		flags   = flag.NewFlagSet(name, flag.ContinueOnError)
		opts    Options
		classes = flags.Int("classes", 1000, "")
		freeze  = flags.String("freeze", "", "")
		split   = func(to *[]string) func(string) error {
			return func(s string) error {
				*to = strings.FieldsFunc(strings.Trim(s, "'"), func(r rune) bool { return r == ',' })
				return nil
			}
		}
	)
	flags.IntVar(&opts.ColWidth, "col-width", 0, "")
	flags.IntVar(&opts.Depth, "depth", DefaultDepth, "")
	flags.Func("col-names", "", split(&opts.ColNames))
	flags.Func("row-settings", "", split(&opts.RowSettings))
	flags.Func("input-size", "", func(s string) error {
		for d := range strings.SplitSeq(s, ",") {
			n, err := strconv.Atoi(d)
			if err != nil {
				return err
			}
			opts.InputSize = append(opts.InputSize, n)
		}
		return nil
	})
	if err := flags.Parse(strings.Fields(line)); err != nil {
		t.Fatal(err)
	}
	n := network(t, name, *classes)
	if *freeze != "" {
		if err := n.Freeze(*freeze); err != nil {
			t.Fatal(err)
		}
	}
	text, err := Summary(n.Module, opts)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/goldens/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			line, want, _ := strings.Cut(string(data), "\n\n")
			compare(t, run(t, line)+"\n", want)
		})
	}
}

// compare shows the first line that differs.
func compare(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("line %d:\n%s\nwant\n%s", i+1, g[i], w[i])
		}
	}
	if len(g) != len(w) {
		t.Fatalf("%d lines, want %d", len(g), len(w))
	}
}

// TestSums compares every architecture of torchvision by the hash of what torchinfo and PyTorch
// print. The first line holds the arguments.
func TestSums(t *testing.T) {
	data, err := os.ReadFile("testdata/goldens/sums.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	for line := range strings.Lines(string(data)) {
		lines = append(lines, strings.Split(strings.TrimSpace(line), "\t"))
	}
	const first = 2 // column of hashes
	header := lines[0]
	for _, fields := range lines[1:] {
		name, size := fields[0], fields[1]
		t.Run(name, func(t *testing.T) {
			for i := first; i < len(header); i++ {
				text := ""
				if header[i] == "repr" {
					text = Repr(network(t, name, 1000).Module)
				} else {
					text = run(t, strings.NewReplacer("MODEL", name, "SIZE", size).Replace(header[i]))
				}
				if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text))); sum != fields[i] {
					t.Errorf("%s: SHA-256 %s, want %s", header[i], sum, fields[i])
				}
			}
		})
	}
}

// TestTotals holds the tables of all models, those of timm included, to the number of their
// parameters.
func TestTotals(t *testing.T) {
	for _, name := range models.Names() {
		n := network(t, name, 1000)
		text, err := Summary(n.Module, Options{InputSize: []int{1, 3, n.Size, n.Size}})
		if err != nil {
			t.Fatal(err)
		}
		params := 0
		for _, p := range n.Params() {
			if !p.Buffer {
				params += p.Numel()
			}
		}
		if want := "\nTotal params: " + thousands(params) + "\nTrainable params: " + thousands(params) + "\n"; !strings.Contains(text, want) {
			t.Errorf("%s: the table doesn't hold %q", name, want)
		}
	}
}

func TestErrors(t *testing.T) {
	n := network(t, "tinyvgg", 3)
	size := []int{1, 3, 64, 64}
	for name, v := range map[string]struct {
		opts Options
		want string
	}{
		"column":       {Options{ColNames: []string{"groups"}}, `--col-names: there is no column "groups"; choose from input_size, output_size`},
		"needs input":  {Options{ColNames: []string{"mult_adds"}}, "mult_adds needs --input-size"},
		"width":        {Options{InputSize: size, ColWidth: -1}, "--col-width is -1"},
		"row setting":  {Options{InputSize: size, RowSettings: []string{"colour"}}, `--row-settings: there is no setting "colour"`},
		"too small":    {Options{InputSize: []int{1, 3, 4, 4}}, "--input-size: TinyVGG doesn't take an input of shape [1 3 4 4]"},
		"no size":      {Options{InputSize: []int{}}, "--input-size"},
		"zero":         {Options{InputSize: []int{1, 3, 64, 0}}, "--input-size"},
		"three":        {Options{InputSize: []int{3, 64, 64}}, "--input-size"},
		"other images": {Options{InputSize: []int{1, 1, 64, 64}}, "--input-size"},
	} {
		t.Run(name, func(t *testing.T) {
			if text, err := Summary(n.Module, v.opts); err == nil || !strings.Contains(err.Error(), v.want) {
				t.Errorf("error %v, want %q; text %q", err, v.want, text)
			}
		})
	}
}

// TestNoWeights makes sure that a description needs no memory for values.
func TestNoWeights(t *testing.T) {
	n := network(t, "tinyvgg", 3)
	if _, err := Summary(n.Module, Options{InputSize: []int{1, 3, 64, 64}}); err != nil {
		t.Fatal(err)
	}
	Repr(n.Module)
	for _, p := range n.Params() {
		if p.Data != nil {
			t.Errorf("%s has values", p.Name)
		}
	}
}

func ExampleSummary() {
	n, err := models.New("tinyvgg", 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := Summary(n.Module, Options{InputSize: []int{1, 3, 64, 64}, ColWidth: 18, Depth: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(text)
	// Output:
	// ============================================================================
	// Layer (type:depth-idx)                   Output Shape       Param #
	// ============================================================================
	// TinyVGG                                  [1, 3]             --
	// ├─Sequential: 1-1                        [1, 10, 30, 30]    1,190
	// ├─Sequential: 1-2                        [1, 10, 13, 13]    1,820
	// ├─Sequential: 1-3                        [1, 3]             5,073
	// ============================================================================
	// Total params: 8,083
	// Trainable params: 8,083
	// Non-trainable params: 0
	// Total mult-adds (Units.MEGABYTES): 5.69
	// ============================================================================
	// Input size (MB): 0.05
	// Forward/backward pass size (MB): 0.71
	// Params size (MB): 0.03
	// Estimated Total Size (MB): 0.79
	// ============================================================================
}

// What PyTorch prints for a list of two equal blocks and another one.
func ExampleRepr() {
	block := func(bias bool) *nn.Module { return nn.Sequential(nn.Linear(2, 2, bias), nn.Flatten(1)) }
	fmt.Println(Repr(nn.New("ModuleList", nil).Append(block(true)).Append(block(true)).Append(block(false))))
	// Output:
	// ModuleList(
	//   (0-1): 2 x Sequential(
	//     (0): Linear(in_features=2, out_features=2, bias=True)
	//     (1): Flatten(start_dim=1, end_dim=-1)
	//   )
	//   (2): Sequential(
	//     (0): Linear(in_features=2, out_features=2, bias=False)
	//     (1): Flatten(start_dim=1, end_dim=-1)
	//   )
	// )
}
