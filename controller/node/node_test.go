package node

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// TestPush_SaysWhatTheNodeDid proves that an op arrives with the key, that the node's own answer comes back, and that
// everything else, a refusal, a redirect, an answer to another op, no address, is an error of the right kind.
func TestPush_SaysWhatTheNodeDid(t *testing.T) {
	var answer func(w http.ResponseWriter, op api.Op)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var op api.Op
		if err := json.NewDecoder(r.Body).Decode(&op); err != nil || r.URL.Path != api.PathOp || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%s %s with %q: %v", r.Method, r.URL.Path, r.Header.Get("Authorization"), err)
		}
		answer(w, op)
	}))
	defer srv.Close()
	ops, n := &Ops{Key: "secret"}, &brain.Node{Name: "edge-1", AgentURL: srv.URL}
	say := func(reply api.OpReply) func(http.ResponseWriter, api.Op) {
		return func(w http.ResponseWriter, op api.Op) { _ = json.NewEncoder(w).Encode(reply) }
	}
	answer = say(api.OpReply{ID: "op-1", Error: "no such call"})
	if reply, err := ops.Push(t.Context(), n, api.Op{ID: "op-1", Kind: api.OpHangup}); err != nil || reply.OK || reply.Error != "no such call" {
		t.Errorf("%+v %v", reply, err)
	}
	for name, c := range map[string]struct {
		node   *brain.Node
		answer func(http.ResponseWriter, api.Op)
		code   brain.Code
		text   string
	}{
		"another op":  {n, say(api.OpReply{ID: "op-2", OK: true}), brain.EUnavailable, "no answer to the op"},
		"refusal":     {n, func(w http.ResponseWriter, _ api.Op) { http.Error(w, "go away", http.StatusUnauthorized) }, brain.EUnavailable, "401: go away"},
		"redirect":    {n, func(w http.ResponseWriter, _ api.Op) { w.Header().Set("Location", "/x"); w.WriteHeader(302) }, brain.EUnavailable, "302"},
		"no address":  {&brain.Node{Name: "edge-2"}, nil, brain.EInvalid, "no agent_url"},
		"bad address": {&brain.Node{Name: "edge-2", AgentURL: "http://[::1"}, nil, brain.EInvalid, "agent_url"},
		"nobody":      {&brain.Node{Name: "edge-2", AgentURL: "http://127.0.0.1:1"}, nil, brain.EUnavailable, "refused"},
	} {
		answer = c.answer
		_, err := ops.Push(t.Context(), c.node, api.Op{ID: "op-1", Kind: api.OpHangup})
		if brain.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
