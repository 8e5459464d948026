package train_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graft-ml/graft/internal/train"
)

// withoutSeconds are what is the same in equal trainings.
func withoutSeconds(history []train.Epoch) []train.Epoch {
	history = slices.Clone(history)
	for i := range history {
		history[i].Seconds = 0
	}
	return history
}

func same(t *testing.T, what string, p, want *problem, result, wanted train.Result) {
	t.Helper()
	if !slices.Equal(withoutSeconds(result.History), withoutSeconds(wanted.History)) || result.Best != wanted.Best {
		t.Errorf("%s: the history is %+v, best %d, want %+v, %d", what, result.History, result.Best, wanted.History, wanted.Best)
	}
	if !slices.Equal(p.numbers(), want.numbers()) {
		t.Errorf("%s: the last weights are others", what)
	}
	result.Weights.Restore()
	wanted.Weights.Restore()
	if !slices.Equal(p.numbers(), want.numbers()) {
		t.Errorf("%s: the best weights are others", what)
	}
}

// uninterrupted trains by a recipe without a stop.
func uninterrupted(t *testing.T, recipe func(*train.Config)) (*problem, train.Result) {
	t.Helper()
	p := newProblem(0.2)
	recipe(&p.config)
	result, err := p.fit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, result
}

// TestResumeAfterCancel stops again and again: before the first step, within steps, and between epochs.
func TestResumeAfterCancel(t *testing.T) {
	for name, recipe := range recipes {
		want, wanted := uninterrupted(t, recipe)
		path := filepath.Join(t.TempDir(), "state.safetensors")
		var reported []train.Epoch
		for stops := 0; ; stops++ {
			p := newProblem(0.2)
			recipe(&p.config)
			p.config.State = train.StateConfig{Path: path, Resume: stops > 0}
			ctx, cancel := context.WithCancel(t.Context())
			p.wrap = func(c *centred) train.Net { return &cancelling{centred: c, cancel: cancel, after: 1 + stops%3} }
			if stops == 0 {
				cancel()
			}
			result, err := p.fit(ctx, func(e train.Epoch) {
				reported = append(reported, e)
				if e.Epoch == 2 {
					cancel()
				}
			})
			cancel()
			if err == nil {
				if stops < 6 {
					t.Errorf("%s: stopped only %d times", name, stops)
				}
				same(t, name, p, want, result, wanted)
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if stops > 100 {
				t.Fatalf("%s: no end", name)
			}
		}
		if !slices.Equal(withoutSeconds(reported), withoutSeconds(wanted.History)) {
			t.Errorf("%s: %+v were reported", name, reported)
		}
	}
}

// cancelling cancels in the course of a step, and while testing.
type cancelling struct {
	*centred
	cancel context.CancelFunc
	after  int
}

func (c *cancelling) Backward(grad []float32) {
	if c.after--; c.after == 0 {
		c.cancel()
	}
	c.centred.Backward(grad)
}

// TestResumeAfterKill ends at a sample as if the process did, with states at other intervals: of each
// step, and of epochs only.
func TestResumeAfterKill(t *testing.T) {
	killed := errors.New("killed")
	for name, recipe := range recipes {
		want, wanted := uninterrupted(t, recipe)
		for _, interval := range []time.Duration{1, time.Hour} {
			for kill := 65; kill < 300; kill += 37 {
				path := filepath.Join(t.TempDir(), "state.safetensors")
				p := newProblem(0.2)
				recipe(&p.config)
				p.config.State = train.StateConfig{Path: path, Interval: interval}
				p.config.Workers = 1 // samples are read in order
				broken := &failing{InMemory: p.samples, err: killed}
				broken.after.Store(int64(kill))
				if _, err := train.Fit(t.Context(), p.build, broken, p.samples, p.config, func(train.Epoch) {}); kill < 280 && !errors.Is(err, killed) {
					t.Fatal(err)
				}
				p = newProblem(0.2)
				recipe(&p.config)
				_, err := os.Stat(path)
				p.config.State = train.StateConfig{Path: path, Resume: err == nil}
				if err != nil && (interval == 1 || kill >= 70) {
					t.Errorf("%s: there is no state after %d samples", name, kill)
				}
				result, err := p.fit(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				same(t, fmt.Sprintf("%s, killed after %d samples", name, kill), p, want, result, wanted)
			}
		}
	}
}

// TestResumeAfterSIGKILL kills a process that trains, which goes on each time.
func TestResumeAfterSIGKILL(t *testing.T) {
	want, wanted := uninterrupted(t, recipes["adam"])
	path := filepath.Join(t.TempDir(), "state.safetensors")
	for kills := range 3 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "GRAFT_STATE="+path)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(path); err == nil {
				break
			}
		}
		time.Sleep(time.Duration(20+30*kills) * time.Millisecond)
		child.Process.Kill()
		child.Wait()
	}
	p := newProblem(0.2)
	p.config.State = train.StateConfig{Path: path, Resume: true}
	result, err := p.fit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "killed", p, want, result, wanted)
}

