package scenario

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/netns"
	"github.com/sipio/sipio/test/phone"
)

// forge is a socket of a namespace that sends in the name of an address that is nobody's.
func (g *guarded) forge(ns *netns.NS, addr string) net.PacketConn {
	g.t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_IP, syscall.IP_TRANSPARENT, 1) })
		return err
	}}
	var conn net.PacketConn
	err := ns.Do(func() (err error) {
		conn, err = lc.ListenPacket(context.Background(), "udp4", addr+":5060")
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// challenge is the challenge that a REGISTER of a user gets.
func (a *attacker) challenge(user string) phone.Challenge {
	a.g.t.Helper()
	a.answers(time.Millisecond)
	a.send("REGISTER", user, "Phone/1.0")
	_ = a.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 4096)
	n, err := a.conn.Read(buf)
	if err != nil {
		a.g.t.Fatal(err)
	}
	m, err := phone.ParseRaw(buf[:n])
	if err != nil {
		a.g.t.Fatal(err)
	}
	c, err := m.Challenge()
	if err != nil {
		a.g.t.Fatal(err)
	}
	return c
}

// guess writes a REGISTER of a user with a password, answering a challenge for the nc-th time, as it comes from host.
func guess(c phone.Challenge, user, password, host string, nc int) []byte {
	cred := c.Answer(user, password, "REGISTER", "sip:acme.test")
	cred.NC = uint32(nc)
	id := fmt.Sprintf("guess-%d-%d", nc, time.Now().UnixNano())
	return fmt.Appendf(nil, "REGISTER sip:acme.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@acme.test>;tag=g\r\nTo: <sip:%[3]s@acme.test>\r\n"+
		"Call-ID: %[2]s\r\nCSeq: 2 REGISTER\r\nContact: <sip:%[3]s@10.9.0.10:5060>\r\nAuthorization: %[4]s\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n", host, id, user, cred.Header())
}

func TestGuard_GuessesEndWhereverTheyComeFrom(t *testing.T) {
	// Proves that a nonce is of no use in a forged name, not even with the right password, and that who guesses at the passwords of others from
	// the address of a phone gets 20, while that phone goes on; that operators see it, and that a lift ends it.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 1)
	home := g.net.Join(t, "10.9.0.10/24")
	a := g.attacker(home, "10.9.0.10")
	nonce := a.challenge("1001")
	for i := range 51 {
		password := fmt.Sprintf("wrong%d", i)
		if i == 50 {
			password = "secret-1001"
		}
		host := fmt.Sprintf("10.9.0.%d", 100+i)
		if _, err := g.forge(home, host).WriteTo(guess(nonce, "1001", password, host+":5060", i+1), a.node()); err != nil {
			t.Fatal(err)
		}
	}
	for range 16 { // behind what its workers have in hand
		a.ask("OPTIONS", "1001")
	}
	if got := g.rpc(g.Edge, "htable.get", "aorfail", "1001@acme.test"); !strings.Contains(got, "doesn't exist") {
		t.Errorf("guesses in forged names were judged: %s", got)
	}
	if got := g.rpc(g.Edge, "ul.lookup", "location", "1001@acme.test"); !strings.Contains(got, "not found") {
		t.Errorf("a contact was saved in a forged name: %s", got)
	}

	office := g.net.Join(t, "10.9.0.50/24")
	alice := g.phoneIn(office, "10.9.0.50", "1001")
	bob := g.phoneIn(office, "10.9.0.50", "1002")
	insider := g.attacker(office, "10.9.0.50")
	for i := range 40 {
		user := fmt.Sprintf("77%02d", i)
		c := insider.challenge(user)
		if _, err := insider.conn.WriteTo(guess(c, user, "1234", insider.conn.LocalAddr().String(), 1), insider.node()); err != nil {
			t.Fatal(err)
		}
		if got, want := insider.final(), map[bool]string{true: "SIP/2.0 403", false: "SIP/2.0 503"}[i < 20]; !strings.HasPrefix(got, want) {
			t.Errorf("guess %d: %q, want %s", i, got, want)
		}
	}
	g.spared("an office", "10.9.0.50")
	converse(t, within(t, 30*time.Second), g.Edge, alice, bob, "1002")
	eventually(t, t.Context(), "the list of offenders", func() error {
		if said := g.sipio("ban", "list", "--offenders"); !containsAll(said, "10.9.0.50", api.OffenceSpray, " 20 ", "REGISTER sip:acme.test") {
			return fmt.Errorf("it says\n%s", said)
		}
		return nil
	})
	if _, err := g.Request(t.Context(), "DELETE", "/security/bans?addr=10.9.0.50", "", nil); err != nil {
		t.Fatal(err)
	}
	c := insider.challenge("7799")
	if _, err := insider.conn.WriteTo(guess(c, "7799", "1234", insider.conn.LocalAddr().String(), 1), insider.node()); err != nil {
		t.Fatal(err)
	}
	if got := insider.final(); !strings.HasPrefix(got, "SIP/2.0 403") {
		t.Errorf("after the lift: %q", got)
	}
}
