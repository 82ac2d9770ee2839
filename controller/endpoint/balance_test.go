package endpoint

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// purse is a wallet that writes down what it is asked, and answers as it was told to.
type purse struct {
	asked []string
	paid  balance.Paid
	free  bool
	reply balance.Reply
	fail  error
}

func (p *purse) Pay(_ context.Context, acct *brain.AccountConfig, o *balance.Payment) (balance.Paid, bool, error) {
	p.asked = append(p.asked, fmt.Sprintf("pay %s %s %s %s %d %d %d", acct.Account.ID, o.Token, o.To, o.Node, o.Attempt, o.Sec, o.MostSec))
	return p.paid, !p.free, p.fail
}

func (p *purse) Drop(_ context.Context, acct *brain.AccountConfig, token, callID string, attempt int) error {
	p.asked = append(p.asked, fmt.Sprintf("drop %s %s %s %d", acct.Account.ID, token, callID, attempt))
	return p.fail
}

func (p *purse) Do(_ context.Context, id string, o *balance.Op) (balance.Reply, error) {
	p.asked = append(p.asked, fmt.Sprintf("%s %s %s %d %s", o.Kind, id, o.ID, o.Micros, o.Text))
	if _, err := balance.ReadOp(balance.AppendOp(nil, o)); err != nil {
		return p.reply, brain.Errorf(brain.EInvalid, "%s", err)
	}
	return p.reply, p.fail
}

func (p *purse) Balance(_ context.Context, id string) (balance.Balance, error) {
	return balance.Balance{AccountID: id, BalanceMicros: 5}, p.fail
}

func (p *purse) Statement(_ context.Context, id string, after, fromMS int64, limit int) (balance.Page, error) {
	p.asked = append(p.asked, fmt.Sprintf("statement %s %d %d %d", id, after, fromMS, limit))
	return balance.Page{Movements: []balance.Movement{}}, p.fail
}

// priceList is plans that write down what they are asked.
type priceList struct {
	asked []string
	fail  error
}

func (l *priceList) Import(_ context.Context, actor, owner, plan string, csv []byte, dry bool) (*api.RateImport, error) {
	l.asked = append(l.asked, fmt.Sprintf("import %s %q %s %d %v", actor, owner, plan, len(csv), dry))
	return &api.RateImport{Plan: plan}, l.fail
}

func (l *priceList) Show(_ context.Context, owner, plan, number string) (*api.RateShown, error) {
	l.asked = append(l.asked, fmt.Sprintf("show %q %s %s", owner, plan, number))
	return &api.RateShown{Plan: plan}, l.fail
}

func newTill(t *testing.T) (*bench, *purse, *priceList) {
	b := newBench(t)
	p, l := &purse{}, &priceList{}
	b.Config.Directory().ByAccount("acc_1").Account.Currency = "EUR"
	b.RegisterBalance(b.mux, p, l)
	return b, p, l
}

// Proves what a wallet's answer makes of a directive: its longest time is lowered only when the hold is all the money there is; a refusal and
// silence have the code that the phone is told.
func TestHold_WhatAWalletsAnswerMakesOfACall(t *testing.T) {
	const most = 14400
	for name, c := range map[string]struct {
		purse purse
		max   int
		code  int
		why   string
	}{
		"free of charge":         {purse{free: true}, most, 0, ""},
		"money for all of it":    {purse{paid: balance.Paid{State: balance.Granted, HeldSec: 600, MoneySec: most + 1}}, most, 0, ""},
		"money for more":         {purse{paid: balance.Paid{State: balance.Granted, HeldSec: 600, MoneySec: 900}}, most, 0, ""},
		"all the money is held":  {purse{paid: balance.Paid{State: balance.Granted, HeldSec: 60, MoneySec: 60}}, 59, 0, ""},
		"one second":             {purse{paid: balance.Paid{State: balance.Granted, HeldSec: 1, MoneySec: 1}}, 1, 0, ""},
		"a hold for all of it":   {purse{paid: balance.Paid{State: balance.Granted, HeldSec: most + 1, MoneySec: most + 1}}, most, 0, ""},
		"no money":               {purse{paid: balance.Paid{State: balance.Refused, Why: balance.WhyMoney, Text: "balance 0.00"}}, most, 403, "wallet: balance 0.00"},
		"another refusal":        {purse{paid: balance.Paid{State: balance.Refused, Why: balance.WhyFull}}, most, 403, "wallet: full"},
		"no rate":                {purse{paid: balance.Paid{State: balance.Refused, Why: "rate"}}, most, 403, "wallet: rate"},
		"nobody serves a wallet": {purse{fail: brain.Errorf(brain.EUnavailable, "no owner")}, most, 503, "wallet: no owner"},
	} {
		b, p, _ := newTill(t)
		*p = c.purse
		acct := b.Config.Directory().ByAccount("acc_1")
		acct.Account.HoldSec = 600
		d := api.Directive{Action: api.ActionProxy, AccountID: "acc_1", Call: &api.CallInfo{Token: "tok", To: "+4930", MaxDurationSec: most}}
		req := &api.RouteRequest{Origin: api.Origin{CallID: "c1", Node: "edge1"}, Hops: 1, Tried: "tr_1,tr_2"}
		refusal := b.hold(t.Context(), acct, &d, req, 35)
		if d.Call.MaxDurationSec != c.max || strings.Join(p.asked, "; ") != "pay acc_1 tok 4930 edge1 35 600 14401" {
			t.Errorf("%s: at most %d s, want %d; asked %v", name, d.Call.MaxDurationSec, c.max, p.asked)
		}
		switch {
		case c.code == 0 && refusal == nil:
		case c.code == 0:
			t.Errorf("%s: %+v", name, refusal)
		case refusal == nil || refusal.Action != api.ActionReject || refusal.SIPCode != c.code || refusal.Why != c.why || (refusal.RetryAfterSec > 0) != (c.code == 503):
			t.Errorf("%s: %+v", name, refusal)
		}
	}
}

