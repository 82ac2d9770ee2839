package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/brain/route"
)

// Wallet is the money of accounts. brain.EUnavailable: nobody can say now.
type Wallet interface {
	// Pay holds money for a call of an account and of its resellers. charged is false when nobody pays for its calls.
	Pay(ctx context.Context, acct *brain.AccountConfig, p *balance.Payment) (paid balance.Paid, charged bool, err error)
	// Drop gives back what is held for the number that a call was paid for last, which was not reached: the call goes on without it. attempt is
	// that of the directive which goes on: what was paid for by a later one stays.
	Drop(ctx context.Context, acct *brain.AccountConfig, token, callID string, attempt int) error
	// Do changes a balance or a limit by hand, once for each id of the op.
	Do(ctx context.Context, accountID string, op *balance.Op) (balance.Reply, error)
	// Balance tells what an account has, Statement lists its movements behind a number, or from a time on when that is not 0.
	Balance(ctx context.Context, accountID string) (balance.Balance, error)
	Statement(ctx context.Context, accountID string, after, fromMS int64, limit int) (balance.Page, error)
}

const (
	// holdTime bounds the question for money: a node agent gives up after 800 ms.
	holdTime = 500 * time.Millisecond
	// holdRetrySec is what a caller is told whose wallet nobody serves at the moment.
	holdRetrySec = 5
)

