package engine

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
)

func TestZZ(t *testing.T) {
	n, _ := models.New(os.Getenv("ZZ"), 1000)
	testutil.FormulaWeights(n.Params(), 1)
	g, _ := nn.Trace(n.Module, 1, 3, 224, 224)
	p, err := Compile(g, kernels.All()[0], g.Output)
	if err != nil {
		t.Fatal(err)
	}
	s := p.NewState(1)
	s.profile = slices.Repeat([]time.Duration{math.MaxInt64}, len(p.steps))
	for range 60 {
		s.Run()
	}
	for i, st := range p.steps {
		fmt.Printf("%-14s %-26s out %8d units %3d %8.1f us\n", st.op, st.path, p.buffers[st.write].size, st.units, float64(s.profile[i])/1e3)
	}
	fmt.Println("arena MB", p.arena*4>>20)
}
