// Package testutil holds what the tests of several packages share.
package testutil

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Shared returns the path of a file or folder in the data that lies beside the checkout
// (GRAFT_SHARED, or ../shared from the module root), and skips the test where it is absent.
func Shared(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("GRAFT_SHARED")
	if root == "" {
		_, file, _, _ := runtime.Caller(0)
		root = filepath.Join(filepath.Dir(file), "..", "..", "..", "shared")
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs real data: %s is absent (set GRAFT_SHARED to the folder that holds data/ and weights/)", path)
	}
	return path
}
