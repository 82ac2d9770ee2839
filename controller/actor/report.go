package actor

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/route"
)

// maxNodes bounds the nodes whose last report is kept.
const maxNodes = 1 << 12

// sightings is the newest dialog report of each node as this brain saw it. It is what admission knows of an
// account whose shard has no owner.
type sightings struct {
	mu   sync.Mutex
	last map[string]sighting
}

type sighting struct {
	boot    string
	seq     int64
	dialogs map[string][]presence.Dialog // by account
	takenMS int64
}

// keep remembers a report unless a newer one of the node is known.
func (s *sightings) keep(node string, sg sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.last[node]
	if known && sg.seq <= old.seq && sg.boot == old.boot || !known && len(s.last) >= maxNodes {
		return
	}
	if s.last == nil {
		s.last = map[string]sighting{}
	}
	s.last[node] = sg
}

// of returns the dialogs of an account at a node, by the newest report.
func (s *sightings) of(node, accountID string) []presence.Dialog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[node].dialogs[accountID]
}

// Report shows a complete list of a node's dialogs to every live object it may concern, at every brain. It is
// told to nobody twice and waits for nothing: the next report says again what this one said.
func (p *Presence) Report(dir brain.Directory, r *api.DialogReport) error {
	if p.Broadcast == nil {
		p.observe(dir, r)
		return nil
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a dialog report: %w", err)
	}
	return p.Broadcast(data)
}

// Reported takes a report that a brain has broadcast.
func (p *Presence) Reported(dir brain.Directory, data []byte) error {
	var r api.DialogReport
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("dialog report of another brain: %w", err)
	}
	if r.Count != len(r.Dialogs) {
		return fmt.Errorf("dialog report of node %s lists %d of %d", r.Node, len(r.Dialogs), r.Count)
	}
	p.observe(dir, &r)
	return nil
}

func (p *Presence) observe(dir brain.Directory, r *api.DialogReport) {
	p.reports.Add(1)
	of := map[string][]presence.Dialog{}
	var all []presence.Dialog
	capacity := capacityOf(dir, r.Node)
	for _, d := range r.Dialogs {
		live := presence.Dialog{Token: d.Token, CallID: d.CallID, From: d.From, To: d.To, SinceMS: d.SinceMS}
		if capacity > 0 {
			counted := live
			counted.Takes = []cac.Take{{Kind: cac.Node, ID: r.Node, Limit: capacity}}
			all = append(all, counted)
		}
		if acct := dir.ByAccount(d.AccountID); acct != nil {
			live.Takes = route.Adopted(acct, d.From, d.To, "")
			of[d.AccountID] = append(of[d.AccountID], live)
		}
	}
	if capacity > 0 {
		of[nodeID(r.Node)] = all
	}
	p.seen.keep(r.Node, sighting{boot: r.Boot, seq: r.Seq, takenMS: r.TakenMS, dialogs: of})
	p.Live.Host.Observe(presence.Report{Node: r.Node, Boot: r.Boot, Seq: r.Seq, BootMS: r.BootMS, TakenMS: r.TakenMS}, of)
}
