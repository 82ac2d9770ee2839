package flow

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// fakeBrain gives one command after the other, each once, and remembers what it was told.
type fakeBrain struct {
	mu       sync.Mutex
	commands []api.FlowReply
	told     []api.FlowRequest
	at       int
	away     time.Time // until then it does not answer
	asked    int
	alive    []api.FlowAlive
}

var errAway = errors.New("503")

func (b *fakeBrain) Flow(_ context.Context, req api.FlowRequest) (api.FlowReply, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if time.Now().Before(b.away) {
		return api.FlowReply{}, errAway
	}
	b.told = append(b.told, req)
	if req.Outcome != "" && req.Seq == int64(b.at) {
		b.at++
	}
	if b.at == 0 {
		b.at = 1
	}
	if isEnd(req.Outcome) || b.at > len(b.commands) {
		return api.FlowReply{Seq: int64(b.at), Command: api.CommandNoop}, nil
	}
	reply := b.commands[b.at-1]
	reply.Seq = int64(b.at)
	return reply, nil
}

// awayFor has the brain answer nothing for a while; 0 = it answers.
func (b *fakeBrain) awayFor(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = time.Now().Add(d)
}

func (b *fakeBrain) Alive(_ context.Context, alive api.FlowAlive) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alive = append(b.alive, alive)
	return nil
}

// reports are the lists of living calls that it was told.
func (b *fakeBrain) reports() []api.FlowAlive {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.alive
}

// outcomes are what the brain was told: "done", or "digits digits=42 terminator=#".
func (b *fakeBrain) outcomes() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, req := range b.told[1:] {
		line := req.Outcome
		for _, name := range []string{"digit", "digits", "terminator", "reason", "cause", "ended_by", "key", "sip_code", "missing", "duration_ms", "talk_ms", "consulted_kind", "consulted_id", "consulted_by"} {
			if v := req.Data[name]; v != "" {
				line += " " + name + "=" + v
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// fakeMedia has every file but those with "none" in their key.
type fakeMedia struct {
	mu     sync.Mutex
	stored map[string]int
	slow   bool // the brain is away: what is stored gets there later
}

func (m *fakeMedia) Fetch(_ context.Context, ref api.MediaRef) (string, error) {
	if strings.Contains(ref.Key, "none") {
		return "", errors.New("no such object")
	}
	return "/cache/" + ref.Key, nil
}

func (m *fakeMedia) Store(ctx context.Context, key, file string) (api.MediaRef, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return api.MediaRef{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored[key] = len(content)
	if m.slow {
		<-ctx.Done()
		return api.MediaRef{Key: key, Bytes: int64(len(content)), SHA256: "00"}, errors.New("later")
	}
	return api.MediaRef{Key: key, Bytes: int64(len(content)), SHA256: "00"}, nil
}

type fakeEdge struct {
	mu    sync.Mutex
	ended []string
}

func (e *fakeEdge) EndDialog(_ context.Context, callID string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = append(e.ended, callID)
	return nil
}

// node is Calls with fakes all around.
type node struct {
	*Calls
	t     *testing.T
	fs    *fakeSwitch
	brain *fakeBrain
	media *fakeMedia
	edge  *fakeEdge
}

func newNode(t *testing.T, commands ...api.FlowReply) *node {
	n := &node{t: t, fs: newSwitch(t), brain: &fakeBrain{commands: commands}, media: &fakeMedia{stored: map[string]int{}}, edge: &fakeEdge{}}
	n.Calls = New(Config{
		Node: "n1", Proxy: "127.0.0.1:5060", Dir: filepath.Join(t.TempDir(), "rec"), Brain: n.brain, Media: n.media, Edge: n.edge,
		Switch: n.fs, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	return n
}

// connect is what FreeSWITCH tells with a call.
func connect(more map[string]string) event {
	e := event{
		"Event-Name": "CHANNEL_DATA", "Unique-ID": "chan-1", "Answer-State": "ringing", "Caller-Caller-ID-Number": "123", "Caller-Caller-ID-Name": "Al, ice",
		"variable_sip_h_X-Sipio-Call": "tok", "variable_sip_h_X-Sipio-Account": "acc", "variable_sip_h_X-Sipio-App": "flow/flow_1",
		"variable_sip_h_X-Sipio-Vars": base64.RawURLEncoding.EncodeToString([]byte("caller_number=123&did_label=a%20b")), "variable_sip_call_id": "call@phone",
		"variable_switch_r_sdp": "m=audio 4 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n",
	}
	maps.Copy(e, more)
	return e
}

// run serves a call in a bubble whose clock runs by itself, and returns when it has ended.
func (n *node) run(more map[string]string) { n.Run(n.t.Context(), n.fs, connect(more)) }

// during starts what happens while a call is served.
func during(d time.Duration, do func()) { time.AfterFunc(d, do) }

func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func command(name string, p api.CommandParams) api.FlowReply {
	return api.FlowReply{Command: name, Params: p}
}

func refs(keys ...string) (list []api.MediaRef) {
	for _, key := range keys {
		list = append(list, api.MediaRef{Key: key})
	}
	return list
}

func (n *node) wantOutcomes(want string) {
	n.t.Helper()
	if got := n.brain.outcomes(); got != want {
		n.t.Errorf("the brain was told\n%s\nwant\n%s", got, want)
	}
}

func (n *node) wantOrders(want ...string) {
	n.t.Helper()
	rest := n.fs.orders()
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			n.t.Errorf("no %q, or not in that order, in\n%s", w, n.fs.orders())
			return
		}
		rest = after
	}
}
