package v1_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// What a key may not do is 403 and names the scope that would allow it.
func TestRights_NameTheMissingScope(t *testing.T) {
	cases := []struct{ token, method, path, body, scope string }{
		{tokenReader, "POST", "/v1/sip_users", `{"username":"1"}`, "config:write"},
		{tokenReader, "GET", "/v1/api_keys", "", "keys"},
		{tokenReader, "POST", "/v1/apply", "a: b", "config:write"},
		{tokenAcme, "POST", "/v1/accounts", `{"name":"x"}`, "platform"},
		{tokenAcme, "PATCH", "/v1/accounts/acc_acme", `{"status":"active"}`, "platform"},
		{tokenAcme, "GET", "/v1/nodes", "", "platform"},
		{tokenAcme, "GET", "/v1/revisions", "", "platform"},
		{tokenAcme, "POST", "/v1/rollback", `{"version":1}`, "platform"},
		{tokenAcme, "GET", "/v1/sip_users?account_id=acc_other", "", "platform"},
		{tokenNode, "GET", "/v1/sip_users", "", "config:read"},
	}
	for _, c := range cases {
		got := newBench(t).want(403, c.token, c.method, c.path, c.body)
		if detail := got.body["detail"].(string); !strings.Contains(detail, c.scope) {
			t.Errorf("%s %s: %q does not name %s", c.method, c.path, detail, c.scope)
		}
	}
}

// The scope platform on the key of an account opens nothing, should such a key ever be in the store.
func TestRights_PlatformScopeOfAnAccountKeyIsWorthless(t *testing.T) {
	b := newBench(t)
	b.tokens["sk_odd"] = brain.APIKey{ID: "key_odd", AccountID: "acc_acme", Scopes: brain.Scopes}
	b.want(403, "sk_odd", "GET", "/v1/nodes", "")
	b.want(403, "sk_odd", "GET", "/v1/sip_users?account_id=acc_other", "")
}

// One account neither sees nor touches what belongs to another: its ids are unknown to it.
func TestAccounts_DoNotSeeEachOther(t *testing.T) {
	b := newBench(t)
	one := b.want(201, tokenAcme, "POST", "/v1/sip_users", `{"username":"1001"}`).header.Get("Location")
	for _, method := range []string{"GET", "DELETE"} {
		b.want(404, tokenOther, method, one, "")
	}
	b.want(404, tokenOther, "PATCH", one, `{"dnd":true}`)
	b.want(404, tokenOther, "PUT", one, `{"username":"7"}`)
	if items := b.want(200, tokenOther, "GET", "/v1/sip_users", "").body["items"].([]any); len(items) != 0 {
		t.Errorf("the other account lists %v", items)
	}
	if items := b.want(200, tokenAcme, "GET", "/v1/accounts", "").body["items"].([]any); len(items) != 1 {
		t.Errorf("an account lists the accounts %v", items)
	}
	b.want(404, tokenPlatform, "GET", one+"?account_id=acc_other", "")
	b.want(200, tokenPlatform, "GET", one, "")
}

// The account of what is made is the credential's: a body cannot choose another, and a key of the
// platform must name one.
func TestCreate_TakesTheAccountFromTheCredential(t *testing.T) {
	b := newBench(t)
	made := b.want(201, tokenAcme, "POST", "/v1/sip_users", `{"username":"1001","account_id":"acc_acme"}`)
	if made.body["account_id"] != "acc_acme" || b.actor != "key_acme" {
		t.Errorf("made %v by %s", made.body, b.actor)
	}
	got := b.want(422, tokenAcme, "POST", "/v1/sip_users", `{"username":"1002","account_id":"acc_other"}`)
	if !slices.Contains(got.mistakes(), "account_id: is read-only") {
		t.Errorf("mistakes %v", got.mistakes())
	}
	got = b.want(422, tokenPlatform, "POST", "/v1/sip_users", `{"username":"1002"}`)
	if len(got.mistakes()) != 1 || !strings.HasPrefix(got.mistakes()[0], "query.account_id: ") {
		t.Errorf("mistakes %v", got.mistakes())
	}
}

