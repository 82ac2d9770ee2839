package guard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// node is a kernel, a Kamailio and a brain that note what they are told.
type node struct {
	mu      sync.Mutex
	kernel  map[netip.Prefix]Ban
	known   []netip.Prefix
	nets    []netip.Prefix
	caught  []netip.Prefix
	grace   map[netip.Prefix]time.Duration
	tables  map[string]map[string]string
	down    bool   // Kamailio
	gone    bool   // the table in the kernel
	made    int    // how often it was made again
	ended   string // a key that tables list though it is over
	asked   func(method, table, key string) error
	reports []api.GuardReport
	reply   api.GuardReply
	away    bool // the brain
	shields []string

	conns    map[netip.Prefix]int
	connErr  error
	refused  string // by the last Refuse
	closed   map[netip.Prefix]int
	closeErr error
}

func newNode() *node {
	return &node{kernel: map[netip.Prefix]Ban{}, grace: map[netip.Prefix]time.Duration{}, tables: map[string]map[string]string{}}
}

func (n *node) lock() func() { n.mu.Lock(); return n.mu.Unlock }

func (n *node) Remake() error {
	defer n.lock()()
	n.gone, n.made, n.kernel, n.known, n.nets = false, n.made+1, map[netip.Prefix]Ban{}, nil, nil
	return nil
}

// over has Kamailio list a key that is over.
func (n *node) over(key string) {
	defer n.lock()()
	n.ended = key
}

// hook has f asked before Kamailio changes anything; its error is Kamailio's.
func (n *node) hook(f func(method, table, key string) error) {
	defer n.lock()()
	n.asked = f
}

// there is the error of a table that somebody has removed.
func (n *node) there() error {
	if n.gone {
		return fmt.Errorf("netlink: %w", syscall.ENOENT)
	}
	return nil
}

func (n *node) Ban(bans []Ban) error {
	defer n.lock()()
	if err := n.there(); err != nil {
		return err
	}
	for _, b := range bans {
		n.kernel[b.Addr] = b
	}
	return nil
}

func (n *node) Lift(addr netip.Prefix, grace time.Duration) error {
	defer n.lock()()
	delete(n.kernel, addr)
	n.grace[addr] = grace
	return nil
}

func (n *node) Known(addrs []netip.Prefix) error {
	defer n.lock()()
	n.known = append(n.known, addrs...)
	return n.there()
}

func (n *node) Protect(nets []netip.Prefix) error {
	defer n.lock()()
	n.nets = nets
	return n.there()
}

func (n *node) List() ([]Ban, error) {
	defer n.lock()()
	if err := n.there(); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Values(n.kernel)), nil
}

func (n *node) Caught() ([]netip.Prefix, error) {
	defer n.lock()()
	list := n.caught
	n.caught = nil
	return list, n.there()
}

var errDown = errors.New("Kamailio is down")

func (n *node) change(method, table, key string, value *string) error {
	n.mu.Lock()
	asked := n.asked
	n.mu.Unlock()
	if asked != nil {
		if err := asked(method, table, key); err != nil {
			return err
		}
	}
	defer n.lock()()
	if n.down {
		return errDown
	}
	if n.tables[table] == nil {
		n.tables[table] = map[string]string{}
	}
	if delete(n.tables[table], key); value != nil {
		n.tables[table][key] = *value
	}
	return nil
}

func (n *node) TableSet(_ context.Context, table, key, value string, life time.Duration) error {
	if life > 0 {
		value += " " + life.Round(time.Second).String()
	}
	return n.change("set", table, key, &value)
}

func (n *node) TableSetInt(_ context.Context, table, key string, value int) error {
	text := fmt.Sprint(value)
	return n.change("set", table, key, &text)
}

func (n *node) TableDelete(_ context.Context, table, key string) error {
	return n.change("delete", table, key, nil)
}

func (n *node) TableHas(_ context.Context, table, key string) (bool, error) {
	defer n.lock()()
	_, ok := n.tables[table][key]
	if n.down {
		return false, errDown
	}
	return ok && key != n.ended, nil
}

func (n *node) TableDump(_ context.Context, table string) (map[string]string, error) {
	defer n.lock()()
	tiers := map[string]string{}
	for addr, tier := range n.tables[table] {
		fmt.Sscan(tier, &tier)
		tiers[addr] = tier
	}
	return tiers, nil
}

func (n *node) post(_ context.Context, r api.GuardReport) (api.GuardReply, error) {
	defer n.lock()()
	if n.away {
		return api.GuardReply{}, errors.New("nobody answers")
	}
	n.reports = append(n.reports, r)
	reply := n.reply
	n.reply = api.GuardReply{}
	return reply, nil
}

func (n *node) protect(_ context.Context, nets []string) error {
	defer n.lock()()
	n.shields = nets
	return nil
}

