// Package guard carries out what brain/guard decides: it answers the nodes' reports, tells the other nodes what follows from them,
// has bans lifted everywhere, and gives the nodes the policy that they count by.
package guard

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// Bans is the live object that decides. brain.EUnavailable: nobody can decide now.
type Bans interface {
	// Do gives it an op, and returns what it has decided once the journal holds it.
	Do(ctx context.Context, op *guard.Op) (guard.Reply, error)
	// Bans lists bans, Allowed the allow list.
	Bans(ctx context.Context, q guard.Question) (api.BanList, error)
	Allowed(ctx context.Context) (guard.Allowances, error)
	// Compare says what is wrong with what a node enforces.
	Compare(ctx context.Context, node string, active []api.ActiveBan) (guard.Compared, error)
}

// Nodes pushes ops to nodes.
type Nodes interface {
	Push(ctx context.Context, n *brain.Node, op api.Op) (api.OpReply, error)
}

// Guard is the guard of the platform as this brain serves it. Set the exported fields before its first use.
type Guard struct {
	Bans      Bans
	Nodes     Nodes
	Directory func() brain.Directory
	// Trunks lists the trunks in use of all accounts.
	Trunks func(dir brain.Directory) []*brain.SIPTrunk

	Operators  []netip.Prefix // networks of operators, never banned
	Signatures []string       // besides the built-in ones
	Share      string         // which nodes enforce a ban: a Share constant of brain/guard
	Log        *slog.Logger
	Audit      Audit // nil: bans that the guard makes by itself are in no audit log

	mu         sync.Mutex // guards what is below
	configured *configured
	policy     *api.GuardPolicy
	digest     string // of policy
	allowed    int64  // version of the allow list that policy has; -1 = of none
	ofConfig   int64  // version of the configuration that policy has
	seen       map[string]*told
	believed   believed

	out   outbox
	diary diary
}

// told is what a node said in its last complete report.
type told struct {
	at      time.Time
	packets map[string]int64 // dropped, by the address that it bans
	minute  time.Time        // since when the new bans count that it had shared
	shared  int
}

// New makes a guard that shares bans with every node.
func New(bans Bans, nodes Nodes, dir func() brain.Directory, trunks func(brain.Directory) []*brain.SIPTrunk, log *slog.Logger) *Guard {
	g := &Guard{Bans: bans, Nodes: nodes, Directory: dir, Trunks: trunks, Share: guard.ShareAll, Log: log, allowed: -1, seen: map[string]*told{}}
	g.out.push = g.push
	g.diary.inForce = g.inForce
	return g
}

// watchEvery is how often the configuration is looked at for what it protects anew.
const watchEvery = time.Second

