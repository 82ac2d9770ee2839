package kamailio

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/kam"
)

// noMedia waits until rtpengine has let go of a call.
func noMedia(t *testing.T, s *site, callID string) {
	t.Helper()
	eventually(t, "rtpengine to forget the call", func() error {
		ids, err := s.MediaSessions()
		if err == nil && slices.Contains(ids, callID) {
			err = fmt.Errorf("it has %v", ids)
		}
		return err
	})
}

// noDialog waits until Kamailio has let go of a call.
func noDialog(t *testing.T, s *site, callID string) {
	t.Helper()
	client, err := kam.Open(s.KamailioSocket, filepath.Join(t.TempDir(), "c.sock"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	lister := kam.NewLister(client, filepath.Join(t.TempDir(), "list"))
	eventually(t, "Kamailio to forget the call", func() error {
		list, err := lister.Dialogs(t.Context())
		if slices.ContainsFunc(list, func(d api.Dialog) bool { return d.CallID == callID }) {
			return errors.New("it has the dialog")
		}
		return err
	})
}

// ended fails unless a call has ended with code, for the brain too, and has left neither media nor a dialog behind.
func (c *outgoing) ended(code int) *message {
	c.t.Helper()
	m := c.refused(code)
	e := c.site.door.expectEvent(c.t, api.EventDialogFailed, "call_id", c.callID)
	if e.Get("sip_code") != fmt.Sprint(code) {
		c.t.Errorf("dialog.failed says %v, want %d", e, code)
	}
	noMedia(c.t, c.site, c.callID)
	noDialog(c.t, c.site, c.callID)
	return m
}

// Every final answer of a trunk but 2xx is told in the next question as it stands, a redirect and a 6xx among them, and
// nobody follows the redirect; the caller hears what the door says then, with Retry-After.
func TestOutFail_EveryRefusalIsTold(t *testing.T) {
	t.Parallel()
	for _, code := range []int{302, 400, 403, 404, 408, 480, 486, 487, 488, 500, 503, 600, 603} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
			shared.door.plan(a.user, outward(over(trunk, "ta")), reject(431, "As The Door Says", 7))
			call := a.newCall("+4930123")
			call.body = sdp(40000)
			call.dial()
			trunk.reject(trunk.request("INVITE"), code)
			m := call.ended(431)
			if m.StartLine != "SIP/2.0 431 As The Door Says" || m.Header("Retry-After") != "7" {
				t.Errorf("%s with Retry-After %q", m.StartLine, m.Header("Retry-After"))
			}
			hears(t, laterThan(t, shared, a.user, 1)[0], map[string]string{"failed_code": fmt.Sprint(code), "trunk": "ta", "challenge": ""})
			if e := shared.door.expectEvent(t, api.EventDialogFailed, "call_id", call.callID); e.Get("trunk") != "ta" {
				t.Errorf("dialog.failed says %v", e)
			}
			trunk.quiet()
		})
	}
}

// A redirect of a trunk leads nowhere, whatever its Contacts name: a number at this edge, at another host, several, with or without a
// provisional answer before. What is asked does not hold them, the caller sees none, and nobody is called.
func TestOutFail_NobodyFollowsARedirect(t *testing.T) {
	t.Parallel()
	for _, code := range []int{300, 301, 302, 305, 380, 399} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			a, trunk, dear, b := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "dear"), registered(t, shared, "udp", user("b"))
			shared.door.plan(a.user, outward(over(trunk, "ta")), reject(480, "Temporarily Unavailable", 0))
			call := a.newCall("+4930123")
			call.body = sdp(40000)
			call.dial()
			invite := trunk.request("INVITE")
			trunk.reply(invite, 183, "Progress")
			contacts := fmt.Sprintf("Contact: <sip:+4990012345@%s>;q=0.9, <sip:%s@acme.test>\r\nContact: <sip:+4990012345@%s>\r\nDiversion: <sip:x@y>\r\n", dear.local, b.user, shared.SIP)
			trunk.send(strings.Replace(trunk.response(invite.RawMessage, code, "Moved", "", ""), "Contact: <"+trunk.contact()+">\r\n", contacts, 1))
			trunk.request("ACK")
			if m := call.ended(480); len(m.All("Contact")) != 0 || strings.Contains(m.raw, "99001") {
				t.Errorf("the caller is told\n%s", m.raw)
			}
			q := laterThan(t, shared, a.user, 1)[0]
			hears(t, q, map[string]string{"failed_code": fmt.Sprint(code), "trunk": "ta"})
			if strings.Contains(q.Encode(), "99001") {
				t.Errorf("the door is told %v", q)
			}
			for _, p := range []*set{trunk, dear, b} {
				p.quiet()
			}
		})
	}
}

