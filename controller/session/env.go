package session

import (
	"encoding/json"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/flow"
	"github.com/sipio/sipio/brain/schedule"
	"github.com/sipio/sipio/brain/session"
)

// maxGraphs bounds the compiled flows that are kept; beyond it all are compiled anew as they are needed.
const maxGraphs = 1 << 12

// graphs keeps published flows compiled, each as long as the configuration holds that very row.
type graphs struct {
	mu   sync.Mutex // guards kept
	kept map[string]graph
}

type graph struct {
	row  *brain.CallFlow
	flow *session.Flow // nil = its graph cannot be run
}

// of gives a flow as calls run it; nil when it was never published.
func (g *graphs) of(row *brain.CallFlow) *session.Flow {
	if row == nil || row.Version == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if k, ok := g.kept[row.ID]; ok && k.row == row {
		return k.flow
	}
	if g.kept == nil || len(g.kept) >= maxGraphs {
		g.kept = map[string]graph{}
	}
	f := compiled(row)
	g.kept[row.ID] = graph{row, f}
	return f
}

// compiled compiles a published graph. What an editor draws around it is not kept: it rides in every call's journal.
func compiled(row *brain.CallFlow) *session.Flow {
	lean := row.LiveGraph
	lean.Nodes = make([]brain.FlowStep, len(row.LiveGraph.Nodes))
	for i, n := range row.LiveGraph.Nodes {
		lean.Nodes[i] = brain.FlowStep{ID: n.ID, Data: n.Data}
	}
	g, faults := flow.Compile(lean)
	source, err := json.Marshal(&lean)
	if len(faults) > 0 || err != nil || g == nil {
		return nil
	}
	return &session.Flow{ID: row.ID, Version: row.Version, Graph: g, Source: source}
}

// Env is what sessions of an account see of the configuration now; nil when there is no such account.
func (c *Calls) Env(accountID string) *session.Env {
	acct := c.Directory().ByAccount(accountID)
	if acct == nil {
		return nil
	}
	return &session.Env{
		Account: acct,
		Flow:    func(id string) *session.Flow { return c.graphs.of(acct.Flows[id]) },
		Zone:    acct.Zone(""),
		Hours: func(id string, nowMS int64) string {
			switch schedule.State(acct.Schedules[id], acct.Zone(id), nowMS) {
			case schedule.Closed:
				return "out_of_hours"
			case schedule.Holiday:
				return "holiday"
			}
			return "in_hours"
		},
	}
}
