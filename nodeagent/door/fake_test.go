package door

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// fakeBrain is a brain without a wire: it answers after delay, with status and body, or fails.
type fakeBrain struct {
	mu     sync.Mutex
	delay  time.Duration
	frozen bool // never answers, health neither
	err    error
	status int
	asked  atomic.Int64
	cut    atomic.Int64
}

const accepted = `{"action":"accept"}`

func (f *fakeBrain) set(change func(*fakeBrain)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeBrain) now() (delay time.Duration, frozen bool, status int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status == 0 {
		f.status = 200
	}
	return f.delay, f.frozen, f.status, f.err
}

func (f *fakeBrain) ask(x *exchange) (answer, error) {
	f.asked.Add(1)
	delay, frozen, status, err := f.now()
	if err != nil {
		return answer{}, err
	}
	if frozen {
		delay = time.Hour
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := x.attach(cancelCutter(cancel)); err != nil {
		return answer{}, err
	}
	select {
	case <-ctx.Done():
		f.cut.Add(1)
		return answer{}, ctx.Err()
	case <-time.After(delay):
		return answer{status, []byte(accepted)}, nil
	}
}

func (f *fakeBrain) health(ctx context.Context) error {
	_, frozen, _, err := f.now()
	if frozen {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (f *fakeBrain) close() {}

// startDoor makes a door over fake brains with its watchdog running, for a synctest bubble.
func startDoor(t *testing.T, brains ...*fakeBrain) *Door {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Log = slog.New(slog.DiscardHandler)
	var clients []client
	for i, b := range brains {
		cfg.Brains = append(cfg.Brains, fmt.Sprintf("brain-%d", i))
		clients = append(clients, b)
	}
	d, err := newDoor(cfg, clients)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.watch(ctx) }()
	t.Cleanup(func() { cancel(); <-done; d.stop() })
	return d
}

var nextCall atomic.Int64

// ask puts one question of its own to the door and returns the directive and how long it took.
func ask(t *testing.T, d *Door, path string) (api.Directive, time.Duration) {
	t.Helper()
	return askBody(t, d, path, fmt.Sprintf("call_id=c%d&cseq=1&branch=b", nextCall.Add(1)))
}

func askBody(t *testing.T, d *Door, path, body string) (api.Directive, time.Duration) {
	t.Helper()
	start := time.Now()
	rep := d.decision(&request{received: start, path: path, body: []byte(body)})
	if rep.status != 200 {
		t.Errorf("HTTP status %d, want 200: Kamailio reads the directive, never the status", rep.status)
	}
	var route api.RouteReply
	var err error
	if path == api.PathRoute && strings.Contains(string(rep.body), "rtjson") {
		err = json.Unmarshal(rep.body, &route)
	} else {
		err = json.Unmarshal(rep.body, &route.RTJSON)
	}
	if err != nil {
		t.Errorf("answer %q: %v", rep.body, err)
	}
	return route.RTJSON, time.Since(start)
}

func wantFallback(t *testing.T, got api.Directive) {
	t.Helper()
	if got.Action != api.ActionReject || got.SIPCode != 503 || got.RetryAfterSec != 2 || !strings.HasPrefix(got.Why, "brain unreachable: ") {
		t.Errorf("answer %+v, want the 503 fallback with Retry-After 2", got)
	}
}
