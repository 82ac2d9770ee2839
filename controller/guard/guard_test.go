package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// live is the real machine without a journal.
type live struct {
	mu   sync.Mutex
	m    *guard.Machine
	fail error
	ops  []string
}

func (l *live) Do(_ context.Context, op *guard.Op) (guard.Reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return guard.Reply{}, l.fail
	}
	l.ops = append(l.ops, op.Kind)
	data, _, err := l.m.Apply(time.Now().UnixMilli(), guard.AppendOp(nil, op))
	if err != nil {
		return guard.Reply{}, brain.Errorf(brain.EInvalid, "%s", err)
	}
	return guard.ReadReply(data)
}

func (l *live) ask(question []byte, into any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	data, err := l.m.Query(time.Now().UnixMilli(), question)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func (l *live) Bans(_ context.Context, q guard.Question) (list api.BanList, err error) {
	q.What = guard.AskBans
	text, _ := json.Marshal(&q)
	return list, l.ask(text, &list)
}

func (l *live) Allowed(context.Context) (list guard.Allowances, err error) {
	text, _ := json.Marshal(&guard.Question{What: guard.AskAllow})
	return list, l.ask(text, &list)
}

func (l *live) Compare(_ context.Context, node string, active []api.ActiveBan) (c guard.Compared, err error) {
	return c, l.ask(guard.AppendListed(nil, node, active), &c)
}

// directory is a configuration of a few nodes and trunks.
type directory struct {
	brain.Directory
	version int64
	nodes   []*brain.Node
	sources []string
	trunks  []*brain.SIPTrunk
}

func (d *directory) Version() int64         { return d.version }
func (d *directory) Nodes() []*brain.Node   { return d.nodes }
func (d *directory) TrunkSources() []string { return d.sources }

// edge is the nodes: it notes what each is told; silent ones do not answer.
type edge struct {
	mu     sync.Mutex
	told   map[string][]api.GuardOrder
	silent map[string]bool
}

func (e *edge) Push(ctx context.Context, n *brain.Node, op api.Op) (api.OpReply, error) {
	e.mu.Lock()
	silent := e.silent[n.Name]
	e.mu.Unlock()
	if silent {
		<-ctx.Done()
		return api.OpReply{}, brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, ctx.Err())
	}
	if op.Kind != api.OpBan || op.Guard == nil || op.ID == "" {
		return api.OpReply{ID: op.ID, Error: "not an order of the guard"}, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told[n.Name] = append(e.told[n.Name], *op.Guard)
	return api.OpReply{ID: op.ID, OK: true}, nil
}

func (e *edge) of(node string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var words []string
	for _, o := range e.told[node] {
		words = append(words, o.Action+" "+o.Addr)
	}
	return strings.Join(words, ", ")
}

type bench struct {
	*Guard
	live *live
	edge *edge
	dir  *directory
}

func newBench() *bench {
	b := &bench{live: &live{m: guard.New()}, edge: &edge{told: map[string][]api.GuardOrder{}, silent: map[string]bool{}}, dir: &directory{version: 1}}
	for _, name := range []string{"edge1", "edge2", "edge3"} {
		b.dir.nodes = append(b.dir.nodes, &brain.Node{Name: name, AgentURL: "http://127.0.0.1:1", SIPAddresses: []string{"203.0.113." + name[4:] + ":5060"}})
	}
	b.dir.sources = []string{"198.51.100.0/24"}
	b.dir.trunks = []*brain.SIPTrunk{{Proxy: "[2001:db8:9::1]:5060"}, {Proxy: "sip.carrier.test"}}
	b.Guard = New(b.live, b.edge, func() brain.Directory { return b.dir }, func(brain.Directory) []*brain.SIPTrunk { return b.dir.trunks }, slog.New(slog.DiscardHandler))
	b.Operators = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	return b
}

func offence(tier, kind, addr string) api.Offence {
	return api.Offence{Addr: addr, Tier: tier, Kind: kind, Count: 1, TimeMS: time.Now().UnixMilli(), UntilMS: time.Now().UnixMilli() + 60_000}
}

func (b *bench) tells(t *testing.T, r api.GuardReport) api.GuardReply {
	t.Helper()
	if r.Node == "" {
		r.Node = "edge1"
	}
	reply, err := b.Report(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func words(orders []api.GuardOrder) string {
	list := make([]string, len(orders))
	for i, o := range orders {
		list[i] = o.Action + " " + o.Addr
	}
	return strings.Join(list, ", ")
}

// An offence at one node becomes a ban at all; what the configuration protects is lifted where it was caught.
func TestReport_TellsTheOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		got := b.tells(t, api.GuardReport{Offences: []api.Offence{
			offence(api.TierUA, api.OffenceScanner, "192.0.2.1"), offence(api.TierNft, api.OffenceFlood, "198.51.100.9"), offence(api.TierNft, api.OffenceFlood, "203.0.113.2"),
			offence(api.TierNft, api.OffenceFlood, "10.1.1.1"), offence(api.TierNft, api.OffenceFlood, "2001:db8:9::7"), offence(api.TierNft, api.OffenceFlood, "127.0.0.1"),
			offence(api.TierNft, api.OffenceFlood, "nonsense"), offence(api.TierScore, api.OffenceAuthFail, "2001:db8::1")}})
		synctest.Wait()
		if w := words(got.Orders); w != "ban 192.0.2.1, lift 198.51.100.9, lift 203.0.113.2, lift 10.1.1.1, lift 2001:db8:9::/64, ban 2001:db8::/64" {
			t.Errorf("edge1: %s", w)
		}
		for _, node := range []string{"edge2", "edge3"} {
			if w := b.edge.of(node); w != "ban 192.0.2.1, ban 2001:db8::/64" {
				t.Errorf("%s: %s", node, w)
			}
		}
		if b.edge.of("edge1") != "" {
			t.Error("edge1 was told twice")
		}
	})
}

