package presence

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

const aor = "sip:1001@acme.example"

// nowMS is a time of the brain's at which nothing of the stories is remembered no more.
const nowMS = int64(60_000)

// saved, removed, started and over make events at a second of the clock.
func saved(sec int64, contact string, expires int) api.Event {
	return api.Event{Type: api.EventContactSaved, TimeMS: sec * 1000, AccountID: "acc_1", AOR: aor, Contact: contact, ExpiresS: expires,
		SourceIP: "192.0.2.7", Transport: "udp", UserAgent: "phone/1.0"}
}

func removed(sec int64, contact string) api.Event {
	return api.Event{Type: api.EventContactRemoved, TimeMS: sec * 1000, AccountID: "acc_1", AOR: aor, Contact: contact}
}

func started(sec int64, callID string) api.Event {
	return api.Event{Type: api.EventDialogStart, TimeMS: sec * 1000, AccountID: "acc_1", CallID: callID, From: "1001", To: "1002", Token: fmt.Sprint("tok", callID, sec)}
}

func over(sec int64, callID, how string) api.Event {
	return api.Event{Type: how, TimeMS: sec * 1000, AccountID: "acc_1", CallID: callID}
}

// state prints what is up: contacts with their expiry in seconds, then calls with their start.
func state(m *Machine) string {
	var parts []string
	for _, c := range m.Contacts(aor) {
		parts = append(parts, fmt.Sprintf("%s@%s until %d", c.Contact, c.Node, c.ExpiresMS/1000))
	}
	for _, c := range m.Calls() {
		parts = append(parts, fmt.Sprintf("call %s@%s since %d", c.CallID, c.Node, c.StartedMS/1000))
	}
	return strings.Join(parts, ", ")
}

// from is an event and the node it comes from, "n1" when it is not said.
type from struct {
	ev   api.Event
	node string
}

// tell applies events of a node at nowMS and tells whether they changed something.
func tell(t testing.TB, m *Machine, node string, evs ...api.Event) bool {
	t.Helper()
	batch := make([]Event, 0, len(evs))
	for _, ev := range evs {
		batch = append(batch, Event{Event: ev})
	}
	_, changed := do(t, m, nowMS, AppendEvents(nil, node, batch))
	return changed
}

// do applies an op that must be readable.
func do(t testing.TB, m *Machine, nowMS int64, op []byte) (reply []byte, changed bool) {
	t.Helper()
	reply, changed, err := m.Apply(nowMS, op)
	if err != nil {
		t.Fatal(err)
	}
	return reply, changed
}

// expire applies what is due at a second of the clock and counts what it took down.
func expire(t testing.TB, m *Machine, sec int64) int {
	t.Helper()
	before := m.Counts()
	if op := m.Due(sec * 1000); op != nil {
		do(t, m, sec*1000, op)
	}
	after := m.Counts()
	return before.Contacts + before.Calls - after.Contacts - after.Calls
}