// TestKilled is the process that [TestResumeAfterSIGKILL] kills: it reads a sample a millisecond.
func TestKilled(t *testing.T) {
	path := os.Getenv("GRAFT_STATE")
	if path == "" {
		t.Skip("is run by TestResumeAfterSIGKILL")
	}
	p := newProblem(0.2)
	_, err := os.Stat(path)
	p.config.State = train.StateConfig{Path: path, Interval: 1, Resume: err == nil}
	slow := sourceFunc{p.samples, func(int, int) { time.Sleep(time.Millisecond) }}
	if _, err := train.Fit(t.Context(), p.build, slow, p.samples, p.config, func(train.Epoch) {}); err != nil {
		t.Fatal(err)
	}
}

// stopped leaves a state in the second epoch, and returns its bytes.
func stopped(t testing.TB, path string) []byte {
	t.Helper()
	p := newProblem(0.2)
	p.config.EMA = 0.9
	p.config.State = train.StateConfig{Path: path, Description: map[string]string{"data": "photos", "model": "b0"}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.wrap = func(c *centred) train.Net { return &cancelling{centred: c, cancel: cancel, after: 5} }
	if _, err := p.fit(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return must(os.ReadFile(path))
}

func resume(t testing.TB, path string, change func(*problem)) (*problem, error) {
	p := newProblem(0.2)
	p.config.EMA = 0.9
	p.config.State = train.StateConfig{Path: path, Resume: true, Description: map[string]string{"data": "photos", "model": "b0"}}
	if change != nil {
		change(p)
	}
	before := p.numbers()
	_, err := p.fit(t.Context(), nil)
	if err != nil && !slices.Equal(before, p.numbers()) {
		t.Errorf("the weights changed although: %v", err)
	}
	return p, err
}

// TestResumeOther refuses the state of another training, and says what differs.
func TestResumeOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.safetensors")
	stopped(t, path)
	for want, change := range map[string]func(*problem){
		`data was "photos" and is "others"; model was "b0" and is not given; seed was not given and is "3"`: func(p *problem) {
			p.config.State.Description = map[string]string{"data": "others", "seed": "3"}
		},
		`learning rate was "0.02" and is "0.01"`: func(p *problem) { p.config.Optimizer.LR = 0.01 },
		`optimizer was "adam" and is "sgd"`:      func(p *problem) { p.config.Optimizer.Name = "sgd" },
		`batch size was "16" and is "8"`:         func(p *problem) { p.config.BatchSize = 8 },
		`schedule was "Name:constant`:            func(p *problem) { p.config.Schedule.Name = "cosine" },
		`decay of averaged weights was "0.9"`:    func(p *problem) { p.config.EMA = 0 },
		"the file lacks weights/running_mean of shape [9], last/running_mean of shape [9]": func(p *problem) {
			p.mean.Shape, p.mean.Data = []int{9}, make([]float32, 9)
		},
	} {
		_, err := resume(t, path, change)
		if !errors.Is(err, train.ErrOtherTraining) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := resume(t, path, func(p *problem) { p.config.Epochs, p.config.Patience = 9, 5 }); err != nil {
		t.Errorf("for more epochs: %v", err)
	}
}

// TestResumeDamaged finds each byte that isn't as it was written.
func TestResumeDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.safetensors")
	if _, err := resume(t, path, nil); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("of a file that isn't there: %v", err)
	}
	whole := stopped(t, path)
	if _, err := resume(t, path, nil); err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{0, 1, 8, 100, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:length], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := resume(t, path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("cut to %d of %d bytes: %v", length, len(whole), err)
		}
	}
	for at := 0; at < len(whole); at += 41 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 4
		if err := os.WriteFile(path, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := resume(t, path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("byte %d is another, and it is taken: %v", at, err)
		}
	}
}

// FuzzResume takes any file without a panic.
func FuzzResume(f *testing.F) {
	path := filepath.Join(f.TempDir(), "state.safetensors")
	f.Add(stopped(f, path))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "state.safetensors")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		resume(t, path, nil)
	})
}

// TestStateFolder makes the folder, and reports a state that can't be written.
func TestStateFolder(t *testing.T) {
	p := newProblem(0)
	dir := filepath.Join(t.TempDir(), "new", "folder")
	p.config.State.Path = filepath.Join(dir, "state.safetensors")
	if _, err := p.fit(t.Context(), nil); err != nil {
		t.Error(err)
	}
	p.config.State.Path = filepath.Join(p.config.State.Path, "state.safetensors")
	if _, err := p.fit(t.Context(), nil); err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}

// TestCheck finds out before there are samples what Fit would.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.safetensors")
	stopped(t, path)
	var cfg train.Config
	if _, err := resume(t, path, func(p *problem) { cfg = p.config }); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
	cfg.Optimizer.LR = 0.01
	if err := cfg.Check(); !errors.Is(err, train.ErrOtherTraining) || !strings.HasSuffix(err.Error(), `: learning rate was "0.02" and is "0.01"`) {
		t.Error(err)
	}
	cfg.State.Resume = false
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
	cfg.Schedule.Name = "sometimes"
	if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), `"sometimes"`) {
		t.Error(err)
	}
}
