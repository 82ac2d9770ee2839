package stir

import (
	"crypto/sha256"
	"strings"
	"sync"

	"github.com/sipio/sipio/brain/stir"
)

// maxKeys bounds the parsed keys of accounts that are kept.
const maxKeys = 4096

// ParseSigner reads the platform's key in PEM. A line "x5u: https://…" before it says where its certificate is, so that
// a rotation is one change of one file; without such a line it is at x5u.
func ParseSigner(body []byte, x5u string) (stir.Signer, error) {
	head, _, _ := strings.Cut(string(body), "-----BEGIN")
	for line := range strings.Lines(head) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "x5u") {
			x5u = strings.TrimSpace(value)
		}
	}
	key, err := stir.ParseKey(body)
	if err != nil {
		return stir.Signer{}, err
	}
	return stir.NewSigner(key, x5u)
}

// keys are parsed keys of accounts by their text and address: parsing takes longer than signing.
type keys struct {
	mu        sync.Mutex
	byContent map[[sha256.Size]byte]stir.Signer
}

func (k *keys) parse(text, x5u string) (stir.Signer, error) {
	name := nameOf(text, x5u)
	k.mu.Lock()
	defer k.mu.Unlock()
	if signer, ok := k.byContent[name]; ok {
		return signer, nil
	}
	key, err := stir.ParseKey([]byte(text))
	if err != nil {
		return stir.Signer{}, err
	}
	signer, err := stir.NewSigner(key, x5u)
	if err != nil {
		return stir.Signer{}, err
	}
	if len(k.byContent) >= maxKeys {
		clear(k.byContent)
	}
	k.byContent[name] = signer
	return signer, nil
}
