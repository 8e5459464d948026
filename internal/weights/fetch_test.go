package weights

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/graft-ml/graft/internal/hub"
)

func TestFetch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, "tensors")
	}))
	defer server.Close()
	t.Setenv("HF_ENDPOINT", server.URL)
	lite0, err := Lookup("efficientnet_lite0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, layout, err := lite0.Fetch(t.Context(), hub.NewClient(dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "weights", "tf_efficientnet_lite0.in1k", "model.safetensors"); path != want || layout != Timm {
		t.Errorf("%s at %s, expected %s", layout, path, want)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "tensors" {
		t.Errorf("%q, %v", data, err)
	}
}
