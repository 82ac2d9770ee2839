package guard

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func (n *node) Connections() (map[netip.Prefix]int, error) {
	defer n.lock()()
	return maps.Clone(n.conns), n.connErr
}

func (n *node) Refuse(sources []netip.Prefix, strangers bool) error {
	defer n.lock()()
	n.refused = fmt.Sprint(sources, strangers)
	return n.there()
}

func (n *node) Close(excess map[netip.Prefix]int) error {
	defer n.lock()()
	n.closed = excess
	return n.closeErr
}

func (n *node) Refused() (int64, error) { return 7, nil }

func TestConnections_WhoHasTooManyOpensNoMore(t *testing.T) {
	// Proves by table who is refused: an address at its limit, known or not, and all strangers once they have theirs together; that what known
	// and protected addresses hold is no stranger's, that fewer are nobody's trouble, and that limits are the policy's where it has some.
	prefix := netip.MustParsePrefix
	for _, row := range []struct {
		what   string
		policy *api.GuardPolicy
		conns  map[string]int
		want   string // "" = nothing is refused
		open   int
		shut   bool
	}{
		{"few", nil, map[string]int{"192.0.2.1/32": connMax - 1, "2001:db8::/64": 3}, "", connMax + 2, false},
		{"one address", nil, map[string]int{"192.0.2.1/32": connMax, "192.0.2.2/32": 1}, "[192.0.2.1/32] false", connMax + 1, false},
		{"a /64", nil, map[string]int{"2001:db8::/64": connMax + 9}, "[2001:db8::/64] false", connMax + 9, false},
		{"known", nil, map[string]int{"192.0.2.7/32": connMax + 1}, "[192.0.2.7/32] false", connMax + 1, false},
		{"loopback", nil, map[string]int{"127.0.0.1/32": 5000}, "", 5000, false},
		{"many strangers", nil, map[string]int{"192.0.2.1/32": 400, "192.0.2.2/32": 400, "192.0.2.3/32": 400, "192.0.2.4/32": 400, "192.0.2.5/32": 448}, "[] true", 2048, true},
		{"many, one of them known", nil, map[string]int{"192.0.2.1/32": 400, "192.0.2.2/32": 400, "192.0.2.3/32": 400, "192.0.2.4/32": 400, "192.0.2.7/32": 448}, "", 2048, false},
		{"protected", &api.GuardPolicy{Version: 1, Protected: []string{"198.51.100.0/24", "2001:db8:1::/48"}}, map[string]int{"198.51.100.9/32": 3000, "2001:db8:1:2::/64": 3000}, "", 6000, false},
		{"one address of its /64 is protected", &api.GuardPolicy{Version: 1, Protected: []string{"2001:db8:1:2::9/128"}}, map[string]int{"2001:db8:1:2::/64": 3000}, "[2001:db8:1:2::/64] true", 3000, true},
		{"by the policy", &api.GuardPolicy{Version: 1, ConnMax: 5, StrangerConnMax: 8}, map[string]int{"192.0.2.1/32": 5, "192.0.2.2/32": 4}, "[192.0.2.1/32] true", 9, true},
	} {
		n := newNode()
		g := New(Config{Node: "edge1", Of: unit, KernelTerm: time.Hour, KnownTerm: time.Hour, Kernel: n, Kamailio: n})
		if row.policy != nil {
			g.setPolicy(row.policy)
		}
		g.know(map[netip.Prefix]time.Time{prefix("192.0.2.7/32"): time.Now()})
		n.conns = map[netip.Prefix]int{}
		for addr, count := range row.conns {
			n.conns[prefix(addr)] = count
		}
		g.look(t.Context())
		c := g.Connections()
		if n.refused != row.want || c.Open != row.open || c.Shut != row.shut || c.Refused != 7 || c.Error != "" {
			t.Errorf("%s: refused %q, want %q; %+v", row.what, n.refused, row.want, c)
		}
	}
}

