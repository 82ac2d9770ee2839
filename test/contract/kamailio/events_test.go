package kamailio

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// expectFields fails unless an event has exactly these fields; "*" stands for any value but the empty one.
// seq, time_ms and type are checked for every event.
func expectFields(t *testing.T, e event, kind string, want map[string]string) {
	t.Helper()
	ms, err := strconv.ParseInt(e.Get("time_ms"), 10, 64)
	if age := time.Since(time.UnixMilli(ms)); err != nil || age < -time.Second || age > time.Minute {
		t.Errorf("%s: time_ms %q is not now", kind, e.Get("time_ms"))
	}
	if seq, err := strconv.Atoi(e.Get("seq")); err != nil || seq < 1 || e.node != "node-1" || e.boot == "" {
		t.Errorf("%s: seq %q of node %q and boot %q", kind, e.Get("seq"), e.node, e.boot)
	}
	want["seq"], want["time_ms"], want["type"] = "*", "*", kind
	if got := slices.Sorted(maps.Keys(e.Values)); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("%s has the fields %v, want %v", kind, got, slices.Sorted(maps.Keys(want)))
	}
	for name, value := range want {
		if got := e.Get(name); got != value && (value != "*" || got == "") {
			t.Errorf("%s: %s is %q, want %q", kind, name, got, value)
		}
	}
}

