package presence

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

const aor = "sip:1001@acme.example"

// saved, removed, started and over make events at a second of the clock.
func saved(sec int64, contact string, expires int) api.Event {
	return api.Event{Type: api.EventContactSaved, TimeMS: sec * 1000, AccountID: "acc_1", AOR: aor, Contact: contact, ExpiresS: expires,
		SourceIP: "192.0.2.7", Transport: "udp", UserAgent: "phone/1.0"}
}

func removed(sec int64, contact string) api.Event {
	return api.Event{Type: api.EventContactRemoved, TimeMS: sec * 1000, AccountID: "acc_1", AOR: aor, Contact: contact}
}

func started(sec int64, callID string) api.Event {
	return api.Event{Type: api.EventDialogStart, TimeMS: sec * 1000, AccountID: "acc_1", CallID: callID, From: "1001", To: "1002", Token: "tok" + callID}
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
			before := state(m)
			if changed := m.Apply(f.ev, f.node); changed != (state(m) != before) {
				t.Errorf("%s: %s at %d says changed %v", row.name, f.ev.Type, f.ev.TimeMS, changed)
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
	if _, ok := m.Deadline(); ok {
		t.Fatal("an empty machine has a deadline")
	}
	m.Apply(saved(10, "a", 60), "n1")
	m.Apply(saved(10, "b", 30), "n1")
	if at, ok := m.Deadline(); !ok || at.Unix() != 40 {
		t.Fatalf("deadline %v", at)
	}
	if n := m.Expire(time.UnixMilli(39_999)); n != 0 || state(m) != "a@n1 until 70, b@n1 until 40" {
		t.Fatalf("expired %d too early: %s", n, state(m))
	}
	if n := m.Expire(time.Unix(40, 0)); n != 1 || state(m) != "a@n1 until 70" {
		t.Fatalf("expired %d: %s", n, state(m))
	}
	if m.Apply(saved(10, "b", 30), "n1") {
		t.Fatal("the save came again and revived what had expired")
	}
	if !m.Apply(saved(35, "b", 30), "n1") || state(m) != "a@n1 until 70, b@n1 until 65" {
		t.Fatalf("the late refresh was lost: %s", state(m))
	}
	for range 10 { // each round takes down or forgets at least one of the four that are due
		at, ok := m.Deadline()
		if !ok {
			break
		}
		m.Expire(at)
		check(t, m)
	}
	if _, ok := m.Deadline(); ok || len(m.records) != 0 {
		t.Fatalf("%d records never end", len(m.records))
	}
}

// Proves that a call whose end nobody told of is given up after MaxCall and not before, and that a late
// repeat of its start does not bring it back.
func TestMachine_GivesUpACallThatNeverEnded(t *testing.T) {
	m := New("acc_1")
	m.Apply(started(10, "lost"), "n1")
	if n := m.Expire(time.Unix(10, 0).Add(MaxCall - time.Second)); n != 0 || state(m) != "call lost@n1 since 10" {
		t.Fatalf("gave up %d too early: %s", n, state(m))
	}
	if n := m.Expire(time.Unix(10, 0).Add(MaxCall)); n != 1 || len(m.Calls()) != 0 {
		t.Fatalf("gave up %d: %s", n, state(m))
	}
	if m.Apply(started(10, "lost"), "n1") {
		t.Fatal("the call came back")
	}
	check(t, m)
}

// Proves that "Contact: *" takes down every contact of its AOR at its node, and no other.
func TestMachine_StarRemovesEveryContactOfAnAOR(t *testing.T) {
	m := New("acc_1")
	save := func(sec int64, aor, contact, node string) {
		m.Apply(api.Event{Type: api.EventContactSaved, TimeMS: sec * 1000, AOR: aor, Contact: contact, ExpiresS: 600}, node)
	}
	save(10, "sip:1@a", "sip:1@desk", "n1")
	save(10, "sip:1@a", "sip:1@mobile", "n1")
	save(10, "sip:1@a", "sip:1@desk", "n2")
	save(10, "sip:2@a", "sip:2@desk", "n1")
	save(30, "sip:1@a", "sip:1@later", "n1")
	if !m.Apply(api.Event{Type: api.EventContactRemoved, TimeMS: 20_000, AOR: "sip:1@a", Contact: "*"}, "n1") {
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
// in the same snapshot as in its own order. A failure names its seed.
func TestMachine_AnyOrderEndsTheSame(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var story []from
		for i := range int64(40) {
			contact, call, node := fmt.Sprint("c", rng.IntN(4)), fmt.Sprint("x", rng.IntN(4)), fmt.Sprint("n", rng.IntN(2))
			ev := []api.Event{saved(i, contact, 60+rng.IntN(60)), removed(i, contact), started(i, call), over(i, call, api.EventDialogEnd)}[rng.IntN(4)]
			story = append(story, from{ev, node})
		}
		want := play(t, story)
		again := append(append([]from{}, story...), story[:rng.IntN(len(story))]...)
		rng.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if got := play(t, again); !bytes.Equal(got, want) {
			t.Fatalf("seed %d:\n%s\nin order\n%s", seed, got, want)
		}
	}
}

func play(t *testing.T, story []from) []byte {
	t.Helper()
	m := New("acc_1")
	for _, f := range story {
		m.Apply(f.ev, f.node)
	}
	check(t, m)
	data, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Proves the bounds: too many contacts of an AOR, contacts, calls and memories, over-long and out-of-range
// fields are dropped and counted, what is up stays up and can still end.
func TestMachine_IsBounded(t *testing.T) {
	m := New("acc_1")
	for i := range MaxContactsPerAOR + 5 {
		m.Apply(saved(10, fmt.Sprint("c", i), 60), "n1")
	}
	if n := len(m.Contacts(aor)); n != MaxContactsPerAOR || m.Dropped() != 5 {
		t.Fatalf("%d contacts, %d dropped", n, m.Dropped())
	}
	if !m.Apply(saved(20, "c0", 60), "n1") {
		t.Fatal("a refresh is refused when the AOR is full")
	}
	for i := range MaxContacts {
		ev := saved(10, "c", 60)
		ev.AOR = fmt.Sprint("sip:", i)
		m.Apply(ev, "n1")
	}
	for i := range MaxCalls + 7 {
		m.Apply(started(10, fmt.Sprint(i)), "n1")
	}
	if contacts, calls := m.Counts(); contacts != MaxContacts || calls != MaxCalls || m.Dropped() != 5+MaxContactsPerAOR+7 {
		t.Fatalf("%d contacts, %d calls, %d dropped", contacts, calls, m.Dropped())
	}
	for i := range MaxCalls {
		m.Apply(over(20, fmt.Sprint(i), api.EventDialogEnd), "n1")
	}
	for i := range 10 {
		m.Apply(removed(30, fmt.Sprint("c", i)), "n1")
	}
	if contacts, calls := m.Counts(); contacts != MaxContacts-10 || calls != 0 || m.ended != maxEnded {
		t.Fatalf("%d contacts, %d calls, %d remembered", contacts, calls, m.ended)
	}
	before := m.Dropped()
	long, early, late, garbled := started(1, strings.Repeat("x", maxField+1)), started(-1, "x"), started(1<<50, "x"), started(1, "\xff")
	for i, ev := range []api.Event{long, early, late, garbled} {
		if m.Apply(ev, "n1") || m.Dropped() != before+int64(i)+1 {
			t.Errorf("event %d out of bounds: %d dropped", i, m.Dropped()-before)
		}
	}
	check(t, m)
}

// Proves that a machine goes on from its snapshot as if nothing had been: same snapshot, deadline and
// answers to what follows; and that texts people read are kept short and valid.
func TestMachine_GoesOnFromASnapshot(t *testing.T) {
	m := New("acc_1")
	ev := saved(10, "a", 60)
	ev.UserAgent = strings.Repeat("é", 1000)
	m.Apply(ev, "n1")
	m.Apply(started(10, "x"), "n1")
	m.Apply(started(11, "y"), "n2")
	m.Apply(over(20, "y", api.EventDialogEnd), "n2")
	m.Apply(started(-5, "bad"), "n2")
	data, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Restore(data)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	if state(r) != "a@n1 until 70, call x@n1 since 10" || r.Dropped() != 1 {
		t.Fatalf("restored %s, %d dropped", state(r), r.Dropped())
	}
	if ua := r.Contacts(aor)[0].UserAgent; ua != strings.Repeat("é", maxText/2) {
		t.Fatalf("user agent of %d bytes", len(ua))
	}
	if r.Apply(started(11, "y"), "n2") || !r.Apply(over(30, "x", api.EventDialogEnd), "n1") || r.Expire(time.Unix(70, 0)) != 1 || state(r) != "" {
		t.Fatalf("went on otherwise: %s", state(r))
	}
}

// Proves that a damaged snapshot is refused with an error: each row is one that no machine wrote.
func TestRestore_RefusesDamage(t *testing.T) {
	for name, data := range map[string]string{
		"empty":            ``,
		"cut off":          `{"account_id":"acc_1","contacts":[{"aor":"a"`,
		"contact nameless": `{"contacts":[{"aor":"a"}]}`,
		"contact no aor":   `{"contacts":[{"contact":"c"}]}`,
		"contact twice":    `{"contacts":[{"aor":"a","contact":"c"},{"aor":"a","contact":"c"}]}`,
		"call twice":       `{"calls":[{"call_id":"x"},{"call_id":"x"}]}`,
		"up and ended":     `{"calls":[{"call_id":"x"}],"ended":[{"id":"x"}]}`,
		"out of time":      `{"calls":[{"call_id":"x","started_ms":-1}]}`,
		"too many":         `{"calls":[` + strings.Repeat(`{},`, MaxCalls) + `{}]}`,
	} {
		if _, err := Restore([]byte(data)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// check holds a machine to its own books: counters, index by AOR, heap order and places, bounds.
func check(t testing.TB, m *Machine) {
	t.Helper()
	var contacts, calls, ended, listed int
	for k, r := range m.records {
		switch {
		case r.call != nil:
			calls++
		case r.contact != nil:
			contacts++
		default:
			ended++
		}
		if r.key != k || r.index < 0 || m.due[r.index] != r {
			t.Fatalf("record %+v has a wrong key or place", k)
		}
	}
	for a, list := range m.byAOR {
		listed += len(list)
		if len(list) == 0 || len(list) > MaxContactsPerAOR {
			t.Fatalf("%d contacts of %s", len(list), a)
		}
	}
	if contacts != m.contacts || calls != m.calls || ended != m.ended || listed != contacts || len(m.due) != contacts+calls+ended {
		t.Fatalf("the books say %d contacts, %d calls, %d ended, %d due; there are %d (%d listed), %d, %d",
			m.contacts, m.calls, m.ended, len(m.due), contacts, listed, calls, ended)
	}
	for i := range m.due {
		if i > 0 && m.due[(i-1)/2].dueMS > m.due[i].dueMS {
			t.Fatalf("heap out of order at %d", i)
		}
	}
}

// Plays any bytes as events and times. Proves that no story breaks the books, that a snapshot restores to
// itself, and that after the last deadline no contact is left.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x10\x20\x30\x40"), "sip:a", "call", int64(1000), 60)
	f.Add(bytes.Repeat([]byte("\x00\x07\x13\x25\x5a"), 20), "\xff", "", int64(-1), 1<<40)
	types := []string{api.EventContactSaved, api.EventContactRemoved, api.EventContactExpired, api.EventDialogStart, api.EventDialogEnd,
		api.EventDialogFailed, "other"}
	f.Fuzz(func(t *testing.T, story []byte, name, call string, base int64, expires int) {
		m := New("acc_1")
		for _, b := range story {
			id := int(b>>3) % 3
			ev := api.Event{Type: types[int(b)%len(types)], TimeMS: base + int64(b>>5)*1000, AOR: name, Contact: fmt.Sprint("c", id),
				CallID: call + fmt.Sprint(id), ExpiresS: expires >> (b & 3), UserAgent: name}
			m.Apply(ev, fmt.Sprint("n", b&1))
			if b == 0x7f {
				m.Expire(time.UnixMilli(base + 3000))
			}
			check(t, m)
		}
		data, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		r, err := Restore(data)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		check(t, r)
		if again, err := r.Snapshot(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%v\n%s\nrestored\n%s", err, data, again)
		}
		for range 2 * len(story) {
			if at, ok := r.Deadline(); ok {
				r.Expire(at)
			}
		}
		if _, ok := r.Deadline(); ok || len(r.byAOR) != 0 || r.ended != 0 {
			t.Fatal("something never ends")
		}
	})
}

func BenchmarkApply(b *testing.B) {
	m := New("acc_1")
	events := make([]api.Event, 20_000)
	for i := range events {
		events[i] = saved(10, "c", 60)
		events[i].AOR = fmt.Sprint("sip:", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		ev := &events[i%len(events)]
		ev.TimeMS += 1000
		m.Apply(*ev, "n1")
		i++
	}
}
