package guard

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Limits of TCP connections while no policy has others: those of the brain (brain/guard/policy.go).
const (
	connMax         = 500
	strangerConnMax = 2048
	strangerLeft    = 8 // to each, when there are far too many
)

// Connections is what this node knows of the TCP, TLS and WebSocket connections to its SIP ports.
type Connections struct {
	Open      int      `json:"open"`
	Strangers int      `json:"strangers"`      // of them, from addresses that are neither known nor protected
	Full      []string `json:"full,omitempty"` // addresses that have as many as one may have: new ones are dropped
	Shut      bool     `json:"shut,omitempty"` // strangers together have as many as they may: nobody else who is unknown comes in
	Refused   int64    `json:"refused"`        // packets dropped for either, since the table was made
	Error     string   `json:"error,omitempty"`
}

// Connections tells it as of the last second. Error says why nothing is limited; without a table in the kernel everything is 0.
func (g *Guard) Connections() Connections {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.conns
	c.Full = slices.Clone(c.Full)
	return c
}

// watch counts connections and has the kernel refuse new ones to who has too many: to each address beyond its limit, and to all that are
// unknown when these together have theirs, so that those with devices find Kamailio's table with room (tcp_max_connections).
func (g *Guard) watch() {
	counts, err := g.cfg.Kernel.Connections()
	if err != nil {
		g.connFault.note(g.cfg.Log, "connections are not limited", err)
		g.mu.Lock()
		g.conns = Connections{Error: err.Error()}
		g.mu.Unlock()
		return
	}
	c, full := g.weigh(counts)
	if len(full) > 0 || c.Shut {
		err = g.cfg.Kernel.Refuse(full, c.Shut)
	}
	if excess := g.excess(counts, c.Strangers); err == nil && len(excess) > 0 {
		err = g.cfg.Kernel.Close(excess)
		if errors.Is(err, errors.ErrUnsupported) { // new ones are refused all the same
			g.closeFault.note(g.cfg.Log, "connections of strangers beyond their limit are not closed", err)
			err = nil
		}
	}
	if err == nil {
		c.Refused, err = g.cfg.Kernel.Refused()
	}
	g.connFault.note(g.cfg.Log, "connections are not limited", err)
	if err != nil {
		c.Error = err.Error()
	}
	g.mu.Lock()
	g.conns = c
	g.mu.Unlock()
	now := time.Now()
	for i, name := range c.Full {
		if g.untold(full[i], now) {
			g.cfg.Log.Warn("an address has as many connections as one may have: new ones are dropped", "addr", name, "connections", counts[full[i]])
		}
	}
	if c.Shut && g.untold(netip.Prefix{}, now) {
		g.cfg.Log.Warn("unknown addresses have as many connections as they may have together: new ones are dropped", "connections", c.Strangers, "addresses", len(counts))
	}
}

// untold tells whether nothing was logged of an address within the last minute; the zero Prefix stands for all strangers.
func (g *Guard) untold(addr netip.Prefix, now time.Time) bool {
	maps.DeleteFunc(g.connTold, func(_ netip.Prefix, at time.Time) bool { return now.Sub(at) >= time.Minute })
	if _, told := g.connTold[addr]; told {
		return false
	}
	g.connTold[addr] = now
	return true
}

// weigh holds connections against the limits; full are in the order of c.Full.
func (g *Guard) weigh(counts map[netip.Prefix]int) (c Connections, full []netip.Prefix) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	most, strangers := g.connLimits()
	for addr, n := range counts {
		c.Open += n
		if addr.Addr().IsLoopback() || g.shielded.holds(addr) {
			continue
		}
		if n >= most {
			full = append(full, addr)
		}
		if g.stranger(addr, now) {
			c.Strangers += n
		}
	}
	slices.SortFunc(full, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	for _, addr := range full {
		c.Full = append(c.Full, nameOf(addr))
	}
	c.Shut = c.Strangers >= strangers
	return c, full
}

// excess is how many connections of each stranger are to be closed when they have come faster than they were counted, and hold twice as many as
// they may: of those who have most first, and a few are left to each, so that a phone which begins is not among them.
func (g *Guard) excess(counts map[netip.Prefix]int, strangers int) map[netip.Prefix]int {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	_, most := g.connLimits()
	over := strangers - most
	if over < most {
		return nil
	}
	list := slices.SortedFunc(maps.Keys(counts), func(a, b netip.Prefix) int { return cmp.Compare(counts[b], counts[a]) })
	excess := map[netip.Prefix]int{}
	for _, addr := range list {
		if n := min(over, counts[addr]-strangerLeft); n > 0 && g.stranger(addr, now) {
			excess[addr], over = n, over-n
		}
	}
	return excess
}

// stranger tells whether an address is neither known nor protected. g.mu is held.
func (g *Guard) stranger(addr netip.Prefix, now time.Time) bool {
	return !addr.Addr().IsLoopback() && !g.shielded.holds(addr) && !now.Before(g.known[addr])
}

// connLimits are those of the policy. g.mu is held.
func (g *Guard) connLimits() (one, strangers int) {
	var p api.GuardPolicy
	if g.policy != nil {
		p = *g.policy
	}
	return cmp.Or(p.ConnMax, connMax), cmp.Or(p.StrangerConnMax, strangerConnMax)
}

// networks tells fast whether one of many holds an address.
type networks struct {
	at   map[netip.Prefix]struct{}
	bits []int // lengths that there are
}

func newNetworks(nets []netip.Prefix) networks {
	n := networks{at: map[netip.Prefix]struct{}{}}
	lengths := map[int]struct{}{}
	for _, p := range nets {
		n.at[p.Masked()] = struct{}{}
		lengths[p.Bits()] = struct{}{}
	}
	n.bits = slices.Collect(maps.Keys(lengths))
	return n
}

// holds tells whether a network holds all of addr.
func (n networks) holds(addr netip.Prefix) bool {
	for _, bits := range n.bits {
		if bits > addr.Bits() {
			continue
		}
		if wide, err := addr.Addr().Prefix(bits); err == nil {
			if _, ok := n.at[wide]; ok {
				return true
			}
		}
	}
	return false
}

// nameOf writes what is banned as reports do.
func nameOf(addr netip.Prefix) string {
	if addr.IsSingleIP() {
		return addr.Addr().String()
	}
	return addr.String()
}
