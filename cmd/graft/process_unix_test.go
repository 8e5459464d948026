//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// start starts graft in a folder of its own, without a network.
func start(t *testing.T, dir string, args ...string) (cmd *exec.Cmd, stdout *bufio.Scanner, stderr *bytes.Buffer) {
	t.Helper()
	cmd, stderr = exec.Command("graft", args...), new(bytes.Buffer)
	cmd.Dir, cmd.Stderr, cmd.Env = dir, stderr, append(os.Environ(), offline(t.TempDir())...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, bufio.NewScanner(pipe), stderr
}

// graftOK runs graft to its end, and returns what it printed.
func graftOK(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd, stdout, stderr := start(t, dir, args...)
	var lines strings.Builder
	for stdout.Scan() {
		fmt.Fprintln(&lines, stdout.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("graft %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return lines.String()
}

// interrupt sends a signal once a line of standard output begins with prefix, and returns all lines. The
// command must end as one that was interrupted.
func interrupt(t *testing.T, signal os.Signal, prefix, dir string, args ...string) (lines []string) {
	t.Helper()
	cmd, stdout, stderr := start(t, dir, args...)
	sent := false
	for stdout.Scan() {
		lines = append(lines, stdout.Text())
		if !sent && strings.HasPrefix(stdout.Text(), prefix) {
			sent = true
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.HasSuffix(stderr.String(), "graft: interrupted\n") {
		t.Errorf("graft %s: exit status %d, want 130; it says\n%s", strings.Join(args, " "), code, stderr)
	}
	return lines
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// linked makes a folder of links to one photo.
func linked(t *testing.T, dir, photo string, links int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range links {
		if err := os.Symlink(photo, filepath.Join(dir, fmt.Sprintf("%05d.jpg", i))); err != nil {
			t.Fatal(err)
		}
	}
}

// dataset is a folder with a data set, in which commands run.
func dataset(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := writePhotos(filepath.Join(dir, "data"), 3, 1); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestInterruptedTraining leaves the run as the last whole epoch left it.
func TestInterruptedTraining(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		dir := dataset(t)
		lines := interrupt(t, signal, "Epoch: 3 ", dir, "train", "data", "--model", "tinyvgg", "--epochs", "1000000", "--out", "run",
			"--monitor", "acc", "--lr", "1e-9") // so that the first epoch stays the best
		epochs := 0
		for _, line := range lines {
			if strings.HasPrefix(line, "Epoch: ") {
				epochs++
			}
		}
		last := lines[len(lines)-1]
		if want := fmt.Sprintf("Stopped after %s; the run so far is in %s. The same command with --resume goes on.", count(epochs, "epoch"), filepath.Join(dir, "run")); last != want {
			t.Errorf("it says %q, want %q", last, want)
		}
		check(t, holds(dir, "data", "run", "run.training"))
		check(t, holds(filepath.Join(dir, "run"), ":run", "best.safetensors"))
		config, err := os.ReadFile(filepath.Join(dir, "run", "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`"epochs": %d,`, epochs); !strings.Contains(string(config), want) {
			t.Errorf("config.json lacks %s: %s", want, config)
		}
		if got := graftOK(t, dir, "predict", "run", "data/test"); strings.Count(got, "\n") != 3 {
			t.Errorf("it predicts %q", got)
		}
	}
}

// TestInterruptedEarly leaves nothing of a training before its first epoch, and whole lines of
// predictions.
func TestInterruptedEarly(t *testing.T) {
	dir := dataset(t)
	graftOK(t, dir, "train", "data", "--model", "tinyvgg", "--epochs", "1", "--out", "run")
	linked(t, filepath.Join(dir, "data", "train", "pizza", "more"), filepath.Join(dir, "data", "train", "pizza", "0.jpg"), 3000)
	lines := interrupt(t, os.Interrupt, "data/train/pizza/0.jpg", dir, "predict", "run", "data/train")
	if n := len(lines); n > 2500 || strings.Count(lines[n-1], "\t") != 1 {
		t.Errorf("%d lines came of 3,009, the last is %q", n, lines[n-1])
	}
	interrupt(t, os.Interrupt, "tinyvgg: ", dir, "train", "data", "--model", "tinyvgg", "--out", "other")
	check(t, holds(dir, "data", "run"))
	check(t, holds(filepath.Join(dir, "run"), ":run"))
}
