package flow

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// attend gives the connection of an answered leg to whom it was made for, and keeps it until he is done with it. A leg of
// nobody is hung up.
func (c *Calls) attend(ctx context.Context, ch Channel, connect Event) {
	v := visit{ch, connect, make(chan struct{})}
	limit := time.NewTimer(attendTime)
	defer limit.Stop()
	tick := time.NewTicker(lookEvery / 10)
	defer tick.Stop()
	for {
		c.mu.Lock()
		l := c.legs[connect.UUID()]
		c.mu.Unlock()
		var to chan visit
		if l != nil {
			to = l.visit
		}
		select {
		case to <- v:
			select {
			case <-v.done:
			case <-ctx.Done():
			}
			return
		case <-tick.C: // its caller comes to this agent, too, if the one before has died
		case <-limit.C:
			if _, err := c.order(ctx, "uuid_kill "+connect.UUID()+" NORMAL_CLEARING"); err != nil {
				c.log.Debug("an agent's leg of nobody had ended", "channel", connect.UUID(), "error", err)
				return
			}
			c.log.Warn("an agent's leg of nobody is hung up", "channel", connect.UUID())
			return
		case <-ctx.Done():
			return
		}
	}
}

// answered takes an agent who answered through whisper, key and claim to the talk. It returns how the leg is to end.
func (l *leg) answered(ctx context.Context, v visit) stop {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.law = v.connect.Variable(readCodec)
	l.mu.Unlock()
	l.callID = cmp.Or(v.connect.Variable("sip_call_id"), l.callID) // another one, when the process before this one has dialed
	events := make(chan Event)
	go listenTo(ctx, v.ch, events)
	if err := v.ch.Send(ctx, "myevents"); err != nil {
		return stop{cause: stopFailed.cause, miss: missDeclined}
	}
	lease := time.NewTimer(time.Until(l.until))
	defer lease.Stop()
	if end, ok := l.whisper(ctx, v, events, lease.C); !ok {
		return end
	}
	if end, ok := l.mayTalk(ctx, events); !ok {
		return end
	}
	return l.putThrough(ctx, events)
}

// listenTo takes a leg's events until the agent hangs up, which closes events.
func listenTo(ctx context.Context, ch Channel, events chan<- Event) {
	defer close(events)
	for {
		e, err := ch.Next(ctx)
		if err != nil || e.Name() == "CHANNEL_HANGUP" || e.Name() == "CHANNEL_HANGUP_COMPLETE" {
			return
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// hungUp is the end of a leg whose agent hung up before he had the caller.
var hungUp = stop{miss: missDeclined}

// whisper tells the agent what comes, and has him press 1 where he must: until then he hears a tone now and then.
func (l *leg) whisper(ctx context.Context, v visit, events <-chan Event, lease <-chan time.Time) (stop, bool) {
	sound := l.greeting(ctx)
	if sound == "" {
		return stop{}, true
	}
	if sdp := v.connect.Variable("switch_r_sdp"); l.d.Confirm && sdp != "" && !strings.Contains(sdp, "telephone-event") {
		if err := v.ch.Execute(ctx, "start_dtmf", "", ""); err != nil {
			return hungUp, false
		}
	}
	var again <-chan time.Time
	id := newID()
	if err := v.ch.Execute(ctx, "playback", sound, id); err != nil {
		return hungUp, false
	}
	for {
		select {
		case e, up := <-events:
			switch {
			case !up:
				return hungUp, false
			case l.d.Confirm && e.Name() == "DTMF" && e.Get("DTMF-Digit") == "1":
				_, err := l.e.of.order(ctx, "uuid_break "+l.uuid+" all")
				return hungUp, err == nil
			case e.Lost() > 0 && !l.d.Confirm, e.Name() == "CHANNEL_EXECUTE_COMPLETE" && e.Get("Application-UUID") == id:
				if !l.d.Confirm {
					return stop{}, true
				}
				again = time.After(keyToneEvery)
			}
		case <-again:
			id = newID()
			if err := v.ch.Execute(ctx, "playback", keyTone, id); err != nil {
				return hungUp, false
			}
		case <-lease:
			return stopTime, false
		case <-l.stopping:
			return l.stopped(), false
		case <-ctx.Done():
			return l.stopped(), false
		}
	}
}

// greeting is what the agent hears first, "" = nothing.
func (l *leg) greeting(ctx context.Context) string {
	paths, _ := l.e.k.fetch(ctx, l.d.Whisper)
	switch {
	case len(paths) > 0:
		return inOne(paths)
	case l.d.Confirm:
		return keyTone
	}
	return ""
}

// mayTalk asks the desk, until the lease is over.
func (l *leg) mayTalk(ctx context.Context, events <-chan Event) (stop, bool) {
	ctx, cancel := context.WithDeadline(ctx, l.until)
	defer cancel()
	type answer struct {
		reply api.ClaimReply
		err   error
	}
	answers := make(chan answer, 1)
	asked := time.Now()
	go func() {
		reply, err := l.e.of.askDesk(ctx, l.claim(), l.e.of.cfg.Desk.Claim)
		answers <- answer{reply, err}
	}()
	for {
		select {
		case a := <-answers:
			switch {
			case a.err != nil && ctx.Err() == context.Canceled:
				return l.stopped(), false
			case a.err != nil:
				l.log.Error("the desk does not say whether an agent and a caller may talk", "error", a.err)
				return stopFailed, false
			case !a.reply.Granted:
				l.log.Info("an agent was too late for a caller", "why", a.reply.Why)
				return stopFor(a.reply.Why), false
			case !l.e.wins(l):
				return stopFailed, false
			}
			l.e.of.cfg.Observe("claim", time.Since(asked))
			return stop{}, true
		case _, up := <-events:
			if !up {
				return hungUp, false
			}
		case <-l.stopping:
			return l.stopped(), false
		}
	}
}

// putThrough waits until the runner has put the agent through. From then on FreeSWITCH looks after the leg.
func (l *leg) putThrough(ctx context.Context, events <-chan Event) stop {
	for {
		select {
		case talks := <-l.settled:
			return l.afterAll(talks)
		case _, up := <-events:
			if !up {
				events = nil
				l.mu.Lock()
				l.hung = true
				l.mu.Unlock()
				l.e.wake()
			}
		case <-l.stopping:
			select {
			case talks := <-l.settled:
				return l.afterAll(talks)
			default:
				return l.stopped()
			}
		case <-ctx.Done():
			return l.stopped()
		}
	}
}

func (l *leg) afterAll(talks bool) stop {
	switch {
	case talks:
		return stop{}
	case l.hasHung():
		return hungUp
	}
	return stopFailed
}

// hasHung tells that the agent has hung up.
func (l *leg) hasHung() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hung
}
