package kamailio

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/netns"
)

// Whoever sends a scanner's signature in User-Agent or From is banned for an hour with his first packet and told once; nothing comes back, then
// or later, whatever he sends.
func TestGuard_ScannerIsBannedWithItsFirstPacket(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	for i, r := range []request{
		{agent: "friendly-scanner"}, {agent: "My SIPVicious 0.3"}, {from: `"SipVicious" <sip:100@1.1.1.1>`}, {method: "INVITE", from: "sipvicious <sip:7@acme.test>"},
		{method: "REGISTER", agent: "sundayddr"}, {from: "<sip:nm@nm>"}, {method: "ACK", agent: "friendly-scanner"}, {method: "NONSENSE", agent: "svmap"},
	} {
		p := s.from(t, fmt.Sprintf("10.99.0.%d", 10+i))
		p.answered()
		for range 5 {
			p.send(r)
		}
		p.dropped(s)
		line := s.door.expectLine(t, map[string]string{"type": "offence", "addr": p.ip, "tier": "ua", "kind": "scanner", "count": "1", "known": "0", "term": "3600"})
		t.Log(line.Get("evidence"))
		if got := s.linesOf(t, p.ip); len(got) != 1 {
			t.Errorf("%d lines about one ban: %v", len(got), got)
		}
		if tier, left := s.stored(t, "ipban", p.ip); tier != "ua" || left < 3580 || left > 3600 {
			t.Errorf("the ban is %q for %d s", tier, left)
		}
	}
	s.from(t, "10.99.0.99").answered()
}

// The list of signatures is replaced by RPC: a second later a sender that was let pass is banned, one that was on it is not, and a Call-ID is
// An address that sends more than PIKE_DENSITY requests in two seconds is banned for five minutes and told once; so is a /64 that takes
// turns with its addresses. The figures are those of docs/edge.md.
func TestGuard_FloodIsBannedAfterSoManyRequests(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "#!define PIKE_DENSITY 16\n")
	for i, ip := range []string{"10.99.0.10", "10.99.0.11", "10.99.0.12"} {
		p := s.from(t, ip)
		n := 0
		for p.send(request{}); n < 100 && p.hears(); p.send(request{}) {
			n++
		}
		t.Logf("%s: %d answered", ip, n)
		most := 2 * (16 + 4 + 4) // the border of two seconds may fall in between
		if n < 15 || n > most {
			t.Errorf("%d requests were answered before the ban, want 15 to %d", n, most)
		}
		p.dropped(s)
		s.door.expectLine(t, map[string]string{"type": "offence", "addr": ip, "tier": "pike", "kind": "requests", "count": "16", "known": "0", "term": "300"})
		if tier, left := s.stored(t, "ipban", ip); tier != "pike" || left < 280 || left > 300 || len(s.linesOf(t, ip)) != 1 {
			t.Errorf("%d: the ban is %q for %d s, told by %v", i, tier, left, s.door.guardLines(ip))
		}
	}
	turns := []*sender{s.from(t, "fd99:0:0:1::7"), s.from(t, "fd99:0:0:1::8")}
	n := 0
	for ; n < 300; n++ {
		p := turns[n%2]
		if p.send(request{}); !p.hears() {
			break
		}
	}
	t.Logf("two addresses of a /64: %d answered", n)
	if _, left := s.stored(t, "ipban", "fd99:0:0:1::/64"); left < 280 {
		t.Errorf("after %d requests the /64 is banned for %d s", n, left)
	}
	turns[0].dropped(s)
	turns[1].dropped(s)
	s.from(t, "fd99:0:0:2::7").answered()
}

// Trunks, protected networks, loopback, the node itself and the media server are never counted, dropped or banned, whatever they send and as often as they like.
func TestGuard_ProtectedIsNeverTouched(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "#!define PIKE_DENSITY 8\n")
	s.trunks(t, "1 10.99.0.10", "2 10.99.0.16 28", "2 fd99:0:0:2:: 64")
	for _, ip := range []string{"10.99.0.1", "10.99.0.10", "10.99.0.17", "10.99.0.31", "127.0.0.1", "127.9.9.9", "fd99:0:0:2::7"} {
		p := s.from(t, ip)
		for range 60 {
			p.send(request{agent: "friendly-scanner"})
			if code := p.code(); code != 200 {
				t.Fatalf("%s: %d", ip, code)
			}
		}
		for range 40 {
			p.send(request{method: "REGISTER"})
			if code := p.code(); code != 401 {
				t.Fatalf("%s: %d", ip, code)
			}
		}
	}
	s.from(t, "10.99.0.32").sendsAndHearsNothing(s, request{agent: "friendly-scanner"})
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.32", "kind": "scanner"})
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	if len(s.door.guard) != 1 {
		t.Errorf("told of protected ones: %v", s.door.guard)
	}
}

