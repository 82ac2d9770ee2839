package guard

import (
	"context"
	"net/netip"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// againAfter is how long an address that was told to be known is not told again: well within guard.KnownFor.
const againAfter = 10 * time.Minute

// believed is the addresses from which this brain has believed a device. g.mu is held.
type believed struct {
	told  map[netip.Prefix]time.Time // when each was told last; with more than guard.MaxKnown it begins anew
	fresh []string                   // that are to be told
}

// Believed notes that a device of an address has shown that it has its password. Within a second no node bans the address any longer. It does not wait.
func (g *Guard) Believed(addr string) {
	key, err := guard.KeyOf(addr)
	if err != nil {
		return // loopback, or none: never banned
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	b := &g.believed
	if at, ok := b.told[key]; ok && now.Sub(at) < againAfter || len(b.fresh) >= guard.MaxKnown {
		return
	}
	if b.told == nil || len(b.told) >= guard.MaxKnown {
		b.told = map[netip.Prefix]time.Time{}
	}
	b.told[key] = now
	b.fresh = append(b.fresh, guard.Name(key))
}

// tellKnown has the guard know of the addresses that were believed. What nobody can decide now waits.
func (g *Guard) tellKnown(ctx context.Context) {
	for {
		g.mu.Lock()
		list := g.believed.fresh
		g.mu.Unlock()
		if list = list[:min(len(list), api.MaxGuardOffences)]; len(list) == 0 {
			return
		}
		said, err := g.Bans.Do(ctx, &guard.Op{Kind: guard.Known, Nets: list})
		if err != nil {
			if brain.CodeOf(err) != brain.EUnavailable {
				g.Log.Error("known addresses are not noted", "err", err)
			}
			return
		}
		g.share(said.Decisions, "")
		g.diary.note(time.Now(), "", said.Decisions)
		g.mu.Lock()
		g.believed.fresh = g.believed.fresh[len(list):]
		g.mu.Unlock()
	}
}
