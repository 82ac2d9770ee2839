package esl

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serving runs Serve on a loopback address. The returned function ends it and gives its error.
func serving(t *testing.T, o Options, handle func(context.Context, *Conn, *Event)) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, o, handle) }()
	stop = func() error {
		cancel()
		select {
		case err := <-ended:
			ended <- err
			return err
		case <-soon(t).Done():
			return errors.New("Serve did not end")
		}
	}
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

// call connects as FreeSWITCH's socket application does.
func call(t *testing.T, addr string) *fakeSwitch {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return newFakeSwitch(nc)
}

// channelData is the recorded reply to connect.
func channelData(t *testing.T) string {
	head, _, _ := strings.Cut(recording(t, "out-ivr-plain.fs-to-app.txt"), "\n\n")
	return head + "\n\n"
}

func TestServe_GivesEachCallWithItsChannel(t *testing.T) {
	// Proves an outbound session from its first byte to its last, played from a recording: connect is sent at once, handle
	// gets the channel, commands their recorded replies, every event arrives in order, linger does not end it, the final notice does.
	text := recording(t, "out-ivr-plain.fs-to-app.txt")
	want, err := play(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		channel string
		events  []*Event
		err     error
	}
	got := make(chan result, 1)
	commands := recordedCommands(t, "out-ivr-plain")
	addr, stop := serving(t, quick(), func(ctx context.Context, c *Conn, channel *Event) {
		r := result{channel: channel.Variable("sip_h_X-Queue-Id")}
		for _, command := range commands[1:] {
			lines := strings.Split(command, "\n")
			var headers []Header
			for _, line := range lines[1:] {
				name, value, _ := strings.Cut(line, ": ")
				headers = append(headers, Header{name, value})
			}
			if _, err := c.Send(ctx, lines[0], headers...); err != nil && !strings.Contains(err.Error(), "command not found") {
				t.Errorf("%s: %v", lines[0], err)
			}
		}
		for r.err == nil {
			var e *Event
			if e, r.err = c.Next(ctx); r.err == nil {
				r.events = append(r.events, e)
			}
		}
		got <- r
	})
	f := call(t, addr)
	answers := replyTurns(t, text)
	for i, want := range commands {
		if command, err := f.command(); err != nil || command != want {
			t.Fatalf("command %d is %q, %v", i, command, err)
		}
		f.say(answers[i])
	}
	f.say(answers[len(commands)])
	r := <-got
	if r.channel != "sales/eu-1" || !errors.Is(r.err, ErrDisconnected) || len(r.events) != len(want.events) {
		t.Fatalf("channel %q, %d events of %d, %v", r.channel, len(r.events), len(want.events), r.err)
	}
	for i, e := range r.events {
		if e.Get("Event-Sequence") != want.events[i].Get("Event-Sequence") {
			t.Errorf("event %d out of order", i)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// replyTurns cuts a recording behind each of its replies: what FreeSWITCH sends before, and as, the reply to each command.
func replyTurns(t *testing.T, text string) (turns []string) {
	t.Helper()
	ends := slices.Sorted(maps.Keys(frameEnds(t, text)))
	turn := 0
	for i, end := range ends[1:] {
		head, _, _ := strings.Cut(text[ends[i]:end], "\n\n")
		if strings.Contains(head, "Content-Type: command/reply") {
			turns = append(turns, text[turn:end])
			turn = end
		}
	}
	return append(turns, text[turn:])
}

func TestServe_ClosesWhoBringsNoCall(t *testing.T) {
	// Proves that a peer which says nothing, refuses, or speaks another protocol is closed, without a call of handle.
	o := quick()
	o.AuthTimeout = 50 * time.Millisecond
	var calls atomic.Int32
	addr, _ := serving(t, o, func(context.Context, *Conn, *Event) { calls.Add(1) })
	for _, says := range []string{"", replyFrame("-ERR no"), replyFrame("+OK"), "GET / HTTP/1.1\r\n\r\n", goodbye, "Event-Name: CHANNEL_DATA\n\n"} {
		f := call(t, addr)
		f.say(says)
		for { // connect, then the end
			if _, err := f.command(); err != nil {
				if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
					t.Errorf("%q: not closed", says)
				}
				break
			}
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d calls handled", n)
	}
}

func TestServe_HangsUpCallsOverTheLimit(t *testing.T) {
	// Proves the bound on connections: with MaxConns calls up the next hears a hangup with SWITCH_CONGESTION instead of
	// being parked, and there is room again when one ends.
	o := quick()
	o.MaxConns = 2
	handled := make(chan *Conn, 10)
	addr, _ := serving(t, o, func(ctx context.Context, c *Conn, _ *Event) {
		handled <- c
		select {
		case <-c.Done():
		case <-ctx.Done():
		}
	})
	begin := func() *fakeSwitch {
		f := call(t, addr)
		if command, err := f.command(); err != nil || command != "connect" {
			t.Fatalf("%q, %v", command, err)
		}
		f.say(channelData(t))
		return f
	}
	first, _ := begin(), begin()
	<-handled
	<-handled
	third := begin()
	if command, err := third.command(); err != nil || command != "sendmsg\ncall-command: hangup\nhangup-cause: SWITCH_CONGESTION" {
		t.Errorf("over the limit: %q, %v", command, err)
	}
	third.say(replyFrame("+OK"))
	if _, err := third.command(); err == nil {
		t.Error("the refused call is not closed")
	}
	_ = first.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		f := begin()
		_ = f.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := f.command(); err != nil && len(handled) > 0 { // nothing more is said: it is handled, or one before it
			break
		}
		_ = f.Close()
		if time.Now().After(deadline) {
			t.Fatal("no room after a call ended")
		}
	}
}

func TestServe_EndsWithItsContextOrItsListener(t *testing.T) {
	// Proves that Serve ends when told, after its handles have, and that a listener closed by others is an error.
	running := make(chan struct{})
	var ended atomic.Bool
	addr, stop := serving(t, quick(), func(ctx context.Context, _ *Conn, _ *Event) {
		close(running)
		<-ctx.Done()
		ended.Store(true)
	})
	f := call(t, addr)
	_, _ = f.command()
	f.say(channelData(t))
	<-running
	if err := stop(); err != nil || !ended.Load() {
		t.Errorf("Serve: %v, handle ended %v", err, ended.Load())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := Serve(t.Context(), l, quick(), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed listener: %v", err)
	}
}
