package flow

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

const (
	bridgeTime   = 5 * time.Second                       // FreeSWITCH connects two channels
	partedTime   = time.Second                           // a caller whose agent hung up in that moment comes back
	afterTalk    = "transfer_after_bridge=away:XML:away" // to an agent again, as after the death of one
	noAfterTalk  = "transfer_after_bridge"
	lastBridgeTo = "last_bridge_to"
)

// serveBy lets the caller talk to the agent of the leg that won. It returns when the caller has gone, or has come back
// from the talk by a connection of its own (another runner reports it then). talked is false when the two could not be
// connected: the caller waits on.
func (k *call) serveBy(ctx context.Context, seq int64, e *entry, l *leg) (done result, talked bool) {
	granted := time.Now()
	s := service{seq: seq, claim: l.claim(), leg: l.uuid, sinceMS: granted.UnixMilli()}
	err := k.connect(ctx, s, l.d.RecordKey)
	if err != nil || !k.awaitBridge(ctx, l.uuid, l.hasHung) {
		if k.gone || k.stopping {
			return result{}, true
		}
		k.log.Warn("a caller could not be put through", "reservation", l.d.ReservationID, "agent", l.d.UserID, "error", err)
		k.unconnect(ctx)
		e.waits()
		l.settled <- false
		return result{}, false
	}
	k.of.cfg.Observe("bridge", time.Since(granted))
	l.settled <- true
	k.leg = l.callID
	took := k.talk(ctx, s, l)
	return result{data: map[string]string{"talk_ms": fmt.Sprint(took.Milliseconds())}}, true
}

// connect has FreeSWITCH bridge the caller to the agent. The talk goes on should this agent die, and the caller comes
// back to one when the other side hangs up. What is to be said to him is swept away first: he would hear it over the
// talk.
func (k *call) connect(ctx context.Context, s service, record string) error {
	k.bridged = time.Time{}
	k.mu.Lock()
	k.rec.want = record
	k.mu.Unlock()
	if err := k.letGo(ctx, s.seq, lastBridgeTo); err != nil {
		return err
	}
	if err := k.set(ctx, afterTalk, serviceVariable+"="+s.String()); err != nil {
		return err
	}
	if err := k.breakOff(ctx); err != nil {
		return err
	}
	_, err := k.api(ctx, "uuid_bridge "+k.uuid+" "+s.leg)
	return err
}

// unconnect takes back what connect has set.
func (k *call) unconnect(ctx context.Context) {
	k.mu.Lock()
	k.rec.want = ""
	k.mu.Unlock()
	k.holdOn(ctx)
	k.forgetService(ctx)
}

// forgetService clears what the channel tells of a talk.
func (k *call) forgetService(ctx context.Context) {
	for _, name := range []string{noAfterTalk, serviceVariable} {
		if _, err := k.api(ctx, "uuid_setvar "+k.uuid+" "+name); err != nil && !k.gone {
			k.log.Warn("a variable of a talk stays", "variable", name, "error", err)
		}
	}
}

// awaitBridge waits until the caller is connected with a leg. False: he is not, or that one has hung up before.
func (k *call) awaitBridge(ctx context.Context, leg string, hung func() bool) bool {
	limit := time.NewTimer(bridgeTime)
	defer limit.Stop()
	parted := false
	for k.bridged.IsZero() {
		_, why := k.next(ctx, limit.C)
		switch {
		case !k.bridged.IsZero(): // also when he has hung up since
		case why == wakeGone:
			return false
		case why == wakeTimer || k.gap:
			k.gap = false
			to, err := k.of.variable(ctx, k.uuid, lastBridgeTo)
			switch {
			case err == nil && to == leg: // the event was lost
				k.bridged = time.Now()
				k.startRecording(ctx)
			case why == wakeTimer:
				return false
			}
		case hung() && !parted:
			parted = true
			limit.Reset(partedTime)
		}
	}
	return true
}

