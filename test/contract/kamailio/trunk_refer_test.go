package kamailio

import (
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// declined fails unless a REFER from one end is answered 603, without a question and without the other end hearing of it.
func declined(t *testing.T, s *site, from, other *leg) {
	t.Helper()
	before := len(s.door.asked(api.PathRefer, from.user))
	if m := from.asks("REFER", "Refer-To: <sip:1003@acme.test?Replaces=x>\r\n"); m.Code != 603 {
		t.Errorf("REFER of %s: %s", from.user, m.StartLine)
	}
	if n := len(s.door.asked(api.PathRefer, from.user)); n != before {
		t.Errorf("the door was asked %d times", n-before)
	}
	other.quiet()
}

// A call over a trunk is sent elsewhere by nobody: not the trunk by the phone, nor the phone by the trunk, whoever else was rung
// before or after it.
func TestOutRefer_NeitherSideMaySendTheOtherAway(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"trunk", "phone, then trunk", "trunk, then phone"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, b := newSet(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b"))
			trunk := newSet(t, shared, "udp", user("ta"))
			shared.door.onRefer(a.user, says(api.ReferReply{Action: api.ActionAccept}))
			phone := to(1, b.user)
			phone.Busy = 2
			end := trunk
			switch what {
			case "trunk":
				shared.door.plan(a.user, outward(over(trunk, "ta")))
			case "phone, then trunk":
				shared.door.plan(a.user, ring(phone, api.Route{Step: 2, Ask: "forward/fwd_1"}), outward(over(trunk, "ta")))
			case "trunk, then phone":
				shared.door.plan(a.user, outward(over(trunk, "ta")), ring(to(1, b.user)))
				end = b
			}
			call := a.newCall("+4930123").dial()
			switch what {
			case "phone, then trunk":
				b.reject(b.request("INVITE"), 486)
			case "trunk, then phone":
				trunk.reject(trunk.request("INVITE"), 503)
			}
			callee := end.answer(end.request("INVITE"), "")
			caller := call.up()
			end.request("ACK")
			declined(t, shared, caller, callee)
			declined(t, shared, callee, caller)
			hangUp(t, caller, callee)
		})
	}
}

// So it is with the call of a trunk that is known by its digest.
func TestOutRefer_TrunkThatCallsMayNotEither(t *testing.T) {
	t.Parallel()
	trunk, b := newSet(t, shared, "udp", user("trunk")), registered(t, shared, "udp", user("b"))
	shared.door.onRefer(trunk.user, says(api.ReferReply{Action: api.ActionAccept}))
	shared.door.onRefer(b.user, says(api.ReferReply{Action: api.ActionAccept}))
	shared.door.obey(trunk.user, inward(b))
	caller, callee, _ := talk(trunk.newCall("+4930100"), b)
	declined(t, shared, caller, callee)
	declined(t, shared, callee, caller)
	hangUp(t, caller, callee)
}
