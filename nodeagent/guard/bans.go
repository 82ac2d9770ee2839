package guard

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of what is banned here, and of what of it the kernel carries out for one version of IP, whose set has 65,536 places:
// forged addresses must not keep a ban out that somebody orders. What the kernel has no room for is Kamailio's alone.
const (
	maxBans      = api.MaxGuardActive // but for an operator's
	kernelRoom   = 65_000             // but for an operator's
	kernelRoomUA = 60_000             // of scanners, whose address may be forged
	maxRepair    = 20_000             // bans that the kernel gets at once
)

// sweepTerm is for how long a ban that is over is remembered: Kamailio lists it until its next sweep (htable, timer_interval 10 s).
const sweepTerm = 15 * time.Second

// kept is a ban as it is remembered.
type kept struct {
	tier             string
	until            time.Time
	kernel, kamailio bool // has it, as far as is known
	left             bool // to Kamailio: the kernel is nearly full
}

// held tells that a ban is carried out where it should be.
func (k kept) held() bool { return k.kamailio && (k.kernel || k.left) }

// put remembers a ban. g.mu is held.
func (g *Guard) put(addr netip.Prefix, k kept) {
	if g.bans[addr].kernel {
		g.inKernel[version(addr)]--
	}
	if k.kernel {
		g.inKernel[version(addr)]++
	}
	g.bans[addr] = k
	if !k.kamailio {
		g.bansDue = true
	}
}

// drop forgets a ban. g.mu is held.
func (g *Guard) drop(addr netip.Prefix) {
	if g.bans[addr].kernel {
		g.inKernel[version(addr)]--
	}
	delete(g.bans, addr)
}

// version is 0 for IPv4, 1 for IPv6.
func version(addr netip.Prefix) int {
	if addr.Addr().Is4() {
		return 0
	}
	return 1
}

// full says why a ban is not taken, nil if it is. g.mu is held.
func (g *Guard) full(addr netip.Prefix, tier string) error {
	if _, is := g.bans[addr]; is || len(g.bans) < maxBans || tier == api.TierOperator {
		return nil
	}
	return fmt.Errorf("%s is not banned: this node bans %d addresses already", addr, len(g.bans))
}

// room tells whether the kernel has a place for a ban. g.mu is held.
func (g *Guard) room(addr netip.Prefix, tier string) bool {
	most := kernelRoom
	if tier == api.TierUA {
		most = kernelRoomUA
	}
	return g.bans[addr].kernel || tier == api.TierOperator || g.inKernel[version(addr)] < most
}

// byHand tells that an operator has banned an address. g.mu is held.
func (g *Guard) byHand(addr netip.Prefix, now time.Time) bool {
	return g.bans[addr].tier == api.TierOperator && g.bans[addr].until.After(now)
}

// mark changes what is remembered of bans.
func (g *Guard) mark(bans []Ban, change func(*kept)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range bans {
		if k, ok := g.bans[b.Addr]; ok {
			change(&k)
			g.put(b.Addr, k)
		}
	}
}

// enforce remembers bans that this node has made by itself, and has the kernel carry them out unless it does. It returns those
// that are taken: there is a bound, and an operator's ban stays.
func (g *Guard) enforce(now time.Time, bans []Ban, kernelHas bool) (taken []Ban) {
	var carry []Ban
	var full error
	g.mu.Lock()
	for _, b := range bans {
		if err := g.full(b.Addr, b.Tier); err != nil {
			full = err
			continue
		}
		if g.byHand(b.Addr, now) {
			continue
		}
		left := !kernelHas && !g.room(b.Addr, b.Tier)
		g.put(b.Addr, kept{tier: b.Tier, until: now.Add(b.Left), kernel: !left, kamailio: true, left: left})
		delete(g.owed, b.Addr)
		if taken = append(taken, b); !left {
			carry = append(carry, b)
		}
	}
	g.mu.Unlock()
	if len(bans) > 0 {
		g.fullFault.note(g.cfg.Log, "no more bans are taken", full)
	}
	if kernelHas || len(carry) == 0 {
		return taken
	}
	err := g.cfg.Kernel.Ban(carry)
	g.kernelFault.note(g.cfg.Log, "the kernel does not take bans", err)
	if err != nil {
		g.mark(carry, func(k *kept) { k.kernel = false }) // repair tries again
	}
	return taken
}

// remember adds a ban that is not known here, and tells whether it has.
func (g *Guard) remember(b Ban, k kept) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.bans[b.Addr]; ok || g.full(b.Addr, b.Tier) != nil {
		return false
	}
	g.put(b.Addr, k)
	return true
}

// forget drops what is over.
func (g *Guard) forget(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for addr, b := range g.bans {
		if now.After(b.until.Add(sweepTerm)) {
			g.drop(addr)
		}
	}
	for addr, until := range g.grace {
		if !now.Before(until) {
			delete(g.grace, addr)
		}
	}
	for addr, until := range g.known {
		if !now.Before(until) {
			delete(g.known, addr)
		}
	}
}

// active lists the bans that kernel or Kamailio carry out, by address.
func (g *Guard) active(now time.Time) []Ban {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []Ban
	for addr, b := range g.bans {
		if left := b.until.Sub(now); left > 0 && (b.kernel || b.kamailio) {
			list = append(list, Ban{Addr: addr, Tier: b.tier, Left: left})
		}
	}
	slices.SortFunc(list, func(a, b Ban) int { return cmp.Or(a.Addr.Addr().Compare(b.Addr.Addr()), a.Addr.Bits()-b.Addr.Bits()) })
	return list
}

// remake gives the kernel its table again after somebody has removed it, with who is protected and known. repair puts the bans in.
func (g *Guard) remake(now time.Time) {
	g.mu.Lock()
	var known []netip.Prefix
	for addr, b := range g.bans {
		b.kernel = false
		g.put(addr, b)
	}
	for addr, until := range g.known {
		if until.After(now) {
			known = append(known, addr)
		}
	}
	g.netsDue = true
	g.mu.Unlock()
	err := g.cfg.Kernel.Remake()
	g.kernelFault.note(g.cfg.Log, "the table in the kernel was removed and cannot be made again", err)
	if err != nil {
		return
	}
	g.cfg.Log.Warn("the table in the kernel was removed, and is made again")
	g.repair(now)
	g.kernelFault.note(g.cfg.Log, "the kernel does not take known addresses", g.cfg.Kernel.Known(known))
}

// repair has the kernel take what it did not: who is protected, and bans.
func (g *Guard) repair(now time.Time) {
	g.mu.Lock()
	nets, due := g.nets, g.netsDue
	var lacking []Ban
	for addr, b := range g.bans {
		if left := b.until.Sub(now); left > 0 && !b.kernel && !b.left && len(lacking) < maxRepair {
			lacking = append(lacking, Ban{Addr: addr, Tier: b.tier, Left: left})
		}
	}
	g.mu.Unlock()
	if due {
		err := g.cfg.Kernel.Protect(nets)
		g.kernelFault.note(g.cfg.Log, "the kernel does not take protected networks", err)
		g.mu.Lock()
		g.netsDue = err != nil
		g.mu.Unlock()
	}
	if len(lacking) == 0 {
		return
	}
	err := g.cfg.Kernel.Ban(lacking)
	g.kernelFault.note(g.cfg.Log, "the kernel does not take bans", err)
	if err == nil {
		g.mark(lacking, func(k *kept) { k.kernel = true })
	}
}
