package hub

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

var repo = HuggingFace{Repo: "timm/tf_efficientnet_lite0.in1k", File: "model.safetensors"}

const resolved = "/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors"

func TestHuggingFaceTokenStaysWithTheEndpoint(t *testing.T) {
	var tokens []string
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, "elsewhere: "+r.Header.Get("Authorization"))
		w.Header().Set("ETag", `"another"`)
		io.WriteString(w, content)
	})
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.URL.Path+": "+r.Header.Get("Authorization"))
		w.Header().Set("X-Linked-Etag", `"`+contentSHA256+`"`)
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, elsewhere.URL+"/blob?signature=1", http.StatusFound)
			return
		}
		http.Redirect(w, r, "/moved", http.StatusTemporaryRedirect)
	})
	t.Setenv("HF_ENDPOINT", endpoint.URL)
	t.Setenv("HF_TOKEN", "hf_secret\n")
	path, _, err := testClient(t).Fetch(t.Context(), "key", []Source{repo}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, path, content)
	want := []string{resolved + ": Bearer hf_secret", "/moved: Bearer hf_secret", "elsewhere: "}
	for i := range want {
		if i >= len(tokens) || tokens[i] != want[i] {
			t.Fatalf("requests %q, expected %q", tokens, want)
		}
	}
	if filepath.Base(path) != "model.safetensors" {
		t.Errorf("it lies at %s", path)
	}
}

// The sha256 comes from the redirect or from the answer; a small file has only a git object's name.
func TestHuggingFaceDigest(t *testing.T) {
	wrong := "00" + contentSHA256[2:]
	for name, test := range map[string]struct {
		redirect, answer string
		ok               bool
	}{
		"right in the redirect": {contentSHA256, `"0123"`, true},
		"wrong in the redirect": {wrong, `"0123"`, false},
		"right in the answer":   {"", `"` + contentSHA256 + `"`, true},
		"wrong in the answer":   {"", `"` + wrong + `"`, false},
		"none":                  {"", `"a9993e364706816aba3e25717850c26c9cd0d89d"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case resolved:
					if test.redirect != "" {
						w.Header().Set("X-Linked-Etag", `"`+test.redirect+`"`)
					}
					http.Redirect(w, r, "/blob", http.StatusFound)
				case "/blob":
					w.Header().Set("ETag", test.answer)
					io.WriteString(w, content)
				default:
					http.NotFound(w, r)
				}
			})
			t.Setenv("HF_ENDPOINT", server.URL+"/")
			t.Setenv("HF_TOKEN", "")
			c := testClient(t)
			path, _, err := c.Fetch(t.Context(), "key", []Source{repo}, nil)
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				checkFile(t, path, content)
				return
			}
			checkError(t, err, "corrupt", wrong, contentSHA256)
			checkOnly(t, filepath.Join(c.dir, "key"))
		})
	}
}

// An ordinary server's ETag may look like a sha256 and mean something else.
func TestHTTPIgnoresDigestHeaders(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"00`+contentSHA256[2:]+`"`)
		io.WriteString(w, content)
	})
	if _, _, err := testClient(t).Fetch(t.Context(), "key", []Source{HTTP{URL: server.URL + "/x"}}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestHuggingFaceRevision(t *testing.T) {
	var asked string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { asked = r.URL.EscapedPath() })
	t.Setenv("HF_ENDPOINT", server.URL+"/mirror")
	source := HuggingFace{Repo: "a/b", File: "folder/x.bin", Revision: "refs/pr/1"}
	path, _, err := testClient(t).Fetch(t.Context(), "key", []Source{source}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/mirror/a/b/resolve/refs%2Fpr%2F1/folder/x.bin"; asked != want || filepath.Base(path) != "x.bin" {
		t.Errorf("asked for %s, expected %s; at %s", asked, want, path)
	}
}

func TestHuggingFaceRefusals(t *testing.T) {
	code := 0
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	t.Setenv("HF_ENDPOINT", server.URL)
	for _, test := range []struct {
		code  int
		token string
		want  string
	}{
		{401, "", "set HF_TOKEN"},
		{403, "", "set HF_TOKEN"},
		{401, "hf_secret", "the token in HF_TOKEN may not read timm/"},
		{404, "", "404 Not Found"},
	} {
		code = test.code
		t.Setenv("HF_TOKEN", test.token)
		_, _, err := testClient(t).Fetch(t.Context(), "key", []Source{repo}, nil)
		checkError(t, err, "timm/tf_efficientnet_lite0.in1k/model.safetensors", test.want)
		if got := err.Error(); test.token != "" && strings.Contains(got, test.token) {
			t.Errorf("the error tells the token: %s", got)
		}
	}
}

func TestHuggingFaceEndpoint(t *testing.T) {
	for _, address := range []string{"hf-mirror.com", "ftp://x", "http://", "http://\x7f"} {
		t.Setenv("HF_ENDPOINT", address)
		_, _, err := testClient(t).Fetch(t.Context(), "key", []Source{repo}, nil)
		checkError(t, err, "HF_ENDPOINT")
	}
	t.Setenv("HF_ENDPOINT", "")
	if got := repo.String(); got != "huggingface.co/timm/tf_efficientnet_lite0.in1k" {
		t.Error(got)
	}
}
