package acd

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

var stories = flag.Uint64("stories", 30, "how many random stories are told to a desk")

// story makes random work for a desk.
type story struct {
	rng     *rand.Rand
	now     int64
	version int64
	entries []string
	offers  []Offer
	calls   []Order // callbacks
	joined  int
}

// act is one thing done to a desk; what it gives is compared.
type act func(d *Desk) (reply []byte, changed bool)

func (s *story) op(b []byte) act {
	now := s.now
	return func(d *Desk) ([]byte, bool) {
		reply, changed, err := d.Apply(now, b)
		if err != nil {
			panic(err)
		}
		return reply, changed
	}
}

func (s *story) pick(ids ...string) string { return ids[s.rng.IntN(len(ids))] }

func (s *story) agentID() string { return fmt.Sprint("a", s.rng.IntN(6)) }
func (s *story) queueID() string { return fmt.Sprint("q", s.rng.IntN(3)) }

func (s *story) skills(most int) (out []Skill) {
	for _, name := range []string{"french", "tax"} {
		if s.rng.IntN(2) == 0 {
			out = append(out, Skill{name, 1 + s.rng.IntN(most)})
		}
	}
	return out
}

func (s *story) setup() *Setup {
	s.version++
	out := &Setup{Version: s.version}
	any := func(values ...int64) int64 { return values[s.rng.IntN(len(values))] }
	for i := range 1 + s.rng.IntN(3) {
		q := Queue{ID: fmt.Sprint("q", i), RingMS: any(3000, 20_000), MaxWaitMS: any(0, 0, 30_000), WrapUpMS: any(0, 5000), MaxNoAnswer: int(any(0, 2)),
			MaxQueued: int(any(-1, -1, 3)), EWTThresholdMS: any(0, 0, 100_000), EWTAHTMS: 60_000, TierEscalationMS: any(0, 5000),
			PriorityAgeMS: any(0, 3000), StickyMS: any(0, 60_000), ServiceLevelMS: 5000, Announce: s.rng.IntN(2) == 0, AnnounceFirstMS: any(0, 5000),
			AnnounceEveryMS: any(0, 4000), AnnounceEWT: s.rng.IntN(2) == 0, ExitNoAgents: s.rng.IntN(4) == 0,
			Strategy: s.pick(LongestIdle, RoundRobin, RingAll, TopDown, FewestCalls, LeastTalkTime, Random)}
		if s.rng.IntN(2) == 0 {
			q.SkillRelax = []Relax{{AfterMS: 4000, Skill: "tax", LowerBy: 1}, {AfterMS: 9000, Drop: true}}
		}
		out.Queues = append(out.Queues, q)
	}
	for i := range 6 {
		if s.rng.IntN(8) == 0 {
			continue
		}
		a := Agent{UserID: fmt.Sprint("a", i), AutoReady: s.rng.IntN(2) == 0, AutoQueueLogin: s.rng.IntN(4) > 0, Skills: s.skills(5)}
		for j := range 3 {
			if s.rng.IntN(3) > 0 {
				a.Memberships = append(a.Memberships, Membership{fmt.Sprint("q", j), 1 + s.rng.IntN(3), s.rng.IntN(3),
					s.pick(ModeStatic, ModeStatic, ModeMandatory, ModeSelf)})
			}
		}
		out.Agents = append(out.Agents, a)
	}
	return out
}

// next is something to do; desk is looked at for what is due.
func (s *story) next(desk *Desk) act {
	s.now += s.rng.Int64N(1500)
	switch n := s.rng.IntN(200); {
	case n == 0:
		s.now -= 100_000 // the clock was wrong
	case n < 5:
		s.now -= 2000
	case n < 8:
		s.now += 1_000_000
	}
	switch n := s.rng.IntN(100); {
	case n < 2 || s.version == 0:
		return s.op(AppendSetup(nil, s.setup()))
	case n < 20:
		return s.join()
	case n < 24 && len(s.entries) > 0:
		return s.boss()
	case n < 32 && len(s.entries) > 0:
		return s.op(AppendLeave(nil, s.pick(s.entries...), s.pick("", "t", "strange"), s.pick(LeftAbandoned, LeftAnswered, LeftOption, LeftFailed, ExitTimeout, "strange")))
	case n < 50 && len(s.offers) > 0:
		return s.answer()
	case n < 58:
		return s.callback()
	case n < 70:
		action := s.pick(ActionLogin, ActionLogout, ActionAvailable, ActionAvailable, ActionBreak, ActionWrapUpEnd, ActionJoin, ActionLeave, "strange")
		return s.op(AppendAgent(nil, &AgentOp{UserID: s.agentID(), Action: action, Reason: s.pick("lunch", ""), QueueID: s.queueID()}, s.version))
	case n < 82:
		now, id, reachable, calls := s.now, s.agentID(), s.rng.IntN(5) > 0, s.rng.IntN(6)/5
		return func(d *Desk) ([]byte, bool) {
			d.Signal(now, id, reachable, calls)
			return nil, true
		}
	}
	now, lapsed := s.now, desk.Lapsed(s.now, 3)
	return func(d *Desk) ([]byte, bool) {
		d.Expire(now, lapsed)
		return nil, true
	}
}

