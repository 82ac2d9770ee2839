package flow

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// shortPass is how long a pass over looped files lasts at least: empty files do not make FreeSWITCH spin.
const shortPass = 500 * time.Millisecond

// errNoFile says that a file is not there, or that FreeSWITCH cannot read it.
var errNoFile = errors.New("no such file")

// pickUp answers the caller, or with noAnswer opens early media, before something is heard.
func (k *call) pickUp(ctx context.Context, noAnswer bool) error {
	if k.answered || (noAnswer && k.early) {
		return nil
	}
	app := "answer"
	if noAnswer {
		app = "pre_answer"
	}
	if err := k.execute(ctx, app, "", ""); err != nil {
		return err
	}
	k.early = true
	k.answered = !noAnswer
	if k.inBand && k.answered {
		k.inBand = false
		if err := k.set(ctx, "sipio_inband=true"); err != nil {
			return err
		}
		return k.execute(ctx, "start_dtmf", "", "")
	}
	return nil
}

// fetch returns the paths of files, and the keys of those that cannot be had.
func (k *call) fetch(ctx context.Context, refs []api.MediaRef) (paths, missing []string) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	for _, ref := range refs {
		path, err := k.of.cfg.Media.Fetch(ctx, ref)
		if err != nil {
			k.log.Warn("a sound is left out", "key", ref.Key, "error", err)
			missing = append(missing, ref.Key)
			continue
		}
		paths = append(paths, path)
	}
	return paths, missing
}

// play plays files, one after the other, until they end or a digit of BargeIn is pressed.
func (k *call) play(ctx context.Context, p api.CommandParams) (result, error) {
	if err := k.pickUp(ctx, p.NoAnswer); err != nil {
		return result{}, err
	}
	paths, missing := k.fetch(ctx, p.Files)
	done := result{api.OutcomeDone, map[string]string{}}
	var barged byte
	stop := func() bool {
		if d, ok := k.keys.first(); ok && strings.IndexByte(p.BargeIn, d.digit) >= 0 {
			k.keys.pop()
			barged = d.digit
			k.from, k.fromKey = d.at, true
			return true
		}
		return false
	}
	for pass := 1; ; pass++ {
		began := time.Now()
		bad, err := k.playFiles(ctx, paths, stop)
		if err != nil {
			return result{}, err
		}
		if pass == 1 {
			missing = append(missing, bad...)
		}
		if barged != 0 {
			done.outcome, done.data["digit"] = api.OutcomeDigit, string(barged)
			break
		}
		if k.gone || k.stopping || len(bad) == len(paths) || (p.Loops >= 0 && pass >= p.Loops) {
			break
		}
		k.rest(ctx, shortPass-time.Since(began), stop)
	}
	if len(missing) > 0 {
		done.data["missing"] = few(missing)
	}
	return done, nil
}

// rest waits, unless something stops it.
func (k *call) rest(ctx context.Context, d time.Duration, stop func() bool) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !stop() {
		if _, why := k.next(ctx, timer.C); why != wakeEvent {
			return
		}
	}
}

// playFiles plays files until stop, and returns those that FreeSWITCH could not read.
func (k *call) playFiles(ctx context.Context, paths []string, stop func() bool) (bad []string, err error) {
	for _, path := range paths {
		stopped, err := k.playFile(ctx, path, stop)
		switch {
		case errors.Is(err, errNoFile):
			k.log.Warn("FreeSWITCH cannot read a sound", "file", path)
			bad = append(bad, path)
		case err != nil:
			return bad, err
		case stopped:
			return bad, nil
		}
	}
	return bad, nil
}

// playFile plays one file. stop is asked before it and after each event; stopped also means that the caller went.
func (k *call) playFile(ctx context.Context, path string, stop func() bool) (stopped bool, err error) {
	if k.gone || k.stopping || stop() {
		return true, nil
	}
	id, err := k.begin(ctx, "playback", path)
	if err != nil {
		return false, err
	}
	for began := false; ; {
		event, why := k.next(ctx, nil)
		if why == wakeGone {
			return true, nil
		}
		began = began || event != nil && event.Name() == "CHANNEL_EXECUTE" && event.Get("Application-UUID") == id
		if e, ok := k.over(id); ok {
			if strings.Contains(e.Get("Application-Response"), "NOT FOUND") {
				return false, errNoFile
			}
			return false, nil
		}
		if k.gap {
			return false, errAgain
		}
		if stop() {
			return true, k.silence(ctx, id, began)
		}
	}
}

// silence ends an application and waits until it has ended: what comes next would otherwise only interrupt it. Nothing tells
// the end of one that had not begun: it is swept away with what is queued.
func (k *call) silence(ctx context.Context, id string, began bool) error {
	if err := k.breakOff(ctx); err != nil {
		return err
	}
	if !began && !k.settleWithin(ctx, breakTime, func() bool { return k.ended[id] != nil || k.gone }) {
		delete(k.ended, id)
		return k.breakOff(ctx) // had it begun since
	}
	if !k.settle(ctx, func() bool { _, ok := k.over(id); return ok || k.gone }) && !k.gone && !k.stopping {
		return fmt.Errorf("FreeSWITCH does not end a sound within %s", settleTimeout)
	}
	return nil
}

// hangup ends the call, if it was not answered with the SIP code.
func (k *call) hangup(ctx context.Context, p api.CommandParams) (result, error) {
	cause := p.Cause
	if cause == "" {
		cause = "NORMAL_CLEARING"
	}
	k.log.Info("the call is ended as the brain says", "cause", cause, "sip_code", p.SIPCode, "reason", p.Reason)
	if !k.answered && p.SIPCode >= 300 && p.SIPCode <= 699 {
		if err := k.execute(ctx, "respond", strconv.Itoa(p.SIPCode), ""); err != nil && !k.gone {
			return result{}, err
		}
		k.pauseFor(ctx, 200*time.Millisecond) // it ends the call by itself, with that code
	}
	if !k.gone && !k.stopping {
		k.kill(ctx, cause)
		k.observe()
	}
	k.settle(ctx, func() bool { return k.gone })
	if !k.gone && !k.stopping {
		return result{}, fmt.Errorf("the channel is still there %s after it was hung up", settleTimeout)
	}
	return result{api.OutcomeHangup, nil}, nil
}

// pauseFor waits while events are taken in, until the caller has gone.
func (k *call) pauseFor(ctx context.Context, d time.Duration) {
	k.rest(ctx, d, func() bool { return k.gone })
}

// few names the first of what is missing, and how many more there are: a report has bounds.
func few(keys []string) string {
	const shown = 5
	if len(keys) <= shown {
		return strings.Join(keys, " ")
	}
	return strings.Join(keys[:shown], " ") + " and " + strconv.Itoa(len(keys)-shown) + " more"
}
