package fsim

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/sipio/sipio/test/phone/tone"
)

// ackTimeout is 64*T1: how long a 200 waits for its ACK.
const ackTimeout = 32 * time.Second

// leg is the SIP side of a channel.
type leg struct {
	s      *Server
	c      *channel
	dialog dialog

	// of a call that came in
	invite   *sip.Request
	tx       sip.ServerTransaction
	finished chan struct{} // closed with the final response

	// of a call that we make
	cancelling chan struct{}
	cancelOnce sync.Once
	target     target

	mu       sync.Mutex
	decided  bool // the INVITE has its final response
	sessions uint64
	version  uint64
	local    string // newest SDP of ours, "" before
	offered  bool   // the INVITE had no SDP: ours was the offer
	theirs   description
	reinvite bool // one of ours is under way

	offering sync.Mutex // held for one of ours: the next one waits
}

// negotiate makes the SDP that answers the INVITE, once.
func (l *leg) negotiate() error {
	l.mu.Lock()
	has := l.local != ""
	l.mu.Unlock()
	if has {
		return nil
	}
	if err := l.c.openPort(); err != nil {
		return err
	}
	laws := []tone.Law{tone.PCMU, tone.PCMA}
	body, event, dir := string(l.invite.Body()), uint8(ourEvent), "sendrecv"
	if body != "" {
		d, err := l.c.agree(body, laws)
		if err != nil {
			return err
		}
		laws, event, dir = []tone.Law{l.c.law()}, d.event, d.mirrored()
		l.mu.Lock()
		l.theirs = d
		l.mu.Unlock()
	} else {
		l.mu.Lock()
		l.offered = true
		l.mu.Unlock()
	}
	l.write(laws, event, dir)
	return nil
}

// write makes our next SDP with our own address in it.
func (l *leg) write(laws []tone.Law, event uint8, dir string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions == 0 {
		l.sessions = uint64(time.Now().Unix())
		l.version = l.sessions
	}
	l.version++
	l.local = l.s.ourSDP(l.sessions, l.version, l.c.localAddr(), laws, event, dir)
	l.c.set("rtp_local_sdp_str", l.local)
	return l.local
}

func (c *channel) law() tone.Law {
	c.s.studio.mu.Lock()
	defer c.s.studio.mu.Unlock()
	return c.track.port.law
}

func (c *channel) eventPayload() uint8 {
	c.s.studio.mu.Lock()
	defer c.s.studio.mu.Unlock()
	return c.track.port.event
}

// response makes a response to the INVITE with our tag, Contact and the channel's sip_rh_ or sip_ph_ headers.
func (l *leg) response(code int, reason string) *sip.Response {
	res := sip.NewResponseFromRequest(l.invite, code, reason, nil)
	res.To().Params.Add("tag", l.dialog.localTag)
	if code < 300 {
		res.AppendHeader(l.s.contact())
	}
	res.AppendHeader(sip.NewHeader("User-Agent", userAgent))
	res.AppendHeader(sip.NewHeader("Allow", allow))
	prefix := map[bool]string{true: "sip_ph_", false: "sip_rh_"}[code < 200]
	l.c.addHeaders(res, prefix)
	return res
}

func (l *leg) respond(res *sip.Response) {
	if l.s.ctx.Err() != nil {
		return // killed: nothing is sent any more
	}
	if err := l.tx.Respond(res); err != nil {
		l.s.log.Info("response was not sent", "channel", l.c.id, "code", res.StatusCode, "error", err)
	}
}

func (l *leg) ring() { l.respond(l.response(180, "Ringing")) }

func (l *leg) progress() {
	res := l.response(183, "Session Progress")
	setSDP(res, l.sdp())
	l.respond(res)
}

func (l *leg) sdp() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.local
}

// decide claims the final response of the INVITE: there is one only.
func (l *leg) decide() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.decided {
		return false
	}
	l.decided = true
	return true
}

// accept sends 200, and again until the ACK is there. False: the INVITE had its final response.
func (l *leg) accept() bool {
	if !l.decide() {
		return false
	}
	res := l.response(200, "OK")
	setSDP(res, l.sdp())
	acked := l.s.expectACK(l.dialog.ackKey(l.invite.CSeq().SeqNo))
	l.respond(res)
	go func() {
		defer close(l.finished)
		body, err := l.s.untilACK(l.tx, res, acked, l.c.hangup)
		switch {
		case err != nil && l.c.up() && l.s.ctx.Err() == nil:
			l.s.log.Info("no ACK for a call", "channel", l.c.id, "error", err)
			l.c.end("RECOVERY_ON_TIMER_EXPIRE", false)
		case l.offered && body != "":
			if _, err := l.c.agree(body, []tone.Law{tone.PCMU, tone.PCMA}); err != nil {
				l.c.end("INCOMPATIBLE_DESTINATION", false)
			}
		}
	}()
	return true
}

