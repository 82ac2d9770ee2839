// Package keyfile reads the files that hold secrets, for every process and for the command line by the one rule of
// brain.KeyFile.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sipio/sipio/brain"
)

// Limit is as long as a file with one password or token may be, in bytes.
const Limit = 4 << 10

// Read reads a file of at most limit bytes, when its owner and its mode are right for its readers. No error shows what stands in it.
func Read(path string, limit int64, readers brain.KeyReaders) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()            // of what was opened, whatever has the name by now
	if err != nil {
		return nil, err
	}
	if fault, cure := Of(path, info).Fault(uint32(os.Geteuid()), readers); fault != "" {
		return nil, fmt.Errorf("%s: %s", fault, cure)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return raw, nil
}

// Of is what the file system says of a file.
func Of(path string, info os.FileInfo) brain.KeyFile {
	f := brain.KeyFile{Path: path, Mode: info.Mode()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.Owner = stat.Uid
	}
	return f
}

// Text reads a password or a token: what stands in the file without white space around it, which must be something.
func Text(path string, readers brain.KeyReaders) (string, error) {
	raw, err := Read(path, Limit, readers)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}

// Credential is the path of a systemd credential of this process; "" when it was given none of that name.
func Credential(name string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return path
}
