package kamailio

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// eachMS is how long a target may say nothing, in milliseconds.
const eachMS = 1500

// through has an attempt made at targets, each with its own time; the URI names none of them.
func through(r api.Route, targets ...string) api.Route {
	r.URI = "sip:+4930123@carrier.invalid"
	r.Trunk.FrTimer, r.Trunk.DstURI, r.Trunk.Next = eachMS, targets[0], strings.Join(targets[1:], "|")
	return r
}

func hop(p *set) string { return "sip:" + p.local + ";transport=" + p.transport }

// deaf is a target that says nothing.
func deaf(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return "sip:" + c.LocalAddr().String() + ";transport=udp"
}

// closed is a target that no connection can be made to.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "sip:" + l.Addr().String() + ";transport=tcp"
}

// A trunk with several targets is tried at each in turn, within its own time and without another question, past one that is silent, one
// that cannot be connected to and one that says 503; each is called by the trunk's own name and shown the same caller. Who answers has the
// call, and its events say what was tried before.
func TestOutTarget_TheNextOneIsTried(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(*testing.T) (string, int){
		"silent": func(t *testing.T) (string, int) { return deaf(t), 408 },
		"closed": func(t *testing.T) (string, int) { return closed(t), 503 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, full, good := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "ta")
			dead, code := first(t)
			shared.door.plan(a.user, outward(through(over(good, "ta"), dead, hop(full), hop(good))))
			call := a.newCall("+4930123")
			call.body = sdp(40000)
			began := time.Now()
			call.dial()
			invite := full.request("INVITE")
			// Kamailio catches up with its ticks in leaps. Without a time of the target's own it would wait for 5 s.
			if took := invite.at.Sub(began); name == "silent" && (took < eachMS/3*time.Millisecond || took > 4*time.Second) {
				t.Errorf("a silent target was left after %v", took)
			}
			full.reject(invite, 503)
			invite = good.request("INVITE")
			if invite.StartLine != "INVITE sip:+4930123@carrier.invalid SIP/2.0" {
				t.Errorf("called as %s", invite.StartLine)
			}
			shown(t, invite, "ta")
			relayed(t, shared, invite)
			callee := good.answer(invite, sdp(40002))
			caller := call.up()
			good.request("ACK")
			want := fmt.Sprintf("%s=%d,%s=503", dead, code, hop(full))
			if e := shared.door.expectEvent(t, api.EventDialogStart, "call_id", call.callID); e.Get("trunk") != "ta" || e.Get("targets") != want {
				t.Errorf("dialog.start says %v, want targets %s", e, want)
			}
			if n := len(shared.door.asked(api.PathRoute, a.user)); n != 1 {
				t.Errorf("the door was asked %d times", n)
			}
			within(t, caller, callee, "INFO", 0)
			hangUp(t, caller, callee)
			full.quiet()
		})
	}
}

// What a target refuses for the called side, and what it challenges, is the trunk's word: no other target is called. The answer goes to
// who has challenged; when that one then fails the next one is called without it, and may challenge by itself.
func TestOutTarget_WhoSpeaksSpeaksForTheTrunk(t *testing.T) {
	t.Parallel()
	a, second, third := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "ta")
	dead := deaf(t)
	targets := []string{dead, hop(second), hop(third)}
	shared.door.plan(a.user, outward(through(over(second, "ta"), targets...)), outward(through(answering(second, "ta", "n1"), targets...)),
		outward(through(answering(third, "ta", "n2"), targets...)), reject(486, "Busy Here", 0))
	call := a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	second.challenge(second.request("INVITE"), 407, nonce("n1"))
	again := second.request("INVITE")
	if !strings.Contains(again.Header("Proxy-Authorization"), "n1") {
		t.Errorf("the answer arrives as\n%s", again.raw)
	}
	second.reject(again, 503)
	fresh := third.request("INVITE")
	if fresh.Header("Proxy-Authorization") != "" {
		t.Errorf("another target gets %s", fresh.Header("Proxy-Authorization"))
	}
	third.challenge(fresh, 401, strings.Replace(nonce("n2"), "Proxy", "WWW", 1))
	again = third.request("INVITE")
	third.reject(again, 486)
	call.ended(486)
	asked := laterThan(t, shared, a.user, 3)
	hears(t, asked[0], map[string]string{"failed_code": "407", "answered": "0", "targets": dead + "=408"})
	hears(t, asked[1], map[string]string{"failed_code": "401", "answered": "0", "targets": dead + "=408," + hop(second) + "=503"})
	hears(t, asked[2], map[string]string{"failed_code": "486", "answered": "1", "tried": "ta"})
	second.quiet()
	third.quiet()
}

// When the last target has failed too, what follows is asked, with what each came to, and the next trunk is called; a caller who gives up
// meanwhile is heard.
func TestOutTarget_TheNextTrunkFollowsTheLast(t *testing.T) {
	t.Parallel()
	a, full, next := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
	dead, other := deaf(t), deaf(t)
	shared.door.plan(a.user, outward(through(over(full, "ta"), dead, hop(full), other)), outward(over(next, "tb")), reject(486, "Busy Here", 0))
	call := a.newCall("+4930123").dial()
	full.reject(full.request("INVITE"), 503)
	next.reject(next.request("INVITE"), 486)
	call.ended(486)
	asked := laterThan(t, shared, a.user, 2)
	hears(t, asked[0], map[string]string{"failed_code": "408", "trunk": "ta", "tried": "ta", "targets": dead + "=408," + hop(full) + "=503," + other + "=408"})
	hears(t, asked[1], map[string]string{"failed_code": "486", "trunk": "tb", "tried": "ta,tb"})
	if _, told := asked[1]["targets"]; told {
		t.Errorf("targets of another trunk are told: %v", url.Values(asked[1]))
	}

	given := newSet(t, shared, "udp", user("caller"))
	shared.door.plan(given.user, outward(through(over(full, "ta"), dead, hop(full))))
	call = given.newCall("+4930123").dial()
	invite := full.request("INVITE")
	full.reply(invite, 180, "Ringing")
	call.expect("180", func(m *message) bool { return m.Code == 180 })
	call.cancel()
	full.reply(full.request("CANCEL"), 200, "OK")
	full.send(full.response(invite.RawMessage, 487, "Request Terminated", "", ""))
	call.ended(487)
}
