package engine

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
)

func TestZZ(t *testing.T) {
	for _, name := range strings.Split(os.Getenv("ZZ"), ",") {
		network, err := models.New(name, 1000)
		if err != nil {
			t.Skip()
		}
		testutil.FormulaWeights(network.Params(), 1)
		n := 1
		fmt.Sscan(os.Getenv("ZN"), &n)
		g, _ := nn.Trace(network.Module, n, 3, 224, 224)
		set, _ := kernels.Best()
		plan, err := Options{Kernels: set, Precision: Precision(os.Getenv("GRAFT_BENCH_PRECISION"))}.Compile(g, g.Output)
		if err != nil {
			t.Fatal(err)
		}
		macs := map[string]float64{}
		for _, n := range g.Nodes {
			if len(n.Params) > 0 && len(n.Params[0].Shape) > 1 {
				w := n.Params[0]
				m := 1
				for _, d := range n.Shape {
					m *= d
				}
				macs[n.Path] += float64(m * w.Numel() / w.Shape[0])
			}
		}
		s := plan.NewState(1)
		s.profile = slices.Repeat([]time.Duration{math.MaxInt64}, len(s.plan.steps))
		for range 30 {
			s.Run()
		}
		total := 0.0
		for i, st := range s.plan.steps {
			us := s.profile[i].Seconds() * 1e6
			total += us
			fmt.Printf("%-28s %-45s %9.1f us %7.2f MMAC %6.1f GF/s out %d %v\n", st.op, st.path, us, macs[st.path]/1e6, 2*macs[st.path]/us/1e3, plan.buffers[st.write].size, st.units)
		}
		fmt.Printf("total %.3f ms arena %d\n", total/1e3, plan.Bytes(1))
	}
}
