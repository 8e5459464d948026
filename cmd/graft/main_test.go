package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/graft-ml/graft/internal/checkpoint"
	"github.com/graft-ml/graft/internal/draw"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/testutil"
	"github.com/graft-ml/graft/internal/torchrand"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"graft": main}) }

// TestScripts runs the scripts in testdata: commands as a user types them, with a cache of their own and
// without a network.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, offline(env.WorkDir)...)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"photos":     command(drawPhotos, "dir train test"),
			"checkpoint": command(writeCheckpoint, "architecture classes file"),
			"fails":      fails,
			"names":      names,
			"truncate":   command(truncate, "file size"),
			"objects":    command(checkObjects, "file count"),
			"logits":     command(checkLogits, "run features.npy predictions"),
			"evaluation": command(checkEvaluation, "run evaluation"),
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// offline is the environment of a command that reaches no host: the proxy is a closed port, and there is
// no pip.
func offline(dir string) []string {
	const nowhere = "http://127.0.0.1:1"
	bin, _, _ := strings.Cut(os.Getenv("PATH"), string(os.PathListSeparator)) // where testscript has put graft
	return []string{
		"PATH=" + bin, "GRAFT_CACHE=" + filepath.Join(dir, "cache"), "HF_ENDPOINT=" + nowhere, "HF_TOKEN=",
		"HTTP_PROXY=" + nowhere, "HTTPS_PROXY=" + nowhere, "http_proxy=" + nowhere, "https_proxy=" + nowhere,
		"NO_PROXY=", "no_proxy=",
	}
}

// command makes a script's command of a function that takes as many arguments as usage has words.
func command(run func(ts *testscript.TestScript, args []string) error, usage string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != len(strings.Fields(usage)) {
			ts.Fatalf("usage: %s", usage)
		}
		ts.Check(run(ts, args))
	}
}

// fails runs a program that must end with the given status: fails STATUS PROGRAM ARGS.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("%s ends with %v, want exit status %s", args[1], err, args[0])
	}
}

// names checks what a folder holds, hidden files and all: names DIR NAME... A name may be a pattern, and
// ":run" stands for the files of every run folder.
func names(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(holds(ts.MkAbs(args[0]), args[1:]...))
}

func holds(dir string, want ...string) error {
	if i := slices.Index(want, ":run"); i >= 0 {
		want = slices.Replace(want, i, i+1, "config.json", "confusion.png", "curves.png", "events.out.tfevents.*", "history.csv",
			"history.json", "model.safetensors", "predictions.png")
	}
	slices.Sort(want)
	entries, err := os.ReadDir(dir)
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	same := func(name, pattern string) bool {
		ok, err := filepath.Match(pattern, name)
		return ok && err == nil
	}
	if !slices.EqualFunc(found, want, same) {
		return errors.Join(fmt.Errorf("%s holds %q, want %q", filepath.Base(dir), found, want), err)
	}
	return nil
}

func truncate(ts *testscript.TestScript, args []string) error {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return os.Truncate(ts.MkAbs(args[0]), int64(size))
}

// pictures are drawn once, and small.
var pictures = sync.OnceValue(func() map[string][][]byte {
	const each, size = 12, 96
	all := map[string][][]byte{}
	var group sync.WaitGroup
	for i, class := range draw.Classes() {
		drawn := make([][]byte, each)
		all[class] = drawn
		group.Go(func() {
			for j := range drawn {
				large, small := draw.Picture(class, uint64(i*each+j)), image.NewRGBA(image.Rect(0, 0, size, size))
				scale := large.Bounds().Dx() / size
				for p := range size * size {
					small.Set(p%size, p/size, large.At(p%size*scale, p/size*scale))
				}
				var out bytes.Buffer
				if err := jpeg.Encode(&out, small, nil); err != nil {
					panic(err)
				}
				drawn[j] = out.Bytes()
			}
		})
	}
	group.Wait()
	return all
})

// drawPhotos makes a dataset of drawn pictures, so many of each class; without any to test with, the
// folder has the classes directly in it.
func drawPhotos(ts *testscript.TestScript, args []string) error {
	train, err1 := strconv.Atoi(args[1])
	test, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return writePhotos(ts.MkAbs(args[0]), train, test)
}

