package scenario

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A second implementation of RFC 8224 and 8225, written from them: it shares nothing with brain/stir. And the certification
// authority and the server of certificates that a call needs.

// passportClaims are the claims of a token as it was received.
type passportClaims struct {
	Attest string `json:"attest"`
	Dest   struct {
		TN []string `json:"tn"`
	} `json:"dest"`
	IAT  int64 `json:"iat"`
	Orig struct {
		TN string `json:"tn"`
	} `json:"orig"`
	OrigID string `json:"origid"`
}

// signPASSporT writes an Identity header.
func signPASSporT(t *testing.T, key *ecdsa.PrivateKey, x5u, orig, dest string, iat time.Time) string {
	t.Helper()
	signed := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"%s"}`, x5u)) + "." +
		base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"attest":"B","dest":{"tn":["%s"]},"iat":%d,"orig":{"tn":"%s"},"origid":"123e4567-e89b-12d3-a456-426655440000"}`, dest, iat.Unix(), orig))
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(raw) + ";info=<" + x5u + ">;alg=ES256;ppt=shaken"
}

// openIdentity verifies an Identity header with the public key that is known to be at x5u.
func openIdentity(key *ecdsa.PublicKey, x5u, header string) (c passportClaims, err error) {
	token, params, ok := strings.Cut(header, ";")
	if !ok || params != "info=<"+x5u+">;alg=ES256;ppt=shaken" {
		return c, fmt.Errorf("parameters %q", params)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, fmt.Errorf("a token of %d parts", len(parts))
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return c, fmt.Errorf("a signature of %d bytes: %v", len(signature), err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return c, fmt.Errorf("the key has not signed this")
	}
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	if want := `{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"` + x5u + `"}`; err != nil || string(head) != want {
		return c, fmt.Errorf("header %s, want %s", head, want)
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	return c, err
}

// stirAuthority is a certification authority, of signatures or of web servers.
type stirAuthority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newStirAuthority(t *testing.T) *stirAuthority {
	a := &stirAuthority{key: newStirKey(t)}
	a.cert = a.issue(t, &a.key.PublicKey, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	return a
}

func newStirKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue signs a certificate for the hour around now; the first one of an authority is its own.
func (a *stirAuthority) issue(t *testing.T, public *ecdsa.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	change(c)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// isProvider puts a TNAuthList with the provider code 709J into a certificate (RFC 8226 section 9).
func isProvider(c *x509.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 26}, Value: append([]byte{0x30, 8, 0xA0, 6, 0x16, 4}, "709J"...)}}
}

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// certificateServer serves certificates by path at https://cr.example.org:8443. That name leads to addr for this process, every
// other name to 10.1.2.3.
func certificateServer(t *testing.T, addr string, certs map[string]*x509.Certificate) (web *x509.Certificate) {
	t.Helper()
	ca, key := newStirAuthority(t), newStirKey(t)
	own := ca.issue(t, &key.PublicKey, func(c *x509.Certificate) { c.DNSNames = []string{"cr.example.org"} })
	listener, err := net.Listen("tcp", addr+":8443")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cert := certs[r.URL.Path]; cert != nil {
			w.Write(cert.Raw)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	server.Listener.Close()
	server.Listener = listener
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	old := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = old })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go answerNames(far, map[string]string{"cr.example.org": addr})
		return near, nil
	}}
	return ca.cert
}

// answerNames is a name server over a stream (RFC 1035 section 4.2.2).
func answerNames(conn net.Conn, addresses map[string]string) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		q := make([]byte, int(size[0])<<8|int(size[1]))
		if _, err := io.ReadFull(conn, q); err != nil {
			return
		}
		end, labels := 12, []string(nil)
		for q[end] != 0 {
			labels = append(labels, string(q[end+1:end+1+int(q[end])]))
			end += int(q[end]) + 1
		}
		end += 5
		answer := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		if q[end-3] == 1 { // type A
			addr, ok := addresses[strings.ToLower(strings.Join(labels, "."))]
			if !ok {
				addr = "10.1.2.3"
			}
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			answer = append(answer, netip.MustParseAddr(addr).AsSlice()...)
		}
		if _, err := conn.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)); err != nil {
			return
		}
	}
}
