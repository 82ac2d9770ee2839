package actor

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

// directory knows the accounts acc_1 and acc_2.
type directory map[string]*brain.AccountConfig

func (d directory) ByDomain(name string) *brain.AccountConfig {
	return d[strings.TrimSuffix(name, ".test")]
}
func (d directory) ByAccount(id string) *brain.AccountConfig { return d[id] }
func (d directory) Version() int64                           { return 1 }

func twoAccounts() directory {
	return directory{"acc_1": {Account: brain.Account{ID: "acc_1"}}, "acc_2": {Account: brain.Account{ID: "acc_2"}}}
}

func began(seq int64, account string) api.Event {
	return api.Event{Seq: seq, TimeMS: 1000 * seq, Type: api.EventDialogStart, AccountID: account, CallID: fmt.Sprint("c", seq)}
}

func ended(seq, ofSeq int64, account string) api.Event {
	return api.Event{Seq: seq, TimeMS: 1000 * seq, Type: api.EventDialogEnd, AccountID: account, CallID: fmt.Sprint("c", ofSeq)}
}

func newPresence(t *testing.T) *Presence {
	t.Helper()
	p := NewPresence()
	t.Cleanup(p.Close)
	return p
}

func deliver(t *testing.T, p *Presence, dir brain.Directory, boot string, events ...api.Event) int64 {
	t.Helper()
	reply, err := p.Deliver(t.Context(), dir, api.EventBatch{Node: "edge1", Boot: boot, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	return reply.LastSeq
}

func calls(t *testing.T, p *Presence, account string) string {
	t.Helper()
	list, err := p.Calls(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	ids := ""
	for _, c := range list {
		ids += c.CallID + " "
	}
	return ids
}

// Each event reaches its own account's machine, and Deliver has not returned before it is applied.
func TestDeliver_AppliesEachEventToItsAccount(t *testing.T) {
	p := newPresence(t)
	if last := deliver(t, p, twoAccounts(), "b1", began(1, "acc_1"), began(2, "acc_2"), began(3, "acc_1"), ended(4, 1, "acc_1")); last != 4 {
		t.Errorf("last_seq %d", last)
	}
	if one, two := calls(t, p, "acc_1"), calls(t, p, "acc_2"); one != "c3 " || two != "c2 " {
		t.Errorf("acc_1 has %q, acc_2 %q", one, two)
	}
	if got := calls(t, p, "acc_none"); got != "" || len(p.Accounts()) != 2 {
		t.Errorf("an account without events has %q; %v have a machine", got, p.Accounts())
	}
}

// Delivering at least once is harmless: whole batches, overlapping ones and stragglers of an earlier
// boot are recognised, counted and change nothing.
func TestDeliver_AppliesAnEventOnlyOnce(t *testing.T) {
	p, dir := newPresence(t), twoAccounts()
	first := []api.Event{began(1, "acc_1"), began(2, "acc_1")}
	deliver(t, p, dir, "b1", first...)
	deliver(t, p, dir, "b1", ended(3, 1, "acc_1"))
	for range 3 {
		if last := deliver(t, p, dir, "b1", first...); last != 3 {
			t.Errorf("last_seq of a repeat is %d, want what is taken, 3", last)
		}
	}
	deliver(t, p, dir, "b1", began(2, "acc_1"), ended(3, 1, "acc_1"), began(4, "acc_1"))
	if got, n := calls(t, p, "acc_1"), p.Counts(); got != "c2 c4 " || n["events_applied"] != 4 || n["events_repeated"] != 8 {
		t.Errorf("calls %q, counts %v", got, n)
	}
}

// After the edge lost its memory its numbers begin again: they are new. The calls of before go on until
// their ends are told. What the earlier boot still repeats changes nothing.
func TestDeliver_ANewBootBeginsAgain(t *testing.T) {
	p, dir := newPresence(t), twoAccounts()
	deliver(t, p, dir, "b1", began(1, "acc_1"), began(2, "acc_2"))
	late := began(1, "acc_1")
	late.TimeMS, late.CallID = 60_000, "later"
	if last := deliver(t, p, dir, "b2", late); last != 1 {
		t.Errorf("last_seq %d", last)
	}
	deliver(t, p, dir, "b1", began(1, "acc_1"), began(2, "acc_2"))
	if one, two := calls(t, p, "acc_1"), calls(t, p, "acc_2"); one != "c1 later " || two != "c2 " {
		t.Errorf("acc_1 has %q, acc_2 %q", one, two)
	}
	deliver(t, p, dir, "b2", ended(2, 2, "acc_2"))
	if one, two := calls(t, p, "acc_1"), calls(t, p, "acc_2"); one != "c1 later " || two != "" {
		t.Errorf("after the end of c2: acc_1 has %q, acc_2 %q", one, two)
	}
}

// A contact that expired comes without its account: the domain of its AOR says whose it is.
func TestDeliver_FindsTheAccountOfAnExpiredContact(t *testing.T) {
	p, dir := newPresence(t), twoAccounts()
	saved := api.Event{Seq: 1, TimeMS: time.Now().UnixMilli(), Type: api.EventContactSaved, AccountID: "acc_1", AOR: "sip:1@acc_1.test", Contact: "sip:1@desk", ExpiresS: 600}
	expired := api.Event{Seq: 2, TimeMS: saved.TimeMS + 1000, Type: api.EventContactExpired, AOR: saved.AOR, Contact: saved.Contact}
	deliver(t, p, dir, "b1", saved, expired)
	left := -1
	if known, err := p.accounts.DoIfKnown(t.Context(), "acc_1", func(m *presence.Machine) { left = len(m.Contacts(saved.AOR)) }); !known || err != nil || left != 0 {
		t.Errorf("%d contacts are left (%v, %v)", left, known, err)
	}
}

// Events of an account that nobody has are dropped and counted and hold nothing up; one that was
// deleted while it had calls still gets their ends.
func TestDeliver_DropsEventsOfUnknownAccounts(t *testing.T) {
	p, dir := newPresence(t), twoAccounts()
	if last := deliver(t, p, dir, "b1", began(1, "acc_9"), began(2, ""), began(3, "acc_2")); last != 3 {
		t.Errorf("last_seq %d", last)
	}
	delete(dir, "acc_2")
	deliver(t, p, dir, "b1", ended(4, 3, "acc_2"))
	if got, n := calls(t, p, "acc_2"), p.Counts(); got != "" || n["events_unknown_account"] != 2 || n["events_applied"] != 2 {
		t.Errorf("calls %q, counts %v", got, n)
	}
	if got := p.Accounts(); len(got) != 1 {
		t.Errorf("machines for %v", got)
	}
}

// The same node on several connections at once, each repeating the whole story: every event is applied once.
func TestDeliver_AppliesOnceUnderConcurrentDelivery(t *testing.T) {
	p, dir := newPresence(t), twoAccounts()
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for seq := int64(1); seq <= 50; seq++ {
				if _, err := p.Deliver(t.Context(), dir, api.EventBatch{Node: "edge1", Boot: "b", Events: []api.Event{began(seq, "acc_1")}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	list, err := p.Calls(t.Context(), "acc_1")
	if n := p.Counts(); err != nil || len(list) != 50 || n["events_applied"] != 50 || n["events_repeated"] != 350 {
		t.Errorf("%d calls, %v, %v", len(list), n, err)
	}
}

// A full account mailbox stops the batch at that event with EUnavailable; delivered again, it goes on
// there and applies nothing twice.
func TestDeliver_GoesOnWhereAFullMailboxStoppedIt(t *testing.T) { synctest.Test(t, goesOn) }

func goesOn(t *testing.T) {
	p, dir := newPresence(t), twoAccounts()
	deliver(t, p, dir, "b1", began(1, "acc_2"))
	busy := fill(t, p, "acc_2")
	batch := api.EventBatch{Node: "edge1", Boot: "b1", Events: []api.Event{began(2, "acc_1"), began(3, "acc_2"), began(4, "acc_1")}}
	if _, err := p.Deliver(t.Context(), dir, batch); brain.CodeOf(err) != brain.EUnavailable {
		t.Fatalf("got %v", err)
	}
	if got := calls(t, p, "acc_1"); got != "c2 " {
		t.Errorf("before: %q", got)
	}
	busy()
	if last := deliver(t, p, dir, "b1", batch.Events...); last != 4 {
		t.Errorf("last_seq %d", last)
	}
	if one, two, n := calls(t, p, "acc_1"), calls(t, p, "acc_2"), p.Counts(); one != "c2 c4 " || two != "c1 c3 " || n["events_applied"] != 4 {
		t.Errorf("acc_1 %q, acc_2 %q, %v", one, two, n)
	}
}

// fill keeps an account's machine busy and its mailbox full until the returned function is called,
// which waits until all is worked off. It must run in a synctest bubble.
func fill(t *testing.T, p *Presence, account string) func() {
	t.Helper()
	a, err := p.accounts.actor(account)
	if err != nil {
		t.Fatal(err)
	}
	hold, held := make(chan struct{}), make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() { _ = a.Do(t.Context(), func(*presence.Machine) { close(held); <-hold }) })
	<-held
	for range MailboxSize {
		waiting.Go(func() { _ = a.Do(t.Context(), func(*presence.Machine) {}) })
	}
	synctest.Wait()
	if len(a.mailbox) != MailboxSize {
		t.Fatalf("%d wait in the mailbox", len(a.mailbox))
	}
	return func() { close(hold); waiting.Wait() }
}

// Only the last boots of a node are remembered, the newest always.
func TestInbox_IsBounded(t *testing.T) {
	var in inbox
	for i := range 100 {
		in.boot(fmt.Sprint(i)).lastSeq = int64(i)
	}
	if len(in.boots) != maxBoots || in.boot("99").lastSeq != 99 {
		t.Errorf("%d boots, newest at %d", len(in.boots), in.boot("99").lastSeq)
	}
}
