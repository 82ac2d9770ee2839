package controller

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	brainstir "github.com/sipio/sipio/brain/stir"
)

// repositoryIP is where the names of the test lead, except inside.example.org.
const repositoryIP = "127.77.3.1"

// authority is a certification authority, of signatures or of web servers.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{key: newKey(t)}
	a.cert = a.issue(t, &a.key.PublicKey, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue signs a certificate that is good for the hour around now; the first one of an authority is its own.
func (a *authority) issue(t *testing.T, public *ecdsa.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
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

// standsForProvider puts a TNAuthList with the provider code 709J into a certificate (RFC 8226 section 9).
func standsForProvider(c *x509.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 26}, Value: append([]byte{0x30, 8, 0xA0, 6, 0x16, 4}, "709J"...)}}
}

func pemFile(t *testing.T, cert *x509.Certificate) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// repository serves certificates by path over HTTPS under cr.example.org:8443, and has every name resolved.
func repository(t *testing.T, certs map[string]*x509.Certificate) (web *authority) {
	t.Helper()
	web = newAuthority(t)
	key := newKey(t)
	own := web.issue(t, &key.PublicKey, func(c *x509.Certificate) { c.DNSNames = []string{"cr.example.org"} })
	listener, err := net.Listen("tcp", repositoryIP+":8443")
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
		go answerNames(far, func(name string) netip.Addr {
			if name == "inside.example.org" {
				return netip.MustParseAddr("10.1.2.3")
			}
			return netip.MustParseAddr(repositoryIP)
		})
		return near, nil
	}}
	return web
}

