package esl

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestClient_ConnectsAgainAndPreparesEachConnection(t *testing.T) {
	// Proves that a FreeSWITCH which goes away is found again: the switch ends each connection by exit, and every new one is
	// subscribed by OnConnect before anybody can use it.
	var subscribed atomic.Int32
	addr := listening(t, func(f *fakeSwitch) {
		if f.accept() != nil {
			return
		}
		f.answer(func(command string) string {
			if command == "exit" {
				return replyFrame("+OK bye") + goodbye
			}
			return usual(command)
		})
	})
	o := quick()
	o.OnConnect = func(ctx context.Context, c *Conn) error {
		defer subscribed.Add(1)
		return c.Subscribe(ctx, "CHANNEL_HANGUP_COMPLETE")
	}
	client := NewClient(addr, "ClueCon", o)
	if c, ok := client.Conn(); ok {
		t.Errorf("a connection before Run: %v", c)
	}
	stop := running(t, client)
	for i := range int32(3) {
		c, err := client.Wait(soon(t))
		if err != nil || subscribed.Load() != i+1 {
			t.Fatalf("connection %d: %v, %d prepared", i, err, subscribed.Load())
		}
		if now, ok := client.Conn(); !ok || now != c {
			t.Errorf("Conn %v %v", now, ok)
		}
		if _, err := c.Send(soon(t), "exit"); err != nil {
			t.Error(err)
		}
		<-c.Done()
	}
	c, err := client.Wait(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := c.Err(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Run: %v", err)
	}
	if _, ok := client.Conn(); ok {
		t.Error("a connection after Run")
	}
}

// running starts a client; the returned function ends it.
func running(t *testing.T, client *Client) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { client.Run(ctx) })
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

func TestClient_UnpreparedConnectionIsNotUsed(t *testing.T) {
	// Proves that after an error of OnConnect the connection is closed and made anew, that nobody saw it, and that the
	// outage is logged once, without the password.
	addr := listening(t, func(f *fakeSwitch) {
		if f.accept() == nil {
			f.answer(usual)
		}
	})
	var log lines
	o := quick()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	tries := 0
	var failed []*Conn
	o.OnConnect = func(_ context.Context, c *Conn) error {
		if tries++; tries < 3 {
			failed = append(failed, c)
			return errors.New("snapshot cut")
		}
		return nil
	}
	client := NewClient(addr, "s3cret", o)
	stop := running(t, client)
	c, err := client.Wait(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for _, bad := range failed {
		if bad == c || bad.Err() == nil {
			t.Error("a connection that was not prepared is in use")
		}
	}
	if n := strings.Count(log.String(), "snapshot cut"); n != 1 || tries != 3 || strings.Contains(log.String(), "s3cret") {
		t.Errorf("%d tries, logged %d times:\n%s", tries, n, log.String())
	}
}

// lines is a log that may be written and read at once.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestPauseAfter_GrowsWithinItsBounds(t *testing.T) {
	// Proves the pauses between attempts: from at most firstPause to at most longestPause, never under half of it, not all
	// alike, and long at once after a refusal.
	seen := map[time.Duration]bool{}
	for failures := range 100 {
		most := min(firstPause<<min(failures, 10), longestPause)
		d := pauseAfter(failures, nil)
		if d > most || d < most/2-1 {
			t.Errorf("after %d failures %v, at most %v", failures, d, most)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different pauses", len(seen))
	}
	for _, err := range []error{ErrAuth, ErrRejected} {
		if d := pauseAfter(0, err); d < longestPause/2-1 {
			t.Errorf("%v: %v", err, d)
		}
	}
}
