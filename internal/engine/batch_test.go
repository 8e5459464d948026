package engine_test

import (
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
)

// TestBatch compares batches, whole and begun, with images computed alone: to the bit.
func TestBatch(t *testing.T) {
	for _, name := range []string{"efficientnet_b0", "resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "tinyvgg"} {
		network, err := models.New(name, 10)
		if err != nil {
			t.Fatal(err)
		}
		testutil.FormulaWeights(network.Params(), 1)
		size := min(network.Size, 96)
		trace := func(n int) (*graph.Graph, error) { return nn.Trace(network.Module, n, 3, size, size) }
		outputs := func(g *graph.Graph) []*graph.Node { return []*graph.Node{g.Output, network.Features(g)} }
		g, err := trace(1)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range options(kernels.All()[0]) {
			plan, err := o.Compile(g, outputs(g)...)
			if err != nil {
				t.Fatal(err)
			}
			batch, err := o.NewBatch(trace, 3, outputs)
			if err != nil {
				t.Fatal(err)
			}
			images := testutil.FormulaInput(5, 3, size, size)
			testBatch(t, name+" "+string(o.Precision), plan.NewState(2), batch.NewState(), images)
		}
	}
}

func testBatch(t *testing.T, what string, alone *engine.State, together *engine.BatchState, images []float32) {
	n := len(images) / 5
	for first := 0; first < 5; first += 3 {
		count := min(3, 5-first)
		for i := range count {
			copy(together.Input(), images[(first+i)*n:])
			together.Add()
		}
		together.Run()
		for i := range count {
			copy(alone.Input(0), images[(first+i)*n:(first+i+1)*n])
			alone.Run()
			for out := range 2 {
				if !slices.Equal(alone.Output(out), together.Output(out, i)) {
					t.Errorf("%s: output %d of image %d differs in a batch", what, out, first+i)
				}
			}
		}
	}
}
