package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
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
	old       *fakeSwitch                          // the connection of the same call before this one
	agents    func(command string) (string, error) // what is said to an agent's leg
	jobs      func(command string) (string, error) // originate
	bridge    func(leg string) (string, error)     // uuid_bridge
	offered   func(channel string)                 // uuid_media_reneg
	fails     func(command string) error           // of an order that FreeSWITCH does not carry out
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

// variable sets one of the channel.
func (f *fakeSwitch) variable(name, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vars[name] = value
}

// set says what commands are answered that begin so.
func (f *fakeSwitch) set(prefix, reply string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replies[prefix] = reply
}

func (f *fakeSwitch) reply(command string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for prefix, reply := range f.replies {
		if strings.HasPrefix(command, prefix) {
			return reply, true
		}
	}
	return "", false
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
	if f.fails != nil {
		if err := f.fails(command); err != nil {
			return "", err
		}
	}
	f.note("api " + command)
	if reply, ok := f.reply(command); ok {
		return reply, nil
	}
	verb, rest, _ := strings.Cut(command, " ")
	if verb == "uuid_media_reneg" && f.offered != nil {
		f.offered(rest)
		return "+OK Success", nil
	}
	if f.agents != nil && strings.HasPrefix(rest, legPrefix) {
		return f.agents(command)
	}
	switch verb {
	case "uuid_bridge":
		if f.bridge != nil {
			return f.bridge(strings.Fields(rest)[1])
		}
	case "uuid_getvar":
		f.mu.Lock()
		defer f.mu.Unlock()
		return cmp.Or(f.vars[strings.Fields(rest)[1]], notGiven), nil
	case "uuid_setvar":
		name, value, _ := strings.Cut(strings.TrimPrefix(rest, f.uuid+" "), " ")
		f.mu.Lock()
		defer f.mu.Unlock()
		f.vars[name] = value
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

// Job is API, but for originate.
func (f *fakeSwitch) Job(ctx context.Context, command string) (string, error) {
	if f.jobs != nil && strings.HasPrefix(command, "originate ") {
		f.note("job " + command)
		return f.jobs(command)
	}
	return f.API(ctx, command)
}

// Follow plays behind what is being said, and the music goes on.
func (f *fakeSwitch) Follow(_ context.Context, app, arg, _ string) error {
	f.note("follow " + strings.TrimSpace(app+" "+arg))
	return nil
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
	if f.old != nil {
		f.old.hangup(cause)
	}
}

// die is a kill of FreeSWITCH.
func (f *fakeSwitch) die() {
	f.mu.Lock()
	f.dead, f.gone = true, true
	f.mu.Unlock()
	close(f.closed)
}