// hold pays for a call that is about to go out over a trunk, or says why it may not: not for emergency calls, which cost nobody anything. The
// directive's longest time becomes what the money is enough for when that is all there is; otherwise more is held while the call is
// up. A question of the same call for the same number again finds the same hold.
func (s *Server) hold(ctx context.Context, acct *brain.AccountConfig, d *api.Directive, req *api.RouteRequest, attempt int) *api.Directive {
	if s.Wallet == nil || d.Call == nil {
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	most := int64(d.Call.MaxDurationSec)
	p := &balance.Payment{Token: d.Call.Token, CallID: req.CallID, Node: req.Node, To: strings.TrimPrefix(d.Call.To, "+"), AskedMS: req.TimeMS,
		Attempt: int64(attempt), Sec: int64(acct.Account.HoldSec), MostSec: most + 1} // an edge ends a call some part of a second late
	paid, charged, err := s.Wallet.Pay(asked, acct, p)
	switch {
	case err != nil:
		s.Log.Warn("nobody can say whether a call is paid for", "account", acct.Account.ID, "call_id", req.CallID, "err", err)
		refusal := unpaid(acct, 503, "", "wallet: "+err.Error())
		refusal.RetryAfterSec = holdRetrySec
		return refusal
	case !charged:
		return nil
	case paid.State != balance.Granted:
		return unpaid(acct, 403, whyReason(paid.Why), "wallet: "+cmp.Or(paid.Text, paid.Why))
	case paid.HeldSec <= most && paid.MoneySec <= paid.HeldSec:
		d.Call.MaxDurationSec = int(max(1, paid.HeldSec-int64(balance.EndLead/time.Second)))
	}
	return nil
}

// drop gives back the money of a number that was not reached, of a call that goes on with nobody outside. When nobody can do it now, the event
// of the answer says that it was of another attempt, or the call's end gives it back.
func (s *Server) drop(ctx context.Context, acct *brain.AccountConfig, req *api.RouteRequest, attempt int) {
	if s.Wallet == nil {
		return
	}
	asked, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	if err := s.Wallet.Drop(asked, acct, req.Token(), req.CallID, attempt); err != nil {
		s.Log.Warn("money of a number that was not reached stays held until its call is answered or over", "account", acct.Account.ID, "call_id", req.CallID, "err", err)
	}
}

// unpaid is the directive for a call without money. 402 is reserved (RFC 3261 section 21.4.3), and phones do not know it.
func unpaid(acct *brain.AccountConfig, code int, reason, why string) *api.Directive {
	d := route.Unavailable(acct, why)
	d.Refusal = api.Refusal{SIPCode: code, Reason: reason, Why: why}
	if reason == "" {
		d.Reason = api.Reason(code)
	}
	return &d
}

// whyReason is what a phone shows of a refusal; "" for what is nobody's business but the operator's.
func whyReason(why string) string {
	if why == balance.WhyMoney {
		return "Insufficient Credit"
	}
	return ""
}

// checkAmount says what is wrong with the amount of a change by hand, in micro-units; "" when nothing is.
func checkAmount(kind string, micros int64) string {
	switch {
	case micros > balance.MaxMicros || micros < -balance.MaxMicros:
		return "the amount must be at most " + balance.FormatMicros(balance.MaxMicros)
	case kind == balance.TopUp && micros <= 0:
		return "the amount must be above 0"
	case kind == balance.Adjust && micros == 0:
		return "the amount must not be 0"
	case kind == balance.Limit && micros < 0:
		return "the amount must not be below 0"
	}
	return ""
}

// whyNot says why a change by hand was not made.
func whyNot(why string) string {
	switch why {
	case balance.WhyStale:
		return "stale: nobody can tell any more whether it was done before, so it is not done; look at the statement, and ask for a new one"
	case balance.WhyConflict:
		return "conflict: this id was of another change"
	case balance.WhyClock:
		return "clock: asked_ms lies in the future"
	}
	return why
}

var (
	forBalance      = right{brain.ScopeCallsRead, brain.ScopePlatform}
	forBalanceWrite = right{brain.ScopeConfigWrite, brain.ScopePlatform}
)

// registerBalance puts the endpoints of money on a mux.
func (s *Server) registerBalance(mux Mux) {
	mux.Handle(api.PathBalance, s.gate(http.MethodGet, forBalance, s.balance))
	mux.Handle(api.PathBalanceStatement, s.gate(http.MethodGet, forBalance, s.statement))
	for path, kind := range map[string]string{api.PathBalanceTopUp: balance.TopUp, api.PathBalanceAdjust: balance.Adjust, api.PathBalanceLimit: balance.Limit} {
		mux.Handle(path, s.gate(http.MethodPost, forBalanceWrite, s.changeBalance(kind)))
	}
}

// payer finds whose wallet a question is about: the key's own, that of a customer of the key's account, or for a key of the platform
// any. Nobody changes his own.
func (s *Server) payer(r *http.Request, key brain.APIKey, change bool) (*brain.AccountConfig, error) {
	named := r.URL.Query().Get("account_id")
	own := key.AccountID != "" && (named == "" || named == key.AccountID)
	if own {
		named = key.AccountID
	}
	acct := s.Config.Directory().ByAccount(named)
	switch {
	case own && change:
		return nil, badBody(http.StatusForbidden, countRefusedScope, "an account does not change its own balance: its reseller does, or the platform")
	case own && acct != nil:
		return acct, nil
	case key.AccountID != "" && (acct == nil || acct.Account.ParentID == nil || *acct.Account.ParentID != key.AccountID):
		return nil, badBody(http.StatusForbidden, countRefusedScope, "the key is of another account")
	case named == "":
		return nil, badField(countBadType, "account_id", "is missing: a key of the platform names the account")
	case acct == nil:
		return nil, badField(countBadType, "account_id", "there is no account %s", quote(named))
	}
	return acct, nil
}

// balance answers GET /balance.
func (s *Server) balance(r *http.Request, key brain.APIKey) (any, error) {
	acct, err := s.payer(r, key, false)
	if err != nil {
		return nil, err
	}
	b, err := s.Wallet.Balance(r.Context(), acct.Account.ID)
	if err != nil {
		return nil, err
	}
	return &api.BalanceState{AccountID: acct.Account.ID, Currency: acct.Account.Currency, RatePlan: acct.Account.RatePlan, BalanceMicros: b.BalanceMicros,
		HeldMicros: b.HeldMicros, LimitMicros: b.LimitMicros, AvailableMicros: b.AvailableMicros, Calls: b.Calls, Movements: b.Movements}, nil
}

// statement answers GET /balance/statement?after=&limit=&from_ms=.
func (s *Server) statement(r *http.Request, key brain.APIKey) (any, error) {
	acct, err := s.payer(r, key, false)
	if err != nil {
		return nil, err
	}
	var at [3]int64
	for i, name := range [...]string{"after", "limit", "from_ms"} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		if at[i], err = strconv.ParseInt(text, 10, 64); err != nil || at[i] < 0 {
			return nil, badField(countBadType, name, "is a number of 0 or more")
		}
	}
	page, err := s.Wallet.Statement(r.Context(), acct.Account.ID, at[0], at[2], int(min(at[1], balance.MaxPage)))
	if err != nil {
		return nil, err
	}
	return &page, nil
}

