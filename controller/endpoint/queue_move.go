package endpoint

import (
	"net/http"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// maxPlace bounds the place that a caller is moved to: further back is as good as the last.
const maxPlace = 1_000_000

// moveCaller answers POST /queues/move. Each is logged with its key: who has let whom in is asked for later.
func (s *Server) moveCaller(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	var req api.MoveRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if err := checkCaller(req.EntryID, req.Token); err != nil {
		return nil, err
	}
	if req.Place < 1 || req.Place > maxPlace {
		return nil, badField(countBadType, "place", "must be 1 (next) to %d", maxPlace)
	}
	reply, err := s.queues.Move(r.Context(), id, &req)
	if err != nil {
		return nil, transferFault(err)
	}
	s.Log.Info("caller moved", "account", id, "key", key.ID, "key_name", key.Name, "entry", reply.EntryID, "queue", reply.QueueID,
		"asked", req.Place, "place", reply.Place)
	return &reply, nil
}

// sendCaller answers POST /queues/send. Each is logged with its key.
func (s *Server) sendCaller(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	var req api.SendRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if err := checkCaller(req.EntryID, req.Token); err != nil {
		return nil, err
	}
	for _, f := range [...]struct{ name, value string }{{"target.kind", req.Target.Kind}, {"target.id", req.Target.ID}} {
		if f.value == "" {
			return nil, badField(countBadType, f.name, "is missing")
		}
		if err := checkText(f.name, f.value, maxID); err != nil {
			return nil, err
		}
	}
	reply, err := s.queues.Send(r.Context(), id, &req)
	if err != nil {
		return nil, transferFault(err)
	}
	s.Log.Info("caller sent elsewhere", "account", id, "key", key.ID, "key_name", key.Name, "entry", reply.EntryID, "token", reply.Token,
		"target", reply.Target.Kind+"/"+reply.Target.ID)
	return &reply, nil
}

// checkCaller refuses what does not name one caller. An id with a slash would be another object's.
func checkCaller(entryID, token string) error {
	if (entryID == "") == (token == "") {
		return badField(countBadType, "entry_id", "give either entry_id or token")
	}
	for _, f := range [...]struct{ name, value string }{{"entry_id", entryID}, {"token", token}} {
		if err := checkText(f.name, f.value, maxID); err != nil {
			return err
		}
		if strings.Contains(f.value, "/") {
			return badField(countBadType, f.name, "is none of a caller")
		}
	}
	return nil
}
