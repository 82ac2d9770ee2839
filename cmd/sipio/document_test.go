package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Files joined into one text keep their own lines: each line of the joined text is found at its file
// and line, whether a file ends without a newline, begins with a divider, is empty or has a byte order mark. One that is
// named twice is read once.
func TestDocument_KnowsWhereEachLineWas(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.yaml": "a1\na2", "b.yml": "---\nb2\n", "c.yaml": "", "d.yaml": "\ufeffd1\n", "e.txt": "no"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := load([]string{dir, filepath.Join(dir, "a.yaml"), "-"}, strings.NewReader("s1\ns2\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(d.text), "a1"); n != 1 {
		t.Errorf("a.yaml was read %d times", n)
	}
	want := map[string]string{"a1": "a.yaml:1", "a2": "a.yaml:2", "b2": "b.yml:2", "d1": "d.yaml:1", "s1": "stdin:1", "s2": "stdin:2"}
	for i, line := range strings.Split(string(d.text), "\n") {
		place, ok := want[line]
		if !ok {
			continue
		}
		if got := strings.TrimPrefix(d.place(i+1), dir+"/"); got != place {
			t.Errorf("line %q is at %s, want %s, in\n%s", line, got, place, d.text)
		}
		delete(want, line)
	}
	if len(want) > 0 {
		t.Errorf("not in the joined text: %v\n%s", want, d.text)
	}
}

// What cannot be a document is refused with its name: nothing to read, an empty folder, no such file,
// too much.
func TestLoad_RefusesWhatIsNoDocument(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxDocument+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{t.TempDir(): "has no .yaml", "nowhere.yaml": "nowhere.yaml", large: "longer than 8 MiB"} {
		if _, err := load([]string{path}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("load %s: %v, want %q", path, err, want)
		}
	}
	if _, err := load(nil, nil); err == nil {
		t.Error("nothing to read was taken for a document")
	}
}

// Proves that files which name nothing are refused before anybody is asked, and that one which names something is not.
func TestLoad_RefusesFilesThatNameNothing(t *testing.T) {
	for text, want := range map[string]bool{"": true, "\ufeff": true, "# kind: account\n\n---\n...\n": true, "[]": true, "---\n- {kind: account}\n": false} {
		_, err := load([]string{"-"}, strings.NewReader(text))
		if (err != nil) != want || want && err.Error() != "the files name nothing" {
			t.Errorf("%q: %v", text, err)
		}
	}
}