// Proves who may look at a balance and who may change it: an account sees its own and changes none.
func TestBalance_WhoMayLookAndWhoMayChange(t *testing.T) {
	keys["sk_owner"] = brain.APIKey{ID: "key_8", AccountID: "acc_1", Scopes: []brain.Scope{brain.ScopeConfigWrite, brain.ScopeCallsRead}}
	keys["sk_reseller"] = brain.APIKey{ID: "key_9", AccountID: "acc_0", Scopes: []brain.Scope{brain.ScopeConfigWrite, brain.ScopeCallsRead}}
	keys["sk_other"] = brain.APIKey{ID: "key_10", AccountID: "acc_9", Scopes: []brain.Scope{brain.ScopeConfigWrite, brain.ScopeCallsRead}}
	reseller := "acc_0"
	const change = `{"id":"x","asked_ms":1,"micros":5,"note":"cash"}`
	for _, c := range []struct {
		token, method, path string
		status              int
	}{
		{tokenPlatform, "GET", "/balance?account_id=acc_1", 200}, {tokenPlatform, "GET", "/balance", 400}, {tokenPlatform, "GET", "/balance?account_id=acc_7", 400},
		{tokenAccount, "GET", "/balance", 200}, {"sk_reseller", "GET", "/balance?account_id=acc_1", 200}, {"sk_other", "GET", "/balance?account_id=acc_1", 403},
		{tokenNode, "GET", "/balance?account_id=acc_1", 403},
		{"sk_owner", "POST", "/balance/topup", 403}, {"sk_owner", "POST", "/balance/topup?account_id=acc_1", 403}, {tokenAccount, "POST", "/balance/topup", 403},
		{"sk_other", "POST", "/balance/adjust?account_id=acc_1", 403}, {"sk_reseller", "POST", "/balance/limit?account_id=acc_1", 200}, {tokenPlatform, "POST", "/balance/topup?account_id=acc_1", 200},
	} {
		b, p, _ := newTill(t)
		p.reply = balance.Reply{Done: true}
		b.Config.Directory().ByAccount("acc_1").Account.ParentID = &reseller
		w := b.ask(c.method, c.path, typeJSON, change, withToken(c.token))
		if w.Code != c.status || (c.method == "POST" && w.Code == 200) != (len(p.asked) == 1) {
			t.Errorf("%s %s %s: %d %s, asked %v", c.token, c.method, c.path, w.Code, w.Body, p.asked)
		}
	}
}

// Proves that a change carries the key that asked, and what becomes of one that is refused or makes no sense.
func TestBalance_ChangesAreNotedAndRefused(t *testing.T) {
	for _, c := range []struct {
		path, body string
		reply      balance.Reply
		fail       error
		status     int
		asked      string
	}{
		{"topup", `{"id":"x","asked_ms":1,"micros":5,"note":"cash"}`, balance.Reply{Done: true}, nil, 200, "topup acc_1 x 5 key_2 cash"},
		{"adjust", `{"id":"x","asked_ms":1,"micros":-5}`, balance.Reply{Done: true, Repeated: true}, nil, 200, "adjust acc_1 x -5 key_2"},
		{"limit", `{"id":"x","asked_ms":1,"micros":0}`, balance.Reply{Done: true}, nil, 200, "limit acc_1 x 0 key_2"},
		{"topup", `{"id":"x","asked_ms":1,"micros":0}`, balance.Reply{}, nil, 400, ""},
		{"adjust", `{"id":"x","asked_ms":1,"micros":0}`, balance.Reply{}, nil, 400, ""},
		{"limit", `{"id":"x","asked_ms":1,"micros":-1}`, balance.Reply{}, nil, 400, ""},
		{"adjust", `{"id":"x","asked_ms":1,"micros":-10000000000000001}`, balance.Reply{}, nil, 400, ""},
		{"topup", `{"asked_ms":1,"micros":5}`, balance.Reply{}, nil, 400, ""},
		{"topup", `{"id":"x","micros":5}`, balance.Reply{}, nil, 400, ""},
		{"topup", `{"id":"x","asked_ms":-1,"micros":5}`, balance.Reply{}, nil, 400, ""},
		{"topup", `{"id":"x","asked_ms":1,"micros":5}`, balance.Reply{Why: balance.WhyConflict}, nil, 409, "topup acc_1 x 5 key_2"},
		{"topup", `{"id":"x","asked_ms":1,"micros":5}`, balance.Reply{Why: balance.WhyStale}, nil, 409, "topup acc_1 x 5 key_2"},
		{"topup", `{"id":"x","asked_ms":1,"micros":5}`, balance.Reply{}, brain.Errorf(brain.EUnavailable, "no owner"), 503, "topup acc_1 x 5 key_2"},
	} {
		b, p, _ := newTill(t)
		p.reply, p.fail = c.reply, c.fail
		w := b.ask("POST", "/balance/"+c.path+"?account_id=acc_1", typeJSON, c.body, withToken(tokenPlatform))
		if w.Code != c.status || strings.Join(p.asked, "; ") != c.asked {
			t.Errorf("%s %s: %d %s, asked %v", c.path, c.body, w.Code, w.Body, p.asked)
		}
		if c.status == 200 && !strings.Contains(b.log.String(), "key=key_2") {
			t.Errorf("%s: nobody can tell who it was: %s", c.path, b.log)
		}
	}
}

