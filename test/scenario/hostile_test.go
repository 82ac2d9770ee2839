package scenario

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

func TestStream_NothingThatAStrangerSendsEndsOrDeafensTheNode(t *testing.T) {
	// Proves that Kamailio reads neither MSRP nor HTTP in chunks, of which a few bytes end Debian's or have it write where it should not, and
	// that pings by the million, over TCP and TLS, whose answers nobody reads, do not keep its processes from others for minutes:
	// kamailio-mend.so does that (docs/adr/0027-mends-of-debians-daemons.md).
	e := start(t, edge.Options{Config: acme})
	dial := map[string]func() (net.Conn, error){
		"tcp": func() (net.Conn, error) { return net.Dial("tcp", e.SIP) },
		"tls": func() (net.Conn, error) { return tls.Dial("tcp", e.TLS, &tls.Config{InsecureSkipVerify: true}) },
	}
	// say is what comes back before Kamailio closes the connection.
	say := func(transport, text string) string {
		conn, err := dial[transport]()
		if err != nil {
			t.Fatalf("before %.30q over %s: %v", text, transport, err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, text)
		answer, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.30q over %s: the connection stays open", text, transport)
		}
		return string(answer)
	}
	for transport := range dial {
		question := "OPTIONS sip:acme.test SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: msrp\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
		if got := say(transport, "MSRP a SEND\r\n-------a$\r\n"+question); got != "" {
			t.Errorf("what stands behind a frame of MSRP is answered over %s: %q", transport, got)
		}
		if got := say(transport, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
			t.Errorf("the head of a request in chunks is answered over %s with %q, want 403 at once", transport, got)
		}
	}
	pings := strings.Repeat("\r\n\r\n", 500_000)
	var all sync.WaitGroup
	for transport := range dial {
		for range 12 {
			all.Go(func() {
				conn, err := dial[transport]()
				if err != nil {
					return
				}
				_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
				_, _ = io.WriteString(conn, pings)
				_ = conn.Close()
			})
		}
	}
	all.Wait()
	alice, bob := registered(t, e, "1001", over("tls")), registered(t, e, "1002", over("tcp"))
	converse(t, within(t, 20*time.Second), e, alice, bob, "1002")
}

