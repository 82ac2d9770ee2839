package controller

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

const centPerSecond = "prefix,connect,per_minute,interval_first_sec,interval_next_sec,effective_from\n49,0,0.60,1,1,2020-01-01\n"

// charged makes an account that pays for its calls, and a node that passes on what it is told.
func (r *running) charged(t *testing.T) (account string, told chan api.Op) {
	t.Helper()
	told = make(chan api.Op, 16)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var op api.Op
		if err := json.NewDecoder(req.Body).Decode(&op); err != nil {
			t.Errorf("the node was told what is no op: %v", err)
		}
		told <- op
		_ = json.NewEncoder(w).Encode(api.OpReply{ID: op.ID, OK: true})
	}))
	t.Cleanup(node.Close)
	r.create(t, "/v1/nodes", `{"name":"edge1","agent_url":"`+node.URL+`"}`)
	account, _ = r.furnish(t)
	r.create(t, "/v1/rate_plans", `{"name":"retail","currency":"EUR"}`)
	if status := r.call(t, "PATCH", "/v1/accounts/"+account, "application/json", `{"currency":"EUR","rate_plan":"retail","country":"DE"}`, nil); status != 200 {
		t.Fatalf("PATCH: %d", status)
	}
	trunk := r.create(t, "/v1/sip_trunks?account_id="+account, `{"name":"carrier","direction":"both","proxy":"192.0.2.9:5060","inbound_acl":["192.0.2.9"]}`)
	r.create(t, "/v1/outbound_routes?account_id="+account, `{"name":"all","trunks":[{"trunk_id":"`+trunk+`"}]}`)
	r.create(t, "/v1/outbound_routes?account_id="+account, `{"name":"help","is_emergency":true,"trunks":[{"trunk_id":"`+trunk+`"}]}`)
	return account, told
}

// dials asks for a call of 1001 to a number.
func (r *running) dials(t *testing.T, callID, number string) api.Directive {
	t.Helper()
	v := digest("INVITE", "1001", "secret-1001")
	v.Set("call_id", callID)
	v.Set("ruri_user", number)
	v.Set("ruri_domain", "example.com")
	v.Set("from_user", "1001")
	v.Set("from_domain", "example.com")
	v.Set("node", "edge1")
	v.Set("time_ms", strconv.FormatInt(time.Now().UnixMilli(), 10))
	var reply api.RouteReply
	r.ask(t, api.PathRoute, v, &reply)
	return reply.RTJSON
}

func (r *running) balance(t *testing.T, account string) (b api.BalanceState) {
	t.Helper()
	if status := r.call(t, "GET", api.PathBalance+"?account_id="+account, "", "", &b); status != 200 {
		t.Fatalf("GET /balance: %d", status)
	}
	return b
}

// tell delivers one event of a call at the edge.
func (r *running) tell(t *testing.T, account, kind string, d *api.Directive, callID string, atMS int64) {
	t.Helper()
	r.post(t, api.PathPresenceEvent, api.EventBatch{Node: "edge1", Boot: "1", Events: []api.Event{
		{Seq: 1, TimeMS: atMS, Type: kind, AccountID: account, CallID: callID, Token: d.Call.Token}}}, nil)
}

