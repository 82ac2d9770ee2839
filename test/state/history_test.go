package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/journal"
)

const (
	histories = 1000
	clients   = 5
	steps     = 10 // of each client
	account   = "acc_1"
)

// sort of faults in a history, by its seed.
const (
	calm      = iota // delays, errors and repeats alone: every answer counts, unlogged ones too
	crashes          // and the brain dies without writing what it has applied
	takeovers        // and another brain takes over while the first one still answers
	sorts
)

// plant is a fault of the test's own making, between actors and journal.
type plant string

const (
	dropsAcknowledged plant = "an append acknowledged and dropped"
	ignoresFence      plant = "an owner that goes on after it was fenced"
	neverAsksServing  plant = "an owner that does not ask whether it may still answer"
)

// world is a journal, the brains on it, and what was recorded of them.
type world struct {
	sort   int
	plant  plant
	mem    *journal.Memory
	owner  atomic.Uint64  // epoch of who may answer
	clock  atomic.Int64   // orders calls and returns
	dying  sync.WaitGroup // what must end before the bubble does
	diceMu sync.Mutex
	dice   *rand.Rand

	mu      sync.Mutex
	brains  []*process
	history []porcupine.Operation
	tally   tally
}

// tally counts what the histories held, to show that nothing was left out.
type tally struct{ ops, repeated, refused, unlogged, unknown, reads, crashes, takeovers int }

func (a *tally) add(b tally) {
	a.ops, a.repeated, a.refused, a.unlogged = a.ops+b.ops, a.repeated+b.repeated, a.refused+b.refused, a.unlogged+b.unlogged
	a.unknown, a.reads, a.crashes, a.takeovers = a.unknown+b.unknown, a.reads+b.reads, a.crashes+b.crashes, a.takeovers+b.takeovers
}

// process is one brain. Once dead nothing it says is heard, and nothing new of it reaches the journal.
type process struct {
	host *actor.Host
	live *actor.Live
	ctx  context.Context
	die  context.CancelFunc
}

func (p *process) dead() bool { return p.ctx.Err() != nil }

func (w *world) chance(n int) bool { return w.roll(n) == 0 }

func (w *world) roll(n int) int {
	w.diceMu.Lock()
	defer w.diceMu.Unlock()
	return w.dice.IntN(n)
}

func newWorld(seed uint64, sort int, p plant) *world {
	w := &world{sort: sort, plant: p, mem: inMemory(), dice: rand.New(rand.NewPCG(seed, 11))}
	w.mem.Delay = func(string) time.Duration {
		switch {
		case w.chance(200):
			return 1200 * time.Millisecond // longer than a step waits
		case w.chance(25):
			return 40 * time.Millisecond // longer than an admission waits
		}
		return time.Duration(w.roll(4000)) * time.Microsecond
	}
	w.mem.Fail = func(what, _ string) error {
		if (what == "publish" || what == "ack") && w.chance(12) {
			return errors.New("injected: " + what)
		}
		return nil
	}
	return w
}

// frail is a log that dies with its process. What is under way then may still arrive.
type frail struct {
	actor.Log
	w *world
	p *process
}

func (f *frail) Append(ctx context.Context, data []byte) error {
	if f.p.dead() {
		return errors.New("dead")
	}
	if f.w.plant == dropsAcknowledged && f.w.chance(4) {
		return nil
	}
	err := f.Log.Append(context.WithoutCancel(ctx), data)
	if f.w.plant == ignoresFence && errors.Is(err, journal.ErrFenced) {
		return nil
	}
	return err
}

// Close ends what the world waits for: a shard that was lost is no longer its host's, and closes when it can.
func (f *frail) Close() {
	f.Log.Close()
	f.w.dying.Done()
}

