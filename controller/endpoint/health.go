package endpoint

import (
	"maps"
	"net/http"

	"github.com/sipio/sipio/brain/api"
)

// Health is the answer of GET /health. The details are for keys of the platform only.
type Health struct {
	Status        string           `json:"status"` // ok: decisions are answered
	Version       string           `json:"version"`
	Protocol      string           `json:"protocol"`
	ConfigVersion int64            `json:"config_version"`
	Counts        map[string]int64 `json:"counts,omitempty"` // totals since the process began
	Nodes         []NodeSeen       `json:"nodes,omitempty"`

	Trunks map[string]TrunkCalls `json:"trunks,omitempty"` // calls to outside by trunk id, since the process began
}

// health answers GET /health. It needs no credential, so that load balancers and probes can ask.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	defer s.survive(w, r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		s.refuse(w, r, badBody(http.StatusMethodNotAllowed, countBadMethod, "use GET"))
		return
	}
	h := &Health{Status: "ok", Version: s.Version, Protocol: api.Version, ConfigVersion: s.Config.Directory().Version()}
	if s.allowed(peer(r)) {
		if key, ok := s.Credential(r); ok && forPlatform.has(key) {
			h.Counts, h.Nodes, h.Trunks = s.counts.all(), s.nodes.list(s.Now().UnixMilli()), s.attempts.all()
			maps.Copy(h.Counts, s.Presence.Counts())
			if s.queues != nil {
				maps.Copy(h.Counts, s.queues.Counts())
			}
		}
	}
	write(w, http.StatusOK, typeJSON, h)
}
