package endpoint

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// dialogs answers POST /node/dialogs. Whatever is not a complete report is refused whole: what a report does
// not list is taken as absent.
func (s *Server) dialogs(r *http.Request, key brain.APIKey) (any, error) {
	if err := onlyJSON(r); err != nil {
		return nil, err
	}
	if r.ContentLength > api.MaxReport {
		return nil, badBody(http.StatusRequestEntityTooLarge, countBadTooLarge, "a report has at most %d bytes", api.MaxReport)
	}
	var report api.DialogReport
	d := json.NewDecoder(io.LimitReader(r.Body, api.MaxReport))
	d.DisallowUnknownFields()
	if err := d.Decode(&report); err != nil {
		if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, brokenBody(err)
		}
		return nil, jsonFault(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badBody(http.StatusBadRequest, countBadSyntax, "there is something after the JSON document")
	}
	if err := checkReport(&report); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &report.Node); err != nil {
		return nil, err
	}
	if err := s.Presence.Report(s.Config.Directory(), &report); err != nil {
		return nil, err
	}
	return &api.DialogReportReply{Seq: report.Seq}, nil
}

func checkReport(r *api.DialogReport) error {
	for _, f := range [...]struct{ name, value string }{{"node", r.Node}, {"boot", r.Boot}} {
		if f.value == "" {
			return badField(countBadType, f.name, "is missing")
		}
		if err := checkText(f.name, f.value, maxID); err != nil {
			return err
		}
	}
	switch {
	case r.Count != len(r.Dialogs):
		return badField(countBadType, "count", "says %d, and there are %d dialogs", r.Count, len(r.Dialogs))
	case r.Seq <= 0:
		return badField(countBadType, "seq", "must be above 0")
	case r.TakenMS <= 0 || r.BootMS <= 0 || r.BootMS > r.TakenMS:
		return badField(countBadType, "taken_ms", "must be after boot_ms, and both above 0")
	}
	for i := range r.Dialogs {
		d := &r.Dialogs[i]
		if d.CallID == "" {
			return badField(countBadType, "dialogs", "%d has no call_id", i)
		}
		for _, v := range [...]string{d.AccountID, d.Token, d.CallID} {
			if err := checkText("dialogs", v, maxID); err != nil {
				return err
			}
		}
		for _, v := range [...]string{d.From, d.To} {
			if err := checkText("dialogs", v, maxText); err != nil {
				return err
			}
		}
	}
	return nil
}

// account finds whose live state a question is about: that of the key, or for a key of the platform the one it
// names.
func (s *Server) account(r *http.Request, key brain.APIKey) (string, error) {
	named := r.URL.Query().Get("account_id")
	switch {
	case key.AccountID != "" && (named == "" || named == key.AccountID):
		return key.AccountID, nil
	case key.AccountID != "":
		return "", badBody(http.StatusForbidden, countRefusedScope, "the key is of another account")
	case named == "":
		return "", badField(countBadType, "account_id", "is missing: a key of the platform names the account")
	case s.Config.Directory().ByAccount(named) == nil:
		return "", badField(countBadType, "account_id", "there is no account %s", quote(named))
	}
	return named, nil
}

// cac answers GET /cac: what is taken of every dimension, and by which calls.
func (s *Server) cac(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	return s.Presence.CAC(r.Context(), id)
}

// presenceState answers GET /presence.
func (s *Server) presenceState(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	return s.Presence.State(r.Context(), id)
}

// maxReset bounds the slots released by one question.
const maxReset = 1000

// ResetRequest releases slots by hand: those of the tokens, or all with All.
type ResetRequest struct {
	Tokens []string `json:"tokens,omitempty"`
	All    bool     `json:"all,omitempty"`
}

// ResetReply says how many slots were asked to be released.
type ResetReply struct {
	Released int `json:"released"`
}

// cacReset answers POST /cac/reset. It ends no call: a call that is up is counted again by the next report.
func (s *Server) cacReset(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	var req ResetRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	switch {
	case req.All == (len(req.Tokens) > 0):
		return nil, badField(countBadType, "tokens", "give either tokens or all")
	case len(req.Tokens) > maxReset:
		return nil, badField(countBadTooLong, "tokens", "at most %d at once", maxReset)
	}
	for _, t := range req.Tokens {
		if err := checkText("tokens", t, maxID); err != nil {
			return nil, err
		}
	}
	n, err := s.Presence.Reset(r.Context(), id, req.Tokens)
	if err != nil {
		return nil, err
	}
	s.Log.Info("slots released by hand", "account", id, "key", key.ID, "key_name", key.Name, "slots", n, "all", req.All)
	return &ResetReply{Released: n}, nil
}

// readJSON reads a small JSON body.
func readJSON(r *http.Request, into any) error {
	if err := onlyJSON(r); err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	return decodeJSON(body, into)
}
