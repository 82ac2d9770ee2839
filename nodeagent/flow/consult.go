package flow

import (
	"context"
	"errors"

	"github.com/sipio/sipio/brain/api"
)

// Refusals of an op about somebody who is asked to take a caller.
var (
	errNobodyAsked = errors.New(api.NobodyAsked)
	errAsked       = errors.New(api.AskedAlready)
	errUnanswered  = errors.New(api.NotAnswered)
	errAskedGone   = errors.New(api.AskedGone)
)

// Consult rings somebody for the other side of a caller's talk, who talks to him while the caller hears music. The same op
// again tells how far that is: once that he has gone by himself, and after that it rings him anew. It answers when his phone
// is about to ring.
func (c *Calls) Consult(ctx context.Context, op api.Op) (api.OpReply, error) {
	if !wholeConsult(op.Consult) {
		return api.OpReply{}, errNotWhole
	}
	in, err := c.talking(ctx, op)
	if err != nil {
		return api.OpReply{}, err
	}
	note := consultNote{seq: op.Seq, leg: in.leg, asked: askedPrefix + newID(), kind: op.Consult.DestKind, id: op.Consult.DestID, by: op.Consult.UserID}
	old, err := c.askedBy(ctx, in)
	if err != nil {
		return api.OpReply{}, err
	}
	if old == nil {
		if c.hasJustGone(in.uuid, note) {
			return api.OpReply{}, errAskedGone
		}
		a := c.newAsked(in, note)
		a.out.number, a.out.name, a.out.caller = op.Consult.Number, op.Consult.Name, op.Consult.UserID
		if old = c.claimAsked(a); old == a {
			return a.begin(ctx, op.Consult.Music)
		}
	}
	if !old.note.same(note) {
		return api.OpReply{}, errAsked
	}
	state, err := c.consultState(ctx, old.out.uuid)
	if err != nil || state != "" {
		return api.OpReply{State: state}, err
	}
	switch gone, err := old.hasGone(ctx); {
	case err != nil:
		return api.OpReply{}, err
	case gone:
		c.hasJustGone(in.uuid, note) // told now
		return api.OpReply{}, errAskedGone
	}
	return api.OpReply{State: api.ConsultRinging}, nil // FreeSWITCH is about to make his leg
}

// wholeConsult tells that everything is there, and nothing that an order of FreeSWITCH's, or a note, cannot hold.
func wholeConsult(w *api.Consult) bool {
	return w != nil && noted.MatchString(w.DestKind) && noted.MatchString(w.DestID) && noted.MatchString(w.UserID)
}

// begin does all that comes before his phone rings. What fails is taken back.
func (a *asked) begin(ctx context.Context, music []api.MediaRef) (api.OpReply, error) {
	c := a.of
	ctx = context.WithoutCancel(ctx) // whoever asked may not wait for it
	a.hears(c.holdMusic(ctx, music))
	err := a.in.hold(ctx, c, a.out.callID)
	if err == nil {
		err = a.write(ctx)
	}
	if err == nil {
		err = a.waits(ctx)
	}
	if err == nil && !a.in.begin(a.run) {
		err = errNobodyTalks
	}
	if err != nil {
		if a.back(ctx) != nil {
			a.stop() // nobody was rung
			if a.goesOn() {
				return api.OpReply{}, err
			}
		}
		a.forget()
		return api.OpReply{}, err
	}
	return api.OpReply{State: api.ConsultRinging}, nil
}

