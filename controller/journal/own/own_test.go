package own

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sipio/sipio/brain"
)

func TestRank_SpreadsAndMovesOnlyWhatMust(t *testing.T) {
	// Proves that shards spread over brains without a gross imbalance, that the order of the names given does not matter, and
	// that a brain that goes moves only its own shards.
	for _, names := range [][]string{{"a", "b", "c"}, {"brain1", "brain2", "brain3"}, {"k1.example.net", "k2.example.net", "k3.example.net", "k4.example.net", "k5.example.net"}} {
		count := map[string]int{}
		back := slices.Clone(names)
		slices.Reverse(back)
		for i := range brain.Shards {
			first := Rank(i, names)[0]
			count[first]++
			if other := Rank(i, back)[0]; other != first {
				t.Errorf("shard %d: first of %v is %s, of %v %s", i, names, first, back, other)
			}
			if rest := Rank(i, names[1:])[0]; first != names[0] && rest != first {
				t.Errorf("shard %d moves from %s to %s because %s went", i, first, rest, names[0])
			}
		}
		fair := brain.Shards / len(names)
		for name, n := range count {
			if n < fair/3 || n > 2*fair {
				t.Errorf("%s is first in %d shards of %d: %v", name, n, brain.Shards, count)
			}
		}
		if len(count) != len(names) {
			t.Errorf("only %v own shards", slices.Sorted(maps.Keys(count)))
		}
	}
}

func TestLease_CountsOnlyWhatWasAcknowledged(t *testing.T) {
	// Proves the majority rule by the sender's clock: of five brains three must stand behind a heartbeat, the lease runs from
	// the moment of sending, and late, repeated or invented acknowledgements lengthen nothing.
	var l lease
	const ms = time.Millisecond
	one, two := l.beat(100*ms), l.beat(300*ms)
	expect := func(what string, want time.Duration) {
		t.Helper()
		if got := l.until(3); got != want {
			t.Errorf("%s: lease until %v, want %v", what, got, want)
		}
	}
	expect("nobody answered", 0)
	l.ack("b", two)
	expect("one of two others", 0)
	l.ack("b", one)
	l.ack("b", two)
	expect("the same one again", 0)
	l.ack("c", one)
	expect("the second other, an older heartbeat", 100*ms+Trust)
	l.ack("d", two)
	expect("two others acknowledged the newer one", 300*ms+Trust)
	l.ack("e", one)
	l.ack("e", 99)
	l.ack("e", 0)
	expect("late and invented ones", 300*ms+Trust)
	for range 100 {
		l.beat(9000 * ms)
	}
	l.ack("b", two)
	l.ack("c", two)
	expect("one that is too old to be known", 300*ms+Trust)
}

func TestLease_AnAckThatComesTooLateEndsTheIncarnation(t *testing.T) {
	// Proves what keeps a zombie quiet: Serving looks at the clock at each call, and the first acknowledgement after the
	// lease ran out, even of a fresh heartbeat, ends the incarnation. No loop of the member runs; the clock is a fake.
	synctest.Test(t, func(t *testing.T) {
		m := &Member{cfg: Config{Name: "anna", Peers: peers, Log: quiet()}, need: 2, start: time.Now(), inc: "first"}
		m.ctx, m.stop = context.WithCancel(t.Context())
		m.newTerm()
		ack := func(seq uint64) {
			m.hearAck(&nats.Msg{Data: fmt.Appendf(nil, `{"name":"bert","inc":"first","seq":%d}`, seq)})
		}
		time.Sleep(time.Second)
		ack(m.lease.beat(m.now()))
		if !m.Serving() {
			t.Fatal("not serving with a majority behind it")
		}
		time.Sleep(Trust - time.Nanosecond)
		if !m.Serving() {
			t.Error("stopped before its time")
		}
		time.Sleep(time.Nanosecond)
		if m.Serving() {
			t.Error("serves on when its time is over")
		}
		ack(m.lease.beat(m.now()))
		if m.Serving() || m.phase != lapsed || m.tenure.Err() == nil {
			t.Errorf("an incarnation that lapsed came back: serving %t, phase %d", m.Serving(), m.phase)
		}
	})
}

