package flow

import (
	"context"
	"log/slog"
	"strconv"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// BenchmarkStep measures one step of a menu: from the event of the digit, through the brain's answer, to the order of the next
// prompt being written, with a brain and a FreeSWITCH that answer at once.
func BenchmarkStep(b *testing.B) {
	events := make(chan Event)
	ch := &benchChannel{events: events, playing: make(chan string, 1), done: make(chan struct{})}
	brain := &benchBrain{left: b.N}
	calls := New(Config{Node: "n", Dir: b.TempDir(), Brain: brain, Media: &fakeMedia{}, Edge: &fakeEdge{}, Switch: ch, Log: slog.New(slog.DiscardHandler)})
	over := make(chan struct{})
	go func() { defer close(over); calls.Run(b.Context(), ch, connect(nil)) }()
	b.ReportAllocs()
	for id := range ch.playing {
		events <- event{"Event-Name": "DTMF", "Unique-ID": "chan-1", "DTMF-Digit": "1"}
		events <- event{"Event-Name": "CHANNEL_EXECUTE_COMPLETE", "Unique-ID": "chan-1", "Application-UUID": id}
		if brain.left == 0 {
			break
		}
	}
	events <- event{"Event-Name": "CHANNEL_HANGUP", "Unique-ID": "chan-1"}
	<-over
}

type benchChannel struct {
	events  chan Event
	playing chan string
	done    chan struct{}
}

func (c *benchChannel) Next(ctx context.Context) (Event, error) {
	select {
	case e := <-c.events:
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *benchChannel) Send(context.Context, string) error          { return nil }
func (c *benchChannel) API(context.Context, string) (string, error) { return "+OK", nil }

func (c *benchChannel) Job(context.Context, string) (string, error)          { return "+OK", nil }
func (c *benchChannel) Follow(context.Context, string, string, string) error { return nil }

func (c *benchChannel) Execute(_ context.Context, app, _, uuid string) error {
	if app == "playback" {
		c.playing <- uuid
	}
	return nil
}

type benchBrain struct{ left int }

func (b *benchBrain) Flow(_ context.Context, req api.FlowRequest) (api.FlowReply, error) {
	if b.left == 0 || isEnd(req.Outcome) {
		return api.FlowReply{Seq: req.Seq + 1, Command: api.CommandNoop}, nil
	}
	b.left--
	return api.FlowReply{Seq: req.Seq + 1, Command: api.CommandGather, Params: api.CommandParams{Files: refs("menu"), BargeIn: "1", MaxDigits: 1}}, nil
}

func (b *benchBrain) Alive(context.Context, api.FlowAlive) error { return nil }

// BenchmarkDispatch measures what an order to ring an agent costs here: from the op to the moment in which originate is given
// to the connection of FreeSWITCH.
func BenchmarkDispatch(b *testing.B) {
	given := make(chan string)
	calls := New(Config{Node: "n", Listen: "127.0.0.1:8484", Proxy: "127.0.0.1:5060", Desk: &fakeDesk{}, Media: &fakeMedia{}, Switch: benchSwitch{given: given}, Log: slog.New(slog.DiscardHandler)})
	k := newCall(calls, &benchChannel{}, connect(nil))
	e := k.enter(b.Context(), "e1")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		d := dispatch("r" + strconv.Itoa(n))
		if _, err := calls.Dispatch(b.Context(), api.Op{Token: "tok", EntryID: "e1", Dispatch: &d}); err != nil {
			b.Fatal(err)
		}
		<-given
		k.legs.Wait() // refused: busy
	}
	k.leave(e)
}

type benchSwitch struct {
	*benchChannel
	given chan<- string
}

func (s benchSwitch) Job(_ context.Context, command string) (string, error) {
	s.given <- command
	return "", refusal{"USER_BUSY"}
}