// Each event has the fields that api.Event names and no other, and their values are the directive's and the call's.
func TestEvents_SayWhatHappened(t *testing.T) {
	t.Parallel()
	t.Run("contacts", func(t *testing.T) {
		t.Parallel()
		for _, transport := range []string{"udp", "tls", "wss"} {
			p := newSet(t, shared, transport, user("O'B&é"))
			callID := id("reg&")
			if m := p.register(registration{callID: callID}); m.Code != 200 {
				t.Fatal(m.StartLine)
			}
			want := map[string]string{"account_id": "acme", "aor": "sip:" + p.user + "@acme.test", "contact": p.contact(),
				"source_ip": "127.0.0.1", "transport": transport, "user_agent": "set & more", "call_id": callID, "expires_sec": "600"}
			expectFields(t, shared.door.expectEvent(t, api.EventContactSaved, "call_id", callID), api.EventContactSaved, maps.Clone(want))
			if m := p.register(registration{callID: callID, expires: "0"}); m.Code != 200 {
				t.Fatal(m.StartLine)
			}
			delete(want, "expires_sec")
			expectFields(t, shared.door.expectEvent(t, api.EventContactRemoved, "call_id", callID), api.EventContactRemoved, want)
		}
	})
	t.Run("removal of a contact that is not there", func(t *testing.T) {
		t.Parallel()
		p := newSet(t, shared, "udp", user("gone"))
		callID := id("reg")
		if m := p.register(registration{callID: callID, expires: "0"}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
		expectFields(t, shared.door.expectEvent(t, api.EventContactRemoved, "call_id", callID), api.EventContactRemoved,
			map[string]string{"account_id": "acme", "aor": "sip:" + p.user + "@acme.test", "contact": p.contact(),
				"source_ip": "127.0.0.1", "transport": "udp", "user_agent": "set & more", "call_id": callID})
	})
	t.Run("an answered call", func(t *testing.T) {
		t.Parallel()
		a, b := registered(t, shared, "udp", user("a")), registered(t, shared, "udp", user("b"))
		d := ring(to(1, b.user))
		d.Call.From, d.Call.To, d.Call.Token = "sip:o'neil&%20@acme.test", "sip:100@acme.test", "Abc123"
		shared.door.obey(a.user, d)
		caller, callee, _ := talk(a.newCall(b.user), b)
		hangUp(t, callee, caller)
		for _, kind := range []string{api.EventDialogStart, api.EventDialogEnd} {
			e := shared.door.expectEvent(t, kind, "call_id", caller.callID)
			for got := range maps.Keys(e.Values) {
				if !slices.Contains(fields(api.Event{}), got) {
					t.Errorf("%s has %s, which api.Event has not", kind, got)
				}
			}
			expectFields(t, e, kind, map[string]string{"account_id": "acme", "call_id": caller.callID, "token": "Abc123",
				"from": d.Call.From, "to": d.Call.To})
		}
	})
	for _, code := range []int{486, 603, 404, 500} {
		t.Run(fmt.Sprint("a call that failed with ", code), func(t *testing.T) {
			t.Parallel()
			a, b := newSet(t, shared, "udp", user("a")), registered(t, shared, "udp", user("b"))
			shared.door.obey(a.user, ring(to(1, b.user)))
			call := a.newCall(b.user).dial()
			b.reject(b.request("INVITE"), code)
			m := call.result()
			e := shared.door.expectEvent(t, api.EventDialogFailed, "call_id", call.callID)
			expectFields(t, e, api.EventDialogFailed, map[string]string{"account_id": "acme", "call_id": call.callID, "token": "Tok42",
				"from": "sip:a@acme.test", "to": "sip:b@acme.test", "sip_code": fmt.Sprint(m.Code)})
		})
	}
	t.Run("a call that rang nobody", func(t *testing.T) {
		t.Parallel()
		for code, d := range map[string]api.Directive{"480": ring(to(1, user("nobody"))), "404": ring(api.Route{Step: 1, SIPCode: 404})} {
			a := newSet(t, shared, "udp", user("a"))
			shared.door.obey(a.user, d)
			call := a.newCall("x").dial()
			call.result()
			if e := shared.door.expectEvent(t, api.EventDialogFailed, "call_id", call.callID); e.Get("sip_code") != code {
				t.Errorf("sip_code %q, want %s", e.Get("sip_code"), code)
			}
		}
	})
}

// A contact whose time is over, or whose connection is lost, is told as expired with its AOR and contact, and a call
// to it no longer rings anybody.
func TestEvents_ContactExpires(t *testing.T) {
	t.Parallel()
	t.Run("by time", func(t *testing.T) {
		t.Parallel()
		p := newSet(t, shared, "udp", user("short"))
		if m := p.register(registration{expires: "5"}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
		expired(t, p)
	})
	for _, transport := range []string{"tcp", "tls", "wss"} {
		t.Run("by a lost connection over "+transport, func(t *testing.T) {
			t.Parallel()
			p := registered(t, shared, transport, user("lost"))
			if err := p.conn.Close(); err != nil {
				t.Fatal(err)
			}
			expired(t, p)
			a := newSet(t, shared, "udp", user("caller"))
			shared.door.obey(a.user, ring(to(1, p.user)))
			a.newCall(p.user).dial().refused(480)
		})
	}
}

// expired waits for the event that p's contact is gone.
func expired(t *testing.T, p *set) {
	t.Helper()
	e := shared.door.expectEvent(t, api.EventContactExpired, "aor", "sip:"+p.user+"@acme.test")
	expectFields(t, e, api.EventContactExpired, map[string]string{"aor": "sip:" + p.user + "@acme.test", "contact": p.contact(), "call_id": "*"})
}

// max_duration_sec of 3: three seconds after the answer, a re-INVITE in between or not, both phones get BYE and the
// brain hears dialog.end; many calls at once, because the two BYEs race with their answers.
func TestEvents_TooLongACallIsEndedOnBothSides(t *testing.T) {
	t.Parallel()
	tails(t, shared)
	for i := range 20 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			a, b := registered(t, shared, "udp", user("a")), registered(t, shared, "udp", user("b"))
			d := ring(stamped(to(1, b.user)))
			d.Call.MaxDurationSec = 3
			shared.door.obey(a.user, d)
			began := time.Now()
			caller, callee, _ := talk(a.newCall(b.user), b)
			answered := time.Now()
			if i%2 == 1 {
				reinvite(caller, callee)
			}
			byes := make(chan *message, 2)
			for _, l := range []*leg{caller, callee} {
				// Both answer at once, as phones do.
				go func() {
					for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
						if m := l.take("BYE"); m != nil {
							l.reply(m, 200, "OK")
							byes <- m
							return
						}
					}
					byes <- nil
				}()
			}
			for range 2 {
				bye := <-byes
				if bye == nil {
					t.Fatal("one phone got no BYE")
				}
				// Kamailio counts in whole seconds, between two of its ticks: 2 to 4.
				if bye.at.Sub(began) < time.Second || bye.at.Sub(answered) > 8*time.Second {
					t.Errorf("BYE after %v, want 3 s", bye.at.Sub(answered))
				}
				if got := bye.Header("To"); got != caller.from && got != callee.from {
					t.Errorf("BYE is for %q, want %q or %q", got, caller.from, callee.from)
				}
			}
			shared.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID)
		})
	}
}

