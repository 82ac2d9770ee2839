package own

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sipio/sipio/brain"
)

const shards = brain.Shards

func TestCluster_OwnLeaderKilled(t *testing.T) {
	// Proves that the loss of the server that leads OWN, and of the brain beside it, costs only that brain's shards, and
	// those only until the stream has a new leader: kills the one by signal, cuts the other, watches the two that are left.
	t.Parallel()
	user, urls := doomed.newAccount(t)
	brains := trio(t, user, urls)
	s, err := brains[0].m.cfg.JS.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	victim := slices.IndexFunc(doomed.buses, func(b *bus) bool { return b.spec.Name == s.CachedInfo().Cluster.Leader })
	if victim < 0 {
		t.Fatalf("no server leads the stream: %+v", s.CachedInfo().Cluster)
	}
	left, way := slices.Delete(slices.Clone(brains), victim, victim+1), slices.Delete(slices.Clone(urls), victim, victim+1)
	stood, before := standstill(t, user, way[0], way[1]), fenced(left...)
	doomed.buses[victim].kill()
	brains[victim].nc.Close()
	killed := time.Now()
	eventually(t, 30*time.Second, "the two others serve all shards", func() error { return serveAll(left...) })
	t.Logf("all shards served again after %v", time.Since(killed).Round(time.Millisecond))
	if n := fenced(left...) - before; n > 0 && stood() < Trust/2 {
		t.Errorf("they could not answer for their own shards %d times, though they lost nobody they needed", n)
	}
	checkOneOwner(t, allSpans(brains...))
}

