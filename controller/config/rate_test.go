package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

const resellers = `kind: rate_plan
name: wholesale
spec: {currency: EUR}
---
kind: account
name: reseller
spec: {currency: EUR, rate_plan: wholesale}
---
kind: rate_plan
account: reseller
name: retail
spec: {currency: USD}
---
kind: account
name: customer
spec: {parent_id: reseller, currency: USD, rate_plan: retail, hold_sec: 60}
`

// Proves that plans of the platform and of resellers are declared in files, found by whom they are of, exported as they were, and
// that the rates an import has named stay what they are when the file is applied again.
func TestRatePlan_OfThePlatformAndOfResellers(t *testing.T) {
	s := openStore(t)
	mustApply(t, s, []byte(resellers), brain.ApplyOptions{})
	ids := map[string]string{}
	accounts, err := s.List(t.Context(), brain.KindAccount, "", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range accounts {
		ids[brain.NameOf(r)] = r.ResourceID()
	}
	own := s.RatePlan(ids["reseller"], "retail")
	if p := s.RatePlan("", "wholesale"); p == nil || p.Currency != "EUR" || p.AccountID != "" || own == nil || own.Currency != "USD" || s.RatePlan("", "retail") != nil {
		t.Fatalf("%+v %+v", p, own)
	}
	named := *own
	named.ObjectKey, named.SHA256, named.Rates = "k", strings.Repeat("a", 64), 7
	if _, err := s.Change(t.Context(), "me", brain.Change{Op: brain.OpUpdate, Resource: &named, Before: own}); err != nil {
		t.Fatal(err)
	}
	if plan := mustApply(t, s, []byte(resellers), brain.ApplyOptions{}); len(plan.Items) != 0 || s.RatePlan(ids["reseller"], "retail").Rates != 7 {
		t.Errorf("applied again: %+v", plan.Items)
	}
	text, err := s.Export(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if plan := mustApply(t, s, text, brain.ApplyOptions{}); len(plan.Items) != 0 {
		t.Errorf("the export differs: %+v", plan.Items)
	}
}

// Proves that an account pays by a plan that is there, of the right owner and in its currency, and that a plan that is in use stays.
func TestRatePlan_AnAccountPaysByAPlanThatIsThere(t *testing.T) {
	s := openStore(t)
	mustApply(t, s, []byte(resellers), brain.ApplyOptions{})
	for name, c := range map[string][2]string{
		"no such plan":            {"rate_plan: wholesale}\n---\nkind: account\nname: x\nspec: {currency: EUR, rate_plan: none}\n", `no rate plan "none"`},
		"one of the platform":     {"rate_plan: wholesale}\n---\nkind: account\nname: x\nspec: {parent_id: reseller, currency: EUR, rate_plan: wholesale}\n", "the reseller has no rate plan"},
		"another currency":        {"rate_plan: wholesale}\n---\nkind: account\nname: x\nspec: {currency: USD, rate_plan: wholesale}\n", "is in EUR"},
		"no currency":             {"rate_plan: wholesale}\n---\nkind: account\nname: x\nspec: {rate_plan: wholesale}\n", "ISO 4217"},
		"the plan's own currency": {"rate_plan: wholesale}\n---\nkind: rate_plan\nname: wholesale\nspec: {currency: USD}\n", "is in USD"},
		"a hold of no time":       {"rate_plan: wholesale}\n---\nkind: account\nname: x\nspec: {hold_sec: 1}\n", "hold_sec"},
	} {
		text := "kind: account\nname: reseller\nspec: {currency: EUR, " + c[0]
		_, _, err := s.Apply(t.Context(), "me", []byte(text), brain.ApplyOptions{})
		told := ""
		if e, ok := errors.AsType[*brain.Error](err); ok {
			for _, f := range e.Fields {
				told += f.Path + ": " + f.Text + "\n"
			}
			told += e.Text
		}
		if err == nil || !strings.Contains(told, c[1]) {
			t.Errorf("%s: %v %s", name, err, told)
		}
	}
	if _, err := s.Change(t.Context(), "me", brain.Change{Op: brain.OpDelete, Resource: s.RatePlan("", "wholesale")}); brain.CodeOf(err) != brain.EConflict {
		t.Errorf("a plan in use is deleted: %v", err)
	}
}

// Proves that what a trunk costs is said by a plan of its own account, in the currency that the account has, and that the plan stays while a
// trunk names it.
func TestRatePlan_ATrunkCostsByAPlanOfItsAccount(t *testing.T) {
	s := openStore(t)
	const trunk = "\n---\nkind: sip_trunk\naccount: shop\nname: a\nspec: {direction: outbound, proxy: a.example, cost_plan: %s}\n"
	text := func(currency, own, named string) []byte {
		return fmt.Appendf(nil, "kind: rate_plan\nname: platform\nspec: {currency: EUR}\n---\nkind: account\nname: shop\nspec: {currency: %s}\n---\n"+
			"kind: rate_plan\naccount: shop\nname: buy\nspec: {currency: %s}"+trunk, currency, own, named)
	}
	for _, c := range []struct{ currency, own, named, want string }{
		{"EUR", "EUR", "platform", `has no rate plan "platform"`}, {"EUR", "EUR", "none", `has no rate plan "none"`},
		{"EUR", "USD", "buy", `is in USD, the currency of the account is "EUR"`}, {`""`, "EUR", "buy", `the currency of the account is ""`},
	} {
		_, _, err := s.Apply(t.Context(), "me", text(c.currency, c.own, c.named), brain.ApplyOptions{})
		if e, ok := errors.AsType[*brain.Error](err); !ok || len(e.Fields) != 1 || !strings.HasSuffix(e.Fields[0].Path, "cost_plan") || !strings.Contains(e.Fields[0].Text, c.want) {
			t.Errorf("%+v: %v %+v", c, err, e)
		}
	}
	mustApply(t, s, text("EUR", "EUR", "buy"), brain.ApplyOptions{})
	accounts, err := s.List(t.Context(), brain.KindAccount, "", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	id := accounts[0].ResourceID()
	for _, trunk := range s.Directory().ByAccount(id).Trunks {
		if trunk.CostPlan != "buy" {
			t.Errorf("the trunk costs by %q", trunk.CostPlan)
		}
	}
	if _, err := s.Change(t.Context(), "me", brain.Change{Op: brain.OpDelete, Resource: s.RatePlan(id, "buy")}); brain.CodeOf(err) != brain.EConflict {
		t.Errorf("a plan that a trunk names is deleted: %v", err)
	}
}
