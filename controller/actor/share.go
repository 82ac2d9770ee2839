package actor

import (
	"slices"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// maxShares bounds the accounts that are admitted without their owner at once.
const maxShares = 1 << 14

// shares admits calls of accounts whose shard has no owner, by their policy: each node its share of every
// limit, from what the node's last report listed and what was admitted here since. Nothing but what a call swaps is
// given back meanwhile, so it only ever errs towards refusing. The owner learns of the calls by the next reports.
type shares struct {
	mu     sync.Mutex
	ledger map[string]map[string]*cac.Ledger // by account, by node
}

// forget drops what was counted for an account: it has an owner again.
func (s *shares) forget(accountID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ledger) > 0 {
		delete(s.ledger, accountID)
	}
}

// share is one node's part of a limit, rounded up; 0 stays no limit.
func share(limit, nodes int) int { return (limit + max(nodes, 1) - 1) / max(nodes, 1) }

// admitShare answers by the account's policy while nobody owns its shard.
func (p *Presence) admitShare(a *presence.Admission) (cac.Verdict, error) {
	call := a.Call.Call
	call.Takes, call.Windows = shareTakes(call.Takes, a.Nodes), shareWindows(call.Windows, a.Nodes)
	return p.byShare(a.AccountID, call.Node, a.Policy, call.Emergency, func(l *cac.Ledger, now int64) cac.Verdict {
		return l.Admit(now, call)
	})
}

// swapShare is admitShare for a swap. A call that its node's share does not know was admitted by the owner, and not
// reported since: it is taken up with nothing, and gets what the swap adds if the share has room for it.
func (p *Presence) swapShare(accountID string, s *presence.Swap) (cac.Verdict, error) {
	swap := s.Swap
	swap.Add, swap.Windows = shareTakes(swap.Add, s.Nodes), shareWindows(swap.Windows, s.Nodes)
	return p.byShare(accountID, s.Node, s.Policy, s.Emergency, func(l *cac.Ledger, now int64) cac.Verdict {
		l.Adopt(now, cac.Call{Token: swap.Token, Node: s.Node})
		return l.Swap(now, swap)
	})
}

// byShare lets decide answer from a node's share of an account, if the policy allows it. An emergency call is
// answered in any case.
func (p *Presence) byShare(accountID, node string, policy brain.AdmissionPolicy, emergency bool, decide func(l *cac.Ledger, now int64) cac.Verdict) (cac.Verdict, error) {
	p.degraded.Add(1)
	if policy == brain.AdmissionClosed && !emergency {
		return cac.Verdict{}, brain.Errorf(brain.EUnavailable, "the account's shard has no owner, and its policy is closed")
	}
	p.shares.mu.Lock()
	defer p.shares.mu.Unlock()
	l := p.shares.of(accountID, node)
	if l == nil {
		return cac.Verdict{}, brain.Errorf(brain.EUnavailable, "too many accounts without an owner")
	}
	now := p.Live.Host.Now().UnixMilli()
	for _, d := range p.seen.of(node, accountID) {
		l.Adopt(now, cac.Call{Token: d.Token, CallID: d.CallID, Node: node, AskedMS: d.SinceMS, Takes: d.Takes})
	}
	return decide(l, now), nil
}

func shareTakes(takes []cac.Take, nodes int) []cac.Take {
	out := slices.Clone(takes)
	for i := range out {
		out[i].Limit = share(out[i].Limit, nodes)
	}
	return out
}

func shareWindows(windows []cac.Window, nodes int) []cac.Window {
	out := slices.Clone(windows)
	for i := range out {
		out[i].Max = share(out[i].Max, nodes)
	}
	return out
}

func (s *shares) of(accountID, node string) *cac.Ledger {
	byNode := s.ledger[accountID]
	if byNode == nil {
		if len(s.ledger) >= maxShares {
			return nil
		}
		if s.ledger == nil {
			s.ledger = map[string]map[string]*cac.Ledger{}
		}
		byNode = map[string]*cac.Ledger{}
		s.ledger[accountID] = byNode
	}
	if byNode[node] == nil {
		byNode[node] = cac.New()
	}
	return byNode[node]
}
