package main

import (
	"net/http"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// fakeTrunks has the fake brain know two trunks of the account acme: north answers and is registered at until the year
// 2096, east does not answer one node.
func fakeTrunks(mux *http.ServeMux) {
	up := api.TrunkSeen{State: api.TrunkUp, SinceMS: 1767225600000, Code: 200, RTTMS: 12, Target: "192.0.2.9:5060", Pings: 40}
	down := api.TrunkSeen{State: api.TrunkDown, SinceMS: 1767225600000, Code: 408, Pings: 40, Failed: 9, LastError: "no answer"}
	mux.HandleFunc("GET "+api.PathTrunks, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("account_id") != "acc_1" {
			problem(w, 404, brain.ENotFound, "no such account")
			return
		}
		reply(w, api.TrunkList{AccountID: "acc_1", Trunks: []api.TrunkState{
			{ID: "trk_2", Name: "east", Status: "active", Direction: "outbound", Proxy: "192.0.2.8", Nodes: []api.TrunkNode{{Node: "edge1", TrunkSeen: up}, {Node: "edge2", AgeMS: 3100, TrunkSeen: down}}},
			{ID: "trk_1", Name: "north", Status: "active", Direction: "both", Proxy: "sip.north.test", Register: true, Nodes: []api.TrunkNode{{Node: "edge1", TrunkSeen: up}},
				Registration: &api.TrunkLease{TrunkID: "trk_1", Node: "edge1", Fence: 3, Contact: "sip:4930@192.0.2.1", Target: "192.0.2.9:5060", ExpiresMS: 4000000000000}},
			{ID: "trk_3", Name: "south", Status: "active", Direction: "both", Proxy: "sip.south.test", Register: true, Nodes: []api.TrunkNode{},
				Registration: &api.TrunkLease{TrunkID: "trk_3", Node: "edge1", Fence: 1, LastError: "403 Forbidden"}},
			{ID: "trk_4", Name: "off", Status: "disabled", Direction: "outbound", Proxy: "192.0.2.8"},
			{ID: "trk_5", Name: "numbers", Status: "active", Direction: "inbound", InboundAuth: "ip"},
			{ID: "trk_6", Name: "pbx", Status: "active", Direction: "both", InboundAuth: "register", Peer: &api.DevicePresence{AOR: "pbx@acme.test", Contacts: 1, Node: "edge1"}},
			{ID: "trk_7", Name: "silent-pbx", Status: "active", Direction: "both", InboundAuth: "register"},
			{ID: "trk_8", Name: "new", Status: "active", Direction: "outbound", Proxy: "192.0.2.7"},
		}})
	})
	mux.HandleFunc("POST "+api.PathTrunkPing, func(w http.ResponseWriter, r *http.Request) {
		found := api.TrunkPinged{TrunkID: r.PathValue("id"), Nodes: []api.TrunkPonged{{Node: "edge1", Seen: &up}}}
		if found.TrunkID == "trk_8" {
			found.Nodes = []api.TrunkPonged{{Node: "edge1", Error: "does not know it yet (at most 5 s)"}, {Node: "edge2", Error: "node edge2 refused the order: answered 401: no valid key"}}
		}
		if found.TrunkID == "trk_2" {
			found.Nodes = append(found.Nodes, api.TrunkPonged{Node: "edge2", Seen: &down}, api.TrunkPonged{Node: "edge3", Error: "node edge3: connection refused"})
		}
		reply(w, found)
	})
}

// Proves that a node which has told nothing for a minute is counted neither as one that finds a trunk up nor at all.
func TestUpOf_CountsLivingNodes(t *testing.T) {
	node := func(ageMS int64, state string) api.TrunkNode {
		return api.TrunkNode{AgeMS: ageMS, TrunkSeen: api.TrunkSeen{State: state}}
	}
	st := api.TrunkState{Proxy: "192.0.2.9", Nodes: []api.TrunkNode{node(oldMS, api.TrunkUp), node(10, api.TrunkDown), node(oldMS+1, api.TrunkUp), node(oldMS+1, api.TrunkDown)}}
	if got := upOf(&st); got != "1 of 2 up" {
		t.Errorf("%q", got)
	}
}
