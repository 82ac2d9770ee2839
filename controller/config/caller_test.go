package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a route may be for the calls of an account below its own and of no other, that a reseller's own file may name those and
// is exported as it was, and that who is named stays below.
func TestOutboundRoute_IsForTheCallsOfASubaccount(t *testing.T) {
	s := openStore(t)
	const tree = "kind: account\nname: top\n---\nkind: account\nname: mid\nspec: {parent_id: top}\n---\nkind: account\nname: shop\nspec: {parent_id: mid}\n---\nkind: account\nname: other\n"
	const bars = "kind: outbound_route\naccount: top\nname: bars\nspec: {match_prefix: \"49900\", blocked: true, caller_account: shop}\n"
	mustApply(t, s, []byte(tree), brain.ApplyOptions{})
	ids := map[string]string{}
	accounts, err := s.List(t.Context(), brain.KindAccount, "", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range accounts {
		ids[brain.NameOf(r)] = r.ResourceID()
	}
	mustApply(t, s, []byte(bars), brain.ApplyOptions{AccountID: ids["top"]})
	if found := s.Directory().ByAccount(ids["top"]).RoutesByCaller[ids["shop"]]; len(found) != 1 || found[0].Name != "bars" || !found[0].Blocked {
		t.Errorf("it is for %+v", found)
	}
	text, err := s.Export(t.Context(), ids["top"])
	if err != nil || !strings.Contains(string(text), "caller_account: shop") {
		t.Fatalf("%s %v", text, err)
	}
	if plan := mustApply(t, s, []byte(bars), brain.ApplyOptions{AccountID: ids["top"]}); len(plan.Items) != 0 {
		t.Errorf("applied again: %+v", plan.Items)
	}
	route := func(owner, caller, more string) string {
		return "kind: outbound_route\naccount: " + owner + "\nname: x\nspec: {caller_account: " + caller + ", " + more + "}\n"
	}
	for name, c := range map[string]struct{ text, key, want string }{
		"somebody else's":           {route("mid", "other", "blocked: true"), "", "is no subaccount"},
		"the account above":         {route("mid", "top", "blocked: true"), "", "is no subaccount"},
		"its own":                   {route("mid", "mid", "blocked: true"), "", "without it"},
		"no account":                {route("mid", "nobody", "blocked: true"), "", `no account "nobody"`},
		"not blocked":               {route("mid", "shop", "trunks: []"), "", "trunks of its own"},
		"of a key, somebody else's": {route("top", "other", "blocked: true"), ids["top"], `no account "other"`},
		"no longer below":           {"kind: account\nname: mid\n", "", "is no subaccount"},
	} {
		_, _, err := s.Apply(t.Context(), "me", []byte(c.text), brain.ApplyOptions{AccountID: c.key})
		if err == nil || !strings.Contains(toldBy(err), c.want) {
			t.Errorf("%s: %s, want %s", name, toldBy(err), c.want)
		}
	}
	shop := s.Directory().ByAccount(ids["shop"]).Account
	if _, err := s.Change(t.Context(), "me", brain.Change{Op: brain.OpDelete, Resource: &shop}); brain.CodeOf(err) != brain.EConflict {
		t.Errorf("the account that a route is for is deleted: %v", err)
	}
}

// toldBy is an error with all that it says of fields.
func toldBy(err error) string {
	told := ""
	if e, ok := errors.AsType[*brain.Error](err); ok {
		for _, f := range e.Fields {
			told += f.Path + ": " + f.Text + "\n"
		}
		told += e.Text
	}
	return told
}