// Run lifts the bans of what the configuration protects anew and of what is known anew, and writes the audit log, until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var done *configured
	for {
		g.tellKnown(ctx)
		g.diary.write(ctx, g.Audit, g.Log)
		if now := g.protected(); now != done {
			if err := g.release(ctx, done, now); err == nil {
				done = now
			} else if brain.CodeOf(err) != brain.EUnavailable {
				g.Log.Error("bans of protected addresses are not lifted", "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// release lifts the bans of networks that are protected now and were not before.
func (g *Guard) release(ctx context.Context, before, now *configured) error {
	fresh := map[string][]string{}
	for _, n := range now.nets {
		if before == nil || before.all[n.Prefix] == "" {
			fresh[n.What] = append(fresh[n.What], n.Prefix.String())
		}
	}
	for _, what := range whats {
		if len(fresh[what]) == 0 {
			continue
		}
		said, err := g.Bans.Do(ctx, &guard.Op{Kind: guard.Protect, Nets: fresh[what], Why: what})
		if err != nil {
			return err
		}
		g.share(said.Decisions, "")
		g.diary.note(time.Now(), "", said.Decisions)
	}
	return nil
}

// List lists bans, with what the nodes say of them.
func (g *Guard) List(ctx context.Context, q guard.Question) (api.BanList, error) {
	list, err := g.Bans.Bans(ctx, q)
	if err != nil {
		return list, err
	}
	if a := list.About; a != nil {
		if key, err := guard.KeyOf(a.Addr); err == nil {
			if shield := g.protected().index.Shield(key); shield != "" {
				a.Protected = shield
			}
		}
	}
	for i := range list.Offenders {
		a := &list.Offenders[i]
		if key, err := guard.KeyOf(a.Addr); err == nil {
			a.Protected = cmp.Or(g.protected().index.Shield(key), a.Protected)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range list.Bans {
		list.Bans[i].Nodes = g.enforcing(list.Bans[i].Addr)
	}
	return list, nil
}

// Add bans an address by hand and returns what the nodes say to it. refused says why it is not banned.
func (g *Guard) Add(ctx context.Context, who string, req *api.BanRequest) (reply api.BanReply, refused string, err error) {
	op := &guard.Op{Kind: guard.Add, Addr: req.Addr, ForSec: int64(req.ForSec), Why: req.Why, Who: who}
	if key, err := guard.KeyOf(req.Addr); err == nil {
		op.Shield = g.protected().index.Shield(key)
	}
	said, err := g.Bans.Do(ctx, op)
	if err != nil || said.Refused != "" {
		return reply, said.Refused, err
	}
	return g.byHand(ctx, said), "", nil
}

// Lift ends whatever bans an address, at every node, and returns which of them have done so.
func (g *Guard) Lift(ctx context.Context, who, addr string) (api.BanReply, error) {
	said, err := g.Bans.Do(ctx, &guard.Op{Kind: guard.Lift, Addr: addr, Who: who})
	if err != nil {
		return api.BanReply{}, err
	}
	return g.byHand(ctx, said), nil
}

// byHand tells the nodes of the last decision and waits for them; of others, if there are any, it does not.
func (g *Guard) byHand(ctx context.Context, said guard.Reply) api.BanReply {
	last := len(said.Decisions) - 1
	g.share(said.Decisions[:last], "")
	d := &said.Decisions[last]
	g.diary.forget(d.Addr)
	return api.BanReply{Addr: d.Addr, Ban: said.Ban, Nodes: g.confirm(ctx, d.Order())}
}

// Allowed is the allow list.
func (g *Guard) Allowed(ctx context.Context) (api.AllowList, error) {
	list, err := g.Bans.Allowed(ctx)
	return api.AllowList{Allowed: list.Allowed}, err
}

// Allow puts a network on the allow list. refused says why it does not go there.
func (g *Guard) Allow(ctx context.Context, who string, req *api.AllowRequest) (list api.AllowList, refused string, err error) {
	said, err := g.Bans.Do(ctx, &guard.Op{Kind: guard.Allow, Addr: req.Net, Why: req.Note, Who: who, ForSec: int64(req.ForSec)})
	if err != nil || said.Refused != "" {
		return list, said.Refused, err
	}
	g.share(said.Decisions, "")
	list = g.allowedNow(ctx)
	for _, d := range said.Decisions[:min(len(said.Decisions), api.MaxBanPage)] {
		list.Lifted = append(list.Lifted, d.Addr)
	}
	return list, "", nil
}

// Disallow takes a network off the allow list; found is false when it was not there.
func (g *Guard) Disallow(ctx context.Context, who, network string) (list api.AllowList, found bool, err error) {
	said, err := g.Bans.Do(ctx, &guard.Op{Kind: guard.Disallow, Addr: network, Who: who})
	if err != nil || !said.Done {
		return list, false, err
	}
	return g.allowedNow(ctx), true, nil
}

// allowedNow is the allow list after a change, which is done also when nobody can list it now: then the list is absent.
func (g *Guard) allowedNow(ctx context.Context) api.AllowList {
	list, err := g.Allowed(ctx)
	if err != nil {
		g.Log.Warn("the allow list is changed, and cannot be listed now", "err", err)
	}
	return list
}
