package state

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/controller/actor"
)

// What the callers do and what they may.
const (
	callers        = 64
	accounts       = 4
	wantHeld       = 4  // calls a caller holds on average
	asksPerMS      = 16 // admissions asked in a millisecond of the test's clock
	internalLimit  = 58
	userLimit      = 3
	didLimit       = 9
	trunkLimit     = 17
	nodeLimit      = 21
	smallNode      = "node3"
	smallNodeLimit = 52 // over all accounts
)

// window is the call_limit of each account.
var window = cac.Window{Kind: cac.Limit, ID: "lim_1", Max: 72, PeriodMS: 25, Hard: true}

// live is the part of actor.Presence that is tried.
type live interface {
	Admit(ctx context.Context, a *presence.Admission) (cac.Verdict, error)
	Deliver(ctx context.Context, dir brain.Directory, batch api.EventBatch) (api.EventReply, error)
	Reset(ctx context.Context, accountID string, tokens []string) (int, error)
	CAC(ctx context.Context, accountID string) (api.CACState, error)
}

// trial is one run of all callers.
type trial struct {
	live   live
	dir    nodes
	books  *books
	target int64 // admissions and releases together

	asked, done, refused, byWindow, doubtful atomic.Int64
}

// heldCall is a call that a caller has in.
type heldCall struct {
	account, token, node string
	places               []*place
}

func newTrial(l live, target int64) *trial {
	r := &trial{live: l, dir: nodes{smallNode: smallNodeLimit}, books: newBooks(), target: target}
	for n := range accounts {
		for i := range 60 { // more than there are values: makes every place
			a := r.admission(n, "", []int{i, i, i, i})
			for _, t := range a.Call.Takes {
				r.books.limit(a.AccountID, t)
			}
		}
	}
	r.books.limit(nodeObject, smallTake)
	return r
}

const nodeObject = "node/" + smallNode

var smallTake = cac.Take{Kind: cac.Node, ID: smallNode, Limit: smallNodeLimit}

// admission is a call of an account; pick chooses its user, number, trunk and node.
func (r *trial) admission(account int, token string, pick []int) *presence.Admission {
	node := fmt.Sprint("node", pick[3]%4)
	a := &presence.Admission{AccountID: fmt.Sprint("acc_", account), NodeCapacity: r.dir[node]}
	a.Call.Call = cac.Call{Token: token, CallID: "c-" + token, Node: node, AskedMS: 1, Windows: []cac.Window{window}, Takes: []cac.Take{
		{Kind: cac.Internal, Limit: internalLimit},
		{Kind: cac.User, ID: fmt.Sprint("us_", pick[0]%30), Limit: userLimit},
		{Kind: cac.DID, ID: fmt.Sprint("did_", pick[1]%9), Limit: didLimit},
		{Kind: cac.Trunk, ID: fmt.Sprint("trk_", pick[2]%4), Limit: trunkLimit},
		{Kind: cac.Node, ID: node, Limit: nodeLimit},
	}}
	return a
}

// clock goes on with the work, so that windows mean the same on every machine.
func (r *trial) clock() time.Time {
	return time.UnixMilli(1_800_000_000_000 + r.asked.Load()/asksPerMS)
}

// run lets the callers work until the target is reached and returns what they still hold.
func (r *trial) run(ctx context.Context) []heldCall {
	var all sync.WaitGroup
	held := make([][]heldCall, callers)
	for i := range callers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for n := 0; r.done.Load() < r.target; n++ {
				if rng.IntN(2*wantHeld) >= len(held[i]) {
					pick := []int{rng.IntN(30), rng.IntN(9), rng.IntN(4), rng.IntN(4)}
					a := r.admission(rng.IntN(accounts), fmt.Sprintf("t%d-%d", i, n), pick)
					if c, in := r.admit(ctx, a); in {
						held[i] = append(held[i], c)
					}
					continue
				}
				at := rng.IntN(len(held[i]))
				r.end(ctx, held[i][at], rng.IntN(4))
				held[i] = slices.Delete(held[i], at, at+1)
			}
		})
	}
	all.Wait()
	return slices.Concat(held...)
}

// admit asks for one call and writes the answer into the books.
func (r *trial) admit(ctx context.Context, a *presence.Admission) (heldCall, bool) {
	c := heldCall{account: a.AccountID, token: a.Call.Token, node: a.Call.Node}
	for _, t := range a.Call.Takes {
		c.places = append(c.places, r.books.places[takeKey{a.AccountID, t.Kind, t.ID}])
	}
	if a.NodeCapacity > 0 {
		c.places = append(c.places, r.books.places[takeKey{nodeObject, cac.Node, smallNode}])
	}
	sight := r.books.ask(c.places)
	r.asked.Add(1)
	from := r.clock().UnixMilli()
	v, err := r.live.Admit(ctx, a)
	at := span{from, r.clock().UnixMilli()}
	switch {
	case err != nil: // it may be in: end it
		r.doubtful.Add(1)
		r.tell(ctx, c, api.EventDialogFailed)
		r.books.gone(c.places)
		return c, false
	case v.Admitted:
		r.books.in(c.places)
		r.books.admission(a.AccountID, at)
		r.done.Add(1)
		return c, true
	}
	r.refused.Add(1)
	r.judge(a, c.places, sight, v)
	r.books.gone(c.places)
	return c, false
}

