package endpoint

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Nodes carries out ops on the nodes.
type Nodes interface {
	// Push has a node carry out an op. brain.EUnavailable: it cannot be reached.
	Push(ctx context.Context, n *brain.Node, op api.Op) (api.OpReply, error)
}

// opID names an op of its own.
func opID() string { return "op_" + strings.ToLower(rand.Text()) }

// conference answers GET /conference?conference_id=…: who is in the room.
func (s *Server) conference(r *http.Request, key brain.APIKey) (any, error) {
	c, err := s.conferenceOf(r, key, r.URL.Query().Get("conference_id"))
	if err != nil {
		return nil, err
	}
	state, _, err := s.findRoom(r.Context(), c)
	return state, err
}

// conferenceOf is a conference of the account that the question is about, by its id or its name.
func (s *Server) conferenceOf(r *http.Request, key brain.APIKey, name string) (*brain.Conference, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	acct := s.Config.Directory().ByAccount(id)
	if acct == nil {
		return nil, badBody(http.StatusNotFound, countBadType, "there is no account %s", quote(id))
	}
	if c := acct.Conferences[name]; c != nil {
		return c, nil
	}
	for _, c := range acct.Conferences {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, badBody(http.StatusNotFound, countBadType, "the account has no conference %s", quote(name))
}

// findRoom asks the nodes for a room. A node that does not answer may be the one: then it is not known.
func (s *Server) findRoom(ctx context.Context, c *brain.Conference) (*api.ConferenceState, *brain.Node, error) {
	state := &api.ConferenceState{ConferenceID: c.ID, Name: c.Name, Members: []api.ConferenceMember{}}
	var silent error
	for _, n := range s.Config.Directory().Nodes() {
		if !n.TakesOrders() {
			continue
		}
		reply, err := s.Nodes.Push(ctx, n, api.Op{ID: opID(), Kind: api.OpConference, Action: "list", Room: c.Room()})
		if err != nil {
			silent = err
			continue
		}
		if len(reply.Members) > 0 {
			state.Node, state.Locked, state.Members = n.Name, reply.Locked, reply.Members
			return state, n, nil
		}
	}
	return state, nil, silent
}

// conferenceActions are what an operator may do to a room.
var conferenceActions = []string{"mute", "unmute", "kick", "lock", "unlock"}

// changeConference answers POST /conference.
func (s *Server) changeConference(r *http.Request, key brain.APIKey) (any, error) {
	var req api.ConferenceRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if !slices.Contains(conferenceActions, req.Action) {
		return nil, badField(countBadType, "action", "must be one of %s", strings.Join(conferenceActions, ", "))
	}
	if err := checkText("member", req.Member, maxID); err != nil {
		return nil, err
	}
	c, err := s.conferenceOf(r, key, req.ConferenceID)
	if err != nil {
		return nil, err
	}
	_, n, err := s.findRoom(r.Context(), c)
	switch {
	case err != nil:
		return nil, err
	case n == nil:
		return nil, badBody(http.StatusNotFound, countBadType, "nobody is in conference %s", quote(c.Name))
	}
	op := api.Op{ID: opID(), Kind: api.OpConference, Action: req.Action, Room: c.Room(), Member: req.Member}
	if err := s.done(r.Context(), n, op); err != nil {
		return nil, err
	}
	state, _, err := s.findRoom(r.Context(), c)
	return state, err
}

// done pushes an op. A node that refuses it, because there is no such member or nothing is being recorded, or that
// cannot be asked, is a conflict: nothing has changed.
func (s *Server) done(ctx context.Context, n *brain.Node, op api.Op) error {
	reply, err := s.Nodes.Push(ctx, n, op)
	switch {
	case brain.CodeOf(err) == brain.EInvalid:
		return badBody(http.StatusConflict, countBadType, "%s", err)
	case err == nil && !reply.OK:
		return badBody(http.StatusConflict, countBadType, "node %s: %s", n.Name, reply.Error)
	}
	return err
}

// recording answers POST /recording.
func (s *Server) recording(r *http.Request, key brain.APIKey) (any, error) {
	var req api.RecordingRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"start", "stop", "pause", "resume"}, req.Action) {
		return nil, badField(countBadType, "action", "must be start, stop, pause or resume")
	}
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	calls, err := s.Presence.Calls(r.Context(), id)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(calls, func(c api.Call) bool { return c.Token == req.Token })
	if i < 0 {
		return nil, badBody(http.StatusNotFound, countBadType, "the account has no live call %s", quote(req.Token))
	}
	n := s.Config.Directory().NodeByName(calls[i].Node)
	if n == nil {
		return nil, badBody(http.StatusNotFound, countBadType, "node %s of the call is not registered", quote(calls[i].Node))
	}
	op := api.Op{ID: opID(), Kind: api.OpRecording, Token: req.Token, Action: req.Action}
	if req.Action == "start" {
		op.Key = id + "/rec/" + s.Now().In(s.zone(id)).Format(time.DateOnly) + "/" + req.Token + "-" + op.ID[3:9] + ".wav"
	}
	if err := s.done(r.Context(), n, op); err != nil {
		return nil, err
	}
	return &api.RecordingReply{Key: op.Key}, nil
}

// zone is the time zone of an account, by whose days its recordings are filed; UTC when it has none.
func (s *Server) zone(accountID string) *time.Location {
	if acct := s.Config.Directory().ByAccount(accountID); acct != nil {
		return acct.Zone("")
	}
	return time.UTC
}
