package door

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A kept connection that the brain closed while it was idle costs a second attempt, not a refusal.
func TestLeanClient_RepeatsOnAStaleConnection(t *testing.T) {
	var conns atomic.Int64
	brain := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, accepted)
	}))
	brain.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	brain.Start()
	defer brain.Close()
	addr, d := serveDoor(t, nil, brain.URL)
	const q = "POST /auth HTTP/1.1\r\nContent-Length: 1\r\n\r\na"
	talk(t, addr, q)
	brain.CloseClientConnections()
	if said := talk(t, addr, q); !strings.Contains(said, accepted) {
		t.Errorf("after the brain closed the kept connection: %q", said)
	}
	if conns.Load() != 2 || d.Stats().Fallbacks != 0 {
		t.Errorf("%d connections, %d fallbacks; want 2 and 0", conns.Load(), d.Stats().Fallbacks)
	}
}

// A brain that dies over a question has had it, though the second attempt finds nobody: it may have admitted the call.
func TestLeanClient_KnowsThatADyingBrainHadTheQuestion(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(accepted), accepted)
		_, _ = conn.Read(make([]byte, 4096))
		_ = ln.Close()
		_ = conn.Close()
	}()
	l := newLeanClient(&url.URL{Scheme: "http", Host: ln.Addr().String()}, "", 1, time.Second)
	for _, want := range []error{nil, errUnreachable} {
		var reached atomic.Bool
		_, err := l.ask(&exchange{question: question{path: "/route", body: []byte("call_id=c"), reached: &reached}})
		if !errors.Is(err, want) || reached.Load() != (want != nil) {
			t.Errorf("%v, it had the question %v; want %v", err, reached.Load(), want)
		}
	}
}

// After an answer that could not be read to its end, the connection's next bytes mean nothing: it is
// closed, and the next question goes over a new one.
func TestLeanClient_DropsTheConnectionAfterABadAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	oversized := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", maxReply+1)
	good := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(accepted), accepted)
	go func() {
		for _, answer := range []string{oversized, good} {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
		}
	}()
	addr, _ := serveDoor(t, nil, "http://"+ln.Addr().String())
	for _, want := range []string{`"sip_code":503`, accepted} {
		if said := talk(t, addr, "POST /auth HTTP/1.1\r\nContent-Length: 1\r\n\r\na"); !strings.Contains(said, want) {
			t.Errorf("said %q, want %s", said, want)
		}
	}
}

// An https brain is asked through net/http with the same effect.
func TestServe_AsksAnHTTPSBrain(t *testing.T) {
	brain := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"action":"accept","auth":%q}`, r.Header.Get("Authorization"))
	}))
	defer brain.Close()
	addr, _ := serveDoor(t, func(c *Config) { c.TLS = brain.Client().Transport.(*http.Transport).TLSClientConfig }, brain.URL)
	if said := talk(t, addr, "POST /auth HTTP/1.1\r\nContent-Length: 1\r\n\r\na"); !strings.Contains(said, "Bearer node-key") {
		t.Errorf("said %q", said)
	}
}

// The node key must not travel in clear, and a URL is an origin alone.
func TestNew_RefusesUnfitBrainURLs(t *testing.T) {
	for _, u := range []string{"http://192.0.2.1:8080", "http://brain.example", "ftp://127.0.0.1", "127.0.0.1:8080", "http://127.0.0.1/x", "https://u:p@brain.example", ""} {
		cfg := DefaultConfig()
		cfg.Brains = []string{u}
		if _, err := New(cfg); err == nil {
			t.Errorf("brain URL %q was taken", u)
		}
	}
	cfg := DefaultConfig()
	cfg.Brains, cfg.Key = []string{"http://[::1]:8080"}, "key\r\nX: y"
	if _, err := New(cfg); err == nil {
		t.Error("a key with a line break was taken")
	}
}

// readAnswer takes both framings a brain may use and refuses what is ambiguous or too long.
func TestReadAnswer(t *testing.T) {
	for _, row := range []struct {
		raw  string
		want string // "" means refused
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "200 {} true"},
		{"HTTP/1.1 500 \r\ncontent-length: 0\r\nConnection: close\r\n\r\n", "500  false"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nT: x\r\n\r\n", "200 {} true"},
		{"HTTP/1.1 200 OK\r\n\r\n{}", ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n", ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11171\r\n" + strings.Repeat("x", 70001) + "\r\n0\r\n\r\n", ""},
		{"HTTP/1.1 100 Continue\r\n\r\n", ""},
		{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
		{"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", ""},
		{"SSH-2.0-OpenSSH\r\n", ""},
	} {
		got, keep, err := readAnswer(bufio.NewReaderSize(strings.NewReader(row.raw), maxHeadBytes))
		said := ""
		if err == nil {
			said = fmt.Sprintf("%d %s %v", got.status, got.body, keep)
		}
		if said != row.want {
			t.Errorf("%.60q: got %q (%v), want %q", row.raw, said, err, row.want)
		}
	}
}

// No answer, however malformed, makes the parser panic, read past its limits or return a body longer
// than the limit.
func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, _, err := readAnswer(bufio.NewReaderSize(bytes.NewReader(raw), maxHeadBytes))
		if err == nil && (len(got.body) > maxReply || got.status < 200 || got.status > 599) {
			t.Errorf("took status %d with %d bytes", got.status, len(got.body))
		}
	})
}
