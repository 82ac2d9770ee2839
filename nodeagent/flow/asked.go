package flow

import (
	"context"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// askedPrefix begins the names of the channels of those who are asked to take a caller.
const askedPrefix = "ask-"

const (
	askedWait     = "15" // seconds that he waits, in park, for the caller; FreeSWITCH itself lets him go then
	heardByCaller = "eavesdrop_whisper_aleg"
)

// asked is somebody whom the other side of a caller's talk asks to take him. The two talk as an agent and a supervisor who
// whispers do, while the caller hears music and is not heard: his channel is displaced. The talk itself goes on below
// that, so nothing is lost when this process ends; the next one finds the note on the caller's channel.
type asked struct {
	*spy
	note consultNote
	job  *dialing      // nil: nothing is to come of it any more, or the process before this one has rung him
	rung chan struct{} // closed when somebody has answered, or nobody
	done chan struct{} // closed when nobody is asked any more

	leaving chan struct{} // the talk is over, and he stays
	leave   func()
}

func (c *Calls) newAsked(in talkHere, note consultNote) *asked {
	a := &asked{spy: c.listener(in, note.asked, api.OpWhisper), note: note, rung: make(chan struct{}), done: make(chan struct{}), leaving: make(chan struct{})}
	a.leave = sync.OnceFunc(func() { close(a.leaving) })
	a.out.kind, a.out.id, a.out.more = note.kind, note.id, []string{"park_timeout=" + askedWait}
	a.end = ",park"
	a.log = a.log.With("asked", note.kind+"/"+note.id, "by", note.by)
	return a
}

// claimAsked enters somebody who is asked to take the caller of a channel, or returns who is asked already.
func (c *Calls) claimAsked(a *asked) (first *asked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.asked[a.in.uuid]; old != nil {
		return old
	}
	c.asked[a.in.uuid] = a
	delete(c.gone, a.in.uuid)
	return a
}

// forget takes him out. The media may go again when nobody else listens.
func (a *asked) forget() {
	a.of.mu.Lock()
	if a.of.asked[a.in.uuid] == a {
		delete(a.of.asked, a.in.uuid)
	}
	a.of.mu.Unlock()
	if a.in.k != nil {
		a.in.k.unwatch()
	}
	close(a.done)
}

// run rings him and keeps the talk as it is until he has gone, is let go, or the talk is over. Then the caller is back.
func (a *asked) run(ctx context.Context) {
	defer a.forget()
	job, mode := a.ring(ctx)
	close(a.rung)
	switch {
	case job == nil: // let go
	case isRefusal(job.err) && !isDouble(job.err):
		a.log.Info("somebody who was asked to take a caller was not reached", "cause", said(job.err))
	case job.err != nil && !isDouble(job.err): // the connection to FreeSWITCH broke: he may ring on, and answer
		if !a.lasts(ctx, true) {
			return
		}
	default:
		a.job = job
		rings := a.quiet(ctx) != nil
		if now := a.heard(); now != mode {
			if err := a.apply(ctx, now); err != nil {
				a.log.Warn("who hears whom somebody asks could not be changed", "error", err)
			}
		}
		if !a.lasts(ctx, rings) {
			return
		}
	}
	a.ends(ctx)
}

// goesOn begins resume beside the talk, if that is not over.
func (a *asked) goesOn() bool {
	close(a.rung)
	return a.in.begin(a.resume)
}

// resume is run for one who was rung by the process before this one, or of whom what was begun is not taken back yet.
func (a *asked) resume(ctx context.Context) {
	defer a.forget()
	if a.lasts(ctx, true) {
		a.ends(ctx)
	}
}

// ends brings the caller back: again and again, until that is done or the talk is over. That the other one has gone by himself is
// remembered before, for whoever asks how far it is.
func (a *asked) ends(ctx context.Context) {
	if !a.stopped() {
		a.of.rememberGone(a.in.uuid, a.note)
	}
	for first := true; ; first = false {
		err := a.back(context.WithoutCancel(ctx))
		if err == nil {
			return
		}
		if first {
			a.log.Warn("a caller may still be on hold", "channel", a.in.uuid, "error", err)
		}
		select {
		case <-time.After(lookEvery):
		case <-a.leaving:
			return
		case <-ctx.Done():
			return
		}
	}
}

// stopped tells that he was told to be let go.
func (a *asked) stopped() bool {
	select {
	case <-a.stopping:
		return true
	default:
		return false
	}
}

// lasts waits until he has gone or is let go, which brings the caller back, or until that is not ours to do: false. rings says that
// who asks may hear ringing, which ends when he has answered.
func (a *asked) lasts(ctx context.Context, rings bool) bool {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			state, err := a.of.consultState(ctx, a.out.uuid)
			switch {
			case err != nil:
				continue
			case state == "":
				return true
			case rings && state != api.ConsultRinging:
				rings = a.quiet(ctx) != nil
			}
			if there, err := a.of.exists(ctx, a.in.uuid); err == nil && !there {
				a.letGo(ctx)
				return false
			}
		case <-a.stopping:
			a.letGo(ctx)
			return true
		case <-a.leaving:
			return false
		case <-ctx.Done():
			if !a.stopped() {
				return false
			}
			a.letGo(ctx)
			return true
		}
	}
}

