package phone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Proves the digest against the examples of RFC 7616 section 3.9.1 and, without qop, of RFC 2069 (corrected).
func TestCredentials_MatchThePublishedExamples(t *testing.T) {
	modern := Credentials{
		User: "Mufasa", Password: "Circle of Life", Realm: "http-auth@example.org", Method: "GET", URI: "/dir/index.html",
		Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", CNonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", QOP: "auth", NC: 1,
	}
	for algorithm, want := range map[string]string{
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		modern.Algorithm = algorithm
		if got := modern.Response(); got != want {
			t.Errorf("%s: %s, want %s", algorithm, got, want)
		}
	}
	old := Credentials{User: "Mufasa", Password: "CircleOfLife", Realm: "testrealm@host.com", Method: "GET", URI: "/dir/index.html",
		Nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
	if got := old.Response(); got != "1949323746fe6a43ef61f9606e7febea" {
		t.Errorf("without qop: %s", got)
	}
}

// Proves a challenge survives commas and quotes inside its strings, and that what is no challenge is refused.
func TestParseChallenge_ReadsQuotesAndRefusesTheRest(t *testing.T) {
	c, err := ParseChallenge(`Digest realm="a, \"b\"", nonce="n=1,2", qop="auth, auth-int",stale=TRUE, algorithm=SHA-256 , opaque="o"`)
	if err != nil || c.Realm != `a, "b"` || c.Nonce != "n=1,2" || len(c.QOP) != 2 || !c.Stale || c.Algorithm != "SHA-256" || c.Opaque != "o" {
		t.Errorf("%+v, %v", c, err)
	}
	back, err := ParseChallenge(c.Answer("u", "p", "INVITE", "sip:x").Header())
	if err != nil || back.Realm != c.Realm || back.Nonce != c.Nonce {
		t.Errorf("the answer does not parse back: %+v, %v", back, err)
	}
	for _, bad := range []string{"", "Basic realm=x", "Digest", `Digest nonce="1"`, `Digest realm="x`} {
		if c, err := ParseChallenge(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, c)
		}
	}
}

// Proves no bytes from the network crash the parsers, and that what is accepted is a request or a response.
func FuzzParseRaw(f *testing.F) {
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: a\r\n b\r\n\r\nbody"))
	f.Add([]byte("OPTIONS sip:a SIP/2.0\r\n:\r\n"))
	f.Add([]byte(`Digest realm="x", nonce="y`))
	f.Add([]byte("  SIP/2.0")) // once taken for a request without a method
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseRaw(b); err == nil && m.Code == 0 && m.Method == "" && !strings.HasPrefix(m.StartLine, "SIP/2.0 ") {
			t.Errorf("neither request nor response: %q", m.StartLine)
		}
		ParseChallenge(string(b))
		parseSDP(b)
	})
}

// Proves lines are split and folded as they stand, for responses and requests.
func TestParseRaw_SplitsAndFolds(t *testing.T) {
	m, err := ParseRaw([]byte("SIP/2.0 407 Proxy Authentication Required\r\nVia: one\r\nvia:two\r\n\tthree\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\nrest"))
	if err != nil || m.Code != 407 || m.Reason != "Proxy Authentication Required" || string(m.Body) != "rest" {
		t.Fatalf("%+v, %v", m, err)
	}
	if via := m.All("Via"); len(via) != 2 || via[1] != "two three" {
		t.Errorf("Via %q", via)
	}
	if c, err := m.Challenge(); err != nil || c.Realm != "r" {
		t.Errorf("challenge %+v, %v", c, err)
	}
	if m, err := ParseRaw([]byte("OPTIONS sip:a@b SIP/2.0\r\n\r\n")); err != nil || m.Method != "OPTIONS" || m.Code != 0 {
		t.Errorf("request: %+v, %v", m, err)
	}
	if _, err := ParseRaw([]byte("GET / HTTP/1.1\r\n\r\n")); err == nil {
		t.Error("HTTP was taken for SIP")
	}
}