// Without an answer of the door the caller hears the trunk's code, but 503 with Retry-After for what concerns the edge alone
// or says that nobody is there. So it is with an answer that makes no sense.
func TestOutFail_DoorAwayEndsTheCall(t *testing.T) {
	t.Parallel()
	answers := map[string]http.HandlerFunc{"503": saysBody(503, ""), "no JSON": saysBody(200, "{"), "no call": says(api.RouteReply{RTJSON: api.Directive{Action: "proxy"}}),
		"no action": says(api.RouteReply{RTJSON: api.Directive{Action: "dance"}}), "silent": slowly(time.Minute, saysBody(200, "{}"))}
	for what, answer := range answers {
		for code, want := range map[int]int{404: 404, 486: 486, 603: 603, 302: 503, 401: 503, 407: 503, 408: 503, 500: 503, 503: 503} {
			if what != "503" && code != 486 && code != 503 {
				continue
			}
			t.Run(fmt.Sprint(what, code), func(t *testing.T) {
				t.Parallel()
				a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
				first := says(api.RouteReply{RTJSON: outward(over(trunk, "ta"))})
				shared.door.onRoute(a.user, func(w http.ResponseWriter, r *http.Request) {
					shared.door.onRoute(a.user, answer)
					first(w, r)
				})
				call := a.newCall("+4930123")
				call.body = sdp(40000)
				call.dial()
				trunk.reject(trunk.request("INVITE"), code)
				if m := call.ended(want); (want == 503) != (m.Header("Retry-After") != "") {
					t.Errorf("%d: %s with Retry-After %q", code, m.StartLine, m.Header("Retry-After"))
				}
			})
		}
	}
}

// A trunk that says nothing at all is 408 after its own time; one that has taken the call and rings until the ring time is
// over is cancelled, and 480; one that says 100 and does not ring within its time is cancelled too, and 408. One that cannot be reached is 503 at once: its host has no address, its peer has not
// registered.
func TestOutFail_SilenceRingingAndNoWay(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"silent", "rings", "rings later", "100 alone", "100 and no more", "no host", "not registered", "no SIP URI"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, trunk, next := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
			r := over(trunk, "ta")
			want := "503"
			switch what {
			case "silent":
				r.Trunk.FrTimer, want = 1500, "408"
			case "rings", "100 alone":
				r.FrInvTimer, want = 1000, "480"
			case "rings later":
				r.Trunk.ProgressMS, r.FrInvTimer, want = 1500, 8000, "480"
			case "100 and no more":
				r.Trunk.ProgressMS, want = 1500, "408"
			case "no host":
				r.Trunk.DstURI = "sip:nobody.invalid"
			case "not registered":
				r.Trunk.Lookup = "sip:" + user("nobody") + "@acme.test"
			case "no SIP URI":
				r.URI = "tel:+4930123"
			}
			shared.door.plan(a.user, outward(r), outward(over(next, "tb")))
			call := a.newCall("+4930123")
			call.body = sdp(40000)
			began := time.Now()
			call.dial()
			least := time.Duration(r.Trunk.FrTimer) * time.Millisecond
			if r.Trunk.ProgressMS > 0 {
				least = time.Duration(r.Trunk.ProgressMS) * time.Millisecond
			}
			if want == "480" || what == "100 and no more" {
				invite := trunk.request("INVITE")
				if what != "rings" {
					trunk.reply(invite, 100, "Trying")
				}
				if strings.HasPrefix(what, "rings") {
					trunk.reply(invite, 180, "Ringing")
				}
				trunk.reply(trunk.request("CANCEL"), 200, "OK")
				if what == "rings later" {
					least = time.Duration(r.FrInvTimer) * time.Millisecond
				}
				trunk.send(trunk.response(invite.RawMessage, 487, "Request Terminated", "", ""))
			}
			invite := next.request("INVITE")
			// Kamailio catches up with its ticks in leaps, so that a time may be over early; how late it is depends on the machine.
			if took := invite.at.Sub(began); (want == "408" || what == "rings later") && (took < least/2 || took > 4*least) {
				t.Errorf("the next trunk is tried after %v, want %v", took, least)
			} else {
				t.Logf("the next trunk is tried after %v", took)
			}
			hears(t, laterThan(t, shared, a.user, 1)[0], map[string]string{"failed_code": want, "trunk": "ta", "tried": "ta"})
			callee := next.answer(invite, sdp(40002))
			hangUp(t, call.up(), callee)
			noMedia(t, shared, call.callID)
		})
	}
}

// A walk that never ends by itself ends after 64 questions, without a trunk that could be reached and without anything in
// between: the caller hears 503.
func TestOutFail_QuestionsAreBounded(t *testing.T) {
	t.Parallel()
	a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
	for name, r := range map[string]api.Route{"trunk": over(trunk, "ta"), "ask": {Step: 1, Ask: "forward/fwd_1"}} {
		a.user = user(name)
		if r.Trunk != nil {
			r.Trunk.DstURI = "sip:nobody.invalid"
		}
		shared.door.plan(a.user, outward(r))
		a.newCall("+4930123").dial().ended(503)
		laterThan(t, shared, a.user, 64)
	}
}

