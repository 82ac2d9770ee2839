package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// tokenGood is the only key that the fake brain takes.
const tokenGood = "sk_test"

// newFakeBrain answers what the commands ask, always the same. A document is at fault in each line
// with MISTAKE, and changes nothing when it says SAME.
func newFakeBrain(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/apply", fakeApply)
	mux.HandleFunc("GET /v1/export", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "# of %q\nkind: account\nname: acme\n", r.URL.Query().Get("account_id"))
	})
	mux.HandleFunc("GET /v1/revisions", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"items": []brain.Revision{
			{Version: 12, TimeMS: 1767225600000, Actor: "key_1", Summary: "update sip_user 1001"},
			{Version: 11, TimeMS: 1767222000000, Actor: "first start", Summary: "create api_key admin"},
		}})
	})
	mux.HandleFunc("GET /v1/audit", fakeAudit)
	mux.HandleFunc("POST /v1/rollback", func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Version int64 }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Version != 11 {
			problem(w, 404, brain.ENotFound, fmt.Sprintf("no revision %d", asked.Version))
			return
		}
		w.Header().Set("X-Sipio-Config-Version", "13")
		reply(w, brain.Plan{Items: []brain.PlanItem{{Op: brain.OpDelete, Kind: brain.KindExtension, Account: "acme", Name: "*9"}}})
	})
	mux.HandleFunc("GET /v1/accounts", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"items": []brain.Account{{ID: "acc_1", Name: "acme"}, {ID: "acc_2", Name: "globex"}}})
	})
	mux.HandleFunc("GET /v1/sip_users", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") == "" {
			reply(w, map[string]any{"items": []brain.SIPUser{{ID: "us_1", AccountID: "acc_1", Username: "1001"}}, "next": "us_1"})
			return
		}
		reply(w, map[string]any{"items": []brain.SIPUser{{ID: "us_2", AccountID: "acc_1", Username: "1002"}}})
	})
	mux.HandleFunc("GET /v1/sip_users/us_1", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, brain.SIPUser{ID: "us_1", AccountID: "acc_1", Username: "1001", RingTimeoutSec: 20, RingStrategy: "sequential", Status: "active"})
	})
	mux.HandleFunc("DELETE /v1/sip_users/us_1", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, 409, brain.EConflict, "sip_user 1001 is still referred to by ring_group sales")
	})
	mux.HandleFunc("DELETE /v1/sip_users/us_2", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("GET /v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"items": []brain.Node{{ID: "node_1", Name: "edge1"}}})
	})
	mux.HandleFunc("GET /v1/console_users", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, 403, brain.EForbidden, "this needs a key of the platform with the scope platform")
	})
	mux.HandleFunc("POST /v1/api_keys", func(w http.ResponseWriter, r *http.Request) {
		var key brain.APIKey
		if err := json.NewDecoder(r.Body).Decode(&key); err != nil {
			problem(w, 400, brain.EInvalid, err.Error())
			return
		}
		key.ID, key.AccountID = "key_9", r.URL.Query().Get("account_id")
		reply(w, map[string]any{"key": "sk_new", "api_key": key})
	})
	mux.HandleFunc("GET /v1/api_keys", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"items": []brain.APIKey{
			{ID: "key_1", Name: "admin", Scopes: brain.Scopes}, {ID: "key_2", AccountID: "acc_1", Name: "ci", Scopes: []brain.Scope{brain.ScopeConfigRead}}}})
	})
	mux.HandleFunc("DELETE /v1/api_keys/key_2", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	fakeFlows(mux)
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, r *http.Request) {
		list := api.CallList{Calls: []api.Call{{CallID: "a@phone", AccountID: "acc_1", Node: "edge1", From: "1001", To: "1002", StartedMS: 1767225600000}}}
		if r.URL.Query().Get("after") == "" {
			list.Next = "more"
		} else {
			list.Calls[0].CallID, list.Calls[0].From = "b\tphone", "1003"
		}
		reply(w, list)
	})
	fakeLive(mux)
	fakeTrunks(mux)
	fakeBans(mux)
	fakeQueues(mux)
	fakeTransfer(mux)
	fakeSecrets(mux)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+tokenGood {
			problem(w, 401, brain.EUnauthorized, "no API key, or an unknown one")
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// fakeFlows has a flow "welcome" with a draft, which publishing makes version 4, "same" without one, "empty", which cannot
// be published, and "twice" in both accounts.
func fakeFlows(mux *http.ServeMux) {
	flows := []brain.CallFlow{
		{ID: "flow_1", AccountID: "acc_1", Name: "welcome", Version: 3, Status: brain.StatusDraft},
		{ID: "flow_2", AccountID: "acc_1", Name: "same", Version: 7, Status: brain.StatusPublished},
		{ID: "flow_3", AccountID: "acc_1", Name: "empty", Status: brain.StatusDraft},
		{ID: "flow_4", AccountID: "acc_1", Name: "twice"}, {ID: "flow_5", AccountID: "acc_2", Name: "twice", Version: 1},
	}
	mux.HandleFunc("GET /v1/call_flows", func(w http.ResponseWriter, r *http.Request) {
		account := r.URL.Query().Get("account_id")
		reply(w, map[string]any{"items": slices.DeleteFunc(slices.Clone(flows), func(f brain.CallFlow) bool { return account != "" && f.AccountID != account })})
	})
	mux.HandleFunc("GET /v1/accounts/{id}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, brain.Account{ID: r.PathValue("id"), Name: map[string]string{"acc_1": "acme", "acc_2": "globex"}[r.PathValue("id")]})
	})
	mux.HandleFunc("POST /v1/call_flows/{id}/publish", func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(flows, func(f brain.CallFlow) bool { return f.ID == r.PathValue("id") })
		now := flows[i]
		switch now.Name {
		case "empty":
			problem(w, 422, brain.EInvalid, "validation failed", brain.FieldError{Path: "graph.start", Text: "is required"})
			return
		case "welcome":
			now.Version++
		}
		now.Status = brain.StatusPublished
		reply(w, now)
	})
}

