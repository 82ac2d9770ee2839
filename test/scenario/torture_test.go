package scenario

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
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
		if _, err := e.Options(10 * time.Second); err != nil {
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

// The messages of RFC 5118 reach the real Kamailio over IPv6: what is well-formed is answered where it came from, what is
// not is refused or dropped, and it goes on answering.
func TestTorture_RFC5118(t *testing.T) {
	tails(t, node)
	kamailio, sip, err := node.Variant(within(t, 20*time.Second), "ipv6", func(path, content string) string {
		if path == "node.cfg" {
			content = ipv4Listener.ReplaceAllString(content, "listen=udp:[::1]:$1\nlisten=tcp:[::1]:$1\n$0")
		}
		return content
	})
	if err != nil {
		t.Fatal(err)
	}
	defer kamailio.Stop()
	_, port, _ := net.SplitHostPort(sip)
	at := net.JoinHostPort("::1", port)
	// What the RFC calls valid is to be answered. A port inside the brackets (4.3) is an address of its own.
	answered := map[string]bool{
		"4.1-ipv6-good": true, "4.3-port-ambiguous": true, "4.4-port-unambiguous": true, "4.5-received-with-delimiters": true,
		"4.5-received-without-delimiters": true, "4.6-sdp": true, "4.7-many-addresses": true, "4.8-sdp-of-both-families": true,
		"4.9-mapped": true, "4.10-two-colons": true,
	}
	files, err := filepath.Glob("testdata/rfc5118/*.dat")
	if err != nil || len(files) != 12 {
		t.Fatalf("found %d messages (%v), want 12", len(files), err)
	}
	for _, file := range files {
		message, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".dat")
		for _, network := range []string{"udp", "tcp"} {
			// The same request over the other transport at once would pass for its retransmission.
			message := bytes.ReplaceAll(message, []byte("as3-111"), []byte("as3-"+network+name))
			patience := 2 * time.Second // what is malformed is dropped, or answered at once
			if answered[name] {
				patience = 10 * time.Second
			}
			code, err := firstAnswer(network, at, message, patience)
			if err != nil && (answered[name] || !errors.Is(err, os.ErrDeadlineExceeded)) {
				t.Errorf("%s over %s: %v", name, network, err)
			}
			if err == nil && !answered[name] && (code < 400 || code >= 500) {
				t.Errorf("%s over %s is malformed and was answered with %d", name, network, code)
			}
			t.Logf("%s over %s: %d", name, network, code)
		}
	}
	if code, err := firstAnswer("udp", at, []byte(strings.NewReplacer("4-1", "4-1-again", "REGISTER", "OPTIONS").Replace(ipv6Good(t))), 10*time.Second); code != 200 {
		t.Errorf("OPTIONS after all of them: %d %v", code, err)
	}
}

// ipv4Listener finds the line of node.cfg with the UDP listener.
var ipv4Listener = regexp.MustCompile(`listen=udp:127\.0\.0\.1:(\d+)`)

func ipv6Good(t *testing.T) string {
	t.Helper()
	message, err := os.ReadFile("testdata/rfc5118/4.1-ipv6-good.dat")
	if err != nil {
		t.Fatal(err)
	}
	return string(message)
}

// firstAnswer sends a message over a connection of its own and returns the code of the first final answer.
func firstAnswer(network, addr string, message []byte, patience time.Duration) (int, error) {
	conn, err := net.Dial(network, addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := conn.Write(message); err != nil {
		return 0, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	r, code := bufio.NewReaderSize(conn, 64<<10), 0
	for code < 200 {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if rest, ok := strings.CutPrefix(line, "SIP/2.0 "); ok && len(rest) > 3 {
			code, _ = strconv.Atoi(rest[:3])
		}
	}
	return code, nil
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
