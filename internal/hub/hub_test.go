package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testClient returns a client with an empty cache and timeouts for servers on this machine.
func testClient(t *testing.T) *Client {
	c := NewClient(t.TempDir())
	c.http.Transport = newTransport(time.Second, time.Second)
	c.stall = time.Second
	return c
}

// recorder is a Progress that remembers what it's told.
type recorder struct {
	starts [][2]int64
	added  int64
	open   int
	notes  []string
	onAdd  func()        // if any, called after each Add
	noted  chan struct{} // if any, closed by the first Note
}

func (r *recorder) Start(_ string, done, total int64) {
	r.starts = append(r.starts, [2]int64{done, total})
	r.added = done
	r.open++
}

func (r *recorder) Add(n int) {
	r.added += int64(n)
	if r.onAdd != nil {
		r.onAdd()
	}
}

func (r *recorder) Finish() { r.open-- }

func (r *recorder) Note(line string) {
	r.notes = append(r.notes, line)
	if r.noted != nil && len(r.notes) == 1 {
		close(r.noted)
	}
}

// unused returns the address of a port that nothing listens on.
func unused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func checkFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatalf("%s has %d bytes, not the %d expected ones", path, len(got), len(want))
	}
}

// checkOnly checks that a folder of the cache holds the named files and the lock.
func checkOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		if entry.Name() != ".lock" {
			got = append(got, entry.Name())
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("%s holds %q, expected %q", dir, got, names)
	}
}

func checkError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error doesn't say %q: %v", part, err)
		}
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("GRAFT_CACHE", filepath.Join("some", "where"))
	dir, err := CacheDir()
	if err != nil || !filepath.IsAbs(dir) || !strings.HasSuffix(dir, filepath.Join("some", "where")) {
		t.Errorf("CacheDir() = %q, %v", dir, err)
	}
	t.Setenv("GRAFT_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	user, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	if dir, err = CacheDir(); err != nil || dir != filepath.Join(user, "graft") {
		t.Errorf("CacheDir() = %q, %v", dir, err)
	}
}

func TestFetchTriesSourcesInOrder(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/there.bin" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, "content")
	})
	dead := unused(t)
	sources := []Source{
		HTTP{URL: "http://" + dead + "/dead.bin"},
		HTTP{URL: server.URL + "/absent.bin"},
		HTTP{URL: server.URL + "/there.bin"},
	}
	c := testClient(t)
	var progress recorder
	path, from, err := c.Fetch(t.Context(), "some/key", sources, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if from != sources[2] {
		t.Errorf("it came from %v", from)
	}
	if path != filepath.Join(c.dir, "some", "key", "there.bin") {
		t.Errorf("it lies at %s", path)
	}
	checkFile(t, path, "content")
	checkOnly(t, filepath.Dir(path), "there.bin")
	if len(progress.notes) != 2 ||
		!strings.HasPrefix(progress.notes[0], dead+" can't be reached (dial tcp") ||
		!strings.HasSuffix(progress.notes[0], "; trying "+server.URL+"/absent.bin") ||
		progress.notes[1] != server.URL+"/absent.bin: the server answers 404 Not Found; trying "+server.URL+"/there.bin" {
		t.Errorf("notes: %q", progress.notes)
	}
	if want := [][2]int64{{0, 7}}; !slices.Equal(progress.starts, want) || progress.added != 7 || progress.open != 0 {
		t.Errorf("progress: %+v", &progress)
	}

	// Once a file is here, no source is asked, and the one it came from is known, even where the cache is read-only.
	server.Close()
	if err := os.Remove(filepath.Join(filepath.Dir(path), ".lock")); err != nil {
		t.Fatal(err)
	}
	again, from, err := NewClient(c.dir).Fetch(t.Context(), "some/key", sources, nil)
	if err != nil || again != path || from != sources[2] {
		t.Errorf("from the cache: %s, %v, %v", again, from, err)
	}
	checkOnly(t, filepath.Dir(path), "there.bin")
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), ".lock")); err == nil {
		t.Error("a file that is here took the lock")
	}
}

