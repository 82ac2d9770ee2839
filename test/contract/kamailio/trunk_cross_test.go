package kamailio

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// A caller who hangs up during an attempt, while it rings or says nothing, hears 487; the trunk is told, nothing else is
// asked or tried, and no media is left.
func TestOutCross_CancelEndsTheAttempt(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"rings", "early media", "silent"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, trunk, next := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
			shared.door.plan(a.user, outward(over(trunk, "ta")), outward(over(next, "tb")))
			call := a.newCall("+4930123")
			call.body = sdp(40000)
			call.dial()
			invite := trunk.request("INVITE")
			if what != "silent" {
				body, typ := "", ""
				if what == "early media" {
					body, typ = sdp(40002), "Content-Type: application/sdp\r\n"
				}
				trunk.send(trunk.response(invite.RawMessage, 183, "Session Progress", typ, body))
				a.expect("183", func(m *message) bool { return m.Code == 183 })
			}
			call.cancel()
			if what != "silent" {
				trunk.reply(trunk.request("CANCEL"), 200, "OK")
				trunk.reject(invite, 487)
			}
			call.ended(487)
			laterThan(t, shared, a.user, 0)
			next.quiet()
		})
	}
}

// A caller who hangs up while the door thinks about what follows hears 487, and what the door then says is not done.
func TestOutCross_CancelDuringTheQuestion(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"trunk", "ask", "reject"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, b := newSet(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b"))
			trunk, next := newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
			first, then := outward(over(trunk, "ta")), outward(over(next, "tb"))
			if what == "ask" {
				phone := to(1, b.user)
				phone.Noanswer = 2
				first = ring(phone, api.Route{Step: 2, Ask: "forward/fwd_1"})
			}
			if what == "reject" {
				then = reject(404, "Not Found", 0)
			}
			shared.door.obey(a.user, first)
			call := a.newCall("+4930123")
			call.body = sdp(40000)
			call.dial()
			p := trunk
			if what == "ask" {
				p = b
			}
			invite := p.request("INVITE")
			canceled := make(chan struct{})
			shared.door.onRoute(a.user, func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-canceled:
					says(api.RouteReply{RTJSON: then})(w, r)
				case <-r.Context().Done(): // the edge has given up
				}
			})
			p.reject(invite, 480)
			eventually(t, "the question", func() error { return more(len(shared.door.asked(api.PathRoute, a.user)), 1) })
			call.cancel()
			close(canceled)
			call.ended(487)
			next.quiet()
		})
	}
}

// A 200 that crosses the caller's CANCEL reaches him; he ends the call as one that is up, and nothing of it stays.
func TestOutCross_AnswerCrossesCancel(t *testing.T) {
	t.Parallel()
	a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
	shared.door.plan(a.user, outward(over(trunk, "ta")))
	call := a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	invite := trunk.request("INVITE")
	trunk.reply(invite, 180, "Ringing")
	a.expect("180", func(m *message) bool { return m.Code == 180 })
	call.cancel()
	cancel := trunk.request("CANCEL")
	callee := trunk.answer(invite, sdp(40002))
	trunk.reply(cancel, 481, "Too Late")
	caller := call.up()
	trunk.request("ACK")
	hangUp(t, caller, callee)
	shared.door.expectEvent(t, api.EventDialogEnd, "call_id", call.callID)
	noMedia(t, shared, call.callID)
}

// What a trunk plays before it answers (183 with SDP) reaches the caller through the relay, of each attempt its own, and the
// one that answers has the call.
func TestOutCross_EarlyMediaOfEachAttempt(t *testing.T) {
	t.Parallel()
	a, first, second := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
	shared.door.plan(a.user, outward(over(first, "ta")), outward(over(second, "tb")))
	call := a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	var callee *leg
	for _, p := range []*set{first, second} {
		invite := p.request("INVITE")
		relayed(t, shared, invite)
		p.send(p.response(invite.RawMessage, 183, "Session Progress", "Content-Type: application/sdp\r\n", sdp(40002)))
		relayed(t, shared, a.expect("183", func(m *message) bool { return m.Code == 183 && strings.Contains(m.Header("To"), p.user) }))
		if p == first {
			p.reject(invite, 503)
		} else {
			callee = p.answer(invite, sdp(40002))
		}
	}
	hangUp(t, call.up(), callee)
	noMedia(t, shared, call.callID)
}

