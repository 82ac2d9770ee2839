package endpoint

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// superviseModes are what a supervisor may ask for.
var superviseModes = []string{api.OpListen, api.OpWhisper, api.OpBarge, api.SuperviseStop}

// supervise answers POST /queues/supervise. Each is logged with its key: who listened is asked for later.
func (s *Server) supervise(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	var req api.SuperviseRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	for _, f := range [...]struct{ name, value string }{{"entry_id", req.EntryID}, {"user_id", req.UserID}} {
		if f.value == "" {
			return nil, badField(countBadType, f.name, "is missing")
		}
		if err := checkText(f.name, f.value, maxID); err != nil {
			return nil, err
		}
	}
	if !slices.Contains(superviseModes, req.Mode) {
		return nil, badField(countBadType, "mode", "must be one of %s", strings.Join(superviseModes, ", "))
	}
	reply, err := s.queues.Supervise(r.Context(), id, &req)
	if err != nil {
		return nil, transferFault(err)
	}
	s.Log.Info("talk supervised", "account", id, "key", key.ID, "key_name", key.Name, "entry", req.EntryID, "user", reply.UserID, "mode", req.Mode)
	return &reply, nil
}
