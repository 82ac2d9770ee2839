package contract

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/test/edge"
)

// item is a resource as JSON shows it.
type item map[string]any

func (i item) id() string { s, _ := i["id"].(string); return s }

func (r answer) item(t *testing.T) item {
	t.Helper()
	var i item
	if err := json.Unmarshal(r.body, &i); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return i
}

// walk reads a collection page by page.
func (a asker) walk(path string, limit int) []item {
	a.t.Helper()
	var all []item
	for after := ""; ; {
		var page struct {
			Items []item
			Next  string
		}
		r := a.get(200, fmt.Sprintf("%slimit=%d&after=%s", path, limit, after))
		if err := json.Unmarshal(r.body, &page); err != nil || len(page.Items) > limit {
			a.t.Fatalf("%s: %d items, %v", path, len(page.Items), err)
		}
		if all = append(all, page.Items...); page.Next == "" {
			return all
		}
		if after = page.Next; len(all) > 1000 {
			a.t.Fatalf("%s: the pages do not end", path)
		}
	}
}

// named finds the id of the resource whose member has a value.
func (a asker) named(kind brain.Kind, query, member, value string) string {
	a.t.Helper()
	for _, i := range a.walk("/v1/"+string(kind)+"s?"+query, 500) {
		if i[member] == value {
			return i.id()
		}
	}
	a.t.Fatalf("no %s with %s %q", kind, member, value)
	return ""
}

// drawn is a call flow that hangs up.
func drawn(n int) string {
	return fmt.Sprintf(`{"name":"flow %d","graph":{"start":"in","nodes":[{"id":"in","data":{"kind":"entry"}},{"id":"bye","data":{"kind":"hangup"}}],"edges":[{"source":"in","target":"bye"}]}}`, n)
}

// life is how a resource of a kind is made and changed; member is changed by change.
type life struct {
	kind         brain.Kind
	body, change func(n int) string
	member       string
}

