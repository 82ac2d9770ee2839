package actor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// till is a brain with the wallets of its accounts, on a journal that outlives it.
type till struct {
	t       *testing.T
	s       *store
	epoch   uint64
	live    *Presence
	wallets *Wallets
}

func newTill(t *testing.T) *till {
	m := &till{t: t, s: &store{}}
	m.restart()
	t.Cleanup(func() { closeHost(m.live.Live.Host) })
	return m
}

// restart kills the brain, and lets another take its shards over. Tasks are carried as the process does it.
func (m *till) restart() {
	m.t.Helper()
	if m.live != nil {
		old := m.live.Live.Host
		defer closeHost(old) // its journal is another's by then: it can only end
	}
	m.epoch++
	h := NewHost(m.s.open)
	h.Log, h.SnapshotEvery = quiet(), 200
	live := &Live{Host: h}
	m.live, m.wallets = &Presence{Live: live}, &Wallets{live}
	w := m.wallets
	h.Tasks = func(id string, tasks []balance.Task) {
		accountID, _ := brain.IsWalletObject(id)
		for _, task := range tasks {
			if task.Kind == balance.TaskOrder {
				go w.Carry(context.Background(), accountID, task.Chain, task.Order)
			}
		}
	}
	own(m.t, h, m.epoch)
}

func (m *till) topup(id string, micros int64) {
	m.t.Helper()
	y, err := m.wallets.Do(m.t.Context(), id, &balance.Op{Kind: balance.TopUp, ID: "t1", AskedMS: time.Now().UnixMilli(), Micros: micros})
	if err != nil || !y.Done {
		m.t.Fatalf("%+v %v", y, err)
	}
}

func (m *till) balance(id string) balance.Balance {
	m.t.Helper()
	b, err := m.wallets.Balance(m.t.Context(), id)
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// perSecond costs 10,000 a second.
var perSecond = balance.Terms{PerMinuteMicros: 600_000, FirstSec: 1, NextSec: 1}

func payment(token string, accounts ...string) *balance.Payment {
	p := &balance.Payment{Token: token, CallID: "call-" + token, Node: "n1", To: "4930", AskedMS: time.Now().UnixMilli(), Attempt: 1, Sec: 60, MostSec: 3600}
	for i, id := range accounts {
		terms := perSecond
		terms.PerMinuteMicros /= int64(i + 1)
		p.Levels = append(p.Levels, balance.Level{AccountID: id, Currency: "EUR", Rate: balance.Rate{Prefix: "49", Terms: terms}})
	}
	return p
}

func event(kind, token string, atMS int64) api.Event {
	return api.Event{Type: kind, AccountID: "acc_1", Token: token, CallID: "call-" + token, TimeMS: atMS}
}

func (m *till) deliver(events ...api.Event) error {
	_, err := m.live.Deliver(m.t.Context(), newOffices(3), api.EventBatch{Node: "n1", Boot: "b", Events: events})
	return err
}

// A held call is charged what the node's events say, over a kill of the brain at every point, and by the record that its presence writes:
// one message for both.
func TestWallet_IsChargedByTheEventsOfItsCall(t *testing.T) {
	m := newTill(t)
	m.topup("acc_1", 1_000_000)
	o, now := newOffices(3), time.Now().UnixMilli()
	m.live.admit(t, o.admission("acc_1", "a", "n1"))
	paid, err := m.wallets.Pay(t.Context(), "acc_1", payment("a", "acc_1"))
	if err != nil || paid.State != balance.Granted || paid.HeldSec != 60 {
		t.Fatalf("%+v %v", paid, err)
	}
	m.restart()
	before := m.s.appends
	if err := m.deliver(event(api.EventDialogStart, "a", now+1000)); err != nil {
		t.Fatal(err)
	}
	if n := m.s.appends - before; n != 1 {
		t.Errorf("%d messages for an answer", n)
	}
	m.restart()
	for range 2 {
		if err := m.deliver(event(api.EventDialogStart, "a", now+1000), event(api.EventDialogEnd, "a", now+8345)); err != nil {
			t.Fatal(err)
		}
		m.restart()
	}
	if b := m.balance("acc_1"); b.BalanceMicros != 920_000 || b.HeldMicros != 0 || b.Movements != 2 {
		t.Errorf("%+v", b)
	}
}

// A call that two reports of its node do not list is charged what it was last reported to have talked; its end, told a long time after,
// charges the rest.
func TestWallet_ACallThatVanished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &till{t: t, s: &store{}}
		m.restart()
		defer func() { closeHost(m.live.Live.Host) }()
		m.topup("acc_1", 1_000_000)
		began := time.Now().UnixMilli()
		m.live.admit(t, newOffices(3).admission("acc_1", "a", "n1"))
		if paid, err := m.wallets.Pay(t.Context(), "acc_1", payment("a", "acc_1")); err != nil || paid.State != balance.Granted {
			t.Fatalf("%+v %v", paid, err)
		}
		if err := m.deliver(event(api.EventDialogStart, "a", began)); err != nil {
			t.Fatal(err)
		}
		for i := range int64(3) {
			time.Sleep(20 * time.Second)
			r := api.DialogReport{Node: "n1", Boot: "b", Seq: i + 1, BootMS: 1, TakenMS: time.Now().UnixMilli()}
			if i == 0 {
				r.Dialogs, r.Count = []api.Dialog{{AccountID: "acc_1", Token: "a", CallID: "call-a", SinceMS: began}}, 1
			}
			if err := m.live.Report(newOffices(3), &r); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if b := m.balance("acc_1"); b.BalanceMicros != 800_000 || b.HeldMicros != 0 {
			t.Errorf("gone: %+v", b)
		}
		if err := m.deliver(event(api.EventDialogEnd, "a", began+25_000)); err != nil {
			t.Fatal(err)
		}
		if b := m.balance("acc_1"); b.BalanceMicros != 750_000 || b.HeldMicros != 0 {
			t.Errorf("told: %+v", b)
		}
	})
}