// Proves money over the network and the real store: rates come in and say what they change; a caller without money is refused and takes no place,
// a call for help is not; with little money the directive's longest time is what it is enough for; the same question finds the same hold, and in
// the end the talk is charged once, over a restart. The node is told to end a call a second before its money is over.
func TestRun_ChargesCalls(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	account, told := r.charged(t)
	of := "?account_id=" + account
	imports := api.PathRateImport + "?plan=retail"
	if d := r.dials(t, "c0", "+4930123456"); d.SIPCode != 403 || d.Why != "wallet: plan retail has no rate for +4930123456" {
		t.Errorf("without a rate: %+v", d.Refusal)
	}
	var done api.RateImport
	if status := r.call(t, "POST", imports+"&dry_run=true", "text/csv", centPerSecond, &done); status != 200 || done.Added != 1 || !done.DryRun {
		t.Fatalf("%d %+v", status, done)
	}
	if status := r.call(t, "POST", imports, "text/csv", "prefix\n49\n", nil); status != 400 {
		t.Errorf("a file without prices: %d", status)
	}
	if status := r.call(t, "POST", imports, "text/csv", centPerSecond, &done); status != 200 || done.Rates != 1 || len(done.Changes) != 1 {
		t.Fatalf("%d %+v", status, done)
	}
	var rate api.RateShown
	if status := r.call(t, "GET", api.PathRates+"?plan=retail&number=4930", "", "", &rate); status != 200 || rate.PerMinuteMicros != 600_000 || rate.Prefix != "49" {
		t.Fatalf("%d %+v", status, rate)
	}
	if d := r.dials(t, "c1", "+4930123456"); d.SIPCode != 403 || d.Why != "wallet: balance 0.00, limit 0.00: not enough for the first interval" || d.Reason != "Insufficient Credit" {
		t.Errorf("without money: %+v", d.Refusal)
	}
	if d := r.dials(t, "c2", "112"); d.Action != api.ActionProxy || len(d.Routes) == 0 || d.Routes[0].Trunk == nil {
		t.Errorf("a call for help: %+v", d)
	}
	var cac api.CACState
	if r.call(t, "GET", api.PathCAC+of, "", "", &cac); len(cac.Slots) != 1 || cac.Slots[0].CallID != "c2" {
		t.Errorf("places: %+v", cac.Slots)
	}
	change := api.BalanceChange{ID: "p1", AskedMS: time.Now().UnixMilli(), Micros: 60_000, Note: "cash"} // 6 seconds
	var changed api.BalanceChanged
	for range 2 {
		r.post(t, api.PathBalanceTopUp+of, change, &changed)
	}
	if !changed.Repeated || changed.BalanceMicros != 60_000 {
		t.Errorf("%+v", changed)
	}
	d := r.dials(t, "c3", "+4930123456")
	if d.Action != api.ActionProxy || d.Call.MaxDurationSec != 5 {
		t.Fatalf("with 6 seconds: %+v %+v", d.Call, d.Refusal)
	}
	if again := r.dials(t, "c3", "+4930123456"); again.Action != api.ActionProxy || again.Call.MaxDurationSec != 5 {
		t.Errorf("again: %+v %+v", again.Call, again.Refusal)
	}
	if b := r.balance(t, account); b.HeldMicros != 60_000 || b.Calls != 1 {
		t.Errorf("%+v", b)
	}
	began := time.Now()
	r.tell(t, account, api.EventDialogStart, &d, "c3", began.UnixMilli())
	select {
	case op := <-told:
		if took := time.Since(began); op.Kind != api.OpEnd || op.CallID != "c3" || took < 4*time.Second || took > 8*time.Second {
			t.Errorf("%+v after %v", op, took)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody ends the call")
	}
	r.tell(t, account, api.EventDialogEnd, &d, "c3", began.UnixMilli()+5100)
	r.stop()
	r.wait(t)
	r = start(t, dir)
	r.tell(t, account, api.EventDialogEnd, &d, "c3", began.UnixMilli()+5100)
	if b := r.balance(t, account); b.BalanceMicros != 0 || b.HeldMicros != 0 {
		t.Errorf("%+v", b)
	}
	var page balance.Page
	if r.call(t, "GET", api.PathBalanceStatement+of, "", "", &page); len(page.Movements) != 2 || page.Movements[1].CallID != "c3" || page.Movements[1].BilledSec != 6 {
		t.Errorf("%+v", page)
	}
	if status := r.call(t, "POST", api.PathBalanceTopUp+of, "application/json", `{"id":"p2","asked_ms":1,"micros":-1}`, nil); status != 400 {
		t.Errorf("a top-up below zero: %d", status)
	}
}