// lives says it for every kind, in the order in which references allow. Each body is another resource; what refers to
// a user or a queue does so when it is asked for.
func lives(user *string, queue func(n int) string) []life {
	return []life{
		{brain.KindAccount, func(n int) string { return fmt.Sprintf(`{"name":"account %d"}`, n) }, timezone, "timezone"},
		{brain.KindSIPDomain, func(n int) string { return fmt.Sprintf(`{"domain":"d%d.test","is_primary":%t}`, n, n == 0) }, renamed("domain", "new.test"), "domain"},
		{brain.KindNode, func(n int) string { return fmt.Sprintf(`{"name":"edge-%d","weight":0}`, n) }, number("weight"), "weight"},
		{brain.KindRatePlan, func(n int) string { return fmt.Sprintf(`{"name":"plan %d","currency":"EUR"}`, n) }, renamed("currency", "USD"), "currency"},
		{brain.KindAPIKey, func(n int) string { return fmt.Sprintf(`{"name":"key %d","scopes":["config:read"]}`, n) }, renamed("name", "new key"), "name"},
		{brain.KindConsoleUser, func(n int) string {
			return fmt.Sprintf(`{"email":"u%d@d1.test","role":"admin","password":%q}`, n, password)
		}, renamed("role", "viewer"), "role"},
		{brain.KindTimeSchedule, func(n int) string {
			return fmt.Sprintf(`{"name":"hours %d","rules":[{"kind":"weekly","dow":%d,"start_time":"09:00","end_time":"17:00"}]}`, n, n)
		}, timezone, "timezone"},
		{brain.KindMediaFile, func(n int) string { return fmt.Sprintf(`{"name":"hello %d","text":"Hello"}`, n) }, renamed("language", "de-DE"), "language"},
		{brain.KindMediaPlaylist, func(n int) string { return fmt.Sprintf(`{"name":"songs %d","media_ids":[]}`, n) }, renamed("name", "all songs"), "name"},
		{brain.KindVoicemail, func(n int) string { return fmt.Sprintf(`{"name":"box %d"}`, n) }, number("quota_mb"), "quota_mb"},
		{brain.KindConference, func(n int) string { return fmt.Sprintf(`{"name":"room %d"}`, n) }, number("max_members"), "max_members"},
		{brain.KindSIPUser, func(n int) string {
			return fmt.Sprintf(`{"username":"10%d","is_agent":true,"skills":{"french":%d}}`, n, 1+n%5)
		}, number("ring_timeout_sec"), "ring_timeout_sec"},
		{brain.KindSIPDevice, func(n int) string {
			return fmt.Sprintf(`{"user_id":%q,"auth_username":"10%d","realm":"d1.test","password":%q}`, *user, n, password)
		}, number("ring_order"), "ring_order"},
		{brain.KindRingGroup, func(n int) string { return fmt.Sprintf(`{"name":"group %d","members":[{"user_id":%q}]}`, n, *user) }, number("ring_timeout_sec"), "ring_timeout_sec"},
		{brain.KindQueue, func(n int) string { return fmt.Sprintf(`{"name":"queue %d","max_queued":%d}`, n, n) }, number("wrap_up_sec"), "wrap_up_sec"},
		{brain.KindAgentQueueAssignment, func(n int) string { return fmt.Sprintf(`{"queue_id":%q,"user_id":%q}`, queue(n), *user) }, number("tier_level"), "tier_level"},
		{brain.KindInQueueOption, func(n int) string {
			return fmt.Sprintf(`{"queue_id":%q,"digit":"%d","action":"hangup"}`, queue(n), n)
		}, renamed("label", "bye"), "label"},
		{brain.KindCallFlow, drawn, renamed("status", "draft"), "status"},
		{brain.KindExtension, func(n int) string { return fmt.Sprintf(`{"digits":"60%d","dest_kind":"user","dest_id":%q}`, n, *user) }, renamed("digits", "*77"), "digits"},
		{brain.KindDID, func(n int) string {
			return fmt.Sprintf(`{"e164":"49301000%d","dest_kind":"user","dest_id":%q,"dest_xform":{"topic":"sales"}}`, n, *user)
		}, number("max_channels"), "max_channels"},
		{brain.KindSecret, func(n int) string { return fmt.Sprintf(`{"name":"secret %d","value":%q}`, n, password) }, func(int) string { return `{"name":"new","value":"other"}` }, "name"},
		{brain.KindSIPTrunk, func(n int) string {
			return fmt.Sprintf(`{"name":"carrier %d","status":"disabled","inbound_acl":["192.0.2.%d"]}`, n, n)
		}, number("max_channels"), "max_channels"},
		{brain.KindOutboundRoute, func(n int) string {
			return fmt.Sprintf(`{"name":"route %d","match_prefix":"4990%d","blocked":true}`, n, n)
		}, renamed("match_prefix", "4980"), "match_prefix"},
		{brain.KindForward, func(n int) string { return fmt.Sprintf(`{"name":"forward %d","number":"+49 171 %d"}`, n, n) }, number("timeout_sec"), "timeout_sec"},
		{brain.KindCallLimit, func(n int) string {
			return fmt.Sprintf(`{"name":"limit %d","scope_kind":"user","scope_id":%q,"period_sec":60,"max_count":5}`, n, *user)
		}, number("max_count"), "max_count"},
	}
}