// get is one entry of a table of Kamailio, "" for none.
func (n *node) get(table, key string) string {
	defer n.lock()()
	return n.tables[table][key]
}

func (n *node) last() api.GuardReport {
	defer n.lock()()
	if len(n.reports) == 0 {
		return api.GuardReport{}
	}
	return n.reports[len(n.reports)-1]
}

func unit(addr netip.Addr) netip.Prefix {
	if addr.Is4() {
		return netip.PrefixFrom(addr, 32)
	}
	return netip.PrefixFrom(addr, 64).Masked()
}

func (n *node) start(t *testing.T, file string) *Guard {
	g := New(Config{Node: "node-1", File: file, Of: unit, KernelTerm: time.Hour, KnownTerm: 70 * time.Minute, Kernel: n, Kamailio: n, Protect: n.protect, Post: n.post})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return g
}

// wait lets time pass, on the bubble's clock, until everybody waits again.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func take(t *testing.T, g *Guard, lines string) {
	t.Helper()
	if err := g.Take([]byte("node=node-1\n" + lines)); err != nil {
		t.Fatal(err)
	}
}

const scan = "type=offence&addr=192.0.2.7&tier=ua&kind=scanner&count=1&term=3600&evidence=svmap\n"

var attacker = netip.MustParsePrefix("192.0.2.7/32")

func TestGuard_TellsAnOffenceAtOnceAndCarriesTheBanToTheKernel(t *testing.T) {
	// Proves that a ban of Kamailio is in the kernel and at the brain at once, one report for many lines, and that reports stay
	// apart by their pause.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := n.start(t, "")
		wait(time.Second)
		if r := n.last(); !r.Complete || r.Node != "node-1" {
			t.Fatalf("the first report is %+v, want a complete one", r)
		}
		before := len(n.reports)
		for range 20 {
			take(t, g, scan+"type=known&addr=192.0.2.9\n")
			wait(10 * time.Millisecond)
		}
		wait(reportPause)
		if b := n.kernel[attacker]; b.Tier != "ua" || b.Left != time.Hour {
			t.Errorf("in the kernel: %+v", b)
		}
		if !slices.Contains(n.known, netip.MustParsePrefix("192.0.2.9/32")) {
			t.Error("the kernel does not hear of known addresses")
		}
		if made := len(n.reports) - before; made > 3 {
			t.Errorf("%d reports in half a second", made)
		}
		if r := n.reports[before]; r.Complete || len(r.Offences) != 1 || r.Offences[0].UntilMS < time.Now().Add(50*time.Minute).UnixMilli() {
			t.Errorf("the report of the offence is %+v", r)
		}
		wait(completeEvery)
		i := len(n.reports) - 1
		for !n.reports[i].Complete {
			i--
		}
		if r := n.reports[i]; i < before || len(r.Active) != 1 || r.Active[0].Addr != "192.0.2.7" || r.Active[0].Tier != "ua" {
			t.Errorf("the complete report is %+v", r)
		}
	})
}

func TestGuard_TakesAFloodOfTheKernelToKamailio(t *testing.T) {
	// Proves that what the kernel catches by itself is told within a second and banned in Kamailio too, under Kamailio's name for it.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.caught = []netip.Prefix{attacker, netip.MustParsePrefix("2001:db8::/64")}
		n.start(t, "")
		wait(lookEvery)
		for key, want := range map[string]string{"192.0.2.7": "nft 1h0m0s", "2001:db8:0:0::/64": "nft 1h0m0s"} {
			if got := n.get(tableBan, key); got != want {
				t.Errorf("Kamailio has %q for %s, want %q", got, key, want)
			}
		}
		all := slices.Concat(n.reports[0].Offences, n.last().Offences)
		if len(all) < 2 || all[0].Tier != api.TierNft || all[0].Kind != api.OffenceFlood || all[0].UntilMS == 0 {
			t.Errorf("told: %+v", all)
		}
	})
}