// letGo hangs him up.
func (a *asked) letGo(ctx context.Context) {
	job := a.job
	if job == nil {
		job = settledJob
	}
	a.of.hangUp(ctx, a.out.uuid, "NORMAL_CLEARING", job)
}

// settledJob is an originate of which nothing is to come any more.
var settledJob = func() *dialing {
	d := &dialing{done: make(chan struct{})}
	close(d.done)
	return d
}()

// noMusic is silence without end.
const noMusic = "silence_stream://-1"

// ringBack is what who asks hears until he has an answer: longer than that phone rings he never hears it.
const ringBack = "tone_stream://%(1000,4000,425);loops=-1"

// waits has the caller hear music and nobody hear him, and who asks hear ringing. What FreeSWITCH cannot play, as the platform's
// music in the first seconds of a node, gives way to the next best, silence at last.
func (a *asked) waits(ctx context.Context) error {
	err := a.of.displace(ctx, a.in.uuid, a.note.music, 0)
	for _, next := range []string{platformMusic, noMusic} {
		if !isRefusal(err) || a.note.music == next {
			continue
		}
		a.log.Warn("FreeSWITCH cannot play the music", "sound", a.note.music)
		a.hears(next)
		if err = a.write(ctx); err == nil {
			err = a.of.displace(ctx, a.in.uuid, next, 0)
		}
	}
	if err != nil {
		return err
	}
	return a.of.displace(ctx, a.in.leg, ringBack, spyRingTime+2*orderTimeout)
}

// hears notes what the caller is to hear.
func (a *asked) hears(music string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.note.music = music
}

// asks is the note of him.
func (a *asked) asks() consultNote {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.note
}

// write notes on the caller's channel who is asked, before anything else is done.
func (a *asked) write(ctx context.Context) error {
	_, err := a.of.order(ctx, "uuid_setvar "+a.in.uuid+" "+consultVariable+" "+a.note.String())
	return err
}

// quiet ends the ringing that who asks hears.
func (a *asked) quiet(ctx context.Context) error {
	return undisplace(ctx, a.of.order, a.in.leg, ringBack)
}

// back has the caller and who asks hear each other again. After an error one of them may not.
func (a *asked) back(ctx context.Context) error {
	err := a.quiet(ctx)
	if held := offHold(ctx, a.of.order, a.in.uuid, a.note); held != nil {
		err = held
	}
	return err
}

// joins has all three hear each other.
func (a *asked) joins(ctx context.Context) error {
	a.mu.Lock()
	a.mode = api.OpBarge
	music := a.note.music
	a.mu.Unlock()
	if err := a.apply(ctx, api.OpBarge); err != nil {
		return err
	}
	return undisplace(ctx, a.of.order, a.in.uuid, music)
}