// talk lasts until the caller has gone, or this runner is done with him, and returns how long it was. Meanwhile the desk hears of it, and the media
// server gets out of the way if it may.
func (k *call) talk(ctx context.Context, s service, l *leg) time.Duration {
	talking, hush := context.WithCancel(ctx)
	var meanwhile sync.WaitGroup
	confirmed := false
	meanwhile.Go(func() { confirmed = k.of.confirm(talking, k.uuid, s, k.log) })
	if l.d.Release && l.d.RecordKey == "" {
		meanwhile.Go(func() { k.keepReleased(talking, l) })
	}
	k.whileTalking(func(do func(context.Context)) { meanwhile.Go(func() { do(talking) }) })
	for why := wakeEvent; why != wakeGone; {
		_, why = k.next(ctx, nil)
		k.keys.clear() // they are for the agent
	}
	took := time.Since(k.bridged)
	k.whileTalking(nil)
	k.consultEnds(ctx) // of a caller who has gone; one who is back tells it by another runner
	hush()
	meanwhile.Wait()
	k.stays()
	if !confirmed && !k.stopping { // before it hears that he has gone
		last, cancel := context.WithTimeout(ctx, brainPatience)
		defer cancel()
		k.of.confirm(last, k.uuid, s, k.log)
	}
	return took
}

// confirm tells the desk that two talk, until it has heard. A desk that thinks otherwise parts nobody. False: no brain
// answers, and whoever has the call next tells it.
func (c *Calls) confirm(ctx context.Context, channel string, s service, log *slog.Logger) bool {
	reply, err := c.askDesk(ctx, s.claim, c.cfg.Desk.Confirm)
	if err != nil {
		return false
	}
	if !reply.Granted {
		log.Error("the desk does not want a talk that is on", "reservation", s.claim.ReservationID, "why", reply.Why)
	}
	s.confirmed = true
	if _, err := c.order(ctx, "uuid_setvar "+channel+" "+serviceVariable+" "+s.String()); err != nil {
		log.Debug("a talk is confirmed once more", "error", err)
	}
	return true
}

// servedBefore says what became of a talk after which the caller is back, whichever runner had begun it. When none came
// about the desk hears that, and he waits on.
func (k *call) servedBefore(ctx context.Context, seq int64) (result, bool) {
	before := k.before
	k.before = nil
	if before == nil || before.Variable(markVariable) != strconv.FormatInt(seq, 10) {
		return result{}, false
	}
	text, to, err := k.talkedBefore(ctx, serviceVariable)
	s, ok := parseService(k.account, text)
	if err != nil || !ok || s.seq != seq {
		return result{}, false
	}
	k.forgetService(ctx)
	if to != s.leg {
		k.notServed(ctx, s)
		return result{}, false
	}
	if !s.confirmed {
		confirming, cancel := context.WithTimeout(ctx, brainPatience)
		k.of.confirm(confirming, k.uuid, s, k.log)
		cancel()
		k.forgetService(ctx)
	}
	done := result{api.OutcomeAnswered, map[string]string{"talk_ms": fmt.Sprint(max(0, time.Now().UnixMilli()-s.sinceMS))}}
	k.tellConsulted(seq, done)
	k.keepRecording(ctx, done.data)
	return done, true
}

// talkedBefore reads what a variable of the caller says of a talk, and to whom he talked last, over the connection of the
// call: also when FreeSWITCH does not answer at once, as its end would be lost with the answer.
func (k *call) talkedBefore(ctx context.Context, variable string) (text, to string, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	read := func(name string, into *string) error {
		return insist(ctx, func(ctx context.Context) (err error) {
			*into, err = readVariable(ctx, k.api, k.uuid, name)
			return err
		})
	}
	if err = read(variable, &text); err == nil {
		err = read(lastBridgeTo, &to)
	}
	if err != nil {
		k.log.Warn("it cannot be read what became of a talk", "error", err)
	}
	return text, to, err
}

// notServed tells the desk that a talk did not come about.
func (k *call) notServed(ctx context.Context, s service) {
	claim := s.claim
	claim.Cause = missFailed
	k.legs.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, missPatience)
		defer cancel()
		if _, err := k.of.askDesk(ctx, claim, k.of.cfg.Desk.Miss); err != nil {
			k.log.Warn("the desk does not hear that a talk did not come about", "reservation", claim.ReservationID, "error", err)
		}
	})
}