// A key is shown once, is never more than its maker, and cannot be widened later.
func TestKeys_NeverGetMoreThanTheirMakerHas(t *testing.T) {
	b := newBench(t)
	made := b.want(201, tokenAcme, "POST", "/v1/api_keys", `{"name":"ci","scopes":["config:read"]}`)
	token := made.body["key"].(string)
	b.want(200, token, "GET", "/v1/sip_users", "")
	one := made.header.Get("Location")
	if text := b.want(200, tokenAcme, "GET", one, "").text; strings.Contains(text, token) || strings.Contains(text, "hash") {
		t.Errorf("the key is shown again: %s", text)
	}
	for _, c := range []struct{ token, method, path, body, want string }{
		{tokenAcme, "POST", "/v1/api_keys", `{"name":"x","scopes":["config:read","calls:read"]}`, "scopes[1]: "},
		{tokenAcme, "POST", "/v1/api_keys", `{"name":"x","scopes":["platform"]}`, "scopes[0]: "},
		{tokenAcme, "POST", "/v1/api_keys", `{"name":"x","scopes":["root"]}`, "scopes[0]: no such scope"},
		{tokenAcme, "PATCH", one, `{"scopes":["calls:read"]}`, "scopes[0]: "},
		{tokenAcme, "PUT", one, `{"name":"ci","scopes":["calls:read"]}`, "scopes[0]: "},
		{tokenPlatform, "POST", "/v1/api_keys?account_id=acc_acme", `{"name":"x","scopes":["node"]}`, "scopes[0]: "},
		{tokenAcme, "POST", "/v1/api_keys", `{"name":"x","scopes":[]}`, "scopes: "},
	} {
		got := b.want(422, c.token, c.method, c.path, c.body)
		if len(got.mistakes()) != 1 || !strings.HasPrefix(got.mistakes()[0], c.want) {
			t.Errorf("%s %s: mistakes %v", c.method, c.body, got.mistakes())
		}
	}
	if got := b.want(201, tokenPlatform, "POST", "/v1/api_keys", `{"name":"edge1","scopes":["node"]}`); got.body["api_key"].(map[string]any)["account_id"] != nil {
		t.Errorf("a key of the platform got an account: %v", got.body)
	}
	b.want(204, tokenAcme, "DELETE", one, "")
}

// A replacement of a key cannot take its hash away: the store must get it back whole.
func TestKeys_KeepTheirHashWhenChanged(t *testing.T) {
	b := newBench(t)
	made := b.want(201, tokenAcme, "POST", "/v1/api_keys", `{"name":"ci","scopes":["config:read"]}`)
	one := made.header.Get("Location")
	b.want(200, tokenAcme, "PUT", one, `{"name":"ci2","scopes":["config:read"]}`)
	id := one[strings.LastIndex(one, "/")+1:]
	if key := b.rows[id].(*brain.APIKey); key.Hash != "hash-of-ci" || key.Name != "ci2" {
		t.Errorf("after PUT: %+v", key)
	}
}

// A key that speaks for one node speaks for it as long as it is: neither by another name nor for any.
func TestKeys_StayWithTheirNode(t *testing.T) {
	b := newBench(t)
	one := b.want(201, tokenPlatform, "POST", "/v1/api_keys", `{"name":"edge1","scopes":["node"],"node":"edge-1"}`).header.Get("Location")
	for method, bodies := range map[string][]string{"PATCH": {`{"node":null}`, `{"node":""}`, `{"node":"edge-2"}`}, "PUT": {`{"name":"edge1","scopes":["node"],"node":"edge-2"}`}} {
		for _, body := range bodies {
			if got := b.want(422, tokenPlatform, method, one, body).mistakes(); !slices.Equal(got, []string{"node: is read-only"}) {
				t.Errorf("%s %s: mistakes %v", method, body, got)
			}
		}
	}
	b.want(200, tokenPlatform, "PUT", one, `{"name":"edge one","scopes":["node"]}`)
	if key := b.rows[one[strings.LastIndex(one, "/")+1:]].(*brain.APIKey); key.Node != "edge-1" || key.Name != "edge one" {
		t.Errorf("after PUT: %+v", key)
	}
}
