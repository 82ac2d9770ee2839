package flow

import (
	"context"
	"fmt"
	"time"
)

const (
	takeBackTime = 15 * time.Second
	offerTime    = 4 * time.Second // a phone answers an offer
	offerLook    = 20 * time.Millisecond
	statusOf     = "sip_invite_failure_status"
	readCodec    = "read_codec"
)

// releaseLooks are the pauses after which a release is looked at: a phone may refuse late.
var releaseLooks = []time.Duration{200 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 8 * time.Second}

// keepReleased releases the media of a talk, and again after a supervisor needed it here, until ctx ends.
func (k *call) keepReleased(ctx context.Context, l *leg) {
	for k.release(ctx, l) {
		for wait := true; wait; wait = k.isReleased() || k.isWatched() {
			select {
			case <-k.unheld:
			case <-ctx.Done():
				return
			}
		}
	}
}

// isReleased says that the media of the talk was told to go past the media server.
func (k *call) isReleased() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.released != ""
}

// isWatched says that a supervisor needs the media here.
func (k *call) isWatched() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.watchers > 0
}

// release has the two phones send each other their media, past the media server. Each is asked first whether it takes
// an offer in a call at all: of one that refuses, FreeSWITCH could bring the talk back only late, or never. It says success
// whatever happens then: a phone that refuses all the same is known by a variable, and the media comes back for good. The
// order names the agent's leg, because FreeSWITCH waits ten seconds for the phone that it names, when that one refuses, and
// takes nothing back before: callers come from carriers, of whom some refuse, agents have phones of the platform. It returns
// when no late refusal is to be expected any more, or the media is needed here; true: it may be released again after that.
func (k *call) release(ctx context.Context, l *leg) (again bool) {
	law, err := k.of.variable(ctx, k.uuid, readCodec)
	l.mu.Lock()
	theirs := l.law
	l.mu.Unlock()
	if err != nil || law == "" || law != theirs {
		k.log.Debug("the media stays here", "caller", law, "agent", theirs, "error", err)
		return false
	}
	for _, side := range [][2]string{{k.uuid, l.uuid}, {l.uuid, k.uuid}} {
		if answer, err := k.of.offer(ctx, side[0], side[1]); err != nil || answer != "" {
			k.log.Info("the media stays here: a phone takes no offer in a call", "channel", side[0], "answer", answer, "error", err)
			return false
		}
	}
	legs := []string{k.uuid, l.uuid}
	for _, uuid := range legs {
		if _, err := k.of.order(ctx, "uuid_setvar "+uuid+" "+statusOf); err != nil {
			return false
		}
	}
	if ctx.Err() != nil {
		return false
	}
	away, cancel := context.WithCancel(ctx) // until it is taken back
	defer cancel()
	if goes, needed := k.mayRelease(l.uuid, cancel); !goes {
		return needed
	}
	return k.watchRelease(ctx, away, l, legs)
}

// watchRelease orders the release and looks how it goes, until away ends.
func (k *call) watchRelease(ctx, away context.Context, l *leg, legs []string) (again bool) {
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
				if err != nil && away.Err() == nil {
					_ = k.takeBack(ctx, "error", err) // told
					return false
				}
			case <-away.Done():
				return ctx.Err() == nil
			}
		}
		if status := k.of.refused(away, legs); status != "" && away.Err() == nil {
			_ = k.takeBack(ctx, "refused", status)
			return false
		}
	}
	return true
}

// mayRelease notes that the media of a talk goes to the leg, unless it is needed here: for an operator's recording, for
// good, or, which needed says, as long as a supervisor listens. cancel is called when it is taken back.
func (k *call) mayRelease(leg string, cancel func()) (goes, needed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rec.file != "" || k.watchers > 0 {
		return false, k.rec.file == ""
	}
	k.released, k.takenBack = leg, cancel
	return true, false
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
func (k *call) takeBack(ctx context.Context, why ...any) error {
	leg := k.stays()
	if leg == "" {
		return nil
	}
	k.log.Info("the media comes back", why...)
	for deadline := time.Now().Add(takeBackTime); ; {
		_, err := k.of.cfg.Switch.Job(ctx, "uuid_media "+leg)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			k.log.Error("the media of a talk did not come back", "error", err)
			return err
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return err
		}
	}
}

// stays notes that the media of the talk is to be here, and returns the leg that was told to send it past the media server,
// "" = none was.
func (k *call) stays() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	leg := k.released
	k.released = ""
	if leg != "" {
		k.takenBack()
	}
	return leg
}
