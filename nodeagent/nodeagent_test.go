package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// childDir, when set, makes this test binary a node agent that runs until it is killed.
const childDir = "SIPIO_TEST_NODE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		cfg := testConfig(dir, os.Getenv("SIPIO_TEST_BRAIN"))
		cfg.Ready = func(a Addrs) { fmt.Println(a.Door) }
		fmt.Println(Run(context.Background(), cfg))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// testConfig is an agent whose whole world is in dir.
func testConfig(dir, brainURL string) Config {
	cfg := DefaultConfig()
	cfg.Name, cfg.BrainURLs = "edge1", []string{brainURL}
	cfg.BrainKeyFile = filepath.Join(dir, "key")
	cfg.DoorListen, cfg.OpListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.KamailioSocket, cfg.KamailioClient = filepath.Join(dir, "kam"), filepath.Join(dir, "node")
	cfg.RTPEngineNG, cfg.SpoolDir = "127.0.0.1:9", filepath.Join(dir, "spool")
	cfg.HeartbeatInterval = 100 * time.Millisecond
	cfg.Log = slog.New(slog.DiscardHandler)
	return cfg
}

func testDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "node") // t.TempDir is too long for a socket path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("node-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startAgent runs an agent until the test ends.
func startAgent(t *testing.T, cfg Config) Addrs {
	t.Helper()
	ready := make(chan Addrs, 1)
	cfg.Ready = func(a Addrs) { ready <- a }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case addrs := <-ready:
		return addrs
	case err := <-done:
		done <- err
		t.Fatalf("Run ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("agent did not get ready")
	}
	return Addrs{}
}

// fakeBrain takes decisions, events and heartbeats, and is away while down.
type fakeBrain struct {
	mu       sync.Mutex
	down     bool
	protocol string
	seqs     []int64
	beats    chan api.Heartbeat
}

func newFakeBrain(t *testing.T) (*fakeBrain, string) {
	b := &fakeBrain{protocol: api.Version, beats: make(chan api.Heartbeat, 1)}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	return b, s.URL
}

func (b *fakeBrain) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *fakeBrain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down || r.Header.Get("Authorization") != "Bearer node-key" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch r.URL.Path {
	case api.PathPresenceEvent:
		var batch api.EventBatch
		_ = json.NewDecoder(r.Body).Decode(&batch)
		for _, ev := range batch.Events {
			b.seqs = append(b.seqs, ev.Seq)
		}
		_ = json.NewEncoder(w).Encode(api.EventReply{LastSeq: batch.Events[len(batch.Events)-1].Seq})
	case api.PathHeartbeat:
		var beat api.Heartbeat
		_ = json.NewDecoder(r.Body).Decode(&beat)
		select {
		case <-b.beats: // the newest only
		default:
		}
		b.beats <- beat
		_, _ = fmt.Fprintf(w, `{"version":%q}`, b.protocol)
	default:
		_, _ = io.WriteString(w, `{"action":"accept"}`)
	}
}

// taken returns the events the brain has, repetitions removed, and fails when order or a number is
// missing.
func (b *fakeBrain) taken(t *testing.T) int64 {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var last int64
	for _, seq := range b.seqs {
		if seq > last+1 {
			t.Fatalf("event %d came after %d: some are lost", seq, last)
		}
		last = max(last, seq)
	}
	return last
}

// postEvents posts n events from first as Kamailio does, and returns what was acknowledged.
func postEvents(addr string, first, n int) (last int64, err error) {
	var body strings.Builder
	body.WriteString("node=edge1&boot=1\n")
	for seq := first; seq < first+n; seq++ {
		fmt.Fprintf(&body, "seq=%d&time_ms=1&type=contact.saved&aor=sip%%3Aa%%40x\n", seq)
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+addr+api.PathPresenceEvent, "text/plain", strings.NewReader(body.String()))
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var reply api.EventReply
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	err = json.NewDecoder(resp.Body).Decode(&reply)
	return reply.LastSeq, err
}