// judge holds a refusal against the books.
func (r *trial) judge(a *presence.Admission, places []*place, sight []int64, v cac.Verdict) {
	if v.Kind == cac.Limit {
		r.byWindow.Add(1)
		if v.ID != window.ID || v.Limit != window.Max || v.Used < v.Limit || v.RetryMS < 1 || v.RetryMS > window.PeriodMS {
			r.books.faults.add("%s: a window refuses with %+v", a.Call.Token, v)
		}
		return
	}
	for i, p := range places {
		own := i < len(a.Call.Takes) && a.Call.Takes[i].Kind == v.Kind && a.Call.Takes[i].ID == v.ID && a.Call.Takes[i].Limit == v.Limit
		if own || i == len(a.Call.Takes) && v.Kind == cac.Node && v.Limit == smallNodeLimit {
			r.books.refused(p, sight[i], v)
			return
		}
	}
	r.books.faults.add("%s: refused with %+v, which is nothing that it takes", a.Call.Token, v)
}

// end gives a call back: mostly by the end of its dialog, as the edge tells it, now and then by hand.
func (r *trial) end(ctx context.Context, c heldCall, way int) {
	r.books.leave(c.places)
	if way == 0 && c.node != smallNode { // a reset by hand leaves the node's own counter to the next report
		for deadline := time.Now().Add(30 * time.Second); ; {
			if _, err := r.live.Reset(ctx, c.account, []string{c.token}); err == nil {
				break
			} else if time.Now().After(deadline) {
				r.books.faults.add("reset %s: %v", c.token, err)
				break
			}
		}
	} else {
		r.tell(ctx, c, api.EventDialogEnd)
	}
	r.books.gone(c.places)
	r.done.Add(1)
}

// tell delivers an event until it is taken, as a node agent does.
func (r *trial) tell(ctx context.Context, c heldCall, event string) {
	batch := api.EventBatch{Node: c.node, Boot: "b", Events: []api.Event{{
		Seq: 1, TimeMS: r.clock().UnixMilli(), Type: event, AccountID: c.account, CallID: "c-" + c.token, Token: c.token}}}
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, err := r.live.Deliver(ctx, r.dir, batch)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.books.faults.add("deliver the end of %s: %v", c.token, err)
			return
		}
	}
}

// compare holds the brain's slots, and the use of every dimension, against what the callers hold.
func (r *trial) compare(ctx context.Context, when string, held []heldCall) {
	for n := range accounts {
		account := fmt.Sprint("acc_", n)
		want := map[string]bool{}
		for _, c := range held {
			if c.account == account {
				want[c.token] = true
			}
		}
		r.compareOne(ctx, when, account, want)
	}
	want := map[string]bool{}
	for _, c := range held {
		if c.node == smallNode {
			want[c.token] = true
		}
	}
	r.compareOne(ctx, when, nodeObject, want)
}

func (r *trial) compareOne(ctx context.Context, when, object string, want map[string]bool) {
	state, err := r.live.CAC(ctx, object)
	if err != nil {
		r.books.faults.add("%s: %s: %v", when, object, err)
		return
	}
	for _, s := range state.Slots {
		if !want[s.Token] {
			r.books.faults.add("%s: %s has leaked the slot of %s", when, object, s.Token)
		}
		delete(want, s.Token)
	}
	for _, token := range slices.Sorted(maps.Keys(want)) {
		r.books.faults.add("%s: %s has lost %s", when, object, token)
	}
	used := map[takeKey]int64{}
	for _, u := range state.Usage {
		used[takeKey{object, cac.KindOf(u.Dimension), u.ID}] = int64(u.Used)
	}
	for k, p := range r.books.places {
		if k.object == object && used[k] != p.sure.Load() {
			r.books.faults.add("%s: %s: the brain counts %d, the callers hold %d", when, p.name, used[k], p.sure.Load())
		}
	}
}

// refusals says how often each dimension refused.
func (r *trial) refusals() map[string]int64 {
	by := map[string]int64{"window": r.byWindow.Load()}
	for k, p := range r.books.places {
		kind := k.kind.String()
		if k.object == nodeObject {
			kind = "capacity"
		}
		by[kind] += p.refusals.Load()
	}
	return by
}

