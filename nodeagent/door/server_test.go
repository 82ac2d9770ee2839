package door

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// patient has a door wait for a brain that is only slow to get the processor.
func patient(c *Config) { c.Deadline, c.StallAfter = 10*time.Second, 10*time.Second }

// usual has it wait as it does at a node.
func usual(c *Config) {
	c.Deadline, c.StallAfter = DefaultConfig().Deadline, DefaultConfig().StallAfter
}

// serveDoor runs a patient door over real sockets in front of the brains at urls.
func serveDoor(t *testing.T, change func(*Config), urls ...string) (addr string, d *Door) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Brains, cfg.Key, cfg.Log = urls, "node-key", slog.New(slog.DiscardHandler)
	patient(&cfg)
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String(), d
}

// echoBrain answers with what it was asked, so that a test sees both ends.
func echoBrain(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, `{"path":%q,"auth":%q,"type":%q,"body":%q}`, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body)
	}))
	t.Cleanup(s.Close)
	return s
}

// talk sends raw bytes to the door and returns all it says until it closes or falls silent.
func talk(t *testing.T, addr, raw string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	said, _ := io.ReadAll(conn)
	return string(said)
}

// A question goes to the brain byte for byte, with the node key, and its answer comes back the same;
// the connection to the door stays for the next one.
func TestServe_PassesTheQuestionUnchanged(t *testing.T) {
	brain := echoBrain(t)
	addr, _ := serveDoor(t, nil, brain.URL)
	one := "POST /auth HTTP/1.1\r\nHost: door\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\na=%C3%A9&b="
	said := talk(t, addr, one+one)
	want := `{"path":"/auth","auth":"Bearer node-key","type":"application/x-www-form-urlencoded","body":"a=%C3%A9&b="}`
	if n := strings.Count(said, want); n != 2 {
		t.Errorf("%d answers on one connection, want 2 of %s in\n%s", n, want, said)
	}
}

