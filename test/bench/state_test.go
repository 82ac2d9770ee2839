package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/journal"
)

// What is expected, in operations a second: one admission or one release is an operation, a call is two.
const (
	wantOneAccount   = 20_000 // durable
	wantManyAccounts = 80_000 // durable, over manyAccounts
	manyAccounts     = 1000
	stateTime        = 3 * time.Second
	roomy            = 1 << 20 // a limit that is tested and never reached
)

// The variables that name a cluster for the side "cluster": the URLs of its members, with commas between, and a file with name
// and password. Without them that side is left out.
const (
	envBus      = "SIPIO_BENCH_BUS"
	envBusCreds = "SIPIO_BENCH_BUS_CREDS"
)

var quiet = slog.New(slog.DiscardHandler)

// shardLogs is what a journal must offer here.
type shardLogs interface {
	Shard(ctx context.Context, shard int, epoch uint64, load journal.Loader) (*journal.Log, error)
}

func logsOf(j shardLogs) actor.OpenLog {
	return func(ctx context.Context, shard int, epoch uint64, snapshot func([]byte, bool) error, record func([]byte) error) (actor.Log, error) {
		l, err := j.Shard(ctx, shard, epoch, journal.Loader{
			Snapshot: snapshot,
			Record:   func(_ uint64, data []byte) error { return record(data) },
		})
		if err != nil {
			return nil, err
		}
		return l, nil
	}
}

func inMemory() *journal.Memory {
	m := journal.NewMemory()
	m.Log = quiet
	return m
}

func openBus(b *testing.B, cfg journal.Config) *journal.Bus {
	b.Helper()
	cfg.Log = quiet
	bus, err := journal.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = bus.Close() })
	return bus
}

// ownAll lets a host take every shard, as many at once as a brain does.
func ownAll(b *testing.B, h *actor.Host) *actor.Host {
	b.Helper()
	h.Log = quiet
	epoch := uint64(time.Now().UnixNano()) // a cluster keeps the epochs of the run before
	var takers sync.WaitGroup
	places := make(chan struct{}, 8)
	for n := range brain.Shards {
		takers.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := h.Acquire(b.Context(), n, epoch); err != nil {
				b.Errorf("take shard %d: %v", n, err)
			}
		})
	}
	if takers.Wait(); b.Failed() {
		b.FailNow()
	}
	return h
}

func shut(h *actor.Host) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h.Close(ctx)
}

// A cluster remembers the calls of the run before, and of the side before: no token comes twice.
var (
	started = strconv.FormatInt(time.Now().UnixMilli(), 36)
	drives  atomic.Int64
)

func accountName(i int) string { return "acc_01J8ZC" + strconv.Itoa(100_000+i) }

// officeCall is call n of a caller, in an account: five dimensions, limits that are never reached.
func officeCall(caller, n, account int) *presence.Admission {
	return newOffice(caller).call(n, account)
}

// office is what the calls of one caller share, so that making them costs little beside what is measured.
type office struct {
	prefix, user, node string
	takes              []cac.Take
}

func newOffice(caller int) *office {
	o := &office{prefix: "b2jk" + started + strconv.Itoa(100_000+caller), user: "usr_01J8ZD" + strconv.Itoa(1000+caller%500), node: "node-" + strconv.Itoa(caller%4)}
	o.takes = []cac.Take{{Kind: cac.Internal, Limit: roomy}, {Kind: cac.User, ID: o.user, Limit: roomy}, {Kind: cac.DID, ID: "did_01J8ZE000007", Limit: roomy},
		{Kind: cac.Trunk, ID: "trk_01J8ZE000001", Limit: roomy}, {Kind: cac.Node, ID: o.node, Limit: roomy}}
	return o
}

func (o *office) call(n, account int) *presence.Admission {
	id := "3848276298220188" + o.prefix + strconv.Itoa(1_000_000_000+n) + "@192.0.2.10"
	return &presence.Admission{AccountID: accountName(account), Call: presence.Admit{From: "1001", To: "1002", CallerUser: o.user, Call: cac.Call{
		Token: id[16 : len(id)-11], CallID: id, Node: o.node, AskedMS: int64(n), Takes: o.takes}}}
}

