package nn_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// small is a network with a bit of everything.
func small() *nn.Module {
	return nn.New("Small", nn.Chain).
		Add("features", nn.Sequential(
			nn.Conv2d(nn.Conv{In: 3, Out: 4, Kernel: nn.Square(3)}),
			nn.BatchNorm2d(4, 1e-5, 0.1),
			nn.Dropout(0.3, false),
			nn.MaxPool2d(2, 2, 0, false),
		)).
		Add("avgpool", nn.AdaptiveAvgPool2d(1)).
		Add("classifier", nn.Sequential(nn.Flatten(1), nn.Dropout(0.2, false), nn.Linear(4, 2, true)))
}

func paths(m *nn.Module) (all []string) {
	for path, mod := range m.Walk() {
		all = append(all, path+" "+mod.Type)
	}
	return all
}

func names(m *nn.Module) (all []string) {
	for _, p := range m.Params() {
		all = append(all, p.Name)
	}
	return all
}

func TestTree(t *testing.T) {
	m := small()
	want := []string{" Small", "features Sequential", "features.0 Conv2d", "features.1 BatchNorm2d", "features.2 Dropout",
		"features.3 MaxPool2d", "avgpool AdaptiveAvgPool2d", "classifier Sequential", "classifier.0 Flatten",
		"classifier.1 Dropout", "classifier.2 Linear"}
	if got := paths(m); !slices.Equal(got, want) {
		t.Errorf("the tree is %q, want %q", got, want)
	}
	visited := 0
	for path := range m.Walk() {
		visited++
		if path == "features.1" {
			break
		}
	}
	if visited != 4 {
		t.Errorf("%d modules were visited before stopping, want 4", visited)
	}
	var children []string
	for name, c := range m.Children() {
		children = append(children, name+" "+c.Type)
		if name == "avgpool" {
			break
		}
	}
	if want := []string{"features Sequential", "avgpool AdaptiveAvgPool2d"}; !slices.Equal(children, want) {
		t.Errorf("the children are %q, want %q", children, want)
	}
	want = []string{"features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias", "features.1.running_mean",
		"features.1.running_var", "features.1.num_batches_tracked", "classifier.2.weight", "classifier.2.bias"}
	if got := names(m); !slices.Equal(got, want) {
		t.Errorf("the parameters are %q, want %q", got, want)
	}
}

func TestChild(t *testing.T) {
	m := small()
	for path, want := range map[string]string{
		"features": "Sequential", "features.3": "MaxPool2d", "avgpool": "AdaptiveAvgPool2d",
		"": "", "0": "", "features.4": "", "features.": "", ".features": "", "features.0.weight": "", "avgpool.0": "",
	} {
		got := ""
		if c := m.Child(path); c != nil {
			got = c.Type
		}
		if got != want {
			t.Errorf("at %q stands %q, want %q", path, got, want)
		}
	}
}

func TestReplace(t *testing.T) {
	m := small()
	if err := errors.Join(m.Replace("features.2", nn.Identity()), m.Replace("avgpool", nn.Act(graph.ReLU, false))); err != nil {
		t.Fatal(err)
	}
	if got := paths(m); got[4] != "features.2 Identity" || got[6] != "avgpool ReLU" || len(got) != 11 {
		t.Errorf("the tree is %q", got)
	}
	before := paths(m)
	for _, path := range []string{"", "head", "features.9", "nowhere.0", "avgpool.0"} {
		if err := m.Replace(path, nn.Identity()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", path)) {
			t.Errorf("replacing %q: %v", path, err)
		}
	}
	if !slices.Equal(paths(m), before) {
		t.Error("an error changed the tree")
	}
}