// Proves the rules one by one: each row is a story of events and what is up at its end.
func TestMachine_FollowsTheEdge(t *testing.T) {
	end, failed, expired := api.EventDialogEnd, api.EventDialogFailed, removed(50, "a")
	expired.Type = api.EventContactExpired
	foreign := started(1, "x")
	foreign.AccountID = "acc_2"
	unnamed := started(1, "x")
	unnamed.AccountID = ""
	odd := started(1, "x")
	odd.Type = "dialog.sneezed"
	noAOR := saved(1, "a", 60)
	noAOR.AOR, noAOR.CallID = "", noAOR.Contact
	rows := []struct {
		name   string
		events []from
		want   string
	}{
		{"registered", []from{{ev: saved(10, "a", 60)}}, "a@n1 until 70"},
		{"refreshed", []from{{ev: saved(10, "a", 60)}, {ev: saved(60, "a", 60)}}, "a@n1 until 120"},
		{"shorter refresh", []from{{ev: saved(10, "a", 600)}, {ev: saved(20, "a", 60)}}, "a@n1 until 80"},
		{"two contacts", []from{{ev: saved(10, "b", 60)}, {ev: saved(10, "a", 60)}}, "a@n1 until 70, b@n1 until 70"},
		{"unregistered", []from{{ev: saved(10, "a", 60)}, {ev: removed(20, "a")}}, ""},
		{"saved for no time", []from{{ev: saved(10, "a", 60)}, {ev: saved(20, "a", 0)}}, ""},
		{"expired at the edge", []from{{ev: saved(10, "a", 60)}, {ev: expired}}, ""},
		{"registered again", []from{{ev: saved(10, "a", 60)}, {ev: removed(20, "a")}, {ev: saved(30, "a", 60)}}, "a@n1 until 90"},
		{"late removal", []from{{ev: saved(10, "a", 60)}, {ev: saved(30, "a", 60)}, {ev: removed(20, "a")}}, "a@n1 until 90"},
		{"late refresh", []from{{ev: saved(10, "a", 60)}, {ev: removed(30, "a")}, {ev: saved(20, "a", 60)}}, ""},
		{"removal of the unknown", []from{{ev: removed(20, "a")}}, ""},
		{"removed elsewhere", []from{{ev: saved(10, "a", 60)}, {removed(20, "a"), "n2"}}, "a@n1 until 70"},
		{"moved to another node", []from{{ev: saved(10, "a", 60)}, {saved(20, "a", 60), "n2"}, {ev: removed(30, "a")}}, "a@n2 until 80"},
		{"answered", []from{{ev: started(10, "x")}}, "call x@n1 since 10"},
		{"answered, told twice", []from{{ev: started(10, "x")}, {ev: started(10, "x")}}, "call x@n1 since 10"},
		{"ended", []from{{ev: started(10, "x")}, {ev: over(20, "x", end)}}, ""},
		{"ended, told twice", []from{{ev: started(10, "x")}, {ev: over(20, "x", end)}, {ev: over(20, "x", end)}}, ""},
		{"failed", []from{{ev: started(10, "x")}, {ev: over(20, "x", failed)}}, ""},
		{"ended in the same millisecond", []from{{ev: over(10, "x", end)}, {ev: started(10, "x")}}, ""},
		{"end before its start arrives", []from{{ev: over(20, "x", end)}, {ev: started(10, "x")}}, ""},
		{"batch delivered again", []from{{ev: started(10, "x")}, {ev: over(20, "x", end)}, {ev: started(10, "x")}, {ev: over(20, "x", end)}}, ""},
		{"ended elsewhere", []from{{ev: started(10, "x")}, {over(20, "x", end), "n2"}}, "call x@n1 since 10"},
		{"oldest first", []from{{ev: started(20, "x")}, {ev: started(10, "z")}, {ev: started(10, "y")}},
			"call y@n1 since 10, call z@n1 since 10, call x@n1 since 20"},
		{"another account's", []from{{ev: foreign}}, ""},
		{"no account said", []from{{ev: unnamed}}, "call x@n1 since 1"},
		{"unknown type", []from{{ev: odd}}, ""},
		{"contact without address", []from{{ev: noAOR}}, ""},
		{"call without id", []from{{ev: started(10, "")}}, ""},
	}
	for _, row := range rows {
		m := New("acc_1")
		for _, f := range row.events {
			if f.node == "" {
				f.node = "n1"
			}
			before, snap := state(m), m.AppendSnapshot(nil)
			changed := tell(t, m, f.node, f.ev)
			if !changed && (state(m) != before || !bytes.Equal(m.AppendSnapshot(nil), snap)) {
				t.Errorf("%s: %s at %d changed something and does not say so", row.name, f.ev.Type, f.ev.TimeMS)
			}
		}
		if got := state(m); got != row.want || m.Dropped() != 0 {
			t.Errorf("%s: %q, want %q; %d dropped", row.name, got, row.want, m.Dropped())
		}
		check(t, m)
	}
}

