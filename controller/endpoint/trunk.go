package endpoint

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/auth"
	"github.com/sipio/sipio/brain/presence"
)

// Trunks is what is needed of trunks besides their configuration.
type Trunks interface {
	// Active lists the trunks in use of all accounts that are not suspended, sorted by id, in the configuration of the Directory.
	Active(dir brain.Directory) []*brain.SIPTrunk
	// Lease asks for leases of one account's trunks and returns when the journal has what came of it.
	Lease(ctx context.Context, accountID, node string, asks []presence.LeaseAsk) ([]api.TrunkLease, error)
	// Leases lists who registers us at which trunk of an account.
	Leases(ctx context.Context, accountID string) ([]api.TrunkLease, error)
}

// RegisterTrunks puts the endpoints of trunks on a mux.
func (s *Server) RegisterTrunks(mux Mux, t Trunks) {
	s.trunks.of = t
	mux.Handle(api.PathNodeTrunks, s.gate(http.MethodPost, forNodes, s.nodeTrunks))
	mux.Handle(api.PathTrunkLease, s.gate(http.MethodPost, forNodes, s.trunkLease))
	mux.Handle(api.PathTrunkAnswer, s.gate(http.MethodPost, forNodes, s.trunkAnswer))
	mux.Handle(api.PathTrunks, s.gate(http.MethodGet, forCalls, s.listTrunks))
	mux.Handle(api.PathTrunkPing, s.gate(http.MethodPost, forCallsWrite, s.pingTrunk))
}

// trunks is what nodes have told of trunks, and the list that they are given.
type trunks struct {
	of Trunks

	mu    sync.Mutex
	seen  map[string]nodeTrunks // by node
	watch watchList
}

// nodeTrunks is what one node has told last.
type nodeTrunks struct {
	atMS int64
	of   map[string]api.TrunkSeen // by trunk id
}

// nodeTrunks answers POST /node/trunks.
func (s *Server) nodeTrunks(r *http.Request, key brain.APIKey) (any, error) {
	var told api.NodeTrunks
	if err := readLong(r, &told); err != nil {
		return nil, err
	}
	if err := checkSeen(&told); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &told.Node); err != nil {
		return nil, err
	}
	dir := s.Config.Directory()
	list := s.watched(dir)
	if !s.trunks.keep(s.Now().UnixMilli(), &told) {
		return nil, brain.Errorf(brain.EUnavailable, "more than %d nodes", maxNodes)
	}
	reply := &api.NodeTrunksReply{Digest: list.digest, SIP: sipAddress(dir, told.Node)}
	if told.Digest == list.digest {
		reply.Same = true
	} else {
		reply.Trunks = list.trunks
	}
	return reply, nil
}

// sipAddress is a node's first SIP address, "" when it has none.
func sipAddress(dir brain.Directory, node string) string {
	if n := dir.NodeByName(node); n != nil && len(n.SIPAddresses) > 0 {
		return n.SIPAddresses[0]
	}
	return ""
}

// readLong reads a JSON body of a node that may have api.MaxNodeBody bytes.
func readLong(r *http.Request, into any) error { return readUpTo(r, api.MaxNodeBody, into) }

