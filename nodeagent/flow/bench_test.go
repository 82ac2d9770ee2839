package flow

import (
	"context"
	"log/slog"
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