// serveAll says which shard is not served by exactly one of the brains.
func serveAll(brains ...*testBrain) error {
	for shard := range shards {
		n := 0
		for _, b := range brains {
			if b.m.Serves(shard, b.m.Epoch(shard)) {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("shard %d is served by %d brains", shard, n)
		}
	}
	return nil
}

func TestCluster_SharesOutAndHandsOver(t *testing.T) {
	// Proves that three brains that start at once come to own each shard once, that one that leaves hands over within
	// a blink, and that one that comes back gets its shards by hand-over: no shard is without an owner for long.
	t.Parallel()
	user, urls := shared.newAccount(t)
	brains := trio(t, user, urls)
	if owner, epoch := brains[0].m.Owner(7); owner != Rank(7, peers)[0] || epoch == 0 {
		t.Errorf("Owner(7) = %q, %d; first in rank is %q", owner, epoch, Rank(7, peers)[0])
	}
	for _, st := range brains[1].m.Members() {
		if !st.Live || !st.Able || st.Shards == 0 {
			t.Errorf("a brain at work is shown as %+v", st)
		}
	}

	joined := brains // all that ever did
	var gaps []time.Duration
	for range 3 { // a machine that stops for a moment makes one of them long
		gaps = append(gaps, leave(t, brains, 2))
		again := joinAs(t, peers[2], user, urls, nil)
		brains, joined = []*testBrain{brains[0], brains[1], again}, append(joined, again)
		waitShared(t, slow, brains...)
	}
	checkOneOwner(t, allSpans(joined...))
	if gap := slices.Min(gaps); gap > 500*time.Millisecond {
		t.Errorf("shards were without an owner for %v while a brain left", gaps)
	}
}

// leave lets a brain leave, waits until the others serve its shards, and returns the longest gap.
func leave(t testing.TB, brains []*testBrain, i int) time.Duration {
	t.Helper()
	mine := brains[i].m.Owned()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := brains[i].m.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	left := slices.Delete(slices.Clone(brains), i, i+1)
	waitShared(t, slow, left...)
	var worst time.Duration
	for _, shard := range mine {
		worst = max(worst, time.Duration(acquired(left, shard, brains[i].released[shard])-brains[i].released[shard]))
	}
	return worst
}

// acquired is when a shard was first acquired by one of the brains after a moment. It may go to the first in rank later.
func acquired(brains []*testBrain, shard int, after int64) (at int64) {
	for _, b := range brains {
		b.mu.Lock()
		for _, s := range b.spans {
			if s.Shard == shard && s.AcquiredAt > after && (at == 0 || s.AcquiredAt < at) {
				at = s.AcquiredAt
			}
		}
		b.mu.Unlock()
	}
	return at
}

// crash cuts a brain's connection, waits until the others serve its shards, and returns the longest gap.
func crash(t testing.TB, brains []*testBrain, i int) time.Duration {
	t.Helper()
	mine := brains[i].m.Owned()
	cut := time.Now().UnixNano()
	brains[i].nc.Close()
	left := slices.Delete(slices.Clone(brains), i, i+1)
	waitShared(t, slow, left...)
	var worst time.Duration
	for _, shard := range mine {
		worst = max(worst, time.Duration(acquired(left, shard, cut)-cut))
	}
	return worst
}

func TestCluster_CrashIsTakenOver(t *testing.T) {
	// Proves that the shards of a brain that vanished are taken after Suspect and not before, that the others' own shards
	// never stop, and that the vanished one stopped answering before anybody else answered.
	t.Parallel()
	user, urls := shared.newAccount(t)
	brains := trio(t, user, urls)
	stood, before := standstill(t, user, urls[1], urls[2]), fenced(brains[1:]...)
	gap := crash(t, brains, 0)
	t.Logf("taken over after %v", gap)
	if gap < Suspect-2*Beat || gap > 5*time.Second { // the machine itself may stop for a moment
		t.Errorf("taken over after %v, want about %v", gap, Suspect)
	}
	if brains[0].m.Serving() {
		t.Error("the brain without a connection still serves")
	}
	if n := fenced(brains[1:]...) - before; n > 0 && stood() < Trust/2 {
		t.Errorf("the others could not answer %d times", n)
	}
	checkOneOwner(t, allSpans(brains...))
}

func TestCluster_MinorityServesNothing(t *testing.T) {
	// Proves that a brain that reaches no majority stops answering by itself within Trust, that nobody answers then, and that
	// all is back after healing: the connections of two of three are frozen, not closed, so that what they sent before
	// arrives late.
	t.Parallel()
	user, urls := shared.newAccount(t)
	lines := []*line{newLine(t, urls[1]), newLine(t, urls[2])}
	brains := []*testBrain{
		joinAs(t, peers[0], user, urls, nil), joinAs(t, peers[1], user, []string{lines[0].url()}, nil), joinAs(t, peers[2], user, []string{lines[1].url()}, nil),
	}
	waitShared(t, slow, brains...)
	for _, l := range lines {
		l.freeze(true)
	}
	cut := time.Now()
	last := time.Duration(0) // when one was seen to serve
	eventually(t, 5*time.Second, "nobody serves", func() error {
		for _, b := range brains {
			if at := time.Since(cut); b.m.Serving() {
				last = at
				return errors.New(b.name + " serves")
			}
		}
		return nil
	})
	t.Logf("somebody served until %v", last.Round(time.Millisecond))
	if last > Trust+300*time.Millisecond {
		t.Errorf("one served after %v still", last)
	}
	eventually(t, 3*time.Second, "all shards are released", func() error {
		for _, b := range brains {
			if n := len(b.m.Owned()); n > 0 {
				return fmt.Errorf("%s holds %d", b.name, n)
			}
		}
		return nil
	})
	for _, l := range lines {
		l.freeze(false)
	}
	healed := time.Now()
	eventually(t, 30*time.Second, "all shards are served again", func() error { return serveAll(brains...) })
	t.Logf("all shards served %v after healing", time.Since(healed).Round(time.Millisecond))
	checkOneOwner(t, allSpans(brains...))
}

// lossyJS loses the answers to some writes: they are stored, and reported as failed.
type lossyJS struct {
	jetstream.JetStream
	lose func(n int64) error
	n    atomic.Int64
}

func (l *lossyJS) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	n := l.n.Add(1)
	err := l.lose(n)
	if err != nil && n%2 == 0 {
		return nil, err // not even written
	}
	ack, pubErr := l.JetStream.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return nil, err
	}
	return ack, pubErr
}