func TestVote_CountsSilenceFromItsOwnStartAndWhatItAcknowledged(t *testing.T) {
	// Proves on what a vote rests: nobody is silent to a brain that has just started, for it may have acknowledged something
	// in its former life; an incarnation is silent Suspect after its last acknowledged heartbeat; one that said good-bye is
	// at once, and is not acknowledged again; a stranger and a namesake are not acknowledged at all.
	synctest.Test(t, func(t *testing.T) {
		m := &Member{
			cfg: Config{Name: "anna", Peers: peers, Log: quiet()}, need: 2, start: time.Now(), inc: "own",
			seen: map[string]*sighting{}, dead: map[string]bool{}, strange: map[string]bool{},
		}
		expect := func(what, inc string, want bool) {
			t.Helper()
			if got := m.silent(inc); got != want {
				t.Errorf("%s: silent %t, want %t", what, got, want)
			}
		}
		time.Sleep(Suspect - 1)
		expect("never heard of, a moment before Suspect after the start", "b1", false)
		time.Sleep(1)
		expect("never heard of", "b1", true)
		if !m.sight(notice{Name: "bert", Inc: "b1", Seq: 1}) {
			t.Error("a peer's heartbeat is not acknowledged")
		}
		time.Sleep(Suspect - 1)
		expect("heard of a moment less than Suspect ago", "b1", false)
		time.Sleep(1)
		expect("heard of Suspect ago", "b1", true)
		expect("this brain itself", "own", false)
		m.sight(notice{Name: "bert", Inc: "b2", Seq: 1})
		expect("the next incarnation", "b2", false)
		m.hearBye(&nats.Msg{Data: []byte(`{"name":"bert","inc":"b2"}`)})
		expect("after a good-bye", "b2", true)
		for what, n := range map[string]notice{
			"one that said good-bye": {Name: "bert", Inc: "b2"}, "a stranger": {Name: "dora", Inc: "d"}, "a namesake": {Name: "anna", Inc: "other"},
		} {
			if m.sight(n) {
				t.Errorf("%s is acknowledged", what)
			}
		}
		m.hearBye(&nats.Msg{Data: []byte(`{"name":"bert","inc":"own"}`)})
		if m.dead["own"] {
			t.Error("somebody else said good-bye for this brain")
		}
	})
}