func TestFetchCollectsFailures(t *testing.T) {
	server := serve(t, http.NotFound)
	dead := unused(t)
	sources := []Source{HTTP{URL: "http://" + dead + "/a"}, HTTP{URL: server.URL + "/b"}}
	_, _, err := testClient(t).Fetch(t.Context(), "key", sources, nil)
	checkError(t, err, "can't get key: none of its 2 sources works:\n", dead+" can't be reached", "/b: the server answers 404")
	if n := strings.Count(err.Error(), "\n"); n != 2 {
		t.Errorf("%d lines: %v", n, err)
	}
	_, _, err = testClient(t).Fetch(t.Context(), "key", sources[1:], nil)
	checkError(t, err, "can't get key: "+server.URL+"/b: the server answers 404")
}

func TestFetchRejectsKeysOutsideTheCache(t *testing.T) {
	for _, key := range []string{"../up", "/root", "a/../../b", ""} {
		if _, _, err := testClient(t).Fetch(t.Context(), key, []Source{HTTP{URL: "http://" + unused(t) + "/a"}}, nil); err == nil ||
			!strings.Contains(err.Error(), "is no folder in the cache") {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

func TestFetchRejectsAddresses(t *testing.T) {
	for _, address := range []string{"", "://", "http://\x7f", "file:///etc/passwd", "gopher://127.0.0.1/x", "http://127.0.0.1:99999/x"} {
		if _, _, err := testClient(t).Fetch(t.Context(), "key", []Source{HTTP{URL: address}}, nil); err == nil {
			t.Errorf("address %q: no error", address)
		}
	}
}

func TestUnwritableCache(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "content") })
	c := testClient(t)
	file := filepath.Join(c.dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	c.dir = filepath.Join(file, "below")
	_, _, err := c.Fetch(t.Context(), "key", []Source{HTTP{URL: server.URL + "/x"}}, nil)
	checkError(t, err, "the cache can't be written", file, "GRAFT_CACHE")
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full:", err)
	}
	var requests atomic.Int32
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		fmt.Fprint(w, "content")
	})
	c := testClient(t)
	dir := filepath.Join(c.dir, "key")
	if err := errors.Join(os.Mkdir(dir, 0o777), os.Symlink("/dev/full", filepath.Join(dir, "x.part"))); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Fetch(t.Context(), "key", []Source{HTTP{URL: server.URL + "/x"}, HTTP{URL: server.URL + "/y"}}, nil)
	checkError(t, err, "the cache can't be written", "no space left", "GRAFT_CACHE")
	if requests.Load() != 1 {
		t.Errorf("%d requests: another source can't cure a full disk", requests.Load())
	}
}

func TestTwoClientsDownloadOnce(t *testing.T) {
	waiting := make(chan struct{})
	var requests atomic.Int32
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		<-waiting
		fmt.Fprint(w, "content")
	})
	dir := t.TempDir()
	var paths [2]string
	var progress [2]recorder
	var wg sync.WaitGroup
	for i := range 2 {
		progress[i].noted = waiting
		c := testClient(t)
		c.dir = dir
		c.http.Transport = newTransport(time.Second, 10*time.Second)
		wg.Go(func() {
			var err error
			paths[i], _, err = c.Fetch(t.Context(), "key", []Source{HTTP{URL: server.URL + "/x"}}, &progress[i])
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if requests.Load() != 1 || paths[0] != paths[1] {
		t.Errorf("%d requests, paths %q", requests.Load(), paths)
	}
	checkFile(t, paths[0], "content")
	if notes := slices.Concat(progress[0].notes, progress[1].notes); len(notes) != 1 || !strings.HasPrefix(notes[0], "waiting for another graft") {
		t.Errorf("notes: %q", notes)
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	reached := make(chan struct{})
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		waitForClient(r)
	})
	first, second := testClient(t), testClient(t)
	second.dir = first.dir
	sources := []Source{HTTP{URL: server.URL + "/x"}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { first.Fetch(ctx, "key", sources, nil) })
	<-reached

	waiting, stop := context.WithCancelCause(t.Context())
	noted := make(chan struct{})
	go func() {
		<-noted
		stop(errors.New("Ctrl-C"))
	}()
	_, _, err := second.Fetch(waiting, "key", sources, &recorder{noted: noted})
	checkError(t, err, "interrupted: Ctrl-C")
}
