package flow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
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

// event is an Event made of headers.
type event map[string]string

func (e event) Get(name string) string      { return e[name] }
func (e event) Variable(name string) string { return e["variable_"+name] }
func (e event) Name() string                { return e["Event-Name"] }
func (e event) Subclass() string            { return e["Event-Subclass"] }
func (e event) UUID() string                { return e["Unique-ID"] }
func (e event) Lost() int {
	if e["lost"] != "" {
		return 7
	}
	return 0
}

// fakeSwitch is the channel of one call: applications that last, and end by themselves, by a break or with the call.
type fakeSwitch struct {
	t      *testing.T
	uuid   string
	events chan Event
	closed chan struct{}

	mu      sync.Mutex
	log     []string // orders, in order
	vars    map[string]string
	running []*running
	dead    bool
	gone    bool
	lasts   map[string]time.Duration     // how long an application lasts, by app or app and argument; others last for ever
	ends    map[string]map[string]string // variables and headers of the end of an application
	onStart func(app, arg string)        // called outside the lock
	replies map[string]string            // of api commands, by how they begin

	recording string
}

type running struct {
	app, arg, id string
	timer        *time.Timer
}

func newSwitch(t *testing.T) *fakeSwitch {
	return &fakeSwitch{
		t: t, uuid: "chan-1", events: make(chan Event, 100), closed: make(chan struct{}), vars: map[string]string{},
		lasts: map[string]time.Duration{"playback": time.Second, "answer": 0}, ends: map[string]map[string]string{}, replies: map[string]string{},
	}
}

func (f *fakeSwitch) emit(name string, headers map[string]string) {
	e := event{"Event-Name": name, "Unique-ID": f.uuid}
	maps.Copy(e, headers)
	f.events <- e
}

func (f *fakeSwitch) press(digits string) {
	for _, d := range digits {
		f.emit("DTMF", map[string]string{"DTMF-Digit": string(d)})
	}
}

func (f *fakeSwitch) Next(ctx context.Context) (Event, error) {
	select {
	case e := <-f.events:
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.closed:
		select {
		case e := <-f.events:
			return e, nil
		default:
			return nil, io.EOF
		}
	}
}

func (f *fakeSwitch) note(order string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, order)
}

func (f *fakeSwitch) orders() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, "\n")
}

func (f *fakeSwitch) Send(_ context.Context, command string) error { f.note(command); return nil }

func (f *fakeSwitch) API(_ context.Context, command string) (string, error) {
	f.note("api " + command)
	for prefix, reply := range f.replies {
		if strings.HasPrefix(command, prefix) {
			return reply, nil
		}
	}
	verb, rest, _ := strings.Cut(command, " ")
	switch verb {
	case "uuid_exists":
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.dead {
			return "", errors.New("FreeSWITCH is away")
		}
		return fmt.Sprint(!f.gone), nil
	case "uuid_break":
		f.stop()
	case "uuid_kill":
		_, cause, _ := strings.Cut(rest, " ")
		f.hangup(cause)
	case "uuid_setvar_multi":
		_, sets, _ := strings.Cut(rest, " ")
		f.mu.Lock()
		for set := range strings.SplitSeq(sets, ";") {
			name, value, _ := strings.Cut(set, "=")
			f.vars[name] = value
		}
		f.mu.Unlock()
	case "uuid_record":
		words := strings.Fields(rest)
		if words[1] == "start" {
			sound(f.t, words[2], 3200)
			f.recording = words[2]
		} else if words[1] == "stop" {
			f.emit("RECORD_STOP", map[string]string{"Record-File-Path": words[2]})
		}
	}
	return "+OK", nil
}

// sound writes a WAV file of so many bytes of sound.
func sound(t *testing.T, file string, n int) {
	if err := os.WriteFile(file, make([]byte, wavHeader+n), 0o600); err != nil {
		t.Error(err)
	}
}

func (f *fakeSwitch) Execute(_ context.Context, app, arg, id string) error {
	f.note(strings.TrimSpace(app + " " + arg))
	if app == "record" {
		sound(f.t, strings.Fields(arg)[0], 16000)
	}
	if app == "answer" {
		f.emit("CHANNEL_ANSWER", nil)
	}
	f.mu.Lock()
	r := &running{app: app, arg: arg, id: id}
	lasts, known := f.lasts[app+" "+arg]
	if !known {
		lasts, known = f.lasts[app]
	}
	f.running = append(f.running, r)
	if known {
		r.timer = time.AfterFunc(lasts, func() { f.stopIf(func(other *running) bool { return other == r }) })
	}
	started := f.onStart
	f.mu.Unlock()
	if started != nil {
		started(app, arg)
	}
	return nil
}

// stop ends all that runs.
func (f *fakeSwitch) stop() { f.stopIf(func(*running) bool { return true }) }

// stopIf ends the applications that it says.
func (f *fakeSwitch) stopIf(is func(*running) bool) {
	f.mu.Lock()
	var ended, left []*running
	for _, r := range f.running {
		if is(r) {
			ended = append(ended, r)
		} else {
			left = append(left, r)
		}
	}
	f.running = left
	f.mu.Unlock()
	for _, r := range ended {
		if r.timer != nil {
			r.timer.Stop()
		}
		headers := map[string]string{"Application": r.app, "Application-UUID": r.id, "Application-Response": "FILE PLAYED"}
		maps.Copy(headers, f.ends[r.app])
		maps.Copy(headers, f.ends[r.app+" "+r.arg])
		f.emit("CHANNEL_EXECUTE_COMPLETE", headers)
	}
}

// hangup ends the channel as FreeSWITCH tells it.
func (f *fakeSwitch) hangup(cause string) {
	f.mu.Lock()
	if f.gone {
		f.mu.Unlock()
		return
	}
	f.gone = true
	f.mu.Unlock()
	f.emit("CHANNEL_HANGUP", map[string]string{"Hangup-Cause": cause})
	f.stop()
	if f.recording != "" {
		f.emit("RECORD_STOP", map[string]string{"Record-File-Path": f.recording})
	}
	f.emit("CHANNEL_HANGUP_COMPLETE", map[string]string{"Hangup-Cause": cause})
	close(f.closed)
}

// die is a kill of FreeSWITCH.
func (f *fakeSwitch) die() {
	f.mu.Lock()
	f.dead, f.gone = true, true
	f.mu.Unlock()
	close(f.closed)
}

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

func (b *fakeBrain) Alive(_ context.Context, alive api.FlowAlive) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alive = append(b.alive, alive)
	return nil
}

// outcomes are what the brain was told: "done", or "digits digits=42 terminator=#".
func (b *fakeBrain) outcomes() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, req := range b.told[1:] {
		line := req.Outcome
		for _, name := range []string{"digit", "digits", "terminator", "reason", "cause", "ended_by", "key", "sip_code", "missing", "duration_ms"} {
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
}

func (m *fakeMedia) Fetch(_ context.Context, ref api.MediaRef) (string, error) {
	if strings.Contains(ref.Key, "none") {
		return "", errors.New("no such object")
	}
	return "/cache/" + ref.Key, nil
}

func (m *fakeMedia) Store(_ context.Context, key, file string) (api.MediaRef, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return api.MediaRef{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored[key] = len(content)
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
