package guard

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// portion is how much of each kind Kamailio gets before others may act: some tenth of a second.
const portion = 500

// pace keeps apart tries that fail, up to a minute.
type pace struct {
	wait time.Duration
	next time.Time
}

func (p *pace) due(now time.Time) bool { return !now.Before(p.next) }

func (p *pace) note(now time.Time, err error) {
	p.wait = min(max(lookEvery, 2*p.wait), time.Minute)
	if err == nil {
		p.wait = 0
	}
	p.next = now.Add(p.wait)
}

// hurry has restore run now.
func (g *Guard) hurry() {
	select {
	case g.more <- struct{}{}:
	default:
	}
}

// restore gives Kamailio a portion of what it lacks, everything when it has begun anew. It runs in one goroutine.
func (g *Guard) restore(ctx context.Context) {
	has, err := g.cfg.Kamailio.TableHas(ctx, tablePolicy, keyAgent)
	if ctx.Err() != nil || err != nil {
		if g.owing() && ctx.Err() == nil {
			g.kamailioFault.note(g.cfg.Log, "Kamailio does not take the policy of the guard", err)
		}
		return
	}
	if now := time.Now(); g.kamailioPace.due(now) {
		more, err := g.refill(ctx, now, has)
		if ctx.Err() != nil {
			return
		}
		g.kamailioPace.note(now, err)
		g.kamailioFault.note(g.cfg.Log, "Kamailio does not take the policy of the guard", err)
		if more {
			g.hurry()
			return
		}
	}
	g.shield(ctx)
}

// owing tells whether Kamailio lacks anything.
func (g *Guard) owing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bansDue || g.policyDue || len(g.owed)+len(g.knownDue) > 0
}

// refill does the same with all but who is protected, in the order of need. more tells that there is more.
func (g *Guard) refill(ctx context.Context, now time.Time, has bool) (more bool, err error) {
	g.acting.Lock()
	defer g.acting.Unlock()
	if !has {
		g.anew(now)
		if err := g.cfg.Kamailio.TableSetInt(ctx, tablePolicy, keyAgent, 1); err != nil {
			return false, err
		}
	}
	if !g.learnt {
		g.learn(ctx, now)
		g.learnt = true
	}
	for _, put := range []func(context.Context, time.Time) error{g.refillLifts, g.refillBans, g.refillKnown, g.refillPolicy} {
		if err := put(ctx, now); err != nil {
			return false, err
		}
	}
	return g.owing(), nil
}

// anew notes that Kamailio has begun anew, and has nothing.
func (g *Guard) anew(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for addr, b := range g.bans {
		b.kamailio = false
		g.put(addr, b)
	}
	g.knownDue = slices.Collect(maps.Keys(g.known))
	g.marks, g.policyDue, g.shieldDue = 0, g.policy != nil, g.policy != nil
	clear(g.owed)
	for addr := range g.grace {
		g.owed[addr] = struct{}{}
	}
}

// refillLifts puts in a portion of the lifts that it did not take.
func (g *Guard) refillLifts(ctx context.Context, now time.Time) error {
	var lifts []netip.Prefix
	g.mu.Lock()
	for addr := range g.owed {
		if lifts = append(lifts, addr); len(lifts) == portion {
			break
		}
	}
	g.mu.Unlock()
	for _, addr := range lifts {
		_, grace := g.spare(addr, now)
		if err := g.putLift(ctx, addr, grace); err != nil {
			return err
		}
		g.owe(addr, nil)
	}
	return nil
}

// refillBans puts in a portion of the bans.
func (g *Guard) refillBans(ctx context.Context, now time.Time) error {
	var lacking []Ban
	g.mu.Lock()
	for addr, b := range g.bans {
		if left := b.until.Sub(now); g.bansDue && !b.kamailio && left > 0 {
			if lacking = append(lacking, Ban{Addr: addr, Tier: b.tier, Left: left}); len(lacking) == portion {
				break
			}
		}
	}
	g.bansDue = len(lacking) == portion
	g.mu.Unlock()
	for i, b := range lacking {
		if err := g.cfg.Kamailio.TableSet(ctx, tableBan, tableKey(b.Addr), b.Tier, b.Left); err != nil {
			g.mark(lacking[i:], func(k *kept) { k.kamailio = false })
			return err
		}
		g.mark(lacking[i:i+1], func(k *kept) { k.kamailio = true })
	}
	return nil
}

// refillKnown puts in a portion of the known addresses.
func (g *Guard) refillKnown(ctx context.Context, now time.Time) error {
	g.mu.Lock()
	list := g.knownDue[:min(portion, len(g.knownDue))]
	until := map[netip.Prefix]time.Time{}
	for _, addr := range list {
		until[addr] = g.known[addr]
	}
	g.mu.Unlock()
	for _, addr := range list {
		if !until[addr].After(now) {
			continue
		}
		if err := g.cfg.Kamailio.TableSetInt(ctx, tableKnown, tableKey(addr), int(until[addr].Add(-g.cfg.KnownTerm).Unix())); err != nil {
			return err
		}
	}
	g.mu.Lock()
	g.knownDue = g.knownDue[len(list):]
	g.mu.Unlock()
	return nil
}

// refillPolicy puts in the numbers and signatures of the policy.
func (g *Guard) refillPolicy(ctx context.Context, _ time.Time) error {
	g.mu.Lock()
	due, policy, had := g.policyDue, g.policy, g.marks
	g.mu.Unlock()
	if !due {
		return nil
	}
	if err := g.putPolicy(ctx, policy, had); err != nil {
		return err
	}
	g.mu.Lock()
	g.policyDue, g.marks = false, len(policy.Signatures)
	g.mu.Unlock()
	return nil
}

// shield tells Kamailio who is protected, in a file that it reads: nobody waits for that, and nothing else fails with it.
func (g *Guard) shield(ctx context.Context) {
	now := time.Now()
	g.mu.Lock()
	due, policy := g.shieldDue, g.policy
	g.mu.Unlock()
	if !due || g.cfg.Protect == nil || !g.shieldPace.due(now) {
		return
	}
	err := g.cfg.Protect(ctx, policy.Protected)
	if ctx.Err() != nil {
		return
	}
	g.shieldPace.note(now, err)
	g.shieldFault.note(g.cfg.Log, "Kamailio does not take the protected networks of the guard", err)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.policy == policy {
		g.shieldDue = false
	}
}