func TestReply_ToNothingGoesNowhere(t *testing.T) {
	// Proves that a stranger's response to no request of this node is not handed on to what its second Via names: else he would send by this
	// node whatever he likes to anybody, and 40 a second that name hosts whose DNS is silent would keep every UDP process waiting.
	tails(t, node)
	third, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	w := dialWire(t, node, "udp")
	if err := w.write(fmt.Appendf(nil, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKa.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKb\r\nFrom: <sip:a@b>;tag=1\r\n"+
		"To: <sip:a@b>;tag=2\r\nCall-ID: nothing\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", node.SIP, third.LocalAddr())); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Options(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	_ = third.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, _, err := third.ReadFrom(make([]byte, 4096)); err == nil {
		t.Errorf("%d bytes were handed on", n)
	}
}

// proven begins a call of 1001 to 1002, with what stands in extra behind its Contact, and returns its INVITE, which is on its way.
func proven(t *testing.T, w *wire, contact string) (invite string) {
	t.Helper()
	r := alice()
	build := func(cseq int, more string) string {
		branches++
		return fmt.Sprintf("INVITE sip:1002@acme.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKhostile%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:1001@acme.test>;tag=%s\r\n"+
			"To: <sip:1002@acme.test>\r\nCall-ID: %s\r\nCSeq: %d INVITE\r\n%sContent-Length: 0\r\n\r\n", w.local, branches, r.callID, r.callID, cseq, contact+more)
	}
	m := w.exchange(t, build(1, ""))
	for !strings.Contains(m.Header("Call-ID"), r.callID) || m.Code != 407 { // what comes late of an earlier call
		b, err := w.read()
		if err != nil {
			t.Fatal(err)
		}
		if m, err = phone.ParseRaw(b); err != nil {
			t.Fatal(err)
		}
	}
	c, err := m.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	invite = build(2, "Proxy-Authorization: "+c.Answer("1001", "secret-1001", "INVITE", "sip:1002@acme.test").Header()+"\r\n")
	if err := w.write([]byte(invite)); err != nil {
		t.Fatal(err)
	}
	return invite
}

func TestHostilePhone_LeavesNoDialogAndMakesNoCallWithoutOne(t *testing.T) {
	// Proves that a phone which is believed makes no call that Kamailio keeps no dialog of, which nobody would count, charge or be able to end,
	// and leaves hardly a dialog behind by hanging up at once; and that no call is up by an answer which the dialog module cannot read.
	e := start(t, edge.Options{Config: acme})
	bob := dialWire(t, e, "udp")
	r := alice()
	r.user = "1002"
	expectCode(t, "the callee registers", bob.exchange(t, bob.message(answered(r, bob.challenged(t, r), "secret-1002", nil))), 200)
	w := dialWire(t, e, "udp")
	contact := "Contact: <sip:1001@" + w.local + ">\r\n"
	for name, contact := range map[string]string{"no Contact": "", "two Contacts": strings.TrimSpace(contact) + ", <sip:1001@" + w.local + ">\r\n"} {
		expectCode(t, name, w.exchange(t, proven(t, w, contact)), 400)
	}
	for k := range 40 {
		invite := proven(t, w, contact)
		time.Sleep(time.Duration(k) * 50 * time.Microsecond) // sleep: each hangs up at another moment of the brain's question
		head, _, _ := strings.Cut(strings.NewReplacer("INVITE ", "CANCEL ", " INVITE", " CANCEL").Replace(invite), "Contact:")
		if err := w.write([]byte(head + "Content-Length: 0\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	carol := newPhone(t, e, "1009")
	eventually(t, within(t, 20*time.Second), "the brain to be done with their questions", func() error { return register200(t.Context(), carol) })
	// One that begins in the very moment of its CANCEL stays, nameless (route/call.cfg, PROXY): about one in a thousand, it was one in seven.
	before := fewDialogs(t, e, 2, nil)
	last, err := phone.ParseRaw([]byte(proven(t, w, contact)))
	if err != nil {
		t.Fatal(err)
	}
	for {
		_ = bob.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		b, err := bob.read()
		if err != nil {
			t.Fatal("nobody called:", err)
		}
		if m, err := phone.ParseRaw(b); err != nil || m.Method != "INVITE" || m.Header("Call-ID") != last.Header("Call-ID") { // of a call that has hung up
			continue
		}
		head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		_, lines, _ := bytes.Cut(head, []byte("\r\n"))
		var headers string
		for line := range strings.Lines(string(lines) + "\r\n") {
			switch name, _, _ := strings.Cut(line, ":"); name {
			case "To":
				headers += "To: <sip:1002@acme.test>;tag=b\r\n"
			case "Via", "Record-Route", "From", "Call-ID", "CSeq":
				headers += line
			}
		}
		for _, reply := range []string{"200 OK\r\n" + headers + "Contact: <sip:1002@" + bob.local + ">\r\nno header", "486 Busy Here\r\n" + headers + "Server: x"} {
			if err := bob.write([]byte("SIP/2.0 " + reply + "\r\nContent-Length: 0\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Options(10 * time.Second); err != nil { // the other one comes behind
				t.Fatal(err)
			}
		}
		break
	}
	for {
		_ = w.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		b, err := w.read()
		if err != nil {
			t.Fatal("the caller hears of no end:", err)
		}
		if m, err := phone.ParseRaw(b); err != nil || m.Header("Call-ID") != last.Header("Call-ID") || m.Header("CSeq") != last.Header("CSeq") || m.Code < 200 {
			continue
		} else if m.Code != 486 {
			t.Errorf("an answer with a header that is none is %s", m.StartLine)
		}
		break
	}
	fewDialogs(t, e, 0, before)
}

// fewDialogs waits until Kamailio has no more dialogs than that beside those known, and returns them.
func fewDialogs(t *testing.T, e *edge.Edge, most int, known []string) (dialogs []string) {
	t.Helper()
	ctx := within(t, 12*time.Second)
	eventually(t, ctx, fmt.Sprintf("Kamailio to have %d more dialogs at most", most), func() (err error) {
		all, err := e.Dialogs(ctx)
		if dialogs = without(all, known); err == nil && len(dialogs) > most {
			err = fmt.Errorf("it has %v", dialogs)
		}
		return err
	})
	return dialogs
}