// reinvite sends a re-INVITE from one end that the other accepts.
func reinvite(from, other *leg) {
	from.t.Helper()
	cseq := from.ask("INVITE", "")
	other.reply(other.request("INVITE"), 200, "OK")
	if m := from.final(from.callID, cseq); m.Code != 200 {
		from.t.Fatalf("re-INVITE: %s", m.StartLine)
	}
	from.send(from.write("ACK", from.cseq, ""))
	other.request("ACK")
}

// Events wait while the door is away, whether it refuses them or is closed: then all come, once each by their
// number, in order, none missing; with 300 of them waiting too.
func TestEvents_NoneIsLostWhileTheDoorIsAway(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	p := newSet(t, s, "udp", user("many"))
	order := []string{}
	register := func(n int) {
		for range n {
			callID := id("reg")
			if m := p.register(registration{callID: callID}); m.Code != 200 {
				t.Fatal(m.StartLine)
			}
			order = append(order, callID)
		}
	}
	register(3)
	s.door.setAway(true)
	began := time.Now()
	register(300)
	s.door.setAway(false)
	t.Logf("300 events waited for %v", time.Since(began))
	register(3)
	inOrder(t, s, order)

	a, b := registered(t, s, "udp", user("a")), registered(t, s, "udp", user("b"))
	caller, callee, _ := connect(t, s, a, b)
	s.door.expectEvent(t, api.EventDialogStart, "call_id", caller.callID)
	if err := s.door.close(); err != nil {
		t.Fatal(err)
	}
	hangUp(t, caller, callee)
	// The door stays closed for two seconds in which Kamailio tries to post.
	closed := time.NewTimer(2 * time.Second)
	<-closed.C
	if err := s.door.open(s.door.addr); err != nil {
		t.Fatal(err)
	}
	s.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID)
	register(1)
	inOrder(t, s, order)
}

// inOrder waits until the contact events are those of these Call-IDs, numbered without a gap. Two workers may
// queue theirs the other way round; what orders them for the brain is time_ms, which never falls.
func inOrder(t *testing.T, s *site, order []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d events in order", len(order)), func() error {
		next, calls, times := 1, []string{}, map[string]string{}
		for _, e := range s.door.told(func(event) bool { return true }) {
			seq, err := strconv.Atoi(e.Get("seq"))
			switch {
			case err != nil:
				return err
			case seq > next:
				return fmt.Errorf("seq %d follows %d", seq, next-1)
			case seq < next:
				continue // delivered again
			}
			next++
			if e.Get("type") == api.EventContactSaved && strings.HasPrefix(e.Get("aor"), "sip:many") {
				calls = append(calls, e.Get("call_id"))
				times[e.Get("call_id")] = e.Get("time_ms")
			}
		}
		if len(calls) != len(order) {
			return fmt.Errorf("%d of %d have come", len(calls), len(order))
		}
		for i, id := range order {
			if times[id] == "" || i > 0 && times[id] < times[order[i-1]] {
				return fmt.Errorf("registration %d is of %q, the one before of %q", i+1, times[id], times[order[max(0, i-1)]])
			}
		}
		return nil
	})
}

// Kamailio is slow between the two BYEs by which it ends a call, slower than the first phone's answer: the other phone gets its own all the
// same, and the brain hears dialog.end.
func TestEvents_AnAnswerDoesNotOvertakeTheEnd(t *testing.T) {
	t.Parallel()
	const own = `    if (is_method("BYE")) route(OWN_BYE);`
	held := 0
	s := startSite(t, edge.Options{Children: 4}, func(_, c string) string {
		held += strings.Count(c, own)
		return strings.Replace(c, own, `    if (is_method("BYE")) usleep("100000");`, 1)
	})
	if held != 1 {
		t.Fatalf("%q is there %d times", own, held)
	}
	a, b := registered(t, s, "udp", user("a")), registered(t, s, "udp", user("b"))
	d := ring(to(1, b.user))
	d.Call.MaxDurationSec = 1
	s.door.obey(a.user, d)
	caller, callee, _ := talk(a.newCall(b.user), b)
	// The caller's is the first.
	caller.reply(caller.request("BYE"), 200, "OK")
	callee.reply(callee.request("BYE"), 200, "OK")
	s.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID)
}
