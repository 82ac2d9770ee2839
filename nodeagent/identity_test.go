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

func TestCertificate_IsReadAgainWhenItIsRenewed(t *testing.T) {
	// Proves that every TLS connection to a brain is made with the certificate that is in the files then, that files which do not fit
	// together change nothing, and that a certificate of another node, and one that ends soon, is told.
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
	shown := func() int64 {
		own.looked = time.Time{} // it is time to look
		pair, err := towards.GetClientCertificate(&tls.CertificateRequestInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	if n := shown(); n != 1 {
		t.Errorf("certificate %d is shown", n)
	}
	touch := func(ahead time.Duration) {
		at := time.Now().Add(ahead) // whatever the file system's clock can tell apart
		for _, file := range []string{"cert", "certkey"} {
			if err := os.Chtimes(filepath.Join(dir, file), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	writeCertificate(t, dir, "edge1", 2)
	touch(time.Second)
	if n := shown(); n != 2 {
		t.Errorf("certificate %d is shown after the renewal", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "certkey"), []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	touch(2 * time.Second)
	if n := shown(); n != 2 {
		t.Errorf("certificate %d is shown while the files do not fit", n)
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
