package stir

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A second implementation of RFC 8225, written from the RFC: it shares nothing with the package, neither the JSON nor the
// encoding of the signature, so an error would have to be made twice to pass.

// secondJSON writes maps, lists of text, text and numbers with sorted names and no white space (RFC 8225 section 9).
func secondJSON(v any) string {
	switch v := v.(type) {
	case string:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
	case int:
		return strconv.Itoa(v)
	case []string:
		var items []string
		for _, item := range v {
			items = append(items, secondJSON(item))
		}
		return "[" + strings.Join(items, ",") + "]"
	case map[string]any:
		var members []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			members = append(members, secondJSON(name)+":"+secondJSON(v[name]))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	panic(fmt.Sprintf("%T", v))
}

func second64(raw []byte) string {
	return strings.TrimRight(base64.URLEncoding.EncodeToString(raw), "=")
}

// secondSign makes a token of a header and claims.
func secondSign(t testing.TB, key *ecdsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	return secondSignRaw(t, key, secondJSON(header), secondJSON(claims))
}

func secondSignRaw(t testing.TB, key *ecdsa.PrivateKey, header, claims string) string {
	t.Helper()
	signed := second64([]byte(header)) + "." + second64([]byte(claims))
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := append(leftPad(r), leftPad(s)...)
	return signed + "." + second64(raw)
}

func leftPad(n *big.Int) []byte {
	b := n.Bytes()
	return append(make([]byte, 32-len(b)), b...)
}

// secondVerify opens a token with a public key, and returns header and claims as they were written.
func secondVerify(key *ecdsa.PublicKey, token string) (header, claims string, err error) {
	dot := strings.LastIndex(token, ".")
	if dot < 0 {
		return "", "", errors.New("no signature")
	}
	raw, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil || len(raw) != 64 {
		return "", "", fmt.Errorf("signature of %d bytes: %v", len(raw), err)
	}
	sum := sha256.Sum256([]byte(token[:dot]))
	if !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])) {
		return "", "", errors.New("wrong signature")
	}
	h, c, _ := strings.Cut(token[:dot], ".")
	hRaw, err1 := base64.RawURLEncoding.DecodeString(h)
	cRaw, err2 := base64.RawURLEncoding.DecodeString(c)
	return string(hRaw), string(cRaw), errors.Join(err1, err2)
}
