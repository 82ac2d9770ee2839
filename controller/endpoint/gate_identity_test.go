package endpoint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// signer is an authority in memory, and its file.
type signer struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	path string
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &signer{t: t, key: key, path: filepath.Join(t.TempDir(), "ca.pem")}
	s.cert = s.sign(&x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e6, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign})
	s.write()
	return s
}

func (s *signer) sign(template *x509.Certificate) *x509.Certificate {
	s.t.Helper()
	parent := s.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, s.key.Public(), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

// of makes a connection that shows a certificate of somebody, good from second 0 to 1000.
func (s *signer) of(serial int64, kind, name string) *tls.ConnectionState {
	leaf := s.sign(&x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1000, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{{Scheme: "sipio", Host: kind, Path: "/" + name}}})
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
}

// write writes the authority's file, with a list of revoked certificates when there are any.
func (s *signer) write(revoked ...int64) {
	s.t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
	if len(revoked) > 0 {
		list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Unix(1, 0), NextUpdate: time.Unix(1e6, 0)}
		for _, n := range revoked {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Unix(1, 0)})
		}
		der, err := x509.CreateRevocationList(rand.Reader, list, s.cert, s.key)
		if err != nil {
			s.t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	if err := os.WriteFile(s.path, text, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func TestCertificates_StopBeingGoodOnConnectionsThatStand(t *testing.T) {
	// Proves that a certificate that was good a moment ago, on the same connection, is nobody's once it has ended or the authority's file
	// lists it; that another one stays good; and that a file that cannot be read changes nothing.
	s := newSigner(t)
	c, err := OpenCertificates(s.path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	one, two := s.of(11, "node", "edge-1"), s.of(12, "node", "edge-2")
	good := func(conn *tls.ConnectionState, sec int64) bool {
		_, ok := c.Of(conn, time.Unix(sec, 0))
		return ok
	}
	for range 2 { // read, then remembered
		if id, ok := c.Of(one, time.Unix(500, 0)); !ok || id != (api.Identity{Kind: "node", Name: "edge-1"}) {
			t.Fatalf("%+v %v", id, ok)
		}
	}
	if good(one, 1001) || !good(one, 600) {
		t.Error("it is good after its end, or not before")
	}
	s.write(11)
	if good(one, 700) || !good(two, 700) {
		t.Error("a revoked certificate is good, or another one is not")
	}
	if err := os.WriteFile(s.path, []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	if good(one, 800) || !good(two, 800) {
		t.Error("a damaged file changed who is known")
	}
	if _, err := OpenCertificates(s.path, nil); err == nil {
		t.Error("a file without an authority was opened")
	}
	if _, ok := c.Of(nil, time.Unix(500, 0)); ok {
		t.Error("a connection without TLS is somebody's")
	}
}

func TestCertificates_TakeNothingFromAStrangersChain(t *testing.T) {
	// Proves that a certificate is judged by the authority's own signature: what its holder puts between is not looked at, even when it
	// would do, nor is a key that the authority makes none of; that what an authority said is forgotten when its file was read
	// anew meanwhile; and that with a wrong key no certificate is judged.
	s := newSigner(t)
	c, err := OpenCertificates(s.path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(500, 0)
	between := s.sign(&x509.Certificate{SerialNumber: big.NewInt(20), Subject: pkix.Name{CommonName: "between"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1000, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	below := (&signer{t: t, key: s.key, cert: between}).of(21, "node", "edge-1")
	below.PeerCertificates = append(below.PeerCertificates, between)
	if id, ok := c.Of(below, now); ok {
		t.Errorf("%+v by a certificate between", id)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := s.of(22, "operator", "anna")
	der, err := x509.CreateCertificate(rand.Reader, good.PeerCertificates[0], s.cert, other.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := c.Of(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{strange}}, now); ok {
		t.Errorf("%+v by a P-384 key", id)
	}
	c.remember(new(api.Authority), sha256.Sum256(good.PeerCertificates[0].Raw), knownIdentity{until: time.Unix(1000, 0)})
	b := newBench(t)
	b.Identities, b.Now = c, func() time.Time { return now }
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = good
	r.Header.Set("Authorization", "Bearer sk_wrong")
	if _, ok := b.Credential(r); ok || len(c.known) != 0 {
		t.Errorf("with a wrong key: %v, %d certificates judged", ok, len(c.known))
	}
	r.Header.Del("Authorization")
	if key, ok := b.Credential(r); !ok || key.Name != "anna" || len(c.known) != 1 {
		t.Errorf("without one: %+v %v", key, ok)
	}
}

// bound knows one key more, which speaks for one node.
type bound struct{ *configuration }

func (b bound) KeyByToken(token string) (brain.APIKey, bool) {
	if token == "sk_edge1" {
		return brain.APIKey{ID: "key_9", Scopes: []brain.Scope{brain.ScopeNode}, Node: "edge1"}, true
	}
	return b.configuration.KeyByToken(token)
}

func TestGate_ANodeSpeaksForItselfAlone(t *testing.T) {
	// Proves that a key that is bound to a node is refused when a question names another one, in a form and in JSON; that this is
	// counted each time, logged once, and changes nothing; and that a question that names none is of that node.
	b := newBench(t)
	b.Config = bound{newConfiguration()}
	ask := func(path, kind, body string) int { return b.ask("POST", path, kind, body, withToken("sk_edge1")).Code }
	for range 10 {
		if code := ask(api.PathHeartbeat, typeJSON, `{"node":"edge2","protocol":"1.0"}`); code != http.StatusForbidden {
			t.Fatalf("heartbeat of another node: %d", code)
		}
		form := strings.Replace(registerQuestion("1001", "secret1001").Encode(), "node=edge1", "node=edge2", 1)
		if code := ask(api.PathAuth, typeForm, form); code != http.StatusForbidden {
			t.Fatalf("question of another node: %d", code)
		}
	}
	if n := b.counts[countRefusedNode].Load(); n != 20 {
		t.Errorf("counted %d times", n)
	}
	if n := strings.Count(b.log.String(), "speaks for another node"); n != 1 {
		t.Errorf("logged %d times: %s", n, b.log)
	}
	if list := b.nodes.list(0); len(list) != 0 {
		t.Errorf("nodes: %+v", list)
	}
	if code := ask(api.PathHeartbeat, typeJSON, `{"node":"edge1","protocol":"1.0"}`); code != http.StatusOK {
		t.Errorf("its own heartbeat: %d", code)
	}
	if code := ask(api.PathAuth, typeForm, strings.Replace(registerQuestion("1001", "secret1001").Encode(), "node=edge1", "", 1)); code != http.StatusOK {
		t.Errorf("a question that names no node: %d", code)
	}
}
