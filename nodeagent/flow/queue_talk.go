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
	takeBackTime = 15 * time.Second
	offerTime    = 4 * time.Second // a phone answers an offer
	offerLook    = 20 * time.Millisecond
	bridgeTime   = 5 * time.Second // FreeSWITCH connects two channels
	partedTime   = time.Second     // a caller whose agent hung up in that moment comes back
	statusOf     = "sip_invite_failure_status"
	afterTalk    = "transfer_after_bridge=away:XML:away" // to an agent again, as after the death of one
	noAfterTalk  = "transfer_after_bridge"
	readCodec    = "read_codec"
	lastBridgeTo = "last_bridge_to"
)

// releaseLooks are the pauses after which a release is looked at: a phone may refuse late.
var releaseLooks = []time.Duration{200 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 8 * time.Second}

// serveBy lets the caller talk to the agent of the leg that won. It returns when the caller has gone, or has come back
// from the talk by a connection of its own (another runner reports it then). talked is false when the two could not be
// connected: the caller waits on.
func (k *call) serveBy(ctx context.Context, seq int64, e *entry, l *leg) (done result, talked bool) {
	granted := time.Now()
	s := service{seq: seq, claim: l.claim(), leg: l.uuid, sinceMS: granted.UnixMilli()}
	err := k.connect(ctx, s, l.d.RecordKey)
	if err != nil || !k.awaitBridge(ctx, l) {
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

// awaitBridge waits until the two are connected. False: they are not.
func (k *call) awaitBridge(ctx context.Context, l *leg) bool {
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
			case err == nil && to == l.uuid: // the event was lost
				k.bridged = time.Now()
				k.startRecording(ctx)
			case why == wakeTimer:
				return false
			}
		case l.hasHung() && !parted:
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
		meanwhile.Go(func() { k.release(talking, l) })
	}
	for why := wakeEvent; why != wakeGone; {
		_, why = k.next(ctx, nil)
		k.keys.clear() // they are for the agent
	}
	took := time.Since(k.bridged)
	hush()
	meanwhile.Wait()
	k.setReleased("")
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

// release has the two phones send each other their media, past the media server. Each is asked first whether it takes
// an offer in a call at all: of one that refuses, FreeSWITCH could bring the talk back only late, or never. It says success
// whatever happens then: a phone that refuses all the same is known by a variable, and the media comes back for good. The
// order names the agent's leg, because FreeSWITCH waits ten seconds for the phone that it names, when that one refuses, and
// takes nothing back before: callers come from carriers, of whom some refuse, agents have phones of the platform.
func (k *call) release(ctx context.Context, l *leg) {
	law, err := k.of.variable(ctx, k.uuid, readCodec)
	l.mu.Lock()
	theirs := l.law
	l.mu.Unlock()
	if err != nil || law == "" || law != theirs {
		k.log.Debug("the media stays here", "caller", law, "agent", theirs, "error", err)
		return
	}
	for _, side := range [][2]string{{k.uuid, l.uuid}, {l.uuid, k.uuid}} {
		if answer, err := k.of.offer(ctx, side[0], side[1]); err != nil || answer != "" {
			k.log.Info("the media stays here: a phone takes no offer in a call", "channel", side[0], "answer", answer, "error", err)
			return
		}
	}
	k.mu.Lock()
	recorded := k.rec.file != ""
	k.mu.Unlock()
	if recorded {
		return // an operator wants it
	}
	legs := []string{k.uuid, l.uuid}
	for _, uuid := range legs {
		if _, err := k.of.order(ctx, "uuid_setvar "+uuid+" "+statusOf); err != nil {
			return
		}
	}
	if ctx.Err() != nil {
		return
	}
	k.setReleased(l.uuid)
	said := make(chan error, 1)
	go func() { // it may say nothing for those ten seconds
		_, err := k.of.cfg.Switch.Job(ctx, "uuid_media off "+l.uuid)
		said <- err
	}()
	for _, pause := range releaseLooks {
		look := time.NewTimer(pause)
		for waiting := true; waiting; {
			select {
			case <-look.C:
				waiting = false
			case err := <-said:
				if err != nil {
					k.takeBack(ctx, "error", err)
					return
				}
			case <-ctx.Done():
				return
			}
		}
		if status := k.of.refused(ctx, legs); status != "" {
			k.takeBack(ctx, "refused", status)
			return
		}
	}
}

// offer offers a phone its media as it runs, and returns the status with which it refused, "" when it took the offer.
// FreeSWITCH tells on the other side's channel: it takes away what stands there, or writes the status.
func (c *Calls) offer(ctx context.Context, channel, other string) (refused string, err error) {
	const asked = "asked"
	if _, err = c.order(ctx, "uuid_setvar "+other+" "+statusOf+" "+asked); err != nil {
		return "", err
	}
	if _, err = c.order(ctx, "uuid_media_reneg "+channel); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, offerTime)
	defer cancel()
	look := time.NewTicker(offerLook)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if refused, err = c.variable(ctx, other, statusOf); err != nil || refused != asked {
				return refused, err
			}
		case <-ctx.Done():
			return "", fmt.Errorf("no answer to an offer: %w", context.Cause(ctx))
		}
	}
}

// refused is the status with which one of two phones refused its part of a release, "" = none.
func (c *Calls) refused(ctx context.Context, legs []string) string {
	for _, uuid := range legs {
		if status, err := c.variable(ctx, uuid, statusOf); err == nil && status != "" {
			return status
		}
	}
	return ""
}

// takeBack brings the media of a talk back to the media server. FreeSWITCH refuses that while it still waits for a phone's
// answer.
func (k *call) takeBack(ctx context.Context, why ...any) {
	leg := k.setReleased("")
	if leg == "" {
		return
	}
	k.log.Info("the media comes back", why...)
	for deadline := time.Now().Add(takeBackTime); ; {
		_, err := k.of.cfg.Switch.Job(ctx, "uuid_media "+leg)
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Now().After(deadline) {
			k.log.Error("the media of a talk did not come back", "error", err)
			return
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return
		}
	}
}

// setReleased notes whose leg was told to send its media past the media server, "" = none, and returns what was noted.
func (k *call) setReleased(leg string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.released
	k.released = leg
	return before
}

// servedBefore says what became of a talk after which the caller is back, whichever runner had begun it. When none came
// about the desk hears that, and he waits on.
func (k *call) servedBefore(ctx context.Context, seq int64) (result, bool) {
	before := k.before
	k.before = nil
	if before == nil || before.Variable(markVariable) != strconv.FormatInt(seq, 10) {
		return result{}, false
	}
	text, err := k.of.variable(ctx, k.uuid, serviceVariable)
	s, ok := parseService(k.account, text)
	if err != nil || !ok || s.seq != seq {
		return result{}, false
	}
	to, err := k.of.variable(ctx, k.uuid, lastBridgeTo)
	if err != nil {
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
	k.keepRecording(ctx, done.data)
	return done, true
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