// start lets another brain own the account, from the next epoch on.
func (w *world) start() {
	p := &process{}
	p.ctx, p.die = context.WithCancel(context.Background())
	epoch := w.owner.Add(1)
	p.host = actor.NewHost(func(ctx context.Context, shard int, epoch uint64, snapshot func([]byte, bool) error, record func([]byte) error) (actor.Log, error) {
		l, err := logsOf(w.mem)(ctx, shard, epoch, snapshot, record)
		if err != nil {
			return nil, err
		}
		w.dying.Add(1)
		return &frail{l, w, p}, nil
	})
	p.host.Log, p.host.SnapshotEvery = quiet, 7
	p.host.Serving = func(_ int, epoch uint64) bool { return w.plant == neverAsksServing || w.owner.Load() == epoch }
	p.live = &actor.Live{Host: p.host}
	for p.host.Acquire(context.Background(), brain.ShardOf(account), epoch) != nil {
		time.Sleep(time.Millisecond)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.brains = append(w.brains, p)
}

// end stops a brain without letting it write.
func (p *process) end() {
	p.die()
	p.host.Close(p.ctx)
}

// pick is the brain that a client asks: mostly the newest of those that serve; nil while there is none.
func (w *world) pick() *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	serving := slices.DeleteFunc(slices.Clone(w.brains), func(p *process) bool {
		return p.dead() || !p.host.Owned(brain.ShardOf(account))
	})
	if len(serving) == 0 {
		return nil
	}
	return serving[max(0, len(serving)-1-w.roll(4)/3)]
}

// disturb does the history's sort of fault a few times.
func (w *world) disturb() {
	for range 3 {
		time.Sleep(time.Duration(w.roll(25_000)) * time.Microsecond)
		w.mu.Lock()
		newest := w.brains[len(w.brains)-1]
		switch w.sort {
		case calm:
			w.mu.Unlock()
			continue
		case crashes:
			w.tally.crashes++
			w.mu.Unlock()
			newest.die()
			w.dying.Go(newest.end)
		case takeovers:
			w.tally.takeovers++
			w.mu.Unlock()
		}
		w.start()
	}
}

// play makes one history.
func (w *world) play(seed uint64) {
	w.start()
	var all sync.WaitGroup
	all.Go(w.disturb)
	for i := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(100+i)))
		all.Go(func() {
			for n := range steps {
				q := ask{kind: [...]askKind{admit, admit, admit, release, release, read}[rng.IntN(6)], token: n + rng.IntN(5)}
				for again := true; again; again = rng.IntN(4) == 0 { // now and then the same once more
					time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
					w.do(i, q)
				}
			}
		})
	}
	all.Wait()
	for _, p := range w.brains {
		w.dying.Go(p.end)
	}
	w.dying.Wait()
}

// do asks one brain and records question and answer.
func (w *world) do(client int, q ask) {
	p := w.pick()
	for p == nil {
		time.Sleep(time.Millisecond)
		p = w.pick()
	}
	called := w.clock.Add(1)
	got, err := q.put(p)
	if p.dead() {
		err = errors.New("the brain died")
	}
	returned := w.clock.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && q.kind == read {
		return // says nothing and changes nothing
	}
	w.tally.ops++
	switch {
	case err != nil, got.unlogged && w.sort != calm: // may be void, or take effect at any later time
		w.tally.unknown++
		got, returned = answer{unknown: true}, math.MaxInt64
	case q.kind == read:
		w.tally.reads++
	case got.verdict.Repeated:
		w.tally.repeated++
	case q.kind == admit && !got.verdict.Admitted:
		w.tally.refused++
	}
	if got.unlogged {
		w.tally.unlogged++
	}
	w.history = append(w.history, porcupine.Operation{ClientId: client, Input: q, Output: got, Call: called, Return: returned})
}

// put asks a brain.
func (q ask) put(p *process) (got answer, err error) {
	switch q.kind {
	case admit:
		var reply actor.Reply
		a := presence.Admit{Call: q.call()}
		if reply, err = p.live.Do(p.ctx, account, actor.ClassAdmission, presence.AppendAdmit(nil, &a)); err == nil {
			got.unlogged = reply.Unlogged
			got.verdict, err = presence.ReadVerdict(reply.Data)
		}
	case release:
		var reply actor.Reply
		op := presence.AppendRelease(nil, []string{tokenName(q.token)}, presence.WhyReset)
		if reply, err = p.live.Do(p.ctx, account, actor.ClassStep, op); err == nil {
			got.released, err = presence.ReadReleased(reply.Data)
		}
	case read:
		var data []byte
		if data, err = p.live.Query(p.ctx, account, []byte(`{"what":"cac"}`)); err == nil {
			var state api.CACState
			err = json.Unmarshal(data, &state)
			for _, s := range state.Slots {
				got.held |= 1 << tokenNumber(s.Token)
			}
		}
	}
	return got, err
}