// holdMusic is what a caller hears: a file, or the platform's music when it cannot be had.
func (c *Calls) holdMusic(ctx context.Context, music []api.MediaRef) string {
	if len(music) == 0 {
		return platformMusic
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	path, err := c.cfg.Media.Fetch(ctx, music[0])
	if err != nil || !noted.MatchString(path) {
		c.log.Warn("a sound is left out", "key", music[0].Key, "error", err)
		return platformMusic
	}
	return path
}

// ThreeWay has all three hear each other.
func (c *Calls) ThreeWay(ctx context.Context, op api.Op) (api.OpReply, error) {
	a, err := c.answeredAsked(ctx, op)
	if err != nil {
		return api.OpReply{}, err
	}
	return api.OpReply{State: api.ConsultJoined}, a.joins(ctx)
}

// Return lets go of whom somebody asks, also while his phone rings, and answers when the caller is back.
func (c *Calls) Return(ctx context.Context, op api.Op) (api.OpReply, error) {
	a, err := c.askedFor(ctx, op)
	if err != nil {
		return api.OpReply{}, err
	}
	a.stop()
	select {
	case <-a.done:
		return api.OpReply{}, nil
	case <-ctx.Done():
		return api.OpReply{}, ctx.Err()
	}
}

// askedFor is who is asked to take the caller of an order.
func (c *Calls) askedFor(ctx context.Context, op api.Op) (*asked, error) {
	in, err := c.talking(ctx, op)
	if err != nil {
		return nil, err
	}
	a, err := c.askedBy(ctx, in)
	if err == nil && a == nil {
		err = errNobodyAsked
	}
	return a, err
}

// answeredAsked is that one when he has answered.
func (c *Calls) answeredAsked(ctx context.Context, op api.Op) (*asked, error) {
	a, err := c.askedFor(ctx, op)
	if err != nil {
		return nil, err
	}
	switch state, err := c.consultState(ctx, a.out.uuid); {
	case err != nil:
		return nil, err
	case state == "" || state == api.ConsultRinging:
		return nil, errUnanswered
	}
	return a, nil
}

// askedBy is who is asked in a talk, also one whom the process before this one has rung; nil: nobody is.
func (c *Calls) askedBy(ctx context.Context, in talkHere) (*asked, error) {
	c.mu.Lock()
	a := c.asked[in.uuid]
	c.mu.Unlock()
	if a != nil {
		gone, err := a.hasGone(ctx)
		if err != nil || !gone {
			return a, err
		}
	}
	note, ok, err := c.consultOn(ctx, in.uuid)
	if err != nil || !ok {
		return nil, err
	}
	in.leg = note.leg
	a = c.newAsked(in, note)
	if first := c.claimAsked(a); first != a {
		return first, nil
	}
	if in.k != nil {
		in.k.watch(a.out.callID)
	}
	if !a.goesOn() {
		a.forget()
		return nil, errNobodyTalks
	}
	return a, nil
}

// hasGone tells that he is not there any more, and waits until the caller is back then.
func (a *asked) hasGone(ctx context.Context) (bool, error) {
	select {
	case <-a.done:
		return true, nil
	case <-a.rung:
	default:
		return false, nil
	}
	if state, err := a.of.consultState(ctx, a.out.uuid); err != nil || state != "" {
		return false, err
	}
	select {
	case <-a.done:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// talking is the talk that a caller has in the command of an order, with a runner or without one.
func (c *Calls) talking(ctx context.Context, op api.Op) (talkHere, error) {
	channel, leg, over, err := c.talkIn(ctx, op)
	if err == nil && over {
		err = errNobodyTalks
	}
	if err != nil {
		return talkHere{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.live[channel]; k != nil {
		return k.here(leg), nil
	}
	if o, ok := c.orphans[channel]; ok {
		return hereWithout(channel, leg, o), nil
	}
	return talkHere{}, errNoCall
}

// consultEnds is what becomes of whom somebody asks when their talk is over: the caller comes off hold, and who has answered
// waits for him in park, which is noted. Any other is let go, as he is when the caller has hung up.
func (k *call) consultEnds(ctx context.Context) {
	c := k.of
	c.mu.Lock()
	a := c.asked[k.uuid]
	c.mu.Unlock()
	if k.stopping || a == nil && !k.mayAsk {
		return
	}
	if k.gone {
		if a != nil && k.cause != "" { // else only the connection to the call was lost, perhaps
			a.stop()
		}
		return
	}
	bounded, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	note, ok := k.asksNow(bounded, a)
	if !ok {
		return
	}
	err := insist(bounded, func(ctx context.Context) error { return offHold(ctx, k.api, k.uuid, note) })
	if err != nil {
		k.log.Error("a caller may still be on hold", "error", err)
	}
	k.mayAsk = err != nil
	state := ""
	err = insist(bounded, func(ctx context.Context) (err error) {
		state, err = c.consultState(ctx, note.asked)
		return err
	})
	waits := err != nil || state == api.ConsultTalking || state == api.ConsultJoined // unknown: if not, the caller is recalled
	if waits {
		k.consulted = &note
	}
	switch {
	case a != nil && waits:
		a.leave()
		select {
		case <-a.done: // so that nobody takes him for asked in the caller's next talk
		case <-bounded.Done():
		}
	case a != nil:
		a.stop()
	case !waits:
		c.hangUp(ctx, note.asked, "NORMAL_CLEARING", settledJob)
	}
}

// asksNow reads the note of whom somebody asks, over the connection of the call. One that cannot be read is as a has it, if
// he is known.
func (k *call) asksNow(ctx context.Context, a *asked) (note consultNote, ok bool) {
	err := insist(ctx, func(ctx context.Context) (err error) {
		note, ok, err = k.of.readConsult(ctx, k.api, k.uuid)
		return err
	})
	switch {
	case err == nil || isRefusal(err):
		k.mayAsk = false
		return note, ok
	case a != nil:
		return a.asks(), true
	}
	k.log.Error("it cannot be read whether a caller is on hold", "error", err)
	return note, false
}
