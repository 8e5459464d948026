package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// HTTP is a file behind an address.
type HTTP struct {
	URL    string
	SHA256 string // of the file, in hexadecimal: all of it, its first digits, or "" if it isn't known
}

func (s HTTP) String() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return s.URL
	}
	return u.Redacted()
}

func (s HTTP) fileName() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return ""
	}
	return path.Base(u.Path)
}

func (s HTTP) fetch(ctx context.Context, c *Client, path string, progress Progress) error {
	return c.download(ctx, &download{name: s.String(), url: s.URL, sha256: s.SHA256, path: path, progress: progress})
}

// A download is one file on its way to path. Until it is whole and verified it lies in path.part, beside the ETag
// that a later request resumes it with.
type download struct {
	name     string // for messages
	url      string
	token    string // a bearer token for url's host
	sha256   string // of the file, or its first digits
	path     string
	progress Progress

	// digest, if any, reads the sha256 off the response where the caller doesn't know it.
	digest func(*http.Response) string
}

func (d *download) part() string { return d.path + ".part" }
func (d *download) etag() string { return d.path + ".part.etag" }

// discard forgets what has arrived.
func (d *download) discard() {
	os.Remove(d.part())
	os.Remove(d.etag())
}

// maxResumes is how often one call resumes a transfer that breaks off, as long as each try brings something.
const maxResumes = 3

var (
	errStalled = errors.New("no byte has come")
	errBroken  = errors.New("the connection broke off")
	errChanged = errors.New("the server's file has changed since the download began")
)

func (c *Client) download(ctx context.Context, d *download) error {
	for resumes := 0; ; resumes++ {
		before := size(d.part())
		err := c.transfer(ctx, d)
		if err == nil {
			break
		}
		again := errors.Is(err, errChanged) || errors.Is(err, errBroken) && size(d.part()) > before
		if !again || resumes == maxResumes {
			return err
		}
	}
	if err := verify(d.part(), d.sha256); err != nil {
		d.discard()
		return fmt.Errorf("%s: %w", d.name, err)
	}
	if err := os.Rename(d.part(), d.path); err != nil {
		return &cacheError{err}
	}
	os.Remove(d.etag())
	return nil
}

// transfer makes one request and appends what it brings to the part.
func (c *Client) transfer(ctx context.Context, d *download) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, offset, err := c.request(ctx, d)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	file, err := d.open(offset, resp.Header.Get("ETag"))
	if err != nil {
		return &cacheError{err}
	}
	defer file.Close()

	total := resp.ContentLength
	if total >= 0 {
		total += offset
	}
	d.progress.Start(filepath.Base(d.path), offset, total)
	defer d.progress.Finish()
	timer := time.AfterFunc(c.stall, func() { cancel(errStalled) })
	defer timer.Stop()
	body := readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		timer.Reset(c.stall)
		d.progress.Add(n)
		return n, err
	})

	_, err = io.Copy(cacheWriter{file}, body)
	if local := (*cacheError)(nil); errors.As(err, &local) {
		return err
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%s: %w for %v", d.name, errStalled, c.stall)
	}
	if err != nil {
		return fmt.Errorf("%s: %w after %d bytes (%v)", d.name, errBroken, size(d.part()), err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return &cacheError{err}
	}
	return nil
}

// request asks for the rest of the file, or for all of it where the part can't be resumed, and returns the response
// with the offset in the file that its body begins at.
func (c *Client) request(ctx context.Context, d *download) (resp *http.Response, offset int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("User-Agent", "graft (https://github.com/graft-ml/graft)")
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	if etag, err := os.ReadFile(d.etag()); err == nil {
		if offset = size(d.part()); offset > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
			req.Header.Set("If-Range", string(etag))
		}
	}
	if resp, err = c.http.Do(req); err != nil {
		return nil, 0, withoutURL(err)
	}
	rest := resp.StatusCode == http.StatusPartialContent &&
		strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset))
	switch {
	case resp.StatusCode == http.StatusOK:
		offset = 0
	case rest && offset > 0:
	case offset > 0 && (resp.StatusCode == http.StatusRequestedRangeNotSatisfiable || resp.StatusCode == http.StatusPartialContent):
		resp.Body.Close()
		d.discard()
		return nil, 0, fmt.Errorf("%s: %w", d.name, errChanged)
	default:
		resp.Body.Close()
		return nil, 0, &statusError{d.name, resp.StatusCode}
	}
	if d.sha256 == "" && d.digest != nil {
		d.sha256 = d.digest(resp)
	}
	return resp, offset, nil
}

// open opens the part for what comes at offset. A file that begins is emptied before its ETag is kept, so that the
// ETag never belongs to other bytes; a weak ETag can't resume (RFC 9110, section 13.1.5).
func (d *download) open(offset int64, etag string) (*os.File, error) {
	if offset > 0 {
		return os.OpenFile(d.part(), os.O_WRONLY|os.O_APPEND, 0)
	}
	file, err := os.Create(d.part())
	if err != nil {
		return nil, err
	}
	os.Remove(d.etag())
	if strings.HasPrefix(etag, `"`) {
		err = os.WriteFile(d.etag(), []byte(etag), 0o666)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// A statusError is an answer other than the file.
type statusError struct {
	name string
	code int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: the server answers %d %s", e.name, e.code, http.StatusText(e.code))
}

// size returns the size of a file, 0 where there is none.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A cacheWriter marks what fails on this side of a copy.
type cacheWriter struct{ w io.Writer }

func (c cacheWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		return n, &cacheError{err}
	}
	return n, nil
}
