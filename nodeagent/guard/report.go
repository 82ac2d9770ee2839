package guard

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// maxTold bounds the offences that no brain has heard of yet. The bans that they led to are in each complete report.
const maxTold = 1000

// tell keeps offences for the next report, which is due now. Those of one address and kind become one.
func (g *Guard) tell(offences []api.Offence) {
	if len(offences) == 0 {
		return
	}
	g.mu.Lock()
	for _, o := range offences {
		g.told = merge(g.told, o)
	}
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// merge adds an offence to a list of bounded length; the oldest goes when it is full.
func merge(list []api.Offence, o api.Offence) []api.Offence {
	for i := range list {
		was := &list[i]
		if was.Addr == o.Addr && was.Kind == o.Kind && was.Tier == o.Tier {
			was.Count = min(maxCount, was.Count+o.Count)
			was.TimeMS, was.UntilMS, was.Known = max(was.TimeMS, o.TimeMS), max(was.UntilMS, o.UntilMS), was.Known || o.Known
			was.Proven = was.Proven || o.Proven
			return list
		}
	}
	if len(list) >= maxTold {
		list = list[1:]
	}
	return append(list, o)
}

// report tells a brain of offences at once, and of everything at its times.
func (g *Guard) report(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	complete := time.NewTicker(completeEvery)
	defer complete.Stop()
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	due, whole, idle := true, true, false // the first one is complete: it brings the policy
	for {
		select {
		case <-ctx.Done():
			return
		case <-complete.C:
			whole = true
		case <-ask.C:
			due = true
		case <-g.wake:
			due = true
		case <-pause.C:
			idle = true
		}
		if !idle || !due && !whole {
			continue
		}
		idle = false
		if g.post(ctx, whole) {
			due, whole = false, false
			ask.Reset(askEvery)
			pause.Reset(reportPause)
		} else {
			pause.Reset(retryPause)
		}
	}
}

// post tells a brain and does what it says. What it did not take is told again.
func (g *Guard) post(ctx context.Context, whole bool) bool {
	report := api.GuardReport{Node: g.cfg.Node, Complete: whole}
	g.mu.Lock()
	if g.policy != nil {
		report.PolicyVersion = g.policy.Version
	}
	report.Offences, g.told = g.told, nil
	g.mu.Unlock()
	slices.SortStableFunc(report.Offences, func(a, b api.Offence) int { // what is banned here already first: that tier has caught it
		return cmp.Compare(min(b.UntilMS, 1), min(a.UntilMS, 1))
	})
	if whole {
		report.Active = g.everything(ctx)
	}
	asking, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	reply, err := g.cfg.Post(asking, report)
	if ctx.Err() != nil {
		return false
	}
	g.postFault.note(g.cfg.Log, "no brain hears of the guard", err)
	if err != nil {
		g.mu.Lock()
		again := report.Offences
		for _, o := range g.told {
			again = merge(again, o)
		}
		g.told = again
		g.mu.Unlock()
		return false
	}
	if reply.Policy != nil {
		g.apply(reply.Policy)
	}
	for _, o := range reply.Orders {
		if err := g.Carry(ctx, o); err != nil { // the brain hears of it by the next complete report, what failed is tried again
			g.cfg.Log.Warn("an order of the guard was not carried out", "addr", o.Addr, "action", o.Action, "error", err)
		}
	}
	return true
}

// everything is what this node enforces: what is remembered, and what kernel and Kamailio have besides.
func (g *Guard) everything(ctx context.Context) []api.ActiveBan {
	g.acting.Lock()
	defer g.acting.Unlock()
	now := time.Now()
	packets := map[string]int64{}
	inKernel, err := g.cfg.Kernel.List()
	g.kernelFault.note(g.cfg.Log, "the bans of the kernel are not known", err)
	if errors.Is(err, fs.ErrNotExist) {
		g.remake(now)
	}
	for _, b := range inKernel {
		packets[b.Addr.String()] = b.Packets
		g.remember(b, kept{tier: b.Tier, until: now.Add(b.Left), kernel: true})
	}
	g.adopt(ctx, now)
	var list []api.ActiveBan
	for _, b := range g.active(now) {
		if len(list) == api.MaxGuardActive {
			break
		}
		list = append(list, api.ActiveBan{Addr: nameOf(b.Addr), Tier: b.Tier, UntilMS: now.Add(b.Left).UnixMilli(), Packets: packets[b.Addr.String()]})
	}
	return list
}

// adopt takes over the bans of Kamailio that nobody told of: its lines are tried once. It lists those that are over until it
// sweeps, so each is asked for. A table too large to be listed is left alone.
func (g *Guard) adopt(ctx context.Context, now time.Time) {
	listed, err := g.cfg.Kamailio.TableDump(ctx, tableBan)
	if err != nil {
		return
	}
	var bans []Ban
	for key, tier := range listed {
		addr, err := g.address(key)
		if err != nil || g.settled(addr) || g.spared(ctx, addr, now) {
			continue
		}
		if has, err := g.cfg.Kamailio.TableHas(ctx, tableBan, tableKey(addr)); err == nil && has {
			bans = append(bans, Ban{Addr: addr, Tier: tier, Left: g.termOf(tier)})
		}
	}
	g.enforce(now, bans, false)
}

// settled tells that it is known here what Kamailio is to do about an address.
func (g *Guard) settled(addr netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, banned := g.bans[addr]
	_, owed := g.owed[addr]
	return banned || owed
}

// fault is something that goes wrong again and again, and is logged when it begins.
type fault struct {
	mu   sync.Mutex
	last bool
}

func (f *fault) note(log *slog.Logger, what string, err error) {
	f.mu.Lock()
	began := err != nil && !f.last
	f.last = err != nil
	f.mu.Unlock()
	if began {
		log.Warn(what, "error", err)
	}
}