// A lift says of each node whether it has confirmed, after two seconds at the latest; the silent node is put right by its next report.
func TestLift_SaysWhichNodesHaveConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.tells(t, api.GuardReport{Offences: []api.Offence{offence(api.TierUA, api.OffenceScanner, "192.0.2.1")}})
		synctest.Wait()
		b.edge.mu.Lock()
		b.edge.silent["edge2"] = true
		b.edge.mu.Unlock()
		began := time.Now()
		reply, err := b.Lift(t.Context(), "anna", "192.0.2.1")
		if err != nil || time.Since(began) > confirmTime {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
		var said []string
		for _, n := range reply.Nodes {
			said = append(said, fmt.Sprint(n.Node, n.OK, n.Error != ""))
		}
		if !slices.Equal(said, []string{"edge1true false", "edge2false true", "edge3true false"}) || reply.Ban == nil {
			t.Errorf("%v, %+v", said, reply.Ban)
		}
		got := b.tells(t, api.GuardReport{Node: "edge2", Complete: true, Active: []api.ActiveBan{{Addr: "192.0.2.1", Tier: api.TierUA, UntilMS: time.Now().UnixMilli() + 3_000_000}}})
		if words(got.Orders) != "lift 192.0.2.1" || got.Orders[0].GraceSec == 0 {
			t.Errorf("edge2 is told %+v", got.Orders)
		}
	})
}

// A complete report is corrected: what is missing is ordered, what is not known here is taken over, with its packets.
func TestReport_CompleteIsCorrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.tells(t, api.GuardReport{Offences: []api.Offence{offence(api.TierUA, api.OffenceScanner, "192.0.2.1")}})
		until := time.Now().UnixMilli() + 3_000_000
		got := b.tells(t, api.GuardReport{Node: "edge2", Complete: true, Active: []api.ActiveBan{{Addr: "192.0.2.2", Tier: api.TierNft, UntilMS: until, Packets: 77}, {Addr: "198.51.100.1", Tier: api.TierNft, UntilMS: until},
			{Addr: "192.0.2.3", Tier: api.TierOperator, UntilMS: until}}})
		if w := words(got.Orders); w != "ban 192.0.2.1, ban 192.0.2.2, lift 198.51.100.1, lift 192.0.2.3" {
			t.Errorf("edge2: %s", w)
		}
		list, err := b.List(t.Context(), guard.Question{Addr: "192.0.2.2"})
		if err != nil || len(list.Bans) != 1 || len(list.Bans[0].Nodes) != 1 || list.Bans[0].Nodes[0].Packets != 77 {
			t.Errorf("%+v, %v", list, err)
		}
		if list, _ := b.List(t.Context(), guard.Question{Addr: "10.9.9.9"}); list.About.Protected != "network of operators 10.0.0.0/8" {
			t.Errorf("%+v", list.About)
		}
		synctest.Wait()
	})
}

// The version rises with the content, and only then: trunks, nodes, operators, the allow list.
func TestPolicy_RisesWithItsContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		first := b.tells(t, api.GuardReport{}).Policy
		if first == nil || first.Version == 0 || !slices.Equal(first.Protected, []string{"10.0.0.0/8", "198.51.100.0/24", "2001:db8:9::1/128", "203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32"}) || len(first.Signatures) < 40 {
			t.Fatalf("%+v", first)
		}
		version := first.Version
		same := func(what string) {
			t.Helper()
			if p := b.tells(t, api.GuardReport{PolicyVersion: version}).Policy; p != nil {
				t.Errorf("%s: another policy, %d", what, p.Version)
			}
		}
		changed := func(what, has string) {
			t.Helper()
			p := b.tells(t, api.GuardReport{PolicyVersion: version, Complete: true}).Policy
			if p == nil || p.Version <= version || !slices.Contains(p.Protected, has) {
				t.Fatalf("%s: %+v", what, p)
			}
			version = p.Version
		}
		same("nothing has changed")
		b.dir.version++
		same("something else of the configuration has changed")
		b.dir.version, b.dir.sources = b.dir.version+1, append(b.dir.sources, "192.0.2.128/25")
		changed("a trunk", "192.0.2.128/25")
		if _, _, err := b.Allow(t.Context(), "anna", &api.AllowRequest{Net: "172.16.0.0/12", ForSec: 60}); err != nil {
			t.Fatal(err)
		}
		changed("the allow list", "172.16.0.0/12")
		time.Sleep(time.Minute)
		if p := b.tells(t, api.GuardReport{PolicyVersion: version, Offences: []api.Offence{offence(api.TierUA, api.OffenceScanner, "192.0.2.1")}}).Policy; p == nil || slices.Contains(p.Protected, "172.16.0.0/12") {
			t.Errorf("the entry has ended: %+v", p)
		}
		synctest.Wait()
	})
}