// Money is held while a call may be up: while the presence knows it, however silent it is, and while reports list it, though an operator has given
// its place back. It is free some minutes after two reports in a row do not list the call. A node that says nothing frees nothing.
func TestWallet_DoubtIsSettledByThePresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &till{t: t, s: &store{}}
		m.restart()
		defer func() { closeHost(m.live.Live.Host) }()
		m.topup("acc_1", 100_000_000)
		o, began := newOffices(3), time.Now().UnixMilli()
		for _, token := range []string{"a", "b", "c", "d"} {
			node := "n1"
			if token == "c" {
				node = "n2"
			}
			if token != "d" { // nobody has admitted d
				m.live.admit(t, o.admission("acc_1", token, node))
			}
			p := payment(token, "acc_1")
			p.Node = node
			if paid, err := m.wallets.Pay(t.Context(), "acc_1", p); err != nil || paid.State != balance.Granted {
				t.Fatalf("%+v %v", paid, err)
			}
		}
		if err := m.deliver(event(api.EventDialogStart, "b", began)); err != nil {
			t.Fatal(err)
		}
		if n, err := m.live.Reset(t.Context(), "acc_1", []string{"b"}); err != nil || n != 1 {
			t.Fatalf("%d %v", n, err)
		}
		seq := int64(0)
		held := func(after time.Duration, listed ...string) (ids string) {
			t.Helper()
			for end := time.Now().Add(after); time.Now().Before(end); time.Sleep(10 * time.Second) {
				seq++
				r := api.DialogReport{Node: "n1", Boot: "b", Seq: seq, BootMS: 1, TakenMS: time.Now().UnixMilli(), Count: len(listed)}
				for _, token := range listed {
					r.Dialogs = append(r.Dialogs, api.Dialog{AccountID: "acc_1", Token: token, CallID: "call-" + token, SinceMS: began})
				}
				if err := m.live.Report(o, &r); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			list, err := m.wallets.Holds(t.Context(), "acc_1")
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range list {
				ids += fmt.Sprint(h.ID, h.Sec, " ")
			}
			return ids
		}
		for _, c := range []struct {
			after  time.Duration
			listed []string
			want   string
		}{
			{20*time.Minute + 30*time.Second, []string{"a", "b"}, "a60 b1320 c60 "}, {20 * time.Minute, []string{"a", "b"}, "a60 b2520 c60 "},
			{2 * balance.Lease, []string{"a"}, "a60 c60 "}, {balance.Lease, nil, "c60 "},
		} {
			if got := held(c.after, c.listed...); got != c.want {
				t.Errorf("with reports of %v: held %q, want %q", c.listed, got, c.want)
			}
		}
		// What reports have told of b is charged, a minute at most was not told any more.
		if b := m.balance("acc_1"); b.BalanceMicros > 100_000_000-(40*60-6*60)*10_000 || b.BalanceMicros < 100_000_000-41*60*10_000 {
			t.Errorf("%+v", b)
		}
	})
}

