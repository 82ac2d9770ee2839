package secret

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/internal/keyfile"
)

// A key file is text: one key a line, 32 random bytes as base64; the first key seals, all of them open. Lines that
// begin with # are remarks.
const (
	keyBytes   = 32
	maxKeys    = 32
	maxKeyFile = 8 << 10 // bytes
)

const keyFileHead = "# Keys of sipio's secrets, 32 random bytes each. The first seals, all of them open. Every brain needs this very file.\n"

// fileKey is a key of the file. Its number is made of the key itself, so that every copy of the file gives it the same.
type fileKey struct {
	number uint32
	raw    []byte
}

func (k fileKey) id() string { return idText(k.number) }

func idText(number uint32) string { return fmt.Sprintf("%08x", number) }

// numbered gives a key its number: the first four bytes of its SHA-256, which tell nothing of the key.
func numbered(raw []byte) fileKey {
	sum := sha256.Sum256(raw)
	return fileKey{number: binary.BigEndian.Uint32(sum[:4]), raw: raw}
}

// Keys lists the ids of the keys in a key file. The first seals.
func Keys(path string) ([]string, error) {
	keys, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.id()
	}
	return ids, nil
}

// AddKey puts a new key at the end of a key file, which opens what other brains seal with it and seals nothing
// until UseKey. A file that is not there is made, readable by its owner only; its only key seals.
func AddKey(path string) (id string, err error) {
	raw := make([]byte, keyBytes)
	rand.Read(raw) // never fails, see its documentation
	added := numbered(raw)
	keys, err := readKeys(path)
	if errors.Is(err, fs.ErrNotExist) {
		return added.id(), createFile(path, []fileKey{added})
	}
	switch {
	case err != nil:
		return "", err
	case len(keys) == maxKeys:
		return "", fmt.Errorf("%s has %d keys already: remove those that nothing is sealed with", path, maxKeys)
	case slices.ContainsFunc(keys, func(k fileKey) bool { return k.number == added.number }): // once in 4e9
		return "", errors.New("the new key has the number of another one: once more")
	}
	return added.id(), replaceFile(path, append(keys, added))
}

// UseKey puts a key first in its file: it seals from then on.
func UseKey(path, id string) error {
	keys, i, err := find(path, id)
	if err != nil || i == 0 {
		return err
	}
	first := keys[i]
	return replaceFile(path, append([]fileKey{first}, slices.Delete(keys, i, i+1)...))
}

// RemoveKey takes a key out of its file. What is sealed with it cannot be opened any more, so the first one stays.
func RemoveKey(path, id string) error {
	keys, i, err := find(path, id)
	switch {
	case err != nil:
		return err
	case i == 0:
		return fmt.Errorf("%s is the key that seals: put another one first before", id)
	}
	return replaceFile(path, slices.Delete(keys, i, i+1))
}

func find(path, id string) (keys []fileKey, i int, err error) {
	if keys, err = readKeys(path); err != nil {
		return nil, 0, err
	}
	i = slices.IndexFunc(keys, func(k fileKey) bool { return k.id() == id })
	if i < 0 {
		return nil, 0, fmt.Errorf("%s has no key %q", path, id)
	}
	return keys, i, nil
}

// readKeys reads a key file. The error never shows what stands in it.
func readKeys(path string) ([]fileKey, error) {
	text, err := keyfile.Read(path, maxKeyFile, brain.GroupReads)
	if err != nil {
		return nil, fmt.Errorf("the secret key: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("the secret key: %s: %w", path, err)
	}
	return keys, nil
}

func parseKeys(text []byte) ([]fileKey, error) {
	var keys []fileKey
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != keyBytes {
			return nil, fmt.Errorf("line %d is not %d bytes as base64", i+1, keyBytes)
		}
		k := numbered(raw)
		if slices.ContainsFunc(keys, func(other fileKey) bool { return other.number == k.number }) {
			return nil, fmt.Errorf("line %d has key %s again", i+1, k.id())
		}
		keys = append(keys, k)
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("it holds no key")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("it holds %d keys, more than %d", len(keys), maxKeys)
	}
	return keys, nil
}

func writeKeys(keys []fileKey) []byte {
	var b bytes.Buffer
	b.WriteString(keyFileHead)
	for _, k := range keys {
		fmt.Fprintf(&b, "# %s\n%s\n", k.id(), base64.StdEncoding.EncodeToString(k.raw))
	}
	return b.Bytes()
}

// createFile makes a key file where there is none, whole or not at all. One that somebody else makes meanwhile is not touched.
func createFile(path string, keys []fileKey) error {
	return writeFile(path, keys, func(f *os.File) error { return os.Link(f.Name(), path) })
}

// replaceFile writes a key file anew, with the mode and the owner that it had: whoever reads it meanwhile gets the old
// one or the new one.
func replaceFile(path string, keys []fileKey) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("write the secret key: %w", err)
	}
	return writeFile(path, keys, func(f *os.File) error {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
		return os.Rename(f.Name(), path)
	})
}

// writeFile writes keys to a new file beside path, to stay, and has place put it there.
func writeFile(path string, keys []fileKey, place func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the secret key: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // not there any more after a rename
	_, err = f.Write(writeKeys(keys))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = place(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the secret key: %w", err)
	}
	return syncFolder(path)
}

// syncFolder makes the name of a file stay.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write the secret key: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}
