package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// Answering is the calls that the platform answers itself.
type Answering interface {
	// Flow says what to do next with a call. brain.ENotFound: there is no session of it, brain.EForbidden: no such
	// account, brain.EInvalid: out of bounds, brain.EUnavailable: the same question again later.
	Flow(ctx context.Context, req *api.FlowRequest) (api.FlowReply, error)
	// Alive says which calls a node still has.
	Alive(ctx context.Context, alive *api.FlowAlive) error
}

const (
	maxFlow       = 512 << 10 // bytes of a question: session.MaxVars data of session.MaxValue bytes, with room
	maxAlive      = 8 << 20   // bytes of a list of calls
	maxAliveCalls = 50_000
)

// RegisterFlow puts /flow and /flow/alive on a mux.
func (s *Server) RegisterFlow(mux Mux, calls Answering) {
	mux.Handle(api.PathFlow, s.gate(http.MethodPost, forNodes, func(r *http.Request, key brain.APIKey) (any, error) { return s.flow(r, key, calls) }))
	mux.Handle(api.PathFlowAlive, s.gate(http.MethodPost, forNodes, func(r *http.Request, key brain.APIKey) (any, error) { return s.flowAlive(r, key, calls) }))
}

// flow answers POST /flow: what shall the node agent do next with a call.
func (s *Server) flow(r *http.Request, key brain.APIKey, calls Answering) (any, error) {
	var req api.FlowRequest
	if err := readLarge(r, maxFlow, &req); err != nil {
		return nil, err
	}
	if err := s.checkFlow(&req); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &req.Node); err != nil {
		return nil, err
	}
	reply, err := calls.Flow(r.Context(), &req)
	if err != nil {
		return nil, flowFault(err)
	}
	return &reply, nil
}

// checkFlow refuses what names no call of an account that exists. An id with a slash would be another object's.
func (s *Server) checkFlow(req *api.FlowRequest) error {
	if err := checkCall(req.AccountID, req.Token); err != nil {
		return err
	}
	for _, f := range [...]struct{ name, value string }{{"node", req.Node}, {"call_id", req.CallID}, {"outcome", req.Outcome}} {
		if err := checkText(f.name, f.value, maxID); err != nil {
			return err
		}
	}
	if req.Node == "" {
		return badField(countBadType, "node", "is missing")
	}
	if err := session.CheckFlow(req); err != nil {
		return badBody(http.StatusBadRequest, countBadTooLong, "%s", err)
	}
	if s.Config.Directory().ByAccount(req.AccountID) == nil {
		return badField(countRefusedScope, "account_id", "there is no account %s", quote(req.AccountID)).with(http.StatusForbidden)
	}
	return nil
}

func checkCall(accountID, token string) error {
	for _, f := range [...]struct{ name, value string }{{"account_id", accountID}, {"token", token}} {
		if f.value == "" {
			return badField(countBadType, f.name, "is missing")
		}
		if err := checkText(f.name, f.value, maxID); err != nil {
			return err
		}
	}
	return nil
}

func (f *fault) with(status int) *fault {
	f.status = status
	return f
}

// flowFault gives the errors of a session their status.
func flowFault(err error) error {
	switch brain.CodeOf(err) {
	case brain.ENotFound:
		return badBody(http.StatusNotFound, countBadType, "%s", err)
	case brain.EForbidden:
		return badBody(http.StatusForbidden, countRefusedScope, "%s", err)
	case brain.EInvalid:
		return badBody(http.StatusBadRequest, countBadType, "%s", err)
	}
	return err
}

// FlowAliveReply says that a list was taken.
type FlowAliveReply struct {
	Calls int `json:"calls"`
}

// flowAlive answers POST /flow/alive. Calls of accounts that do not exist renew nothing.
func (s *Server) flowAlive(r *http.Request, key brain.APIKey, calls Answering) (any, error) {
	var alive api.FlowAlive
	if err := readLarge(r, maxAlive, &alive); err != nil {
		return nil, err
	}
	if alive.Node == "" {
		return nil, badField(countBadType, "node", "is missing")
	}
	if err := checkText("node", alive.Node, maxID); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &alive.Node); err != nil {
		return nil, err
	}
	if len(alive.Calls) > maxAliveCalls {
		return nil, badField(countBadTooLong, "calls", "at most %d", maxAliveCalls)
	}
	dir := s.Config.Directory()
	known := alive.Calls[:0]
	for _, c := range alive.Calls {
		if err := checkCall(c.AccountID, c.Token); err != nil {
			return nil, err
		}
		if dir.ByAccount(c.AccountID) != nil {
			known = append(known, c)
		}
	}
	alive.Calls = known
	if err := calls.Alive(r.Context(), &alive); err != nil {
		return nil, flowFault(err)
	}
	return &FlowAliveReply{Calls: len(known)}, nil
}

// readLarge reads a JSON body of at most so many bytes.
func readLarge(r *http.Request, most int64, into any) error {
	if err := onlyJSON(r); err != nil {
		return err
	}
	large := badBody(http.StatusRequestEntityTooLarge, countBadTooLarge, "a body has at most %d bytes", most)
	if r.ContentLength > most {
		return large
	}
	body := &io.LimitedReader{R: r.Body, N: most + 1}
	d := json.NewDecoder(body) // a node agent that is newer may say more
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); err == nil {
			return badBody(http.StatusBadRequest, countBadSyntax, "there is something after the JSON document")
		}
	}
	_, slow := errors.AsType[net.Error](err)
	switch {
	case body.N <= 0:
		return large
	case errors.Is(err, io.EOF):
		return emptyOrEnd(d)
	case slow, errors.Is(err, io.ErrUnexpectedEOF):
		return brokenBody(err)
	}
	return jsonFault(err)
}

// emptyOrEnd tells a body that has ended behind its document from one that had none.
func emptyOrEnd(d *json.Decoder) error {
	if d.InputOffset() == 0 {
		return badBody(http.StatusBadRequest, countBadSyntax, "the body is empty")
	}
	return nil
}
