package nodeagent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/op"
)

// writeCertificate writes a certificate of a node, signed by itself, and its key.
func writeCertificate(t *testing.T, dir, node string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		URIs: []*url.URL{{Scheme: "sipio", Host: "node", Path: "/" + node}}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: der}, "certkey": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificate_IsShownToBrains(t *testing.T) {
	// Proves that TLS connections to a brain are made with the certificate of the files, that no agent begins with files that do not
	// fit together, and that a certificate of another node, and one that ends soon, is told.
	dir := t.TempDir()
	var said strings.Builder
	cfg := testConfig(dir, "https://127.0.0.1:1")
	cfg.CertFile, cfg.CertKeyFile = filepath.Join(dir, "cert"), filepath.Join(dir, "certkey")
	writeCertificate(t, dir, "edge2", 1)
	own, err := openCertificate(cfg, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"is not of this node", "ends soon"} {
		if !strings.Contains(said.String(), words) {
			t.Errorf("not told: %s", words)
		}
	}
	towards, err := brainTLS("", own)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := towards.GetClientCertificate(&tls.CertificateRequestInfo{})
	if err != nil || pair.Leaf.SerialNumber.Int64() != 1 {
		t.Errorf("shown to a brain: %v, %v", pair, err)
	}
	if err := os.WriteFile(cfg.CertKeyFile, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openCertificate(cfg, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an agent began with files that do not fit")
	}
}

func TestReadAccess(t *testing.T) {
	// Proves that the access token is two lines and nothing else, in a file for its owner's eyes, and that without a file none is wanted.
	path := filepath.Join(t.TempDir(), "access")
	for text, good := range map[string]bool{"id.access\nsecret\n": true, "id.access\n": false, "a\nb\nc\n": false, "": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readAccess(path)
		if (err == nil) != good || good && got != (op.Access{ID: "id.access", Secret: "secret"}) {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readAccess(path); err == nil {
		t.Error("a file that everybody can read was taken")
	}
	if got, err := readAccess(""); err != nil || got != (op.Access{}) {
		t.Errorf("without a file: %+v %v", got, err)
	}
}