// A trunk that answers after its time is over does not take the call from the next one, and disturbs neither its media nor
// its end; one that answers when the call has ended leaves nothing behind.
func TestOutCross_LateAnswer(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"the next rings", "the call is up", "the call has ended"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			a, late, next := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
			r := over(late, "ta")
			r.Trunk.FrTimer = 500
			shared.door.plan(a.user, outward(r), outward(over(next, "tb")), reject(503, "No Trunk", 0))
			call := a.newCall("+4930123")
			call.body = sdp(40000)
			call.dial()
			first := late.request("INVITE")
			second := next.request("INVITE")
			answer := late.response(first.RawMessage, 200, "OK", "Content-Type: application/sdp\r\n", sdp(40002))
			switch when {
			case "the call has ended":
				next.reject(second, 503)
				call.ended(503)
				late.send(answer)
				// It still goes to the caller, who ends what it makes of it (RFC 3261 section 16.7).
				a.expect("the late 200", func(m *message) bool { return m.Code == 200 && m.Header("CSeq") == "2 INVITE" })
				noMedia(t, shared, call.callID)
				noDialog(t, shared, call.callID)
			default:
				if when == "the next rings" {
					late.send(answer)
				}
				next.reply(second, 180, "Ringing")
				a.expect("180", func(m *message) bool { return m.Code == 180 })
				callee := next.answer(second, sdp(40004))
				caller := call.up()
				if !strings.Contains(caller.to, "t-tb") {
					t.Errorf("the call is with %s", caller.to)
				}
				next.request("ACK")
				if when == "the call is up" {
					late.send(answer)
				}
				if e := shared.door.expectEvent(t, api.EventDialogStart, "call_id", call.callID); e.Get("trunk") != "tb" {
					t.Errorf("dialog.start says %v", e)
				}
				hangUp(t, caller, callee)
				shared.door.expectEvent(t, api.EventDialogEnd, "call_id", call.callID)
				noMedia(t, shared, call.callID)
			}
		})
	}
}

// A trunk's 183 that its refusal has overtaken on the way does nothing any more: the caller does not hear of it, and the relay does not
// take its SDP for that of the trunk that rings by then.
func TestOutCross_RefusalOvertakesEarlyMedia(t *testing.T) {
	t.Parallel()
	a, first, second := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", user("ta")), newSet(t, shared, "udp", user("tb"))
	shared.door.plan(a.user, outward(over(first, "ta")), outward(over(second, "tb")))
	call := a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	refused := first.request("INVITE")
	first.reject(refused, 503)
	invite := second.request("INVITE")
	for _, p := range []*set{first, second} { // the second's is behind the first's
		of := refused
		if p == second {
			of = invite
		}
		p.send(p.response(of.RawMessage, 183, "Session Progress", "Content-Type: application/sdp\r\n", sdp(40002)))
	}
	a.expect("183", func(m *message) bool { return m.Code == 183 && strings.Contains(m.Header("To"), second.user) })
	callee := second.answer(invite, sdp(40002))
	caller := call.up()
	session, err := shared.NGCommand(fmt.Sprintf("d7:command5:query7:call-id%d:%se", len(call.callID), call.callID))
	if err != nil || !strings.Contains(session, "t-"+second.user) || strings.Contains(session, "t-"+first.user) {
		t.Errorf("the relay's session: %v, %s", err, session)
	}
	hangUp(t, caller, callee)
	noMedia(t, shared, call.callID)
}
