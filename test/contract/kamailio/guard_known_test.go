package kamailio

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/test/netns"
)

// A caller writes the To of his call, and with it the From of what the callee sends within it. A scanner's name there does the callee no harm,
// known or not: his BYE arrives, and when its answer is lost his second one too. Outside of a call, or with a forged signature of one, it is what it is.
func TestGuard_CallerCannotHaveTheCalleeBanned(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	for i, known := range []bool{true, false} {
		ip := fmt.Sprintf("10.99.0.%d", 60+i)
		a, b := at(t, s, fmt.Sprintf("10.99.0.%d", 50+i), user("a")), at(t, s, ip, user("b"))
		if m := b.register(registration{}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
		call := a.newCall(b.user)
		call.to = `"sipvicious" <sip:` + b.user + `@acme.test>`
		s.door.obey(a.user, ring(to(1, b.user)))
		_, callee, _ := talk(call, b)
		if !strings.Contains(callee.from, "sipvicious") {
			t.Fatalf("the callee is %s", callee.from)
		}
		if !known { // as an hour later
			s.rpc(t, "htable.delete", "known", ip)
		}
		callee.cseq++
		bye := callee.write("BYE", callee.cseq, "")
		callee.send(bye)
		got := a.request("BYE")
		callee.send(bye)
		a.reply(got, 200, "OK")
		if m := b.final(call.callID, fmt.Sprintf("%d BYE", callee.cseq)); m.Code != 200 {
			t.Error(m.StartLine)
		}
		lines := s.linesOf(t, ip)
		if tier, _ := s.stored(t, "ipban", ip); tier != "" {
			t.Errorf("the callee is banned: %s", tier)
		}
		for _, line := range lines {
			if line.Get("type") != "known" {
				t.Errorf("told %v", line)
			}
		}
		for j, routes := range [][]string{nil, {signature.ReplaceAllString(callee.routes[0], "cs="+strings.Repeat("1", 24))}} {
			stranger := at(t, s, fmt.Sprintf("10.99.0.%d", 70+2*i+j), b.user)
			forged := *callee
			forged.set, forged.routes = stranger, routes
			forged.send(forged.write("BYE", 200, ""))
			s.door.expectLine(t, map[string]string{"type": "offence", "addr": fmt.Sprintf("10.99.0.%d", 70+2*i+j), "kind": "scanner", "term": "3600"})
		}
	}
}

// The address from which a trunk answers is known, whatever name led there: by a call and by a ping. So a scanner's packet that is forged in
// its name has it not banned. An answer to nothing makes nobody known.
func TestGuard_TrunkThatAnswersIsKnown(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	a, trunk := at(t, s, "10.99.0.50", user("a")), at(t, s, "10.99.0.40", "ta")
	s.door.obey(a.user, outward(over(trunk, "ta")))
	a.newCall("4930123").dial()
	trunk.reply(trunk.request("INVITE"), 100, "Trying")
	s.door.expectLine(t, map[string]string{"type": "known", "addr": "10.99.0.40", "aor": "sip:"})

	conn, err := net.ListenPacket("udp", "10.99.0.41:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pinged := &carrier{conn, conn.LocalAddr().String()}
	go pinged.next(t, 404, "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := kam.Request{Method: "OPTIONS", URI: "sip:carrier.test", NextHop: "sip:" + pinged.addr + ";transport=udp", From: "sip:keepalive@sipio.invalid", To: "sip:carrier.test",
		CallID: kam.NewCallID(), CSeq: 1}
	if got, err := newUAC(t, s).Send(ctx, r); err != nil || got.Code != 404 {
		t.Fatalf("%+v, %v", got, err)
	}
	s.door.expectLine(t, map[string]string{"type": "known", "addr": "10.99.0.41", "aor": "sip:"})

	for _, ip := range []string{"10.99.0.40", "10.99.0.41"} {
		s.from(t, ip).sendsAndHearsNothing(s, request{agent: "friendly-scanner"})
		s.door.expectLine(t, map[string]string{"type": "offence", "addr": ip, "kind": "scanner", "known": "1", "term": "0"})
		if tier, _ := s.stored(t, "ipban", ip); tier != "" {
			t.Errorf("%s is banned: %s", ip, tier)
		}
	}

	liar := s.from(t, "10.99.0.42")
	for _, id := range []string{"OPTIONS", "INVITE"} {
		reply := "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP " + s.SIP + ";branch=z9hG4bKcafe.1234567890123456789012345678901.0\r\nFrom: <sip:a@x.test>;tag=1\r\nTo: <sip:b@x.test>;tag=2\r\n" +
			"Call-ID: tr-1\r\nCSeq: 1 " + id + "\r\nContent-Length: 0\r\n\r\n"
		if _, err := liar.conn.Write([]byte(reply)); err != nil {
			t.Fatal(err)
		}
	}
	s.settled(t)
	if since, _ := s.stored(t, "known", "10.99.0.42"); since != "" {
		t.Error("an answer to nothing makes known")
	}
}

// As many networks as a policy may have are protected, the last like the first.
func TestGuard_ProtectsThousandsOfNetworks(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	var lines []string
	for i := range 4999 {
		lines = append(lines, fmt.Sprintf("1 11.%d.%d.0 24", i>>8, i&255), fmt.Sprintf("2 12.%d.%d.0 24", i>>8, i&255))
	}
	for i := range 10_000 {
		lines = append(lines, fmt.Sprintf("2 13.%d.%d.0 24", i>>8, i&255))
	}
	s.trunks(t, append(lines, "2 10.99.0.32 28")...)
	p := s.from(t, "10.99.0.33")
	for range 5 {
		p.send(request{agent: "friendly-scanner"})
		if code := p.code(); code != 200 {
			t.Fatal(code)
		}
	}
	s.from(t, "10.99.0.31").sendsAndHearsNothing(s, request{agent: "friendly-scanner"})
	if tier, _ := s.stored(t, "ipban", p.ip); tier != "" {
		t.Errorf("banned: %s", tier)
	}
}