func rawTo(t *testing.T, p *Phone) *Raw {
	t.Helper()
	r, err := DialRaw("", address(t, p))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func rawRequest(r *Raw, method, branch, toTag string, cseq int, body string) []byte {
	contentType := ""
	if body != "" {
		contentType = "Content-Type: application/sdp\r\n"
	}
	return fmt.Appendf(nil, "%s sip:bob@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:raw@%s>;tag=1\r\nTo: <sip:bob@%s>%s\r\nCall-ID: raw-call\r\nCSeq: %d %s\r\nContact: <sip:raw@%s>\r\n%sContent-Length: %d\r\n\r\n%s",
		method, testDomain, r.LocalAddr(), branch, testDomain, testDomain, toTag, cseq, strings.Fields(method)[0], r.LocalAddr(), contentType, len(body), body)
}

// Proves OPTIONS is answered 200 with Allow, requests of unknown dialogs 481, unknown methods 405.
func TestPhone_AnswersRequestsOutsideCalls(t *testing.T) {
	ctx := testContext(t)
	r := rawTo(t, newTestPhone(t, Config{AuthUser: "bob"}))
	for i, v := range []struct {
		method, tag string
		code        int
	}{{"OPTIONS", "", 200}, {"OPTIONS", ";tag=x", 481}, {"BYE", ";tag=x", 481}, {"INVITE", ";tag=x", 481}, {"PUBLISH", "", 405}, {"CANCEL", "", 481}} {
		m, err := r.Exchange(ctx, rawRequest(r, v.method, fmt.Sprint("b", i), v.tag, i+1, ""))
		if err != nil || m.Code != v.code {
			t.Errorf("%s%s: %+v, %v; want %d", v.method, v.tag, m, err, v.code)
		}
		if v.code == 481 && v.method == "INVITE" {
			r.Send(rawRequest(r, "ACK", fmt.Sprint("b", i), v.tag, i+1, ""))
		}
		if v.code == 200 && !strings.Contains(m.Header("Allow"), "REFER") {
			t.Errorf("Allow is %q", m.Header("Allow"))
		}
	}
}

// Proves the 200 to an INVITE is repeated until the ACK, that an INVITE without SDP gets an offer whose answer is taken
// from the ACK, and that the ended call answers no second BYE.
func TestIncoming_RepeatsTheAnswerUntilACK(t *testing.T) {
	ctx := testContext(t)
	bob := newTestPhone(t, Config{AuthUser: "bob"})
	r := rawTo(t, bob)
	if err := r.Send(rawRequest(r, "INVITE", "i1", "", 1, "")); err != nil {
		t.Fatal(err)
	}
	answered := make(chan *Call, 1)
	go func() {
		c, err := takeCall(t, ctx, bob).Answer(ctx)
		if err != nil {
			t.Error(err)
		}
		answered <- c
	}()
	var seen []*RawMessage
	for len(seen) < 2 {
		m, err := r.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Code == 200 {
			seen = append(seen, m)
		}
	}
	if string(seen[0].Body) != string(seen[1].Body) || !strings.Contains(string(seen[0].Body), "m=audio") {
		t.Errorf("the two 200 differ or have no offer: %q", seen[1].Body)
	}
	_, tag, _ := strings.Cut(seen[0].Header("To"), ";tag=")
	sdp := "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 8\r\n"
	if err := r.Send(rawRequest(r, "ACK", "i2", ";tag="+tag, 1, sdp)); err != nil {
		t.Fatal(err)
	}
	c := <-answered
	if c == nil || c.Stats().RemoteSDP != "127.0.0.1:9" || c.Stats().Codec != "PCMA" {
		t.Fatalf("the answer in the ACK was not taken: %+v", c)
	}
	for i, want := range []int{200, 481} {
		if m, err := r.Exchange(ctx, rawRequest(r, "BYE", fmt.Sprint("y", i), ";tag="+tag, 2+i, "")); err != nil || m.Code != want {
			t.Errorf("BYE %d: %+v, %v", i, m, err)
		}
	}
}

// Proves reading ends with the context when nothing comes.
func TestRaw_ReadEndsWithItsContext(t *testing.T) {
	r := rawTo(t, newTestPhone(t, Config{AuthUser: "bob"}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Read(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
}