func TestDecide_WhatToDoWithAShard(t *testing.T) {
	// Proves each rule of placement on its own: who claims, who waits, who hands over, who leaves alone. Shard 0, the brains
	// in the order of its rank.
	rank := Rank(0, peers)
	at := 10 * time.Second
	rec := func(name, inc string) record { return record{Name: name, Inc: inc, seq: 7} }
	base := func(place int) *view {
		return &view{now: at, name: rank[place], inc: "me", able: peers, settled: peers, dead: map[string]bool{"gone": true}}
	}
	released := rec(rank[1], "x")
	released.Released = true
	for _, c := range []struct {
		what  string
		v     *view
		shard shard
		want  move
	}{
		{"no record, first in rank", base(0), shard{}, claim},
		{"no record, second in rank", base(1), shard{}, stay},
		{"no record for a second, second in rank", base(1), shard{free: at - patience}, claim},
		{"no record for a second, third in rank", base(2), shard{free: at - patience}, stay},
		{"released", base(0), shard{record: released}, claim},
		{"owner dead", base(0), shard{record: rec(rank[2], "gone")}, claim},
		{"owner lives, first in rank", base(0), shard{record: rec(rank[2], "alive")}, stay},
		{"this brain's earlier incarnation, not known to be dead", base(0), shard{record: rec(rank[0], "earlier")}, stay},
		{"mine, thought lost", base(2), shard{record: rec(rank[2], "me")}, claim},
		{"mine, at work on it", base(0), shard{record: rec(rank[0], "me"), step: claiming}, stay},
		{"could not be loaded a moment ago", base(0), shard{retry: at + 1}, stay},
		{"owned, first in rank", base(0), shard{record: rec(rank[0], "me"), step: owned}, stay},
		{"owned, not first in rank", base(1), shard{record: rec(rank[1], "me"), step: owned}, yield},
		{"owned, out of turn a moment ago", base(1), shard{record: rec(rank[1], "me"), step: owned, keep: at + 1}, stay},
		{"owned, the first in rank is not settled", func() *view { v := base(1); v.settled = rank[1:]; return v }(), shard{record: rec(rank[1], "me"), step: owned}, stay},
		{"first in rank is not able", func() *view { v := base(1); v.able = rank[1:]; return v }(), shard{}, claim},
		{"solo, of an earlier life", &view{now: at, name: "a", inc: "me", solo: true, able: []string{"a"}, settled: []string{"a"}}, shard{record: rec("b", "old")}, claim},
	} {
		if got, _ := c.v.decide(0, &c.shard); got != c.want {
			t.Errorf("%s: move %d, want %d", c.what, got, c.want)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	// Proves that no bytes from the bus crash the reading of a notice, and that what is accepted is bounded.
	f.Add([]byte(`{"name":"anna","inc":"X","seq":3,"able":true}`))
	f.Add([]byte(`{"name":"","inc":"X"}`))
	f.Add([]byte(`[1`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := parseNotice(data)
		if err == nil && (n.Name == "" || n.Inc == "" || len(n.Name) > maxName || len(n.Inc) > maxName || len(data) > maxNotice) {
			t.Errorf("accepted %q", data)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	// Proves that no bytes in the stream crash the reading of a record, and that one without an owner is refused.
	f.Add([]byte(`{"name":"anna","incarnation":"X","released":true}`))
	f.Add([]byte(`{"name":"anna"}`))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err == nil && (r.Name == "" || r.Inc == "" || r.seq != 0) {
			t.Errorf("accepted %q", data)
		}
	})
}

func TestJoin_RefusesAWrongConfiguration(t *testing.T) {
	// Proves that a brain that is not among its peers, or lacks what it needs, is told so at once.
	for what, cfg := range map[string]Config{
		"nothing": {},
		"strange": {Name: "d", Peers: peers},
	} {
		if _, err := Join(t.Context(), cfg); brain.CodeOf(err) != brain.EInvalid {
			t.Errorf("%s: %v, want an invalid configuration", what, err)
		}
	}
}

// soloServer is a nats-server inside this process, for one brain.
func soloServer(t testing.TB) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s.ClientURL()
}

func solo(c *Config) { c.Peers, c.Replicas = []string{c.Name}, 1 }

func TestSolo_OwnsAllAtOnceAndAfterACrash(t *testing.T) {
	// Proves that the only brain there is serves all shards without asking anybody, that after a crash it takes them again
	// at once under higher epochs, and that a shard that cannot be loaded is tried again.
	url := soloServer(t)
	first := joinAs(t, "anna", "", []string{url}, solo)
	eventually(t, 30*time.Second, "all shards", func() error { return serveAll(first) })
	old := first.m.Epoch(9)
	second, took := first, time.Hour
	for range 3 { // a machine that stops for a moment makes one of them long
		second.nc.Close() // no good-bye
		crashed := time.Now()
		var failed bool
		second = joinAs(t, "anna", "", []string{url}, func(c *Config) {
			solo(c)
			inner := c.Acquire
			c.Acquire = func(ctx context.Context, shard int, epoch uint64) error {
				if shard == 3 && !failed {
					failed = true
					return errors.New("disk full")
				}
				return inner(ctx, shard, epoch)
			}
		})
		eventually(t, 30*time.Second, "all shards but one", func() error {
			if n := len(second.m.Owned()); n < shards-1 {
				return errors.New("not yet")
			}
			return nil
		})
		took = min(took, time.Since(crashed))
	}
	t.Logf("all shards but one after %v", took.Round(time.Millisecond))
	if took > 500*time.Millisecond {
		t.Errorf("all shards but one after %v", took)
	}
	if epoch := second.m.Epoch(9); epoch <= old {
		t.Errorf("epoch %d after a restart, was %d", epoch, old)
	}
	eventually(t, 30*time.Second, "the last shard too", func() error { return serveAll(second) })
}

func TestJoin_RefusesAStreamThatReplicasMayAnswerFor(t *testing.T) {
	// Proves that a stream with direct gets, whose answers may be stale, is refused and not used.
	nc, js, err := dial("", soloServer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"own.*"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	none := newDesk("anna")
	_, err = Join(t.Context(), Config{NC: nc, JS: js, Name: "anna", Peers: []string{"anna"}, Log: quiet(), Acquire: none.acquire, Release: none.release})
	if err == nil || !strings.Contains(err.Error(), "direct gets") {
		t.Errorf("joined on such a stream: %v", err)
	}
}

func TestMoving_ForAMomentAfterTheOwnerChanges(t *testing.T) {
	// Proves that a shard counts as moving from the change of its record on, for Move and no longer, and that news which
	// change nothing do not prolong it. Doubt asks the stream once at a time, and finds a record that no hint told of.
	b := joinAs(t, "solo", "", []string{soloServer(t)}, solo)
	eventually(t, 30*time.Second, "the shard", func() error {
		if b.m.Epoch(7) == 0 {
			return errors.New("not owned")
		}
		return nil
	})
	b.m.mu.Lock()
	known := b.m.shards[7].record
	b.m.shards[7].heard = b.m.now() - Move - time.Millisecond
	b.m.mu.Unlock()
	b.m.learn(7, known, true)
	if b.m.Moving(7) {
		t.Error("nothing has changed, and the shard moves")
	}
	b.m.mu.Lock()
	b.m.shards[7].record = record{Name: "elsewhere", Inc: "gone", seq: known.seq - 1} // as if the hint had been lost
	b.m.mu.Unlock()
	b.m.Doubt(7)
	eventually(t, 30*time.Second, "the record that stands", func() error {
		if owner, epoch := b.m.Owner(7); owner != "solo" || epoch != known.seq {
			return fmt.Errorf("owner %q, epoch %d", owner, epoch)
		}
		return nil
	})
	if !b.m.Moving(7) {
		t.Error("the owner has changed, and the shard does not move")
	}
	eventually(t, 30*time.Second, "the end of the move", func() error {
		if b.m.Moving(7) {
			return errors.New("it moves")
		}
		return nil
	})
}
