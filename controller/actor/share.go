package actor

import (
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// maxShares bounds the accounts that are admitted without their owner at once.
const maxShares = 1 << 14

// shares admits calls of accounts whose shard has no owner, by their policy: each node its share of every
// limit, from what the node's last report listed and what was admitted here since. Nothing is given back
// meanwhile, so it only ever errs towards refusing. The owner learns of the calls by the next reports.
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
func share(limit, nodes int) int { return (limit + nodes - 1) / max(nodes, 1) }

// admitShare answers by the account's policy while nobody owns its shard.
func (p *Presence) admitShare(a *presence.Admission) (cac.Verdict, error) {
	p.degraded.Add(1)
	if a.Policy == brain.AdmissionClosed && !a.Call.Emergency {
		return cac.Verdict{}, brain.Errorf(brain.EUnavailable, "the account's shard has no owner, and its policy is closed")
	}
	nodes := max(a.Nodes, 1)
	call := a.Call.Call
	call.Takes = make([]cac.Take, len(a.Call.Takes))
	for i, t := range a.Call.Takes {
		t.Limit = share(t.Limit, nodes)
		call.Takes[i] = t
	}
	call.Windows = make([]cac.Window, len(a.Call.Windows))
	for i, w := range a.Call.Windows {
		w.Max = share(w.Max, nodes)
		call.Windows[i] = w
	}
	p.shares.mu.Lock()
	defer p.shares.mu.Unlock()
	l := p.shares.of(a.AccountID, call.Node)
	if l == nil {
		return cac.Verdict{}, brain.Errorf(brain.EUnavailable, "too many accounts without an owner")
	}
	now := p.Live.Host.Now().UnixMilli()
	for _, d := range p.seen.of(call.Node, a.AccountID) {
		l.Adopt(now, cac.Call{Token: d.Token, CallID: d.CallID, Node: call.Node, AskedMS: d.SinceMS, Takes: d.Takes})
	}
	return l.Admit(now, call), nil
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
