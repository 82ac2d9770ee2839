package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// fakeBans has the fake brain know three bans and two allowed networks. Of the nodes, edge2 does not answer about 203.0.113.9.
func fakeBans(mux *http.ServeMux) {
	const from, until = 1767225600000, 1767229200000
	bans := []api.Ban{
		{Addr: "192.0.2.7", Tier: api.TierUA, Kind: api.OffenceScanner, Why: "signature of a scanner: 1 h", Evidence: "friendly-scanner\tOPTIONS", FromMS: from, UntilMS: until, Node: "edge1", Shared: true,
			Nodes: []api.BanNode{{Node: "edge1", OK: true, Packets: 1200}, {Node: "edge2", OK: true}}},
		{Addr: "203.0.113.9", Tier: api.TierOperator, Why: "toll fraud", FromMS: from, UntilMS: until, Shared: true, Actor: "anna"},
		{Addr: "2001:db8::/64", Tier: api.TierPike, Kind: api.OffenceRequests, Why: "flood of SIP requests, repeated", FromMS: from, UntilMS: until, Node: "edge2", Count: 2},
	}
	mux.HandleFunc("GET "+api.PathSecurityBans, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("addr") {
		case "":
			i := 0
			_, _ = fmt.Sscan(map[string]string{"203.0.113.9": "2"}[r.URL.Query().Get("after")], &i)
			list := api.BanList{Bans: bans[i:min(i+2, len(bans))], Total: len(bans)}
			if i == 0 {
				list.Next = "203.0.113.9"
			}
			reply(w, list)
		case "192.0.2.7":
			reply(w, api.BanList{Bans: bans[:1], Total: 3, About: &api.BanAbout{Addr: "192.0.2.7"}})
		case "192.0.2.8":
			reply(w, api.BanList{Total: 3, About: &api.BanAbout{Addr: "192.0.2.8", Protected: "trunk 192.0.2.8", Count: 1, LastKind: "flood", LastOffenceMS: from, GraceUntilMS: until}})
		default:
			problem(w, 400, brain.EInvalid, "no address")
		}
	})
	confirmed := func(addr string) api.BanReply {
		y := api.BanReply{Addr: addr, Nodes: []api.BanNode{{Node: "edge1", OK: true}, {Node: "edge2", OK: true}}}
		if addr == "203.0.113.9" {
			y.Nodes[1] = api.BanNode{Node: "edge2", Error: "node edge2: connection refused"}
		}
		return y
	}
	mux.HandleFunc("DELETE "+api.PathSecurityBans, func(w http.ResponseWriter, r *http.Request) { reply(w, confirmed(r.URL.Query().Get("addr"))) })
	mux.HandleFunc("POST "+api.PathSecurityBans, func(w http.ResponseWriter, r *http.Request) {
		var req api.BanRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Addr == "192.0.2.8" {
			problem(w, 409, brain.EConflict, "192.0.2.8 is protected: trunk 192.0.2.8")
			return
		}
		if req.ForSec != 7200 || req.Why != "fraud" {
			problem(w, 400, brain.EInvalid, fmt.Sprint(req))
			return
		}
		reply(w, confirmed(req.Addr))
	})
	mux.HandleFunc("GET "+api.PathSecurityAllow, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, api.AllowList{Allowed: []api.Allowed{{Net: "198.51.100.0/24", Who: "anna", Note: "office", SinceMS: from, UntilMS: until}, {Net: "2001:db8:7::/48", Who: "anna", SinceMS: from}}})
	})
	mux.HandleFunc("POST "+api.PathSecurityAllow, func(w http.ResponseWriter, r *http.Request) {
		var req api.AllowRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Note != "office" || req.ForSec != 86400 {
			problem(w, 400, brain.EInvalid, fmt.Sprint(req))
			return
		}
		reply(w, api.AllowList{Lifted: []string{"198.51.100.3"}})
	})
	mux.HandleFunc("DELETE "+api.PathSecurityAllow, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("net") != "198.51.100.0/24" {
			problem(w, 404, brain.ENotFound, "it is not on the allow list")
			return
		}
		reply(w, api.AllowList{})
	})
}
