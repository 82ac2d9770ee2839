package endpoint

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// PathNodes lists the nodes by their last heartbeat, for operators.
const PathNodes = "/node"

// maxNodes bounds the nodes whose heartbeat is kept.
const maxNodes = 4096

// NodeSeen is a node's last heartbeat and when it came.
type NodeSeen struct {
	api.Heartbeat
	SeenMS int64 `json:"seen_ms"` // epoch milliseconds of this brain
	AgeMS  int64 `json:"age_ms"`  // how long ago that was when the list was made
}

// NodeList is the answer of GET /node, by name.
type NodeList struct {
	Nodes []NodeSeen `json:"nodes"`
}

// nodes holds the last heartbeat of each node. Not on the call path, so a plain lock will do.
type nodes struct {
	mu   sync.Mutex
	last map[string]NodeSeen
}

// heartbeat answers POST /node/heartbeat.
func (s *Server) heartbeat(r *http.Request, key brain.APIKey) (any, error) {
	var beat api.Heartbeat
	if err := decodeHeartbeat(r, &beat); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &beat.Node); err != nil {
		return nil, err
	}
	if !s.nodes.keep(NodeSeen{Heartbeat: beat, SeenMS: s.Now().UnixMilli()}) {
		return nil, brain.Errorf(brain.EUnavailable, "more than %d nodes", maxNodes)
	}
	return &api.HeartbeatReply{Version: api.Version, TrunkSources: s.Config.Directory().TrunkSources()}, nil
}

// listNodes answers GET /node.
func (s *Server) listNodes(*http.Request, brain.APIKey) (any, error) {
	return &NodeList{Nodes: s.nodes.list(s.Now().UnixMilli())}, nil
}

func decodeHeartbeat(r *http.Request, beat *api.Heartbeat) error {
	if err := onlyJSON(r); err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if err := decodeJSON(body, beat); err != nil {
		return err
	}
	if beat.Node == "" {
		return badField(countBadType, "node", "is missing")
	}
	if err := checkText("node", beat.Node, maxID); err != nil {
		return err
	}
	if err := checkText("protocol", beat.Protocol, maxID); err != nil {
		return err
	}
	for name, version := range beat.Versions {
		if err := checkText("versions."+cut(name), name+version, maxID); err != nil {
			return err
		}
	}
	for name := range beat.Healthy {
		if err := checkText("healthy."+cut(name), name, maxID); err != nil {
			return err
		}
	}
	return nil
}

// keep stores a heartbeat; false when there is no room for another node.
func (n *nodes) keep(seen NodeSeen) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.last[seen.Node]; !known && len(n.last) >= maxNodes {
		return false
	}
	if n.last == nil {
		n.last = make(map[string]NodeSeen)
	}
	n.last[seen.Node] = seen
	return true
}

func (n *nodes) list(nowMS int64) []NodeSeen {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]NodeSeen, 0, len(n.last))
	for _, seen := range n.last {
		seen.AgeMS = nowMS - seen.SeenMS
		list = append(list, seen)
	}
	slices.SortFunc(list, func(a, b NodeSeen) int { return strings.Compare(a.Node, b.Node) })
	return list
}