// A step to be decided when it is reached is asked about with its own name, no trunk, and the code so far: as the first step,
// behind a phone that is not there, is busy, does not answer. The call then leaves over a trunk, which sees nothing
// that was for the phone.
func TestOutFail_AskedStepIsDecidedWhenReached(t *testing.T) {
	t.Parallel()
	for what, want := range map[string]string{"first": "0", "nobody": "430", "silent": "430", "busy": "486", "no answer": "480", "declined": "603"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, b, trunk := newSet(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b")), newSet(t, shared, "udp", "ta")
			phone := stamped(to(1, b.user))
			phone.FrInvTimer, phone.Busy, phone.Noanswer = 1000, 2, 2
			routes := []api.Route{phone, {Step: 2, Ask: "forward/fwd_1"}}
			switch what {
			case "first":
				routes = []api.Route{{Step: 1, Ask: "forward/fwd_1"}}
			case "nobody":
				routes[0].URI = "sip:" + user("nobody") + "@acme.test"
			}
			walk := ring(routes...)
			walk.Call.Hops = 2
			out := outward(over(trunk, "ta"))
			out.Call.At = "forward/fwd_1"
			shared.door.plan(a.user, walk, out, reject(404, "Not Found", 0))
			call := a.newCall("100")
			call.body, call.more = sdp(40000), forged
			call.dial()
			switch what {
			case "busy":
				b.reject(b.request("INVITE"), 486)
			case "declined":
				b.reject(b.request("INVITE"), 603)
			case "silent":
				b.request("INVITE")
			case "no answer":
				invite := b.request("INVITE")
				b.reply(invite, 180, "Ringing")
				b.reply(b.request("CANCEL"), 200, "OK")
				b.send(b.response(invite.RawMessage, 487, "Request Terminated", "", ""))
			}
			invite := trunk.request("INVITE")
			shown(t, invite, "ta")
			trunk.reject(invite, 503)
			call.ended(404)
			asked := laterThan(t, shared, a.user, 2)
			hears(t, asked[0], map[string]string{"at": "forward/fwd_1", "failed_code": want, "trunk": "", "tried": "", "answered": "0", "hops": "2", "challenge": ""})
			hears(t, asked[1], map[string]string{"at": "forward/fwd_1", "failed_code": "503", "trunk": "ta", "tried": "ta", "hops": "3"})
		})
	}
}

// What follows a trunk may be anything a directive says: phones, with their own identity and nothing of the trunk's, and the
// media server.
func TestOutFail_PhonesFollowATrunk(t *testing.T) {
	t.Parallel()
	s, media := answeringSite(t)
	a, trunk, b := newSet(t, s, "udp", user("caller")), newSet(t, s, "udp", "ta"), registered(t, s, "udp", user("b"))
	s.door.plan(a.user, outward(over(trunk, "ta")), ring(stamped(to(1, b.user))), reject(500, "Not Asked", 0))
	call := a.newCall("+4930123").dial()
	trunk.reject(trunk.request("INVITE"), 503)
	invite := b.request("INVITE")
	if !strings.Contains(invite.Header("From"), "Bobby") || strings.Contains(invite.raw, "ta.test") || strings.Contains(invite.raw, "X-ta") {
		t.Errorf("the phone gets\n%s", invite.raw)
	}
	b.reject(invite, 486)
	call.ended(486)

	s.door.plan(a.user, outward(over(trunk, "ta")), ring(answered(1)))
	call = a.newCall("+4930123").dial()
	trunk.reject(trunk.request("INVITE"), 503)
	invite = media.request("INVITE")
	about(t, invite)
	hangUp(t, media.answer(invite, ""), call.up())
}

// Sixteen phones that ring and fail leave room for trunks, silent ones too, which count twice.
func TestOutFail_TrunksFollowManyPhones(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("caller"))
	var routes []api.Route
	var phones []*set
	for range 16 {
		b := registered(t, shared, "udp", user("b"))
		r := to(1, b.user)
		r.Busy, r.Noanswer = 2, 2
		phones, routes = append(phones, b), append(routes, r)
	}
	walk := []api.Directive{ring(append(routes, api.Route{Step: 2, Ask: "forward/fwd_1"})...)}
	var trunks []*set
	for _, id := range []string{"ta", "tb", "tc", "td"} {
		trunk := newSet(t, shared, "udp", id)
		r := over(trunk, id)
		if id != "td" {
			r.Trunk.FrTimer = 300
		}
		trunks, walk = append(trunks, trunk), append(walk, outward(r))
	}
	shared.door.plan(a.user, walk...)
	call := a.newCall("100").dial()
	for _, b := range phones {
		b.reject(b.request("INVITE"), 480)
	}
	last := trunks[3].request("INVITE") // the others say nothing
	hangUp(t, trunks[3].answer(last, ""), call.up())
}
