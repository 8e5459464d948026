package hub

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A transport is an http.RoundTripper that gives up on a host after seconds and doesn't ask it again.
type transport struct {
	base        http.RoundTripper
	mu          sync.Mutex
	unreachable map[string]error // by host
}

// newTransport returns a transport that waits dial for a connection and header for the first line of an answer.
func newTransport(dial, header time.Duration) *transport {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.DialContext = (&net.Dialer{Timeout: dial}).DialContext
	base.TLSHandshakeTimeout = dial
	base.ResponseHeaderTimeout = header
	base.DisableCompression = true // ranges and sizes are those of the file
	return &transport{base: base, unreachable: map[string]error{}}
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.mu.Lock()
	err := t.unreachable[req.URL.Host]
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil && req.Context().Err() == nil {
		err = fmt.Errorf("%s can't be reached (%w)", req.URL.Host, err)
		t.mu.Lock()
		t.unreachable[req.URL.Host] = err
		t.mu.Unlock()
	}
	return resp, err
}

// keepToken is an http.Client's CheckRedirect that lets a token go to no other host, port or scheme than the first.
// (net/http itself lets it go to subdomains and other ports.)
func keepToken(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		req.Header.Del("Authorization")
	}
	return nil
}

// withoutURL returns what an http.Client's error says without the address, which after redirects can be a long
// signed one.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