// Proves that a contact ends by itself at its time and not before, that its memory keeps a repeated save
// from reviving it while a late refresh does revive it, and that in the end nothing is left.
func TestMachine_ContactsExpire(t *testing.T) {
	m := New("acc_1")
	if _, ok := m.Deadline(); ok || m.Due(nowMS) != nil {
		t.Fatal("an empty machine has a deadline")
	}
	tell(t, m, "n1", saved(10, "a", 60), saved(10, "b", 30))
	if at, ok := m.Deadline(); !ok || at != 40_000 {
		t.Fatalf("deadline %v", at)
	}
	if n := expire(t, m, 39); n != 0 || state(m) != "a@n1 until 70, b@n1 until 40" {
		t.Fatalf("expired %d too early: %s", n, state(m))
	}
	if n := expire(t, m, 40); n != 1 || state(m) != "a@n1 until 70" {
		t.Fatalf("expired %d: %s", n, state(m))
	}
	if tell(t, m, "n1", saved(10, "b", 30)) {
		t.Fatal("the save came again and revived what had expired")
	}
	if !tell(t, m, "n1", saved(35, "b", 30)) || state(m) != "a@n1 until 70, b@n1 until 65" {
		t.Fatalf("the late refresh was lost: %s", state(m))
	}
	runOut(t, m)
}

// runOut lets time go on until nothing is due any more, and holds that nothing is left then.
func runOut(t testing.TB, m *Machine) {
	t.Helper()
	for range 1000 {
		at, ok := m.Deadline()
		if !ok {
			break
		}
		op := m.Due(at)
		if op == nil {
			t.Fatalf("nothing is due at the deadline %d", at)
		}
		do(t, m, at, op)
		check(t, m)
	}
	if _, ok := m.Deadline(); ok || m.Due(1<<45) != nil {
		t.Fatal("something is due for ever")
	}
}

// Proves that a call whose end nobody told of is given up: one with a place when its lease runs out, one
// without after MaxCall, neither before; and that a late repeat of its start does not bring it back.
func TestMachine_GivesUpACallThatNeverEnded(t *testing.T) {
	m := New("acc_1")
	bare := started(10, "bare")
	bare.Token = ""
	tell(t, m, "n1", started(10, "lost"), bare)
	leaseSec := nowMS/1000 + int64(cac.Lease.Seconds())
	if n := expire(t, m, leaseSec-1); n != 0 {
		t.Fatalf("gave up %d too early: %s", n, state(m))
	}
	if n := expire(t, m, leaseSec); n != 1 || state(m) != "call bare@n1 since 10" {
		t.Fatalf("gave up %d: %s", n, state(m))
	}
	end := 10 + int64(MaxCall.Seconds())
	if n := expire(t, m, end-1); n != 0 {
		t.Fatalf("gave up %d too early: %s", n, state(m))
	}
	if n := expire(t, m, end); n != 1 || len(m.Calls()) != 0 {
		t.Fatalf("gave up %d: %s", n, state(m))
	}
	if tell(t, m, "n1", bare) {
		t.Fatal("the call came back")
	}
	check(t, m)
	runOut(t, m)
}

// Proves that "Contact: *" takes down every contact of its AOR at its node, and no other.
func TestMachine_StarRemovesEveryContactOfAnAOR(t *testing.T) {
	m := New("acc_1")
	save := func(sec int64, aor, contact, node string) {
		tell(t, m, node, api.Event{Type: api.EventContactSaved, TimeMS: sec * 1000, AOR: aor, Contact: contact, ExpiresS: 600})
	}
	save(10, "sip:1@a", "sip:1@desk", "n1")
	save(10, "sip:1@a", "sip:1@mobile", "n1")
	save(10, "sip:1@a", "sip:1@desk", "n2")
	save(10, "sip:2@a", "sip:2@desk", "n1")
	save(30, "sip:1@a", "sip:1@later", "n1")
	if !tell(t, m, "n1", api.Event{Type: api.EventContactRemoved, TimeMS: 20_000, AOR: "sip:1@a", Contact: "*"}) {
		t.Fatal("nothing changed")
	}
	var left []string
	for _, c := range append(m.Contacts("sip:1@a"), m.Contacts("sip:2@a")...) {
		left = append(left, c.Contact+" "+c.Node)
	}
	if got := strings.Join(left, ", "); got != "sip:1@desk n2, sip:1@later n1, sip:2@desk n1" {
		t.Fatalf("left: %s", got)
	}
	check(t, m)
}

