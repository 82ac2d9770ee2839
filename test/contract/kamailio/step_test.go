package kamailio

import (
	"fmt"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// steps is the directive of most tests here: step 1 rings first; busy goes on at step 3, everything else at step 2.
func steps(first, noanswer, busy string) api.Directive {
	one := to(1, first)
	one.FrInvTimer, one.Noanswer, one.Busy = 3000, 2, 3
	return ring(one, to(2, noanswer), to(3, busy))
}

// slow is how much later than its timer Kamailio may be on a machine that has more to do: still far from the timers it has by itself.
const slow = 2 * time.Second

// expectAfter fails unless something came at its time: half of it after the call was dialed, since Kamailio catches up with its ticks in leaps,
// and no later than slow behind it, from when the phone had heard of the call.
func expectAfter(t *testing.T, what string, dialed, heard, came time.Time, want time.Duration) {
	t.Helper()
	if came.Sub(dialed) < want/2 || came.Sub(heard) > want+slow {
		t.Errorf("%s %v after the call and %v after the phone heard of it, want %v", what, came.Sub(dialed), came.Sub(heard), want)
	}
}

// reject answers an INVITE with a refusal and takes its ACK.
func (p *set) reject(invite *message, code int) {
	p.t.Helper()
	more := ""
	switch code {
	case 302:
		more = "Contact: <sip:elsewhere@127.0.0.1:9>\r\n"
	case 407:
		more = "Proxy-Authenticate: Digest realm=\"phone\", nonce=\"n\"\r\n"
	}
	p.send(p.response(invite.RawMessage, code, "No", more, ""))
	p.request("ACK")
}

// Each refusal of the phone leads to the exit that the directive names: busy for 486, 600 and 603, noanswer for
// every other; the step between is skipped, its phone never rings.
func TestStep_RefusalLeadsToItsExit(t *testing.T) {
	t.Parallel()
	for _, code := range []int{486, 600, 603, 480, 404, 408, 500, 503, 302, 407, 415, 488, 606} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			a := newSet(t, shared, "udp", user("caller"))
			first, noanswer, busy := registered(t, shared, "udp", user("first")), registered(t, shared, "udp", user("no")), registered(t, shared, "udp", user("busy"))
			shared.door.obey(a.user, steps(first.user, noanswer.user, busy.user))
			call := a.newCall(first.user).dial()
			first.reject(first.request("INVITE"), code)
			next, other := noanswer, busy
			if code == 486 || code == 600 || code == 603 {
				next, other = busy, noanswer
			}
			callee := next.answer(next.request("INVITE"), "")
			hangUp(t, call.up(), callee)
			other.quiet()
		})
	}
}

// A phone that rings too long is told to stop after the step's time; one that says
// nothing at all is given up after SILENT_MS; and where nobody is registered the next step rings at once.
func TestStep_NoAnswerLeadsToItsExit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ring bool // the first phone says 180
		at   bool // it is registered
		want time.Duration
	}{{"rings", true, true, 3 * time.Second}, {"silent", false, true, silentMS * time.Millisecond}, {"nobody", false, false, 0}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, first, second := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", user("first")), registered(t, shared, "udp", user("no"))
			if c.at && first.register(registration{}).Code != 200 {
				t.Fatal("not registered")
			}
			d := steps(first.user, second.user, "nobody")
			if !c.ring {
				d.Routes[0].FrInvTimer = 60000
			}
			shared.door.obey(a.user, d)
			dialed := time.Now()
			heard := dialed
			call := a.newCall(first.user).dial()
			var invite *message
			if c.at {
				invite = first.request("INVITE")
				heard = invite.at
			}
			if c.ring {
				first.reply(invite, 180, "Ringing")
				cancel := first.request("CANCEL")
				expectAfter(t, "CANCEL", dialed, heard, cancel.at, c.want)
				first.reply(cancel, 200, "OK")
				first.reject(invite, 487)
			}
			next := second.request("INVITE")
			expectAfter(t, "the next step", dialed, heard, next.at, c.want)
			callee := second.answer(next, "")
			hangUp(t, call.up(), callee)
		})
	}
}

// What the caller is told when the last step fails: busy is 486, a 6xx and what the caller can use stay as they
// are, and everything else of a phone is 480.
func TestStep_LastStepTellsTheCaller(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]int{486: 486, 600: 600, 603: 603, 606: 606, 480: 480, 404: 404, 415: 415, 488: 488,
		408: 480, 500: 480, 503: 480, 302: 480, 401: 480, 407: 480, 403: 480} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			a, b := newSet(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("last"))
			shared.door.obey(a.user, ring(to(1, b.user)))
			call := a.newCall(b.user).dial()
			b.reject(b.request("INVITE"), code)
			call.refused(want)
			a.quiet()
		})
	}
}

