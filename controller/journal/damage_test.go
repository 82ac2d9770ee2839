package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// records of each shard of a filled store: enough for four blocks of the store.
const records = 24

// filledStore makes a store with records of two shards that share a stream, several blocks long, and closes it.
func filledStore(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	b := openSolo(t, dir)
	a, _ := openShard(t, b, 0, 1)
	c, _ := openShard(t, b, 4, 1)
	filler := strings.Repeat("f", 600_000)
	for i := range records {
		appendAll(t, a, fmt.Sprintf("a%d-%s", i, filler))
		appendAll(t, c, fmt.Sprintf("c%d-%s", i, filler))
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyStore copies a store, and returns the copy and the blocks of its first stream in order. With killed, the store's
// own index is taken away, as after a crash: then it reads its blocks from the beginning.
func copyStore(t *testing.T, from string, killed bool) (dir string, blocks []string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	msgs := filepath.Join(dir, "jetstream", "$G", "streams", "JOURNAL_0", "msgs")
	blocks, err := filepath.Glob(filepath.Join(msgs, "*.blk"))
	if err != nil || len(blocks) < 4 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	slices.SortFunc(blocks, func(x, y string) int { return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)) })
	if killed {
		if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil {
			t.Fatal(err)
		}
	}
	return dir, blocks
}

// flipByte changes one byte of a record of a shard in a block, in the middle of its data.
func flipByte(t *testing.T, block, mark string) {
	t.Helper()
	data, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(data, []byte(mark))
	if i < 0 {
		t.Fatalf("%s is not in %s", mark, block)
	}
	data[i+len(mark)+1000] ^= 1
	if err := os.WriteFile(block, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestShard_ReportsDamage proves that no acknowledged record goes missing in silence: after real damage to the files
// of the store each shard either reads all its records or reports ErrDamaged, and at least one reports. With loss
// accepted each opens with what is left, in order, takes new records, and is whole from then on.
func TestShard_ReportsDamage(t *testing.T) {
	from := filledStore(t)
	last := func(blocks []string) string { return blocks[len(blocks)-1] }
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string, blocks []string)
	}{
		{"byte flipped in the middle", func(t *testing.T, _ string, blocks []string) { flipByte(t, blocks[1], "a") }},
		{"byte flipped in the last block", func(t *testing.T, _ string, blocks []string) {
			flipByte(t, last(blocks), fmt.Sprintf("c%d-", records-1))
		}},
		{"last block cut", func(t *testing.T, _ string, blocks []string) {
			info, err := os.Stat(last(blocks))
			if err = errors.Join(err, os.Truncate(last(blocks), info.Size()-100_000)); err != nil {
				t.Fatal(err)
			}
		}},
		{"last block deleted", func(t *testing.T, _ string, blocks []string) { remove(t, last(blocks)) }},
		{"block in the middle deleted", func(t *testing.T, _ string, blocks []string) { remove(t, blocks[1]) }},
		{"first block deleted", func(t *testing.T, _ string, blocks []string) { remove(t, blocks[0]) }},
		{"all blocks deleted", func(t *testing.T, _ string, blocks []string) { remove(t, blocks...) }},
		{"stream deleted", func(t *testing.T, dir string, _ []string) {
			if err := os.RemoveAll(filepath.Join(dir, "jetstream", "$G", "streams", "JOURNAL_0")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %v", c.name, killed), func(t *testing.T) {
				dir, blocks := copyStore(t, from, killed)
				c.damage(t, dir, blocks)
				checkDamaged(t, dir)
			})
		}
	}
}

func remove(t *testing.T, files ...string) {
	t.Helper()
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

func checkDamaged(t *testing.T, dir string) {
	t.Helper()
	reported := 0
	for range 2 { // the second time too: the store must not have tidied the damage away
		reported = 0
		b := openSolo(t, dir)
		for _, shard := range []int{0, 4} {
			r := &reader{}
			_, err := b.Shard(t.Context(), shard, 2, r.loader())
			switch {
			case errors.Is(err, ErrDamaged):
				reported++
				t.Log(err)
				if len(r.got) > 0 {
					t.Errorf("shard %d is damaged and yet delivered %d records", shard, len(r.got))
				}
			case err != nil:
				t.Fatal(err)
			case len(r.got) != records:
				t.Errorf("shard %d came back with %d of %d records and no error", shard, len(r.got), records)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if reported == 0 {
		t.Error("nobody reported the damage")
	}
	checkAccepted(t, dir)
}

func checkAccepted(t *testing.T, dir string) {
	t.Helper()
	var said bytes.Buffer
	b, err := Open(t.Context(), Config{Dir: dir, AcceptLoss: true, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range []int{0, 4} {
		l, got := openShard(t, b, shard, 3)
		appendAll(t, l, "new")
		t.Logf("shard %d: %d records left", shard, strings.Count(got, "r:"))
	}
	if !strings.Contains(said.String(), "JOURNAL DAMAGED") || !strings.Contains(said.String(), "shard=") {
		t.Errorf("the log says %s", said.String())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openSolo(t, dir)
	for _, shard := range []int{0, 4} {
		r := &reader{}
		if _, err := b.Shard(context.Background(), shard, 4, r.loader()); err != nil || r.got[len(r.got)-1] != "r:new" {
			t.Errorf("after the loss was accepted: shard %d: %d records, %v", shard, len(r.got), err)
		}
	}
	_ = b.Close()
}
