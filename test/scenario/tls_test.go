package scenario

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
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
	// (docs/adr/0027-openssl-and-fork.md).
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
				conn, err := net.DialTimeout("tcp", []string{e.TLS, e.WSS}[k%2], time.Second)
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
	if err == nil || !strings.Contains(string(out), "openssl-fork.so_is_not_in_LD_PRELOAD") {
		t.Errorf("without the library: %v\n%s", err, out)
	}
}
