package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/journal"
)

// The bus that leads most of the journal is killed while calls are asked of all brains and events are told. Admission is
// answered by owners, or by the accounts' policy, all the time; never beyond a limit, and no account is without an owner's
// answer for ten seconds. Once the buses that are left have elected new leaders (4 to 9 s each) every shard takes
// durable events again, each once and none lost. The bus comes back, and all is as before.
func TestBus_LeaderKilled(t *testing.T) {
	ctx := within(t, time.Duration(runs(t, 1))*3*time.Minute+3*time.Minute)
	c, accounts := brains(t, ctx)
	var admissions, durables []time.Duration
	for range runs(t, 1) {
		admission, durable := killLeader(t, ctx, c, accounts)
		admissions, durables = append(admissions, admission), append(durables, durable)
		if t.Failed() {
			return
		}
	}
	figures(t, "bus leader killed, longest without an owner's answer to an admission", admissions)
	figures(t, "bus leader killed, until the last shard takes a durable event", durables)
	if worst := slices.Max(admissions); worst > 10*time.Second {
		t.Errorf("an account was without an owner's answer for %v, want under 10 s", worst)
	}
	if worst := slices.Max(durables); worst > 20*time.Second {
		t.Errorf("a shard took durable events after %v, want under 20 s", worst)
	}
}

func killLeader(t *testing.T, ctx context.Context, c *Cluster, accounts []account) (admission, durable time.Duration) {
	t.Helper()
	at, leads := leader(t, ctx, c)
	clearSlots(t, ctx, c, accounts)
	l := startLoad(ctx, c, accounts, c.Brains, many)
	defer l.end()
	d := startDurable(ctx, c, accounts)
	l.ownersSince(t, ctx, time.Now())
	d.since(t, ctx, time.Now())
	killed := time.Now()
	if err := at.Kill(); err != nil {
		t.Fatal(err)
	}
	back := d.since(t, ctx, killed)
	durable = back.Sub(killed)
	l.ownersSince(t, ctx, back)
	answers := l.end()
	held(t, accounts, answers)
	admission = longestWait(accounts, answers, killed)
	refused := 0
	for _, a := range answers {
		if a.verdict == away {
			refused++
		}
	}
	t.Logf("%s killed, leader of %v: durable again after %v; longest without an owner's answer %v; %d of %d questions refused with 503",
		at.Name, leads, durable.Round(time.Millisecond), admission.Round(time.Millisecond), refused, len(answers))
	d.end(t, ctx)
	if err := c.StartBus(ctx, at); err != nil {
		t.Fatal(err)
	}
	whole, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.Settle(whole); err != nil {
		t.Fatal(err)
	}
	eventually(t, whole, at.Name+" to be level again", func() error { return level(whole, c) })
	return admission, durable
}

// longestWait is the longest time that a closed account was without an owner's answer, kill or later.
func longestWait(accounts []account, answers []answer, killed time.Time) (longest time.Duration) {
	last := map[int]time.Time{}
	slices.SortFunc(answers, func(a, b answer) int { return a.finished.Compare(b.finished) })
	for _, a := range answers {
		if !accounts[a.account].closed || !a.owner() {
			continue
		}
		if before := last[a.account]; !before.IsZero() && a.finished.After(killed) {
			longest = max(longest, a.finished.Sub(before))
		}
		last[a.account] = a.finished
	}
	return longest
}

// streams looks at the journal's streams through a connection of its own. A bus that knows no leader yet drops such a
// question without a word (its log says "JetStream has not established contact with a meta leader"), so that each has
// little time: whoever waits for an answer asks anew.
func streams(ctx context.Context, c *Cluster, visit func(name, leader string, current bool)) error {
	var urls []string
	for _, b := range c.Buses {
		if b.Alive() {
			urls = append(urls, b.Client)
		}
	}
	bus, err := journal.Open(ctx, journal.Config{URLs: urls})
	if err != nil {
		return err
	}
	defer bus.Close()
	for _, name := range []string{"OWN", "CONFIG", "JOURNAL_0", "JOURNAL_1", "JOURNAL_2", "JOURNAL_3"} {
		asked, cancel := context.WithTimeout(ctx, 2*time.Second)
		s, err := bus.JetStream().Stream(asked, name)
		cancel()
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		info := s.CachedInfo().Cluster
		current := len(info.Replicas) == Size-1
		for _, r := range info.Replicas {
			current = current && r.Current && !r.Offline
		}
		visit(name, info.Leader, current)
	}
	return nil
}

