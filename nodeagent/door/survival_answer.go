package door

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// whySurvival is what an answer of the door itself gives as its reason.
const whySurvival = "survival: decided by the node, no brain answered"

// answer decides a question from the bundle; call tells that a call goes on by it. It is not ok for everything
// the bundle does not know: then the phone is asked to come back.
func (s *survival) answer(q *question) (rep reply, call, ok bool) {
	if s == nil || q.path == api.PathRefer || q.path == api.PathChallenge { // a transfer can wait, and passwords are the brain's
		return reply{}, false, false
	}
	now := time.Now()
	b := s.fresh(now)
	if b == nil {
		return reply{}, false, false
	}
	form, ok := readQuestion(q)
	if !ok {
		return reply{}, false, false
	}
	var said any
	var done decided
	if q.path == api.PathRoute {
		said, done, ok = b.route(form)
	} else {
		said, done, ok = b.register(form)
	}
	if !ok {
		return reply{}, false, false
	}
	body, err := json.Marshal(said)
	if err != nil { // these types always marshal
		return reply{}, false, false
	}
	s.answers.Add(1)
	s.useLog.warn(s.log, "decision answered by survival", "path", q.path, "account", done.account, "sip_code", done.code)
	s.told.note(now, form, done)
	return reply{http.StatusOK, body}, done.token != "", true
}

// decided is what is reported of a decision.
type decided struct {
	account, aor, token string
	code                int
}

// readQuestion reads a form as Kamailio writes it. Anything else, a field given twice among it, is left to
// a brain.
func readQuestion(q *question) (*api.RouteRequest, bool) {
	if !strings.HasPrefix(q.contentType, "application/x-www-form-urlencoded") {
		return nil, false
	}
	values, err := url.ParseQuery(string(q.body))
	if err != nil {
		return nil, false
	}
	for name, v := range values {
		if len(v) != 1 || name != "challenge" && strings.ContainsFunc(v[0], func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, false
		}
	}
	get := values.Get
	asked, _ := strconv.ParseInt(get("time_ms"), 10, 64) // of another edge: 0, as for a brain
	return &api.RouteRequest{
		Origin: api.Origin{CallID: get("call_id"), CSeq: get("cseq"), Branch: get("branch"), Method: get("method"),
			SourceIP: get("source_ip"), Transport: get("transport"), Node: get("node"), TimeMS: asked},
		Digest: api.Digest{Username: get("auth_username"), Realm: get("auth_realm"), Nonce: get("auth_nonce"), URI: get("auth_uri"),
			Response: get("auth_response"), Algorithm: get("auth_algorithm"), CNonce: get("auth_cnonce"), NC: get("auth_nc"), QOP: get("auth_qop")},
		FromUser: get("from_user"), FromDomain: get("from_domain"), FromName: get("from_name"),
		ToUser: get("to_user"), ToDomain: get("to_domain"), RURI: get("ruri"), RURIUser: get("ruri_user"), RURIDomain: get("ruri_domain"),
		Transaction: get("transaction"), At: get("at"), Tried: get("tried"), Down: get("down"), Via: get("via"),
	}, true
}

// caller judges the digest. acct is nil when the realm is not known here; caller is nil for whoever is to be
// refused: one who is not known, and one with a wrong password, are told apart by nothing.
func (b *bundle) caller(q *api.RouteRequest) (acct *keptAccount, caller *api.SurvivalCaller) {
	acct = b.domains[strings.ToLower(q.Realm)]
	if acct == nil {
		return nil, nil
	}
	caller = acct.callers[triedAOR(q)]
	if !verified(q.Method, &q.Digest, caller) {
		return acct, nil
	}
	return acct, caller
}

// forbidden is the one refusal of whoever is not known to be allowed.
func forbidden() api.Refusal {
	return api.Refusal{SIPCode: 403, Reason: "Forbidden", Why: whySurvival, Guard: api.OffenceAuthFail}
}

