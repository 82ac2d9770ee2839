package ng

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startRTPEngine runs a real rtpengine in userspace on loopback until the test ends.
func startRTPEngine(t *testing.T) *Client {
	t.Helper()
	addr := freeAddr(t)
	cmd := exec.Command("rtpengine", "--config-file=none", "--table=-1", "--interface=127.0.0.1", "--listen-ng="+addr, "--foreground", "--log-stderr",
		"--port-min=34000", "--port-max=34200", "--pidfile="+filepath.Join(t.TempDir(), "pid"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start rtpengine (install Debian's rtpengine-daemon): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("rtpengine said:\n%s", &log)
		}
	})
	c, err := Dial(addr, 20*time.Second) // it makes a certificate first; the client keeps repeating
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Ping(t.Context()); err != nil {
		t.Fatalf("first ping: %v", err)
	}
	c.timeout = 5 * time.Second
	return c
}

// freeAddr is a loopback address that is nobody else's with a free port: one of 127.0.0.1 may be somebody's by the time that it is bound.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.ListenPacket("udp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.LocalAddr().String()
}

const sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"

func offer(t *testing.T, c *Client, callID string) {
	t.Helper()
	answer, err := c.Call(t.Context(), "offer", map[string]any{"call-id": callID, "from-tag": "f", "sdp": sdp})
	if err != nil {
		t.Fatalf("offer: %v", err)
	}
	if body, _ := answer["sdp"].(string); !strings.Contains(body, "m=audio 34") {
		t.Fatalf("offer answered %q, want a relay port", body)
	}
}

// The life of a session in a real rtpengine: offered, found, listed, counted, deleted at once.
func TestClient_AsksARealRTPEngine(t *testing.T) {
	c, ctx := startRTPEngine(t), t.Context()
	offer(t, c, "call-1")
	s, err := c.Query(ctx, "call-1")
	if age := time.Since(s.Created); err != nil || age < 0 || age > time.Minute {
		t.Errorf("Query: created %v, %v", s.Created, err)
	}
	if ids, err := c.List(ctx, 10); err != nil || !slices.Equal(ids, []string{"call-1"}) {
		t.Errorf("List: %q, %v", ids, err)
	}
	if st, err := c.Statistics(ctx); err != nil || st.Sessions != 1 || st.KernelForwarding() {
		t.Errorf("Statistics: %+v, %v; want one session and no kernel forwarding with table=-1", st, err)
	}
	if err := c.Delete(ctx, "call-1"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := c.Query(ctx, "call-1"); !errors.Is(err, ErrUnknownCall) {
		t.Errorf("Query after Delete: %v, want ErrUnknownCall", err)
	}
	if ids, err := c.List(ctx, 10); err != nil || len(ids) != 0 {
		t.Errorf("List after Delete: %q, %v", ids, err)
	}
	var refused *Error
	if _, err := c.Call(ctx, "no such", nil); !errors.As(err, &refused) {
		t.Errorf("unknown command: %v, want rtpengine's refusal", err)
	}
}

// fakeEngine answers datagrams with what say makes of cookie and body; "" stays silent.
func fakeEngine(t *testing.T, say func(cookie, body string) []string) *Client {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			cookie, body, _ := strings.Cut(string(buf[:n]), " ")
			for _, answer := range say(cookie, body) {
				_, _ = conn.WriteTo([]byte(answer), from)
			}
		}
	}()
	c, err := Dial(conn.LocalAddr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A lost datagram is sent again with the same cookie, and answers under other cookies are skipped.
func TestClient_RepeatsWithTheSameCookie(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	c := fakeEngine(t, func(cookie, _ string) []string {
		mu.Lock()
		defer mu.Unlock()
		if seen = append(seen, cookie); len(seen) < 3 {
			return nil
		}
		return []string{"garbage", "other_1 d6:result5:wronge", cookie + " d6:result4:ponge"}
	})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) < 3 || len(slices.Compact(slices.Clone(seen))) != 1 { // once more when the answer is read late
		t.Errorf("cookies %q, want one three times", seen)
	}
}

// No answer, a malformed one, and a cancelled request each end with an error in bounded time.
func TestClient_EndsWithoutAnAnswer(t *testing.T) {
	silent := fakeEngine(t, func(string, string) []string { return nil })
	silent.timeout = 300 * time.Millisecond
	if err := silent.Ping(t.Context()); err == nil {
		t.Error("a silent engine answered")
	}
	ctx, cancel := context.WithCancel(t.Context())
	silent.timeout = time.Hour
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := silent.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := fakeEngine(t, func(cookie, _ string) []string { return []string{cookie + " d6:result"} })
	if err := broken.Ping(t.Context()); !errors.Is(err, errBencode) {
		t.Errorf("malformed answer: %v", err)
	}
	away, err := Dial(freeAddr(t), 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = away.Close() }()
	if err := away.Ping(t.Context()); err == nil {
		t.Error("a closed port answered")
	}
}

// dialogList is a Kamailio that lists the calls named.
type dialogList struct {
	mu    sync.Mutex
	calls map[string]bool
	err   error
}

func (d *dialogList) HasDialog(_ context.Context, callID string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[callID], d.err
}

func (d *dialogList) drop(callID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.calls, callID)
}

func callName(i int) string { return fmt.Sprintf("call-%d", i) }
