package guard

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// maxSeen bounds the bans of one node that are shown with what it has dropped, maxSeenNodes the nodes.
const (
	maxSeen      = 10_000
	maxSeenNodes = 256
	// maxShared bounds the new bans that one node has all nodes enforce in a minute: what one report has. What is beyond is banned where it was caught,
	// so that who has a node's key cannot have the whole world banned everywhere.
	maxShared = api.MaxGuardOffences
	// maxLogged bounds the decisions of one report that are logged one by one; of the rest their number is.
	maxLogged = 20
)

// Report answers a node: what is to be done about its offences, what is wrong with what it enforces, and the policy when it has
// another one. What follows for other nodes is on its way to them.
func (g *Guard) Report(ctx context.Context, r *api.GuardReport) (api.GuardReply, error) {
	var reply api.GuardReply
	allowVersion, lost := int64(-1), false
	offences := g.offences(r)
	if r.Complete {
		c, err := g.Bans.Compare(ctx, r.Node, r.Active)
		if err != nil {
			return reply, err
		}
		reply.Orders, allowVersion = c.Orders, c.AllowVersion
		lost = r.PolicyVersion > c.Policy // nobody has given that out: a journal is gone, and the clock went back
		offences = g.listed(offences, c.Unknown)
		g.keep(r)
	}
	for len(offences) > 0 {
		share, n := g.shareOf(r.Node, len(offences))
		said, err := g.Bans.Do(ctx, &guard.Op{Kind: guard.Report, Node: r.Node, Share: share, Offences: offences[:n]})
		if err != nil {
			return reply, err
		}
		allowVersion = said.AllowVersion
		g.share(said.Decisions, r.Node)
		g.spent(r.Node, said.Decisions)
		g.logged(r.Node, offences[:n], said.Decisions)
		g.diary.note(time.Now(), r.Node, said.Decisions)
		for i := range said.Decisions {
			if d := &said.Decisions[i]; d.Action != "" && d.Only == nil {
				reply.Orders = replaced(reply.Orders, d.Order())
			}
		}
		offences = offences[n:]
	}
	if more := len(reply.Orders) - api.MaxGuardOrders; more > 0 {
		reply.Orders = reply.Orders[more:] // those of the comparison come again with the next complete report
	}
	if allowVersion < 0 {
		list, err := g.Bans.Allowed(ctx)
		if err != nil {
			return reply, err
		}
		allowVersion = list.Version
	}
	p, err := g.current(ctx, allowVersion)
	if err != nil {
		return reply, err
	}
	// An older one is another brain's last word: two that are configured otherwise would send a node to and fro.
	if p.Version > r.PolicyVersion || lost {
		reply.Policy = p
	}
	return reply, nil
}

// logged logs the decisions on a node's report, with the offence that each is about.
func (g *Guard) logged(node string, offences []guard.Offence, decisions []guard.Decision) {
	for i := range decisions[:min(len(decisions), maxLogged)] {
		d := &decisions[i]
		var o guard.Offence
		if n := slices.IndexFunc(offences, func(o guard.Offence) bool { return o.Addr == d.Addr }); n >= 0 {
			o = offences[n]
		}
		g.Log.Info("guard", "addr", d.Addr, "action", d.Action, "tier", d.Tier, "until_ms", d.UntilMS, "why", d.Why, "kind", o.Kind, "count", o.Count,
			"evidence", o.Evidence, "node", node, "everyone", d.Everyone)
	}
	if len(decisions) <= maxLogged {
		return
	}
	counts := map[string]int{}
	for i := range decisions[maxLogged:] {
		counts[decisions[maxLogged+i].Action]++
	}
	g.Log.Info("guard: and more", "node", node, "decisions", len(decisions)-maxLogged, "bans", counts[api.GuardBan], "lifts", counts[api.GuardLift])
}

// offences are those of a report that can be judged, with what the configuration says of them.
func (g *Guard) offences(r *api.GuardReport) []guard.Offence {
	c := g.protected()
	var list []guard.Offence
	for _, o := range r.Offences {
		key, err := guard.KeyOf(o.Addr)
		if err != nil || o.Tier == api.TierOperator {
			g.Log.Warn("an offence cannot be judged", "addr", o.Addr, "tier", o.Tier, "node", r.Node, "err", err)
			continue
		}
		o.Addr = guard.Name(key)
		list = append(list, guard.Offence{Offence: o, Shield: c.index.Shield(key)})
	}
	return list
}

