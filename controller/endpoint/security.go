package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// Guard is the guard of the platform. brain.EUnavailable: nobody can decide now.
type Guard interface {
	// Report answers a node.
	Report(ctx context.Context, r *api.GuardReport) (api.GuardReply, error)
	// List lists bans.
	List(ctx context.Context, q guard.Question) (api.BanList, error)
	// Add bans an address by hand, Lift ends whatever bans it; both return what the nodes say. refused is why it is not banned.
	Add(ctx context.Context, who string, req *api.BanRequest) (reply api.BanReply, refused string, err error)
	Lift(ctx context.Context, who, addr string) (api.BanReply, error)
	// Allowed is the allow list; Allow adds to it, Disallow takes off it. found is false when the network was not there.
	Allowed(ctx context.Context) (api.AllowList, error)
	Allow(ctx context.Context, who string, req *api.AllowRequest) (list api.AllowList, refused string, err error)
	Disallow(ctx context.Context, who, network string) (list api.AllowList, found bool, err error)
}

// Audit is the audit log. It returns when the entry is stored for good.
type Audit interface {
	Audit(ctx context.Context, e brain.AuditEntry) error
}

// security is the endpoints of the guard.
type security struct {
	*Server
	guard Guard
	audit Audit // nil = none is written
}

// RegisterSecurity puts the endpoints of the guard on a mux. Without an audit log, nil, nothing is written there.
func (s *Server) RegisterSecurity(mux Mux, g Guard, audit Audit) {
	c := &security{s, g, audit}
	mux.Handle(api.PathSecurityReport, s.gate(http.MethodPost, forNodes, c.report))
	mux.Handle("GET "+api.PathSecurityBans, s.gate(http.MethodGet, forPlatform, c.bans))
	mux.Handle("DELETE "+api.PathSecurityBans, s.gate(http.MethodDelete, forPlatform, c.lift))
	mux.Handle(api.PathSecurityBans, s.gate(http.MethodPost, forPlatform, c.add))
	mux.Handle("GET "+api.PathSecurityAllow, s.gate(http.MethodGet, forPlatform, c.allowed))
	mux.Handle("DELETE "+api.PathSecurityAllow, s.gate(http.MethodDelete, forPlatform, c.disallow))
	mux.Handle(api.PathSecurityAllow, s.gate(http.MethodPost, forPlatform, c.allow))
}

// report answers POST /security/report.
func (c *security) report(r *http.Request, key brain.APIKey) (any, error) {
	var report api.GuardReport
	if err := readUpTo(r, api.MaxGuardReport, &report); err != nil {
		return nil, err
	}
	if err := c.speaksFor(r, key, &report.Node); err != nil {
		return nil, err
	}
	if err := checkGuardReport(&report); err != nil {
		return nil, err
	}
	reply, err := c.guard.Report(r.Context(), &report)
	if err != nil {
		return nil, guardFault(err)
	}
	return &reply, nil
}

// checkGuardReport holds a report to its bounds. What an attacker has written is cut and cleaned, it must not cost the node its report.
func checkGuardReport(report *api.GuardReport) error {
	switch err := checkName(report.Node); {
	case err != nil:
		return err
	case len(report.Offences) > api.MaxGuardOffences:
		return badField(countBadTooLong, "offences", "at most %d", api.MaxGuardOffences)
	case len(report.Active) > api.MaxGuardActive:
		return badField(countBadTooLong, "active", "at most %d", api.MaxGuardActive)
	}
	for i := range report.Offences {
		o := &report.Offences[i]
		o.Evidence = clippedTo(o.Evidence, api.MaxEvidence)
		for name, given := range map[string]string{"tier": o.Tier, "kind": o.Kind} {
			if !slices.Contains(guardWords[name], given) {
				return badField(countBadType, fmt.Sprintf("offences.%d.%s", i, name), "%s is none", quote(given))
			}
		}
		if o.Count < 0 || o.TimeMS < 0 || o.UntilMS < 0 || max(o.TimeMS, o.UntilMS) > guard.MaxTimeMS {
			return badField(countBadType, fmt.Sprintf("offences.%d", i), "a count or a time is out of range")
		}
	}
	return nil
}

