package secret

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// newBox opens a box over a new key file.
func newBox(t *testing.T) (*Box, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret.key")
	box, err := Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	return box, path
}

func seal(t *testing.T, box *Box, value string) string {
	t.Helper()
	sealed, err := box.Seal("acc_1", "carrier", []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// opens says whether a box opens what was sealed by seal, as the value.
func opens(t *testing.T, box *Box, sealed, value string) {
	t.Helper()
	got, err := box.Open("acc_1", "carrier", sealed)
	if err != nil || string(got) != value {
		t.Errorf("opened as %d bytes, %v", len(got), err)
	}
}

// Proves that a value comes back as it was, of every length that is allowed and of any bytes, that its text shows nothing of
// it, and that two sealings of one value differ.
func TestBox_GivesBackWhatWasSealed(t *testing.T) {
	box, _ := newBox(t)
	for _, value := range []string{"x", "correct horse battery staple", "\x00\xff\r\n\"", strings.Repeat("v", MaxValue)} {
		sealed := seal(t, box, value)
		opens(t, box, sealed, value)
		if raw, err := base64.StdEncoding.DecodeString(sealed); err != nil || len(value) > 1 && strings.Contains(string(raw), value) {
			t.Errorf("%d bytes are sealed as plain text, or as no base64: %v", len(value), err)
		}
		if sealed == seal(t, box, value) {
			t.Error("two sealings are alike: whoever sees them learns that two secrets are the same")
		}
		if got := SealedWith(sealed); got != box.KeyID() || len(got) != 8 {
			t.Errorf("sealed with %q, the key is %q", got, box.KeyID())
		}
	}
	for _, value := range []string{"", strings.Repeat("v", MaxValue+1)} {
		if _, err := box.Seal("acc_1", "carrier", []byte(value)); err == nil {
			t.Errorf("%d bytes are sealed", len(value))
		}
	}
}

// Proves that a sealed value opens at its own place only, and not at all when one bit of it is changed: each bit is.
func TestBox_RefusesWhatWasMovedOrDamaged(t *testing.T) {
	box, _ := newBox(t)
	sealed := seal(t, box, "s3cret")
	for _, place := range [][2]string{{"acc_2", "carrier"}, {"acc_1", "other"}, {"acc_1/carrier", ""}, {"", ""}} {
		if _, err := box.Open(place[0], place[1], sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("opened as %q: %v", place, err)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		if _, err := box.Open("acc_1", "carrier", base64.StdEncoding.EncodeToString(raw)); err == nil {
			t.Fatalf("opened with bit %d changed", i)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
	for _, text := range []string{"", "s3cret", "AQ==", sealed[:20], sealed + "!", strings.Repeat("A", 100_000)} {
		if _, err := box.Open("acc_1", "carrier", text); !errors.Is(err, ErrDamaged) {
			t.Errorf("%.30q: %v", text, err)
		}
	}
}

// Proves that the wrong key file loses nothing: the error names the key that is missing and the file, and shows no value and
// no key; with the right file in its place the same box opens again, without a restart.
func TestBox_NamesTheKeyThatIsMissing(t *testing.T) {
	box, path := newBox(t)
	sealed := seal(t, box, "s3cret")
	right, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, otherPath := newBox(t)
	_, err = other.Open("acc_1", "carrier", sealed)
	if !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), box.KeyID()) || !strings.Contains(err.Error(), otherPath) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error: %v", err)
	}
	// Another file: one that is written over in the same tick of the file system's clock, and as long, is not seen to have changed.
	if err := errors.Join(os.WriteFile(otherPath+".new", right, 0o600), os.Rename(otherPath+".new", otherPath)); err != nil {
		t.Fatal(err)
	}
	opens(t, other, sealed, "s3cret")
}

// Proves that keys are changed without a moment in which a brain cannot open something: two boxes have copies of one file;
// the new key is in both before anything is sealed with it, and the old one goes when nothing is sealed with it any more.
func TestBox_KeysChangeWithoutARestart(t *testing.T) {
	one, path := newBox(t)
	copyTo := filepath.Join(t.TempDir(), "secret.key")
	spread := func() {
		raw, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(copyTo, raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	spread()
	two, err := Open(copyTo, false)
	if err != nil {
		t.Fatal(err)
	}
	old := seal(t, one, "s3cret")
	first := one.KeyID()
	opens(t, two, old, "s3cret")

	added, err := AddKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := SealedWith(seal(t, one, "s3cret")); got != first {
		t.Errorf("sealed with %s before it is used, %s is added", got, added)
	}
	spread()
	if err := UseKey(path, added); err != nil {
		t.Fatal(err)
	}
	fresh := seal(t, one, "s3cret")
	if SealedWith(fresh) != added || one.KeyID() != added {
		t.Errorf("sealed with %s, not with %s", SealedWith(fresh), added)
	}
	opens(t, two, fresh, "s3cret") // which has the key and does not seal with it
	opens(t, one, old, "s3cret")

	if err := RemoveKey(path, added); err == nil {
		t.Error("the key that seals is removed")
	}
	if err := RemoveKey(path, first); err != nil {
		t.Fatal(err)
	}
	if again, err := Open(path, false); err != nil {
		t.Error(err)
	} else if opens(t, again, fresh, "s3cret"); again.KeyID() != added {
		t.Errorf("the key is %s", again.KeyID())
	} else if _, err := again.Open("acc_1", "carrier", old); !errors.Is(err, ErrNoKey) {
		t.Errorf("opened with a key that is removed: %v", err)
	}
}

// Proves that a key file that goes away under a running brain costs nothing that is sealed, that nothing is sealed with a
// key that would not be there after a restart, and that a box without a file takes it up when it comes.
func TestBox_OutlivesItsFile(t *testing.T) {
	box, path := newBox(t)
	sealed := seal(t, box, "s3cret")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	opens(t, box, sealed, "s3cret")
	if _, err := box.Seal("acc_1", "carrier", []byte("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("sealed without a file: %v", err)
	}
	waiting, err := Open(path, false)
	if err != nil || waiting.KeyID() != "" {
		t.Fatalf("a box that waits for its file: %v, key %q", err, waiting.KeyID())
	}
	if _, err := waiting.Open("acc_1", "carrier", sealed); !errors.Is(err, ErrNoKey) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened without a key: %v", err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	opens(t, waiting, sealed, "s3cret")
}

// Proves that the decoy is opened, with the key that seals now, also after the keys have changed.
func TestBox_DecoyIsOpened(t *testing.T) {
	box, path := newBox(t)
	for range 2 {
		if value, err := box.Open("", "", box.ring.Load().decoy); err != nil || len(value) != decoyBytes {
			t.Errorf("%d bytes, %v", len(value), err)
		}
		added, err := AddKey(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := UseKey(path, added); err != nil {
			t.Fatal(err)
		}
		if sealed := seal(t, box, "x"); SealedWith(sealed) != SealedWith(box.ring.Load().decoy) {
			t.Errorf("the decoy is sealed with %s", SealedWith(box.ring.Load().decoy))
		}
		box.Decoy()
	}
}

// Proves that many may use a box while its file is changed under them: each value opens, whichever key sealed it.
func TestBox_IsUsedByManyWhileKeysChange(t *testing.T) {
	box, path := newBox(t)
	changed := make(chan struct{})
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for done := false; !done; {
				select {
				case <-changed:
					done = true // once more, with the last key
				default:
				}
				sealed, err := box.Seal("acc_1", "carrier", []byte("s3cret"))
				if err != nil {
					t.Error(err)
					return
				}
				opens(t, box, sealed, "s3cret")
				box.Decoy()
			}
		})
	}
	for range 10 {
		added, err := AddKey(path)
		if err == nil {
			err = UseKey(path, added)
		}
		if err != nil {
			t.Error(err)
		}
	}
	close(changed)
	users.Wait()
	if ids, err := Keys(path); err != nil || len(ids) != 11 || box.KeyID() != ids[0] {
		t.Errorf("%d keys, %v, sealed with %s", len(ids), err, box.KeyID())
	}
}

// Measures what the opening of a password costs: /route does it once for a digest.
func BenchmarkBox_Open(b *testing.B) {
	box, err := Open(filepath.Join(b.TempDir(), "secret.key"), true)
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := box.Seal("acc_1", "carrier", []byte("correct horse battery staple"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Open("acc_1", "carrier", sealed); err != nil {
			b.Fatal(err)
		}
	}
}