// listed adds the bans that a node makes by itself and told of no offence. They have room behind the offences.
func (g *Guard) listed(offences []guard.Offence, unknown []api.ActiveBan) []guard.Offence {
	c := g.protected()
	for _, a := range unknown {
		key, err := guard.KeyOf(a.Addr)
		kind, ok := kindOf[a.Tier]
		told := slices.ContainsFunc(offences, func(o guard.Offence) bool { k, err := guard.KeyOf(o.Addr); return err == nil && k == key })
		if err != nil || told || len(offences) >= api.MaxGuardOffences {
			continue
		}
		tier := a.Tier
		if !ok { // operator, or what nobody knows: only the brain bans so
			tier, kind = api.TierScore, api.OffenceAuthFail
		}
		o := api.Offence{Addr: a.Addr, Tier: tier, Kind: kind, UntilMS: a.UntilMS, Evidence: "in the list of what the node enforces"}
		offences = append(offences, guard.Offence{Offence: o, Shield: c.index.Shield(key), Listed: true})
	}
	return offences
}

var kindOf = map[string]string{api.TierNft: api.OffenceFlood, api.TierPike: api.OffenceRequests, api.TierUA: api.OffenceScanner}

// replaced puts an order behind those before, of which one for the same address is gone.
func replaced(orders []api.GuardOrder, o api.GuardOrder) []api.GuardOrder {
	orders = slices.DeleteFunc(orders, func(b api.GuardOrder) bool { return b.Addr == o.Addr })
	return append(orders, o)
}

// keep remembers what a node enforces, for whoever asks.
func (g *Guard) keep(r *api.GuardReport) {
	of := make(map[string]int64, min(len(r.Active), maxSeen))
	for _, a := range r.Active {
		key, err := guard.KeyOf(a.Addr)
		if err == nil && len(of) < maxSeen {
			of[guard.Name(key)] = a.Packets
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.node(r.Node); t != nil {
		t.at, t.packets = time.Now(), of
	}
}

// node is what is kept of a node, nil when there are too many. g.mu is held.
func (g *Guard) node(name string) *told {
	t := g.seen[name]
	if t == nil && len(g.seen) < maxSeenNodes {
		t = &told{}
		g.seen[strings.Clone(name)] = t
	}
	return t
}

// shareOf says which nodes enforce the bans for a node's next offences, and of how many of these.
func (g *Guard) shareOf(node string, offences int) (share string, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.node(node)
	if t == nil {
		return guard.ShareNone, offences
	}
	if now := time.Now(); now.Sub(t.minute) >= time.Minute {
		t.minute, t.shared = now, 0
	}
	if left := maxShared - t.shared; left > 0 {
		return g.Share, min(offences, left)
	}
	return guard.ShareNone, offences
}

// spent counts the bans that a node had shared.
func (g *Guard) spent(node string, decisions []guard.Decision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range decisions {
		if d := &decisions[i]; g.seen[node] != nil && d.Everyone && d.Action == api.GuardBan {
			g.seen[node].shared++
		}
	}
}

// enforcing lists the nodes that have told this brain that they enforce a ban, by name. g.mu is held.
func (g *Guard) enforcing(addr string) (list []api.BanNode) {
	for node, t := range g.seen {
		if packets, ok := t.packets[addr]; ok {
			list = append(list, api.BanNode{Node: node, OK: true, Packets: packets})
		}
	}
	slices.SortFunc(list, func(a, b api.BanNode) int { return strings.Compare(a.Node, b.Node) })
	return list
}

// share tells the nodes, but one, what every node is to do. It does not wait.
func (g *Guard) share(decisions []guard.Decision, but string) {
	var orders []api.GuardOrder
	only := map[string][]api.GuardOrder{}
	for i := range decisions {
		d := &decisions[i]
		for _, name := range d.Only {
			only[name] = append(only[name], d.Order())
		}
		if d.Everyone && d.Action != "" {
			orders = append(orders, d.Order())
		}
	}
	if len(orders)+len(only) == 0 {
		return
	}
	for _, n := range g.nodes() {
		if list := slices.Concat(orders, only[n.Name]); n.Name != but && n.TakesOrders() && len(list) > 0 {
			g.out.add(n, list)
		}
	}
}

// push has a node carry out one order.
func (g *Guard) push(ctx context.Context, n *brain.Node, o api.GuardOrder) error {
	reply, err := g.Nodes.Push(ctx, n, api.Op{ID: opID(), Kind: api.OpBan, Guard: &o})
	if err == nil && !reply.OK {
		err = brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, reply.Error)
	}
	if err != nil {
		g.Log.Debug("a node has not carried out an order of the guard: its next complete report is corrected", "node", n.Name, "addr", o.Addr, "action", o.Action, "err", err)
	}
	return err
}