// admission is what is measured: it takes a call in and gives it back.
type admission interface {
	take(ctx context.Context, a *presence.Admission) error
	give(ctx context.Context, a *presence.Admission) error
}

// brainSide is the whole of a brain behind its endpoints.
type brainSide struct{ *actor.Presence }

func (s brainSide) take(ctx context.Context, a *presence.Admission) error {
	v, err := s.Admit(ctx, a)
	if err == nil && !v.Admitted {
		err = fmt.Errorf("refused: %+v", v)
	}
	return err
}

func (s brainSide) give(ctx context.Context, a *presence.Admission) error {
	op := presence.AppendRelease(make([]byte, 0, 64), []string{a.Call.Token}, presence.WhyAbandoned)
	_, err := s.Live.Do(ctx, a.AccountID, actor.ClassStep, op)
	return err
}

// machineSide is the machines alone: for one caller.
type machineSide map[string]*presence.Machine

func (s machineSide) apply(id string, op []byte) ([]byte, error) {
	m := s[id]
	if m == nil {
		m = presence.New(id)
		s[id] = m
	}
	reply, changed, err := m.Apply(time.Now().UnixMilli(), op)
	if err == nil && !changed {
		err = errors.New("nothing changed")
	}
	return reply, err
}

func (s machineSide) take(_ context.Context, a *presence.Admission) error {
	reply, err := s.apply(a.AccountID, presence.AppendAdmit(make([]byte, 0, 512), &a.Call))
	if err == nil {
		_, err = presence.ReadVerdict(reply)
	}
	return err
}

func (s machineSide) give(_ context.Context, a *presence.Admission) error {
	_, err := s.apply(a.AccountID, presence.AppendRelease(make([]byte, 0, 64), []string{a.Call.Token}, presence.WhyAbandoned))
	return err
}

// mapSide is the yardstick: the same counters in a map under a mutex. It forgets all when the process ends, knows no
// repeated question, and keeps nothing of the call.
type mapSide struct {
	mu   sync.Mutex
	used map[mapKey]int
}

type mapKey struct {
	account string
	kind    cac.Kind
	id      string
}

func (s *mapSide) take(_ context.Context, a *presence.Admission) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range a.Call.Takes {
		if s.used[mapKey{a.AccountID, t.Kind, t.ID}] >= t.Limit {
			return errors.New("refused")
		}
	}
	for _, t := range a.Call.Takes {
		s.used[mapKey{a.AccountID, t.Kind, t.ID}]++
	}
	return nil
}

func (s *mapSide) give(_ context.Context, a *presence.Admission) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range a.Call.Takes {
		k := mapKey{a.AccountID, t.Kind, t.ID}
		if s.used[k]--; s.used[k] == 0 {
			delete(s.used, k)
		}
	}
	return nil
}

// drive lets callers take and give back calls of the accounts for a time, each one after the other. It also
// counts the questions without an answer.
func drive(b *testing.B, s admission, callers, accounts int, during time.Duration) (round, int) {
	b.Helper()
	var all sync.WaitGroup
	first := int(drives.Add(1)) * 10_000_000
	times, failed := make([][]time.Duration, callers), make([]int, callers)
	began, cpuBefore := time.Now(), cpuTime(b)
	for i := range callers {
		all.Go(func() {
			at, o := time.Now(), newOffice(i)
			for n := first; at.Sub(began) < during; n++ {
				a := o.call(n, (i+n*callers)%accounts)
				for _, do := range []func(context.Context, *presence.Admission) error{s.take, s.give} {
					err := do(b.Context(), a)
					now := time.Now()
					switch {
					case err == nil:
						times[i] = append(times[i], now.Sub(at))
					case brain.CodeOf(err) == brain.EUnavailable:
						failed[i]++
					default:
						b.Errorf("caller %d: %v", i, err)
						return
					}
					at = now
				}
			}
		})
	}
	all.Wait()
	took, cpu := time.Since(began), cpuTime(b)-cpuBefore
	ops := slices.Concat(times...)
	slices.Sort(ops)
	if len(ops) == 0 {
		b.Fatal("nothing was answered")
	}
	without := 0
	for _, n := range failed {
		without += n
	}
	return round{float64(len(ops)) / took.Seconds(), cpu * 2 / time.Duration(len(ops)), ops[len(ops)/2], ops[len(ops)*99/100]}, without
}

