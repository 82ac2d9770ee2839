package stir

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
)

// Signer signs the calls of whoever the certificate at X5U names.
type Signer struct {
	Key *ecdsa.PrivateKey // on P-256
	X5U string            // where others find the certificate, https
}

// NewSigner makes one of a key and the address of its certificate.
func NewSigner(key *ecdsa.PrivateKey, x5u string) (Signer, error) {
	if err := checkX5U(x5u); err != nil {
		return Signer{}, err
	}
	return Signer{Key: key, X5U: x5u}, nil
}

// The header and the claims as they are signed. The order of the fields is that of their names, which with no white space
// is the form that RFC 8225 section 9 asks for; inner objects too.
type (
	headerJSON struct {
		Alg string `json:"alg"`
		PPT string `json:"ppt,omitempty"`
		Typ string `json:"typ"`
		X5U string `json:"x5u"`
	}
	claimsJSON struct {
		Attest Attestation `json:"attest,omitempty"`
		Dest   destJSON    `json:"dest"`
		IAT    int64       `json:"iat"`
		Orig   origJSON    `json:"orig"`
		OrigID string      `json:"origid,omitempty"`
	}
	destJSON struct {
		TN  []string `json:"tn,omitempty"`
		URI []string `json:"uri,omitempty"`
	}
	origJSON struct {
		TN  string `json:"tn,omitempty"`
		URI string `json:"uri,omitempty"`
	}
)

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// Sign returns the value of the Identity header: with an attestation a shaken PASSporT, without one a base PASSporT. The
// signature is the one of RFC 6979, so the same claims give the same header; OrigID tells the calls of one second apart.
func (s Signer) Sign(c Claims) (string, error) {
	if s.Key == nil || s.Key.Curve != elliptic.P256() {
		return "", errors.New("the key is not an ECDSA key on P-256, which ES256 needs")
	}
	if err := checkX5U(s.X5U); err != nil {
		return "", err
	}
	if err := c.check(); err != nil {
		return "", err
	}
	ppt := ""
	if c.Attest != "" {
		ppt = Shaken
	}
	signed := canonical(headerJSON{Alg: algorithm, PPT: ppt, Typ: typ, X5U: s.X5U}) + "." + canonical(c.wire())
	sum := sha256.Sum256([]byte(signed))
	der, err := s.Key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign a PASSporT: %w", err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return "", fmt.Errorf("sign a PASSporT: %w", err)
	}
	raw := make([]byte, sigLen)
	rs.R.FillBytes(raw[:sigLen/2])
	rs.S.FillBytes(raw[sigLen/2:])
	token := signed + "." + encoding.EncodeToString(raw)
	if len(token) > maxIdentity-maxURI-64 {
		return "", fmt.Errorf("the token has %d bytes: too many called parties", len(token))
	}
	return header(token, s.X5U, ppt), nil
}

// check refuses claims that no verifier would take.
func (c Claims) check() error {
	for _, p := range append([]Party{c.Orig}, c.Dest...) {
		again, err := ParseParty(p.String())
		switch {
		case err != nil:
			return err
		case again != p:
			return fmt.Errorf("%q is not in canonical form", p)
		}
	}
	switch {
	case len(c.Dest) == 0 || len(c.Dest) > maxDest:
		return fmt.Errorf("1 to %d called parties, not %d", maxDest, len(c.Dest))
	case c.IAT <= 0 || c.IAT > maxIAT:
		return fmt.Errorf("iat %d is no time in Unix seconds", c.IAT)
	case c.Attest == "" && c.OrigID != "":
		return errors.New("an origid needs an attestation")
	case c.Attest != "" && !c.Attest.valid():
		return fmt.Errorf("attestation %q is not A, B or C", c.Attest)
	case c.Attest != "" && !uuid.MatchString(c.OrigID):
		return fmt.Errorf("origid %q is not a UUID", c.OrigID)
	}
	return nil
}

func (c Claims) wire() claimsJSON {
	out := claimsJSON{Attest: c.Attest, IAT: c.IAT, Orig: origJSON{TN: c.Orig.TN, URI: c.Orig.URI}, OrigID: c.OrigID}
	for _, p := range c.Dest {
		if p.TN != "" {
			out.Dest.TN = append(out.Dest.TN, p.TN)
		} else {
			out.Dest.URI = append(out.Dest.URI, p.URI)
		}
	}
	return out
}

// canonical encodes one of the types above; strings and numbers cannot fail.
func canonical(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return encoding.EncodeToString(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
