package secret

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// key is the line of a key whose bytes are all b.
func key(b byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune(b)), keyBytes))) + "\n"
}

// Proves which files are key files, and that no error shows what stands in one.
func TestReadKeys(t *testing.T) {
	rows := []struct {
		name, text string
		mode       os.FileMode
		keys       int
		says       string
	}{
		{"one key", key('a'), 0o600, 1, ""},
		{"as systemd hands it over", key('a'), 0o440, 1, ""},
		{"remarks, blank lines, no end of line", "# mine\n\n " + key('a') + "\r\n" + strings.TrimSpace(key('b')), 0o600, 2, ""},
		{"empty", "", 0o600, 0, "holds no key"},
		{"remarks alone", "# mine\n", 0o600, 0, "holds no key"},
		{"short key", "QUJDREVGR0g=\n", 0o600, 0, "line 1 is not 32 bytes"},
		{"no base64", key('a') + "hunter2\n", 0o600, 0, "line 2 is not 32 bytes"},
		{"twice", key('a') + key('a'), 0o600, 0, "again"},
		{"open to all", key('a'), 0o604, 0, "open to every user"},
		{"too many", manyKeys(maxKeys + 1), 0o600, 0, "more than 32"},
		{"the most", manyKeys(maxKeys), 0o600, maxKeys, ""},
		{"too large", strings.Repeat("#\n", maxKeyFile), 0o600, 0, "longer than 8192 bytes"},
	}
	for _, row := range rows {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, row.mode); err != nil {
			t.Fatal(err)
		}
		ids, err := Keys(path)
		if len(ids) != row.keys || (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %d keys, %v", row.name, len(ids), err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "QUJD")) {
			t.Errorf("%s: the error shows the file: %v", row.name, err)
		}
		if _, err := Open(path, true); (err == nil) != (row.says == "") {
			t.Errorf("%s: a box over it: %v", row.name, err)
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(key(byte('0' + i)))
	}
	return b.String()
}

// Proves that a key file is made for its owner only, is never made over one that is there, and keeps its mode and its order
// when keys come and go; nothing is left beside it.
func TestKeyFile_IsChangedInPlace(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "secret.key")
	mode := func(want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, want)
		}
	}
	first, err := AddKey(path)
	if err != nil {
		t.Fatal(err)
	}
	mode(0o600)
	if err := createFile(path, []fileKey{numbered(make([]byte, keyBytes))}); err == nil {
		t.Error("made over one that is there")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	second, err := AddKey(path)
	if err != nil {
		t.Fatal(err)
	}
	third, err := AddKey(path)
	if err != nil {
		t.Fatal(err)
	}
	mode(0o640)
	want := func(ids ...string) {
		t.Helper()
		if got, err := Keys(path); err != nil || !slices.Equal(got, ids) {
			t.Errorf("keys %v, %v, want %v", got, err, ids)
		}
	}
	want(first, second, third)
	for _, step := range []struct {
		do   func(path, id string) error
		id   string
		fine bool
	}{{UseKey, third, true}, {UseKey, third, true}, {RemoveKey, third, false}, {RemoveKey, first, true}, {RemoveKey, first, false}, {UseKey, "0", false}} {
		if err := step.do(path, step.id); (err == nil) != step.fine {
			t.Errorf("key %s: %v", step.id, err)
		}
	}
	want(third, second)
	mode(0o640)
	if files, err := os.ReadDir(folder); err != nil || len(files) != 1 {
		t.Errorf("left in the folder: %v, %v", files, err)
	}
}

// Any text is read as a key file or refused, and what is read is written so that it is read again alike.
func FuzzParseKeys(f *testing.F) {
	f.Add(key('a') + "# x\n" + key('b'))
	f.Add("hunter2")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseKeys([]byte(text))
		if err != nil {
			return
		}
		again, err := parseKeys(writeKeys(keys))
		if err != nil || !slices.EqualFunc(keys, again, func(a, b fileKey) bool { return a.number == b.number && string(a.raw) == string(b.raw) }) {
			t.Fatalf("%d keys are read again as %d, %v", len(keys), len(again), err)
		}
	})
}