func TestConnections_OfStrangersAreClosedWhenThereAreFarTooMany(t *testing.T) {
	// Proves that strangers who came faster than they were counted lose what is beyond their limit, those with most first, that each keeps a
	// few, and that nothing of a known address is closed.
	n := newNode()
	g := New(Config{Node: "edge1", Of: unit, KernelTerm: time.Hour, KnownTerm: time.Hour, Kernel: n, Kamailio: n})
	known := netip.MustParsePrefix("192.0.2.7/32")
	g.know(map[netip.Prefix]time.Time{known: time.Now()})
	n.conns = map[netip.Prefix]int{known: 490}
	for i := range 256 { // one site of IPv6
		n.conns[netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, byte(i)}), 64)] = 1 + i/8
	}
	total := func() (strangers int) {
		for addr, count := range n.conns {
			if addr != known {
				strangers += count
			}
		}
		return strangers
	}
	g.look(t.Context())
	if total() < 2*strangerConnMax || len(n.closed) == 0 {
		t.Fatalf("%d connections, closed %v", total(), n.closed)
	}
	for addr, count := range n.closed {
		n.conns[addr] -= count
		if n.conns[addr] < strangerLeft {
			t.Errorf("%s has %d left", addr, n.conns[addr])
		}
	}
	if n.closed[known] != 0 || total() != strangerConnMax {
		t.Errorf("%d of the known, %d of strangers are left", n.closed[known], total())
	}
	n.closed = nil
	g.look(t.Context())
	if len(n.closed) > 0 {
		t.Errorf("once more %v", n.closed)
	}
	n.conns[netip.MustParsePrefix("192.0.2.8/32")], n.closeErr = 3000, fmt.Errorf("netlink: %w", syscall.EOPNOTSUPP)
	g.look(t.Context())
	if c := g.Connections(); len(n.closed) == 0 || c.Error != "" || !c.Shut {
		t.Errorf("a kernel that closes nothing: %+v", c)
	}
}

func TestConnections_AreToldOnceAndGoOnWithout(t *testing.T) {
	// Proves that who is refused is logged when it begins, and that a kernel which does not tell connections, or a node without a table, is said
	// to limit none while the guard does everything else.
	var said bytes.Buffer
	n := newNode()
	g := New(Config{Node: "edge1", Of: unit, KernelTerm: time.Hour, KnownTerm: time.Hour, Kernel: n, Kamailio: n, Log: slog.New(slog.NewTextHandler(&said, nil))})
	n.conns = map[netip.Prefix]int{netip.MustParsePrefix("192.0.2.1/32"): 3000}
	for range 3 {
		g.look(t.Context())
	}
	for _, want := range []string{"as many connections as one may have", "connections=3000", "as they may have together"} {
		if strings.Count(said.String(), want) != 1+strings.Count(want, "connections=") {
			t.Errorf("%q in\n%s", want, said.String())
		}
	}
	if c := g.Connections(); !slices.Equal(c.Full, []string{"192.0.2.1"}) {
		t.Errorf("%+v", c)
	}
	n.connErr = errors.New("no sock_diag here")
	n.caught = []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}
	g.look(t.Context())
	g.look(t.Context())
	if c := g.Connections(); c.Error != "no sock_diag here" || strings.Count(said.String(), "connections are not limited") != 1 {
		t.Errorf("%+v, said\n%s", c, said.String())
	}
	if n.tables[tableBan]["192.0.2.9"] == "" {
		t.Error("a flood is not banned")
	}
	if c := New(Config{Node: "edge1", Of: unit, Kamailio: newNode()}).Connections(); c.Open != 0 || c.Error != "" {
		t.Errorf("without a table: %+v", c)
	}
}

func TestNetworks_HoldWhatOneOfThemHolds(t *testing.T) {
	// Proves that asking by length answers as asking each network does, for chance networks and addresses.
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var nets []netip.Prefix
		for range rng.IntN(6) {
			nets = append(nets, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(2)), byte(rng.IntN(256))}), 20+rng.IntN(13)))
		}
		fast := newNetworks(nets)
		for range 50 {
			addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(2)), byte(rng.IntN(256))}), 32)
			if want := slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr.Addr()) }); fast.holds(addr) != want {
				t.Fatalf("%v hold %s: %t, want %t", nets, addr, !want, want)
			}
		}
	}
}