// report turns what was found into failures.
func (r *trial) report(t *testing.T) {
	t.Helper()
	for _, text := range r.books.faults.texts {
		t.Error(text)
	}
	if n := r.books.faults.total; len(n) > 0 {
		t.Errorf("in all: %v", n)
	}
	by := r.refusals()
	for _, dimension := range []string{"internal", "user", "did", "trunk", "node", "capacity", "window"} {
		if by[dimension] == 0 {
			t.Errorf("no refusal by %s: it was not tried", dimension)
		}
	}
}

// million runs a trial against a journal: the callers work, then the brain is started anew over what they hold,
// then they let go.
func million(t *testing.T, j shardLogs, target int64, snapshotEvery int) {
	t.Helper()
	r := newTrial(nil, target)
	h := owner(t, j, 1, r.clock, snapshotEvery)
	p := &actor.Presence{Live: &actor.Live{Host: h}}
	r.live = p
	began := time.Now()
	held := r.run(t.Context())
	took := time.Since(began)
	r.compare(t.Context(), "after the run", held)
	shut(h)
	h = owner(t, j, 2, r.clock, snapshotEvery)
	defer shut(h)
	r.live = &actor.Presence{Live: &actor.Live{Host: h}}
	r.compare(t.Context(), "after the restart", held)
	for i, c := range held {
		r.end(t.Context(), c, i%4)
	}
	r.compare(t.Context(), "at the end", nil)
	r.books.judgeWindows(window)
	r.report(t)
	t.Logf("%d admissions and releases in %.1f s (%.0f/s); %d refused %v; %d without an answer; %d left before the journal had them",
		r.done.Load(), took.Seconds(), float64(r.done.Load())/took.Seconds(), r.refused.Load(), r.refusals(), r.doubtful.Load(), p.Counts()["admissions_unlogged"])
}

// Proves that no limit is ever exceeded and no slot leaks: 64 callers make a million admissions and releases against
// limits of an account, its users, numbers, trunks, nodes, a call_limit and a node over all accounts. Each
// caller books what it was told, outside: never more calls are in than allowed; every refusal names a dimension that was
// full, as far as can be told from outside; the brain's books are those of the callers before and after a restart,
// and empty at the end.
func TestAdmission_AMillionExceedNothingAndLeakNothing(t *testing.T) {
	million(t, inMemory(), 1_000_000, 50_000) // a snapshot of so many ended calls takes longer than a thousand admissions
}

// Proves the same over the journal on disk, each write synced.
func TestAdmission_DurableExceedsNothingAndLeaksNothing(t *testing.T) {
	million(t, embedded(t), 100_000, 0)
}

// saboteur is a Presence with a planted fault.
type saboteur struct {
	*actor.Presence
	fault string
	n     atomic.Int64
}

func (s *saboteur) Admit(ctx context.Context, a *presence.Admission) (cac.Verdict, error) {
	switch s.fault {
	case "one more than allowed":
		for i := range a.Call.Takes {
			a.Call.Takes[i].Limit++
		}
		a.NodeCapacity += min(a.NodeCapacity, 1)
	case "window forgotten":
		a.Call.Windows = nil
	}
	v, err := s.Presence.Admit(ctx, a)
	if s.fault == "one more than allowed" && v.Limit > 0 && v.Kind != cac.Limit {
		v.Limit--
		a.NodeCapacity -= min(a.NodeCapacity, 1)
		for i := range a.Call.Takes {
			a.Call.Takes[i].Limit--
		}
	}
	if s.fault == "another dimension named" && v.Kind == cac.User {
		v.Kind, v.ID, v.Limit, v.Used = cac.Trunk, a.Call.Takes[3].ID, a.Call.Takes[3].Limit, a.Call.Takes[3].Limit
	}
	return v, err
}

func (s *saboteur) Deliver(ctx context.Context, dir brain.Directory, batch api.EventBatch) (api.EventReply, error) {
	if s.fault == "end forgotten" && s.n.Add(1)%500 == 0 {
		return api.EventReply{}, nil
	}
	return s.Presence.Deliver(ctx, dir, batch)
}

// Proves that the books of these tests find what they look for: one place too many, a forgotten end, a window that
// is not looked at, a refusal that names another dimension than the full one.
func TestAdmission_BooksFindPlantedFaults(t *testing.T) {
	for fault, want := range map[string]string{"": "", "one more than allowed": "are allowed", "end forgotten": "has leaked",
		"window forgotten": "admissions in", "another dimension named": "could be in"} {
		t.Run(fault, func(t *testing.T) {
			r := newTrial(nil, 40_000)
			h := owner(t, inMemory(), 1, r.clock, 0)
			defer shut(h)
			r.live = &saboteur{Presence: &actor.Presence{Live: &actor.Live{Host: h}}, fault: fault}
			held := r.run(t.Context())
			r.compare(t.Context(), "after the run", held)
			r.books.judgeWindows(window)
			found := strings.Join(r.books.faults.texts, "\n")
			if !strings.Contains(found, want) || want == "" && found != "" {
				t.Errorf("found %q, not %q", found, want)
			}
		})
	}
}