func writePhotos(dir string, train, test int) error {
	parts := map[string][2]int{filepath.Join(dir, "train"): {0, train}, filepath.Join(dir, "test"): {train, train + test}}
	if test == 0 {
		parts = map[string][2]int{dir: {0, train}}
	}
	for folder, part := range parts {
		for class, drawn := range pictures() {
			if err := os.MkdirAll(filepath.Join(folder, class), 0o777); err != nil {
				return err
			}
			for i := part[0]; i < part[1]; i++ {
				if err := os.WriteFile(filepath.Join(folder, class, fmt.Sprintf("%d.jpg", i)), drawn[i], 0o666); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// writeCheckpoint writes the formula's weights as a checkpoint in PyTorch's names.
func writeCheckpoint(ts *testscript.TestScript, args []string) error {
	classes, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	network, err := models.New(args[0], classes)
	if err != nil {
		return err
	}
	testutil.FormulaWeights(network.Params(), 1)
	network.Initialise(torchrand.New(0))
	var entries []checkpoint.Entry
	for _, p := range network.Params() {
		if !p.Counter {
			entries = append(entries, checkpoint.Entry{Name: p.Name, Shape: p.Shape, Data: p.Data})
		}
	}
	return checkpoint.WriteSafetensors(ts.MkAbs(args[2]), entries, nil)
}

// checkObjects checks that a file (or "stdout") has so many lines, or "some", each a JSON object.
func checkObjects(ts *testscript.TestScript, args []string) error {
	lines, err := objects(ts.ReadFile(args[0]))
	if args[1] == "some" && len(lines) > 0 {
		return err
	}
	if err == nil && strconv.Itoa(len(lines)) != args[1] {
		err = fmt.Errorf("%s has %d objects, want %s", args[0], len(lines), args[1])
	}
	return err
}

func objects(text string) (all []map[string]any, err error) {
	for line := range strings.Lines(text) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		all = append(all, object)
	}
	return all, nil
}

// checkLogits checks that what the head of TinyVGG makes of embedded features are the logits that were
// predicted.
func checkLogits(ts *testscript.TestScript, args []string) error {
	file, err := checkpoint.Open(filepath.Join(ts.MkAbs(args[0]), "model.safetensors"))
	if err != nil {
		return err
	}
	defer file.Close()
	w, _ := file.Tensor("classifier.1.weight")
	b, _ := file.Tensor("classifier.1.bias")
	weight, err1 := w.Float32s()
	bias, err2 := b.Float32s()
	predictions, err3 := objects(ts.ReadFile(args[2]))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	features, err := readNPY([]byte(ts.ReadFile(args[1])), len(predictions), w.Shape[1])
	if err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	for i, row := range features {
		logits := predictions[i]["logits"].([]any)
		for c := range bias {
			want := float64(bias[c])
			for j, v := range row {
				want += float64(v) * float64(weight[c*len(row)+j])
			}
			if got := logits[c].(float64); math.Abs(got-want) > 1e-5 {
				return fmt.Errorf("logit %d of %v is %v, want %v", c, predictions[i]["file"], got, want)
			}
		}
	}
	return nil
}

// checkEvaluation checks that an evaluation comes to what the training's last epoch found.
func checkEvaluation(ts *testscript.TestScript, args []string) error {
	var history []struct {
		Loss     float64 `json:"test_loss"`
		Accuracy float64 `json:"test_acc"`
	}
	evaluation, err1 := objects(ts.ReadFile(args[1]))
	err2 := json.Unmarshal([]byte(ts.ReadFile(filepath.Join(args[0], "history.json"))), &history)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	e, last := evaluation[0], history[len(history)-1]
	if math.Abs(e["loss"].(float64)-last.Loss) > 1e-5 || e["accuracy"] != last.Accuracy {
		return fmt.Errorf("it is %v, and training ended with %+v", e, last)
	}
	return nil
}

// readNPY reads a float32 matrix in NumPy's format.
func readNPY(data []byte, rows, cols int) ([][]float32, error) {
	if len(data) < 128 || !bytes.HasPrefix(data, []byte("\x93NUMPY\x01\x00\x76\x00")) {
		return nil, fmt.Errorf("it begins with %q", data[:min(len(data), 10)])
	}
	header, want := strings.TrimSpace(string(data[10:128])), fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, cols)
	if header != want {
		return nil, fmt.Errorf("its header is %s, want %s", header, want)
	}
	values := make([]float32, rows*cols)
	if n, err := binary.Decode(data[128:], binary.LittleEndian, values); err != nil || n != len(data)-128 {
		return nil, fmt.Errorf("it has %d bytes of values: %v", len(data)-128, err)
	}
	return slices.Collect(slices.Chunk(values, cols)), nil
}
