package v1_test

import (
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that the audit log names the key or console user beside its id: to the platform everybody, to an account its own alone,
// and nobody who is gone.
func TestAudit_NamesActors(t *testing.T) {
	b := newBench(t)
	tenant := b.tokens[tokenAcme]
	tenant.Scopes = []brain.Scope{brain.ScopeAuditRead}
	b.tokens[tokenAcme] = tenant
	b.rows["key_admin"] = &brain.APIKey{ID: "key_admin", Name: "admin"}
	b.rows["key_ci"] = &brain.APIKey{ID: "key_ci", AccountID: "acc_acme", Name: "ci"}
	b.rows["cu_ann"] = &brain.ConsoleUser{ID: "cu_ann", AccountID: "acc_acme", Email: "ann@acme.test"}
	for _, actor := range []string{"key_admin", "key_ci", "key_ci", "cu_ann", "key_gone", "operator:anna"} {
		b.audit = append(b.audit, brain.AuditRow{ID: "aud_" + string(rune('a'+len(b.audit))), AuditEntry: brain.AuditEntry{Actor: actor, AccountID: "acc_acme"}})
	}
	for token, want := range map[string]map[string]any{
		tokenPlatform: {"key_admin": "admin", "key_ci": "ci", "cu_ann": "ann@acme.test", "key_gone": nil, "operator:anna": nil},
		tokenAcme:     {"key_admin": nil, "key_ci": "ci", "cu_ann": "ann@acme.test", "key_gone": nil, "operator:anna": nil},
	} {
		items := b.want(200, token, "GET", "/v1/audit", "").body["items"].([]any)
		if len(items) != 6 {
			t.Fatalf("%d entries", len(items))
		}
		for _, item := range items {
			row := item.(map[string]any)
			if actor := row["actor"].(string); row["actor_name"] != want[actor] {
				t.Errorf("%s: %s is called %v, want %v", token, actor, row["actor_name"], want[actor])
			}
		}
	}
}