// leader is the bus that leads most streams.
func leader(t *testing.T, ctx context.Context, c *Cluster) (at *Bus, leads []string) {
	t.Helper()
	of := map[string][]string{}
	eventually(t, ctx, "the streams to say who leads them", func() error {
		clear(of)
		return streams(ctx, c, func(name, leader string, _ bool) { of[leader] = append(of[leader], name) })
	})
	name := slices.MaxFunc(slices.Sorted(maps.Keys(of)), func(a, b string) int { return len(of[a]) - len(of[b]) })
	i := slices.IndexFunc(c.Buses, func(b *Bus) bool { return b.Name == name })
	if i < 0 {
		t.Fatalf("the streams are led by %v", of)
	}
	return c.Buses[i], of[name]
}

// level says whether every copy of every stream has all there is.
func level(ctx context.Context, c *Cluster) error {
	behind := ""
	err := streams(ctx, c, func(name, _ string, current bool) {
		if !current {
			behind = name
		}
	})
	if err == nil && behind != "" {
		err = fmt.Errorf("a copy of %s is behind", behind)
	}
	return err
}

// durable tells, for each shard, of one call after the other: each begins, and ends.
type durable struct {
	c       *Cluster
	probes  []*probe
	stop    context.CancelFunc
	workers sync.WaitGroup
}

// probe is one shard's part: what it was told of, and when that was acknowledged.
type probe struct {
	account account
	node    node

	mu    sync.Mutex
	began time.Time // of the newest event that was acknowledged
	done  time.Time
}

const durablePace = 200 * time.Millisecond

func startDurable(ctx context.Context, c *Cluster, accounts []account) *durable {
	d := &durable{c: c}
	ctx, d.stop = context.WithCancel(ctx)
	for i, a := range accounts {
		if a.closed {
			continue
		}
		p := &probe{account: a, node: node{boot: fmt.Sprintf("durable-%d-%d", time.Now().UnixNano(), a.shard)}}
		d.probes = append(d.probes, p)
		d.workers.Go(func() {
			tick := time.NewTicker(durablePace)
			defer tick.Stop()
			for n := i; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					p.next(ctx, c, c.Brains[n%Size])
				}
			}
		})
	}
	return d
}

func (p *probe) next(ctx context.Context, c *Cluster, b *Brain) {
	typ := api.EventDialogStart
	if p.node.seq%2 == 1 {
		typ = api.EventDialogEnd
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if p.node.tell(ctx, c, b, callEvent(typ, p.account, p.token(p.node.seq))) == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.began, p.done = began, time.Now()
	}
}

// token names the call that an event is about.
func (p *probe) token(seq int64) string { return fmt.Sprintf("%s%d", p.node.boot, seq/2) }

// since waits until each shard has taken an event that was told after a moment, and returns when the last one had.
func (d *durable) since(t *testing.T, ctx context.Context, since time.Time) (last time.Time) {
	t.Helper()
	eventually(t, ctx, "durable events", func() error {
		for _, p := range d.probes {
			p.mu.Lock()
			began, done := p.began, p.done
			p.mu.Unlock()
			if !began.After(since) {
				return fmt.Errorf("shard %d takes none", p.account.shard)
			}
			if done.After(last) {
				last = done
			}
		}
		return nil
	})
	return last
}

// end stops telling, and checks that of the calls told of those are up that have begun and not ended: one or none.
func (d *durable) end(t *testing.T, ctx context.Context) {
	t.Helper()
	d.stop()
	d.workers.Wait()
	for _, p := range d.probes {
		up := map[string]bool{}
		for _, s := range slots(t, ctx, d.c, d.c.Brains[0], p.account.id).Slots {
			if s.AnsweredMS > 0 {
				up[s.Token] = true
			}
		}
		if n := p.node.seq; n%2 == 1 && !up[p.token(n)] || len(up) != int(n%2) {
			t.Errorf("shard %d: after %d events these calls are up: %v", p.account.shard, n, slices.Collect(maps.Keys(up)))
		}
	}
}
