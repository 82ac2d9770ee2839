package stir

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"math/big"
	"testing"
	"time"
)

const (
	x5u    = "https://cr.example.org/sp/709J.pem"
	caller = "493012345678"
	called = "4989555111"
	origID = "123e4567-e89b-12d3-a456-426655440000"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// authority is a certification authority of a test.
type authority struct {
	key  any
	cert *x509.Certificate
}

// issue signs a certificate; change sees the template first. A nil authority signs itself.
func (a *authority) issue(t testing.TB, public, private any, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.Unix()), Subject: pkix.Name{CommonName: "SHAKEN 709J"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, private
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func isCA(c *x509.Certificate) {
	c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = "CA", true, true, x509.KeyUsageCertSign
}

func newAuthority(t testing.TB, above *authority, lists ...[]byte) *authority {
	t.Helper()
	key := newKey(t)
	return &authority{key: key, cert: above.issue(t, &key.PublicKey, key, func(c *x509.Certificate) {
		isCA(c)
		for _, list := range lists {
			withList(list)(c)
		}
	})}
}

func withList(list []byte) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidTNAuthList, Value: list})
	}
}

// entries of a TNAuthList, in DER written by hand: context tag, then the type.
func entry(tag byte, der []byte) []byte { return append([]byte{0xA0 | tag, byte(len(der))}, der...) }

func ia5DER(s string) []byte { return append([]byte{0x16, byte(len(s))}, s...) }

func spc(code string) []byte { return entry(0, ia5DER(code)) }
func one(tn string) []byte   { return entry(2, ia5DER(tn)) }

func numberRange(start string, count int64) []byte {
	n, err := asn1.Marshal(count)
	if err != nil {
		panic(err)
	}
	body := append(ia5DER(start), n...)
	return entry(1, append([]byte{0x30, byte(len(body))}, body...))
}

func list(entries ...[]byte) []byte {
	var body []byte
	for _, e := range entries {
		body = append(body, e...)
	}
	if len(body) < 128 {
		return append([]byte{0x30, byte(len(body))}, body...)
	}
	return append([]byte{0x30, 0x82, byte(len(body) >> 8), byte(len(body))}, body...)
}

// scene is a signer with a certificate that is trusted, and a call of its.
type scene struct {
	key   *ecdsa.PrivateKey
	root  *authority
	chain []*x509.Certificate
	call  Call
	v     *Verifier
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{key: newKey(t), root: newAuthority(t, nil), call: Call{From: "+" + caller, To: "sip:+" + called + "@sbc.example.org;user=phone", At: now, ID: "a@b/1"}}
	middle := newAuthority(t, s.root)
	leaf := middle.issue(t, &s.key.PublicKey, nil, withList(list(spc("709J"))))
	s.chain = []*x509.Certificate{leaf, middle.cert}
	roots := x509.NewCertPool()
	roots.AddCert(s.root.cert)
	s.v = &Verifier{Roots: roots, Replay: NewReplay(8)}
	return s
}

// certify gives the signer a certificate straight from the root.
func (s *scene) certify(t testing.TB, change ...func(*x509.Certificate)) {
	s.chain = []*x509.Certificate{s.root.issue(t, &s.key.PublicKey, nil, func(c *x509.Certificate) {
		for _, do := range change {
			do(c)
		}
	})}
}

func shakenHeader() map[string]any {
	return map[string]any{"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": x5u}
}

func shakenClaims() map[string]any {
	return map[string]any{"attest": "A", "dest": map[string]any{"tn": []string{called}}, "iat": int(now.Unix()), "orig": map[string]any{"tn": caller}, "origid": origID}
}

// with is a copy of members with one of them changed, or gone when value is nil.
func with(members map[string]any, name string, value any) map[string]any {
	out := maps.Clone(members)
	if out[name] = value; value == nil {
		delete(out, name)
	}
	return out
}

const params = ";info=<" + x5u + ">;alg=ES256;ppt=shaken"
