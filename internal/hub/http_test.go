package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// content is a file that no buffer holds at once.
var content = func() string {
	b := make([]byte, 1<<20)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(b)
	return string(b)
}()

var contentSHA256 = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))

// fileServer serves content as file.bin, and breaks the first responses off: n bytes of the body, then before is
// called, then the connection is cut.
type fileServer struct {
	content string
	etag    string
	noRange bool
	breaks  []int
	before  func(r *http.Request)

	mu     sync.Mutex
	ranges []string
}

// asked returns the Range headers that have come.
func (s *fileServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ranges)
}

func (s *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	if s.noRange {
		r.Header.Del("Range")
	}
	if len(s.breaks) > 0 {
		w = &breaking{w, s.breaks[0], func() {
			if s.before != nil {
				s.before(r)
			}
		}}
		s.breaks = s.breaks[1:]
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(s.content))
}

type breaking struct {
	http.ResponseWriter
	left   int
	before func()
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) < b.left {
		b.left -= len(p)
		return b.ResponseWriter.Write(p)
	}
	b.ResponseWriter.Write(p[:b.left])
	b.ResponseWriter.(http.Flusher).Flush()
	b.before()
	panic(http.ErrAbortHandler)
}

func (s *fileServer) start(t *testing.T) HTTP {
	return HTTP{URL: serve(t, s.ServeHTTP).URL + "/file.bin?download=1", SHA256: contentSHA256[:8]}
}

func TestDownload(t *testing.T) {
	for name, digest := range map[string]string{"whole": contentSHA256, "upper case": strings.ToUpper(contentSHA256), "prefix": contentSHA256[:8], "unknown": ""} {
		t.Run(name, func(t *testing.T) {
			source := (&fileServer{content: content}).start(t)
			source.SHA256 = digest
			path, _, err := testClient(t).Fetch(t.Context(), "key", []Source{source}, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, path, content)
			checkOnly(t, filepath.Dir(path), "file.bin")
		})
	}
}

func TestWrongHash(t *testing.T) {
	source := (&fileServer{content: content, etag: `"v1"`}).start(t)
	source.SHA256 = "0123abcd"
	c := testClient(t)
	_, _, err := c.Fetch(t.Context(), "key", []Source{source}, nil)
	checkError(t, err, source.URL, "corrupt", contentSHA256, "0123abcd")
	checkOnly(t, filepath.Join(c.dir, "key"))
}

// A connection that breaks off is taken up again in the same call.
func TestBrokenConnectionResumes(t *testing.T) {
	server := &fileServer{content: content, etag: `"v1"`, breaks: []int{400_000, 300_000}}
	source := server.start(t)
	var progress recorder
	path, _, err := testClient(t).Fetch(t.Context(), "key", []Source{source}, &progress)
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, path, content)
	checkOnly(t, filepath.Dir(path), "file.bin")
	if want := []string{"", "bytes=400000-", "bytes=700000-"}; !slices.Equal(server.asked(), want) {
		t.Errorf("ranges %q, expected %q", server.asked(), want)
	}
	size := int64(len(content))
	if want := [][2]int64{{0, size}, {400_000, size}, {700_000, size}}; !slices.Equal(progress.starts, want) || progress.added != size || progress.open != 0 {
		t.Errorf("progress: starts %v, %d added, %d open", progress.starts, progress.added, progress.open)
	}
}

// A connection that always breaks off is given up, and what has arrived is kept.
func TestBrokenConnectionGivesUp(t *testing.T) {
	server := &fileServer{content: content, etag: `"v1"`, breaks: []int{1000, 1000, 1000, 1000, 1000, 1000}}
	c := testClient(t)
	source := server.start(t)
	_, _, err := c.Fetch(t.Context(), "key", []Source{source}, nil)
	checkError(t, err, source.URL, "broke off after 4000 bytes")
	if len(server.asked()) != 4 {
		t.Errorf("%d requests", len(server.asked()))
	}
	checkOnly(t, filepath.Join(c.dir, "key"), "file.bin.part", "file.bin.part.etag")

	server = &fileServer{content: content, etag: `"v1"`, breaks: []int{0, 0, 0}}
	source = server.start(t)
	if _, _, err := testClient(t).Fetch(t.Context(), "key", []Source{source}, nil); err == nil || len(server.asked()) != 1 {
		t.Errorf("%d requests though none brings a byte, %v", len(server.asked()), err)
	}
}

