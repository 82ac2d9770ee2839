package scenario

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// Every message of RFC 4475 is sent to the real Kamailio, over UDP and over TCP: it lives, goes on answering,
// loses no worker, and the brain logs no fault.
func TestTorture_RFC4475(t *testing.T) {
	e := start(t, edge.Options{Config: acme})
	files, err := filepath.Glob("testdata/rfc4475/*/*.dat")
	if err != nil || len(files) < 49 {
		t.Fatalf("found %d messages (%v), want the 49 of the RFC", len(files), err)
	}
	for _, file := range files {
		message, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, transport := range []string{"udp", "tcp"} {
			w := dialWire(t, e, transport)
			if err := w.write(message); err != nil && transport == "udp" {
				t.Fatalf("%s: %v", file, err)
			}
			w.conn.Close()
		}
		if _, err := e.Options(2 * time.Second); err != nil {
			t.Fatalf("after %s: %v", file, err)
		}
	}
	ctx := within(t, 20*time.Second)
	alice, bob := registered(t, e, "1001"), registered(t, e, "1002")
	a, b := connect(t, ctx, alice, bob, "1002")
	talk(t, ctx, a, b)
	hangUp(t, ctx, e, a, b)
	for _, line := range strings.Split(e.Brain.Tail(400)+e.Node.Tail(400), "\n") {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") {
			t.Errorf("a fault was logged: %s", line)
		}
	}
	if log := e.Kamailio.Tail(400); strings.Contains(log, "CRITICAL") || strings.Contains(log, "child process") {
		t.Errorf("Kamailio suffered:\n%s", log)
	}
}

// Line breaks and header lines smuggled through names and numbers never arrive as headers at the called phone,
// and bytes that are no text do not stop the call's refusal from being a clean answer.
func TestInjection_NothingOfACallerBecomesAHeader(t *testing.T) {
	tails(t, node)
	bob := registered(t, node, "1002")
	for _, name := range []string{
		`"a%0d%0aX-Evil: 1"`, "\"a\r\n\tX-Evil: 1\"", `"\"; tag=evil"`, "\"\xff\xfe\"", `"<sip:evil@acme.test>"`, `"` + strings.Repeat("n", 900) + `"`,
	} {
		w := dialWire(t, node, "udp")
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		got := make(chan *phone.Incoming, 1)
		go func() {
			select {
			case in := <-bob.Incoming():
				got <- in
				_ = in.Reject(486, "Busy Here")
			case <-ctx.Done():
			}
		}()
		final := invite(t, w, name, "1002")
		if final.Code < 400 {
			t.Errorf("%q: %s", name, final.StartLine)
		}
		select {
		case in := <-got:
			if strings.Contains(in.InviteRequest(), "\nX-Evil") || in.FromURI() != "sip:1001@acme.test" || in.FromDisplay() != "Alice" {
				t.Errorf("%q reached the called phone as\n%s", name, in.InviteRequest())
			}
		default: // refused before it rang: as good
		}
		cancel()
	}
}

// invite calls target as 1001 with a From display name taken as it stands, and acknowledges the refusal.
func invite(t *testing.T, w *wire, display, target string) *phone.RawMessage {
	t.Helper()
	r := alice()
	send := func(cseq, auth string) *phone.RawMessage {
		branches++
		m := strings.NewReplacer("$user", "1001", "$target", target, "$local", w.local, "$id", r.callID, "$cseq", cseq,
			"$branch", "z9hG4bKinv"+r.callID+cseq, "$from", display, "$auth", auth).Replace(
			"INVITE sip:$target@acme.test SIP/2.0\r\nVia: SIP/2.0/UDP $local;branch=$branch;rport\r\nMax-Forwards: 70\r\n" +
				"From: $from <sip:1001@acme.test>;tag=$id\r\nTo: <sip:$target@acme.test>\r\nCall-ID: $id\r\nCSeq: $cseq INVITE\r\n" +
				"Contact: <sip:1001@$local>\r\n$authContent-Length: 0\r\n\r\n")
		final := w.exchange(t, m)
		ack := strings.NewReplacer("INVITE sip:", "ACK sip:", " INVITE\r\n", " ACK\r\n", "To: <sip:"+target+"@acme.test>", "To: "+final.Header("To")).Replace(m)
		if err := w.write([]byte(ack)); err != nil {
			t.Fatal(err)
		}
		return final
	}
	first := send("1", "")
	if first.Code != 407 {
		return first
	}
	c, err := first.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	cred := c.Answer("1001", "secret-1001", "INVITE", "sip:"+target+"@acme.test")
	return send("2", "Proxy-Authorization: "+cred.Header()+"\r\n")
}
