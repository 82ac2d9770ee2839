package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// order is a ban of the attacker for an hour.
func order(tier string) api.GuardOrder {
	return api.GuardOrder{Addr: "192.0.2.7", Action: api.GuardBan, Tier: tier, UntilMS: time.Now().Add(time.Hour).UnixMilli()}
}

// bareGuard is one that nobody runs.
func bareGuard(n *node) *Guard {
	return New(Config{Node: "node-1", Of: unit, KernelTerm: time.Hour, KnownTerm: 70 * time.Minute, Kernel: n, Kamailio: n, Post: n.post})
}

// many are bans of as many addresses.
func many(count int, tier string) (bans []Ban) {
	for i := range count {
		bans = append(bans, Ban{Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Tier: tier, Left: time.Hour})
	}
	return bans
}

func TestGuard_DoesNotAdoptABanThatIsOver(t *testing.T) {
	// Proves that an entry which Kamailio lists until its sweep, though it is over, is no ban: neither in the seconds behind the end
	// of a ban that is known here, nor for a process that has just begun.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := n.start(t, "")
		wait(time.Second)
		_ = n.TableSet(t.Context(), tableBan, "192.0.2.7", "ua", 0)
		take(t, g, scan)
		wait(time.Hour - time.Second)
		_ = n.Lift(attacker, 0) // the kernel's own end
		wait(3 * time.Second)
		if active := g.everything(t.Context()); len(active) != 0 || len(n.kernel) != 0 {
			t.Errorf("listed 2 s behind the end: %v, kernel %v", active, n.kernel)
		}
		n.over("192.0.2.7")
		fresh := bareGuard(n)
		if active := fresh.everything(t.Context()); len(active) != 0 || len(n.kernel) != 0 {
			t.Errorf("adopted by a new process: %v, kernel %v", active, n.kernel)
		}
		n.over("")
		if active := fresh.everything(t.Context()); len(active) != 1 || active[0].Tier != "ua" {
			t.Errorf("a ban in force is not adopted: %v", active)
		}
	})
}

func TestGuard_RefusesABanWithinTheGraceOfALift(t *testing.T) {
	// Proves that a ban which was decided before a lift and comes after it changes nothing, that an operator's is carried out, and that
	// others are again behind the grace.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := n.start(t, "")
		wait(time.Second)
		lift := api.GuardOrder{Addr: "192.0.2.7", Action: api.GuardLift, GraceSec: 60}
		if err := g.Carry(t.Context(), lift); err != nil {
			t.Fatal(err)
		}
		if err := g.Carry(t.Context(), order(api.TierUA)); !errors.Is(err, errGrace) || len(n.kernel) != 0 || n.get(tableBan, "192.0.2.7") != "" {
			t.Errorf("in the grace: %v, kernel %v, Kamailio %v", err, n.kernel, n.tables[tableBan])
		}
		if err := g.Carry(t.Context(), order(api.TierOperator)); err != nil || len(n.kernel) != 1 {
			t.Errorf("by hand: %v, kernel %v", err, n.kernel)
		}
		if err := g.Carry(t.Context(), lift); err != nil {
			t.Fatal(err)
		}
		wait(61 * time.Second)
		if err := g.Carry(t.Context(), order(api.TierUA)); err != nil || len(n.kernel) != 1 {
			t.Errorf("behind the grace: %v, kernel %v", err, n.kernel)
		}
	})
}

func TestGuard_SaysThatItsClockIsAhead(t *testing.T) {
	// Proves that an order which is over by the node's clock is no success: it names the clock.
	err := bareGuard(newNode()).Carry(t.Context(), api.GuardOrder{Addr: "192.0.2.7", Action: api.GuardBan, Tier: api.TierOperator, UntilMS: time.Now().Add(-time.Minute).UnixMilli()})
	if !errors.Is(err, errOver) || !strings.Contains(err.Error(), "clock") {
		t.Errorf("an order that is over: %v", err)
	}
}

func TestGuard_TakesNoMoreBansThanItsBound(t *testing.T) {
	// Proves that forged addresses do not fill the memory: beyond the bound neither Kamailio's own bans nor a brain's are taken, an
	// operator's is.
	n := newNode()
	g := bareGuard(n)
	g.enforce(time.Now(), many(maxBans+500, api.TierUA), false)
	if len(g.bans) != maxBans {
		t.Errorf("%d bans are remembered, want %d", len(g.bans), maxBans)
	}
	if err := g.Carry(t.Context(), order(api.TierScore)); err == nil || n.get(tableBan, "192.0.2.7") != "" {
		t.Errorf("a brain's: %v", err)
	}
	if err := g.Carry(t.Context(), order(api.TierOperator)); err != nil || n.kernel[attacker].Tier != api.TierOperator {
		t.Errorf("an operator's: %v, kernel %+v", err, n.kernel[attacker])
	}
}