// interrupt fetches from a server until half the file is here, cancels, and returns the client's cache.
func interrupt(t *testing.T, c *Client, source Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var progress recorder
	progress.onAdd = func() {
		if progress.added >= int64(len(content)/2) {
			cancel()
		}
	}
	_, _, err := c.Fetch(ctx, "key", []Source{source, HTTP{URL: "http://127.0.0.1:1/never"}}, &progress)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	checkError(t, err, "interrupted")
	if len(progress.notes) != 0 {
		t.Errorf("a cancelled fetch went on: %q", progress.notes)
	}
}

func waitForClient(r *http.Request) { <-r.Context().Done() }

func TestCancelledDownloadResumesLater(t *testing.T) {
	server := &fileServer{content: content, etag: `"v1"`, breaks: []int{len(content) / 2}, before: waitForClient}
	source := server.start(t)
	c := testClient(t)
	interrupt(t, c, source)
	checkOnly(t, filepath.Join(c.dir, "key"), "file.bin.part", "file.bin.part.etag")

	var progress recorder
	path, _, err := c.Fetch(t.Context(), "key", []Source{source}, &progress)
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, path, content)
	checkOnly(t, filepath.Dir(path), "file.bin")
	if want := "bytes=" + strconv.Itoa(len(content)/2) + "-"; server.asked()[1] != want {
		t.Errorf("the second request's range is %q, expected %q", server.asked()[1], want)
	}
	if progress.starts[0] != [2]int64{int64(len(content) / 2), int64(len(content))} {
		t.Errorf("progress: %v", progress.starts)
	}
}

// What can't be resumed starts over and still ends well.
func TestStartsOver(t *testing.T) {
	half := len(content) / 2
	for name, test := range map[string]struct {
		etag   string
		change func(s *fileServer, part string)
		ranges []string // after the first request
	}{
		"without ranges":  {`"v1"`, func(s *fileServer, _ string) { s.noRange = true }, []string{"bytes=" + strconv.Itoa(half) + "-"}},
		"another version": {`"v1"`, func(s *fileServer, _ string) { s.etag = `"v2"` }, []string{"bytes=" + strconv.Itoa(half) + "-"}},
		"without an ETag": {"", func(*fileServer, string) {}, []string{""}},
		"weak ETag":       {`W/"v1"`, func(*fileServer, string) {}, []string{""}},
		"part too long": {`"v1"`, func(_ *fileServer, part string) {
			if err := os.WriteFile(part, []byte(content+"more"), 0o666); err != nil {
				t.Fatal(err)
			}
		}, []string{"bytes=" + strconv.Itoa(len(content)+4) + "-", ""}},
		"part whole": {`"v1"`, func(_ *fileServer, part string) {
			if err := os.WriteFile(part, []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}, []string{"bytes=" + strconv.Itoa(len(content)) + "-", ""}},
		"part gone": {`"v1"`, func(_ *fileServer, part string) { os.Remove(part) }, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			old := strings.Repeat("old ", len(content)/4)
			server := &fileServer{content: old, etag: test.etag, breaks: []int{half}, before: waitForClient}
			source := server.start(t)
			c := testClient(t)
			interrupt(t, c, source)
			server.mu.Lock()
			server.content = content
			test.change(server, filepath.Join(c.dir, "key", "file.bin.part"))
			server.mu.Unlock()
			path, _, err := c.Fetch(t.Context(), "key", []Source{source}, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, path, content)
			checkOnly(t, filepath.Dir(path), "file.bin")
			if !slices.Equal(server.asked()[1:], test.ranges) {
				t.Errorf("ranges %q, expected %q", server.asked()[1:], test.ranges)
			}
		})
	}
}