// Each kind is created, read, listed in pages, changed, replaced and deleted over REST: what is read
// back is what was answered, a page is never longer than asked for and no resource is missed or listed
// twice, and after the delete it is gone.
func TestV1_EveryKindLivesAndDies(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	account, user := "", ""
	var queues []string
	queue := func(n int) string { return queues[min(n, len(queues)-1)] }
	kinds := lives(&user, queue)
	if len(kinds) != len(brain.Kinds)-1 { // messages of mailboxes are made by nobody but the platform
		t.Fatalf("%d kinds are tried, there are %d", len(kinds), len(brain.Kinds))
	}
	const many = 5
	made := map[brain.Kind][]string{}
	for _, k := range kinds {
		path := "/v1/" + string(k.kind) + "s"
		query := "?"
		if account != "" && k.kind != brain.KindNode {
			query += "account_id=" + account + "&"
		}
		for n := range many {
			r := a.send(201, "POST", path+query, k.body(n))
			got := r.item(t)
			if k.kind == brain.KindAPIKey {
				got = item(got["api_key"].(map[string]any))
			}
			made[k.kind] = append(made[k.kind], got.id())
			if r.header.Get("Location") != path+"/"+got.id() || !strings.HasPrefix(got.id(), k.kind.IDPrefix()+"_") {
				t.Errorf("%s: id %q, Location %q", k.kind, got.id(), r.header.Get("Location"))
			}
			if read := a.get(200, path+"/"+got.id()).item(t); fmt.Sprint(read) != fmt.Sprint(got) {
				t.Errorf("%s: created as %v, read as %v", k.kind, got, read)
			}
		}
		account, user, queues = first(made[brain.KindAccount]), first(made[brain.KindSIPUser]), made[brain.KindQueue]
		var listed []string
		for _, i := range a.walk(path+query, 2) {
			listed = append(listed, i.id())
		}
		want := slices.Clone(made[k.kind])
		slices.Sort(want)
		if !slices.IsSorted(listed) || !containsAll(listed, want) || k.kind != brain.KindAPIKey && len(listed) != many {
			t.Errorf("%s: pages list %v, want %v", k.kind, listed, want)
		}
		one := path + "/" + made[k.kind][many-1]
		changed := a.send(200, "PATCH", one, k.change(1))
		if read := a.get(200, one); fmt.Sprint(read.item(t)) != fmt.Sprint(changed.item(t)) || changed.header.Get("X-Sipio-Config-Version") == "" {
			t.Errorf("%s: changed to %s, read as %s", k.kind, changed.body, read.body)
		}
		before := a.get(200, path+"/"+made[k.kind][0]).item(t)
		if changed.item(t)[k.member] == before[k.member] {
			t.Errorf("%s: %s is still %v", k.kind, k.member, before[k.member])
		}
		if k.kind != brain.KindAPIKey { // its body has another form when it is made
			replaced := a.send(200, "PUT", one, k.body(many)).item(t)
			if replaced.id() != changed.item(t).id() || replaced[k.member] == changed.item(t)[k.member] {
				t.Errorf("%s: replaced by %v", k.kind, replaced)
			}
		}
	}
	for _, k := range slices.Backward(kinds) {
		for _, id := range slices.Backward(made[k.kind]) {
			one := "/v1/" + string(k.kind) + "s/" + id
			a.want(204, "DELETE", one, "", "")
			a.get(404, one)
		}
	}
	a.told.search(t, append([]string{password, sha256hex(e.AdminKey)}, digests("100@d1.test")...)...)
	noFaults(t, e)
}

func timezone(int) string { return `{"timezone":"Europe/Berlin"}` }

func renamed(member, to string) func(int) string {
	return func(int) string { return fmt.Sprintf(`{%q:%q}`, member, to) }
}

func number(member string) func(int) string {
	return func(n int) string { return fmt.Sprintf(`{%q:%d}`, member, 40+n) }
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func containsAll(list, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(list, s) })
}

// newKey makes a key; account "" is the platform.
func (a asker) newKey(account string, scopes ...brain.Scope) string {
	a.t.Helper()
	body, err := json.Marshal(map[string]any{"name": fmt.Sprintf("key %d", time.Now().UnixNano()), "scopes": scopes})
	if err != nil {
		a.t.Fatal(err)
	}
	return a.send(201, "POST", "/v1/api_keys?account_id="+account, string(body)).field("key")
}

