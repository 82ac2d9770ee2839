// Package secret encrypts the secrets of accounts at rest: AES-256-GCM by tink, under the keys of one file that
// every brain of a cluster has a copy of. It is the only package that knows the algorithm and the form of that file.
// Neither a key nor a value is ever logged or part of an error.
package secret

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// MaxValue bounds a value in bytes: a chain of certificates with its key, not a file.
const MaxValue = 16384

// Lengths in bytes of what stands around the encrypted value, and of the whole.
const (
	prefixBytes = 5 // tink's: its version, and the number of the key
	ivBytes     = 12
	tagBytes    = 16
	maxSealed   = prefixBytes + ivBytes + MaxValue + tagBytes
	decoyBytes  = 20 // of a password as they are
)

var (
	// ErrNoKey says that the key of a sealed value is not in the key file.
	ErrNoKey = errors.New("the key file does not have it")
	// ErrDamaged says that a sealed value is not what was sealed, or not where it was sealed for.
	ErrDamaged = errors.New("it is damaged, or was sealed for another account or name")
)

// Box seals values and opens them again. It reads its key file anew when that has changed and a key is wanted, so
// that keys come and go without a restart. It may be used by many at once.
type Box struct {
	path string
	ring atomic.Pointer[ring]
	read sync.Mutex // one reader of the file at a time
}

// ring is what the key file holds.
type ring struct {
	aead tink.AEAD // nil when there is no key
	keys []fileKey
	file fs.FileInfo // as it was when it was read

	decoy string // a sealed value of nobody's
}

// Open reads the key file. When there is none it is made, with one key, if create says so; otherwise the box can
// neither seal nor open until the file is there. A file that other users can read, or that is no key file, is an error.
func Open(keyFile string, create bool) (*Box, error) {
	b := &Box{path: keyFile}
	b.ring.Store(&ring{})
	err := b.Refresh()
	if create && errors.Is(err, fs.ErrNotExist) {
		if _, err = AddKey(keyFile); err == nil {
			err = b.Refresh()
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Path is the key file.
func (b *Box) Path() string { return b.path }

// KeyID names the key that values are sealed with, "" when there is none.
func (b *Box) KeyID() string {
	if keys := b.ring.Load().keys; len(keys) > 0 {
		return keys[0].id()
	}
	return ""
}

// Seal encrypts the value of an account's secret with the first key of the file: text to be kept in its row, which
// opens for this account and name alone. A key file that cannot be read is an error, also when its keys are still known:
// what is sealed with them might not be opened after a restart.
func (b *Box) Seal(accountID, name string, value []byte) (string, error) {
	if len(value) == 0 || len(value) > MaxValue {
		return "", fmt.Errorf("the value has %d bytes; 1 to %d are allowed", len(value), MaxValue)
	}
	if err := b.Refresh(); err != nil {
		return "", fmt.Errorf("nothing can be sealed: %w", err)
	}
	out, err := b.ring.Load().aead.Encrypt(value, associated(accountID, name))
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	return base64.StdEncoding.EncodeToString(out), nil
}

// Open returns the value of an account's secret. The error names the key that is missing (ErrNoKey), or is ErrDamaged.
func (b *Box) Open(accountID, name, sealed string) ([]byte, error) {
	raw, id, err := parse(sealed)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	r := b.ring.Load()
	var missed error // why the file could not be read again
	if !r.has(id) {
		missed = b.Refresh()
		r = b.ring.Load()
	}
	if !r.has(id) {
		err := fmt.Errorf("secret %q is sealed with key %s: %w (%s)", name, idText(id), ErrNoKey, b.path)
		return nil, errors.Join(err, missed)
	}
	value, err := r.aead.Decrypt(raw, associated(accountID, name))
	if err != nil {
		return nil, fmt.Errorf("secret %q, sealed with key %s: %w", name, idText(id), ErrDamaged)
	}
	return value, nil
}

// Decoy takes as long as the opening of a password: for whoever must not learn that there is none.
func (b *Box) Decoy() { _, _ = b.Open("", "", b.ring.Load().decoy) }

// SealedWith names the key of a sealed value, "" for what is none.
func SealedWith(sealed string) string {
	_, id, err := parse(sealed)
	if err != nil {
		return ""
	}
	return idText(id)
}

// associated binds a sealed value to its place: it opens nowhere else.
func associated(accountID, name string) []byte {
	return []byte("secret/" + accountID + "/" + name + "/value")
}

// parse reads a sealed value and the number of its key.
func parse(sealed string) (raw []byte, id uint32, err error) {
	if len(sealed) > base64.StdEncoding.EncodedLen(maxSealed) {
		return nil, 0, ErrDamaged
	}
	raw, err = base64.StdEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) <= prefixBytes+ivBytes+tagBytes || raw[0] != 1 {
		return nil, 0, ErrDamaged
	}
	return raw, binary.BigEndian.Uint32(raw[1:prefixBytes]), nil
}

func (r *ring) has(id uint32) bool {
	for _, k := range r.keys {
		if k.number == id {
			return true
		}
	}
	return false
}

// Refresh reads the key file when it is not what was read last. On an error the keys known stay.
func (b *Box) Refresh() error {
	b.read.Lock()
	defer b.read.Unlock()
	info, err := os.Stat(b.path)
	if err != nil {
		return fmt.Errorf("the secret key: %w", err)
	}
	if now := b.ring.Load().file; now != nil && os.SameFile(now, info) && now.Size() == info.Size() && now.ModTime().Equal(info.ModTime()) {
		return nil
	}
	keys, err := readKeys(b.path)
	if err != nil {
		return err
	}
	primitive, err := keyset256(keys)
	if err != nil {
		return fmt.Errorf("the secret key %s: %w", b.path, err)
	}
	decoy, err := primitive.Encrypt(make([]byte, decoyBytes), associated("", ""))
	if err != nil {
		return fmt.Errorf("the secret key %s: %w", b.path, err)
	}
	b.ring.Store(&ring{aead: primitive, keys: keys, file: info, decoy: base64.StdEncoding.EncodeToString(decoy)})
	return nil
}

// keyset256 makes tink's primitive of the keys: the first seals, all open.
func keyset256(keys []fileKey) (tink.AEAD, error) {
	parameters, err := aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: keyBytes, IVSizeInBytes: ivBytes,
		TagSizeInBytes: tagBytes, Variant: aesgcm.VariantTink})
	if err != nil {
		return nil, err
	}
	m := keyset.NewManager()
	for _, k := range keys {
		key, err := aesgcm.NewKey(secretdata.NewBytesFromData(k.raw, insecuresecretdataaccess.Token{}), k.number, parameters)
		if err != nil {
			return nil, err
		}
		if _, err := m.AddKey(key); err != nil {
			return nil, err
		}
	}
	if err := m.SetPrimary(keys[0].number); err != nil {
		return nil, err
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, err
	}
	return aead.New(handle)
}
