package scenario

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// tlsTrunks is an account with a trunk that is known by its certificate, and one that is switched off.
const tlsTrunks = `
- {kind: account, name: kontor, spec: {timezone: Europe/Berlin, country: DE}}
- {kind: sip_domain, account: kontor, name: kontor.test, spec: {is_primary: true}}
- {kind: sip_user, account: kontor, name: "2001", spec: {display_name: Karla}}
- {kind: sip_device, account: kontor, name: 2001@kontor.test, spec: {user_id: "2001", password: secret-2001}}
- {kind: sip_trunk, account: kontor, name: carrier, spec: {inbound_auth: tls, tls_name: Sbc.Carrier.test}}
- {kind: sip_trunk, account: kontor, name: off, spec: {inbound_auth: tls, tls_name: off.carrier.test, status: disabled}}
- {kind: did, account: kontor, name: "4930900100", spec: {dest_kind: user, dest_id: "2001"}}
`

// authority signs certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{}
	made := a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign makes a certificate, of the authority itself when it has none yet.
func (a *authority) sign(t *testing.T, cert *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber, cert.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-48*time.Hour)
	if cert.NotAfter.IsZero() {
		cert.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// file writes the authority's own certificate.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Who connects with a certificate that the node's authority has signed, and that has the name of a trunk, reaches the number of
// the trunk's account without a password, and both hear each other, whether the name is a DNS name or the common name of a
// certificate without one; a phone that shows no certificate registers and takes the call over TLS as ever. Whoever else calls
// is challenged, each alike: with a certificate of another authority, an expired one, one with another name, of a trunk that is
// switched off, with the trunk's name as common name beside another DNS name, or with none; a session that is taken up again
// is worth what its first connection was.
func TestTrunk_IsKnownByItsCertificate(t *testing.T) {
	ours, foreign := newAuthority(t, "authority of carriers"), newAuthority(t, "authority of carriers")
	e := start(t, edge.Options{Config: tlsTrunks, TLSCA: ours.file(t), LogDecisions: true})
	named := func(a *authority, cn string, dns ...string) *tls.Certificate {
		return a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: cn}, DNSNames: dns})
	}
	karla := registered(t, e, "2001", realm("kontor.test"), over("tls"))
	for _, cert := range []*tls.Certificate{named(ours, "somebody", "sbc.carrier.test", "second.carrier.test"), named(ours, "SBC.carrier.test")} {
		ctx := within(t, 30*time.Second)
		caller := newPhone(t, e, "030123456", realm("carrier.test"), over("tls"), func(c *phone.Config) { c.Certificate, c.Password = cert, "none" })
		a, b := connect(t, ctx, caller, karla, "4930900100")
		talk(t, ctx, a, b)
		hangUp(t, ctx, e, a, b)
	}
	want := inviteTLS(t, e, &tls.Config{})
	if !strings.HasPrefix(want, "SIP/2.0 407 ") {
		t.Errorf("without a certificate: %s", want)
	}
	expired := ours.sign(t, &x509.Certificate{DNSNames: []string{"sbc.carrier.test"}, NotAfter: time.Now().Add(-24 * time.Hour)})
	for name, cert := range map[string]*tls.Certificate{
		"of another authority": named(foreign, "", "sbc.carrier.test"),
		"signed by itself":     (&authority{}).sign(t, &x509.Certificate{DNSNames: []string{"sbc.carrier.test"}}),
		"expired":              expired,
		"with another name":    named(ours, "", "other.carrier.test"),
		"with two names":       named(ours, "sbc.carrier.test", "other.carrier.test"),
		"of no active trunk":   named(ours, "", "off.carrier.test"),
		"without a name":       named(ours, ""),
	} {
		sessions := tls.NewLRUClientSessionCache(1)
		for _, turn := range []string{"first", "second"} {
			if got := inviteTLS(t, e, connecting(cert, sessions)); got != want {
				t.Errorf("with a certificate %s, %s time:\n%s\nwant\n%s", name, turn, got, want)
			}
		}
	}
}

// connecting shows a certificate, whatever authorities the node names, and takes up the session of an earlier connection.
func connecting(cert *tls.Certificate, sessions tls.ClientSessionCache) *tls.Config {
	return &tls.Config{ClientSessionCache: sessions,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }}
}

// ofOne is what differs between two answers that say the same.
var ofOne = regexp.MustCompile(`nonce="[^"]*"|;tag=[^\r]*|rport=[0-9]+`)

// inviteTLS calls kontor's number over a connection of its own, and returns the final answer without what is of this call alone.
func inviteTLS(t *testing.T, e *edge.Edge, config *tls.Config) string {
	t.Helper()
	config.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", e.TLS, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	at, id := "192.0.2.9:5061", rand.Text()
	fmt.Fprintf(conn, "INVITE sip:4930900100@%s SIP/2.0\r\nVia: SIP/2.0/TLS %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:030123456@carrier.test>;tag=a\r\n"+
		"To: <sip:4930900100@%s>\r\nCall-ID: %s\r\nCSeq: 1 INVITE\r\nContact: <sip:030123456@%s;transport=tls>\r\nContent-Length: 0\r\n\r\n", e.TLS, at, id, e.TLS, id, at)
	lines := bufio.NewReader(conn)
	for {
		answer := ""
		for !strings.HasSuffix(answer, "\r\n\r\n") {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%v after %q", err, answer)
			}
			answer += line
		}
		if !strings.HasPrefix(answer, "SIP/2.0 1") {
			return strings.ReplaceAll(ofOne.ReplaceAllString(answer, ""), id, "")
		}
	}
}