// The ETag of a file that has been replaced by one without isn't used again.
func TestETagWithdrawn(t *testing.T) {
	half := len(content) / 2
	server := &fileServer{content: strings.Repeat("old ", len(content)/4), etag: `"v1"`, breaks: []int{half, half}, before: waitForClient}
	source := server.start(t)
	c := testClient(t)
	interrupt(t, c, source)
	server.mu.Lock()
	server.content, server.etag = content, ""
	server.mu.Unlock()
	interrupt(t, c, source)
	path, _, err := c.Fetch(t.Context(), "key", []Source{source}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, path, content)
	if want := []string{"", "bytes=" + strconv.Itoa(half) + "-", ""}; !slices.Equal(server.asked(), want) {
		t.Errorf("ranges %q, expected %q", server.asked(), want)
	}
}

// A server that answers with another range than the one asked for isn't believed.
func TestWrongRange(t *testing.T) {
	var requests atomic.Int32
	source := HTTP{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		switch n := requests.Add(1); {
		case n == 1:
			(&fileServer{content: content, etag: `"v1"`, breaks: []int{1000}}).ServeHTTP(w, r)
		case r.Header.Get("Range") != "":
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 10-%d/%d", len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, content[10:])
		default:
			io.WriteString(w, content)
		}
	}).URL + "/file.bin"}
	path, _, err := testClient(t).Fetch(t.Context(), "key", []Source{source}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, path, content)
}

// A 206 that nobody asked for, and other answers, are no file.
func TestOtherAnswers(t *testing.T) {
	for _, code := range []int{204, 206, 400, 404, 416, 429, 500, 503} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-3/4")
			w.WriteHeader(code)
		})
		c := testClient(t)
		_, _, err := c.Fetch(t.Context(), "key", []Source{HTTP{URL: server.URL + "/x"}}, nil)
		checkError(t, err, server.URL+"/x", "the server answers "+strconv.Itoa(code))
		checkOnly(t, filepath.Join(c.dir, "key"))
	}
}

func TestStalledBody(t *testing.T) {
	server := &fileServer{content: content, etag: `"v1"`, breaks: []int{1000}, before: waitForClient}
	source := server.start(t)
	c := testClient(t)
	c.stall = 50 * time.Millisecond
	_, _, err := c.Fetch(t.Context(), "key", []Source{source}, nil)
	checkError(t, err, source.URL, "no byte has come for 50ms")
	checkOnly(t, filepath.Join(c.dir, "key"), "file.bin.part", "file.bin.part.etag")
}

// A transfer may take as long as it likes while bytes come.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClient(t.TempDir())
		left := 100
		c.http.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			body := readerFunc(func(p []byte) (int, error) {
				select {
				case <-r.Context().Done():
					return 0, r.Context().Err()
				case <-time.After(19 * time.Second):
				}
				if left--; left == 0 {
					return 0, io.EOF
				}
				p[0] = 'x'
				return 1, nil
			})
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body), Request: r}, nil
		})
		path, _, err := c.Fetch(t.Context(), "key", []Source{HTTP{URL: "https://host/x"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkFile(t, path, strings.Repeat("x", 99))
	})
}

// A host that doesn't answer is asked once in the life of a client.
func TestSilentHostIsRemembered(t *testing.T) {
	var requests atomic.Int32
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		waitForClient(r)
	})
	c := testClient(t)
	c.http.Transport = newTransport(time.Second, 50*time.Millisecond)
	for range 2 {
		_, _, err := c.Fetch(t.Context(), "key", []Source{HTTP{URL: server.URL + "/x"}}, nil)
		checkError(t, err, strings.TrimPrefix(server.URL, "http://")+" can't be reached", "timeout awaiting response headers")
	}
	if requests.Load() != 1 {
		t.Errorf("%d requests", requests.Load())
	}
}

// A cancelled request says nothing about its host.
func TestCancelledRequestIsNotRemembered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var requests atomic.Int32
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			cancel()
			waitForClient(r)
			return
		}
		io.WriteString(w, "content")
	})
	c := testClient(t)
	sources := []Source{HTTP{URL: server.URL + "/x"}}
	if _, _, err := c.Fetch(ctx, "key", sources, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, _, err := c.Fetch(t.Context(), "key", sources, nil); err != nil {
		t.Fatal(err)
	}
}

func TestRedirectLoop(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) })
	_, _, err := testClient(t).Fetch(t.Context(), "key", []Source{HTTP{URL: server.URL + "/x"}}, nil)
	checkError(t, err, "more than 10 redirects")
}