// changeBalance answers POST /balance/topup, /balance/adjust and /balance/limit.
func (s *Server) changeBalance(kind string) answer {
	return func(r *http.Request, key brain.APIKey) (any, error) {
		acct, err := s.payer(r, key, true)
		if err != nil {
			return nil, err
		}
		var req api.BalanceChange
		if err := readJSON(r, &req); err != nil {
			return nil, err
		}
		if req.ID == "" {
			return nil, badField(countBadType, "id", "is missing: it makes a change that is asked for again happen once")
		}
		if err := checkText("id", req.ID, maxID); err != nil {
			return nil, err
		}
		if req.AskedMS <= 0 {
			return nil, badField(countBadType, "asked_ms", "is missing: when the change was asked for first, epoch milliseconds; without it one that comes again late could be done twice")
		}
		if wrong := checkAmount(kind, req.Micros); wrong != "" {
			return nil, badField(countBadType, "micros", "%s", wrong)
		}
		if acct.Account.Currency == "" {
			return nil, badField(countBadType, "account_id", "the account has no currency: give it one first")
		}
		note := strings.TrimSpace(key.ID + " " + req.Note)
		y, err := s.Wallet.Do(r.Context(), acct.Account.ID, &balance.Op{Kind: kind, ID: req.ID, AskedMS: req.AskedMS, Micros: req.Micros, Text: note})
		switch {
		case brain.CodeOf(err) == brain.EInvalid:
			return nil, badField(countBadType, "micros", "%s", err)
		case err != nil:
			return nil, err
		case !y.Done:
			return nil, badBody(http.StatusConflict, countBadType, "%s: %s", kind, whyNot(y.Why))
		}
		s.Log.Info("balance changed by hand", "account", acct.Account.ID, "kind", kind, "micros", req.Micros, "id", req.ID, "key", key.ID, "key_name", key.Name,
			"note", req.Note, "repeated", y.Repeated, "balance_micros", y.BalanceMicros)
		if !y.Repeated {
			s.auditBalance(r, key, acct, kind, &req)
		}
		return &api.BalanceChanged{Repeated: y.Repeated, BalanceMicros: y.BalanceMicros, AvailableMicros: y.AvailableMicros}, nil
	}
}

// auditBalance writes into the audit log who changed a balance. The change is done, and stands in the account's statement, also when the
// log does not have it.
func (s *Server) auditBalance(r *http.Request, key brain.APIKey, acct *brain.AccountConfig, kind string, req *api.BalanceChange) {
	if s.Audit == nil {
		return
	}
	e := brain.AuditEntry{Actor: key.ID, Peer: peer(r).String(), Action: brain.AuditBalance + kind, Object: "account " + acct.Account.Name, AccountID: acct.Account.ID,
		Detail: strings.TrimSuffix(fmt.Sprintf("%s %s, id %s: %s", balance.FormatMicros(req.Micros), acct.Account.Currency, req.ID, req.Note), ": ")}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditTime)
	defer cancel()
	if err := s.Audit.Audit(ctx, e.Bounded()); err != nil {
		s.Log.Error("a change of a balance is not in the audit log", "account", acct.Account.ID, "kind", kind, "id", req.ID, "key", key.ID, "err", err)
	}
}

// auditTime bounds how long an operator waits for the entry.
const auditTime = 2 * time.Second
