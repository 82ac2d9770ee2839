package controller

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// from opens a connection to the brain from an address of this machine.
func (r *running) from(t *testing.T, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}, Timeout: 10 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", r.addrs.Plain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func strange(c *Config) { c.AllowPeers = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} }

// 3,000 connections of strangers who ask something that needs no key, and keep what they get, leave room for everybody else.
func TestServe_StrangersLeaveRoom(t *testing.T) {
	r := start(t, t.TempDir(), strange)
	r.furnish(t)
	var open []net.Conn
	for i := range 3000 {
		c := r.from(t, fmt.Sprintf("127.0.1.%d", 1+i%2))
		_, _ = io.WriteString(c, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
		open = append(open, c)
		if i%100 == 0 { // meanwhile
			answersNode(t, r)
		}
	}
	answersNode(t, r)
	began := time.Now()
	for _, c := range open {
		_ = c.SetReadDeadline(began.Add(idleTimeout / 2))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatal("a stranger keeps his connection")
		}
	}
	if res, err := http.ReadResponse(bufio.NewReader(asked(t, r, "127.0.1.1", "")), nil); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after that a stranger gets %v, %v", res, err)
	}
}

func answersNode(t *testing.T, r *running) {
	t.Helper()
	began := time.Now()
	if status := r.call(t, "GET", api.PathHealth, "", "", nil); status != http.StatusOK {
		t.Fatalf("/health: %d", status)
	}
	var auth api.AuthReply
	r.ask(t, api.PathAuth, digest("REGISTER", "1001", "secret-1001"), &auth)
	if took := time.Since(began); auth.Action != api.ActionAccept || took > 3*time.Second {
		t.Fatalf("a node's question: %+v after %s", auth, took)
	}
}

// asked is a connection over which GET /v1/accounts was asked.
func asked(t *testing.T, r *running, addr, key string) net.Conn {
	t.Helper()
	c := r.from(t, addr)
	line := ""
	if key != "" {
		line = "Authorization: Bearer " + key + "\r\n"
	}
	_, _ = io.WriteString(c, "GET /v1/accounts HTTP/1.1\r\nHost: x\r\n"+line+"\r\n")
	return c
}

// Who is refused loses the connection at once; whose key was good keeps it longer than a stranger.
func TestServe_ClosesWhoIsRefused(t *testing.T) {
	r := start(t, t.TempDir(), strange)
	c := asked(t, r, "127.0.1.1", "")
	_ = c.SetReadDeadline(time.Now().Add(strangerIdle - 100*time.Millisecond))
	if text, err := io.ReadAll(c); err != nil || !strings.Contains(string(text), "Connection: close") {
		t.Errorf("a refused stranger's connection stands: %v\n%s", err, text)
	}
	c = asked(t, r, "127.0.1.1", r.admin)
	_ = c.SetReadDeadline(time.Now().Add(2 * strangerIdle))
	if text, err := io.ReadAll(c); err == nil || !strings.Contains(string(text), "200 OK") {
		t.Errorf("the connection of a good key is closed: %s", text)
	}
}

// watched tells when the other side has closed.
type watched struct {
	net.Conn
	once sync.Once
	gone chan struct{}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.once.Do(func() { close(w.gone) })
	}
	return n, err
}

// Over TLS too a stranger's connection ends soon, in HTTP/1.1 and HTTP/2, and that of a good key does not.
func TestServe_StrangersOverTLS(t *testing.T) {
	b := newGateBench(t)
	for _, two := range []bool{false, true} {
		for _, path := range []string{api.PathHealth, "/v1/accounts"} {
			w := &watched{gone: make(chan struct{})}
			tr := &http.Transport{ForceAttemptHTTP2: two, TLSClientConfig: &tls.Config{RootCAs: b.roots}, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
				w.Conn, err = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.1.1")}}).DialContext(ctx, network, addr)
				return w, err
			}}
			t.Cleanup(tr.CloseIdleConnections)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+b.addrs.TLS+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+b.admin)
			res, err := tr.RoundTrip(req)
			if err != nil || res.StatusCode != 200 || res.ProtoMajor == 2 != two {
				t.Fatalf("%s: %+v, %v", path, res, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			want, patience := path == api.PathHealth, strangerIdle+2*time.Second
			if want {
				patience = idleTimeout / 2
			}
			closed := false
			select {
			case <-w.gone:
				closed = true
			case <-time.After(patience):
			}
			if closed != want {
				t.Errorf("HTTP/2 %t, %s: closed %t, want %t", two, path, closed, want)
			}
		}
	}
}

// One address, of IPv6 its /64, has its share and no more, all strangers together theirs; who is known finds room beside them; what is closed counts no more.
func TestConns_HoldsItsBounds(t *testing.T) {
	cfg := Config{AllowPeers: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	c := newConns(&cfg)
	c.most = 64
	got := map[string]int{}
	var kept []*boundConn
	for i := range 100 {
		for _, addr := range []string{"[2001:db8::%d]:1", "198.51.100.1:%d", "198.51.100.2:%d", "198.51.100.3:%d", "198.51.100.4:%d", "192.0.2.1:%d", "192.0.2.2:%d"} {
			if b := c.admit(fakeConn{remote: fmt.Sprintf(addr, i+1)}); b != nil {
				got[addr]++
				kept = append(kept, b)
			}
		}
	}
	if fmt.Sprint(got) != "map[192.0.2.1:%d:16 192.0.2.2:%d:16 198.51.100.1:%d:3 198.51.100.2:%d:3 198.51.100.3:%d:3 198.51.100.4:%d:3 [2001:db8::%d]:1:4]" {
		t.Errorf("of 64 have %v", got)
	}
	kept[0].believed()
	for _, b := range kept {
		_, _ = b.Close(), b.Close()
	}
	if c.all != 0 || c.strangers != 0 || len(c.of) != 0 {
		t.Errorf("all are closed, and %d of all, %d of strangers, %v are left", c.all, c.strangers, c.of)
	}
}

type fakeConn struct {
	net.Conn
	remote string
}

func (f fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.remote))
}
func (f fakeConn) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.99:8443"))
}
func (f fakeConn) Close() error { return nil }
