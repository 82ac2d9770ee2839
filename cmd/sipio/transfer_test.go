package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// fakeTransfer has the fake brain transfer the call tok1 of agent 1001, and refuse every other. User ben rings, all others who are asked have
// answered; nobody is asked in the call tok3.
func fakeTransfer(mux *http.ServeMux) {
	mux.HandleFunc("POST "+api.PathTransfer, func(w http.ResponseWriter, r *http.Request) {
		var req api.TransferRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			problem(w, 400, brain.EInvalid, err.Error())
			return
		}
		switch {
		case req.Token == "tok3":
			problem(w, 409, brain.EConflict, "nobody is asked to take the caller: ask somebody first, with mode attended")
		case req.Token != "tok1":
			problem(w, 409, brain.EConflict, "the two phones are connected directly: transfer by the phone")
		case req.FromUserID != "1001":
			problem(w, 403, brain.EForbidden, "the user is not on the other side of this call")
		case req.Target.ID == "4711":
			problem(w, 404, brain.ENotFound, "", brain.FieldError{Path: "target.id", Text: "the account has no such " + req.Target.Kind})
		default:
			state := map[string]string{api.TransferAttended: api.ConsultTalking, api.TransferThreeWay: api.ConsultJoined}[req.Mode]
			if req.Target.ID == "ben" {
				state = api.ConsultRinging
			}
			reply(w, api.TransferReply{Token: req.Token, FromUserID: "us_1", Target: req.Target, Mode: req.Mode, State: state})
		}
	})
}

// The target is a number unless it names its kind; what is behind the first slash is the id, whatever stands in it.
func TestTransferTarget(t *testing.T) {
	for text, want := range map[string]api.TransferTarget{
		"1003": {Kind: "number", ID: "1003"}, "*98": {Kind: "number", ID: "*98"}, "queue/support": {Kind: "queue", ID: "support"}, "queue/a/b": {Kind: "queue", ID: "a/b"},
		"user/": {Kind: "user"}, "pstn/+4930": {Kind: "pstn", ID: "+4930"},
	} {
		if got := transferTarget(text); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}