// signed is an Identity header of a call from 4930777888 to 493012345100, changed a little.
func signed(t *testing.T, key *ecdsa.PrivateKey, x5u string, change func(*brainstir.Claims)) string {
	t.Helper()
	c := brainstir.Claims{Attest: brainstir.Full, Orig: brainstir.Party{TN: "4930777888"}, Dest: []brainstir.Party{{TN: "493012345100"}},
		IAT: time.Now().Unix(), OrigID: "123e4567-e89b-12d3-a456-426655440000"}
	if change != nil {
		change(&c)
	}
	identity, err := brainstir.Signer{Key: key, X5U: x5u}.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

func TestStir_CallsOfATrunkThatRequiresIt(t *testing.T) {
	// Proves verification in calls from the question of a node to the certificate server and back: who passes, and with which code
	// everybody else is refused: wrong number, signature, time, chain, place, and a token that another call had.
	roots, others, key, stranger := newAuthority(t), newAuthority(t), newKey(t), newKey(t)
	web := repository(t, map[string]*x509.Certificate{
		"/sp.pem":       roots.issue(t, &key.PublicKey, standsForProvider),
		"/stranger.pem": others.issue(t, &stranger.PublicKey, standsForProvider),
		"/old.pem":      roots.issue(t, &key.PublicKey, func(c *x509.Certificate) { standsForProvider(c); c.NotAfter = time.Now().Add(-time.Minute) }),
	})
	r := start(t, t.TempDir(), func(c *Config) {
		c.StirHosts, c.StirRootsFile, c.FlowCAFile = []string{"cr.example.org", "inside.example.org"}, pemFile(t, roots.cert), pemFile(t, web.cert)
		c.FlowAllowNets = []netip.Prefix{netip.MustParsePrefix(repositoryIP + "/32")}
	})
	account := r.create(t, "/v1/accounts", `{"name":"one","country":"DE"}`)
	of := "?account_id=" + account
	r.create(t, "/v1/sip_domains"+of, `{"domain":"example.com","is_primary":true}`)
	user := r.create(t, "/v1/sip_users"+of, `{"username":"1001"}`)
	r.create(t, "/v1/sip_devices"+of, `{"user_id":"`+user+`","auth_username":"1001","realm":"example.com","password":"secret-1001"}`)
	r.create(t, "/v1/dids"+of, `{"e164":"493012345100","dest_kind":"user","dest_id":"`+user+`"}`)
	r.create(t, "/v1/sip_trunks"+of, `{"name":"carrier","inbound_acl":["192.0.2.9"],"stir":"require"}`)
	calls := 0
	ask := func(identity, callID string) api.Directive {
		calls++
		var reply api.RouteReply
		r.ask(t, api.PathRoute, url.Values{"method": {"INVITE"}, "call_id": {callID}, "cseq": {"1"}, "branch": {"z9hG4bK" + strconv.Itoa(calls)}, "transport": {"udp"},
			"source_ip": {"192.0.2.9"}, "peer": {api.PeerTrunk}, "from_user": {"030777888"}, "from_domain": {"carrier.test"},
			"ruri_user": {"+493012345100"}, "ruri_domain": {"example.com"}, "identity": {identity}}, &reply)
		return reply.RTJSON
	}
	const good, stale = "https://cr.example.org:8443/sp.pem", 61 * time.Second
	// A slow machine may not have the certificate in time for the first call, nor must that call wait for it.
	for _, place := range []string{good, "https://cr.example.org:8443/stranger.pem", "https://cr.example.org:8443/old.pem", "https://cr.example.org:8443/none.pem", "https://inside.example.org/sp.pem"} {
		eventually(t, "what comes of "+place, func() bool {
			d := ask(signed(t, key, place, nil), "warm")
			return d.SIPCode != 436 || !strings.Contains(d.Why, "not there in time")
		})
	}
	first := signed(t, key, good, func(c *brainstir.Claims) { c.OrigID = strings.Replace(c.OrigID, "1", "2", 1) })
	for _, c := range []struct {
		name, identity, callID string
		code                   int
		phrase, why            string
	}{
		{"passes", first, "c1", 0, "", "caller TN-Validation-Passed, A"},
		{"the same call again", first, "c1", 0, "", "caller TN-Validation-Passed, A"},
		{"replayed", first, "c2", 438, "Invalid Identity Header", "replayed"},
		{"none", "", "c3", 428, "Use Identity Header", "no_identity"},
		{"another caller", signed(t, key, good, func(c *brainstir.Claims) { c.Orig.TN = "4930777889" }), "c4", 438, "Invalid Identity Header", "orig_mismatch"},
		{"another called party", signed(t, key, good, func(c *brainstir.Claims) { c.Dest[0].TN = "493012345101" }), "c5", 438, "Invalid Identity Header", "dest_mismatch"},
		{"signed with another key", signed(t, stranger, good, nil), "c6", 438, "Invalid Identity Header", "signature_wrong"},
		{"stale", signed(t, key, good, func(c *brainstir.Claims) { c.IAT = time.Now().Add(-stale).Unix() }), "c7", 403, "Stale Date", "iat_stale"},
		{"of a root that is not trusted", signed(t, stranger, "https://cr.example.org:8443/stranger.pem", nil), "c8", 437, "Unsupported Credential", "cert_untrusted"},
		{"expired", signed(t, key, "https://cr.example.org:8443/old.pem", nil), "c9", 437, "Unsupported Credential", "cert_expired"},
		{"no certificate there", signed(t, key, "https://cr.example.org:8443/none.pem", nil), "c10", 436, "Bad Identity Info", "404"},
		{"a place that is not listed", signed(t, key, "https://cr.example.net/sp.pem", nil), "c11", 436, "Bad Identity Info", "x5u_refused"},
		{"a listed name that leads inside", signed(t, key, "https://inside.example.org/sp.pem", nil), "c12", 436, "Bad Identity Info", "10.1.2.3"},
	} {
		d := ask(c.identity, c.callID)
		if d.SIPCode != c.code || c.code != 0 && d.Reason != c.phrase || !strings.Contains(d.Why, c.why) || (d.Action == api.ActionProxy) != (c.code == 0) {
			t.Errorf("%s: %s %d %s, %s; want %d, %s", c.name, d.Action, d.SIPCode, d.Reason, d.Why, c.code, c.why)
		}
		if c.code == 0 && (d.Call.Verstat != "TN-Validation-Passed" || d.Call.Attestation != "A") {
			t.Errorf("%s: %+v", c.name, d.Call)
		}
	}
}
