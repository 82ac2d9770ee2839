package presence

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// check holds a machine to its own books: counters, index by AOR, heap order and places, users, places of calls.
func check(t testing.TB, m *Machine) {
	t.Helper()
	var contacts, calls, past, listed int
	users := map[string][2]int{}
	count := func(id string, contacts, calls int) {
		if n := users[id]; id != "" {
			users[id] = [2]int{n[0] + contacts, n[1] + calls}
		}
	}
	for k, r := range m.records {
		heap := m.due
		switch {
		case r.call != nil:
			calls++
			count(r.call.callerUser, 0, 1)
			count(r.call.calleeUser, 0, 1)
			if c := r.call; c.token != r.token || c.token != "" && m.live[c.token] != c || c.answeredMS != r.timeMS || k != (key{"", c.callID, c.node}) {
				t.Fatalf("call %+v does not belong to its record %+v", c, r)
			}
		case r.contact != nil:
			contacts++
			count(r.contact.UserID, 1, 0)
		default:
			past++
			heap = m.past
		}
		if r.key != k || r.index < 0 || heap[r.index] != r {
			t.Fatalf("record %+v has a wrong key or place", k)
		}
	}
	for a, list := range m.byAOR {
		listed += len(list)
		if len(list) == 0 || len(list) > MaxContactsPerAOR {
			t.Fatalf("%d contacts of %s", len(list), a)
		}
	}
	if contacts != m.contacts || calls != m.calls || listed != contacts || len(m.due) != contacts+calls || len(m.past) != past {
		t.Fatalf("the books say %d contacts, %d calls, %d due, %d past; there are %d (%d listed), %d, %d",
			m.contacts, m.calls, len(m.due), len(m.past), contacts, listed, calls, past)
	}
	for _, heap := range []dueHeap{m.due, m.past} {
		for i := range heap {
			if i > 0 && heap.Less(i, (i-1)/2) {
				t.Fatalf("heap out of order at %d", i)
			}
		}
	}
	checkPlaces(t, m)
	if len(m.touched) > 0 {
		t.Fatalf("users were touched, and the queues not told: %v", m.touched)
	}
	for id, u := range m.users {
		if n := users[id]; n != [2]int{u.contacts, u.calls} || *u == (user{}) {
			t.Fatalf("user %s has %+v, the records say %v", id, u, n)
		}
		delete(users, id)
	}
	if len(users) > 0 {
		t.Fatalf("users without a book: %v", users)
	}
}

// checkPlaces holds the ledger to the calls: every call with a token has its place, and usage is their sum.
func checkPlaces(t testing.TB, m *Machine) {
	t.Helper()
	used := map[cac.Take]int{}
	for _, s := range m.ledger.Slots() {
		c := m.live[s.Token]
		if c == nil || c.callID != s.CallID || c.node != s.Node || c.askedMS != s.AskedMS {
			t.Fatalf("slot %+v belongs to %+v", s, c)
		}
		for _, take := range s.Takes {
			used[cac.Take{Kind: take.Kind, ID: take.ID}]++
		}
	}
	if len(m.live) != m.ledger.Len() {
		t.Fatalf("%d calls with %d places", len(m.live), m.ledger.Len())
	}
	for _, u := range m.ledger.Usage() {
		if k := (cac.Take{Kind: u.Kind, ID: u.ID}); used[k] != u.Used || u.Used <= 0 {
			t.Fatalf("%+v, the slots take %d", u, used[k])
		} else {
			delete(used, k)
		}
	}
	if len(used) > 0 {
		t.Fatalf("taken and not counted: %v", used)
	}
}

// Proves that a machine goes on from its snapshot as if nothing had been: same snapshot, deadline and
// answers to what follows; and that texts people read are kept short and valid.
func TestMachine_GoesOnFromASnapshot(t *testing.T) {
	m := New("acc_1")
	ev := saved(10, "a", 60)
	ev.UserAgent = strings.Repeat("é", 1000)
	tell(t, m, "n1", ev, started(10, "x"))
	tell(t, m, "n2", started(11, "y"), over(20, "y", api.EventDialogEnd))
	do(t, m, nowMS, AppendACD(nil, acd.AppendSetup(nil, helpDesk)))
	act(t, m, nowMS, "u1", acd.ActionBreak)
	data := m.AppendSnapshot(nil)
	r, err := Restore("acc_1", data)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	r.Resume(nowMS)
	if state(r) != "a@n1 until 70, call x@n1 since 10" || !bytes.Equal(r.AppendSnapshot(nil), data) {
		t.Fatalf("restored %s", state(r))
	}
	if a, _ := m.Deadline(); a == 0 {
		t.Fatal("no deadline")
	} else if b, _ := r.Deadline(); a != b {
		t.Fatalf("deadline %d, restored %d", a, b)
	}
	if ua := r.Contacts(aor)[0].UserAgent; ua != strings.Repeat("é", maxText/2) {
		t.Fatalf("user agent of %d bytes", len(ua))
	}
	if tell(t, r, "n2", started(11, "y")) || !tell(t, r, "n1", over(30, "x", api.EventDialogEnd)) || expire(t, r, 70) != 1 || state(r) != "" {
		t.Fatalf("went on otherwise: %s", state(r))
	}
}

// Proves that a damaged snapshot is refused with an error: cut at every byte, with a byte more, with each byte
// changed it is refused or is a machine whose books are right; and one of another account or version is refused.
func TestRestore_RefusesDamage(t *testing.T) {
	m := New("acc_1")
	tell(t, m, "n1", saved(10, "a", 60), started(10, "x"), started(10, "y"), over(20, "y", api.EventDialogEnd))
	do(t, m, nowMS, AppendACD(nil, acd.AppendSetup(nil, helpDesk)))
	act(t, m, nowMS, "u1", acd.ActionLogin)
	a := admission("t1", "c1", "n1")
	do(t, m, nowMS, AppendAdmit(nil, &a))
	data := m.AppendSnapshot(nil)
	if _, err := Restore("acc_2", data); err == nil {
		t.Error("a snapshot of another account was taken")
	}
	if _, err := Restore("acc_1", append(bytes.Clone(data), 0)); err == nil {
		t.Error("a snapshot with a byte more was taken")
	}
	for i := range data {
		if _, err := Restore("acc_1", data[:i]); err == nil {
			t.Errorf("cut at byte %d: taken", i)
		}
		for _, flip := range []byte{1, 0x80, 0xff} {
			damaged := bytes.Clone(data)
			damaged[i] ^= flip
			if r, err := Restore("acc_1", damaged); err == nil {
				check(t, r)
			}
		}
	}
}
