package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Carry does what the brain orders, in the kernel and in Kamailio. It is done when the error is nil. What Kamailio did not
// take it gets when it is there again.
func (g *Guard) Carry(ctx context.Context, o api.GuardOrder) error {
	addr, err := g.address(o.Addr)
	if err != nil {
		return err
	}
	g.acting.Lock()
	defer g.acting.Unlock()
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	switch o.Action {
	case api.GuardBan:
		return g.ban(ctx, addr, o)
	case api.GuardLift:
		return g.lift(ctx, addr, time.Duration(o.GraceSec)*time.Second)
	}
	return fmt.Errorf("this node knows no order %.40q of the guard", o.Action)
}

// address reads what an order is about: an address, or the /64 of one.
func (g *Guard) address(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return g.cfg.Of(p.Addr()), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("address of an order: %w", err)
	}
	return g.cfg.Of(addr), nil
}

// Refusals of a ban: the node is well, and the brain knows or is told why.
var (
	errKnown = errors.New("not banned: a device has authenticated from there")
	errGrace = errors.New("not banned: it was lifted a moment ago")
	errOver  = errors.New("not banned: by this node's clock it is over")
)

func (g *Guard) ban(ctx context.Context, addr netip.Prefix, o api.GuardOrder) error {
	now := time.Now()
	left := time.UnixMilli(o.UntilMS).Sub(now).Round(time.Millisecond)
	if left <= 0 {
		return fmt.Errorf("%w since %s; the clock says %s", errOver, -left, now.UTC().Format(time.RFC3339))
	}
	if err := g.refuse(ctx, addr, o, now); err != nil {
		return err
	}
	g.mu.Lock()
	was, room, full := g.bans[addr], g.room(addr, o.Tier), g.full(addr, o.Tier)
	g.mu.Unlock()
	if full != nil {
		return full
	}
	if was.held() && was.tier == o.Tier && was.until.Sub(now.Add(left)).Abs() < sameEnd {
		return nil // our own ban, confirmed: the kernel goes on counting
	}
	var inKernel error
	if room {
		inKernel = g.cfg.Kernel.Ban([]Ban{{Addr: addr, Tier: o.Tier, Left: left}})
	}
	inKamailio := g.putBan(ctx, addr, o.Tier, left)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.put(addr, kept{tier: o.Tier, until: now.Add(left), kernel: room && inKernel == nil, kamailio: inKamailio == nil, left: !room})
	delete(g.grace, addr)
	delete(g.owed, addr)
	return errors.Join(inKernel, inKamailio)
}

// refuse says why an order is not carried out here, nil if it is: another node does not know that a phone of this one is behind
// the address, and a ban that was decided before a lift may come after it. An operator's holds.
func (g *Guard) refuse(ctx context.Context, addr netip.Prefix, o api.GuardOrder, now time.Time) error {
	if o.Tier == api.TierOperator {
		return nil
	}
	if _, grace := g.spare(addr, now); grace > 0 {
		return errGrace
	}
	if known, err := g.askKnown(ctx, addr, now); err != nil || !known {
		return nil // without an answer it is banned: Kamailio has no calls to take
	}
	g.tell([]api.Offence{{Addr: addr.Addr().String(), Tier: o.Tier, Kind: kindOf(o.Tier), Count: 1, TimeMS: now.UnixMilli(), UntilMS: o.UntilMS,
		Known: true, Evidence: clip("a ban was ordered: " + o.Why)}})
	return errKnown
}

// kindOf is the offence that a tier stands for.
func kindOf(tier string) string {
	switch tier {
	case api.TierNft:
		return api.OffenceFlood
	case api.TierPike:
		return api.OffenceRequests
	case api.TierUA:
		return api.OffenceScanner
	}
	return api.OffenceAuthFail
}

// sameEnd is by how much two ends of a ban may differ and be the same.
const sameEnd = 2 * time.Second

// putBan bans in Kamailio, which counts whole seconds.
func (g *Guard) putBan(ctx context.Context, addr netip.Prefix, tier string, left time.Duration) error {
	return errors.Join(
		g.cfg.Kamailio.TableDelete(ctx, tableGrace, tableKey(addr)),
		g.cfg.Kamailio.TableSet(ctx, tableBan, tableKey(addr), tier, left))
}

// lift frees an address. Its grace comes first: who still sends is not caught between the two.
func (g *Guard) lift(ctx context.Context, addr netip.Prefix, grace time.Duration) error {
	g.mu.Lock()
	g.drop(addr)
	if grace > 0 {
		g.grace[addr] = time.Now().Add(grace)
	}
	g.mu.Unlock()
	inKamailio := g.putLift(ctx, addr, grace)
	g.owe(addr, inKamailio)
	return errors.Join(inKamailio, g.cfg.Kernel.Lift(addr, grace))
}

// putLift lifts in Kamailio. One by hand has it forget the wrong passwords for which a known address is slowed.
func (g *Guard) putLift(ctx context.Context, addr netip.Prefix, grace time.Duration) (err error) {
	if grace > 0 {
		err = g.cfg.Kamailio.TableSet(ctx, tableGrace, tableKey(addr), "1", grace)
	}
	err = errors.Join(err, g.cfg.Kamailio.TableDelete(ctx, tableBan, tableKey(addr)))
	if grace > 0 {
		err = errors.Join(err, g.cfg.Kamailio.TableDelete(ctx, tableScore, tableKey(addr)+"::"+api.OffenceSpray), g.cfg.Kamailio.TableDelete(ctx, tableHour, tableKey(addr)))
	}
	return err
}

// owe keeps a lift that Kamailio did not take, for restore.
func (g *Guard) owe(addr netip.Prefix, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		delete(g.owed, addr)
	} else if len(g.owed) < maxBans {
		g.owed[addr] = struct{}{}
	}
}