func fakeApply(w http.ResponseWriter, r *http.Request) {
	doc, err := io.ReadAll(r.Body)
	if err != nil {
		problem(w, 400, brain.EInvalid, err.Error())
		return
	}
	var mistakes []brain.FieldError
	for i, line := range strings.Split(string(doc), "\n") {
		if strings.Contains(line, "MISTAKE") {
			mistakes = append(mistakes, brain.FieldError{Path: `sip_user "1002": spec.usrname`, Line: i + 1, Text: "is no field of sip_user"})
		}
	}
	if len(mistakes) > 0 {
		problem(w, 422, brain.EInvalid, "validation failed", mistakes...)
		return
	}
	var plan brain.Plan
	if !strings.Contains(string(doc), "SAME") {
		plan.Items = []brain.PlanItem{
			{Op: brain.OpCreate, Kind: brain.KindAccount, Account: "acme", Name: "acme"},
			{Op: brain.OpUpdate, Kind: brain.KindSIPUser, Account: "acme", Name: "1001",
				Fields: []brain.FieldChange{{Field: "display_name", Old: "", New: "Ann"}, {Field: "ring_timeout_sec", Old: "25", New: "20"}}},
		}
		if r.URL.Query().Get("prune") == "true" {
			plan.Items = append(plan.Items, brain.PlanItem{Op: brain.OpDelete, Kind: brain.KindSIPUser, Account: "acme", Name: "1009"})
		}
	}
	w.Header().Set("X-Sipio-Config-Version", "12")
	reply(w, plan)
}

func reply(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}

func problem(w http.ResponseWriter, status int, code brain.Code, detail string, mistakes ...brain.FieldError) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	reply(w, map[string]any{"status": status, "code": code, "detail": detail, "errors": mistakes})
}