// A lifted address is answered at once, though it goes on flooding, and is not banned again while the grace lasts, not for a signature either; that
// stays unanswered. After the grace it is banned as ever.
func TestGuard_LiftAndGrace(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "#!define PIKE_DENSITY 8\n")
	p := s.from(t, "10.99.0.10")
	for p.send(request{}); p.hears(); p.send(request{}) {
	}
	s.rpc(t, "htable.delete", "ipban", p.ip)
	p.dropped(s) // still hot
	s.rpc(t, "htable.delete", "ipban", p.ip)
	s.rpc(t, "htable.setxs", "allow", p.ip, "1", 60)
	for range 60 {
		p.answered()
	}
	p.sendsAndHearsNothing(s, request{agent: "friendly-scanner"})
	p.answered()
	if tier, _ := s.stored(t, "ipban", p.ip); tier != "" {
		t.Errorf("banned (%s) in grace", tier)
	}
	s.rpc(t, "htable.setex", "allow", p.ip, 1)
	eventually(t, "the grace to end", func() error {
		if p.send(request{agent: "friendly-scanner"}); p.hears() {
			t.Fatal("a scanner is answered")
		}
		if tier, _ := s.stored(t, "ipban", p.ip); tier != "ua" {
			return fmt.Errorf("%s is not banned", p.ip)
		}
		return nil
	})
	p.dropped(s)
}

// A banned source's TCP connection is closed without a byte, and so is the handshake of a WebSocket. Where there are phones none is closed.
func TestGuard_ConnectionOfABannedSourceIsClosed(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	p := newSetAt(t, s, "tcp", user("scan"), "10.99.0.10:0")
	call := p.newCall("100")
	call.more = "User-Agent: sipvicious\r\n"
	call.send(call.write(1, ""))
	eventually(t, "the connection to be closed", p.isClosed)
	if got := p.waiting(); len(got) != 0 {
		t.Errorf("it hears %v", got)
	}
	again := newSetAt(t, s, "tcp", user("scan"), "10.99.0.10:0")
	again.send(again.newCall("100").write(1, ""))
	eventually(t, "the next connection to be closed", again.isClosed)
	if got := again.waiting(); len(got) != 0 {
		t.Errorf("it hears %v", got)
	}
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("10.99.0.10")}}).Dial("tcp", s.WSS)
	if err != nil {
		t.Fatal(err)
	}
	if code := get(t, tls.Client(conn, &tls.Config{InsecureSkipVerify: true}), "/", "sip"); code != 0 {
		t.Errorf("a banned source's handshake is answered %d", code)
	}
	known := newSetAt(t, s, "tcp", user("known"), "10.99.0.20:0")
	known.register(registration{})
	call = known.newCall("100")
	call.more = "User-Agent: sipvicious\r\n"
	call.send(call.write(1, ""))
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.20", "kind": "scanner", "known": "1"})
	if m := known.register(registration{}); m.Code != 200 {
		t.Error(m.StartLine)
	}
}

// While the door is slow to take what the guard has to say, events go on, and nothing of the guard waits: its lines are lost, not kept.
func TestGuard_HoldsUpNoEvent(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	s.door.hangGuard(true)
	for i := range 20 {
		s.from(t, fmt.Sprintf("10.99.0.%d", 100+i)).sendsAndHearsNothing(s, request{agent: "friendly-scanner"})
	}
	b := registered(t, s, "udp", user("b"))
	began := time.Now()
	s.door.expectEvent(t, api.EventContactSaved, "aor", "sip:"+b.user+"@acme.test")
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("the event came after %v", took)
	}
	s.door.hangGuard(false)
	next := 120
	eventually(t, "lines again", func() error {
		p := s.from(t, fmt.Sprintf("10.99.0.%d", next))
		next++
		p.sendsAndHearsNothing(s, request{agent: "friendly-scanner"})
		if len(s.door.guardLines("10.99.0.120")) == 0 && len(s.door.guardLines(p.ip)) == 0 {
			return fmt.Errorf("none of %s", p.ip)
		}
		return nil
	})
}