// boss is a supervisor who moves somebody, or sends him elsewhere.
func (s *story) boss() act {
	id := s.entries[len(s.entries)-1-s.rng.IntN(min(8, len(s.entries)))]
	if s.rng.IntN(5) == 0 {
		return s.op(AppendSend(nil, id))
	}
	return s.op(AppendMove(nil, id, 1+s.rng.IntN(4)))
}

func (s *story) join() act {
	id := fmt.Sprint("e", s.joined)
	if s.rng.IntN(4) == 0 && len(s.entries) > 0 {
		id = s.pick(s.entries...)
	} else {
		s.joined++
		s.entries = append(s.entries, id)
	}
	j := &Join{EntryID: id, Token: "t", Node: "n", QueueID: s.queueID(), Priority: s.rng.IntN(3) * 2, Skills: s.skills(5),
		CallerNumber: s.pick("", "1", "2"), ExitNoAgents: s.rng.IntN(5) == 0}
	if s.rng.IntN(5) == 0 {
		j.SinceMS = s.now - s.rng.Int64N(20_000)
	}
	return s.op(AppendJoin(nil, j, s.version))
}

func (s *story) answer() act {
	o := s.offers[s.rng.IntN(len(s.offers))]
	if s.rng.IntN(3) > 0 {
		o = s.offers[len(s.offers)-1-s.rng.IntN(min(3, len(s.offers)))]
	}
	if s.rng.IntN(20) == 0 {
		o.Fence++
	}
	switch s.rng.IntN(3) {
	case 0:
		return s.op(AppendMiss(nil, o.ReservationID, o.Fence, s.pick(MissNoAnswer, MissBusy, MissDeclined, MissUnreachable, MissFailed)))
	case 1:
		return s.op(AppendConfirm(nil, o.ReservationID, o.Fence))
	}
	return s.op(AppendClaim(nil, o.ReservationID, o.Fence))
}

func (s *story) heard(d *Desk, reply []byte) {
	for _, o := range d.Orders() {
		switch o.Kind {
		case OrderDispatch:
			s.offers = append(s.offers, o.Offer)
		case OrderCallback:
			s.calls = append(s.calls, o)
		}
	}
	if j, stale, err := ReadJoined(reply); err == nil && !stale {
		s.offers = append(s.offers, j.Offers...)
	}
}

// Tells random stories. Proves that a desk restored from a snapshot at any point goes on as the one it was taken from:
// the same replies, and the same bytes after each change; that what claims to have changed nothing changed nothing;
// that books are right after each; that it replays without effects; and that no agent is in two places.
func TestDesk_GoesOnFromASnapshotAtAnyPoint(t *testing.T) {
	served := 0
	for seed := range *stories {
		s := &story{rng: rand.New(rand.NewPCG(seed, 5)), now: base}
		d := New()
		var again *Desk
		for i := range 300 {
			before := d.AppendSnapshot(nil)
			if again == nil || s.rng.IntN(40) == 0 {
				again, _ = Restore(before)
			}
			do := s.next(d)
			reply, changed := do(d)
			now := d.AppendSnapshot(nil)
			if !changed && !bytes.Equal(before, now) {
				t.Fatalf("seed %d, act %d: changed nothing, and is another", seed, i)
			}
			books(t, d)
			if changed {
				replied, _ := do(again)
				if !bytes.Equal(again.AppendSnapshot(nil), now) {
					t.Fatalf("seed %d, act %d: went on otherwise", seed, i)
				}
				if a, _, err := ReadJoined(reply); err == nil {
					b, _, _ := ReadJoined(replied)
					a.Offers, b.Offers = noLease(a.Offers), noLease(b.Offers)
					if !reflect.DeepEqual(a, b) {
						t.Fatalf("seed %d, act %d: %+v, then %+v", seed, i, a, b)
					}
				}
			}
			s.heard(d, reply)
			served += len(d.Changes())
		}
		if len(again.Orders())+len(again.Changes())+len(again.Records()) > 0 {
			t.Fatalf("seed %d: a replay has effects", seed)
		}
	}
	if most := *stories * 20; uint64(served) < most {
		t.Fatalf("only %d changes of agents", served)
	}
}

// noLease takes out what is not state.
func noLease(offers []Offer) []Offer {
	for i := range offers {
		offers[i].UntilMS = 0
	}
	return offers
}
