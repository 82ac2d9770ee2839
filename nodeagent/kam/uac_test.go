package kam

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Proves how an item of the queue is read: the response's code, where it came from, header fields in order, folded and in
// their compact form; and that what is none is refused.
func TestReadAnswer_ReadsAResponse(t *testing.T) {
	cseq, r, err := readAnswer("7 192.0.2.1 5060 udp\nSIP/2.0 401 Not you\r\nm: <sip:a@x>;expires=60\r\nWWW-Authenticate: Digest realm=\"x\",\r\n\tnonce=\"1\"\r\nwww-authenticate: Digest realm=\"y\"\r\nContact: <sip:b@x>\r\n\r\nBody: 1\r\n")
	if err != nil || cseq != "7" || r.Code != 401 || r.Reason != "Not you" || r.Source != "192.0.2.1:5060" {
		t.Fatalf("%s %+v %v", cseq, r, err)
	}
	if got := r.All("WWW-Authenticate"); len(got) != 2 || got[0] != `Digest realm="x", nonce="1"` {
		t.Errorf("challenges %q", got)
	}
	if got := r.All("contact"); len(got) != 2 || got[0] != "<sip:a@x>;expires=60" || r.Get("Body") != "" {
		t.Errorf("contacts %q, body %q", got, r.Get("Body"))
	}
	if _, r, err := readAnswer("7 2001:db8::1 5060 tcp\nSIP/2.0 200\r\n"); err != nil || r.Source != "[2001:db8::1]:5060" {
		t.Errorf("%+v %v", r, err)
	}
	for _, bad := range []string{"", "\n", "7 a 1 udp", "7 a 1\nSIP/2.0 200 OK\r\n", "7 a 1 udp\nSIP/3.0 200 OK\r\n", "7 a 1 udp\nSIP/2.0 99 x\r\n", "7 a 1 udp\nSIP/2.0 x x\r\n"} {
		if _, _, err := readAnswer(bad); !errors.Is(err, errAnswer) && err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// Whatever a peer makes of its answer, reading it neither fails nor yields what no response has.
func FuzzReadAnswer(f *testing.F) {
	f.Add("7 192.0.2.1 5060 udp\nSIP/2.0 401 Not you\r\nm: <sip:a@x>\r\n folded\r\n\r\n")
	f.Fuzz(func(t *testing.T, item string) {
		_, r, err := readAnswer(item)
		if err == nil && (r.Code < 100 || r.Code > 699 || len(r.Fields) > maxFields) {
			t.Errorf("%q: %+v", item, r)
		}
	})
}

// queue is a Kamailio that hands back what was sent as answers: those of answer, by the order of the requests.
func queue(t *testing.T, answer func(n int, callID, cseq string) []string) string {
	t.Helper()
	var waiting []string
	n := 0
	return fakeKamailio(t, func(conn *net.UnixConn, from *net.UnixAddr, request string) {
		id := request[strings.Index(request, `"id":`)+5 : strings.LastIndex(request, "}")]
		said := `"error":{"code":404,"message":"Empty queue"}`
		switch {
		case strings.Contains(request, "t_uac_start"):
			_, rest, _ := strings.Cut(request, "Call-ID: ")
			callID, rest, _ := strings.Cut(rest, `\r\nCSeq: `)
			cseq, _, _ := strings.Cut(rest, " ")
			waiting = append(waiting, answer(n, callID, cseq)...)
			n++
			said = `"result":{}`
		case len(waiting) > 0:
			said, waiting = `"result":`+waiting[0], waiting[1:]
		}
		_, _ = conn.WriteToUnix(fmt.Appendf(nil, `{"jsonrpc":"2.0",%s,"id":%s}`, said, id), from)
	})
}

func item(callID, cseq string, code int) string {
	return fmt.Sprintf(`{"key":%q,"val":"%s 192.0.2.1 5060 udp\nSIP/2.0 %d x\r\n\r\n"}`, callID, cseq, code)
}

// Proves that an answer finds its request among others, of its own Call-ID and CSeq alone; one that never comes is
// ErrNoAnswer, and a request that would be read as another is not sent.
func TestUAC_MatchesAnswers(t *testing.T) {
	server := queue(t, func(n int, callID, cseq string) []string {
		if n == 0 {
			return nil
		}
		return []string{item("tr-other", cseq, 500), item(callID, "99", 500), `{"key":"x","val":"garbage"}`, item(callID, cseq, 200+n), item(callID, cseq, 500)}
	})
	u := NewUAC(openClient(t, server, time.Second))
	send := func(d time.Duration, change func(*Request)) (Response, error) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		r := Request{Method: "OPTIONS", URI: "sip:x", From: "sip:a@x", To: "sip:x", CallID: NewCallID(), CSeq: 1}
		if change != nil {
			change(&r)
		}
		return u.Send(ctx, r)
	}
	if _, err := send(time.Second, nil); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("nothing came: %v", err)
	}
	for n := 1; n < 4; n++ {
		if r, err := send(20*time.Second, nil); err != nil || r.Code != 200+n {
			t.Errorf("request %d: %+v, %v", n, r, err)
		}
	}
	for what, change := range map[string]func(*Request){
		"two headers in one":  func(r *Request) { r.Headers = "A: b\r\n\r\nC: d\r\n" },
		"half a line":         func(r *Request) { r.Headers = "A: b" },
		"Kamailio's address":  func(r *Request) { r.Headers = "A: x!!y\r\n" },
		"the same in From":    func(r *Request) { r.From = "sip:a!!b@x" },
		"the same in To":      func(r *Request) { r.To = "sip:a!!@x" },
		"a line in From":      func(r *Request) { r.From = "sip:a@x>\r\nX: y" },
		"a line in To":        func(r *Request) { r.To = "sip:a@x\r\nX: y" },
		"no URI":              func(r *Request) { r.URI = "tel:1" },
		"no URI of a hop":     func(r *Request) { r.NextHop = "x y" },
		"another's Call-ID":   func(r *Request) { r.CallID = "abc" },
		"a line in a Call-ID": func(r *Request) { r.CallID += "\r\nX: y" },
	} {
		if _, err := send(time.Second, change); err == nil || errors.Is(err, ErrNoAnswer) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_ = u.client.Close()
	if _, err := send(time.Second, nil); !errors.Is(err, ErrUnsent) {
		t.Errorf("Kamailio took nothing: %v", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.waiting) != 0 {
		t.Errorf("%d are still waited for", len(u.waiting))
	}
}

// Proves that no more requests are under way than there may be.
func TestUAC_BoundsWhatIsUnderWay(t *testing.T) {
	u := NewUAC(openClient(t, filepath.Join(os.TempDir(), "nobody.sock"), time.Second))
	for i := range maxWaiting {
		u.waiting[fmt.Sprint(i)] = make(chan Response)
	}
	if _, err := u.Send(t.Context(), Request{Method: "OPTIONS", URI: "sip:x", From: "sip:a@x", To: "sip:x", CallID: NewCallID()}); !errors.Is(err, ErrUnsent) || !strings.Contains(err.Error(), "under way") {
		t.Errorf("one more was sent: %v", err)
	}
}
