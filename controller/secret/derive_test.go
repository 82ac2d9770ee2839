package secret

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

// Proves that every copy of a key file gives one purpose the same key, another purpose and another key of the file another, that the first
// key is taken without an id, that a key which is gone gives none, and that what is derived is not the key itself.
func TestDerive_FollowsTheKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	one, err := Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(b *Box, purpose, id string) ([]byte, string) {
		t.Helper()
		key, keyID, err := b.Derive(purpose, id)
		if err != nil || len(key) != 32 {
			t.Fatalf("%s with %q: %d bytes, %v", purpose, id, len(key), err)
		}
		return key, keyID
	}
	first, id := derive(one, "tokens", "")
	if same, _ := derive(two, "tokens", id); !bytes.Equal(first, same) || id != one.KeyID() {
		t.Error("two copies of the file give two keys")
	}
	if other, _ := derive(one, "something else", ""); bytes.Equal(first, other) {
		t.Error("two purposes share a key")
	}
	if bytes.Equal(first, one.ring.Load().keys[0].raw) {
		t.Error("the key of the file is given away")
	}
	added, err := AddKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := UseKey(path, added); err != nil {
		t.Fatal(err)
	}
	fresh, freshID := derive(one, "tokens", "")
	if old, _ := derive(two, "tokens", id); freshID != added || bytes.Equal(fresh, first) || !bytes.Equal(old, first) {
		t.Errorf("after another key came first: %s", freshID)
	}
	if err := RemoveKey(path, id); err != nil {
		t.Fatal(err)
	}
	if _, _, err := one.Derive("tokens", id); !errors.Is(err, ErrNoKey) {
		t.Errorf("a key that is gone: %v", err)
	}
	none, err := Open(filepath.Join(t.TempDir(), "none"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := none.Derive("tokens", ""); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a file: %v", err)
	}
}
