package flow

import (
	"context"
	"errors"
	"strconv"

	"github.com/sipio/sipio/brain/api"
)

// Refusals of an op about a supervisor. Their text is for operators.
var (
	errNoTalk  = errors.New("the caller is in no talk")
	errNoSpy   = errors.New("nobody of that name listens")
	errManySpy = errors.New("as many listen to that talk as may: " + strconv.Itoa(maxSpies))
)

// heardBy are the variables of a supervisor's channel, by the kind of op: the agent's side is what it listens on, so
// "bleg" is what the agent hears and "aleg" what the agent says.
var heardBy = map[string]string{
	api.OpListen:  "eavesdrop_whisper_aleg=false;eavesdrop_whisper_bleg=false",
	api.OpWhisper: "eavesdrop_whisper_aleg=false;eavesdrop_whisper_bleg=true",
	api.OpBarge:   "eavesdrop_whisper_aleg=true;eavesdrop_whisper_bleg=true",
}

// talkHere is a talk of this node. k is nil when no runner has it.
type talkHere struct {
	k            *call
	uuid, leg    string // channels of the caller and of the agent
	account      string
	token        string
	number, name string
	laws         string
	begin        func(func(ctx context.Context)) bool // beside the talk, as long as that lasts; false: it is over
}

// Supervise rings a supervisor who then hears a talk, or changes who hears him; the same op again changes nothing. It answers when
// his phone is about to ring.
func (c *Calls) Supervise(ctx context.Context, op api.Op) (api.OpReply, error) {
	if heardBy[op.Kind] == "" || op.UserID == "" || op.EntryID == "" || op.Token == "" {
		return api.OpReply{}, errNotWhole
	}
	in, err := c.talkOf(op)
	if err != nil {
		return api.OpReply{}, err
	}
	s := c.newSpy(in, op)
	first, err := c.admit(s)
	switch {
	case err != nil:
		return api.OpReply{}, err
	case first != s:
		return api.OpReply{}, first.change(ctx, op.Kind)
	}
	err = s.in.hold(ctx, c, s.out.callID)
	if err == nil && !s.in.begin(s.run) {
		err = errNoTalk
	}
	if err != nil {
		s.forget()
	}
	return api.OpReply{}, err
}

// StopSupervise lets a supervisor go, also one whom an agent before this one has rung.
func (c *Calls) StopSupervise(ctx context.Context, op api.Op) (api.OpReply, error) {
	if op.UserID == "" || op.EntryID == "" {
		return api.OpReply{}, errNotWhole
	}
	uuid := spyName(op)
	c.mu.Lock()
	s := c.spies[uuid]
	c.mu.Unlock()
	if s != nil {
		s.stop()
		return api.OpReply{}, nil
	}
	if _, err := c.order(ctx, "uuid_kill "+uuid+" NORMAL_CLEARING"); isRefusal(err) {
		return api.OpReply{}, errNoSpy
	} else if err != nil {
		return api.OpReply{}, err
	}
	return api.OpReply{}, nil
}

// talkOf finds the talk of a caller who is with an agent.
func (c *Calls) talkOf(op api.Op) (talkHere, error) {
	if e, err := c.entry(op); err == nil {
		return e.talkHere()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for uuid, o := range c.orphans {
		s, ok := parseService(o.acct, o.service)
		if o.token != op.Token || !ok || s.leg != o.other || !o.alone {
			continue
		}
		return hereWithout(uuid, s.leg, o), nil
	}
	return talkHere{}, errNoCaller
}

// talkHere is the talk of a caller in a queue, if he has one.
func (e *entry) talkHere() (talkHere, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.won == nil || !e.k.talks() {
		return talkHere{}, errNoTalk
	}
	return e.k.here(e.won.uuid), nil
}

// whileTalking notes how something is begun beside the caller's talk; nil: it is over.
func (k *call) whileTalking(begin func(do func(ctx context.Context))) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.aside = begin
}

// beside does something beside the caller's talk. False: it is over.
func (k *call) beside(do func(ctx context.Context)) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.aside == nil {
		return false
	}
	k.aside(do)
	return true
}

// talks tells whether the caller is with somebody beside whom something can be begun.
func (k *call) talks() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.aside != nil
}

// here is the caller's talk with whom that leg is of.
func (k *call) here(leg string) talkHere {
	return talkHere{k: k, uuid: k.uuid, leg: leg, account: k.account, token: k.token, number: k.number, name: k.name, laws: k.laws, begin: k.beside}
}

// hereWithout is a talk that goes on without a runner.
func hereWithout(uuid, leg string, o orphan) talkHere {
	return talkHere{uuid: uuid, leg: leg, account: o.acct, token: o.token, laws: "PCMA,PCMU", begin: func(do func(context.Context)) bool {
		go do(context.Background()) // until his channel is gone
		return true
	}}
}

// hold has the media of the talk run through the media server.
func (in talkHere) hold(ctx context.Context, c *Calls, callID string) error {
	if in.k != nil {
		in.k.watch(callID)
		return in.k.takeBack(context.WithoutCancel(ctx), "for", "a supervisor") // whoever asked may not wait for it
	}
	if _, err := c.cfg.Switch.Job(ctx, "uuid_media "+in.leg); err != nil && !isRefusal(err) {
		return err // a refusal: it is here
	}
	return nil
}

// watch has the media of a talk stay here for one more supervisor, whose dialog is of that Call-ID.
func (k *call) watch(callID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watchers++
	if len(k.spied) < maxPast {
		k.spied = append(k.spied, callID)
	}
}

// unwatch ends watch for one of them. Whoever releases looks whether he was the last.
func (k *call) unwatch() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watchers--
	select {
	case k.unheld <- struct{}{}:
	default:
	}
}