// A step that is a code ends the call with it: as the first one, after a step nobody answered, after busy.
func TestStep_CodeEndsTheCall(t *testing.T) {
	t.Parallel()
	code := func(step, code int) api.Route { return api.Route{Step: step, SIPCode: code} }
	a, b := newSet(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b"))

	shared.door.obey(a.user, ring(code(1, 486)))
	a.newCall("x").dial().refused(486)

	empty := to(1, user("nobody"))
	empty.Noanswer = 2
	shared.door.obey(a.user, ring(empty, code(2, 404)))
	a.newCall("x").dial().refused(404)

	one := to(1, b.user)
	one.Busy, one.Noanswer = 3, 2
	shared.door.obey(a.user, ring(one, code(2, 480), code(3, 603)))
	call := a.newCall("x").dial()
	b.reject(b.request("INVITE"), 486)
	call.refused(603)
	b.quiet()
}

// Exits that do not rise, or lead to no step, end the call; a directive with nobody to ring is 480. None of them loops.
func TestStep_BadExitsEndTheCall(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("caller"))
	nobody := func(step, noanswer int) api.Route {
		r := to(step, "nobody-is-here")
		r.Noanswer = noanswer
		return r
	}
	for _, routes := range [][]api.Route{
		{nobody(1, 0)}, {nobody(1, 1)}, {nobody(1, 2), nobody(2, 1)}, {nobody(1, 9)}, {nobody(1, -1)}, {nobody(2, 3)}, {},
		{nobody(1, 2), nobody(2, 3), nobody(3, 4), nobody(4, 5), nobody(5, 6), nobody(6, 0)},
	} {
		shared.door.obey(a.user, ring(routes...))
		a.newCall("x").dial().refused(480)
	}
}

// The routes of a step ring together, each with all its contacts; the first to answer has the call and the others
// are told to stop. A refusal of one, even 603, lets the others ring on.
func TestStep_ParallelRingsAllAndTheFirstAnswers(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("caller"))
	b, c := registered(t, shared, "udp", user("b")), registered(t, shared, "tcp", user("c"))
	twin := registered(t, shared, "tls", b.user) // a second contact of the same AOR
	shared.door.obey(a.user, ring(to(1, b.user), to(1, c.user)))
	call := a.newCall(b.user).dial()
	invites := map[*set]*message{}
	for _, p := range []*set{b, c, twin} {
		invites[p] = p.request("INVITE")
		p.reply(invites[p], 180, "Ringing")
	}
	b.reject(invites[b], 603)
	callee := twin.answer(invites[twin], "")
	cancel := c.request("CANCEL")
	c.reply(cancel, 200, "OK")
	c.reject(invites[c], 487)
	hangUp(t, call.up(), callee)
}

// One of several phones was busy: the step's busy exit is taken, or the caller hears 486, whatever the others said
// and whoever was last.
func TestStep_BusyOfOneIsBusyOfAll(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][2]int{"first": {486, 480}, "last": {404, 486}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, c := newSet(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b")), registered(t, shared, "udp", user("c"))
			shared.door.obey(a.user, ring(to(1, b.user), to(1, c.user)))
			call := a.newCall(b.user).dial()
			ib, ic := b.request("INVITE"), c.request("INVITE")
			b.reject(ib, order[0])
			c.reject(ic, order[1])
			call.refused(486)
		})
	}
}

// A caller who gives up stops everything, in the first step, in a later one, and while a phone says nothing yet;
// no later step rings.
func TestStep_CancelStopsItAll(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"first step", "second step", "silent phone"} {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			a := newSet(t, shared, "udp", user("caller"))
			first, second, third := registered(t, shared, "udp", user("1st")), registered(t, shared, "udp", user("2nd")), registered(t, shared, "udp", user("3rd"))
			d := steps(first.user, second.user, third.user)
			d.Routes[0].FrInvTimer, d.Routes[1].Noanswer = 60000, 3
			shared.door.obey(a.user, d)
			call := a.newCall(first.user).dial()
			ringing := first
			invite := first.request("INVITE")
			if c == "second step" {
				first.reject(invite, 480)
				ringing, invite = second, second.request("INVITE")
			}
			if c != "silent phone" {
				ringing.reply(invite, 180, "Ringing")
				a.expect("180", func(m *message) bool { return m.Code == 180 })
			}
			call.cancel()
			if c != "silent phone" {
				ringing.reply(ringing.request("CANCEL"), 200, "OK")
				ringing.reject(invite, 487)
			}
			call.refused(487)
			e := shared.door.expectEvent(t, api.EventDialogFailed, "call_id", call.callID)
			if e.Get("sip_code") != "487" {
				t.Errorf("dialog.failed says %v", e)
			}
			for _, p := range []*set{first, second, third} {
				p.quiet()
			}
		})
	}
}
