package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/internal/keyfile"
)

var update = flag.Bool("update", false, "rewrite testdata and docs/cli.md to what the program does now")

// transcript runs one command line and writes it as a terminal would show it: the command, what it
// printed (standard error marked), and its exit status when it is not 0.
func transcript(line string) string {
	var out, errs bytes.Buffer
	code := run(context.Background(), strings.Fields(line)[1:], &out, &errs)
	text := "$ " + line + "\n" + out.String()
	for _, l := range strings.SplitAfter(errs.String(), "\n") {
		if l != "" {
			text += "! " + l
		}
	}
	if code != 0 {
		text += fmt.Sprintf("exit status %d\n", code)
	}
	return text
}

// Each file of testdata/*.golden is a session at a terminal: running its commands again against a
// brain that answers always the same prints the same, to the last byte.
func TestCommands_PrintWhatTheTranscriptsSay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	t.Setenv("SIPIO_SERVER", newFakeBrain(t).URL)
	t.Setenv("SIPIO_KEY", tokenGood)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var sections []string
		for _, line := range strings.Split(string(raw), "\n") {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				sections = append(sections, transcript(command))
			}
		}
		got := strings.Join(sections, "\n")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got != string(raw) {
			t.Errorf("%s: go test ./cmd/sipio -update writes it anew; now it is\n%s", file, got)
		}
	}
}

// The reference in docs/cli.md is what the commands say of themselves.
func TestDocs_AreFresh(t *testing.T) {
	const path = "../../docs/cli.md"
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"docs"}, &out, &errs); code != 0 {
		t.Fatalf("sipio docs: %d %s", code, &errs)
	}
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, out.Bytes()) {
		t.Errorf("%s is stale: go run ./cmd/sipio docs > docs/cli.md", path)
	}
}

// Where the key comes from: a flag beats the variables, a missing or absurd file is told before
// anything is sent, and no key at all is the brain's to refuse, with a hint.
func TestKey_ComesFromTheFlagFirst(t *testing.T) {
	dir := t.TempDir()
	good, wrong, huge := filepath.Join(dir, "good"), filepath.Join(dir, "wrong"), filepath.Join(dir, "huge")
	for path, text := range map[string]string{good: tokenGood + "\n", wrong: "sk_wrong", huge: strings.Repeat("x", keyfile.Limit+1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := newFakeBrain(t).URL
	cases := []struct{ keyEnv, fileEnv, args, want string }{
		{tokenGood, "", "", "acc_1"},
		{"", good, "", "acc_1"},
		{"sk_wrong", "", "--key-file " + good, "acc_1"},
		{"", wrong, "--key-file " + good, "acc_1"},
		{"", "", "", "SIPIO_KEY_FILE"},
		{"", wrong, "", "unknown one"},
		{"", filepath.Join(dir, "none"), "", "no such file"},
		{"", huge, "", "is longer than 4096 bytes"},
	}
	for _, c := range cases {
		t.Setenv("SIPIO_KEY", c.keyEnv)
		t.Setenv("SIPIO_KEY_FILE", c.fileEnv)
		if got := transcript("sipio get accounts --server " + server + " " + c.args); !strings.Contains(got, c.want) {
			t.Errorf("key %q, file %q, %s: no %q in\n%s", c.keyEnv, c.fileEnv, c.args, c.want, got)
		}
	}
}

// A brain that is away is told with what to do, and exits 1.
func TestRun_SaysWhatToDoWhenTheBrainIsAway(t *testing.T) {
	server := newFakeBrain(t)
	server.Close()
	got := transcript("sipio revisions --server " + server.URL)
	if !strings.Contains(got, "Is sipio-brain running there?") || !strings.HasSuffix(got, "exit status 1\n") {
		t.Errorf("printed\n%s", got)
	}
}

// An export goes to a file that only its owner can read, replacing what was there.
func TestExport_WritesAFileForItsOwnerOnly(t *testing.T) {
	t.Setenv("SIPIO_SERVER", newFakeBrain(t).URL)
	t.Setenv("SIPIO_KEY", tokenGood)
	path := filepath.Join(t.TempDir(), "sipio.yaml")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := transcript("sipio export --account globex -o " + path); strings.Contains(got, "exit status") {
		t.Fatal(got)
	}
	raw, err := os.ReadFile(path)
	if err != nil || string(raw) != "# of \"acc_2\"\nkind: account\nname: acme\n" {
		t.Errorf("file %q, %v", raw, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".sipio-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
