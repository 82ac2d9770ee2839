package main

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// fakeLive has the fake brain answer for conferences and recordings of the account acme: in the room board are two, in
// the room empty is nobody, and the call tok is being recorded.
func fakeLive(mux *http.ServeMux) {
	members := func() []api.ConferenceMember {
		return []api.ConferenceMember{{ID: "3", Token: "t1", Number: "1001", Name: "Ann\tLee", Moderator: true, JoinedMS: 1767225600000}, {ID: "4", Token: "t2", Number: "1002"}}
	}
	show := func(w http.ResponseWriter, r *http.Request, name string, list []api.ConferenceMember, locked bool) {
		switch {
		case r.URL.Query().Get("account_id") != "acc_1":
			problem(w, 404, brain.ENotFound, "the account has no conference \""+name+"\"")
		case name == "empty":
			reply(w, api.ConferenceState{ConferenceID: "conf_2", Name: name, Members: []api.ConferenceMember{}})
		case name == "board":
			reply(w, api.ConferenceState{ConferenceID: "conf_1", Name: name, Node: "edge1", Locked: locked, Members: list})
		default:
			problem(w, 404, brain.ENotFound, "the account has no conference \""+name+"\"")
		}
	}
	mux.HandleFunc("GET "+api.PathConference, func(w http.ResponseWriter, r *http.Request) {
		show(w, r, r.URL.Query().Get("conference_id"), members(), false)
	})
	mux.HandleFunc("POST "+api.PathConference, func(w http.ResponseWriter, r *http.Request) {
		var req api.ConferenceRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			problem(w, 400, brain.EInvalid, err.Error())
			return
		}
		list := members()
		if !slices.Contains([]string{"", "3", "4"}, req.Member) {
			problem(w, 409, brain.EConflict, "node edge1: no such member")
			return
		}
		for i := range list {
			list[i].Muted = req.Action == "mute" && (req.Member == "" || req.Member == list[i].ID)
		}
		if req.Action == "kick" {
			list = slices.DeleteFunc(list, func(m api.ConferenceMember) bool { return req.Member == "" || m.ID == req.Member })
		}
		show(w, r, req.ConferenceID, list, req.Action == "lock")
	})
	mux.HandleFunc("POST "+api.PathRecording, func(w http.ResponseWriter, r *http.Request) {
		var req api.RecordingRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Token != "tok" {
			problem(w, 404, brain.ENotFound, "the account has no live call \""+req.Token+"\"")
			return
		}
		switch req.Action {
		case "start":
			problem(w, 409, brain.EConflict, "node edge1: the call is being recorded already")
		case "pause", "resume", "stop":
			reply(w, api.RecordingReply{})
		default:
			problem(w, 400, brain.EInvalid, "action: must be start, stop, pause or resume")
		}
	})
}
