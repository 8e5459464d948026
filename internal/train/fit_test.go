package train_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/graft-ml/graft/internal/autograd"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/torchrand"
	"github.com/graft-ml/graft/internal/train"
)

// net makes the trainable part of m for a shape of input.
func net(m *nn.Module, set *kernels.Set, shape ...int) (train.Net, error) {
	g, err := nn.Trace(m, shape...)
	if err != nil {
		return nil, err
	}
	return autograd.New(g, set, 2)
}

type digest struct {
	First []float64
	Norm  float64
}

// compare checks the first numbers and the norm of data against PyTorch's.
func compare(t *testing.T, what string, data []float32, want digest, tol float64) {
	t.Helper()
	norm := 0.0
	for _, v := range data {
		norm += float64(v) * float64(v)
	}
	norm = math.Sqrt(norm)
	if math.Abs(norm-want.Norm) > tol*want.Norm {
		t.Errorf("%s has norm %v, want %v", what, norm, want.Norm)
	}
	for i, w := range want.First {
		if math.Abs(float64(data[i])-w) > tol*want.Norm {
			t.Errorf("%s[%d] is %v, want %v", what, i, data[i], w)
		}
	}
}

// TestTinyVGG takes ten steps of Adam from the same start as PyTorch.
func TestTinyVGG(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "autograd", "testdata", "tinyvgg.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Losses             []float64
		Gradients, Weights map[string]digest
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	for _, set := range kernels.All() {
		network, err := models.New("tinyvgg", 3)
		if err != nil {
			t.Fatal(err)
		}
		testutil.FormulaWeights(network.Params(), 1.4)
		shape := []int{4, 3, 64, 64}
		net, err := net(network.Module, set, shape...)
		if err != nil {
			t.Fatal(err)
		}
		x := testutil.FormulaInput(shape...)
		for i := range 4 { // channels last
			for c := range 3 {
				for p := range 64 * 64 {
					net.Input(0)[(i*64*64+p)*3+c] = x[(i*3+c)*64*64+p]
				}
			}
		}
		adam, err := train.NewOptimizer(train.OptimizerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		for step, w := range want.Losses {
			logits := net.Forward(true, nil)
			grad := make([]float32, len(logits))
			loss, _ := train.CrossEntropy{}.Labels(logits, []int{0, 1, 2, 1}, grad)
			if math.Abs(loss-w) > 1e-3*w {
				t.Errorf("%s: the loss of step %d is %v, want %v", set.Name, step+1, loss, w)
			}
			net.Backward(grad)
			if step == 0 {
				for _, p := range net.Params() {
					compare(t, set.Name+" gradient of "+p.Name, net.Grad(p), want.Gradients[p.Name], 1e-5)
				}
			}
			adam.Step(net.Params(), net.Grad, adam.LR, adam.Betas[0])
		}
		for _, p := range network.Params() {
			compare(t, set.Name+" "+p.Name, p.Data, want.Weights[p.Name], 1e-3)
		}
	}
}

// A problem is a head of Dropout and Linear, behind a norm with running statistics, and samples that
// it can tell apart.
type problem struct {
	module  *nn.Module
	mean    *graph.Param
	samples *train.InMemory
	config  train.Config
	wrap    func(*centred) train.Net
}

func newProblem(dropout float64) *problem {
	p := &problem{module: nn.Sequential(nn.Dropout(dropout, false), nn.Linear(8, 3, true)), samples: &train.InMemory{}}
	p.module.Initialise(torchrand.New(1))
	p.mean = &graph.Param{Name: "running_mean", Shape: []int{8}, Data: make([]float32, 8), Buffer: true}
	for i, rows := 0, testutil.FormulaInput(70, 8); i < 70; i++ {
		row := rows[i*8 : (i+1)*8]
		p.samples.Values = append(p.samples.Values, [][]float32{row})
		p.samples.Labels = append(p.samples.Labels, slices.Index(row[:3], slices.Max(row[:3])))
	}
	p.config = train.Config{Epochs: 4, BatchSize: 16, Classes: 3, Random: torchrand.New(7), Optimizer: train.OptimizerConfig{LR: 0.02}}
	return p
}

// centred subtracts a running mean from its input.
type centred struct {
	train.Net
	mean *graph.Param
	in   []float32
}

func (c *centred) Input(int) []float32     { return c.in }
func (c *centred) Buffers() []*graph.Param { return []*graph.Param{c.mean} }

func (c *centred) Forward(train bool, random *torchrand.Generator) []float32 {
	for i, v := range c.in {
		m := &c.mean.Data[i%len(c.mean.Data)]
		if train {
			*m += 0.02 * (v - *m)
		}
		c.Net.Input(0)[i] = v - *m
	}
	return c.Net.Forward(train, random)
}

func (p *problem) build(batch int) (train.Net, error) {
	head, err := net(p.module, kernels.All()[0], batch, 8)
	if err != nil {
		return nil, err
	}
	c := &centred{Net: head, mean: p.mean, in: make([]float32, batch*8)}
	if p.wrap != nil {
		return p.wrap(c), nil
	}
	return c, nil
}

func (p *problem) fit(ctx context.Context, report func(train.Epoch)) (train.Result, error) {
	if report == nil {
		report = func(train.Epoch) {}
	}
	return train.Fit(ctx, p.build, p.samples, p.samples, p.config, report)
}

// numbers are all that training changes.
func (p *problem) numbers() []float32 {
	return slices.Concat(p.module.Params()[0].Data, p.module.Params()[1].Data, p.mean.Data)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestFitLearnsAndRepeats(t *testing.T) {
	var numbers [2][]float32
	for i := range numbers {
		p := newProblem(0.2)
		p.config.Epochs, p.config.BatchSize, p.config.Workers = 40, 32, 1+4*i
		result, err := p.fit(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		last := result.History[len(result.History)-1]
		if last.Epoch != 40 || last.TestAcc < 0.9 || last.TrainAcc < 0.7 || last.TestLoss > last.TrainLoss || last.LR != 0.02 {
			t.Errorf("after 40 epochs: %+v", last)
		}
		numbers[i] = p.numbers()
	}
	if !slices.Equal(numbers[0], numbers[1]) {
		t.Error("the same seed gave other weights with another number of workers")
	}
}

// recipes are ways to train that keep something from step to step.
var recipes = map[string]func(*train.Config){
	"adam": func(*train.Config) {},
	"adamw": func(c *train.Config) {
		c.Optimizer.Name, c.Schedule = "adamw", train.Schedule{Name: "cosine", Warmup: 0.7}
	},
	"sgd, averaged": func(c *train.Config) {
		c.Optimizer = train.OptimizerConfig{Name: "sgd", LR: 0.1, Momentum: 0.9, Nesterov: true}
		c.EMA, c.Accumulate, c.ClipNorm = 0.9, 2, 0.5
		c.Schedule.Name = "onecycle"
	},
	"mixed": func(c *train.Config) { c.Mix, c.Loss.LabelSmoothing, c.Monitor = mix, 0.1, "acc" },
}

// mix is mixup with a share that depends on the epoch and batch.
func mix(epoch, batch int, inputs [][]float32, targets []float32) {
	share := 0.9 + 0.1/float32(epoch+batch)
	for _, m := range append(inputs, targets) {
		for i, j := 0, len(m)-1; i < j; i, j = i+1, j-1 {
			m[i], m[j] = share*m[i]+(1-share)*m[j], share*m[j]+(1-share)*m[i]
		}
	}
}

func TestRecipesLearn(t *testing.T) {
	for name, recipe := range recipes {
		p := newProblem(0.1)
		p.config.Epochs = 20
		recipe(&p.config)
		result, err := p.fit(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		first, last := result.History[0], result.History[19]
		if !(last.TestAcc >= 0.8 && last.TestLoss < first.TestLoss && last.TrainLoss < first.TrainLoss) {
			t.Errorf("%s: from %+v to %+v", name, first, last)
		}
		result.Weights.Restore()
		logits := must(train.Logits(t.Context(), p.build, p.samples, 32))
		loss, correct := train.CrossEntropy{}.Labels(logits, p.samples.Labels, nil)
		best := result.History[result.Best-1]
		if acc := float64(correct) / 70; acc != best.TestAcc || math.Abs(loss-best.TestLoss) > 1e-6 {
			t.Errorf("%s: the best epoch is %+v, and its weights come to %v and %v", name, best, loss, acc)
		}
		for _, e := range result.History {
			if p.config.Monitor == "acc" && e.TestAcc > best.TestAcc || p.config.Monitor == "" && e.TestLoss < best.TestLoss {
				t.Errorf("%s: epoch %d is better than the best, %d", name, e.Epoch, result.Best)
			}
		}
	}
}

// TestAccumulate makes the same steps of several small batches as of a large one, the last of which
// has samples for one only.
func TestAccumulate(t *testing.T) {
	for name, change := range map[string]func(*train.Config){
		"plain":    func(*train.Config) {},
		"weighted": func(c *train.Config) { c.Loss = train.CrossEntropy{Weight: []float64{0.2, 1, 3}, LabelSmoothing: 0.1} },
		"clipped":  func(c *train.Config) { c.ClipNorm = 0.1 },
	} {
		var numbers [2][]float32
		var histories [2][]train.Epoch
		for i, size := range []int{32, 8} {
			p := newProblem(0)
			change(&p.config)
			p.config.Optimizer = train.OptimizerConfig{Name: "sgd", LR: 0.3, Momentum: 0.9}
			p.config.BatchSize, p.config.Accumulate = size, 32/size
			fit := func(batch int) (train.Net, error) { return net(p.module, kernels.All()[0], batch, 8) }
			result, err := train.Fit(t.Context(), fit, p.samples, p.samples, p.config, func(train.Epoch) {})
			if err != nil {
				t.Fatal(err)
			}
			numbers[i], histories[i] = p.numbers(), result.History
		}
		for i, w := range numbers[0] {
			if math.Abs(float64(numbers[1][i]-w)) > 2e-6 {
				t.Errorf("%s: number %d is %v by small batches, %v by large ones", name, i, numbers[1][i], w)
			}
		}
		for i, w := range histories[0] {
			if g := histories[1][i]; math.Abs(g.TrainLoss-w.TrainLoss) > 1e-6 || g.TrainAcc != w.TrainAcc {
				t.Errorf("%s: %+v by small batches, %+v by large ones", name, g, w)
			}
		}
	}
}

// TestAverageIsKept compares the weights that are left with the average of those after each step.
func TestAverageIsKept(t *testing.T) {
	p := newProblem(0)
	p.config.Epochs, p.config.BatchSize, p.config.EMA = 3, 70, 0.6 // an epoch is a step
	result, err := p.fit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var steps [][]float32
	for epochs := range 3 {
		raw := newProblem(0)
		raw.config.Epochs, raw.config.BatchSize = epochs+1, 70
		if _, err := raw.fit(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, raw.numbers())
	}
	for i, got := range p.numbers() {
		want := 0.6*(0.6*steps[0][i]+0.4*steps[1][i]) + 0.4*steps[2][i]
		if math.Abs(float64(got-want)) > 1e-6 {
			t.Errorf("number %d is %v, want %v", i, got, want)
		}
	}
	logits := must(train.Logits(t.Context(), p.build, p.samples, 70))
	if loss, _ := (train.CrossEntropy{}).Labels(logits, p.samples.Labels, nil); loss != result.History[2].TestLoss {
		t.Errorf("the test loss is %v of the last epoch and %v of the weights that are left", result.History[2].TestLoss, loss)
	}
}

func TestPatience(t *testing.T) {
	p := newProblem(0)
	p.config.Epochs, p.config.Patience = 100, 3
	p.config.Optimizer = train.OptimizerConfig{Name: "sgd", LR: 30} // jumps about
	result, err := p.fit(t.Context(), nil)
	if n := len(result.History); err != nil || n == 100 || result.Best != n-3 {
		t.Errorf("%v after %d epochs, the best %d", err, len(result.History), result.Best)
	}
}

func TestFitStops(t *testing.T) {
	p := newProblem(0)
	p.config.Epochs = 9
	ctx, cancel := context.WithCancel(t.Context())
	var kept []float32
	result, err := p.fit(ctx, func(e train.Epoch) {
		if e.Epoch == 2 {
			kept = p.numbers()
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(kept, p.numbers()) || len(result.History) != 2 || result.Weights == nil {
		t.Errorf("after cancelling in epoch 2: %v, weights kept: %v", err, slices.Equal(kept, p.numbers()))
	}
}

// TestDiverged stops where something is no longer a number, and keeps what the last whole epoch left.
func TestDiverged(t *testing.T) {
	for want, spoil := range map[string]func(p *problem){
		"1.weight is no longer a number in epoch 1, step 1: try a lower learning rate than 1e+38": func(p *problem) {
			p.config.Optimizer.LR = 1e38
		},
		"loss is no longer a number in epoch 1, step 1": func(p *problem) {
			for _, v := range p.samples.Values {
				v[0][0] = float32(math.NaN())
			}
		},
		"gradient of 1.weight is no longer a number in epoch 1, step 1": func(p *problem) {
			p.wrap = func(n *centred) train.Net { return infinite{n} }
		},
		"test loss is no longer a number in epoch 1, after the last step": func(p *problem) {
			p.wrap = func(n *centred) train.Net { return lost{n} }
		},
	} {
		p := newProblem(0)
		spoil(p)
		before := p.numbers()
		result, err := p.fit(t.Context(), nil)
		if !errors.Is(err, train.ErrDiverged) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if !slices.EqualFunc(before, p.numbers(), func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) || result.History != nil {
			t.Errorf("%s: the weights aren't what they were, or there is a history: %v", want, result.History)
		}
	}
}

// infinite has gradients that are.
type infinite struct{ *centred }

func (n infinite) Grad(p *graph.Param) []float32 {
	return slices.Repeat([]float32{float32(math.Inf(-1))}, p.Numel())
}

// lost gives no numbers when it is tested.
type lost struct{ *centred }

func (n lost) Forward(train bool, random *torchrand.Generator) []float32 {
	out := n.centred.Forward(train, random)
	if !train {
		out[len(out)-1] = float32(math.NaN())
	}
	return out
}

// A failing source has an unreadable sample.
type failing struct {
	*train.InMemory
	err   error
	after atomic.Int64 // so many samples that can be read
}

func (f *failing) Rows(ctx context.Context, epoch, i int) ([][]float32, error) {
	if f.after.Add(-1) < 0 {
		return nil, f.err
	}
	return f.InMemory.Rows(ctx, epoch, i)
}

func TestUnreadableSample(t *testing.T) {
	p := newProblem(0)
	broken := &failing{InMemory: p.samples, err: errors.New("photo.jpg: unexpected end")}
	broken.after.Store(70 + 40)
	result, err := train.Fit(t.Context(), p.build, broken, p.samples, p.config, func(train.Epoch) {})
	if !errors.Is(err, broken.err) || len(result.History) != 1 {
		t.Errorf("%v after %d epochs", err, len(result.History))
	}
	want := newProblem(0)
	want.config.Epochs = 1
	if _, err := want.fit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.numbers(), want.numbers()) {
		t.Error("the weights aren't those of the last whole epoch")
	}
	broken.after.Store(20)
	if _, err := train.Logits(t.Context(), p.build, broken, 16); !errors.Is(err, broken.err) {
		t.Errorf("while computing logits: %v", err)
	}
}

// TestEpochsOfSamples sees each sample in each epoch as it is in that epoch.
func TestEpochsOfSamples(t *testing.T) {
	p := newProblem(0)
	var seen [5][70]atomic.Int64
	s := sourceFunc{p.samples, func(epoch, i int) { seen[epoch][i].Add(1) }}
	if _, err := train.Fit(t.Context(), p.build, s, p.samples, p.config, func(train.Epoch) {}); err != nil {
		t.Fatal(err)
	}
	for epoch := range seen {
		for i := range seen[epoch] {
			if n, want := seen[epoch][i].Load(), int64(min(epoch, 1)); n != want {
				t.Errorf("sample %d is read %d times in epoch %d, want %d", i, n, epoch, want)
			}
		}
	}
}

type sourceFunc struct {
	*train.InMemory
	seen func(epoch, i int)
}

func (s sourceFunc) Rows(ctx context.Context, epoch, i int) ([][]float32, error) {
	s.seen(epoch, i)
	return s.InMemory.Rows(ctx, epoch, i)
}

// TestConfig refuses what makes no sense.
func TestConfig(t *testing.T) {
	for want, spoil := range map[string]func(p *problem){
		"0 epochs":                    func(p *problem) { p.config.Epochs = 0 },
		"batch size 0":                func(p *problem) { p.config.BatchSize = 0 },
		"0 classes":                   func(p *problem) { p.config.Classes = 0 },
		"of class 2, and there are 2": func(p *problem) { p.config.Classes = 2 },
		"steps of -1 batches":         func(p *problem) { p.config.Accumulate = -1 },
		"gradients of norm NaN":       func(p *problem) { p.config.ClipNorm = math.NaN() },
		"a decay of 1":                func(p *problem) { p.config.EMA = 1 },
		`compared by "f1"`:            func(p *problem) { p.config.Monitor = "f1" },
		"a patience of -1":            func(p *problem) { p.config.Patience = -1 },
		"label smoothing 1":           func(p *problem) { p.config.Loss.LabelSmoothing = 1 },
		"2 class weights for 3":       func(p *problem) { p.config.Loss.Weight = []float64{1, 1} },
		"weight -1 of class 1":        func(p *problem) { p.config.Loss.Weight = []float64{1, -1, 1} },
		"weight 0 of class 2":         func(p *problem) { p.config.Loss.Weight = []float64{1, 1, 0} },
		`optimizer "lion"`:            func(p *problem) { p.config.Optimizer.Name = "lion" },
		`schedule "linear"`:           func(p *problem) { p.config.Schedule.Name = "linear" },
		"0 samples to train":          func(p *problem) { p.samples = &train.InMemory{} },
		"has 112 values at the cut, and the network takes 128": func(p *problem) {
			for i := range p.samples.Values {
				p.samples.Values[i] = [][]float32{make([]float32, 7)}
			}
		},
		"different numbers of values": func(p *problem) { p.samples.Values[3] = [][]float32{make([]float32, 7)} },
	} {
		p := newProblem(0)
		spoil(p)
		if _, err := p.fit(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestFindLR(t *testing.T) {
	p := newProblem(0.2)
	before, random := p.numbers(), p.config.Random.State()
	curve, err := train.FindLR(t.Context(), p.build, p.samples, p.config, train.LRRange{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, p.numbers()) || !slices.Equal(random, p.config.Random.State()) {
		t.Error("the weights or the generator aren't what they were")
	}
	first, last := curve.Points[0], curve.Points[len(curve.Points)-1]
	if math.Abs(first.LR/1e-7-1) > 1e-9 || !(last.LR <= 10.000001) || !(last.LR > 0.1) {
		t.Errorf("rates go from %v to %v", first.LR, last.LR)
	}
	trimmed := curve.Points[10 : len(curve.Points)-5]
	lowest := slices.MinFunc(trimmed, func(a, b train.LRPoint) int { return cmp.Compare(a.Loss, b.Loss) })
	if curve.Minimum != lowest.LR/10 || !(curve.Steep > 1e-3 && curve.Steep < lowest.LR) {
		t.Errorf("suggestions are %v and %v; the loss is lowest at %v", curve.Steep, curve.Minimum, lowest.LR)
	}

	diverged, err := train.FindLR(t.Context(), p.build, p.samples, p.config, train.LRRange{Start: 1e-3, End: 1e38, Steps: 300})
	if n := len(diverged.Points); err != nil || n == 0 || n == 300 {
		t.Errorf("up to a rate of 1e38: %v, %d steps", err, n)
	}
	few, err := train.FindLR(t.Context(), p.build, p.samples, p.config, train.LRRange{Steps: 3})
	if err != nil || len(few.Points) != 3 || few.Steep != 0 || few.Minimum != 0 {
		t.Errorf("of three steps: %+v, %v", few, err)
	}
	for _, span := range []train.LRRange{{Start: 1, End: 0.1}, {Start: math.NaN()}, {End: math.Inf(1)}, {Steps: 1}, {Start: -1}} {
		if _, err := train.FindLR(t.Context(), p.build, p.samples, p.config, span); err == nil {
			t.Errorf("%+v is taken", span)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := train.FindLR(ctx, p.build, p.samples, p.config, train.LRRange{}); !errors.Is(err, context.Canceled) {
		t.Errorf("when cancelled: %v", err)
	}
}

// TestSuggest takes no rate from behind an explosion, though the loss falls faster there.
func TestSuggest(t *testing.T) {
	var points []train.LRPoint
	for i, loss := range []float64{9, 9, 8, 7, 5, 4, 3.5, 6, 12, 7, 8, 9, 9, 9, 9, 9} {
		points = append(points, train.LRPoint{LR: math.Pow(2, float64(i)), Loss: loss})
	}
	if steep, minimum := train.Suggest(points); steep != 8 || minimum != 6.4 {
		t.Errorf("suggestions are %v and %v", steep, minimum)
	}
	if steep, minimum := train.Suggest(points[:6]); steep != 0 || minimum != 0 {
		t.Errorf("of few points, they are %v and %v", steep, minimum)
	}
}