func TestGuard_LiftsInAllTiersWithGrace(t *testing.T) {
	// Proves that a lift frees an address in kernel and Kamailio, that a ban of Kamailio within the grace time is undone and not
	// carried to the kernel, and that it is after that time.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := n.start(t, "")
		wait(time.Second)
		ban := api.GuardOrder{Addr: "192.0.2.7", Action: api.GuardBan, Tier: api.TierScore, UntilMS: time.Now().Add(2 * time.Hour).UnixMilli()}
		if err := g.Carry(t.Context(), ban); err != nil || n.kernel[attacker].Left != 2*time.Hour || n.get(tableBan, "192.0.2.7") != "score 2h0m0s" {
			t.Fatalf("ban: %v, kernel %+v, Kamailio %q", err, n.kernel[attacker], n.get(tableBan, "192.0.2.7"))
		}
		if err := g.Carry(t.Context(), api.GuardOrder{Addr: "192.0.2.7", Action: api.GuardLift, GraceSec: 60}); err != nil {
			t.Fatal(err)
		}
		if len(n.kernel) != 0 || n.get(tableBan, "192.0.2.7") != "" || n.get(tableGrace, "192.0.2.7") != "1 1m0s" || n.grace[attacker] != time.Minute {
			t.Errorf("after the lift: kernel %v, tables %v", n.kernel, n.tables)
		}
		_ = n.TableSet(t.Context(), tableBan, "192.0.2.7", "ua", 0)
		take(t, g, scan)
		wait(time.Second)
		if len(n.kernel) != 0 || n.get(tableBan, "192.0.2.7") != "" {
			t.Errorf("banned again within the grace time: kernel %v, tables %v", n.kernel, n.tables)
		}
		wait(time.Minute)
		take(t, g, scan)
		wait(time.Second)
		if len(n.kernel) != 1 {
			t.Error("not banned after the grace time")
		}
	})
}

func TestGuard_GivesANewKamailioWhatItLacks(t *testing.T) {
	// Proves that policy and bans are put in when Kamailio has begun anew, that surplus signatures of its own are taken out, that
	// what is protected is never banned, and that a start without a brain has the last policy.
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "guard.json")
		n := newNode()
		n.reply.Policy = &api.GuardPolicy{Version: 7, Protected: []string{"198.51.100.0/24"}, Signatures: []string{"svmap", "from:sip:nm@nm"}, AuthFailMax: 3, NftTermSec: 60}
		n.reply.Orders = []api.GuardOrder{{Addr: "192.0.2.7", Action: api.GuardBan, Tier: api.TierUA, UntilMS: time.Now().Add(time.Hour).UnixMilli()}}
		builtIn := map[string]string{"0": "a", "1": "b", "2": "c"}
		n.tables[tableSignatures] = maps.Clone(builtIn)
		g := n.start(t, file)
		wait(2 * time.Second)
		check := func(when string) {
			t.Helper()
			want := map[string]string{"0": "svmap", "1": "from:sip:nm@nm"}
			if !maps.Equal(n.tables[tableSignatures], want) || n.get(tablePolicy, "authfail") != "3" || n.get(tableBan, "192.0.2.7") == "" {
				t.Errorf("%s: %v", when, n.tables)
			}
		}
		check("at first")
		n.mu.Lock()
		n.down = true
		n.mu.Unlock()
		wait(3 * time.Second)
		n.mu.Lock()
		n.down, n.tables = false, map[string]map[string]string{tableSignatures: maps.Clone(builtIn)}
		n.mu.Unlock()
		wait(2 * time.Second)
		check("after a restart")
		take(t, g, "type=offence&addr=198.51.100.9&tier=pike&kind=requests&term=300&count=100\n")
		wait(time.Second)
		if _, banned := n.kernel[netip.MustParsePrefix("198.51.100.9/32")]; banned || len(n.nets) != 1 || len(n.shields) != 1 {
			t.Errorf("protected: banned %t, kernel %v, Kamailio %v", banned, n.nets, n.shields)
		}
		alone := newNode()
		alone.away = true
		alone.start(t, file)
		wait(2 * time.Second)
		if alone.get(tablePolicy, "authfail") != "3" || len(alone.nets) != 1 {
			t.Errorf("started without a brain: %v", alone.tables)
		}
	})
}

func TestGuard_KeepsOffencesWhileNoBrainAnswers(t *testing.T) {
	// Proves that what no brain has heard is told when one is there, within its bound, and that the complete list takes up bans
	// that nobody told of.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.away = true
		g := n.start(t, "")
		for i := range maxTold + 50 {
			take(t, g, fmt.Sprintf("type=offence&addr=10.0.%d.%d&tier=pike&kind=requests&count=1&term=300\n", i/250, i%250))
			if i%400 == 0 {
				wait(time.Millisecond)
			}
		}
		take(t, g, scan)
		wait(5 * time.Second)
		_ = n.TableSet(t.Context(), tableBan, "203.0.113.5", "pike", time.Minute)
		n.mu.Lock()
		n.away = false
		n.mu.Unlock()
		wait(retryPause)
		r := n.last()
		if len(r.Offences) != maxTold || r.Offences[maxTold-1].Addr != "192.0.2.7" {
			t.Fatalf("%d offences told", len(r.Offences))
		}
		if !r.Complete || !slices.ContainsFunc(r.Active, func(b api.ActiveBan) bool { return b.Addr == "203.0.113.5" && b.Tier == "pike" }) || len(r.Active) != maxTold+52 {
			t.Errorf("%d active", len(r.Active))
		}
	})
}
