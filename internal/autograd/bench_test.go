package autograd

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/torchrand"
)

// BenchmarkStep times forward and backward of all layers of the network GRAFT_BENCH names, for a batch of
// BATCH (32) images with THREADS (2) threads, and lists by kind of work the best times of its steps.
func BenchmarkStep(b *testing.B) {
	name := cmp.Or(os.Getenv("GRAFT_BENCH"), "efficientnet_b0")
	number := func(key string, or int) int {
		if n, err := strconv.Atoi(os.Getenv(key)); err == nil {
			return n
		}
		return or
	}
	batch, threads := number("BATCH", 32), number("THREADS", 2)
	network, err := models.New(name, 3)
	if err != nil {
		b.Fatal(err)
	}
	random := torchrand.New(1)
	network.Initialise(random)
	g, err := network.Trace(batch, 3, network.Size, network.Size)
	if err != nil {
		b.Fatal(err)
	}
	set, err := kernels.Best()
	if err != nil {
		b.Fatal(err)
	}
	net, err := New(g, set, threads)
	if err != nil {
		b.Fatal(err)
	}
	for i := range net.inputs {
		in := net.Input(i)
		for j := range in {
			in[j] = float32(random.Uniform())
		}
	}
	best := slices.Repeat([]time.Duration{math.MaxInt64}, len(net.steps))
	fastest := time.Duration(math.MaxInt64)
	net.random = random
	for _, t := range net.threads {
		t.train = true
	}
	for b.Loop() {
		begin := time.Now()
		for i, s := range net.steps {
			if i == net.first {
				for j := range net.seed.data() {
					net.seed.data()[j] = float32(j%3) - 1
				}
			}
			begin := time.Now()
			s.do(net.threads)
			best[i] = min(best[i], time.Since(begin))
		}
		fastest = min(fastest, time.Since(begin))
	}
	type share struct {
		forward, backward time.Duration
		steps             int
	}
	shares, total := map[string]share{}, share{}
	for i, s := range net.steps {
		sh := shares[s.op]
		if i < net.first {
			sh.forward += best[i]
			total.forward += best[i]
		} else {
			sh.backward += best[i]
			total.backward += best[i]
		}
		sh.steps++
		shares[s.op] = sh
	}
	fmt.Printf("%s: best step %v (%.1f images/s), sum of best %v + %v, arena %d MB\n", name, fastest,
		float64(batch)/fastest.Seconds(), total.forward, total.backward, net.Bytes()>>20)
	for _, op := range slices.SortedFunc(maps.Keys(shares), func(x, y string) int {
		return cmp.Compare(shares[y].forward+shares[y].backward, shares[x].forward+shares[x].backward)
	}) {
		sh := shares[op]
		fmt.Printf("  %-20s %4d steps  forward %8.1f ms  backward %8.1f ms\n", op, sh.steps, sh.forward.Seconds()*1e3, sh.backward.Seconds()*1e3)
	}
	if os.Getenv("STEPS") != "" {
		for i, s := range net.steps {
			fmt.Printf("%4d %-20s %-34s units %5d  %8.2f ms\n", i, s.op, s.path, s.units, best[i].Seconds()*1e3)
		}
	}
	b.ReportMetric(float64(batch)/fastest.Seconds(), "images/s")
}
