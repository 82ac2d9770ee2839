package controller

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Proves least cost over the network: price lists of two carriers are imported, and each number goes over the carrier whose list has the lower
// price for its longest prefix; a new list takes the place of the old one; and after a restart the lists are read again.
func TestRun_CallsGoByTheCheapestPriceList(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	account, _ := r.furnish(t)
	of := "?account_id=" + account
	if status := r.call(t, "PATCH", "/v1/accounts/"+account, "application/json", `{"currency":"EUR","country":"DE"}`, nil); status != 200 {
		t.Fatalf("PATCH: %d", status)
	}
	names, plans, choices := map[string]string{}, map[string]string{}, []string{}
	for _, name := range []string{"alpha", "beta"} {
		plans[name] = r.create(t, "/v1/rate_plans"+of, `{"name":"`+name+`","currency":"EUR"}`)
		id := r.create(t, "/v1/sip_trunks"+of, `{"name":"`+name+`","direction":"outbound","proxy":"`+name+`.example","cost_plan":"`+name+`"}`)
		names[id], choices = name, append(choices, `{"trunk_id":"`+id+`"}`)
	}
	r.create(t, "/v1/outbound_routes"+of, `{"name":"all","strategy":"least_cost","trunks":[`+strings.Join(choices, ",")+`]}`)
	imports := func(plan, rows string) {
		t.Helper()
		var done api.RateImport
		text := "prefix,connect,per_minute,interval_first_sec,interval_next_sec,effective_from\n" + rows
		if status := r.call(t, "POST", api.PathRateImport+of+"&plan="+plan, "text/csv", text, &done); status != 200 || done.Rates == 0 {
			t.Fatalf("import into %s: %d %+v", plan, status, done)
		}
	}
	leaves := func(callID, number, want string) {
		t.Helper()
		d := r.dials(t, callID, number)
		if len(d.Routes) == 0 || names[d.Routes[0].Trunk.ID] != want {
			t.Errorf("%s is to leave over %s: %s", number, want, d.Why)
		}
	}
	imports("alpha", "4930,0,0.010,60,1,2026-01-01\n49,0,0.020,60,1,2026-01-01\n")
	imports("beta", "49,0,0.015,60,1,2026-01-01\n")
	for _, price := range []string{"alpha 0.01", "beta 0.015"} { // a list is read beside the call that first wants it
		eventually(t, "the first prices", func() bool { return strings.Contains(r.dials(t, "c0", "+4930123456").Why, price) })
	}
	leaves("c1", "+4930123456", "alpha")
	leaves("c2", "+4940123456", "beta")
	imports("beta", "49,0,0.005,60,1,2026-01-01\n")
	eventually(t, "the new prices", func() bool { return strings.Contains(r.dials(t, "c3", "+4930123456").Why, "beta 0.005") })
	leaves("c4", "+4930123456", "beta")
	r.stop()
	r.wait(t)
	r = start(t, dir)
	eventually(t, "the lists to be read again", func() bool { return strings.Contains(r.dials(t, "c5", "+4930123456").Why, "beta 0.005") })
	leaves("c6", "+4930123456", "beta")
	if status := r.call(t, "DELETE", "/v1/rate_plans/"+plans["beta"], "", "", nil); status != 409 {
		t.Errorf("a plan that a trunk costs by is deleted: %d", status)
	}
}
