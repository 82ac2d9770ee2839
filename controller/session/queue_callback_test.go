package session

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// agreed brings the call of user 101 to where it hears that he is called back.
func agreed(t *testing.T, d *desk) {
	t.Helper()
	d.say(t, start("queue", "q_1", map[string]string{"caller_number": "101", "direction": "internal"}))
	if r := d.say(t, ended(1, api.OutcomeDigit, map[string]string{"digit": "3"})); r.Command != api.CommandPlay {
		t.Fatalf("he hears %+v", r)
	}
}

func TestCallback_TheDeskHearsOfItBeforeTheCallEnds(t *testing.T) {
	// Proves that the call is not hung up before the desk has the callback, which is said again while the desk is away; that one which the
	// desk refuses is in the log, and its place is given back; and that he who hangs up himself is called back all the same, and leaves no place.
	for name, last := range map[string]*api.FlowRequest{"hung up": ended(2, api.OutcomeDone, nil), "hangs up": ended(2, api.OutcomeHangup, nil)} {
		d, l := newLine(t, nil)
		agreed(t, d)
		l.said()
		l.fail = brain.Errorf(brain.EUnavailable, "away")
		if _, err := d.Flow(t.Context(), last); brain.CodeOf(err) != brain.EUnavailable || l.said() != "callback t-1 101" {
			t.Fatalf("%s: %v", name, err)
		}
		l.fail, l.exit = nil, acd.WhyLost
		if r := d.say(t, last); r.Command != api.CommandHangup && r.Command != api.CommandNoop {
			t.Errorf("%s: %+v", name, r)
		}
		if said := l.said(); said != "callback t-1 101, leave t-1 abandoned" || !strings.Contains(d.log.String(), "not called back") {
			t.Errorf("%s: the desk was told %s", name, said)
		}
	}
}

func TestCallback_HasHisPlaceUntilTheDeskHasHeard(t *testing.T) {
	// Proves that the session of one who has hung up to be called has his place until the desk has heard of it, and then no longer; and that
	// a slow answer to an older question, whose join comes in between, does not give the place back.
	for name, slow := range map[string]bool{"the desk is away": false, "an older join comes late": true} {
		d, l := newLine(t, nil)
		waits := func(want bool) {
			t.Helper()
			if got, err := d.Waits(t.Context(), "acc_1", "t", "t-1"); err != nil || got != want {
				t.Errorf("%s: he waits: %v, %v", name, got, err)
			}
		}
		ends := func() {
			l.fail = brain.Errorf(brain.EUnavailable, "away")
			if _, err := d.Flow(context.WithoutCancel(t.Context()), ended(2, api.OutcomeHangup, nil)); brain.CodeOf(err) != brain.EUnavailable {
				t.Errorf("%s: %v", name, err)
			}
			l.fail = nil
			waits(true)
		}
		if !slow {
			agreed(t, d)
			ends()
		} else {
			d.say(t, start("queue", "q_1", map[string]string{"caller_number": "101", "direction": "internal"}))
			l.joins = sync.OnceFunc(func() {
				if r, err := d.Flow(context.WithoutCancel(t.Context()), ended(1, api.OutcomeDigit, map[string]string{"digit": "3"})); err != nil || r.Command != api.CommandPlay {
					t.Errorf("the key: %+v, %v", r, err)
				}
				ends()
			})
			_, _ = d.Flow(t.Context(), again())
		}
		d.say(t, ended(2, api.OutcomeHangup, nil))
		if said := l.said(); strings.Contains(said, "leave") || !strings.HasSuffix(said, "callback t-1 101") {
			t.Errorf("%s: the desk was told %s", name, said)
		}
		waits(false)
	}
}

func TestCallback_WhoDoesNotTakeItIsMissed(t *testing.T) {
	// Proves that the desk hears of it in the account of the call, also when it is away at first.
	d, l := newLine(t, nil)
	d.say(t, start("queue", "q_1", map[string]string{"callback_entry": "x-1", "callback_reservation": "r7", "callback_fence": "7"}))
	l.fail = brain.Errorf(brain.EUnavailable, "away")
	if _, err := d.Flow(t.Context(), ended(1, api.OutcomeTimeout, nil)); brain.CodeOf(err) != brain.EUnavailable {
		t.Fatal(err)
	}
	l.said()
	l.fail = nil
	if r := d.say(t, ended(1, api.OutcomeTimeout, nil)); r.Command != api.CommandHangup || l.said() != "miss acc_1 r7/7 caller" {
		t.Errorf("%+v", r)
	}
}

func TestCallback_WithTheRealDesk(t *testing.T) {
	// Proves against the real queues that a caller who hung up waits on, that the call which is made for him gets the agent who was reserved
	// with its first word, that it counts as one caller who was answered, and that one with another fence gets nothing and takes nothing away.
	d := newDesk(t, nil)
	s := newServed(t, func() int64 { return d.owner.nowMS })
	d.Queues = s
	agreed(t, d)
	d.say(t, ended(2, api.OutcomeDone, nil))
	if waiting, _, _ := s.callers(); waiting != 1 {
		t.Fatalf("%d wait", waiting)
	}
	d.owner.nowMS += 10_000
	s.desk.Expire(d.owner.nowMS, nil)
	s.do(t, acd.AppendAgent(nil, &acd.AgentOp{UserID: "us_1", Action: "login"}, 1))
	var order acd.Order
	for _, o := range s.desk.Orders() {
		if o.Kind == acd.OrderCallback {
			order = o
		}
	}
	if order.CallerNumber != "101" || order.Node != "edge1" || order.EntryID != "t-1" {
		t.Fatalf("the order is %+v", order)
	}
	back := func(token string, fence int64) api.FlowReply {
		first := start("queue", "q_1", map[string]string{"callback_entry": "t-1", "callback_reservation": order.Offer.ReservationID, "callback_fence": strconv.FormatInt(fence, 10)})
		first.Token = token
		if r := d.say(t, first); r.Command != api.CommandGather {
			t.Fatalf("he hears %+v", r)
		}
		key := ended(1, api.OutcomeDigits, map[string]string{"digits": "1"})
		key.Token = token
		return d.say(t, key)
	}
	if r := back("old", order.Offer.Fence-1); r.Command != api.CommandHangup {
		t.Errorf("an old callback: %+v", r)
	}
	r := back(order.Token, order.Offer.Fence)
	if r.Command != api.CommandEnqueue || len(r.Params.Dispatches) != 1 || r.Params.Dispatches[0].ReservationID != order.Offer.ReservationID {
		t.Fatalf("he goes on with %+v", r)
	}
	for _, op := range [][]byte{acd.AppendClaim(nil, order.Offer.ReservationID, order.Offer.Fence), acd.AppendConfirm(nil, order.Offer.ReservationID, order.Offer.Fence)} {
		if v, err := acd.ReadVerdict(s.do(t, op)); err != nil || !v.Granted {
			t.Fatalf("the talk: %+v, %v", v, err)
		}
	}
	over := ended(2, api.OutcomeAnswered, map[string]string{"talk_ms": "9000"})
	over.Token = order.Token
	d.say(t, over)
	f := s.desk.Queues(d.owner.nowMS, 0, d.owner.nowMS+1, false)[0].Figures
	if waiting, talking, offered := s.callers(); waiting+talking != 0 || offered != 1 || f.Answered != 1 || f.Abandoned != 0 {
		t.Errorf("%d wait, %d talk, figures %+v", waiting, talking, f)
	}
}