// Who becomes protected is lifted within a second or so: by the configuration, and by the allow list.
func TestRun_LiftsWhoBecomesProtected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		ctx, stop := context.WithCancel(t.Context())
		go b.Run(ctx)
		b.tells(t, api.GuardReport{Offences: []api.Offence{offence(api.TierUA, api.OffenceScanner, "192.0.2.1"), offence(api.TierUA, api.OffenceScanner, "192.0.2.129")}})
		next := *b.dir
		next.version, next.sources = 2, []string{"198.51.100.0/24", "192.0.2.1/32"}
		b.mu.Lock()
		*b.dir = next
		b.mu.Unlock()
		time.Sleep(2 * watchEvery)
		synctest.Wait()
		list, err := b.List(t.Context(), guard.Question{Limit: 10})
		if err != nil || len(list.Bans) != 1 || list.Bans[0].Addr != "192.0.2.129" {
			t.Errorf("%+v, %v", list, err)
		}
		if w := b.edge.of("edge1"); w != "lift 192.0.2.1" {
			t.Errorf("edge1: %s", w)
		}
		done, refused, err := b.Allow(t.Context(), "anna", &api.AllowRequest{Net: "192.0.2.128/25"})
		if err != nil || refused != "" || !slices.Equal(done.Lifted, []string{"192.0.2.129"}) {
			t.Errorf("%+v, %q, %v", done, refused, err)
		}
		stop()
		synctest.Wait()
	})
}

// A node that does not answer costs the others nothing, and itself the orders that wait: no queue grows, and nothing is tried for ever.
func TestShare_OneSilentNodeHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.edge.silent["edge2"] = true
		for i := range 5 {
			r := api.GuardReport{}
			for j := range api.MaxGuardOffences {
				r.Offences = append(r.Offences, offence(api.TierPike, api.OffenceRequests, fmt.Sprintf("172.16.%d.%d", i*4+j>>8, j&255)))
			}
			b.tells(t, r)
			b.out.mu.Lock()
			if n := len(b.out.queues["edge2"]); n > maxQueued {
				t.Errorf("%d orders wait", n)
			}
			b.out.mu.Unlock()
		}
		time.Sleep(2 * pushTime)
		synctest.Wait()
		b.out.mu.Lock()
		defer b.out.mu.Unlock()
		if len(b.out.queues) != 0 {
			t.Errorf("orders still wait: %d", len(b.out.queues))
		}
	})
}

// Proves that a fault of the live object reaches whoever asked as what it is: to be asked again.
func TestGuard_FailsWhenNobodyDecides(t *testing.T) {
	b := newBench()
	b.live.fail = brain.Errorf(brain.EUnavailable, "no owner")
	if _, err := b.Report(t.Context(), &api.GuardReport{Node: "edge1"}); brain.CodeOf(err) != brain.EUnavailable {
		t.Error(err)
	}
	if _, err := b.Lift(t.Context(), "anna", "192.0.2.1"); brain.CodeOf(err) != brain.EUnavailable {
		t.Error(err)
	}
}

// unlisted is a live object that does what it is told, and cannot be asked.
type unlisted struct{ *live }

func (unlisted) Allowed(context.Context) (guard.Allowances, error) {
	return guard.Allowances{}, brain.Errorf(brain.EUnavailable, "no owner")
}

// Proves that a change of the allow list is told as done also when nobody can list what is on it now.
func TestAllow_IsDoneThoughNobodyCanListIt(t *testing.T) {
	b := newBench()
	b.Bans = unlisted{b.live}
	if _, refused, err := b.Allow(t.Context(), "anna", &api.AllowRequest{Net: "192.0.2.0/24"}); refused != "" || err != nil {
		t.Error(refused, err)
	}
	if _, found, err := b.Disallow(t.Context(), "anna", "192.0.2.0/24"); !found || err != nil {
		t.Error(found, err)
	}
}

// Proves which spellings of an address in the configuration are protected; a name is not.
func TestHostOf(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "192.0.2.1:5060": "192.0.2.1/32", "[2001:db8::1]:5061": "2001:db8::1/128", "2001:db8::1": "2001:db8::1/128", "[2001:db8::1]": "2001:db8::1/128",
		"sip.carrier.test": "", "sip.carrier.test:5060": "", "": ""} {
		if got := hostOf(text); got.IsValid() != (want != "") || want != "" && got.String() != want {
			t.Errorf("%q: %s, want %q", text, got, want)
		}
	}
}