// readUpTo reads a JSON body of at most so many bytes.
func readUpTo(r *http.Request, most int64, into any) error {
	if err := onlyJSON(r); err != nil {
		return err
	}
	if r.ContentLength > most {
		return badBody(http.StatusRequestEntityTooLarge, countBadTooLarge, "at most %d bytes", most)
	}
	d := json.NewDecoder(io.LimitReader(r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return brokenBody(err)
		}
		return jsonFault(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badBody(http.StatusBadRequest, countBadSyntax, "there is something after the JSON document")
	}
	return nil
}

// checkName refuses a node that does not say who it is.
func checkName(node string) error {
	if node == "" {
		return badField(countBadType, "node", "is missing")
	}
	return checkText("node", node, maxID)
}

func checkSeen(told *api.NodeTrunks) error {
	if err := checkName(told.Node); err != nil {
		return err
	}
	if len(told.Trunks) > api.MaxNodeTrunks {
		return badField(countBadTooLong, "trunks", "at most %d", api.MaxNodeTrunks)
	}
	for i := range told.Trunks {
		t := &told.Trunks[i]
		if t.State != api.TrunkUp && t.State != api.TrunkDown && t.State != api.TrunkUnknown {
			return badField(countBadType, "trunks", "%s is no state", quote(t.State))
		}
		t.LastError = clipped(t.LastError)
		for _, v := range [...]string{t.ID, t.Target} {
			if err := checkText("trunks", v, maxID); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep stores what a node told; false when there is no room for another node.
func (t *trunks) keep(nowMS int64, told *api.NodeTrunks) bool {
	of := make(map[string]api.TrunkSeen, len(told.Trunks))
	for _, seen := range told.Trunks {
		of[seen.ID] = seen
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.seen[told.Node]; !known && len(t.seen) >= maxNodes {
		return false
	}
	if t.seen == nil {
		t.seen = map[string]nodeTrunks{}
	}
	t.seen[told.Node] = nodeTrunks{nowMS, of}
	return true
}

// nodes lists what nodes have told of a trunk, by name.
func (t *trunks) nodes(nowMS int64, id string) []api.TrunkNode {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []api.TrunkNode{}
	for node, told := range t.seen {
		if seen, ok := told.of[id]; ok {
			list = append(list, api.TrunkNode{Node: node, AgeMS: nowMS - told.atMS, TrunkSeen: seen})
		}
	}
	slices.SortFunc(list, func(a, b api.TrunkNode) int { return strings.Compare(a.Node, b.Node) })
	return list
}

// trunkAnswer answers POST /trunk/answer: the password stays here. What is signed is the REGISTER of this trunk alone,
// for the holder of a lease that is not over. A trunk that was disabled, or is no longer registered at, is answered for
// as long as its last lease lasts: its holder removes what he has registered.
func (s *Server) trunkAnswer(r *http.Request, key brain.APIKey) (any, error) {
	var req api.TrunkAnswerRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &req.Node); err != nil {
		return nil, err
	}
	acct, t, err := s.registered(req.AccountID, req.TrunkID)
	if err != nil {
		return nil, err
	}
	if req.Method != "REGISTER" || s.Password == nil || t.AuthSecretRef == "" {
		return nil, badBody(http.StatusForbidden, countRefusedScope, "challenges of REGISTER are answered, for trunks with a password")
	}
	if uri := watchOf(t).URI; req.URI != uri {
		return nil, badBody(http.StatusForbidden, countRefusedScope, "REGISTER at this trunk has the URI %s, not %s", uri, quote(req.URI))
	}
	if err := s.holds(r.Context(), &req); err != nil {
		return nil, err
	}
	password, err := s.Password(acct, t.AuthSecretRef)
	if err != nil {
		return nil, err
	}
	line, err := auth.Answer(req.Challenges, req.Method, req.URI, t.AuthUsername, password, t.Realm, strings.ToLower(rand.Text()))
	if err != nil {
		return nil, badBody(http.StatusUnprocessableEntity, countBadType, "%s", err)
	}
	return &api.TrunkAnswerReply{Line: line}, nil
}

// registered finds a trunk at which we are registered.
func (s *Server) registered(accountID, trunkID string) (*brain.AccountConfig, *brain.SIPTrunk, error) {
	acct := s.Config.Directory().ByAccount(accountID)
	if acct == nil {
		return nil, nil, badBody(http.StatusNotFound, countBadType, "there is no account %s", quote(accountID))
	}
	t := acct.Trunks[trunkID]
	if t == nil {
		return nil, nil, badBody(http.StatusNotFound, countBadType, "there is no trunk %s", quote(trunkID))
	}
	return acct, t, nil
}

// holds refuses whoever does not hold the lease of a trunk now.
func (s *Server) holds(ctx context.Context, req *api.TrunkAnswerRequest) error {
	leases, err := s.trunks.of.Leases(ctx, req.AccountID)
	if err != nil {
		return err
	}
	for _, l := range leases {
		if l.TrunkID == req.TrunkID && l.Node == req.Node && l.Fence == req.Fence && l.Fence != 0 && l.LeaseMS > 0 {
			return nil
		}
	}
	return badBody(http.StatusConflict, countBadType, "node %s does not hold the lease of the trunk", quote(req.Node))
}
