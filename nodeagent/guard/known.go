package guard

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// maxKnown bounds the addresses that are remembered as known. Of those beyond, Kamailio is asked.
const maxKnown = 65536

// know remembers from when devices have authenticated at addresses, and has the kernel know them.
func (g *Guard) know(at map[netip.Prefix]time.Time) {
	if len(at) == 0 {
		return
	}
	var addrs []netip.Prefix
	g.mu.Lock()
	for addr, since := range at {
		addrs = append(addrs, addr)
		if _, is := g.known[addr]; is || len(g.known) < maxKnown {
			g.known[addr] = since.Add(g.cfg.KnownTerm)
		}
	}
	g.mu.Unlock()
	g.kernelFault.note(g.cfg.Log, "the kernel does not take known addresses", g.cfg.Kernel.Known(addrs))
}

// knows tells whether a device has authenticated from an address, as far as is remembered.
func (g *Guard) knows(addr netip.Prefix, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now.Before(g.known[addr])
}

// askKnown tells it, and asks Kamailio when it is not remembered: there may be more than are, or than Kamailio lists.
func (g *Guard) askKnown(ctx context.Context, addr netip.Prefix, now time.Time) (bool, error) {
	if g.knows(addr, now) {
		return true, nil
	}
	return g.cfg.Kamailio.TableHas(ctx, tableKnown, tableKey(addr))
}

// spare tells whether an address may not be banned here, but by hand, and for how long it has grace still.
func (g *Guard) spare(addr netip.Prefix, now time.Time) (spare bool, grace time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	grace = max(0, g.grace[addr].Sub(now))
	if g.byHand(addr, now) {
		return false, 0
	}
	return grace > 0 || now.Before(g.known[addr]) || slices.ContainsFunc(g.nets, addr.Overlaps), grace
}

// spared frees what Kamailio has banned although it may not be: known or protected since, or lifted a moment ago.
func (g *Guard) spared(ctx context.Context, addr netip.Prefix, now time.Time) bool {
	spare, _ := g.spare(addr, now)
	if spare {
		g.owe(addr, g.cfg.Kamailio.TableDelete(ctx, tableBan, tableKey(addr)))
	}
	return spare
}

// learn takes over whom Kamailio knows, once: a list too large to be given is left alone. The kernel keeps its own.
func (g *Guard) learn(ctx context.Context, now time.Time) {
	listed, err := g.cfg.Kamailio.TableDump(ctx, tableKnown)
	if err != nil {
		g.cfg.Log.Warn("Kamailio does not list the addresses that it knows: it is asked for each", "error", err)
	}
	at := map[netip.Prefix]time.Time{}
	for key, value := range listed { // the second in which it was told last
		addr, err := g.address(key)
		second, wrong := strconv.ParseFloat(value, 64)
		since := time.Unix(int64(second), 0)
		if err == nil && wrong == nil && since.Add(g.cfg.KnownTerm).After(now) {
			at[addr] = slices.MinFunc([]time.Time{since, now}, time.Time.Compare)
		}
	}
	g.know(at)
}

// caught decides on what the kernel has caught by itself: who may not be banned is freed again, the others are banned in Kamailio
// too. Kamailio is asked no more once it does not answer: restore puts in what it lacks.
func (g *Guard) caught(ctx context.Context, now time.Time, addrs []netip.Prefix) (offences []api.Offence) {
	var kamailio error
	var bans []Ban
	term := g.floodTerm()
	g.mu.Lock()
	addrs = slices.DeleteFunc(addrs, func(addr netip.Prefix) bool { return g.byHand(addr, now) })
	g.mu.Unlock()
	for _, addr := range addrs {
		o := api.Offence{Addr: addr.Addr().String(), Tier: api.TierNft, Kind: api.OffenceFlood, Count: 1, TimeMS: now.UnixMilli(),
			Evidence: "more packets than the limit of one address"}
		spare, grace := g.spare(addr, now)
		o.Known = g.knows(addr, now)
		if !spare && kamailio == nil {
			o.Known, kamailio = g.askKnown(ctx, addr, now)
		}
		if !spare && !o.Known {
			bans = append(bans, Ban{Addr: addr, Tier: api.TierNft, Left: term})
			o.UntilMS = now.Add(term).UnixMilli()
		} else {
			g.release(addr, o.Known, grace)
		}
		offences = append(offences, o)
	}
	for _, b := range g.enforce(now, bans, term == g.cfg.KernelTerm) { // the kernel has them already then, and counts what it drops
		if kamailio == nil {
			kamailio = g.cfg.Kamailio.TableSet(ctx, tableBan, tableKey(b.Addr), api.TierNft, term)
		}
		if kamailio != nil {
			g.mark([]Ban{b}, func(k *kept) { k.kamailio = false })
		}
	}
	return offences
}

// release has the kernel free what it has caught, and drop no more of it than the excess.
func (g *Guard) release(addr netip.Prefix, known bool, grace time.Duration) {
	var err error
	if known {
		err = g.cfg.Kernel.Known([]netip.Prefix{addr})
	}
	if err == nil {
		err = g.cfg.Kernel.Lift(addr, grace)
	}
	g.kernelFault.note(g.cfg.Log, "the kernel does not free an address that may not be banned", err)
}
