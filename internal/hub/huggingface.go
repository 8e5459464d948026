package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
)

// HuggingFace is a file of a model repository on Hugging Face. It is read from $HF_ENDPOINT where that is set (a
// mirror's address, https://huggingface.co by default), with the token $HF_TOKEN where that is set, as the
// huggingface_hub library does; the token goes to that host only.
//
// A file that the server keeps in large file storage is checked against the sha256 that the server states
// (X-Linked-Etag, https://huggingface.co/docs/huggingface_hub/en/package_reference/file_download).
type HuggingFace struct {
	Repo     string // "timm/tf_efficientnet_lite0.in1k"
	File     string // path in the repository, "model.safetensors"
	Revision string // branch, tag or commit; "" is main
}

func (s HuggingFace) String() string {
	endpoint, err := huggingFaceEndpoint()
	if err != nil {
		return s.Repo
	}
	return endpoint.Host + "/" + s.Repo
}

func (s HuggingFace) fileName() string { return path.Base(s.File) }

func (s HuggingFace) fetch(ctx context.Context, c *Client, path string, progress Progress) error {
	endpoint, err := huggingFaceEndpoint()
	if err != nil {
		return err
	}
	token := strings.TrimSpace(os.Getenv("HF_TOKEN"))
	err = c.download(ctx, &download{
		name:     s.String() + "/" + s.File,
		url:      endpoint.JoinPath(s.Repo, "resolve", url.PathEscape(cmp.Or(s.Revision, "main")), s.File).String(),
		token:    token,
		path:     path,
		progress: progress,
		digest:   linkedSHA256,
	})
	// A repository that needs permission answers 401 to strangers, and so does one that doesn't exist.
	if status := (*statusError)(nil); errors.As(err, &status) && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden) {
		if token == "" {
			return fmt.Errorf("%w: set HF_TOKEN to a token that may read %s, if it exists", err, s.Repo)
		}
		return fmt.Errorf("%w: the token in HF_TOKEN may not read %s", err, s.Repo)
	}
	return err
}

func huggingFaceEndpoint() (*url.URL, error) {
	address := cmp.Or(os.Getenv("HF_ENDPOINT"), "https://huggingface.co")
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("HF_ENDPOINT is %q, not an address like https://huggingface.co", address)
	}
	return u, nil
}

var isSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString

// linkedSHA256 returns the sha256 that a response or one of the redirects to it states, or "".
func linkedSHA256(resp *http.Response) string {
	for ; resp != nil; resp = resp.Request.Response {
		for _, key := range []string{"X-Linked-Etag", "ETag"} {
			if etag := strings.Trim(resp.Header.Get(key), `"`); isSHA256(etag) {
				return etag
			}
		}
	}
	return ""
}