// answeredTooLate hangs up a call whose channel ended in the instant of its answer.
func (l *leg) answeredTooLate() {
	l.c.mu.Lock()
	why, remote := l.c.cause, l.c.remoteEnd
	l.c.mu.Unlock()
	if !remote {
		l.s.byes.Go(func() { l.bye(why) })
	}
}

// reject sends a final refusal, with header lines where redirect wants some.
func (l *leg) reject(code int, reason string, extra ...sip.Header) {
	if !l.decide() {
		return
	}
	defer close(l.finished)
	res := l.response(code, reason)
	for _, h := range extra {
		res.AppendHeader(h)
	}
	l.respond(res)
}

// end does to the other side what the end of the channel means: BYE, a refusal, CANCEL, or nothing if it knows.
func (l *leg) end() {
	l.c.mu.Lock()
	why, remote := l.c.cause, l.c.remoteEnd
	up := !l.c.answered.IsZero()
	l.c.mu.Unlock()
	l.disposition(up, remote)
	switch {
	case up && !remote:
		l.s.byes.Go(func() { l.bye(why) })
	case l.c.inbound && !up:
		if remote { // sipgo has answered the CANCEL and the INVITE
			if l.decide() {
				close(l.finished)
			}
			return
		}
		c := causeNamed(why)
		l.reject(c.code, c.text, reasonHeader(why))
	case !l.c.inbound && !up:
		l.cancelOnce.Do(func() { close(l.cancelling) })
	}
	if !l.c.inbound || up {
		l.s.dropLeg(l)
	}
}

// disposition says who ended the call, and how.
func (l *leg) disposition(up, remote bool) {
	how := map[[2]bool]string{{true, true}: "recv_bye", {true, false}: "send_bye", {false, true}: "recv_cancel", {false, false}: "send_refuse"}[[2]bool{up, remote}]
	if !l.c.inbound && !up {
		how = map[bool]string{true: "recv_refuse", false: "send_cancel"}[remote]
	}
	l.c.set("sip_hangup_disposition", how)
}

// bye ends an answered call; only Shutdown waits for its answer.
func (l *leg) bye(why string) {
	if l.s.ctx.Err() != nil {
		return
	}
	req := l.dialog.request(l.s, sip.BYE, 0)
	req.AppendHeader(reasonHeader(why))
	l.c.addHeaders(req, "sip_bye_h_")
	ctx, stop := context.WithTimeout(context.WithoutCancel(l.s.ctx), 5*time.Second)
	defer stop()
	if _, err := l.s.transact(ctx, req, exchange{}); err != nil && l.s.ctx.Err() == nil {
		l.s.log.Info("BYE was not answered", "channel", l.c.id, "error", err)
	}
}

// addHeaders adds the headers that variables with a prefix ask for.
func (c *channel) addHeaders(m sip.Message, prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.vars.order {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			m.AppendHeader(sip.NewHeader(name[len(prefix):], c.vars.get(name)))
		}
	}
}

// offer sends a re-INVITE with an SDP and returns the answer. A refusal is its code with an error.
func (l *leg) offer(ctx context.Context, sdp string) (answer string, code int, err error) {
	l.offering.Lock()
	defer l.offering.Unlock()
	l.mu.Lock()
	l.reinvite = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.reinvite = false
		l.mu.Unlock()
	}()
	req := l.dialog.request(l.s, sip.INVITE, 0)
	req.AppendHeader(l.s.contact())
	req.AppendHeader(sip.NewHeader("Allow", allow))
	if sdp != "" {
		setSDP(req, sdp)
	}
	ack := func(res *sip.Response) { l.ack(res) }
	res, err := l.s.transact(ctx, req, exchange{repeated: ack})
	if err != nil {
		return "", 0, err
	}
	if !res.IsSuccess() {
		l.c.offerFailed(strconv.Itoa(res.StatusCode), res.Reason, true)
		return "", res.StatusCode, fmt.Errorf("re-INVITE: %d %s", res.StatusCode, res.Reason)
	}
	l.c.offerFailed("", "", false)
	l.dialog.refresh(res)
	l.ack(res)
	return string(res.Body()), res.StatusCode, nil
}

// offerFailed sets the variables that tell of a refused re-INVITE: a refusal on both legs, an answer clears those of the
// other leg, as on the real one.
func (c *channel) offerFailed(status, phrase string, own bool) {
	c.mu.Lock()
	peer := c.partner
	c.mu.Unlock()
	for _, one := range []*channel{c, peer} {
		if one != nil && (own || one != c) {
			one.set("sip_invite_failure_status", status)
			one.set("sip_invite_failure_phrase", phrase)
		}
	}
}

// ack acknowledges a 2xx.
func (l *leg) ack(res *sip.Response) {
	req := l.dialog.request(l.s, sip.ACK, res.CSeq().SeqNo)
	req.PrependHeader(l.s.via())
	if err := l.s.client.WriteRequest(req, asIs); err != nil {
		l.s.log.Info("ACK was not sent", "channel", l.c.id, "error", err)
	}
}
