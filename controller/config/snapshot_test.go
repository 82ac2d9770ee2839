package config

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

func loadSnapshot(t testing.TB, path string, from *Store) {
	t.Helper()
	var text bytes.Buffer
	version, err := from.WriteSnapshot(context.Background(), &text)
	if err != nil || version != from.Directory().Version() {
		t.Fatalf("snapshot of version %d, %v; want %d", version, err, from.Directory().Version())
	}
	if got, err := LoadSnapshot(context.Background(), path, &text); err != nil || got != version {
		t.Fatalf("loaded version %d, %v; want %d", got, err, version)
	}
}

// Proves the way of a new brain whose log no longer begins at 1: it is told so, loads a snapshot, joins,
// and is equal; its old file is kept, and no other file is left behind.
func TestLoadSnapshot_BringsABrainIntoAShortenedLog(t *testing.T) {
	ctx, log := context.Background(), newMemLog()
	one := joined(t, log)
	dir := t.TempDir()
	path := filepath.Join(dir, "config.db")
	late, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Replicate(ctx, log); err != nil {
		t.Fatal(err)
	}
	mustChange(t, late, brain.OpCreate, &brain.Account{Name: "first"})
	late.Close()
	mustApply(t, one, readFile(t, "acme.yaml"), brain.ApplyOptions{})
	var snapshot bytes.Buffer
	if _, err := one.WriteSnapshot(ctx, &snapshot); err != nil {
		t.Fatal(err)
	}
	mustChange(t, one, brain.OpCreate, &brain.Account{Name: "later"})
	log.forget(2)

	if late, err = Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	if err := late.Replicate(ctx, log); !errors.Is(err, ErrBehind) {
		t.Fatalf("got %v, want ErrBehind", err)
	}
	late.Close()
	if v, err := LoadSnapshot(ctx, path, &snapshot); err != nil || v != 2 {
		t.Fatalf("version %d, %v", v, err)
	}
	if late, err = Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := late.Replicate(ctx, log); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, one, late)
	old, err := Open(ctx, path+".old")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if old.Directory().Version() != 1 {
		t.Errorf("the file kept has version %d", old.Directory().Version())
	}
	for _, folder := range []string{dir, filepath.Dir(one.path)} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || strings.Contains(e.Name(), "coming") || strings.Contains(e.Name(), "going") || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("left behind, or readable by others: %v %v", info, err)
			}
		}
	}
}

// Proves that a snapshot that is no whole database, or is older than the file, changes nothing.
func TestLoadSnapshot_RefusesWhatIsDamagedOrOlder(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	var whole bytes.Buffer
	if _, err := s.WriteSnapshot(ctx, &whole); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.db")
	loadSnapshot(t, path, s)
	mine, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	mustChange(t, mine, brain.OpCreate, &brain.Account{Name: "mine"})
	want := dump(t, mine)
	if _, err := LoadSnapshot(ctx, path, bytes.NewReader(whole.Bytes())); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("older: got %v", err)
	}
	mine.Close()
	snapshots := map[string][]byte{"empty": {}, "text": []byte("hello"), "half": whole.Bytes()[:whole.Len()/2],
		"a page short": whole.Bytes()[:whole.Len()-4096], "older": whole.Bytes()}
	var newer bytes.Buffer // so that it is not its age that keeps a torn one out
	mustChange(t, s, brain.OpCreate, &brain.Account{Name: "a"})
	mustChange(t, s, brain.OpCreate, &brain.Account{Name: "b"})
	if _, err := s.WriteSnapshot(ctx, &newer); err != nil {
		t.Fatal(err)
	}
	for at := 0; at+4096 <= newer.Len(); at += 4 * 4096 {
		torn := bytes.Clone(newer.Bytes())
		clear(torn[at : at+4096])
		snapshots[fmt.Sprintf("page at %d lost", at)] = torn
	}
	snapshots["more than a snapshot"] = append(bytes.Clone(newer.Bytes()), 0)
	snapshots["torn, without a sum"] = newer.Bytes()[len(snapshotMark)+sha256.Size : newer.Len()/2]
	for name, text := range snapshots {
		if v, err := LoadSnapshot(ctx, path, bytes.NewReader(text)); err == nil {
			t.Errorf("%s: taken as version %d", name, v)
		}
	}
	if mine, err = Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	if got := dump(t, mine); got != want {
		t.Errorf("the file was changed:\n%s", got)
	}
}

// Proves that a snapshot in which one bit is another is refused, wherever it is: every byte of mark and sum, 2,000 places of the
// database, those of a free text among them.
func TestLoadSnapshot_RefusesEachFlippedBit(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	mustChange(t, s, brain.OpCreate, &brain.Account{Name: "free-text"})
	var whole bytes.Buffer
	if _, err := s.WriteSnapshot(ctx, &whole); err != nil {
		t.Fatal(err)
	}
	raw, head := whole.Bytes(), len(snapshotMark)+sha256.Size
	random := rand.New(rand.NewPCG(1, 2))
	var places []int
	for at := range head {
		places = append(places, at)
	}
	for range 2000 {
		places = append(places, head+random.IntN(len(raw)-head))
	}
	for at := head; ; {
		found := bytes.Index(raw[at:], []byte("free-text"))
		if found < 0 {
			break
		}
		at += found + 1
		places = append(places, at)
	}
	path := filepath.Join(t.TempDir(), "config.db")
	for _, at := range places {
		bit := byte(1) << random.IntN(8)
		raw[at] ^= bit
		if v, err := LoadSnapshot(ctx, path, bytes.NewReader(raw)); err == nil {
			t.Fatalf("bit %08b of byte %d of %d: taken as version %d", bit, at, len(raw), v)
		}
		raw[at] ^= bit
	}
	if _, err := LoadSnapshot(ctx, path, bytes.NewReader(raw)); err != nil {
		t.Errorf("the whole one: %v", err)
	}
}

// Proves that a snapshot of an earlier version, which has no sum, is still taken.
func TestLoadSnapshot_TakesOneWithoutASum(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	var whole bytes.Buffer
	version, err := s.WriteSnapshot(ctx, &whole)
	if err != nil {
		t.Fatal(err)
	}
	whole.Next(len(snapshotMark) + sha256.Size)
	if got, err := LoadSnapshot(ctx, filepath.Join(t.TempDir(), "config.db"), &whole); err != nil || got != version {
		t.Errorf("version %d, %v, want %d", got, err, version)
	}
}

// Proves that what the tables refuse never gets into the log, deferred references included: every other
// brain would stop at it for ever.
func TestWriteRevision_PublishesNothingThatTheTablesRefuse(t *testing.T) {
	s := acmeStore(t)
	acme := account(t, s, "acme.test")
	for name, o := range map[string]op{
		"at once":       opOf(nil, &brain.Extension{ID: "ext_x", AccountID: acme.Account.ID, Digits: "1", DestKind: "moon", Status: "active"}),
		"at the commit": opOf(nil, &brain.Extension{ID: "ext_x", AccountID: "acc_x", Digits: "1", DestKind: "hangup", Status: "active"}),
		"a user in use": opOf(acme.UserByName["1002"], nil),
	} {
		published := false
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 2}, []op{o}, func() error { published = true; return nil })
		if published || brain.CodeOf(classify(err)) != brain.EConflict {
			t.Errorf("%s: published %v, %v", name, published, err)
		}
	}
}