// A key is refused with 403 whatever it lacks the scope for, and the refusal names the scope; with the
// scope alone the same request gets past the gate. Without a key, or with an unknown one, it is 401.
func TestV1_AKeyDoesOnlyWhatItsScopesSay(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	acme := a.named(brain.KindAccount, "", "name", "acme")
	const none = "/us_00000000000000000000000000"
	cases := []struct {
		method, path, body string
		need               brain.Scope
		platform           bool // only for keys of the platform
	}{
		{"GET", "/v1/sip_users", "", brain.ScopeConfigRead, false},
		{"GET", "/v1/sip_users" + none, "", brain.ScopeConfigRead, false},
		{"POST", "/v1/sip_users", `{"username":"x"}`, brain.ScopeConfigWrite, false},
		{"PUT", "/v1/sip_users" + none, `{"username":"x"}`, brain.ScopeConfigWrite, false},
		{"PATCH", "/v1/sip_users" + none, `{}`, brain.ScopeConfigWrite, false},
		{"DELETE", "/v1/sip_users" + none, "", brain.ScopeConfigWrite, false},
		{"GET", "/v1/export", "", brain.ScopeConfigRead, false},
		{"POST", "/v1/apply", "[]", brain.ScopeConfigWrite, false},
		{"POST", "/v1/apply?dry_run=true", "[]", brain.ScopeConfigRead, false},
		{"GET", "/v1/api_keys", "", brain.ScopeKeys, false},
		{"POST", "/v1/api_keys", `{"name":"mine","scopes":["keys"]}`, brain.ScopeKeys, false},
		{"POST", "/v1/console_users", `{"email":"u@acme.test","role":"viewer"}`, brain.ScopeKeys, false},
		{"GET", "/v1/audit", "", brain.ScopeAuditRead, false},
		{"GET", "/calls", "", brain.ScopeCallsRead, false},
		{"POST", "/v1/accounts", `{"name":"x"}`, brain.ScopePlatform, true},
		{"GET", "/v1/nodes", "", brain.ScopePlatform, true},
		{"POST", "/v1/nodes", `{"name":"x"}`, brain.ScopePlatform, true},
		{"GET", "/v1/revisions", "", brain.ScopePlatform, true},
		{"POST", "/v1/rollback", `{"version":1,"dry_run":true}`, brain.ScopePlatform, true},
		{"POST", "/auth", "{}", brain.ScopeNode, true},
		{"POST", "/route", "{}", brain.ScopeNode, true},
		{"POST", "/node/heartbeat", "{}", brain.ScopeNode, true},
		{"GET", "/node", "", brain.ScopePlatform, true},
	}
	tenant := []brain.Scope{brain.ScopeConfigRead, brain.ScopeConfigWrite, brain.ScopeCallsRead, brain.ScopeKeys, brain.ScopeAuditRead}
	all := a.newKey(acme, tenant...)
	for _, c := range cases {
		contentType := typeJSON
		if strings.HasPrefix(c.path, "/v1/apply") {
			contentType = "application/yaml"
		}
		for _, key := range []string{"", "sk_" + strings.Repeat("0", 64)} {
			if r := a.as(key).ask(c.method, c.path, contentType, c.body); r.status != 401 || r.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with key %q: %d %s", c.method, c.path, key, r.status, r.body)
			}
		}
		lacking := all
		if !c.platform {
			others := slices.DeleteFunc(slices.Clone(tenant), func(s brain.Scope) bool { return s == c.need })
			lacking = a.newKey(acme, others...)
		}
		r := a.as(lacking).ask(c.method, c.path, contentType, c.body)
		if p := r.problem(); r.status != 403 || p.Code != "forbidden" || !strings.Contains(p.Detail, string(c.need)) {
			t.Errorf("%s %s without %s: %d %s", c.method, c.path, c.need, r.status, r.body)
		}
		if !c.platform {
			if r := a.as(a.newKey(acme, c.need)).ask(c.method, c.path, contentType, c.body); r.status == 401 || r.status == 403 || r.status >= 500 {
				t.Errorf("%s %s with %s: %d %s", c.method, c.path, c.need, r.status, r.body)
			}
		}
	}
	narrow := a.as(a.newKey(acme, brain.ScopeKeys))
	for _, scope := range []string{"config:write", "platform", "node"} {
		r := narrow.send(422, "POST", "/v1/api_keys", `{"name":"more","scopes":["keys","`+scope+`"]}`)
		if p := r.problem(); len(p.Errors) != 1 || p.Errors[0].Path != "scopes[1]" {
			t.Errorf("a key that gives itself %s: %s", scope, r.body)
		}
	}
	noFaults(t, e)
}

