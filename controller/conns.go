package controller

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of the connections that a brain has at once. A stranger is an address outside allow-peers and trusted-proxies whose
// credential has not been good yet over this connection.
const (
	maxConns = 8192 // or half of the descriptors that the process may have, if that is less
	// One address (of IPv6 its /64) has at most a quarter of all; so have all strangers together, and one of these a sixteenth.
	addressShare, strangersShare, strangerShare = 4, 4, 16
	// strangerIdle is how long a stranger's connection is kept between two questions.
	strangerIdle = 3 * time.Second
)

// conns counts the connections to a brain, over all its listeners, and closes those beyond its bounds.
type conns struct {
	most  int
	known func(netip.Addr) bool // who is no stranger

	mu        sync.Mutex // guards what is below
	all       int
	strangers int
	of        map[netip.Prefix]int
}

func newConns(cfg *Config) *conns {
	most := maxConns
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur/2 < maxConns {
		most = int(files.Cur / 2)
	}
	return &conns{most: most, of: map[netip.Prefix]int{}, known: func(addr netip.Addr) bool {
		for _, nets := range [...][]netip.Prefix{cfg.AllowPeers, cfg.TrustedProxies} {
			for _, p := range nets {
				if p.Contains(addr) {
					return true
				}
			}
		}
		return false
	}}
}

// listener is l within the bounds.
func (c *conns) listener(l net.Listener) net.Listener { return &boundListener{l, c} }

type boundListener struct {
	net.Listener
	conns *conns
}

// Accept is net.Listener's. What is beyond the bounds is closed at once: whoever waited in the backlog would keep others out.
func (l *boundListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b := l.conns.admit(c); b != nil {
			return b, nil
		}
		_ = c.Close()
	}
}

// admit counts a connection, nil when there is no room for it.
func (c *conns) admit(conn net.Conn) *boundConn {
	b := &boundConn{Conn: conn, conns: c}
	here, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		addr := ap.Addr().Unmap().WithZone("")
		// What comes from the very address that it goes to is this machine, the watchdog for one.
		b.stranger = !c.known(addr) && addr != here.Addr().Unmap().WithZone("")
		bits := addr.BitLen()
		if addr.Is6() {
			bits = 64
		}
		b.key = netip.PrefixFrom(addr, bits).Masked()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	each := c.most / addressShare
	if b.stranger {
		each = c.most / strangerShare
	}
	if c.all >= c.most || c.of[b.key] >= each || b.stranger && c.strangers >= c.most/strangersShare {
		return nil
	}
	c.all++
	c.of[b.key]++
	if b.stranger {
		c.strangers++
	}
	return b
}

// boundConn is a connection that counts until it is closed.
type boundConn struct {
	net.Conn
	conns *conns
	key   netip.Prefix

	stranger, closed bool        // guarded by conns.mu
	idle             *time.Timer // the same; nil = it is not idle, or no stranger's
}

// Close is net.Conn's.
func (b *boundConn) Close() error {
	b.conns.mu.Lock()
	if !b.closed {
		b.closed = true
		b.stop()
		b.conns.all--
		if b.conns.of[b.key]--; b.conns.of[b.key] == 0 {
			delete(b.conns.of, b.key)
		}
		if b.stranger {
			b.conns.strangers--
		}
	}
	b.conns.mu.Unlock()
	return b.Conn.Close()
}

// stop ends the time of idleness. conns.mu is held.
func (b *boundConn) stop() {
	if b.idle != nil {
		b.idle.Stop()
		b.idle = nil
	}
}

// believed notes that a credential was good.
func (b *boundConn) believed() {
	b.conns.mu.Lock()
	defer b.conns.mu.Unlock()
	if b.stranger && !b.closed {
		b.stranger = false
		b.conns.strangers--
	}
}

// state is http.Server's ConnState.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	b := bound(conn)
	if b == nil || s != http.StateIdle && s != http.StateActive {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b.stop()
	if s == http.StateIdle && b.stranger && !b.closed {
		b.idle = time.AfterFunc(strangerIdle, func() { _ = b.Close() })
	}
}

// bound is the counted connection within one, nil when there is none.
func bound(conn net.Conn) *boundConn {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	b, _ := conn.(*boundConn)
	return b
}

type connKey struct{}

// context is http.Server's ConnContext.
func (c *conns) context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, bound(conn))
}

// handler is h, which closes the connection of whom it refuses, and believes it when h has believed a credential.
func (c *conns) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := r.Context().Value(connKey{}).(*boundConn)
		shown := r.Header.Get("Authorization") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
		if r.URL.Path == api.PathHealth { // answers everybody
			shown = false
		}
		h.ServeHTTP(&answer{ResponseWriter: w, conn: b, shown: shown}, r)
	})
}

// answer is a ResponseWriter that looks at the status.
type answer struct {
	http.ResponseWriter
	conn  *boundConn
	shown bool // a credential
	begun bool
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader is http.ResponseWriter's.
func (a *answer) WriteHeader(status int) {
	switch {
	case a.begun || status < http.StatusOK:
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusTooManyRequests:
		a.Header().Set("Connection", "close")
	case status < http.StatusBadRequest && a.shown && a.conn != nil:
		a.conn.believed()
	}
	a.begun = a.begun || status >= http.StatusOK
	a.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's.
func (a *answer) Write(p []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(p)
}