// record plays one history in a bubble of its own, where delays cost no time.
func record(t *testing.T, seed uint64, sort int, p plant) (w *world) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(seed, sort, p)
		w.play(seed)
	})
	return w
}

func check(w *world) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, thin(w.history), 3*time.Second)
}

// thin leaves out what adds nothing but work: of equal questions with an unknown end the first stands for all. It may
// take effect whenever one of the others may, and once one of them had its effect the others have none; but an
// emergency call can be admitted again after its end.
func thin(history []porcupine.Operation) []porcupine.Operation {
	seen := map[ask]bool{}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	return slices.DeleteFunc(slices.Clone(history), func(o porcupine.Operation) bool {
		if q := o.Input.(ask); o.Output.(answer).unknown && !q.emergency() {
			again := seen[q]
			seen[q] = true
			return again
		}
		return false
	})
}

// Proves that admission is linearizable: whatever the brains answered to concurrent clients is what one ledger would have
// answered, one question after the other, within the time of each. 1,000 histories by seed, of clients
// that admit, release and read a few tokens against small limits, and repeat themselves, while the journal is late, refuses,
// loses acknowledgements; in a third of them brains die without writing, in another a second brain takes over
// while the first still answers. A question without an answer may have taken effect at any later time, or never. So
// may an admission that left before the journal had it (Reply.Unlogged), where brains come and go: that is its contract.
// Where they do not, it counts like any other.
func TestAdmission_HistoriesAreLinearizable(t *testing.T) {
	var sum tally
	open := 0
	for seed := range uint64(histories) {
		w := record(t, seed, int(seed)%sorts, "")
		sum.add(w.tally)
		switch check(w) {
		case porcupine.Unknown:
			open++
		case porcupine.Illegal:
			t.Fatalf("history %d (sort %d) is no history of one ledger:\n%s", seed, seed%sorts, w.tell())
		}
	}
	if open > histories/50 {
		t.Errorf("%d histories could not be decided in time", open)
	}
	t.Logf("%d histories, %d undecided: %+v", histories, open, sum)
	for what, n := range map[string]int{"repeats": sum.repeated, "refusals": sum.refused, "unlogged answers": sum.unlogged, "unknown ends": sum.unknown,
		"reads": sum.reads, "crashes": sum.crashes, "takeovers": sum.takeovers} {
		if n < histories/10 {
			t.Errorf("only %d %s in %d histories: they prove little", n, what, histories)
		}
	}
}

// Proves that the check can fail: an append acknowledged and dropped before a crash, an owner that writes on
// after it was fenced, and one that answers without asking whether it still may are each found by some history.
func TestAdmission_HistoriesFindPlantedFaults(t *testing.T) {
	for p, sort := range map[plant]int{dropsAcknowledged: crashes, ignoresFence: takeovers, neverAsksServing: takeovers} {
		t.Run(string(p), func(t *testing.T) {
			for seed := range uint64(histories / sorts) {
				if check(record(t, seed, sort, p)) == porcupine.Illegal {
					t.Logf("found by seed %d", seed)
					return
				}
			}
			t.Errorf("no history of %d shows it", histories/sorts)
		})
	}
}

// tell lists a history that was checked.
func (w *world) tell() (out string) {
	for _, o := range w.history {
		end := fmt.Sprint(o.Return)
		if o.Return == math.MaxInt64 {
			end = "-"
		}
		out += fmt.Sprintf("%4d %4s client %d: %v -> %v\n", o.Call, end, o.ClientId, o.Input, o.Output)
	}
	return out
}