func TestGuard_KeepsRoomInTheKernelForOrders(t *testing.T) {
	// Proves that scanners beyond their part of the kernel's set are Kamailio's alone and told as enforced, that other bans and an
	// operator's have room, and that what was left to Kamailio is no reason to order it again.
	n := newNode()
	g := bareGuard(n)
	g.enforce(time.Now(), many(kernelRoomUA+100, api.TierUA), false)
	if len(n.kernel) != kernelRoomUA || len(g.active(time.Now())) != kernelRoomUA+100 {
		t.Errorf("%d in the kernel, %d active", len(n.kernel), len(g.active(time.Now())))
	}
	g.repair(time.Now())
	for _, tier := range []string{api.TierUA, api.TierScore, api.TierOperator} {
		o := order(tier)
		if err := g.Carry(t.Context(), o); err != nil || n.get(tableBan, "192.0.2.7") == "" {
			t.Errorf("%s: %v", tier, err)
		}
		if b, in := n.kernel[attacker]; in != (tier != api.TierUA) || in && b.Tier != tier {
			t.Errorf("%s: in the kernel %+v", tier, b)
		}
	}
	g.enforce(time.Now(), []Ban{{Addr: netip.MustParsePrefix("2001:db8::/64"), Tier: api.TierUA, Left: time.Hour}}, false)
	if len(n.kernel) != kernelRoomUA+2 {
		t.Error("a set of IPv4 that is full keeps IPv6 out")
	}
}

func TestGuard_GivesTheKernelItsTableAgain(t *testing.T) {
	// Proves that a table which somebody has removed is back within a second with bans, protected networks and known addresses; that
	// an order meanwhile is not told as done; and that a table which cannot be made again is tried until it can.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.reply.Policy = &api.GuardPolicy{Version: 7, Protected: []string{"198.51.100.0/24"}}
		g := n.start(t, "")
		wait(time.Second)
		take(t, g, scan+"type=known&addr=192.0.2.9\n")
		wait(10 * time.Millisecond)
		n.mu.Lock()
		n.gone, n.kernel = true, map[netip.Prefix]Ban{}
		n.mu.Unlock()
		o := order(api.TierScore)
		o.Addr = "192.0.2.8"
		if err := g.Carry(t.Context(), o); err == nil {
			t.Error("a ban that the kernel has not is told as done")
		}
		wait(lookEvery)
		if n.made != 1 || len(n.kernel) != 2 || len(n.nets) != 1 || !slices.Contains(n.known, netip.MustParsePrefix("192.0.2.9/32")) {
			t.Errorf("made %d times: bans %v, protected %v, known %v", n.made, n.kernel, n.nets, n.known)
		}
		if b := n.kernel[attacker]; b.Tier != api.TierUA || b.Left > time.Hour || b.Left < time.Hour-3*time.Second {
			t.Errorf("the ban is %+v", b)
		}
		if err := g.Carry(t.Context(), o); err != nil {
			t.Error(err)
		}
		wait(time.Minute)
		if n.made != 1 {
			t.Errorf("made %d times", n.made)
		}
	})
}

func TestGuard_TellsWhatIsEnforcedAlone(t *testing.T) {
	// Proves that a ban which neither kernel nor Kamailio has taken is not listed, that one of them is enough, and that the order
	// was answered with an error each time.
	n := newNode()
	n.gone, n.down = true, true
	g := bareGuard(n)
	for _, row := range []struct {
		kernel, kamailio bool // away
		active           int
	}{{true, true, 0}, {true, false, 1}, {false, true, 1}} {
		n.gone, n.down = row.kernel, row.kamailio
		err := g.Carry(t.Context(), order(api.TierOperator))
		if active := g.active(time.Now()); err == nil || len(active) != row.active {
			t.Errorf("%+v: %v, active %v", row, err, active)
		}
	}
}

func TestGuard_AnOperatorsBanStays(t *testing.T) {
	// Proves that what this node catches by itself does not shorten a ban by hand.
	n := newNode()
	g := bareGuard(n)
	if err := g.Carry(t.Context(), order(api.TierOperator)); err != nil {
		t.Fatal(err)
	}
	g.enforce(time.Now(), []Ban{{Addr: attacker, Tier: api.TierPike, Left: time.Minute}}, false)
	g.caught(t.Context(), time.Now(), []netip.Prefix{attacker})
	if b := n.kernel[attacker]; b.Tier != api.TierOperator || n.get(tableBan, "192.0.2.7") != fmt.Sprint("operator ", time.Hour) {
		t.Errorf("kernel %+v, Kamailio %v", b, n.tables[tableBan])
	}
}
