// Package hub gets files into the user's cache: pretrained weights and example data sets, from where they are
// published.
//
// A file is asked for once, with its sources in the order to try. A source that can't be reached costs seconds and one
// line, and the next one is tried. What arrives is checked against its sha256 where that is known, and appears in the
// cache under its final name only when it is whole. A transfer that breaks off is resumed, in the same call or in a
// later one, and of several processes that want the same file one downloads it while the others wait.
package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// CacheDir returns the folder of everything that is downloaded: $GRAFT_CACHE, or graft in the user's cache folder
// ([os.UserCacheDir]).
func CacheDir() (string, error) {
	if dir := os.Getenv("GRAFT_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for a cache (%w): set GRAFT_CACHE to one", err)
	}
	return filepath.Join(dir, "graft"), nil
}

// A Client fetches into one cache folder. It remembers which hosts it couldn't reach, so a process should have one.
// Several goroutines may use it.
type Client struct {
	dir   string
	http  *http.Client
	stall time.Duration // how long a transfer may go without a byte
}

// NewClient returns a client whose cache is the folder dir, usually that of [CacheDir]; the folder is made when the
// first file arrives. Proxies are taken from the environment ([http.ProxyFromEnvironment]).
func NewClient(dir string) *Client {
	return &Client{
		dir:   dir,
		http:  &http.Client{Transport: newTransport(5*time.Second, 10*time.Second), CheckRedirect: keepToken},
		stall: 20 * time.Second,
	}
}

// A Source is a place that has a file: [HTTP], [HuggingFace] or [Pip]. Sources are comparable.
type Source interface {
	// String names the place in a message.
	String() string
	// fileName is what the cache calls the file.
	fileName() string
	// fetch puts the verified file at path, all at once.
	fetch(ctx context.Context, c *Client, path string, progress Progress) error
}

// Progress is told how a fetch goes. All calls come from the goroutine that fetches.
type Progress interface {
	// Start begins a transfer of name: done bytes are already here, of total ones, or of −1 where the size isn't
	// known. A transfer that is resumed starts again.
	Start(name string, done, total int64)
	// Add says that n more bytes have arrived.
	Add(n int)
	// Finish ends a transfer, complete or not.
	Finish()
	// Note brings a line for the user: a source that failed, another process that is waited for.
	Note(line string)
}

type silent struct{}

func (silent) Start(string, int64, int64) {}
func (silent) Add(int)                    {}
func (silent) Finish()                    {}
func (silent) Note(string)                {}

// Fetch returns the path of a file in the cache and the source that it is from. What lies there already is returned at
// once, whichever of the sources it came from; otherwise the sources are tried in order. The key, a relative path with
// slashes, is the file's folder in the cache, and each content needs a key of its own: two files of one name and one
// key are taken for the same.
//
// Each source that fails is noted to progress (which may be nil) as it happens, and the error says why each of them
// did. When ctx is done, what has arrived is kept and a later Fetch goes on from there.
func (c *Client) Fetch(ctx context.Context, key string, sources []Source, progress Progress) (path string, from Source, err error) {
	if progress == nil {
		progress = silent{}
	}
	dir, err := c.folder(key)
	if err != nil {
		return "", nil, err
	}
	cached := func() bool {
		for _, source := range sources {
			path = filepath.Join(dir, source.fileName())
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				from = source
				return true
			}
		}
		return false
	}
	err = produce(ctx, dir, progress, cached, func() error {
		from, err = c.fetchFirst(ctx, dir, sources, progress)
		if err != nil {
			return fmt.Errorf("can't get %s: %w", key, err)
		}
		path = filepath.Join(dir, from.fileName())
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	return path, from, nil
}

// fetchFirst fetches into dir from the first source that has the file.
func (c *Client) fetchFirst(ctx context.Context, dir string, sources []Source, progress Progress) (Source, error) {
	var failures []error
	for i, source := range sources {
		err := source.fetch(ctx, c, filepath.Join(dir, source.fileName()), progress)
		if err == nil {
			return source, nil
		}
		if ctx.Err() != nil {
			return nil, interrupted(ctx)
		}
		if local := (*cacheError)(nil); errors.As(err, &local) {
			return nil, err
		}
		failures = append(failures, err)
		if i+1 < len(sources) {
			progress.Note(fmt.Sprintf("%v; trying %v", err, sources[i+1]))
		}
	}
	if len(failures) == 1 {
		return nil, failures[0]
	}
	return nil, fmt.Errorf("none of its %d sources works:\n%w", len(sources), errors.Join(failures...))
}

// folder returns the folder of a key in the cache.
func (c *Client) folder(key string) (string, error) {
	local, err := filepath.Localize(key)
	if err != nil {
		return "", fmt.Errorf("%q is no folder in the cache: %w", key, err)
	}
	return filepath.Join(c.dir, local), nil
}

// produce calls build unless what it builds in dir exists already, and never in two processes at a time.
func produce(ctx context.Context, dir string, progress Progress, exists func() bool, build func() error) error {
	if exists() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return &cacheError{err}
	}
	lock := flock.New(filepath.Join(dir, ".lock"), flock.SetPermissions(0o666))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		progress.Note(fmt.Sprintf("waiting for another graft that is downloading to %s", dir))
		_, err = lock.TryLockContext(ctx, 100*time.Millisecond)
	}
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	if err != nil {
		return &cacheError{err}
	}
	defer lock.Close()
	if exists() {
		return nil
	}
	return build()
}

func interrupted(ctx context.Context) error { return fmt.Errorf("interrupted: %w", context.Cause(ctx)) }

// A cacheError is a failure of the cache folder itself, which no other source would cure.
type cacheError struct{ err error }

func (e *cacheError) Error() string {
	return fmt.Sprintf("the cache can't be written: %v; make room or set GRAFT_CACHE to another folder", e.err)
}

func (e *cacheError) Unwrap() error { return e.err }
