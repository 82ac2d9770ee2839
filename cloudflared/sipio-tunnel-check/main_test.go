package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun_SaysWhatIsOpen(t *testing.T) {
	// Proves both exit codes: of a rendered file, and of a missing, an open and an endless one, each of which is named.
	var out, errs strings.Builder
	if status := run([]string{"../../nodeagent/tunnel/testdata/node.yml"}, &out, &errs); status != 0 || errs.Len() > 0 ||
		!strings.Contains(out.String(), "/op and /health of node-1.op.example.org to http://127.0.0.1:8481, everything else 404") {
		t.Errorf("status %d: %s%s", status, &out, &errs)
	}
	open := filepath.Join(t.TempDir(), "open.yml")
	if err := os.WriteFile(open, []byte("tunnel: a\ningress:\n  - service: http://127.0.0.1:22\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][]string{nil, {"none.yml"}, {open}, {"/dev/zero"}} {
		errs.Reset()
		if status := run(files, &out, &errs); status != 1 || errs.Len() == 0 || len(files) > 0 && !strings.HasPrefix(errs.String(), files[0]+": ") {
			t.Errorf("%q: status %d, %s", files, status, &errs)
		}
	}
}
