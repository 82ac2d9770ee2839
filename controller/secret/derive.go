package secret

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"slices"
)

// derivedBytes is the length of a derived key.
const derivedBytes = 32

// Derive makes a key for another purpose of a key of the file: of the first one when id is "", else of the one with that id. Every
// brain that has the file makes the same one; nothing of the file's key can be told from it. The error is ErrNoKey when there is no such key.
func (b *Box) Derive(purpose, id string) (key []byte, keyID string, err error) {
	_ = b.Refresh() // a key that comes or goes counts from now on; while the file cannot be read the keys known stay
	keys := b.ring.Load().keys
	i := slices.IndexFunc(keys, func(k fileKey) bool { return id == "" || k.id() == id })
	if i < 0 {
		return nil, "", fmt.Errorf("key %q: %w (%s)", id, ErrNoKey, b.path)
	}
	key, err = hkdf.Key(sha256.New, keys[i].raw, nil, "sipio "+purpose, derivedBytes)
	if err != nil {
		return nil, "", fmt.Errorf("derive a key: %w", err)
	}
	return key, keys[i].id(), nil
}
