package actor

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

const (
	// maxAccounts bounds the presence machines of one brain: one goroutine and a few KiB each.
	maxAccounts = 1 << 18
	// maxNodes bounds the nodes whose deliveries are remembered.
	maxNodes = 1 << 12
	// maxBoots is how many boots of a node are remembered, so that a batch spooled before a restart
	// and delivered after it is still recognised.
	maxBoots = 8
	// ExpireEvery is how often contacts whose time has passed are dropped.
	ExpireEvery = 10 * time.Second
)

// Presence is the live state of every account: who is registered and which calls are up.
type Presence struct {
	accounts *Set[*presence.Machine]
	nodes    *Set[*inbox]

	applied, repeated, unknown, failed atomic.Int64
}

// NewPresence makes an empty Presence. Close it to stop its actors.
func NewPresence() *Presence {
	return &Presence{
		accounts: NewSet("presence of account", maxAccounts, func(id string) *presence.Machine { return presence.New(id) }),
		nodes:    NewSet("inbox of node", maxNodes, func(string) *inbox { return &inbox{} }),
	}
}

// Close stops the actors. Nodes first, since they wait for accounts.
func (p *Presence) Close() {
	p.nodes.Close()
	p.accounts.Close()
}

// Expire drops the contacts whose time has passed every ExpireEvery until ctx ends.
func (p *Presence) Expire(ctx context.Context) {
	tick := time.NewTicker(ExpireEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for _, id := range p.accounts.IDs() {
				// An actor too busy to expire now is asked again at the next tick.
				_ = p.accounts.Do(ctx, id, func(m *presence.Machine) { m.Expire(now) })
			}
		case <-ctx.Done():
			return
		}
	}
}

// Accounts lists the ids of the accounts with live state, sorted.
func (p *Presence) Accounts() []string { return p.accounts.IDs() }

// Calls lists the live calls of an account, in the machine's order; nil when it has none.
func (p *Presence) Calls(ctx context.Context, accountID string) ([]api.Call, error) {
	var calls []api.Call
	known, err := p.accounts.DoIfKnown(ctx, accountID, func(m *presence.Machine) { calls = m.Calls() })
	if !known || err != nil {
		return nil, err // calls may still be written by the actor: not read
	}
	return calls, nil
}

// Counts are the totals of events since the process began, by what became of them: applied; repeated,
// which were taken before; of an unknown account, dropped; failed in the machine, dropped so that they
// do not block what follows.
func (p *Presence) Counts() map[string]int64 {
	return map[string]int64{
		"events_applied": p.applied.Load(), "events_repeated": p.repeated.Load(),
		"events_unknown_account": p.unknown.Load(), "events_failed": p.failed.Load(),
	}
}

// Deliver applies a batch of a node's events, each at most once however often it is delivered, and
// returns when all are applied. brain.EUnavailable means: deliver again later; what was already
// applied of the batch is remembered and will not be applied again.
func (p *Presence) Deliver(ctx context.Context, dir brain.Directory, batch api.EventBatch) (api.EventReply, error) {
	var (
		reply api.EventReply
		fail  error
	)
	// The batch goes on when its sender leaves: half-done, it could not tell what it has applied.
	ctx = context.WithoutCancel(ctx)
	err := p.nodes.Do(ctx, batch.Node, func(in *inbox) {
		b := in.boot(batch.Boot)
		fail = p.take(ctx, dir, b, batch)
		reply.LastSeq = b.lastSeq
	})
	if err != nil {
		return api.EventReply{}, err
	}
	return reply, fail
}

// take applies what is new of a batch, in order, up to the first event that must wait.
func (p *Presence) take(ctx context.Context, dir brain.Directory, b *boot, batch api.EventBatch) error {
	for _, ev := range batch.Events {
		if ev.Seq <= b.lastSeq {
			p.repeated.Add(1)
			continue
		}
		known, err := p.apply(ctx, dir, ev, batch.Node)
		switch {
		case brain.CodeOf(err) == brain.EInternal:
			p.failed.Add(1)
		case err != nil:
			return err
		case known:
			p.applied.Add(1)
		default:
			p.unknown.Add(1)
		}
		b.lastSeq = ev.Seq
	}
	return nil
}

// apply hands an event to its account. An account that was deleted still gets the ends of its calls. A contact
// that expired comes without the account, which the edge's location store does not keep: its domain says whose it is.
func (p *Presence) apply(ctx context.Context, dir brain.Directory, ev api.Event, node string) (known bool, err error) {
	if ev.AccountID == "" {
		acct := dir.ByDomain(ev.AOR[strings.LastIndexByte(ev.AOR, '@')+1:])
		if acct == nil {
			return false, nil
		}
		ev.AccountID = acct.Account.ID
	}
	apply := func(m *presence.Machine) { m.Apply(ev, node) }
	if dir.ByAccount(ev.AccountID) == nil {
		return p.accounts.DoIfKnown(ctx, ev.AccountID, apply)
	}
	return true, p.accounts.Do(ctx, ev.AccountID, apply)
}

// inbox is what a node has delivered: how far, by boot. The newest boot is last.
type inbox struct{ boots []*boot }

type boot struct {
	id      string
	lastSeq int64
}

// boot returns the record of a boot, making it, and forgetting the oldest of too many.
func (in *inbox) boot(id string) *boot {
	for _, b := range in.boots {
		if b.id == id {
			return b
		}
	}
	if len(in.boots) >= maxBoots {
		in.boots = append(in.boots[:0], in.boots[1:]...)
	}
	b := &boot{id: id}
	in.boots = append(in.boots, b)
	return b
}
