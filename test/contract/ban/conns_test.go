package ban

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/netns"
)

// answering listens for TCP at the guarded port, over both versions of IP, and keeps every connection.
func (f *field) answering() {
	f.t.Helper()
	for _, at := range []string{"10.9.0.1:5060", "[fd09::1]:5060"} {
		ln, err := net.Listen("tcp", at)
		f.must(err)
		f.t.Cleanup(func() { _ = ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				f.t.Cleanup(func() { _ = conn.Close() })
				go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
			}
		}()
	}
}

// A SYN is tried again after a second: who is to be let in comes in before, and who is refused has given up long before.
const letIn, refused = 900 * time.Millisecond, 300 * time.Millisecond

// dial opens a connection from an address, nil when nothing answers its first SYN.
func (f *field) dial(from string) net.Conn { return f.dialWithin(from, letIn) }

// dialWithin does the same in another time.
func (f *field) dialWithin(from string, patience time.Duration) (conn net.Conn) {
	to := "10.9.0.1:5060"
	if strings.Contains(from, ":") {
		to = "[fd09::1]:5060"
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	_ = f.beside.Do(func() (err error) { conn, err = dialer.DialContext(context.Background(), "tcp", to); return err })
	if conn != nil {
		f.t.Cleanup(func() { _ = conn.Close() })
	}
	return conn
}

func TestConnections_AreCountedBySource(t *testing.T) {
	// Proves that each open connection counts at its address, or its /64, and no more once it is closed; and that what only asks for
	// one, or is at another port, is none.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	f.answering()
	other, err := net.Listen("tcp", "10.9.0.1:5999")
	f.must(err)
	defer other.Close()
	f.must(f.beside.Do(func() error {
		conn, err := net.Dial("tcp", "10.9.0.1:5999")
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
		return err
	}))
	var conns []net.Conn
	for addr, n := range map[string]int{"10.9.0.2": 3, "10.9.0.3": 1, "fd09:0:0:1::2": 2, "fd09:0:0:1::3": 2} {
		for range n {
			conn := f.dial(addr)
			if conn == nil {
				t.Fatalf("%s does not come in", addr)
			}
			if addr == "10.9.0.3" {
				conns = append(conns, conn)
			}
		}
	}
	want := map[netip.Prefix]int{unit("10.9.0.2"): 3, unit("10.9.0.3"): 1, unit("fd09:0:0:1::2"): 4}
	f.counted(want)
	f.must(conns[0].Close())
	delete(want, unit("10.9.0.3"))
	f.counted(want)
}

func TestClose_EndsSoManyOfASource(t *testing.T) {
	// Proves that so many connections of each source end, at both ends, and none of anybody else or of a known address.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	f.answering()
	var conns []net.Conn
	for range 5 {
		conns = append(conns, f.dial("10.9.0.2"))
		f.dial("10.9.0.3")
		f.dial("fd09:0:0:1::2")
	}
	f.counted(map[netip.Prefix]int{unit("10.9.0.2"): 5, unit("10.9.0.3"): 5, unit("fd09:0:0:1::2"): 5})
	f.must(f.table.Known(unit("10.9.0.3")))
	f.must(f.table.Close(map[netip.Prefix]int{unit("10.9.0.2"): 4, unit("10.9.0.3"): 5, unit("fd09:0:0:1::2"): 9, unit("10.9.0.4"): 1}))
	f.counted(map[netip.Prefix]int{unit("10.9.0.2"): 1, unit("10.9.0.3"): 5})
	ended := 0
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			ended++
		}
	}
	if ended != 4 {
		t.Errorf("%d of the senders hear of it, want 4", ended)
	}
}

// counted waits until as many connections are counted.
func (f *field) counted(want map[netip.Prefix]int) {
	f.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got, err := f.table.Connections()
		f.must(err)
		same := len(got) == len(want)
		for addr, n := range want {
			same = same && got[addr] == n
		}
		if same {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("counted %v, want %v", got, want)
		}
	}
}

func TestRefuse_KeepsNewConnectionsOut(t *testing.T) {
	// Proves that a source that is refused opens no more connections while those that it has go on, that refusing strangers leaves known
	// addresses in, that a protected address is never refused, that what was refused is counted, and that it ends by itself.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	f.answering()
	comes := func(what, addr string, want bool) {
		t.Helper()
		patience := refused
		if want {
			patience = letIn
		}
		if got := f.dialWithin(addr, patience) != nil; got != want {
			t.Errorf("%s: a connection of %s is let in: %t, want %t", what, addr, got, want)
		}
	}
	old := f.dial("10.9.0.2")
	f.must(f.table.Protect([]netip.Prefix{netip.MustParsePrefix("10.9.0.4/32")}))
	f.must(f.table.Known(unit("10.9.0.3"), unit("10.9.0.2")))
	f.must(f.table.Refuse([]netip.Prefix{unit("10.9.0.2"), unit("10.9.0.4"), unit("fd09:0:0:1::2")}, false))
	comes("too many, though known", "10.9.0.2", false)
	comes("another address of the same site", "fd09:0:0:1::3", false)
	comes("somebody else", "fd09:0:0:2::2", true)
	comes("protected", "10.9.0.4", true)
	if refused, err := f.table.Refused(); err != nil || refused != 2 {
		t.Errorf("%d are counted as refused, %v; want 2", refused, err)
	}
	if _, err := old.Write([]byte("still here")); err != nil {
		t.Error(err)
	}
	_ = old.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(old, make([]byte, 10)); err != nil {
		t.Errorf("a connection that stands: %v", err)
	}
	f.must(f.table.Refuse(nil, true))
	comes("a stranger", "fd09:0:0:2::2", false)
	comes("known", "10.9.0.3", true)
	comes("protected", "10.9.0.4", true)
	out, err := exec.Command("nft", "list", "counters").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "counter refused") || !strings.Contains(string(out), "packets 3 ") {
		t.Errorf("nft shows %s, %v", out, err)
	}
	for deadline := time.Now().Add(15 * time.Second); f.dialWithin("fd09:0:0:2::2", refused) == nil || f.dialWithin("10.9.0.2", refused) == nil; {
		if time.Now().After(deadline) {
			t.Fatal("it does not end")
		}
	}
}
