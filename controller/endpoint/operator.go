package endpoint

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// cluster answers GET /cluster.
func (s *Server) cluster(r *http.Request, _ brain.APIKey) (any, error) {
	return s.Operator.Cluster(r.Context())
}

// journal answers GET /journal. It reads every shard's journal through.
func (s *Server) journal(r *http.Request, _ brain.APIKey) (any, error) {
	return s.Operator.Journal(r.Context())
}

// dump answers GET /journal/dump?shard=N, one JSON document a line. A dump that ends early has no line with
// "end": what was read so far cannot be taken back.
func (s *Server) dump(w http.ResponseWriter, r *http.Request) {
	defer s.survive(w, r)
	_, err := s.admit(r, forPlatform)
	if err == nil && r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		err = badBody(http.StatusMethodNotAllowed, countBadMethod, "use GET")
	}
	shard := 0
	if err == nil {
		if shard, err = strconv.Atoi(r.URL.Query().Get("shard")); err != nil || shard < 0 || shard >= brain.Shards {
			err = badField(countBadType, "shard", "give a number from 0 to %d", brain.Shards-1)
		}
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	out := json.NewEncoder(w)
	err = s.Operator.Dump(r.Context(), shard, func(record api.JournalRecord) error {
		if err := control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
			return err
		}
		return out.Encode(record)
	})
	if err == nil {
		err = out.Encode(dumpEnd{End: true})
	}
	if err != nil {
		s.Log.Warn("a dump of the journal broke off", "shard", shard, "err", err)
	}
}

// dumpEnd is the last line of a whole dump.
type dumpEnd struct {
	End bool `json:"end"`
}