var guardWords = map[string][]string{
	"tier": {api.TierNft, api.TierPike, api.TierUA, api.TierScore},
	"kind": {api.OffenceFlood, api.OffenceRequests, api.OffenceScanner, api.OffenceAuthFail, api.OffenceChallenge, api.OffenceUnknown, api.OffenceSource, api.OffenceSpray},
}

// bans answers GET /security/bans?addr=&node=&after=&limit=&offenders=.
func (c *security) bans(r *http.Request, _ brain.APIKey) (any, error) {
	query := r.URL.Query()
	q := guard.Question{Addr: query.Get("addr"), Node: query.Get("node"), After: query.Get("after"), Limit: bansPage}
	for _, name := range [...]string{"addr", "after"} {
		if text := query.Get(name); text != "" {
			if _, err := guard.KeyOf(text); err != nil {
				return nil, badField(countBadType, name, "%s", err)
			}
		}
	}
	switch text := query.Get("offenders"); text {
	case "", "false":
	case "true":
		q.Offenders = true
	default:
		return nil, badField(countBadType, "offenders", "is true or false")
	}
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > api.MaxBanPage {
			return nil, badField(countBadType, "limit", "is a number from 1 to %d", api.MaxBanPage)
		}
		q.Limit = n
	}
	list, err := c.guard.List(r.Context(), q)
	return &list, guardFault(err)
}

// bansPage is how many bans a list has when nobody says.
const bansPage = 100

// add answers POST /security/bans.
func (c *security) add(r *http.Request, key brain.APIKey) (any, error) {
	var req api.BanRequest
	if err := readUpTo(r, api.MaxBody, &req); err != nil {
		return nil, err
	}
	if _, err := guard.KeyOf(req.Addr); err != nil {
		return nil, badField(countBadType, "addr", "%s", err)
	}
	if req.ForSec < 1 || req.ForSec > api.MaxBanForSec {
		return nil, badField(countBadType, "for_sec", "is from 1 to %d", api.MaxBanForSec)
	}
	if req.Why == "" {
		return nil, badField(countBadType, "why", "is missing: whoever finds the ban wants to know")
	}
	if err := checkText("why", req.Why, api.MaxEvidence); err != nil {
		return nil, err
	}
	r, done := wholly(r)
	defer done()
	reply, refused, err := c.guard.Add(r.Context(), whoOf(key), &req)
	if err != nil {
		return nil, guardFault(err)
	}
	if refused != "" {
		return nil, badBody(http.StatusConflict, countBadType, "%s", refused)
	}
	term := time.Duration(req.ForSec) * time.Second
	return &reply, c.tell(r, key, brain.AuditBanAdd, reply.Addr, fmt.Sprintf("for %s: %s%s", term, req.Why, unconfirmed(reply.Nodes)))
}

// lift answers DELETE /security/bans?addr=.
func (c *security) lift(r *http.Request, key brain.APIKey) (any, error) {
	addr := r.URL.Query().Get("addr")
	if _, err := guard.KeyOf(addr); err != nil {
		return nil, badField(countBadType, "addr", "%s", err)
	}
	r, done := wholly(r)
	defer done()
	reply, err := c.guard.Lift(r.Context(), whoOf(key), addr)
	if err != nil {
		return nil, guardFault(err)
	}
	was := "it was not known to be banned"
	if b := reply.Ban; b != nil {
		was = fmt.Sprintf("banned by %s at %s: %s", b.Tier, cmp.Or(b.Node, "every node"), b.Why)
	}
	return &reply, c.tell(r, key, brain.AuditBanLift, reply.Addr, was+unconfirmed(reply.Nodes))
}

// unconfirmed says which nodes have not confirmed, "" when all have.
func unconfirmed(nodes []api.BanNode) string {
	text := ""
	for _, n := range nodes {
		if !n.OK {
			text += " " + n.Node
		}
	}
	if text == "" {
		return ""
	}
	return "; not confirmed by" + text
}

