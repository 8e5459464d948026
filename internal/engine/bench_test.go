package engine_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/graft-ml/graft/internal/engine"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
)

func benchPlan(b *testing.B, name string) *engine.Plan {
	network, err := models.New(name, 1000)
	if err != nil {
		b.Fatal(err)
	}
	testutil.FormulaWeights(network.Params(), 1)
	g, err := nn.Trace(network.Module, 1, 3, 224, 224)
	if err != nil {
		b.Fatal(err)
	}
	set, err := kernels.Best()
	if err != nil {
		b.Fatal(err)
	}
	plan, err := engine.Options{Kernels: set, Precision: engine.Precision(os.Getenv("GRAFT_BENCH_PRECISION"))}.Compile(g, g.Output)
	if err != nil {
		b.Fatal(err)
	}
	return plan
}

func networks() []string {
	if names := os.Getenv("GRAFT_BENCH"); names != "" {
		return strings.Split(names, ",")
	}
	return []string{"efficientnet_b0", "efficientnet_lite0", "mobilenet_v2", "resnet18", "resnet50", "vgg16", "convnext_tiny", "vit_b_16"}
}

// BenchmarkThroughput computes one image on each of two threads; BenchmarkLatency divides one image
// among two threads. GRAFT_BENCH chooses the networks, GRAFT_BENCH_PRECISION the precision.
func BenchmarkThroughput(b *testing.B) {
	for _, name := range networks() {
		b.Run(name, func(b *testing.B) {
			plan := benchPlan(b, name)
			states := []*engine.State{plan.NewState(1), plan.NewState(1)}
			for b.Loop() {
				var group sync.WaitGroup
				for _, s := range states {
					group.Go(s.Run)
				}
				group.Wait()
			}
			b.ReportMetric(float64(len(states)*b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

func BenchmarkLatency(b *testing.B) {
	for _, name := range networks() {
		b.Run(name, func(b *testing.B) {
			s := benchPlan(b, name).NewState(2)
			for b.Loop() {
				s.Run()
			}
		})
	}
}

// BenchmarkProfile prints how the time of one thread divides by kind of work.
func BenchmarkProfile(b *testing.B) {
	for _, name := range networks() {
		b.Run(name, func(b *testing.B) {
			s := benchPlan(b, name).NewState(1)
			s.Run()
			shares, err := s.Profile(100)
			if err != nil {
				b.Fatal(err)
			}
			total := 0.0
			for _, sh := range shares {
				total += sh.Time.Seconds() * 1e3
				fmt.Printf("%-20s %4d %8.3f ms\n", sh.Op, sh.Runs, sh.Time.Seconds()*1e3)
			}
			fmt.Printf("%-20s      %8.3f ms\n", "total", total)
		})
	}
}
