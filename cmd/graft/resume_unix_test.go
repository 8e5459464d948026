//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graft-ml/graft/internal/kernels"
)

// graftFails runs graft, which must end with a status, and returns what it printed.
func graftFails(t *testing.T, status int, dir string, args ...string) (out, errs string) {
	t.Helper()
	cmd, stdout, stderr := start(t, dir, args...)
	var lines strings.Builder
	for stdout.Scan() {
		fmt.Fprintln(&lines, stdout.Text())
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != status {
		t.Errorf("graft %s: exit status %d, want %d; it says\n%s", strings.Join(args, " "), code, status, stderr)
	}
	return lines.String(), stderr.String()
}

// killWhen starts graft and kills it as soon as a condition holds, of which it is told what was printed
// so far. It returns whether graft ended by itself before.
func killWhen(t *testing.T, now func(printed string) bool, dir string, args ...string) (ended bool) {
	t.Helper()
	cmd, stdout, stderr := start(t, dir, args...)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for stdout.Scan() {
			lines <- stdout.Text()
		}
	}()
	printed, killed := "", false
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for open := true; open; {
		var line string
		select {
		case line, open = <-lines:
			printed += line + "\n"
		case <-tick.C:
		}
		if !killed && now(printed) {
			killed = true
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err != nil && !killed {
		t.Fatalf("graft %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return cmd.ProcessState.Success()
}

// sameRun checks that two run folders hold the same but for seconds.
func sameRun(t *testing.T, what, got, want string) {
	t.Helper()
	seconds := regexp.MustCompile(`(?m)(,|"seconds": )[^,\n]+$`)
	for _, name := range []string{"model.safetensors", "best.safetensors", "config.json", "history.csv", "history.json", "predictions.png", "confusion.png", "curves.png"} {
		one, err1 := os.ReadFile(filepath.Join(got, name))
		two, err2 := os.ReadFile(filepath.Join(want, name))
		if strings.HasPrefix(name, "history") {
			one, two = seconds.ReplaceAll(one, nil), seconds.ReplaceAll(two, nil)
		}
		if !bytes.Equal(one, two) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%s: %s differs (%d and %d bytes)", what, name, len(one), len(two))
		}
	}
	events, _ := filepath.Glob(filepath.Join(got, "events.out.tfevents.*"))
	if len(events) != 1 {
		t.Errorf("%s: it has the event files %q", what, events)
	}
}

// files are the contents of what lies in a folder.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	}))
	return all
}

// resumable are commands, of which each is killed.
var resumable = map[string][]string{
	"train": {"train", "data", "--model", "tinyvgg", "--epochs", "5", "--batch-size", "3", "--augment", "light,MixUp", "--ema", "0.9",
		"--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.02", "--schedule", "onecycle"},
	"finetune": {"finetune", "data", "--model", "tinyvgg", "--head-epochs", "2", "--epochs", "3", "--batch-size", "3", "--augment", "light", "--views", "2"},
}

// TestKilled goes on after kills at certain moments, and then after many at any moment, with other numbers
// of threads, to the run that training without them gives.
func TestKilled(t *testing.T) {
	for name, args := range resumable {
		dir := dataset(t)
		graftOK(t, dir, append(args, "--out", "whole", "--threads", "1")...)
		whole := filepath.Join(dir, "whole")

		saving := func(printed string) bool {
			temp, _ := filepath.Glob(filepath.Join(dir, ".once.graft-*", "*"))
			return temp != nil
		}
		once := append(args, "--out", "once")
		for moment, now := range map[string]func(string) bool{
			"before the first epoch": func(printed string) bool { return strings.Contains(printed, "tinyvgg: ") },
			"after the first":        func(printed string) bool { return strings.Contains(printed, "Epoch: 1 ") },
			"after the fourth":       func(printed string) bool { return strings.Contains(printed, "Epoch: 4 ") },
			"while saving the run":   saving,
		} {
			if killWhen(t, now, dir, append(once, "--threads", "2")...) {
				t.Errorf("%s wasn't killed %s", name, moment)
			}
			out := graftOK(t, dir, append(once, "--threads", "3", "--resume")...)
			sameRun(t, name+", killed "+moment, filepath.Join(dir, "once"), whole)
			if moment == "after the fourth" && strings.Count(out, "Epoch: ") != 1 {
				t.Errorf("%s, killed %s, goes on with\n%s", name, moment, out)
			}
			if _, err := os.Stat(filepath.Join(dir, "once.training")); err == nil {
				t.Errorf("%s, killed %s, leaves its state", name, moment)
			}
			check(t, os.RemoveAll(filepath.Join(dir, "once")))
			check(t, holds(dir, "data", "whole"))
		}

		often := append(args, "--out", "often", "--resume")
		kills := 0
		for patience := 50 * time.Millisecond; ; patience += 50 * time.Millisecond {
			begin := time.Now()
			if killWhen(t, func(string) bool { return time.Since(begin) > patience }, dir, append(often, "--threads", fmt.Sprint(1+kills%3))...) {
				break
			}
			kills++
		}
		if kills < 2 {
			t.Errorf("%s was killed %d times only", name, kills)
		}
		sameRun(t, fmt.Sprintf("%s, killed %d times", name, kills), filepath.Join(dir, "often"), whole)
	}
}

// TestInterruptedAndResumed goes on with what Ctrl-C stopped, unless it isn't the same training.
func TestInterruptedAndResumed(t *testing.T) {
	dir := dataset(t)
	command := append(slices.Clone(resumable["train"]), "--out", "run")
	graftOK(t, dir, append(resumable["train"], "--out", "whole")...)
	interrupt(t, os.Interrupt, "Epoch: 2 ", dir, command...)
	check(t, holds(dir, "data", "run", "run.training", "whole"))
	before := files(t, dir)
	says := func(status int, want string, args ...string) {
		t.Helper()
		out, errs := graftFails(t, status, dir, append(command, args...)...)
		if !strings.Contains(out+errs, want) || strings.Contains(out, "Stopped") {
			t.Errorf("%q: it says %q, not %q", args, out+errs, want)
		}
		after := files(t, dir)
		for path, content := range before {
			if after[path] != content {
				t.Errorf("%q: %s changed", args, path)
			}
		}
		if len(after) != len(before) {
			t.Errorf("%q: there are %d files, and there were %d", args, len(after), len(before))
		}
	}
	says(1, "run.training is of a training that was stopped: --resume to go on with it, or --force to start over")
	for want, args := range map[string][]string{
		`seed was "42" and is "43"`:                     {"--seed", "43"},
		`learning rate was "0.02" and is "0.01"`:        {"--lr", "0.01"},
		`augmentation was "light,MixUp" and is "light"`: {"--augment", "light"},
		`momentum was "0.9" and is "0.5"`:               {"--momentum", "0.5"},
		`epochs was "5" and is "6"`:                     {"--epochs", "6"},
		`parameters that train was "10 (`:               {"--freeze", "conv_block_1.0", "--augment", "light"},
	} {
		says(1, want, append(args, "--resume")...)
		says(1, "; --force without --resume starts over\n", append(args, "--resume")...)
	}
	if set, err := kernels.Best(); err == nil && set.Name != "portable" {
		t.Setenv("GRAFT_CPU", "portable")
		says(1, fmt.Sprintf("kernels (see GRAFT_CPU) was %q and is \"portable\"", set.Name), "--resume")
		t.Setenv("GRAFT_CPU", set.Name)
	}
	check(t, os.Rename(filepath.Join(dir, "data", "train", "pizza", "0.jpg"), filepath.Join(dir, "data", "train", "pizza", "00.jpg")))
	before = files(t, dir)
	says(1, `photos was "9 to train, 3 to test (`, "--resume")
	check(t, os.Rename(filepath.Join(dir, "data", "train", "pizza", "00.jpg"), filepath.Join(dir, "data", "train", "pizza", "0.jpg")))

	out := graftOK(t, dir, append(command, "--resume", "--threads", "1")...)
	if strings.Contains(out, "Epoch: 2 ") || !strings.Contains(out, "Epoch: 5 ") {
		t.Errorf("it goes on with\n%s", out)
	}
	sameRun(t, "after Ctrl-C", filepath.Join(dir, "run"), filepath.Join(dir, "whole"))
	check(t, holds(dir, "data", "run", "whole"))

	// Now there is nothing to go on with.
	before = files(t, dir)
	says(0, "run is complete, so that there is nothing to go on with. --force trains it anew.", "--resume")
	says(1, "there is a run already: choose another --out, or --force to replace it")

	// What is left of a training whose run folder has gone isn't overwritten silently.
	check(t, os.RemoveAll(filepath.Join(dir, "run")))
	interrupt(t, os.Interrupt, "Epoch: 1 ", dir, command...)
	check(t, os.RemoveAll(filepath.Join(dir, "run")))
	before = files(t, dir)
	says(1, "run.training is of a training that was stopped: --resume to go on with it, or --force to start over")
	graftOK(t, dir, append(command, "--force")...)
	sameRun(t, "from the start", filepath.Join(dir, "run"), filepath.Join(dir, "whole"))
	check(t, holds(dir, "data", "run", "whole"))
}