// Requests outside the door's strict part of HTTP are refused with the status that says why, and
// the connection ends.
func TestServe_RefusesWhatItDoesNotSpeak(t *testing.T) {
	addr, _ := serveDoor(t, nil, echoBrain(t).URL)
	for _, row := range []struct {
		why, raw, want string
	}{
		{"get on a decision", "GET /auth HTTP/1.1\r\nHost: x\r\n\r\n", "405"},
		{"unknown path", "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "404"},
		{"query string", "POST /auth?x=1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "404"},
		{"old version", "POST /auth HTTP/1.0\r\nContent-Length: 0\r\n\r\n", "505"},
		{"no length", "POST /auth HTTP/1.1\r\n\r\n", "411"},
		{"chunks", "POST /auth HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"},
		{"length and chunks", "POST /auth HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"},
		{"two lengths", "POST /auth HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "400"},
		{"signed length", "POST /auth HTTP/1.1\r\nContent-Length: +1\r\n\r\na", "400"},
		{"too long", fmt.Sprintf("POST /auth HTTP/1.1\r\nContent-Length: %d\r\n\r\n", api.MaxBody+1), "413"},
		{"too long for events", fmt.Sprintf("POST /presence/event HTTP/1.1\r\nContent-Length: %d\r\n\r\n", maxEventBody+1), "413"},
		{"folded header", "POST /auth HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "400"},
		{"bare line feed", "POST /auth HTTP/1.1\nContent-Length: 0\n\n", "400"},
		{"space before colon", "POST /auth HTTP/1.1\r\nContent-Length : 0\r\n\r\n", "400"},
		{"control character", "POST /auth HTTP/1.1\r\nContent-Type: a\x00b\r\nContent-Length: 0\r\n\r\n", "400"},
		{"long line", "POST /auth HTTP/1.1\r\nA: " + strings.Repeat("a", maxHeadBytes) + "\r\n\r\n", "400"},
		{"long head", "POST /auth HTTP/1.1\r\n" + strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 9) + "\r\n", "400"},
		{"many headers", "POST /auth HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", maxHeaders+1) + "\r\n", "400"},
		{"garbage", "\x16\x03\x01\x02\x00\r\n\r\n", "400"},
	} {
		said := talk(t, addr, row.raw)
		if !strings.HasPrefix(said, "HTTP/1.1 "+row.want) || !strings.Contains(said, "Connection: close") {
			t.Errorf("%s: answered %.80q, want %s and close", row.why, said, row.want)
		}
	}
}

// curl asks before it sends a long body; the door says go on, once it has checked the length.
func TestServe_AnswersExpectContinue(t *testing.T) {
	addr, _ := serveDoor(t, nil, echoBrain(t).URL)
	said := talk(t, addr, "POST /auth HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab")
	if !strings.HasPrefix(said, continueMessage+"HTTP/1.1 200 OK\r\n") {
		t.Errorf("said %q", said)
	}
}

// A client that sends half a request is cut after requestTimeout; one that is merely idle is kept.
func TestServe_CutsSlowBodiesAndKeepsIdleConnections(t *testing.T) {
	addr, _ := serveDoor(t, nil, echoBrain(t).URL)
	idle, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	slow, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	start := time.Now()
	_, _ = io.WriteString(slow, "POST /auth HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
	_ = slow.SetReadDeadline(start.Add(2 * requestTimeout))
	if _, err := slow.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("slow client read %v, want the connection closed", err)
	}
	if took := time.Since(start); took < requestTimeout/2 {
		t.Errorf("cut after %v already", took)
	}
	_, _ = io.WriteString(idle, "GET /health HTTP/1.1\r\n\r\n")
	_ = idle.SetReadDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(idle).ReadString('\n')
	if err != nil || line != "HTTP/1.1 200 OK\r\n" {
		t.Errorf("idle connection answered %q, %v", line, err)
	}
}

// The door has no authentication, so it refuses to serve anything but loopback.
func TestServe_RefusesANonLoopbackListener(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Brains = []string{"http://127.0.0.1:1"}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Serve(t.Context(), ln); err == nil {
		t.Error("served on all addresses")
	}
}

// A stopping door lets a question under way have its answer.
func TestServe_FinishesWhatIsUnderWayWhenStopped(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	brain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = io.WriteString(w, accepted)
	}))
	defer brain.Close()
	cfg := DefaultConfig()
	cfg.Brains, cfg.Log = []string{brain.URL}, slog.New(slog.DiscardHandler)
	patient(&cfg)
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, ln) }()
	said := make(chan string, 1)
	go func() {
		said <- talk(t, ln.Addr().String(), "POST /auth HTTP/1.1\r\nContent-Length: 1\r\n\r\na")
	}()
	<-asked
	cancel()
	close(release)
	if got := <-said; !strings.Contains(got, accepted) {
		t.Errorf("answer at stop: %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// A frozen process keeps its sockets: connections are accepted by the kernel and nothing is ever
// answered. Over real sockets the first question costs about one stall time, the next none.
func TestServe_FrozenBrainOverRealSockets(t *testing.T) {
	frozen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = frozen.Close() }()
	addr, d := serveDoor(t, usual, "http://"+frozen.Addr().String())
	var took []time.Duration
	for _, body := range []string{"a", "b", "c", "d", "e", "f"} {
		start := time.Now()
		said := talk(t, addr, "POST /route HTTP/1.1\r\nContent-Length: 1\r\n\r\n"+body)
		if took = append(took, time.Since(start)); !strings.Contains(said, `{"rtjson":{"action":"reject"`) {
			t.Errorf("question %s: %q after %v", body, said, took)
		}
	}
	if quickest := slices.Min(took[1:]); quickest > DefaultConfig().StallAfter/2 {
		t.Errorf("answered after %v, want no stall time after the first", took)
	}
	if d.Stats().Brains[0].Opened != 1 {
		t.Error("breaker did not open")
	}
}

// A brain that is gone and comes back on the same address: refused at once while away, and asked
// again after a probe has seen it.
func TestServe_BrainRestart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, d := serveDoor(t, nil, "http://"+ln.Addr().String())
	brainAddr := ln.Addr().String()
	answering := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, accepted) })
	first := &http.Server{Handler: answering, ReadHeaderTimeout: time.Second}
	go func() { _ = first.Serve(ln) }()
	const q = "POST /auth HTTP/1.1\r\nContent-Length: 1\r\n\r\na"
	if said := talk(t, addr, q); !strings.Contains(said, accepted) {
		t.Fatalf("before: %q", said)
	}
	_ = first.Close()
	if said := talk(t, addr, q); !strings.Contains(said, `"sip_code":503`) {
		t.Fatalf("away: %q", said)
	}
	ln, err = net.Listen("tcp", brainAddr)
	if err != nil {
		t.Fatal(err)
	}
	second := &http.Server{Handler: answering, ReadHeaderTimeout: time.Second}
	go func() { _ = second.Serve(ln) }()
	defer func() { _ = second.Close() }()
	for deadline := time.Now().Add(5 * time.Second); d.Stats().Brains[0].Open; {
		if time.Now().After(deadline) {
			t.Fatal("breaker stays open")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if said := talk(t, addr, q); !strings.Contains(said, accepted) {
		t.Errorf("back: %q", said)
	}
}

// fuzzConn is a connection that says what the fuzzer wrote and then ends.
type fuzzConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *fuzzConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *fuzzConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *fuzzConn) Close() error                     { return nil }
func (c *fuzzConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fuzzConn) SetWriteDeadline(time.Time) error { return nil }

// Whatever a client sends, the server ends, and calls an endpoint only with a body of the announced
// length within the limit; net/http reads the same request the same way (no smuggling).
func FuzzServerRequest(f *testing.F) {
	f.Add([]byte("POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"))
	f.Add([]byte("POST /auth HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\naGET /health HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var bodies []string
		s := newServer(slog.New(slog.DiscardHandler), endpoint{"/auth", http.MethodPost, 1024, func(r *request) reply {
			bodies = append(bodies, string(r.body))
			return reply{200, []byte("{}")}
		}})
		c := &serverConn{server: s, conn: &fuzzConn{in: bytes.NewReader(raw)}}
		c.br = bufio.NewReaderSize(c, maxHeadBytes)
		s.conns[c] = struct{}{}
		s.wg.Add(1)
		c.run()
		if len(bodies) == 0 {
			return
		}
		if len(bodies[0]) > 1024 {
			t.Fatalf("body of %d bytes passed the limit", len(bodies[0]))
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return // stricter than this server, for example about Host
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != bodies[0] {
			t.Errorf("net/http reads body %q (%v), the door %q", body, err, bodies[0])
		}
	})
}