// Plays thousands of calls of a customer and his reseller, whose words come late, twice and in any order, over kills of the brain at random.
// Proves that in the end each account was charged every talk once by its own rate, that its movements come to its balance, and that
// nothing is held.
func TestWallet_ChargesOnceOverKills(t *testing.T) {
	m, r := newTill(t), rand.New(rand.NewPCG(1, 7))
	const money = 100_000_000_000
	want := map[string]int64{"acc_1": money, "acc_2": money}
	for id := range want {
		m.topup(id, money)
	}
	var spool []api.Event // of the node, until it is acknowledged
	calls := 2000
	if testing.Short() {
		calls = 300
	}
	for n := range calls {
		accounts := []string{"acc_1", "acc_2"}[:1+n%2]
		paid, err := m.wallets.Pay(t.Context(), "acc_1", payment(fmt.Sprint("c", n), accounts...))
		if err != nil || paid.State != balance.Granted {
			t.Fatalf("%+v %v", paid, err)
		}
		token, start := fmt.Sprint("c", n), time.Now().UnixMilli()
		if n%5 == 0 {
			spool = append(spool, event(api.EventDialogFailed, token, start))
		} else {
			talk := int64(r.IntN(60_000))
			spool = append(spool, event(api.EventDialogStart, token, start), event(api.EventDialogEnd, token, start+talk))
			for i, id := range accounts {
				terms := perSecond
				terms.PerMinuteMicros /= int64(i + 1)
				want[id] -= terms.Charge(talk)
			}
		}
		if n%100 == 99 {
			m.restart()
		}
		if n%7 == 6 {
			r.Shuffle(len(spool), func(i, k int) { spool[i], spool[k] = spool[k], spool[i] })
			if err := m.deliver(spool...); err != nil {
				t.Fatal(err)
			}
			spool = spool[:r.IntN(len(spool)+1)] // the acknowledgement of these was lost
		}
	}
	if err := m.deliver(spool...); err != nil {
		t.Fatal(err)
	}
	m.restart()
	for id, micros := range want {
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			b := m.balance(id)
			if b.HeldMicros == 0 && b.BalanceMicros == micros {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%+v, want %d", b, micros)
			}
		}
		sum := int64(0)
		for after, more := int64(0), true; more; {
			page, err := m.wallets.Statement(t.Context(), id, after, 0, 500)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range page.Movements {
				sum += v.Micros
			}
			after, more = page.Next, page.More
		}
		if sum != micros {
			t.Errorf("%s: the movements come to %d, the balance is %d", id, sum, micros)
		}
	}
}

// A brain that does not own the account's shard asks the one that does: money is held and charged there, and a brain that finds no owner
// says so.
func TestWallet_IsPassedOnToItsOwner(t *testing.T) {
	owner := newTill(t)
	owner.topup("acc_1", 1_000_000)
	other := newPresence(t, &store{}, 0)
	wallets := &Wallets{other.Live}
	if _, err := wallets.Pay(t.Context(), "acc_1", payment("a", "acc_1")); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("without an owner: %v", err)
	}
	other.Live.Ask = func(ctx context.Context, shard int, msg []byte) ([]byte, error) {
		if shard != brain.ShardOf("acc_1") && shard != brain.ShardOf("acc_2") {
			t.Errorf("shard %d was asked", shard)
		}
		return owner.live.Live.Answer(ctx, shard, msg), nil
	}
	other.Live.IsNoOwner = func(error) bool { return false }
	owner.topup("acc_2", 1_000_000)
	for token, accounts := range map[string][]string{"a": {"acc_1"}, "b": {"acc_1", "acc_2"}} {
		if paid, err := wallets.Pay(t.Context(), "acc_1", payment(token, accounts...)); err != nil || paid.State != balance.Granted {
			t.Fatalf("%+v %v", paid, err)
		}
	}
	now := time.Now().UnixMilli()
	if _, err := other.Deliver(t.Context(), newOffices(3), api.EventBatch{Node: "n1", Boot: "b",
		Events: []api.Event{event(api.EventDialogStart, "a", now), event(api.EventDialogEnd, "a", now+2000)}}); err != nil {
		t.Fatal(err)
	}
	if b, err := wallets.Balance(t.Context(), "acc_1"); err != nil || b.BalanceMicros != 980_000 || b.Calls != 1 {
		t.Errorf("%+v %v", b, err)
	}
	if page, err := wallets.Statement(t.Context(), "acc_1", 1, 0, 10); err != nil || len(page.Movements) != 1 || page.Movements[0].CallID != "call-a" {
		t.Errorf("%+v %v", page, err)
	}
}
