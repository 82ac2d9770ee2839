package actor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/route"
)

// askTimeout bounds a question to another brain, so that the asker can still answer by policy before the node
// agent gives up (800 ms).
const askTimeout = 300 * time.Millisecond

// Presence is the live state of every account: who is registered, which calls are admitted and up.
type Presence struct {
	Live *Live
	// Broadcast shows a dialog report to every brain, this one included. nil: there is no other.
	Broadcast func(report []byte) error
	// SubscribeTo delivers the deltas of an account wherever it is served, best effort.
	SubscribeTo func(id string, fn func(api.Numbered)) (stop func(), err error)

	seen   sightings
	shares shares

	applied, unknown, failed, unlogged, degraded, reports atomic.Int64
}

// Counts are totals since the process began: events by what became of them (of an unknown account, or which a
// machine failed on: dropped, so that they do not block what follows), admissions that left before the journal
// had them or without their shard's owner, dialog reports seen.
func (p *Presence) Counts() map[string]int64 {
	return map[string]int64{
		"events_applied": p.applied.Load(), "events_unknown_account": p.unknown.Load(), "events_failed": p.failed.Load(),
		"admissions_unlogged": p.unlogged.Load(), "admissions_degraded": p.degraded.Load(),
		"dialog_reports": p.reports.Load(),
	}
}

// nodeID is the live object that counts the calls of a node over all accounts.
func nodeID(node string) string { return nodePrefix + node }

const nodePrefix = "node/"

// Admit tests and takes everything the call needs, or nothing. brain.EUnavailable: nobody can tell now.
func (p *Presence) Admit(ctx context.Context, a *presence.Admission) (cac.Verdict, error) {
	if a.NodeCapacity > 0 {
		v, err := p.admitNode(ctx, a)
		if err != nil || !v.Admitted {
			return v, err
		}
	}
	v, err := p.admitAccount(ctx, a)
	if a.NodeCapacity > 0 && (err != nil || !v.Admitted) {
		p.release(ctx, nodeID(a.Call.Node), a.Call.Token, "abandoned")
	}
	return v, err
}

// admitNode takes one call of the node's capacity. It is taken before the account's part and given back when
// that is refused. While nobody owns the node's counter its last report stands in for it.
func (p *Presence) admitNode(ctx context.Context, a *presence.Admission) (cac.Verdict, error) {
	n := presence.Admission{AccountID: nodeID(a.Call.Node), Call: presence.Admit{Call: a.Call.Call}, Policy: brain.AdmissionLocalShare, Nodes: 1}
	n.Call.Windows = nil
	n.Call.Takes = []cac.Take{{Kind: cac.Node, ID: a.Call.Node, Limit: a.NodeCapacity}}
	return p.admitAccount(ctx, &n)
}

func (p *Presence) admitAccount(ctx context.Context, a *presence.Admission) (cac.Verdict, error) {
	asked, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reply, err := p.Live.Do(asked, a.AccountID, ClassAdmission, presence.AppendAdmit(make([]byte, 0, 512), &a.Call))
	if err != nil {
		if p.ownerless(asked, err) {
			return p.admitShare(a)
		}
		return cac.Verdict{}, err
	}
	return p.owned(a.AccountID, reply)
}

// Swap changes the places of a call in one step, or nothing. The zero Verdict: the call is over. brain.EUnavailable:
// nobody can tell now. The node's own count of calls is not touched: the call stays one.
func (p *Presence) Swap(ctx context.Context, accountID string, s presence.Swap) (cac.Verdict, error) {
	asked, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reply, err := p.Live.Do(asked, accountID, ClassAdmission, presence.AppendSwap(make([]byte, 0, 256), &s.Swap))
	if err != nil {
		if p.ownerless(asked, err) {
			return p.swapShare(accountID, &s)
		}
		return cac.Verdict{}, err
	}
	return p.owned(accountID, reply)
}

// owned reads the verdict of an account's owner.
func (p *Presence) owned(accountID string, reply Reply) (cac.Verdict, error) {
	p.shares.forget(accountID)
	if reply.Unlogged {
		p.unlogged.Add(1)
	}
	return presence.ReadVerdict(reply.Data)
}

// ownerless tells whether nobody serves the account's shard now, or whoever does is silent.
func (p *Presence) ownerless(ctx context.Context, err error) bool {
	return err == error(ErrNoOwner) || p.Live.Ask != nil && ctx.Err() != nil
}

// release gives back what a call took, best effort: reports see to what is missed.
func (p *Presence) release(ctx context.Context, id, token, why string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	_, _ = p.Live.Do(ctx, id, ClassSoft, presence.AppendRelease(nil, []string{token}, why))
}

// Reset releases slots of an account by hand: those of the tokens, or all when there are none. It returns how
// many tokens were asked for.
func (p *Presence) Reset(ctx context.Context, accountID string, tokens []string) (int, error) {
	if len(tokens) == 0 {
		state, err := p.CAC(ctx, accountID)
		if err != nil {
			return 0, err
		}
		for _, s := range state.Slots {
			tokens = append(tokens, s.Token)
		}
	}
	_, err := p.Live.Do(ctx, accountID, ClassStep, presence.AppendRelease(nil, tokens, "reset"))
	return len(tokens), err
}