// register decides a registration.
func (b *bundle) register(q *api.RouteRequest) (api.AuthReply, decided, bool) {
	acct, caller := b.caller(q)
	if acct == nil {
		return api.AuthReply{}, decided{}, false
	}
	if caller == nil || q.ToUser != caller.AuthUsername && q.ToUser != caller.Username || b.domains[strings.ToLower(q.ToDomain)] != acct {
		return api.AuthReply{Action: api.ActionReject, ConfigVersion: acct.ConfigVersion, Survival: true, Refusal: forbidden()},
			decided{account: acct.AccountID, aor: triedAOR(q), code: 403}, true
	}
	return api.AuthReply{Action: api.ActionAccept, AccountID: acct.AccountID, UserID: caller.UserID, DeviceID: caller.DeviceID,
		AOR: caller.AOR, MaxContacts: acct.MaxContacts, ConfigVersion: acct.ConfigVersion, Survival: true,
		Refusal: api.Refusal{Why: whySurvival}}, decided{account: acct.AccountID, aor: caller.AOR}, true
}

// triedAOR is the address-of-record of the device that a request says it is from.
func triedAOR(q *api.RouteRequest) string {
	return "sip:" + q.Username + "@" + strings.ToLower(q.Realm)
}

// route decides a call to a number of the caller's own account, or one for help.
func (b *bundle) route(q *api.RouteRequest) (api.RouteReply, decided, bool) {
	acct, caller := b.caller(q)
	if acct == nil {
		return api.RouteReply{}, decided{}, false
	}
	d := api.Directive{Version: api.Version, ConfigVersion: acct.ConfigVersion, Survival: true}
	if caller == nil {
		d.Action, d.Refusal = api.ActionReject, forbidden()
		return api.RouteReply{RTJSON: d}, decided{account: acct.AccountID, aor: triedAOR(q), code: d.SIPCode}, true
	}
	if help := acct.calledForHelp(q); help != nil {
		said, done := acct.help(help, q, caller, d)
		return said, done, true
	}
	number := acct.numbers[q.RURIUser]
	if number == nil || q.At != "" || b.domains[strings.ToLower(q.RURIDomain)] != acct {
		return api.RouteReply{}, decided{}, false
	}
	d.AccountID = acct.AccountID
	plan := number.For(caller.AOR)
	if len(plan.Routes) == 0 {
		d.Action = api.ActionReject
		d.Refusal = api.Refusal{SIPCode: plan.SIPCode, Reason: api.Reason(plan.SIPCode), Why: whySurvival}
		return api.RouteReply{RTJSON: d}, decided{account: acct.AccountID, aor: caller.AOR, code: plan.SIPCode}, true
	}
	d.Action, d.Routing, d.Media, d.Why = api.ActionProxy, "serial", acct.Media, whySurvival
	d.Call = &api.CallInfo{Direction: "internal", From: caller.Username, To: number.Number,
		MaxDurationSec: acct.MaxDurationSec, Token: q.Token()}
	d.Routes = withFrom(plan.Routes, q, caller)
	if d.Routes[len(d.Routes)-1].Step == 1 {
		d.Routing = "parallel"
	}
	return api.RouteReply{RTJSON: d}, decided{account: acct.AccountID, aor: caller.AOR, token: d.Call.Token}, true
}

// withFrom puts the caller's own identity into every route that rings, unless the phone wrote just that. The
// routes of the bundle stay as they are.
func withFrom(routes []api.Route, q *api.RouteRequest, caller *api.SurvivalCaller) []api.Route {
	list := append([]api.Route(nil), routes...)
	same := q.FromUser == caller.Username && strings.EqualFold(q.FromDomain, caller.Realm) &&
		(q.FromName == caller.Name || q.FromName == caller.From.Display)
	if same {
		return list
	}
	headers := &api.RouteHeaders{From: &caller.From}
	for i := range list {
		if list[i].URI != "" {
			list[i].Headers = headers
		}
	}
	return list
}