// TestSharedModule stands in two places: its parameters are listed once, by the first.
func TestSharedModule(t *testing.T) {
	shared := nn.Linear(3, 3, false)
	m := nn.New("Twice", nn.Chain).Add("a", shared).Add("b", nn.Sequential(shared))
	if got := names(m); !slices.Equal(got, []string{"a.weight"}) {
		t.Errorf("the parameters are %q", got)
	}
	g, err := nn.Trace(m, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := g.Nodes[1], g.Nodes[2]; a.Params[0] != b.Params[0] {
		t.Error("the two places have two weights")
	}
}

func TestFreeze(t *testing.T) {
	m := small()
	trainable := func() (all []string) {
		for _, p := range m.Params() {
			if p.RequiresGrad {
				all = append(all, p.Name)
			}
		}
		return all
	}
	everything := []string{"features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias", "classifier.2.weight", "classifier.2.bias"}
	for _, step := range []struct {
		path   string
		frozen bool
		want   []string
	}{
		{"features", true, everything[4:]},
		{"features.1", false, everything[2:]},
		{"avgpool", true, everything[2:]},
		{"classifier", true, everything[2:4]},
		{"features", false, everything[:4]},
	} {
		m.Child(step.path).Freeze(step.frozen)
		if got := trainable(); !slices.Equal(got, step.want) {
			t.Errorf("after freezing %s (%v), %q train, want %q", step.path, step.frozen, got, step.want)
		}
	}
	m.Freeze(true)
	if got := trainable(); got != nil {
		t.Errorf("with all frozen, %q train", got)
	}
	m.Freeze(false)
	if got := trainable(); !slices.Equal(got, everything) {
		t.Errorf("with none frozen, %q train", got)
	}
}

// TestActive has dropout and batch norms behave as in training beside what trains, and nowhere else.
func TestActive(t *testing.T) {
	for _, test := range []struct {
		frozen []string
		want   []bool // norm, the dropout in features, that in the classifier
	}{
		{nil, []bool{true, true, true}},
		{[]string{"features"}, []bool{false, false, true}},
		{[]string{"features.0"}, []bool{true, true, true}},
		{[]string{"features.1"}, []bool{false, true, true}},
		{[]string{"classifier"}, []bool{true, true, false}},
		{[]string{"features", "classifier"}, []bool{false, false, false}},
	} {
		m := small()
		for _, path := range test.frozen {
			m.Child(path).Freeze(true)
		}
		g, err := nn.Trace(m, 2, 3, 9, 9)
		if err != nil {
			t.Fatal(err)
		}
		var got []bool
		for _, n := range g.Nodes {
			switch op := n.Op.(type) {
			case graph.BatchNorm:
				got = append(got, op.Training)
			case graph.Dropout:
				got = append(got, op.Active)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("with %q frozen, active are %v, want %v", test.frozen, got, test.want)
		}
	}
}

func TestTrace(t *testing.T) {
	g, err := nn.Trace(small(), 2, 3, 9, 8)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.Output.Shape, []int{2, 2}) || len(g.Inputs) != 1 {
		t.Errorf("the output is %v of %d inputs", g.Output.Shape, len(g.Inputs))
	}
	var calls []string
	for _, c := range g.Calls {
		calls = append(calls, fmt.Sprintf("%s%v%v", c.Path, c.In, c.Out))
	}
	want := []string{"[2 3 9 8][2 2]", "features[2 3 9 8][2 4 3 3]", "features.0[2 3 9 8][2 4 7 6]", "features.1[2 4 7 6][2 4 7 6]",
		"features.2[2 4 7 6][2 4 7 6]", "features.3[2 4 7 6][2 4 3 3]", "avgpool[2 4 3 3][2 4 1 1]", "classifier[2 4 1 1][2 2]",
		"classifier.0[2 4 1 1][2 4]", "classifier.1[2 4][2 4]", "classifier.2[2 4][2 2]"}
	if !slices.Equal(calls, want) {
		t.Errorf("the calls are %q, want %q", calls, want)
	}
}

func TestTraceErrors(t *testing.T) {
	for _, test := range []struct {
		shape []int
		small bool
		want  []string
	}{
		{[]int{1, 3, 2, 9}, true, []string{"Small", "features.0", "[1 3 2 9]", "too small"}},
		{[]int{1, 3, 9, 3}, true, []string{"features.3", "[1 4 7 1]", "too small"}},
		{[]int{1, 1, 9, 9}, false, []string{"features.0", "takes 3 channels, the input has 1"}},
		{[]int{3, 9, 9}, false, []string{"features.0", "[N, C, H, W]"}},
		{[]int{0, 3, 9, 9}, true, nil},
	} {
		g, err := nn.Trace(small(), test.shape...)
		if err == nil || g != nil || errors.Is(err, graph.ErrTooSmall) != test.small {
			t.Errorf("%v: %v", test.shape, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v; want it to say %q", test.shape, err, want)
			}
		}
	}
}

// TestMistakes are those of an architecture's author: they panic while it is traced.
func TestMistakes(t *testing.T) {
	for want, forward := range map[string]func(m *nn.Module, x nn.Value) nn.Value{
		`Wrong has no child "missing"`:     func(m *nn.Module, x nn.Value) nn.Value { return m.Sub("missing", x) },
		`Wrong has no parameter "missing"`: func(m *nn.Module, x nn.Value) nn.Value { return m.Param("missing", x) },
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, want) {
					t.Errorf("the panic is %s, want %s", r, want)
				}
			}()
			nn.Trace(nn.New("Wrong", forward), 1, 3)
		}()
	}
}

func TestLeastInput(t *testing.T) {
	conv := func(kernel, stride int) *nn.Module {
		return nn.Conv2d(nn.Conv{In: 3, Out: 3, Kernel: nn.Square(kernel), Stride: nn.Square(stride)})
	}
	for want, m := range map[int]*nn.Module{
		1:  nn.Sequential(conv(1, 1), nn.AdaptiveAvgPool2d(1)),
		4:  small(),
		11: nn.Sequential(conv(7, 1), conv(5, 2)),
		33: nn.Sequential(conv(3, 2), conv(16, 3)),
	} {
		if got := nn.LeastInput(m, 3); got != want {
			t.Errorf("the least input of %d is found to be %d", want, got)
		}
	}
}

// TestSame makes ⌈size/stride⌉ pixels as TensorFlow's SAME does, with no more padding than it takes
// and the larger half at the end.
func TestSame(t *testing.T) {
	for size := 1; size <= 12; size++ {
		for kernel := 1; kernel <= 5; kernel++ {
			for stride := 1; stride <= 3; stride++ {
				m := nn.Conv2d(nn.Conv{In: 1, Out: 1, Kernel: nn.Pair{kernel, 3}, Stride: nn.Pair{stride, 2}, Same: true})
				g, err := nn.Trace(m, 1, 1, size, 9)
				if err != nil {
					t.Fatal(err)
				}
				pad, out := g.Output.Op.(graph.Conv2d).Pad, g.Output.Shape
				reach := (out[2]-1)*stride + kernel // of the last window, from the first one's beginning
				if total := pad[0] + pad[2]; out[2] != (size+stride-1)/stride || pad[2]-pad[0] < 0 || pad[2]-pad[0] > 1 || total != max(reach-size, 0) {
					t.Errorf("%d pixels, kernel %d, stride %d: padding %v makes %d", size, kernel, stride, pad, out[2])
				}
				if out[3] != 5 || pad[1] != 1 || pad[3] != 1 {
					t.Errorf("9 columns, kernel 3, stride 2: padding %v makes %d", pad, out[3])
				}
			}
		}
	}
}