// Questions a machine answers.
var (
	askCalls    = []byte(`{"what":"calls"}`)
	askCAC      = []byte(`{"what":"cac"}`)
	askPresence = []byte(`{"what":"presence"}`)
)

func query[T any](ctx context.Context, p *Presence, accountID string, question []byte) (T, error) {
	var answer T
	data, err := p.Live.Query(ctx, accountID, question)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return answer, fmt.Errorf("read the answer of account %s: %w", accountID, err)
	}
	return answer, nil
}

// Calls lists the answered calls of an account that are up.
func (p *Presence) Calls(ctx context.Context, accountID string) ([]api.Call, error) {
	return query[[]api.Call](ctx, p, accountID, askCalls)
}

// CAC returns the slots and the usage of an account.
func (p *Presence) CAC(ctx context.Context, accountID string) (api.CACState, error) {
	return query[api.CACState](ctx, p, accountID, askCAC)
}

// Watch keeps the feed of an account's changes going and returns what followed the delta after.
func (p *Presence) Watch(ctx context.Context, accountID, after string) (api.Watched, error) {
	return p.Live.Watch(ctx, accountID, after, askPresence)
}

// Subscribe delivers the deltas of an account as they come, best effort.
func (p *Presence) Subscribe(accountID string, fn func(api.Numbered)) (stop func(), err error) {
	return p.SubscribeTo(accountID, fn)
}

// State returns devices, users and agents of an account.
func (p *Presence) State(ctx context.Context, accountID string) (api.PresenceState, error) {
	return query[api.PresenceState](ctx, p, accountID, askPresence)
}

// Deliver applies a batch of a node's events and returns when all are in the journal. brain.EUnavailable
// means: deliver all of it again later; what was applied already changes nothing the second time.
func (p *Presence) Deliver(ctx context.Context, dir brain.Directory, batch api.EventBatch) (api.EventReply, error) {
	var reply api.EventReply
	ids, parts := p.byAccount(dir, &batch, &reply)
	errs := make([]error, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		op := presence.AppendEvents(nil, batch.Node, parts[id])
		all.Go(func() { _, errs[i] = p.Live.Do(ctx, id, ClassStep, op) })
	}
	all.Wait()
	for i, err := range errs {
		n := int64(len(parts[ids[i]]))
		switch {
		case err == nil:
			p.applied.Add(n)
		case brain.CodeOf(err) == brain.EUnavailable:
			return api.EventReply{}, err
		default:
			p.failed.Add(n)
		}
	}
	return reply, nil
}

// byAccount groups events by the live object they are about, each list in the order of the batch.
func (p *Presence) byAccount(dir brain.Directory, batch *api.EventBatch, reply *api.EventReply) (ids []string, parts map[string][]presence.Event) {
	parts = map[string][]presence.Event{}
	add := func(id string, ev presence.Event) {
		if parts[id] == nil {
			ids = append(ids, id)
		}
		parts[id] = append(parts[id], ev)
	}
	capacity := capacityOf(dir, batch.Node)
	for _, ev := range batch.Events {
		reply.LastSeq = max(reply.LastSeq, ev.Seq)
		acct := accountOf(dir, &ev)
		if acct == nil && (ev.AccountID == "" || !ends(ev.Type)) {
			p.unknown.Add(1)
			continue
		}
		if acct != nil {
			ev.AccountID = acct.Account.ID
		}
		add(ev.AccountID, enrich(acct, ev))
		if capacity > 0 && strings.HasPrefix(ev.Type, "dialog.") && ends(ev.Type) {
			bare := presence.Event{Event: ev}
			bare.AccountID = ""
			add(nodeID(batch.Node), bare)
		}
	}
	return ids, parts
}

func capacityOf(dir brain.Directory, node string) int {
	if n := dir.NodeByName(node); n != nil {
		return n.Capacity
	}
	return 0
}

// ends tells whether an event ends something: those are applied even when the account was deleted meanwhile.
func ends(event string) bool {
	switch event {
	case api.EventContactRemoved, api.EventContactExpired, api.EventDialogEnd, api.EventDialogFailed:
		return true
	}
	return false
}

// accountOf finds whose event it is. A contact that expired comes without the account, which the edge's
// location store does not keep: its domain says whose it is.
func accountOf(dir brain.Directory, ev *api.Event) *brain.AccountConfig {
	if ev.AccountID != "" {
		return dir.ByAccount(ev.AccountID)
	}
	return dir.ByDomain(ev.AOR[strings.LastIndexByte(ev.AOR, '@')+1:])
}

// enrich adds what the configuration knows of an event's device or parties.
func enrich(acct *brain.AccountConfig, ev api.Event) presence.Event {
	e := presence.Event{Event: ev}
	if acct == nil {
		return e
	}
	switch ev.Type {
	case api.EventContactSaved, api.EventContactRemoved, api.EventContactExpired:
		if d := acct.DeviceByAuth[strings.TrimPrefix(ev.AOR, "sip:")]; d != nil {
			e.DeviceID, e.UserID = d.ID, d.UserID
		}
	case api.EventDialogStart:
		e.Takes = route.Adopted(acct, ev.From, ev.To, ev.Trunk)
	}
	return e
}

// Accounts lists the live objects of every shard that are accounts, sorted.
func (p *Presence) Accounts(ctx context.Context) ([]string, error) { return p.Live.IDs(ctx) }