// compareState measures a side beside the yardstick, with the same callers. cpu of a round is that of a call here.
func compareState(b *testing.B, make func() admission, callers, accounts int, want float64) {
	b.Helper()
	yard, _ := drive(b, &mapSide{used: map[mapKey]int{}}, callers, accounts, stateTime/3)
	s := make()
	if p, ok := s.(brainSide); ok {
		defer shut(p.Live.Host)
	}
	drive(b, s, callers, accounts, stateTime/6) // warm
	r, failed := drive(b, s, callers, accounts, stateTime)
	ratio := float64(r.cpu) / float64(yard.cpu)
	b.ReportMetric(r.perSecond, "ops/s")
	b.ReportMetric(r.perSecond/2, "calls/s")
	b.ReportMetric(float64(r.p50.Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(r.p99.Nanoseconds())/1000, "p99-µs")
	b.ReportMetric(float64(r.cpu.Nanoseconds())/1000, "cpu-µs/call")
	b.ReportMetric(float64(yard.cpu.Nanoseconds())/1000, "map-cpu-µs/call")
	b.ReportMetric(ratio, "x-map")
	if p, ok := s.(brainSide); ok {
		b.ReportMetric(float64(p.Counts()["admissions_unlogged"]), "unlogged")
		b.ReportMetric(float64(failed), "unanswered")
	}
	if r.perSecond < want {
		b.Errorf("%.0f operations a second, %.0f are expected; p50 %v, p99 %v, processor time of a call %v, %.1f times that of the map",
			r.perSecond, want, r.p50, r.p99, r.cpu, ratio)
	}
}

// BenchmarkState measures admission and release: how many in a second and how long each takes, for one account and
// over many; by the machines alone, by the whole brain with a journal in memory, with the embedded one that syncs every
// write, and with a cluster where envBus names one. An operation is one admission or one release. x-map is the
// processor time of a call in units of that of a map under a mutex, measured just before; unlogged counts the admissions
// that left before the journal had them, unanswered the questions given up. Below what is expected it fails.
//
//	go test -run '^$' -bench State ./test/bench/
func BenchmarkState(b *testing.B) {
	run := func(name string, callers, accounts int, want float64, make func(b *testing.B) admission) {
		b.Run(fmt.Sprintf("%s/accounts=%d/callers=%d", name, accounts, callers), func(b *testing.B) {
			for b.Loop() { // takes long enough for one pass
				compareState(b, func() admission { return make(b) }, callers, accounts, want)
			}
		})
	}
	brainOn := func(open func(b *testing.B) shardLogs) func(b *testing.B) admission {
		return func(b *testing.B) admission {
			h := ownAll(b, actor.NewHost(logsOf(open(b))))
			return brainSide{&actor.Presence{Live: &actor.Live{Host: h}}}
		}
	}
	for _, accounts := range []int{1, manyAccounts} {
		run("machine", 1, accounts, 0, func(*testing.B) admission { return machineSide{} })
		want, most := float64(wantOneAccount), actor.MailboxSize // more callers than that would be refused
		if accounts > 1 {
			want, most = wantManyAccounts, 4096 // as many as it takes to fill the messages of 64 shards
		}
		for _, callers := range []int{64, most} {
			run("memory", callers, accounts, 0, brainOn(func(*testing.B) shardLogs { return inMemory() }))
			floor := want
			if callers == 64 && accounts > 1 {
				floor = 0 // one caller a shard: told, not judged
			}
			run("embedded", callers, accounts, floor, brainOn(func(b *testing.B) shardLogs { return openBus(b, journal.Config{Dir: b.TempDir()}) }))
			if urls := os.Getenv(envBus); urls != "" {
				run("cluster", callers, accounts, 0, brainOn(func(b *testing.B) shardLogs {
					return openBus(b, journal.Config{URLs: strings.Split(urls, ","), CredsFile: os.Getenv(envBusCreds)})
				}))
			}
		}
	}
}
