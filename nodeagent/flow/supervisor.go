package flow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// spyPrefix begins the names of supervisors' channels.
const spyPrefix = "sup-"

// Bounds of supervision.
const (
	maxSpies    = 4                // of one talk
	spyRingTime = 30 * time.Second // his phone
)

// spy is the leg of a supervisor, or of whom somebody asks: FreeSWITCH has it listen to a talk from its answer on, and ends it
// with the talk. This agent only keeps the media here meanwhile.
type spy struct {
	of  *Calls
	in  talkHere
	out outgoing // then is left open
	end string   // inline applications behind the talk, "" = it is hung up
	log *slog.Logger

	stopping chan struct{}
	once     sync.Once

	mu   sync.Mutex
	mode string // as last ordered
}

// spyName is what the channel of a supervisor is called: an agent that was restarted finds it, and FreeSWITCH makes no
// second one.
func spyName(op api.Op) string {
	sum := sha256.Sum256([]byte(op.Token + "\x00" + op.EntryID + "\x00" + op.UserID))
	return spyPrefix + hex.EncodeToString(sum[:12])
}

func (c *Calls) newSpy(in talkHere, op api.Op) *spy {
	s := c.listener(in, spyName(op), op.Kind)
	s.out.kind, s.out.id, s.out.number, s.out.name = "supervisor", op.UserID, in.number, in.name
	s.log = s.log.With("supervisor", op.UserID)
	return s
}

// listener is the leg of somebody who is to listen to a talk. His keys change nothing: who hears him is the brain's to say.
func (c *Calls) listener(in talkHere, uuid, mode string) *spy {
	return &spy{of: c, in: in, mode: mode, stopping: make(chan struct{}), log: c.log.With("call", in.token, "account", in.account), out: outgoing{
		uuid: uuid, callID: newID() + "@sipio.invalid", laws: in.laws, limit: int(spyRingTime / time.Second), token: in.token, account: in.account}}
}

// admit enters a supervisor, or returns the one who is there already.
func (c *Calls) admit(s *spy) (*spy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.spies[s.out.uuid]; old != nil {
		return old, nil
	}
	n := 0
	for _, other := range c.spies {
		if other.in.leg == s.in.leg {
			n++
		}
	}
	if n >= maxSpies {
		return nil, errManySpy
	}
	c.spies[s.out.uuid] = s
	return s, nil
}

// forget takes a supervisor out. The media may go again when he was the last.
func (s *spy) forget() {
	s.of.mu.Lock()
	if s.of.spies[s.out.uuid] == s {
		delete(s.of.spies, s.out.uuid)
	}
	s.of.mu.Unlock()
	if s.in.k != nil {
		s.in.k.unwatch()
	}
}

func (s *spy) stop() { s.once.Do(func() { close(s.stopping) }) }

// change has him be heard as ordered: at once, or when he answers.
func (s *spy) change(ctx context.Context, mode string) error {
	s.mu.Lock()
	same := s.mode == mode
	s.mode = mode
	s.mu.Unlock()
	if same {
		return nil
	}
	return s.apply(ctx, mode)
}

// apply sets the mode on his channel. One that is not there yet gets it when it has answered.
func (s *spy) apply(ctx context.Context, mode string) error {
	c := s.of
	if _, err := c.order(ctx, "uuid_setvar_multi "+s.out.uuid+" "+heardBy[mode]); isRefusal(err) {
		return nil
	} else if err != nil {
		return err
	}
	how, err := c.variable(ctx, s.out.uuid, "endpoint_disposition")
	if err != nil || how != "ANSWER" {
		return err
	}
	_, err = c.order(ctx, "uuid_transfer "+s.out.uuid+" "+s.listens())
	return err
}

// run rings him and keeps the media here until he has gone, or the talk is over: FreeSWITCH lets him go then, once he has
// answered. When this process ends he goes on listening.
func (s *spy) run(ctx context.Context) {
	defer s.forget()
	job, mode := s.ring(ctx)
	if job == nil {
		return
	}
	if isRefusal(job.err) && !isDouble(job.err) {
		s.log.Info("a supervisor was not reached", "cause", said(job.err))
		return
	}
	if now := s.heard(); job.err != nil || now != mode { // of an agent before this one, or the connection to FreeSWITCH broke; or changed since
		if err := s.apply(ctx, now); err != nil {
			s.log.Warn("who hears a supervisor could not be changed", "error", err)
		}
	}
	s.stay(ctx, job)
}

// ring dials him, again for a while when his channel of before is going and its name is not free yet. It returns how that
// ended and the mode that was told with it; nil when he was let go.
func (s *spy) ring(ctx context.Context) (job *dialing, mode string) {
	for tries := 0; ; tries++ {
		mode = s.heard()
		job = s.originate(ctx, mode)
		select {
		case <-job.done:
		case <-s.stopping:
			s.of.hangUp(ctx, s.out.uuid, "NORMAL_CLEARING", job)
			return nil, ""
		case <-ctx.Done():
			s.of.hangUp(ctx, s.out.uuid, "NORMAL_CLEARING", job)
			return nil, ""
		}
		if job.err == nil || !isDouble(job.err) || tries == maxTries {
			return job, mode
		}
		if there, err := s.of.exists(ctx, s.out.uuid); err != nil || there { // he was rung by an agent before this one
			return job, mode
		}
		select {
		case <-time.After(tryAgain):
		case <-s.stopping:
			return nil, ""
		case <-ctx.Done():
			return nil, ""
		}
	}
}

// listens is what he does from his answer on.
func (s *spy) listens() string { return "eavesdrop:" + s.in.leg + s.end + " inline" }

// originate has FreeSWITCH dial him, and have him listen when he answers.
func (s *spy) originate(ctx context.Context, mode string) *dialing {
	o := s.out
	o.more = append(append(slices.Clone(idle), o.more...), "eavesdrop_enable_dtmf=false", heardBy[mode])
	o.then = s.listens()
	return s.of.originate(ctx, o, spyRingTime)
}

// stay waits until he has gone.
func (s *spy) stay(ctx context.Context, job *dialing) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if there, err := s.of.exists(ctx, s.out.uuid); err == nil && !there {
				return
			}
		case <-s.stopping:
			s.of.hangUp(ctx, s.out.uuid, "NORMAL_CLEARING", job)
			return
		case <-ctx.Done():
			return
		}
	}
}

// heard is who is to hear him, as last ordered.
func (s *spy) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode
}
