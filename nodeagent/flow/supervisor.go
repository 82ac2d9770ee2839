package flow

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strconv"
	"strings"
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

// spy is a supervisor's leg: FreeSWITCH has it listen to a talk from its answer on, and ends it with the talk. This agent
// only keeps the media here meanwhile.
type spy struct {
	of     *Calls
	in     talkHere
	uuid   string // its channel: the same for the same place and supervisor
	callID string // its dialog
	userID string
	log    *slog.Logger

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
	return &spy{of: c, in: in, uuid: spyName(op), callID: newID() + "@sipio.invalid", userID: op.UserID, mode: op.Kind, stopping: make(chan struct{}),
		log: c.log.With("call", in.token, "account", in.account, "supervisor", op.UserID)}
}

// admit enters a supervisor, or returns the one who is there already.
func (c *Calls) admit(s *spy) (*spy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.spies[s.uuid]; old != nil {
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
	c.spies[s.uuid] = s
	return s, nil
}

// forget takes a supervisor out. The media may go again when he was the last.
func (s *spy) forget() {
	s.of.mu.Lock()
	if s.of.spies[s.uuid] == s {
		delete(s.of.spies, s.uuid)
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
	if _, err := c.order(ctx, "uuid_setvar_multi "+s.uuid+" "+heardBy[mode]); isRefusal(err) {
		return nil
	} else if err != nil {
		return err
	}
	how, err := c.variable(ctx, s.uuid, "endpoint_disposition")
	if err != nil || how != "ANSWER" {
		return err
	}
	_, err = c.order(ctx, "uuid_transfer "+s.uuid+" eavesdrop:"+s.in.leg+" inline")
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
	if job.err != nil && !isDouble(job.err) {
		s.log.Info("a supervisor was not reached", "cause", said(job.err))
		return
	}
	if now := s.heard(); job.err != nil || now != mode { // of an agent before this one, or changed since
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
			s.kill(ctx, job)
			return nil, ""
		case <-ctx.Done():
			s.kill(ctx, job)
			return nil, ""
		}
		if job.err == nil || !isDouble(job.err) || tries == maxTries {
			return job, mode
		}
		if there, err := s.of.exists(ctx, s.uuid); err != nil || there { // he was rung by an agent before this one
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

// originate has FreeSWITCH dial the supervisor through Kamailio, and have him listen when he answers.
func (s *spy) originate(ctx context.Context, mode string) *dialing {
	job := &dialing{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spyRingTime+orderTimeout)
	go func() {
		defer cancel()
		_, job.err = s.of.cfg.Switch.Job(ctx, "originate "+s.dialString(mode))
		close(job.done)
	}()
	return job
}

// dialString are the arguments of originate. Keys change nothing: who hears him is the brain's to say.
func (s *spy) dialString(mode string) string {
	vars := []string{
		"origination_uuid=" + s.uuid,
		"originate_timeout=" + strconv.Itoa(int(spyRingTime/time.Second)),
		"ignore_early_media=true",
		"sip_invite_call_id=" + s.callID,
		"absolute_codec_string=" + s.in.laws,
		"rtp_rewrite_timestamps=true",
		"playback_terminators=none",
		"send_silence_when_idle=-1",
		"eavesdrop_enable_dtmf=false",
		heardBy[mode],
		"sip_h_" + api.HeaderDial + "=" + word("supervisor/"+s.userID),
		"sip_h_" + api.HeaderCall + "=" + word(s.in.token),
		"sip_h_" + api.HeaderAccount + "=" + word(s.in.account),
		"origination_caller_id_number=" + word(cmp.Or(s.in.number, withheld)),
		"origination_caller_id_name=" + word(s.in.name),
	}
	return "{^^;" + strings.Join(vars, ";") + "}sofia/sipio/sip:" + userPart(api.CommandParams{DestID: s.userID}) + "@" + s.of.cfg.Proxy + " &eavesdrop(" + s.in.leg + ")"
}

// stay waits until he has gone.
func (s *spy) stay(ctx context.Context, job *dialing) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if there, err := s.of.exists(ctx, s.uuid); err == nil && !there {
				return
			}
		case <-s.stopping:
			s.kill(ctx, job)
			return
		case <-ctx.Done():
			return
		}
	}
}

// kill hangs him up, also when FreeSWITCH is only about to make his leg.
func (s *spy) kill(ctx context.Context, job *dialing) {
	ctx = context.WithoutCancel(ctx)
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); {
		made := false // there is nothing to come any more
		select {
		case <-job.done:
			made = true
		default:
		}
		if _, err := s.of.order(ctx, "uuid_kill "+s.uuid+" NORMAL_CLEARING"); err == nil || made && isRefusal(err) {
			return
		}
		select {
		case <-job.done:
		case <-tick.C:
		}
	}
	s.log.Warn("a supervisor's leg could not be hung up", "channel", s.uuid)
}

// heard is who is to hear him, as last ordered.
func (s *spy) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode
}