func TestCluster_ClaimsWithLostAnswersAreAdopted(t *testing.T) {
	// Proves that no shard is orphaned when the answer to a claim is lost or spurious: half of the writes of two brains
	// report a timeout or error 10164, whether they were stored or not; all shards find one owner, and its epoch is the
	// sequence of the record.
	t.Parallel()
	user, urls := shared.newAccount(t)
	lossy := func(c *Config) {
		c.JS = &lossyJS{JetStream: c.JS, lose: func(n int64) error {
			switch n % 8 {
			case 0, 1:
				return context.DeadlineExceeded
			case 2, 3:
				return &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequenceConstant}
			}
			return nil
		}}
	}
	brains := []*testBrain{joinAs(t, peers[0], user, urls, lossy), joinAs(t, peers[1], user, urls, lossy), joinAs(t, peers[2], user, urls, nil)}
	waitShared(t, slow, brains...)
	for shard := range shards {
		r, err := brains[2].m.read(t.Context(), shard)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range brains {
			if epoch := b.m.Epoch(shard); epoch > 0 && epoch != r.seq {
				t.Errorf("shard %d: %s serves under epoch %d, the record is %d", shard, b.name, epoch, r.seq)
			}
		}
	}
	checkOneOwner(t, allSpans(brains...))
}

func TestCluster_NobodyStealsFromALiveIncarnation(t *testing.T) {
	// Proves that suspicion alone takes no shard: one brain asks whether another one, which lives, is silent, and the third
	// one's vote says no. And that a claim finds out that the shard was taken while it waited.
	t.Parallel()
	user, urls := shared.newAccount(t)
	brains := trio(t, user, urls)
	victim, judge := brains[0].m, brains[1].m
	owned, epoch := victim.Owned(), victim.Epoch(victim.Owned()[0])

	if yes := judge.ask(victim.inc, time.Now().Add(voteWindow)); yes != 1 {
		t.Errorf("%d votes against a live brain, want only the asker's own", yes)
	}
	judge.mu.Lock() // a claim that was decided on while the shard was free, and had to wait for its turn
	judge.begin(owned[0], claiming, judge.claim)
	judge.mu.Unlock()
	eventually(t, 30*time.Second, "the late claim is over", func() error {
		judge.mu.Lock()
		defer judge.mu.Unlock()
		if judge.shards[owned[0]].step == claiming {
			return errors.New("at work")
		}
		return nil
	})
	if got := victim.Owned(); !slices.Equal(got, owned) || victim.Epoch(owned[0]) != epoch {
		t.Errorf("the live brain lost shards: %v, had %v", got, owned)
	}
}

func TestCluster_LostShardComesBackUnderANewEpoch(t *testing.T) {
	// Proves that a shard whose journal refused its owner is released and claimed anew, under a higher epoch, and that
	// a word about an epoch that is over changes nothing.
	t.Parallel()
	user, urls := shared.newAccount(t)
	brains := trio(t, user, urls)
	m := brains[0].m
	shard := m.Owned()[0]
	old := m.Epoch(shard)
	m.Lost(shard, old-1)
	if m.Epoch(shard) != old {
		t.Fatal("an epoch that is over took the shard away")
	}
	m.Lost(shard, old)
	if m.Serves(shard, old) {
		t.Error("still served after it was lost")
	}
	eventually(t, 30*time.Second, "a new epoch", func() error {
		if epoch := m.Epoch(shard); epoch <= old {
			return fmt.Errorf("epoch %d, was %d", epoch, old)
		}
		return nil
	})
	checkOneOwner(t, allSpans(brains...))
}

func TestCluster_ShardThatCannotBeLoadedGoesToTheNext(t *testing.T) {
	// Proves that a brain that cannot load a shard gives it back, and that the next in rank takes and keeps it.
	t.Parallel()
	user, urls := shared.newAccount(t)
	const shard = 5
	rank := Rank(shard, peers)
	var brains []*testBrain
	var tries atomic.Int64
	for _, name := range peers {
		brains = append(brains, joinAs(t, name, user, urls, func(c *Config) {
			if inner := c.Acquire; name == rank[0] {
				c.Acquire = func(ctx context.Context, s int, epoch uint64) error {
					if s == shard {
						tries.Add(1)
						return errors.New("damaged")
					}
					return inner(ctx, s, epoch)
				}
			}
		}))
	}
	eventually(t, 30*time.Second, "the others serve it", func() error { return serveAll(brains...) })
	n := tries.Load()
	if owner, _ := brains[0].m.Owner(shard); owner == rank[0] {
		t.Errorf("shard %d is owned by %s, which cannot load it", shard, owner)
	}
	t.Logf("owner after %d tries of the first in rank", n)
	checkOneOwner(t, allSpans(brains...))
}