// A key of an account sees nothing of another account and changes nothing in it: ids of the other are
// 404 as if they were not there, a request that names the other is 403, references to it are refused,
// and after all attempts the other's configuration is what it was.
func TestV1_AccountsAreWalledOff(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	acme, globex := a.named(brain.KindAccount, "", "name", "acme"), a.named(brain.KindAccount, "", "name", "globex")
	foreign := map[brain.Kind]string{
		brain.KindAccount: acme, brain.KindAPIKey: "",
		brain.KindSIPDomain: a.named(brain.KindSIPDomain, "", "domain", "acme.test"),
		brain.KindSIPUser:   a.named(brain.KindSIPUser, "account_id="+acme+"&", "username", "1002"),
		brain.KindSIPDevice: a.named(brain.KindSIPDevice, "", "auth_username", "1002"),
		brain.KindRingGroup: a.named(brain.KindRingGroup, "", "name", "sales"),
		brain.KindExtension: a.named(brain.KindExtension, "", "digits", "600"),
	}
	foreign[brain.KindCallLimit] = a.send(201, "POST", "/v1/call_limits?account_id="+acme, `{"name":"all","scope_kind":"account","period_sec":1,"max_count":9}`).item(t).id()
	for kind, body := range map[brain.Kind]string{
		brain.KindTimeSchedule: `{"name":"hours","rules":[]}`, brain.KindMediaFile: `{"name":"hello"}`, brain.KindMediaPlaylist: `{"name":"songs","media_ids":[]}`,
		brain.KindVoicemail: `{"name":"box"}`, brain.KindConference: `{"name":"room"}`, brain.KindCallFlow: `{"name":"flow","status":"draft","graph":{}}`,
		brain.KindDID: `{"e164":"493010000"}`, brain.KindSIPTrunk: `{"name":"carrier","status":"disabled","inbound_acl":["192.0.2.1"]}`,
		brain.KindOutboundRoute: `{"name":"blocked","match_prefix":"4990","blocked":true}`, brain.KindForward: `{"name":"mobile","number":"1"}`,
		brain.KindSecret: `{"name":"api","value":"x"}`, brain.KindConsoleUser: `{"email":"u@acme.test","role":"viewer","password":"` + password + `"}`,
	} {
		foreign[kind] = a.send(201, "POST", "/v1/"+string(kind)+"s?account_id="+acme, body).item(t).id()
	}
	a.send(200, "PATCH", "/v1/sip_users/"+foreign[brain.KindSIPUser], `{"is_agent":true}`)
	foreign[brain.KindQueue] = a.send(201, "POST", "/v1/queues?account_id="+acme, `{"name":"support"}`).item(t).id()
	for kind, body := range map[brain.Kind]string{
		brain.KindAgentQueueAssignment: fmt.Sprintf(`{"queue_id":%q,"user_id":%q}`, foreign[brain.KindQueue], foreign[brain.KindSIPUser]),
		brain.KindInQueueOption:        fmt.Sprintf(`{"queue_id":%q,"digit":"1","action":"hangup"}`, foreign[brain.KindQueue]),
	} {
		foreign[kind] = a.send(201, "POST", "/v1/"+string(kind)+"s?account_id="+acme, body).item(t).id()
	}
	a.newKey(acme, brain.ScopeKeys)
	foreign[brain.KindAPIKey] = a.walk("/v1/api_keys?account_id="+acme+"&", 500)[0].id()
	was := string(a.get(200, "/v1/export").body)
	own := newAsker(t, e.BrainURL, a.newKey(globex, brain.ScopeConfigRead, brain.ScopeConfigWrite, brain.ScopeKeys, brain.ScopeCallsRead))

	for kind, id := range foreign {
		path := "/v1/" + string(kind) + "s"
		own.get(404, path+"/"+id)
		if kind == brain.KindAccount || kind == brain.KindDID || kind == brain.KindSIPTrunk { // the platform's to write
			own.send(403, "PATCH", path+"/"+id, `{}`)
			own.want(403, "DELETE", path+"/"+id, "", "")
		} else {
			own.send(404, "PATCH", path+"/"+id, `{}`)
			own.want(404, "DELETE", path+"/"+id, "", "")
		}
		own.get(403, path+"?account_id="+acme)
		own.get(403, path+"/"+id+"?account_id="+acme)
		for _, i := range own.walk(path+"?", 100) {
			if i["account_id"] != globex && i["id"] != globex {
				t.Errorf("%s lists %v", path, i)
			}
		}
	}
	own.send(403, "POST", "/v1/sip_users?account_id="+acme, `{"username":"7"}`)
	own.get(403, "/v1/export?account_id="+acme)
	own.want(403, "POST", "/v1/apply?account_id="+acme, "application/yaml", "[]")
	refs := map[string]string{
		"/v1/sip_devices":             fmt.Sprintf(`{"user_id":%q,"auth_username":"x","realm":"globex.test","password":"x"}`, foreign[brain.KindSIPUser]),
		"/v1/ring_groups":             fmt.Sprintf(`{"name":"x","members":[{"user_id":%q}]}`, foreign[brain.KindSIPUser]),
		"/v1/extensions":              fmt.Sprintf(`{"digits":"1","dest_kind":"ring_group","dest_id":%q}`, foreign[brain.KindRingGroup]),
		"/v1/call_limits":             fmt.Sprintf(`{"name":"x","scope_kind":"user","scope_id":%q,"period_sec":1,"max_count":1}`, foreign[brain.KindSIPUser]),
		"/v1/queues":                  fmt.Sprintf(`{"name":"x","timeout_dest_kind":"queue","timeout_dest_id":%q}`, foreign[brain.KindQueue]),
		"/v1/in_queue_options":        fmt.Sprintf(`{"queue_id":%q,"digit":"1","action":"hangup"}`, foreign[brain.KindQueue]),
		"/v1/agent_queue_assignments": fmt.Sprintf(`{"queue_id":%q,"user_id":%q}`, foreign[brain.KindQueue], foreign[brain.KindSIPUser]),
		"/v1/voicemails":              fmt.Sprintf(`{"name":"x","greeting_media_id":%q}`, foreign[brain.KindMediaFile]),
		"/v1/media_playlists":         fmt.Sprintf(`{"name":"x","media_ids":[%q]}`, foreign[brain.KindMediaFile]),
		"/v1/call_flows":              fmt.Sprintf(`{"name":"x","graph":{"start":"in","nodes":[{"id":"in","data":{"kind":"entry"}},{"id":"box","data":{"kind":"voicemail","mailboxId":%q}}],"edges":[{"source":"in","target":"box"}]}}`, foreign[brain.KindVoicemail]),
		"/v1/sip_users":               fmt.Sprintf(`{"username":"7","fwd_busy_dest_kind":"extension","fwd_busy_dest_id":%q}`, foreign[brain.KindExtension]),
	}
	for path, body := range refs {
		own.send(422, "POST", path, body)
	}
	did := fmt.Sprintf(`{"e164":"493010001","dest_kind":"flow","dest_id":%q}`, foreign[brain.KindCallFlow])
	a.send(422, "POST", "/v1/dids?account_id="+globex, did)
	own.send(403, "POST", "/v1/dids", did) // numbers, and the addresses of trunks, are given by the platform
	own.want(403, "POST", "/v1/apply", "application/yaml", `[{kind: sip_trunk, account: globex, name: t, spec: {inbound_acl: [198.51.100.77]}}]`)
	own.want(422, "POST", "/v1/apply", "application/yaml", `[{kind: sip_user, account: acme, name: "1001", spec: {dnd: true}}]`)
	own.want(422, "POST", "/v1/apply?prune=true", "application/yaml", `[{kind: account, name: acme}]`)
	if doc := string(own.get(200, "/v1/export").body); strings.Contains(doc, "acme") {
		t.Errorf("the export of globex names acme:\n%s", doc)
	}
	own.told.search(t, "acme.test", "sales", "Bob")
	if now := string(a.get(200, "/v1/export").body); now != was {
		t.Errorf("the configuration was changed to\n%s", now)
	}
	noFaults(t, e)
}