// Proves that order and repetition do not matter: a story of many events, shuffled and with repeats, ends
// in the same contacts and calls as in its own order. A failure names its seed.
func TestMachine_AnyOrderEndsTheSame(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var story []from
		for i := range int64(40) {
			contact, call, node := fmt.Sprint("c", rng.IntN(4)), fmt.Sprint("x", rng.IntN(4)), fmt.Sprint("n", rng.IntN(2))
			ev := []api.Event{saved(1+i, contact, 60+rng.IntN(60)), removed(1+i, contact), started(1+i, call), over(1+i, call, api.EventDialogEnd)}[rng.IntN(4)]
			story = append(story, from{ev, node})
		}
		want := play(t, story)
		again := append(append([]from{}, story...), story[:rng.IntN(len(story))]...)
		rng.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if got := play(t, again); got != want {
			t.Fatalf("seed %d:\n%s\nin order\n%s", seed, got, want)
		}
	}
}

// play tells a story to a new machine and prints what is up at its end. Every attempt of a call has a token of its own.
func play(t *testing.T, story []from) string {
	t.Helper()
	m := New("acc_1")
	for _, f := range story {
		if f.ev.Token != "" {
			f.ev.Token += f.node
		}
		tell(t, m, f.node, f.ev)
	}
	check(t, m)
	return state(m)
}

// Proves the bounds: too many contacts of an AOR, contacts, calls and memories, over-long and out-of-range
// fields are dropped and counted, what is up stays up and can still end.
func TestMachine_IsBounded(t *testing.T) {
	m := New("acc_1")
	for i := range MaxContactsPerAOR + 5 {
		tell(t, m, "n1", saved(10, fmt.Sprint("c", i), 60))
	}
	if n := len(m.Contacts(aor)); n != MaxContactsPerAOR || m.Dropped() != 5 {
		t.Fatalf("%d contacts, %d dropped", n, m.Dropped())
	}
	if !tell(t, m, "n1", saved(20, "c0", 60)) {
		t.Fatal("a refresh is refused when the AOR is full")
	}
	for i := range MaxContacts {
		ev := saved(10, "c", 60)
		ev.AOR = fmt.Sprint("sip:", i)
		tell(t, m, "n1", ev)
	}
	for i := range MaxCalls + 7 {
		tell(t, m, "n1", started(10, fmt.Sprint(i)))
	}
	if n := m.Counts(); n.Contacts != MaxContacts || n.Calls != MaxCalls || n.Slots != MaxCalls || m.Dropped() != 5+MaxContactsPerAOR+7 {
		t.Fatalf("%+v", n)
	}
	for i := range MaxCalls {
		tell(t, m, "n1", over(20, fmt.Sprint(i), api.EventDialogEnd))
	}
	for i := range 10 {
		tell(t, m, "n1", removed(30, fmt.Sprint("c", i)))
	}
	if n := m.Counts(); n.Contacts != MaxContacts-10 || n.Calls != 0 || n.Slots != 0 || len(m.past) != maxEnded {
		t.Fatalf("%+v, %d remembered", n, len(m.past))
	}
	before := m.Dropped()
	long, early, late, garbled := started(1, strings.Repeat("x", maxField+1)), started(-1, "x"), started(1<<50, "x"), started(1, "\xff")
	for i, ev := range []api.Event{long, early, late, garbled} {
		if tell(t, m, "n1", ev) || m.Dropped() != before+int64(i)+1 {
			t.Errorf("event %d out of bounds: %d dropped", i, m.Dropped()-before)
		}
	}
	check(t, m)
}
