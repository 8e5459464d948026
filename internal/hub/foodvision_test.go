package hub

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/graft-ml/graft/internal/testutil"
)

// photoFiles returns the real photos as zipped takes them, under a prefix.
func photoFiles(t *testing.T, prefix string) []string {
	root := testutil.Shared(t, "data", foodVisionName)
	paths, err := filepath.Glob(filepath.Join(root, "*", "*", "*.jpg"))
	if err != nil || len(paths) != foodVisionPhotos {
		t.Fatalf("%d photos in %s, %v", len(paths), root, err)
	}
	var files []string
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, prefix+filepath.ToSlash(rel), string(data))
	}
	return files
}

// insteadOfGitHub answers a client's requests for the archive, over a connection on this machine.
func insteadOfGitHub(t *testing.T, c *Client, archive []byte) (requests *atomic.Int32) {
	requests = new(atomic.Int32)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Write(archive)
	})
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.String() != foodVisionURL {
			return nil, fmt.Errorf("a request for %s", r.URL)
		}
		r = r.Clone(r.Context())
		r.URL = address
		return http.DefaultTransport.RoundTrip(r)
	})
	return requests
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestFoodVisionMini(t *testing.T) {
	for _, prefix := range []string{"", foodVisionName + "/"} {
		archive := zipped(t, append(photoFiles(t, prefix), prefix+".DS_Store", "x", "train/link.jpg@", "/etc/passwd")...)
		c := testClient(t)
		requests := insteadOfGitHub(t, c, archive)
		var progress recorder
		dir, err := FoodVisionMini(t.Context(), c, &progress)
		if err != nil {
			t.Fatal(err)
		}
		checkOnly(t, dir, "test", "train")
		checkOnly(t, filepath.Dir(dir), foodVisionName)
		for folder, want := range map[string]int{"train": 225, "test": 75} {
			photos, err := filepath.Glob(filepath.Join(dir, folder, "*", "*.jpg"))
			if err != nil || len(photos) != want {
				t.Errorf("%d photos in %s, expected %d", len(photos), folder, want)
			}
		}
		if progress.added != int64(len(archive)) {
			t.Errorf("progress: %d bytes", progress.added)
		}
		again, err := FoodVisionMini(t.Context(), c, nil)
		if err != nil || again != dir || requests.Load() != 1 {
			t.Errorf("the second time: %s, %v, %d requests", again, err, requests.Load())
		}
	}
}

// One photo that differs, lacks or bears another name is found out.
func TestFoodVisionMiniVerifies(t *testing.T) {
	photos := photoFiles(t, "")
	changed := slices.Clone(photos)
	changed[1] = changed[1][:len(changed[1])-1] + "x"
	renamed := slices.Clone(photos)
	renamed[0] = "test/pizza/renamed.jpg"
	for name, files := range map[string][]string{
		"changed": changed,
		"renamed": renamed,
		"lacking": photos[2:],
		"swapped": append([]string{photos[0], photos[3], photos[2], photos[1]}, photos[4:]...),
	} {
		t.Run(name, func(t *testing.T) { checkRejected(t, zipped(t, files...), "these aren't the FoodVision Mini photos") })
	}
}

func TestFoodVisionMiniHostile(t *testing.T) {
	var many []string
	for i := range foodVisionPhotos + 1 {
		many = append(many, fmt.Sprintf("train/pizza/%d.jpg", i), "")
	}
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"no archive":    {[]byte("<html>sign in</html>"), "not a valid zip file"},
		"nothing":       {zipped(t), "0 of them"},
		"upwards":       {zipped(t, "../../escaped.jpg", "x"), `"../../escaped.jpg": `},
		"absolute":      {zipped(t, "/escaped.jpg", "x"), `"/escaped.jpg": `},
		"through link":  {zipped(t, "train@", "..", "train/../../escaped.jpg", "x"), `"train/../../escaped.jpg": `},
		"twice":         {zipped(t, "train/a.jpg", "x", "train/a.jpg", "y"), "file exists"},
		"file a folder": {zipped(t, "train.jpg", "x", "train.jpg/a.jpg", "y"), `"train.jpg/a.jpg": `},
		"two bombs":     {zipped(t, "train/a.jpg", strings.Repeat("\x00", foodVisionLimit-1), "train/b.jpg", "two"), "more than 300 photos or 33554432 bytes"},
		"too many":      {zipped(t, many...), "more than 300 photos"},
	} {
		t.Run(name, func(t *testing.T) { checkRejected(t, test.archive, test.want) })
	}
}

func TestUnzipStopsAtTheLimit(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "bomb.zip")
	if err := os.WriteFile(archive, zipped(t, "a.jpg", strings.Repeat("\x00", foodVisionLimit+100)), 0o666); err != nil {
		t.Fatal(err)
	}
	checkError(t, unzipPhotos(archive, dir), "33554432 bytes")
	if n := size(filepath.Join(dir, "a.jpg")); n > foodVisionLimit+1 {
		t.Errorf("%d bytes were unpacked", n)
	}
}

// checkRejected checks that an archive leaves nothing, inside the cache and beside it.
func checkRejected(t *testing.T, archive []byte, want string) {
	t.Helper()
	c := testClient(t)
	outside := c.dir
	c.dir = filepath.Join(outside, "cache")
	insteadOfGitHub(t, c, archive)
	_, err := FoodVisionMini(t.Context(), c, nil)
	checkError(t, err, foodVisionURL, want)
	checkOnly(t, filepath.Join(c.dir, "datasets", "foodvision_mini"))
	checkOnly(t, outside, "cache")
}

func TestFoodVisionMiniUnreachable(t *testing.T) {
	c := testClient(t)
	c.http.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("%s can't be reached", r.URL.Host)
	})
	_, err := FoodVisionMini(t.Context(), c, nil)
	checkError(t, err, "can't get the FoodVision Mini photos: github.com can't be reached")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FoodVisionMini(ctx, c, nil); err == nil {
		t.Error("no error though cancelled")
	}
}

func FuzzUnzipPhotos(f *testing.F) {
	f.Add(zipped(f, "train/a.jpg", "x", "../b.jpg", "y"))
	f.Add(zipped(f, "a.jpg@", "..", "a.jpg/b.jpg", "y"))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "a.zip"), filepath.Join(dir, "out")
		if err := os.WriteFile(in, archive, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(out, 0o777); err != nil {
			t.Fatal(err)
		}
		unzipPhotos(in, out)
		checkOnly(t, dir, "a.zip", "out")
	})
}