// No reply shows a password, an HA1 or the hash of a key: not the reply to the request that gave them,
// no list, no export, no plan, no mistake that quotes its input, no OpenAPI example. The key itself is
// in the reply that made it and in no other.
func TestV1_NeverShowsASecret(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	acme := a.named(brain.KindAccount, "", "name", "acme")
	user := a.named(brain.KindSIPUser, "account_id="+acme+"&", "username", "1001")
	device := a.named(brain.KindSIPDevice, "", "auth_username", "1002")
	token := newAsker(t, e.BrainURL, e.AdminKey).newKey(acme, brain.ScopeConfigRead) // told to another record
	given := sha256hex("1009:acme.test:" + password)
	query, one := "?account_id="+acme, "/v1/sip_devices/"+device

	made := a.send(201, "POST", "/v1/sip_devices"+query, fmt.Sprintf(`{"user_id":%q,"auth_username":"1008","realm":"acme.test","password":%q}`, user, password))
	a.send(201, "POST", "/v1/sip_devices"+query, fmt.Sprintf(`{"user_id":%q,"auth_username":"1009","realm":"acme.test","ha1_sha256":%q}`, user, given))
	kept := a.send(201, "POST", "/v1/secrets"+query, fmt.Sprintf(`{"name":"api","value":%q}`, password)).field("id")
	a.send(200, "PATCH", "/v1/secrets/"+kept, fmt.Sprintf(`{"value":%q}`, password+"2"))
	a.send(422, "PATCH", "/v1/secrets/"+kept, fmt.Sprintf(`{"value":%q,"sealed":"x"}`, password))
	a.send(422, "PATCH", "/v1/secrets/"+kept, `{"name":"renamed"}`)
	person := a.send(201, "POST", "/v1/console_users"+query, fmt.Sprintf(`{"email":"u@acme.test","role":"viewer","password":%q}`, password)).field("id")
	a.send(200, "PATCH", "/v1/console_users/"+person, fmt.Sprintf(`{"password":%q}`, password+"2"))
	a.send(422, "PATCH", "/v1/console_users/"+person, fmt.Sprintf(`{"password":%q,"password_hash":"x"}`, password))
	a.send(401, "POST", "/v1/login", fmt.Sprintf(`{"email":"u@acme.test","password":%q}`, password))
	a.send(422, "POST", "/v1/login", fmt.Sprintf(`{"email":{"x":%q},"password":%q}`, password, password))
	a.send(200, "PATCH", one, `{"ring_order":7}`)
	a.send(200, "PATCH", one, fmt.Sprintf(`{"password":%q}`, password))
	a.send(200, "PUT", one, fmt.Sprintf(`{"user_id":%q,"auth_username":"1002","realm":"acme.test"}`, user))
	for _, wrong := range []string{
		fmt.Sprintf(`{"password":%q,"colour":1}`, password), fmt.Sprintf(`{"password":{"a":%q}}`, password),
		fmt.Sprintf(`{"password":%q}`, password+strings.Repeat("x", 200)), fmt.Sprintf(`{"ring_order":%q}`, password),
		fmt.Sprintf(`{"password":%q,"ha1_md5":"%s"}`, password, md5hex("x")), fmt.Sprintf(`{"ha1_sha256":%q}`, given+"00"),
		fmt.Sprintf(`{"password":%q`, password), fmt.Sprintf(`{"transport":%q}`, password), fmt.Sprintf(`{%q:1}`, "x"),
	} {
		if r := a.ask("PATCH", one, typeJSON, wrong); r.status != 400 && r.status != 422 {
			t.Errorf("PATCH with %s: %d %s", wrong, r.status, r.body)
		}
	}
	for _, kind := range brain.Kinds {
		a.walk("/v1/"+string(kind)+"s?", 3)
	}
	a.get(200, "/v1/export")
	a.get(200, "/v1/revisions")
	a.get(200, "/v1/openapi.json")
	a.get(200, "/health")
	a.get(200, "/v1/sip_devices/"+made.field("id"))
	doc := fmt.Sprintf("- {kind: sip_device, account: acme, name: 1001@acme.test, spec: {user_id: \"1001\", password: new-%s}}\n", password) +
		fmt.Sprintf("- {kind: secret, account: acme, name: api, spec: {value: new-%s}}\n", password)
	a.want(200, "POST", "/v1/apply?dry_run=true", "application/yaml", doc)
	plan := a.want(200, "POST", "/v1/apply", "application/yaml", doc)
	if !strings.Contains(string(plan.body), "1001@acme.test") {
		t.Errorf("the plan does not name the device: %s", plan.body)
	}
	a.want(422, "POST", "/v1/apply", "application/yaml", strings.Replace(doc, "password: ", "password: {a: ", 1))
	a.want(422, "POST", "/v1/apply", "application/yaml", strings.Replace(doc, "user_id", "transport: "+password+", user_id", 1)[:40])
	a.send(200, "POST", "/v1/rollback", `{"version":2}`)

	secrets := append([]string{password, given, token, sha256hex(token), sha256hex(e.AdminKey), e.AdminKey}, digests("1009@acme.test")...)
	for _, d := range []string{"1001@acme.test", "1002@acme.test", "1008@acme.test", "1001@globex.test"} {
		secrets = append(secrets, digests(d)...)
	}
	a.told.search(t, secrets...)
}

