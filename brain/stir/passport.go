package stir

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
)

const (
	algorithm = "ES256"
	typ       = "passport"
	sigLen    = 64 // of r and s, one after the other (RFC 7518 section 3.4)
)

// Shaken is the type of PASSporT that carries an attestation (RFC 8588); "" is the base type.
const Shaken = "shaken"

// Token is a PASSporT that has been read and not verified: nothing in it is true yet.
type Token struct {
	PPT    string
	X5U    string // where the certificate is
	Claims Claims

	signed    string // what the signature covers, as it was received
	signature []byte
}

// Claims are what a PASSporT says of a call.
type Claims struct {
	Attest Attestation // "" in a base PASSporT
	Dest   []Party     // called parties
	IAT    int64       // when it was signed, in Unix seconds
	Orig   Party       // calling party
	OrigID string      // with an attestation: a UUID by which the signer finds the origin again
}

// encoding is base64url without padding; Strict, because loose trailing bits would make two texts of one token.
var encoding = base64.RawURLEncoding.Strict()

// ParsePASSporT reads a token in full form (RFC 8225 section 6).
func ParsePASSporT(text string) (*Token, *Refusal) {
	if len(text) > maxIdentity {
		return nil, refuse(Malformed, "longer than %d bytes", maxIdentity)
	}
	parts := strings.Split(text, ".")
	switch {
	case len(parts) != 3:
		return nil, refuse(Malformed, "a token has three parts, this has %d", len(parts))
	case parts[0] == "" && parts[1] == "" && parts[2] != "":
		return nil, refuse(CompactForm, "only the full form is read")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		// The decoder skips line ends, which have no place here.
		if raw[i], err = encoding.DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return nil, refuse(Malformed, "part %d is not base64url", i+1)
		}
	}
	t := &Token{signed: parts[0] + "." + parts[1], signature: raw[2]}
	if refusal := t.readHeader(raw[0]); refusal != nil {
		return nil, refusal
	}
	if len(t.signature) != sigLen {
		return nil, refuse(Malformed, "a signature has %d bytes, this has %d", sigLen, len(t.signature))
	}
	var refusal *Refusal
	if t.Claims, refusal = readClaims(raw[1], t.PPT); refusal != nil {
		return nil, refusal
	}
	return t, nil
}

// signedBy tells whether the key has made the signature.
func (t *Token) signedBy(key *ecdsa.PublicKey) bool {
	sum := sha256.Sum256([]byte(t.signed))
	r, s := t.rs()
	return ecdsa.Verify(key, sum[:], r, s)
}

func (t *Token) rs() (r, s *big.Int) {
	return new(big.Int).SetBytes(t.signature[:sigLen/2]), new(big.Int).SetBytes(t.signature[sigLen/2:])
}

// mark names the token in a replay cache. Of the two signatures that ECDSA has for each one, s and its negative, both have
// the same mark: anybody can make one of the other.
func (t *Token) mark(key *ecdsa.PublicKey) [sha256.Size]byte {
	r, s := t.rs()
	if other := new(big.Int).Sub(key.Params().N, s); other.Cmp(s) < 0 {
		s = other
	}
	both := make([]byte, sigLen)
	r.FillBytes(both[:sigLen/2])
	s.FillBytes(both[sigLen/2:])
	return sha256.Sum256(append([]byte(t.signed+"."), both...))
}
