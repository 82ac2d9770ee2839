package own

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// A line carries TCP to a server and can be frozen: nothing is lost, nothing arrives.
type line struct {
	l  net.Listener
	to string

	mu     sync.Mutex
	cond   *sync.Cond
	frozen bool
}

func newLine(t testing.TB, url string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &line{l: l, to: strings.TrimPrefix(url, "nats://")}
	ln.cond = sync.NewCond(&ln.mu)
	t.Cleanup(func() { _ = l.Close(); ln.freeze(false) })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", ln.to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go ln.carry(near, far)
			go ln.carry(far, near)
		}
	}()
	return ln
}

func (l *line) url() string { return "nats://" + l.l.Addr().String() }

func (l *line) freeze(on bool) {
	l.mu.Lock()
	l.frozen = on
	l.mu.Unlock()
	l.cond.Broadcast()
}

func (l *line) carry(from, to net.Conn) {
	defer func() { _ = from.Close(); _ = to.Close() }()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		for l.frozen {
			l.cond.Wait()
		}
		l.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
