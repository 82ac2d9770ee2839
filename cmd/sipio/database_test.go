package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/config"
)

// A trial on a database that a brain has open, with changes still in its write-ahead log, decides as a
// trial on the files that were applied to it, and leaves the database as it was.
func TestRouteTry_ReadsTheDatabaseOfARunningBrain(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "config.db")
	store, err := config.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	doc, err := os.ReadFile("testdata/try.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Apply(ctx, "test", doc, brain.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	before, walBefore, err := readPair(path)
	if err != nil || len(walBefore) == 0 {
		t.Fatalf("the log holds %d bytes, %v", len(walBefore), err)
	}
	const call = "sipio route try --from 1001@acme.test --to 1002 "
	fromDB, fromFile := transcript(call+"--db "+path), transcript(call+"-f testdata/try.yaml")
	_, gotDB, _ := strings.Cut(fromDB, "\n")
	_, gotFile, _ := strings.Cut(fromFile, "\n")
	if gotDB != gotFile || !strings.Contains(gotDB, "step 4") {
		t.Errorf("from the database\n%s\nfrom the files\n%s", gotDB, gotFile)
	}
	after, walAfter, err := readPair(path)
	if err != nil || string(before) != string(after) || string(walBefore) != string(walAfter) {
		t.Errorf("the trial changed the database, %v", err)
	}
}

// What is no database is told, and none is made.
func TestRouteTry_MakesNoDatabase(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("not a database, but long enough to be taken for a header"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none.db"), dir, text} {
		if got := transcript("sipio route try --from 1@a --to 2 --db " + path); !strings.HasSuffix(got, "exit status 1\n") {
			t.Errorf("%s: %s", path, got)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}