// What is wrong with the form of a request has its own status and names the place: an unknown field, a
// wrong type, a body that is too long, of another type, or that does not come to its end in time.
func TestV1_RefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	acme := a.named(brain.KindAccount, "", "name", "acme")
	users := "/v1/sip_users?account_id=" + acme
	slow := make(chan error, 1)
	go func() {
		slow <- expectRaw(e.BrainURL, rawRequest{path: "/v1/api_keys", key: e.AdminKey, contentType: typeJSON, length: 100, body: `{"name":"slow`}, 408)
	}()
	for _, c := range []struct {
		path, contentType, body string
		status                  int
		place                   string
	}{
		{users, typeJSON, `{"username":"7","colour":"red"}`, 422, "colour"},
		{users, typeJSON, `{"username":"7","Username":"8"}`, 422, "Username"},
		{users, typeJSON, `{"username":7}`, 422, "username"},
		{users, typeJSON, `{"username":"7","dnd":"yes"}`, 422, "dnd"},
		{users, typeJSON, `{"username":"7","ring_timeout_sec":1.5}`, 422, "ring_timeout_sec"},
		{users, typeJSON, `{"username":"7","id":"us_mine"}`, 422, "id"},
		{users, typeJSON, `{"username":"7","account_id":"acc_other"}`, 422, "account_id"},
		{users, typeJSON, `{}`, 422, "username"},
		{users, typeJSON, `{"username":"7","display_name":"a\u000d\u000aX: y"}`, 422, "display_name"},
		{"/v1/ring_groups?account_id=" + acme, typeJSON, `{"name":"x","members":[{"user":"1001"}]}`, 422, "members[0].user"},
		{users + "&colour=red", typeJSON, `{"username":"7"}`, 422, "query.colour"},
		{"/v1/sip_users", typeJSON, `{"username":"7"}`, 422, "query.account_id"},
		{users, typeJSON, `{"username":`, 400, ""},
		{users, typeJSON, `[]`, 422, ""},
		{users, typeJSON, ``, 400, ""},
		{users, typeJSON, "{\"username\":\"7\",\"display_name\":\"\xff\"}", 400, ""},
		{"/v1/api_keys", typeJSON, "{\"name\":\"\xff\",\"scopes\":[\"keys\"]}", 400, ""},
		{users, typeForm, `username=7`, 415, "header.Content-Type"},
		{users, typeJSON, `{"username":"7","display_name":"` + strings.Repeat("x", 1<<20) + `"}`, 413, ""},
		{"/v1/apply", "application/yaml", "# " + strings.Repeat("x", 8<<20), 413, ""},
		{"/v1/nothing", typeJSON, `{}`, 404, ""},
		{"/v1/sip_users/us_1", typeJSON, `{}`, 405, ""},
	} {
		r := a.ask("POST", c.path, c.contentType, c.body)
		p := r.problem()
		named := c.place == "" || slices.ContainsFunc(p.Errors, func(e struct{ Path, Text string }) bool { return e.Path == c.place })
		if r.status != c.status || !named || p.Code == "" || r.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("POST %s %.60s: %d at %q, want %d at %q: %.300s", c.path, c.body, r.status, p.Errors, c.status, c.place, r.body)
		}
		a.get(200, "/v1/accounts/"+acme)
	}
	if err := <-slow; err != nil {
		t.Errorf("a slow body: %v", err)
	}
	if left := a.walk(users+"&", 100); len(left) != 2 {
		t.Errorf("one of the requests was taken: %v", left)
	}
	noFaults(t, e)
}