// Proves that a change of money that makes no sense is refused in words, and is not asked of the wallet.
func TestBalance_RefusalsSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ path, micros, currency, want string }{
		{"topup", "0", "EUR", "the amount must be above 0"}, {"topup", "-5", "EUR", "the amount must be above 0"},
		{"adjust", "0", "EUR", "the amount must not be 0"}, {"limit", "-1", "EUR", "the amount must not be below 0"},
		{"adjust", "10000000000000001", "EUR", "the amount must be at most 10000000000.00"},
		{"topup", "5", "", "the account has no currency"},
	} {
		b, p, _ := newTill(t)
		b.Config.Directory().ByAccount("acc_1").Account.Currency = c.currency
		w := b.ask("POST", "/balance/"+c.path+"?account_id=acc_1", typeJSON, `{"id":"x","asked_ms":1,"micros":`+c.micros+`}`, withToken(tokenPlatform))
		if w.Code != 400 || !strings.Contains(w.Body.String(), c.want) || len(p.asked) > 0 {
			t.Errorf("%s %s: %d %s, asked %v", c.path, c.micros, w.Code, w.Body, p.asked)
		}
	}
}

// Proves that rates are of the platform for its keys, and of the account for its own; that a file's mistakes come line by line.
func TestRates_WhoseTheyAre(t *testing.T) {
	keys["sk_rates"] = brain.APIKey{ID: "key_8", AccountID: "acc_1", Scopes: []brain.Scope{brain.ScopeConfigWrite, brain.ScopeConfigRead}}
	file := &brain.Error{Code: brain.EInvalid, Text: "1 mistakes", Fields: []brain.FieldError{{Path: "prefix", Line: 7, Text: "is wrong"}}}
	for _, c := range []struct {
		token, method, path string
		fail                error
		status              int
		asked, answer       string
	}{
		{tokenPlatform, "POST", "/rates/import?plan=a&dry_run=true", nil, 200, `import key_2 "" a 4 true`, ""},
		{"sk_rates", "POST", "/rates/import?plan=a", nil, 200, `import key_8 "acc_1" a 4 false`, ""},
		{"sk_rates", "POST", "/rates/import?plan=a&account_id=acc_2", nil, 403, "", ""},
		{tokenPlatform, "POST", "/rates/import", nil, 400, "", "plan"},
		{tokenPlatform, "POST", "/rates/import?plan=a&dry_run=x", nil, 400, "", "dry_run"},
		{tokenPlatform, "POST", "/rates/import?plan=a", file, 400, `import key_2 "" a 4 false`, `"detail":"1 mistakes","errors":[{"path":"prefix","line":7,`},
		{tokenPlatform, "POST", "/rates/import?plan=a", brain.Errorf(brain.EConflict, "changed meanwhile"), 409, `import key_2 "" a 4 false`, "changed meanwhile"},
		{tokenAccount, "POST", "/rates/import?plan=a", nil, 403, "", ""},
		{tokenPlatform, "GET", "/rates?plan=a&number=%2B4930", nil, 200, `show "" a 4930`, ""},
		{tokenPlatform, "GET", "/rates?plan=a&number=x", nil, 400, "", "number"},
		{tokenPlatform, "GET", "/rates?plan=a&number=49", brain.Errorf(brain.ENotFound, "no rate"), 404, `show "" a 49`, "no rate"},
	} {
		b, _, l := newTill(t)
		l.fail = c.fail
		w := b.ask(c.method, c.path, "text/csv", "text", withToken(c.token))
		if w.Code != c.status || strings.Join(l.asked, "; ") != c.asked || !strings.Contains(w.Body.String(), c.answer) {
			t.Errorf("%s %s: %d %s, asked %v", c.token, c.path, w.Code, w.Body, l.asked)
		}
	}
	if b, _, _ := newTill(t); b.ask(http.MethodPut, "/rates/import?plan=a", "text/csv", "text", withToken(tokenPlatform)).Code != http.StatusMethodNotAllowed {
		t.Error("PUT is taken")
	}
}