func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ask(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// With nothing of its world there, no Kamailio, no rtpengine and no brain, the agent starts, answers
// decisions by fallback, takes events, and says what is missing.
func TestRun_StartsAloneAndSaysWhatIsMissing(t *testing.T) {
	addrs := startAgent(t, testConfig(testDir(t), "http://127.0.0.1:1"))
	resp, err := http.Post("http://"+addrs.Door+api.PathAuth, "application/x-www-form-urlencoded", strings.NewReader("a=b"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var reply api.AuthReply
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil || reply.SIPCode != 503 || reply.RetryAfterSec != 2 {
		t.Errorf("decision %+v, %v; want the fallback", reply, err)
	}
	if last, err := postEvents(addrs.Door, 1, 3); err != nil || last != 3 {
		t.Errorf("events: %d, %v", last, err)
	}
	var h Health
	eventually(t, "health tells of the missing daemons", func() bool {
		h = getHealth(t, addrs.Op)
		return h.Kamailio.Error != "" && h.RTPEngine.Error != "" && h.Brain.Error != ""
	})
	if h.Status != "degraded" || h.Spool.Events != 3 || h.Door.Fallbacks != 1 || h.Door.Brains[0].Opened != 1 {
		t.Errorf("health %+v", h)
	}
}

func getHealth(t *testing.T, addr string) Health {
	t.Helper()
	resp, err := http.Get("http://" + addr + api.PathHealth)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var h Health
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		t.Fatal(err)
	}
	return h
}

// Events taken while the brain is away reach it in order once it is back, and the heartbeat says who
// this is and what it sees.
func TestRun_DeliversEventsAfterAnOutageAndSendsHeartbeats(t *testing.T) {
	b, url := newFakeBrain(t)
	addrs := startAgent(t, testConfig(testDir(t), url))
	b.setDown(true)
	for i := range 10 {
		if last, err := postEvents(addrs.Door, 1+i*5, 5); err != nil || last != int64(5+i*5) {
			t.Fatalf("events while the brain is away: %d, %v", last, err)
		}
	}
	b.setDown(false)
	eventually(t, "all events arrived", func() bool { return b.taken(t) == 50 })
	var beat api.Heartbeat
	eventually(t, "a heartbeat after that", func() bool { beat = <-b.beats; return beat.SpooledEvents == 0 })
	if beat.Node != "edge1" || beat.Protocol != api.Version || beat.Versions["sipio-node"] != "dev" || beat.Healthy["kamailio"] || beat.KernelForwarding {
		t.Errorf("heartbeat %+v", beat)
	}
}

// A brain that speaks a higher major protocol keeps the agent from starting.
func TestRun_RefusesABrainOfAHigherProtocol(t *testing.T) {
	b, url := newFakeBrain(t)
	b.protocol = "2.0"
	err := Run(t.Context(), testConfig(testDir(t), url))
	if err == nil || !strings.Contains(err.Error(), "protocol 2.0") {
		t.Errorf("Run: %v", err)
	}
}

// The service manager hears READY once the door answers, the watchdog while it does, and STOPPING.
func TestRun_TellsTheServiceManager(t *testing.T) {
	_, url := newFakeBrain(t)
	cfg := testConfig(testDir(t), url)
	states := make(chan string, 100)
	cfg.WatchdogEvery = 50 * time.Millisecond
	cfg.Notify = func(state string) error { states <- state; return errors.New("logged, not fatal") }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		select {
		case got := <-states:
			if got != want {
				t.Errorf("service manager heard %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("service manager never heard %q", want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	close(states)
	stopping := 0
	for state := range states {
		if state == "STOPPING=1" {
			stopping++
		}
	}
	if stopping != 1 {
		t.Errorf("service manager heard STOPPING %d times, want once", stopping)
	}
}

// An agent killed with SIGKILL again and again, with Kamailio posting as it does (the same batch until
// it is acknowledged), loses no event: the brain ends up with every number, in order.
func TestRun_KillLosesNoAcknowledgedEvent(t *testing.T) {
	b, url := newFakeBrain(t)
	dir := testDir(t)
	seq := 1
	for life := range 4 {
		b.setDown(life%2 == 1)
		child, addr := startChild(t, dir, url)
		killed := make(chan struct{})
		for taken := 0; ; {
			last, err := postEvents(addr, seq, 3)
			if err != nil && taken < 2 {
				_ = child.Process.Kill()
				t.Fatalf("behind %d batches: %v", taken, err)
			}
			if err != nil {
				break
			}
			seq = int(last) + 1
			if taken++; taken == 2 {
				time.AfterFunc(time.Duration(60+40*life)*time.Millisecond, func() {
					_ = child.Process.Kill()
					close(killed)
				})
			}
		}
		<-killed
		_ = child.Wait()
	}
	b.setDown(false)
	startAgent(t, testConfig(dir, url))
	eventually(t, "every acknowledged event arrived", func() bool { return b.taken(t) >= int64(seq-1) })
	if seq < 20 {
		t.Errorf("only %d events were acknowledged: nothing is proved", seq-1)
	}
}

func startChild(t *testing.T, dir, url string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "SIPIO_TEST_BRAIN="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("child agent: %v", err)
	}
	return cmd, addr
}
