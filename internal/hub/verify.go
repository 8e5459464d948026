package hub

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// verify reports whether a file's sha256 begins with want, hexadecimal digits in either case. Without any digit it
// doesn't read the file.
func verify(path, want string) error {
	if want == "" {
		return nil
	}
	got, err := sha256sum(path)
	if err != nil {
		return &cacheError{err}
	}
	if !strings.HasPrefix(got, strings.ToLower(want)) {
		return fmt.Errorf("the file that came is corrupt and was removed: its sha256 is %s, expected %s", got, want)
	}
	return nil
}

// sha256sum returns a file's sha256 as 64 hexadecimal digits.
func sha256sum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
