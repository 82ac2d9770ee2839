package config

import (
	"context"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a call limit names its user, or its account, by name in a file; that every other scope is
// told at its line; and that a plan shows names.
func TestApply_CallLimitsNameTheirScope(t *testing.T) {
	s := acmeStore(t)
	c := account(t, s, "acme.test")
	if len(c.Limits) != 3 || c.Limits[0].Name != "all" || c.Limits[0].ScopeID != c.Account.ID || !c.Limits[0].Hard || c.Limits[1].ScopeID != c.UserByName["1001"].ID || c.Limits[1].Hard {
		t.Fatalf("limits: %+v", c.Limits)
	}
	const rest = ", period_sec: 60, max_count: 5}}\n"
	_, _, err := s.Apply(context.Background(), "test", []byte(
		"- {kind: call_limit, account: acme, name: a, spec: {scope_kind: did, scope_id: x"+rest+
			"- {kind: call_limit, account: acme, name: b, spec: {scope_kind: user, scope_id: \"9999\""+rest+
			"- {kind: call_limit, account: acme, name: c, spec: {scope_kind: account, scope_id: beta"+rest+
			"- {kind: call_limit, account: beta, name: d, spec: {scope_kind: user, scope_id: \"1002\""+rest+
			"- {kind: call_limit, account: acme, name: e, spec: {scope_kind: number, number_pattern: 1x"+rest), brain.ApplyOptions{})
	wantCode(t, err, brain.EInvalid, "")
	lines := strings.Split(err.Error(), "\n")
	want := []string{"line 1: call_limit \"a\": spec.scope_kind: did cannot be used yet", "line 2: call_limit \"b\": spec.scope_id: no sip_user \"9999\" in account \"acme\"",
		"line 3: call_limit \"c\": spec.scope_id: ", "line 4: call_limit \"d\": spec.scope_id: no sip_user \"1002\" in account \"beta\"", "line 5: call_limit \"e\": spec.number_pattern: "}
	for i, part := range want {
		if i+1 >= len(lines) || !strings.HasPrefix(lines[i+1], part) {
			t.Errorf("mistake %d: want %q in\n%v", i, part, err)
		}
	}
	plan := mustApply(t, s, []byte("{kind: call_limit, account: acme, name: alice, spec: {scope_kind: user, scope_id: \"1002\", direction: in"+strings.TrimSuffix(rest, "}\n")+"}"), brain.ApplyOptions{})
	for _, part := range []string{"scope_id: 1001 → 1002", "hard: false → true", "direction: out → in"} {
		if !strings.Contains(plan.String(), part) {
			t.Errorf("want %q in\n%s", part, plan)
		}
	}
	_, err = change(s, brain.OpDelete, c.UserByName["1002"])
	wantCode(t, err, brain.EConflict, `by call_limit "alice" (scope_id)`)
}