// allowed answers GET /security/allow.
func (c *security) allowed(r *http.Request, _ brain.APIKey) (any, error) {
	list, err := c.guard.Allowed(r.Context())
	return &list, guardFault(err)
}

// allow answers POST /security/allow.
func (c *security) allow(r *http.Request, key brain.APIKey) (any, error) {
	var req api.AllowRequest
	if err := readUpTo(r, api.MaxBody, &req); err != nil {
		return nil, err
	}
	network, err := guard.AllowedNet(req.Net)
	if err != nil {
		return nil, badField(countBadType, "net", "%s", err)
	}
	if req.ForSec < 0 || req.ForSec > maxAllowSec {
		return nil, badField(countBadType, "for_sec", "is from 0, for good, to %d", maxAllowSec)
	}
	if err := checkText("note", req.Note, maxID); err != nil {
		return nil, err
	}
	r, done := wholly(r)
	defer done()
	list, refused, err := c.guard.Allow(r.Context(), whoOf(key), &req)
	if err != nil {
		return nil, guardFault(err)
	}
	if refused != "" {
		return nil, badBody(http.StatusConflict, countBadType, "%s", refused)
	}
	term := "for good"
	if req.ForSec > 0 {
		term = "for " + (time.Duration(req.ForSec) * time.Second).String()
	}
	return &list, c.tell(r, key, brain.AuditAllowAdd, network.String(), fmt.Sprintf("%s: %s; %d bans lifted", term, req.Note, len(list.Lifted)))
}

// maxAllowSec bounds an entry of the allow list that ends: ten years.
const maxAllowSec = 10 * 366 * 24 * 3600

// disallow answers DELETE /security/allow?net=.
func (c *security) disallow(r *http.Request, key brain.APIKey) (any, error) {
	network, err := guard.AllowedNet(r.URL.Query().Get("net"))
	if err != nil {
		return nil, badField(countBadType, "net", "%s", err)
	}
	r, done := wholly(r)
	defer done()
	list, found, err := c.guard.Disallow(r.Context(), whoOf(key), network.String())
	if err != nil {
		return nil, guardFault(err)
	}
	if !found {
		return nil, badBody(http.StatusNotFound, countBadType, "%s is not on the allow list", network)
	}
	return &list, c.tell(r, key, brain.AuditAllowRemove, network.String(), "")
}

// whoOf is how an operator is shown.
func whoOf(key brain.APIKey) string { return cmp.Or(key.Name, key.ID) }

// wholly is a question that is carried out to its entry in the audit log, also when nobody waits for the answer any more.
func wholly(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTime)
	return r.WithContext(ctx), cancel
}

// changeTime bounds a change of the guard by hand: the decision, the nodes' word, and the entry.
const changeTime = 10 * time.Second

// tell writes down who did what. What was done stays done when it cannot be written down, and whoever asked is told.
func (c *security) tell(r *http.Request, key brain.APIKey, action, object, detail string) error {
	c.Log.Info("guard changed by hand", "action", action, "object", object, "detail", detail, "key", key.ID, "key_name", key.Name)
	if c.audit == nil {
		return nil
	}
	e := brain.AuditEntry{TimeMS: c.Now().UnixMilli(), Actor: key.ID, Peer: peer(r).String(), Action: action, Object: object, Detail: detail}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditTime) // its own: the change may have used up the question's
	defer cancel()
	if err := c.audit.Audit(ctx, e.Bounded()); err != nil {
		c.Log.Error("a change of the guard is not in the audit log", "action", action, "object", object, "key", key.ID, "err", err)
		return brain.Errorf(brain.EUnavailable, "it is done, but the audit log does not have it: %s", err)
	}
	return nil
}

// guardFault has a question that the guard does not understand answered as such.
func guardFault(err error) error {
	if brain.CodeOf(err) == brain.EInvalid {
		return badBody(http.StatusBadRequest, countBadType, "%s", err)
	}
	return err
}