// An asker who leaves in the middle of a change, or says no more, is no fault of the brain's: nothing is
// logged as one, the change is made whole or not at all, and the next request is answered.
func TestV1_OutlivesAnAskerWhoLeaves(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	was := string(a.get(200, "/v1/export").body)
	for i := range 4 {
		generation := large(i % 2)
		r, err := sendRaw(e.BrainURL, rawRequest{path: "/v1/apply?prune=true", key: e.AdminKey, contentType: "application/yaml", body: generation, half: true})
		if err != nil {
			t.Fatal(err)
		}
		now := string(a.get(200, "/v1/export").body)
		users := strings.Count(now, fmt.Sprintf("display_name: generation %d", i%2))
		if r.status == 200 && users != 400 || r.status != 200 && now != was {
			t.Fatalf("after %d %s there are %d users of the file", r.status, r.body, users)
		}
		was = now
	}
	noFaults(t, e)
}

// The OpenAPI document is there without a key and lists each collection with its operations.
func TestV1_OpenAPIListsEveryCollection(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{})
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]any
	}
	r := newAsker(t, e.BrainURL, "").get(200, "/v1/openapi.json")
	if err := json.Unmarshal(r.body, &doc); err != nil || doc.OpenAPI == "" {
		t.Fatalf("version %q, %v", doc.OpenAPI, err)
	}
	want := map[string][]string{"/v1/apply": {"post"}, "/v1/export": {"get"}, "/v1/revisions": {"get"}, "/v1/rollback": {"post"}}
	for _, kind := range brain.Kinds {
		want["/v1/"+string(kind)+"s"] = []string{"get", "post"}
		want["/v1/"+string(kind)+"s/{id}"] = []string{"get", "put", "patch", "delete"}
	}
	messages := "/v1/" + string(brain.KindVoicemailMessage) + "s" // made by the platform alone
	want[messages] = []string{"get"}
	want["/v1/call_flows/{id}/publish"] = []string{"post"}
	want["/v1/login"], want["/v1/audit"] = []string{"post"}, []string{"get"}
	if doc.Paths[messages]["post"] != nil {
		t.Error("messages of mailboxes can be made")
	}
	for path, methods := range want {
		for _, m := range methods {
			if doc.Paths[path][m] == nil {
				t.Errorf("%s %s is not in the document", strings.ToUpper(m), path)
			}
		}
	}
	if len(doc.Paths) != len(want) {
		t.Errorf("the document has %d paths, want %d", len(doc.Paths), len(want))
	}
	if got := r.header.Get("Content-Type"); !strings.Contains(got, "json") || r.status != http.StatusOK {
		t.Errorf("content type %q", got)
	}
}
