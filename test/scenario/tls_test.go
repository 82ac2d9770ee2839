package scenario

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// clientHello is what crypto/tls begins a handshake with.
func clientHello(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	go func() { _ = tls.Client(there, &tls.Config{ServerName: "acme.test"}).Handshake() }()
	hello := make([]byte, 4096)
	n, err := here.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

func TestTLS_BrokenHandshakesEndNothing(t *testing.T) {
	// Proves that handshakes which strangers break in every way, many at once, on the ports of TLS and of WSS, leave Kamailio as it was, with
	// phones that talk over TLS, and that Kamailio does not start without what makes it so: without, a hundred of them ended it
	// (docs/adr/0027-mends-of-debians-daemons.md).
	const workers, each = 24, 400
	e := start(t, edge.Options{Config: acme})
	hello, garbage := clientHello(t), bytes.Repeat([]byte("no TLS. "), 75)
	send := func(parts ...[]byte) func(net.Conn) {
		return func(c net.Conn) { _, _ = c.Write(bytes.Join(parts, nil)) }
	}
	ways := []func(net.Conn){
		send(garbage),
		send(hello),
		send(hello, garbage),
		send(hello, []byte{0x15, 3, 3, 0, 2, 2, 40}),                                             // a fatal alert
		func(c net.Conn) { _ = tls.Client(c, &tls.Config{ServerName: "acme.test"}).Handshake() }, // refuses the certificate
		func(c net.Conn) {
			_ = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
			_, _ = c.Write(garbage)
		},
	}
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for k := range each {
				conn, err := net.DialTimeout("tcp", []string{e.TLS, e.WSS}[k%2], 20*time.Second)
				if err != nil {
					t.Errorf("connection %d: %v", k, err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond)) // some handshakes wait for more that never comes
				ways[(k+w)%len(ways)](conn)
				switch k % 3 {
				case 0:
					_ = conn.(*net.TCPConn).SetLinger(0) // ends it by RST
				case 1:
					_, _ = io.Copy(io.Discard, conn)
				}
				_ = conn.Close()
			}
		})
	}
	all.Wait()
	alice, bob := registered(t, e, "1001", over("tls")), registered(t, e, "1002", over("tls"))
	converse(t, within(t, 30*time.Second), e, alice, bob, "1002")

	out, err := exec.CommandContext(t.Context(), "kamailio", "-c", "-f", filepath.Join(edge.Root(), "kamailio-cfg/kamailio.cfg")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "kamailio-mend.so_is_not_in_LD_PRELOAD") {
		t.Errorf("without the library: %v\n%s", err, out)
	}
}

// rsaNode puts a certificate with an RSA key where the edge in dir looks for its own.
func rsaNode(t *testing.T, dir string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sipio-node"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	path := filepath.Join(dir, "node.pem")
	err = errors.Join(err,
		os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(path+".key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// halting sends the first half of what it is given first, the rest when rest is closed, and keeps what it reads.
type halting struct {
	net.Conn
	half bool
	rest <-chan struct{}
	read []byte
}

func (h *halting) Write(b []byte) (int, error) {
	sent := 0
	if !h.half {
		h.half, sent = true, len(b)/2
		if _, err := h.Conn.Write(b[:sent]); err != nil {
			return 0, err
		}
		<-h.rest
	}
	n, err := h.Conn.Write(b[sent:])
	return sent + n, err
}

func (h *halting) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.read = append(h.read, b[:n]...)
	return n, err
}

// Kamailio's processes share neither random numbers nor the blinding of an RSA key, whatever process a handshake ends in: no two
// connections of an edge that has just started get the same ServerHello.random, and hundreds whose ClientHello comes in two halves, the
// second when Kamailio has given the connection back and hands it to another process (after 5 s), all get a signature that is right.
// Without kamailio-mend.so's part in it 16 connections have one private key, and handshakes fail, those of everybody, until a restart.
func TestTLS_ProcessesShareNoSecret(t *testing.T) {
	dir := t.TempDir()
	rsaNode(t, dir)
	e := start(t, edge.Options{Dir: dir, Config: acme})
	seen := map[string]bool{}
	for _, random := range halted(t, e, 64, 0) {
		if seen[random] {
			t.Fatalf("ServerHello.random %x came twice", random)
		}
		seen[random] = true
	}
	halted(t, e, 1000, 6*time.Second)
}

// halted makes so many handshakes side by side, which halt that long in the middle of their first message, and returns each one's ServerHello.random.
func halted(t *testing.T, e *edge.Edge, count int, halt time.Duration) (randoms []string) {
	t.Helper()
	rest, done := make(chan struct{}), make(chan error, count)
	conns := make([]*halting, count)
	for i := range conns {
		conn, err := net.Dial("tcp", e.TLS)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = &halting{Conn: conn, rest: rest}
		go func() { done <- tls.Client(conns[i], &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	}
	time.AfterFunc(halt, func() { close(rest) })
	failed := 0
	for range conns {
		if err := <-done; err != nil {
			failed++
			t.Logf("handshake: %v", err)
		}
	}
	if failed > 0 {
		t.Fatalf("%d of %d handshakes have failed", failed, count)
	}
	for _, c := range conns {
		randoms = append(randoms, string(c.read[11:43])) // behind the heads of record and message, and the version
	}
	return randoms
}
