package flow

import (
	"context"
	"errors"
	"time"
)

// wake is why a wait ended.
type wake int

const (
	wakeEvent wake = iota // something was taken in
	wakeTimer
	wakeGone // the caller has gone, or this process ends: nothing more to wait for
)

// next waits for one event, the timer (nil: none), or the end.
func (k *call) next(ctx context.Context, timer <-chan time.Time) (Event, wake) {
	if k.gone || k.stopping {
		return nil, wakeGone
	}
	event, why := k.listen(ctx, timer)
	if k.gone || k.stopping {
		why = wakeGone
	}
	return event, why
}

// listen is next, also after the caller hung up: the last events of a call tell what became of it.
func (k *call) listen(ctx context.Context, timer <-chan time.Time) (Event, wake) {
	if k.closed || k.stopping {
		return nil, wakeGone
	}
	select {
	case a := <-k.events:
		if a.err != nil {
			k.closed = true
			k.stopping = ctx.Err() != nil || errors.Is(a.err, context.Canceled)
			k.gone = k.gone || !k.stopping
			return nil, wakeGone
		}
		k.take(ctx, a)
		return a.event, wakeEvent
	case <-k.kicked:
		return nil, wakeEvent
	case <-timer:
		return nil, wakeTimer
	case <-ctx.Done():
		k.stopping = true
		return nil, wakeGone
	}
}

// take notes what an event says, whatever the call waits for.
func (k *call) take(ctx context.Context, a arrival) {
	e := a.event
	if e.Lost() > 0 {
		k.resync(ctx, e.Lost())
		return
	}
	if id := e.UUID(); id != "" && id != k.uuid {
		return
	}
	switch e.Name() {
	case "DTMF":
		k.keys.press(e.Get("DTMF-Digit"), a.at)
	case "CHANNEL_ANSWER":
		k.answered = true
	case "CHANNEL_BRIDGE":
		if k.bridged.IsZero() {
			k.bridged = a.at
			k.startRecording(ctx)
		}
	case "CHANNEL_EXECUTE_COMPLETE":
		if id := e.Get("Application-UUID"); id != "" {
			if _, waited := k.ended[id]; waited {
				k.ended[id] = e
			}
		}
	case "RECORD_STOP":
		if file := e.Get("Record-File-Path"); len(k.stopped) < maxStopped {
			k.stopped[file] = e
		}
	case "CHANNEL_HANGUP", "CHANNEL_HANGUP_COMPLETE":
		k.gone = true
		if k.cause == "" {
			k.cause = e.Get("Hangup-Cause")
		}
	case "CUSTOM":
		k.takeConference(ctx, e)
	}
}

// maxStopped bounds the ends of recordings that nobody has asked for.
const maxStopped = 16

// resync asks what lost events may have said: whether the call is still there. The command that runs looks after
// the rest (gap).
func (k *call) resync(ctx context.Context, lost int) {
	k.log.Warn("events of a call were lost", "events", lost)
	k.gap = true
	if there, err := k.api(ctx, "uuid_exists "+k.uuid); err == nil && there == "false" {
		k.gone = true
	}
}

// settle waits, also after the caller hung up, until something holds; false when it does not in time.
func (k *call) settle(ctx context.Context, holds func() bool) bool {
	return k.settleWithin(ctx, settleTimeout, holds)
}

func (k *call) settleWithin(ctx context.Context, patience time.Duration, holds func() bool) bool {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !holds() {
		if _, why := k.listen(ctx, limit.C); why != wakeEvent {
			return holds()
		}
	}
	return true
}
