package v1_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	v1 "github.com/sipio/sipio/controller/v1"
)

// bench is an API over a memory store with keys of several rights.
type bench struct {
	*memory
	api *v1.API
	t   *testing.T
}

// Tokens of the keys that every bench has.
const (
	tokenAcme     = "sk_acme"     // account acc_acme: everything an account's key may have
	tokenOther    = "sk_other"    // account acc_other: the same
	tokenReader   = "sk_reader"   // account acc_acme: config:read
	tokenPlatform = "sk_platform" // the platform: every scope
	tokenNode     = "sk_node"     // the platform: node
)

func newBench(t *testing.T) *bench {
	m := newMemory()
	tenant := []brain.Scope{brain.ScopeConfigRead, brain.ScopeConfigWrite, brain.ScopeKeys}
	m.tokens[tokenAcme] = brain.APIKey{ID: "key_acme", AccountID: "acc_acme", Scopes: tenant}
	m.tokens[tokenOther] = brain.APIKey{ID: "key_other", AccountID: "acc_other", Scopes: tenant}
	m.tokens[tokenReader] = brain.APIKey{ID: "key_reader", AccountID: "acc_acme", Scopes: []brain.Scope{brain.ScopeConfigRead}}
	m.tokens[tokenPlatform] = brain.APIKey{ID: "key_platform", Scopes: brain.Scopes}
	m.tokens[tokenNode] = brain.APIKey{ID: "key_node", Scopes: []brain.Scope{brain.ScopeNode}}
	m.rows["acc_acme"] = &brain.Account{ID: "acc_acme", Name: "acme", Status: brain.StatusActive}
	m.rows["acc_other"] = &brain.Account{ID: "acc_other", Name: "other", Status: brain.StatusActive}
	return &bench{memory: m, api: v1.New(m), t: t}
}

// reply is an answer with its body decoded.
type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (b *bench) do(token, method, path, body string) reply {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	out := reply{status: w.Code, header: w.Result().Header, text: w.Body.String()}
	if strings.Contains(out.header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(w.Body.Bytes(), &out.body); err != nil {
			b.t.Fatalf("%s %s answered %q: %v", method, path, out.text, err)
		}
	}
	return out
}

// want does a request and fails the test unless it is answered with the status.
func (b *bench) want(status int, token, method, path, body string) reply {
	b.t.Helper()
	got := b.do(token, method, path, body)
	if got.status != status {
		b.t.Fatalf("%s %s = %d, want %d: %s", method, path, got.status, status, got.text)
	}
	return got
}

// mistakes are the errors of a problem as "path: text".
func (r reply) mistakes() []string {
	var out []string
	list, _ := r.body["errors"].([]any)
	for _, item := range list {
		e := item.(map[string]any)
		out = append(out, e["path"].(string)+": "+e["text"].(string))
	}
	return out
}

// One request of each collection from birth to death: what POST made, GET shows, PATCH changes,
// PUT replaces and DELETE removes, each write answering a higher version.
func TestCollections_CarryAResourceThroughItsLife(t *testing.T) {
	cases := []struct{ kind, create, change, field, want string }{
		{"account", `{"name":"new"}`, `{"timezone":"Europe/Oslo"}`, "timezone", "Europe/Oslo"},
		{"sip_domain", `{"domain":"acme.test"}`, `{"domain":"b.test"}`, "domain", "b.test"},
		{"sip_user", `{"username":"1001"}`, `{"display_name":"Ann"}`, "display_name", "Ann"},
		{"sip_device", `{"user_id":"us_1","auth_username":"1001","realm":"acme.test","password":"x"}`, `{"transport":"tls"}`, "transport", "tls"},
		{"extension", `{"digits":"9","dest_kind":"hangup"}`, `{"digits":"*9"}`, "digits", "*9"},
		{"ring_group", `{"name":"sales","members":[{"user_id":"us_1"}]}`, `{"strategy":"sequential"}`, "strategy", "sequential"},
		{"call_limit", `{"name":"all","scope_kind":"account","period_sec":60,"max_count":5}`, `{"direction":"in"}`, "direction", "in"},
		{"queue", `{"name":"support","max_queued":3}`, `{"strategy":"ring_all","max_queued":null}`, "strategy", "ring_all"},
		{"agent_queue_assignment", `{"queue_id":"q_1","user_id":"us_1"}`, `{"mode":"mandatory"}`, "mode", "mandatory"},
		{"in_queue_option", `{"queue_id":"q_1","digit":"*","action":"hangup"}`, `{"label":"no"}`, "label", "no"},
		{"time_schedule", `{"name":"office","rules":[{"kind":"weekly","dow":1}]}`, `{"timezone":"Europe/Oslo"}`, "timezone", "Europe/Oslo"},
		{"media_file", `{"name":"hello"}`, `{"text":"Hello"}`, "text", "Hello"},
		{"media_playlist", `{"name":"songs","media_ids":["media_1"]}`, `{"name":"more songs"}`, "name", "more songs"},
		{"voicemail", `{"name":"box"}`, `{"notify_email":"a@acme.test"}`, "notify_email", "a@acme.test"},
		{"conference", `{"name":"room"}`, `{"name":"hall"}`, "name", "hall"},
		{"call_flow", `{"name":"main","graph":{"nodes":[{"id":"a","data":{"kind":"entry"}}]}}`, `{"status":"draft"}`, "status", "draft"},
		{"did", `{"e164":"493012345","dest_kind":"hangup","dest_xform":{"a":"b"}}`, `{"label":"sales"}`, "label", "sales"},
		{"sip_trunk", `{"name":"carrier","inbound_acl":["192.0.2.0/24"]}`, `{"status":"disabled"}`, "status", "disabled"},
		{"outbound_route", `{"name":"all","trunks":[{"trunk_id":"tr_1","cost_micros":4000000000000}]}`, `{"strategy":"least_cost"}`, "strategy", "least_cost"},
		{"forward", `{"name":"mobile","number":"0171 1"}`, `{"number":"+49 171"}`, "number", "+49 171"},
		{"secret", `{"name":"api","value":"x"}`, `{"name":"key"}`, "name", "key"},
		{"console_user", `{"email":"ann@acme.test","role":"viewer","password":"correct horse battery"}`, `{"role":"operator"}`, "role", "operator"},
		{"node", `{"name":"edge1"}`, `{"region":"eu"}`, "region", "eu"},
	}
	for _, c := range cases {
		b := newBench(t)
		path := "/v1/" + c.kind + "s"
		made := b.want(201, tokenPlatform, "POST", path+"?account_id=acc_acme", c.create)
		one := made.header.Get("Location")
		if id, _ := made.body["id"].(string); one != path+"/"+id || id == "" {
			t.Errorf("%s: made %q at %q", c.kind, id, one)
		}
		changed := b.want(200, tokenPlatform, "PATCH", one, c.change)
		if changed.body[c.field] != c.want || b.want(200, tokenPlatform, "GET", one, "").body[c.field] != c.want {
			t.Errorf("%s: PATCH %s left %v", c.kind, c.change, changed.body)
		}
		if c.kind != "sip_device" { // whose password is not repeated
			replaced := b.want(200, tokenPlatform, "PUT", one, c.create)
			if replaced.body[c.field] == c.want {
				t.Errorf("%s: PUT left %s as PATCH had set it", c.kind, c.field)
			}
		}
		gone := b.want(204, tokenPlatform, "DELETE", one, "")
		if gone.header.Get(v1.VersionHeader) <= made.header.Get(v1.VersionHeader) {
			t.Errorf("%s: version %q after %q", c.kind, gone.header.Get(v1.VersionHeader), made.header.Get(v1.VersionHeader))
		}
		b.want(404, tokenPlatform, "GET", one, "")
	}
}

// A request without a key, with an unknown one or with another scheme is 401 and says how to ask;
// only the description of the API is open.
func TestServe_RefusesUnknownKeys(t *testing.T) {
	b := newBench(t)
	for _, token := range []string{"", "sk_wrong"} {
		got := b.want(401, token, "GET", "/v1/sip_users", "")
		if got.header.Get("WWW-Authenticate") == "" || got.header.Get("Content-Type") != "application/problem+json" || got.body["code"] != "unauthorized" {
			t.Errorf("token %q: %v %s", token, got.header, got.text)
		}
	}
	doc := b.want(200, "", "GET", "/v1/openapi.json", "")
	paths := doc.body["paths"].(map[string]any)
	for _, kind := range brain.Kinds {
		if paths["/v1/"+string(kind)+"s"] == nil || paths["/v1/"+string(kind)+"s/{id}"] == nil {
			t.Errorf("the OpenAPI document lacks %s", kind)
		}
	}
	if text := b.want(200, "", "GET", "/v1/openapi.yaml", "").text; !strings.Contains(text, "openapi: 3.1.0") {
		t.Errorf("openapi.yaml begins %.40q", text)
	}
}

// Every mistake of a body is named by the path of its field, and no value is quoted back.
func TestBodies_AreRefusedWithThePathOfEachMistake(t *testing.T) {
	cases := []struct {
		path, body string
		want       []string
	}{
		{"/v1/sip_users", `{"usrname":"1"}`, []string{"username: is required", "usrname: unknown field"}},
		{"/v1/sip_users", `{"Username":"1"}`, []string{"Username: unknown field", "username: is required"}},
		{"/v1/sip_users", `{"username":"1","ring_timeout_sec":0}`, []string{"ring_timeout_sec: expected number >= 1"}},
		{"/v1/sip_users", `{"username":"1","status":"closed"}`, []string{`status: expected value to be one of "active, disabled"`}},
		{"/v1/ring_groups", `{"name":"g","members":[{"user_id":"a"},{"user":"b"}]}`, []string{"members[1].user: unknown field", "members[1].user_id: is required"}},
		{"/v1/sip_users", `{"username":7}`, []string{"username: expected string"}},
	}
	for _, c := range cases {
		got := newBench(t).want(422, tokenAcme, "POST", c.path, c.body)
		if !slices.Equal(got.mistakes(), c.want) {
			t.Errorf("%s: mistakes %q, want %q", c.body, got.mistakes(), c.want)
		}
	}
	b := newBench(t)
	b.want(400, tokenAcme, "POST", "/v1/sip_users", `{"username":`)
	b.want(400, tokenAcme, "POST", "/v1/sip_users", "")
	b.want(422, tokenAcme, "POST", "/v1/sip_users", `[]`)
	got := b.want(422, tokenAcme, "POST", "/v1/sip_devices", `{"user_id":"u","auth_username":"a","realm":"r","password":{"canary":"s3cret"}}`)
	if strings.Contains(got.text, "s3cret") {
		t.Errorf("the problem quotes the password: %s", got.text)
	}
}

// Members that are false or 0 on purpose stay so: a default stands in only for what was not given.
func TestBodies_KeepAnExplicitFalseAndZero(t *testing.T) {
	b := newBench(t)
	device := `{"user_id":"u","auth_username":"a","realm":"r","password":"p"`
	if got := b.want(201, tokenAcme, "POST", "/v1/sip_devices", device+"}"); got.body["ring_on_fork"] != true || got.body["transport"] != "udp" {
		t.Errorf("defaults: %v", got.body)
	}
	if got := b.want(201, tokenAcme, "POST", "/v1/sip_devices", device+`,"ring_on_fork":false}`); got.body["ring_on_fork"] != false {
		t.Errorf("explicit false: %v", got.body)
	}
	if got := b.want(201, tokenPlatform, "POST", "/v1/nodes", `{"name":"n","weight":0}`); got.body["weight"] != 0.0 {
		t.Errorf("explicit 0: %v", got.body)
	}
	got := b.want(201, tokenAcme, "POST", "/v1/sip_users", `{"username":"1","ring_timeout_sec":9,"fwd_busy_dest_kind":"hangup"}`)
	got = b.want(200, tokenAcme, "PATCH", got.header.Get("Location"), `{"ring_timeout_sec":null,"fwd_busy_dest_kind":null}`)
	if got.body["ring_timeout_sec"] != 25.0 || got.body["fwd_busy_dest_kind"] != nil || got.body["username"] != "1" {
		t.Errorf("null in PATCH: %v", got.body)
	}
}

// No reply shows a password or a digest, and a change that gives none keeps the digests; a new name
// or realm, which the digests contain, is refused without the password.
func TestDevices_NeverShowCredentialsAndKeepThem(t *testing.T) {
	b := newBench(t)
	body := `{"user_id":"u","auth_username":"1001","realm":"acme.test"`
	made := b.want(201, tokenAcme, "POST", "/v1/sip_devices", body+`,"password":"s3cret"}`)
	one, id := made.header.Get("Location"), made.body["id"].(string)
	texts := []string{made.text}
	for _, change := range []struct{ method, body string }{
		{"PATCH", `{"is_webrtc":true}`}, {"PUT", body + "}"}, {"PUT", body + `,"transport":"tls"}`}, {"PATCH", `{"realm":"ACME.test"}`},
	} {
		texts = append(texts, b.want(200, tokenAcme, change.method, one, change.body).text)
		if d := b.rows[id].(*brain.SIPDevice); d.HA1MD5 != "md5-of-s3cret" || d.HA1SHA256 != "sha-of-s3cret" {
			t.Errorf("%s %s left the digests %q, %q", change.method, change.body, d.HA1MD5, d.HA1SHA256)
		}
	}
	texts = append(texts, b.want(200, tokenAcme, "GET", one, "").text, b.want(200, tokenAcme, "GET", "/v1/sip_devices", "").text)
	if all := strings.Join(texts, ""); strings.Contains(all, "s3cret") || strings.Contains(all, "ha1") {
		t.Errorf("credentials in a reply: %s", all)
	}
	got := b.want(422, tokenAcme, "PATCH", one, `{"auth_username":"1009"}`)
	if len(got.mistakes()) != 1 || !strings.HasPrefix(got.mistakes()[0], "password: ") {
		t.Errorf("mistakes %v", got.mistakes())
	}
	b.want(200, tokenAcme, "PATCH", one, `{"auth_username":"1009","password":"n3w"}`)
	if d := b.rows[id].(*brain.SIPDevice); d.HA1MD5 != "md5-of-n3w" || d.HA1SHA256 != "sha-of-n3w" {
		t.Errorf("the new password left %q, %q", d.HA1MD5, d.HA1SHA256)
	}
}

// A device given one new digest does not keep the other, which would let the old password in.
func TestDevices_DropTheDigestThatANewOneMakesStale(t *testing.T) {
	b := newBench(t)
	made := b.want(201, tokenAcme, "POST", "/v1/sip_devices", `{"user_id":"u","auth_username":"1001","realm":"acme.test","password":"old"}`)
	b.want(200, tokenAcme, "PATCH", made.header.Get("Location"), `{"ha1_md5":"new"}`)
	if d := b.rows[made.body["id"].(string)].(*brain.SIPDevice); d.HA1MD5 != "new" || d.HA1SHA256 != "" {
		t.Errorf("digests %q, %q", d.HA1MD5, d.HA1SHA256)
	}
}

// Following next from page to page shows every resource once, in any page size, and ends.
func TestList_PagesThroughEverythingOnce(t *testing.T) {
	b := newBench(t)
	for _, name := range strings.Split("1 2 3 4 5", " ") {
		b.want(201, tokenAcme, "POST", "/v1/sip_users", `{"username":"`+name+`"}`)
	}
	for _, limit := range []string{"1", "2", "5", "500"} {
		var seen []string
		after := ""
		for range 10 {
			got := b.want(200, tokenAcme, "GET", "/v1/sip_users?limit="+limit+"&after="+after, "")
			for _, item := range got.body["items"].([]any) {
				seen = append(seen, item.(map[string]any)["username"].(string))
			}
			if after, _ = got.body["next"].(string); after == "" {
				break
			}
		}
		if after != "" || strings.Join(seen, " ") != "1 2 3 4 5" {
			t.Errorf("limit %s: saw %v, next %q", limit, seen, after)
		}
	}
	for _, query := range []string{"limit=0", "limit=501", "limit=x", "page=2"} {
		got := b.want(422, tokenAcme, "GET", "/v1/sip_users?"+query, "")
		if name, _, _ := strings.Cut(query, "="); len(got.mistakes()) != 1 || !strings.HasPrefix(got.mistakes()[0], "query."+name) {
			t.Errorf("%s: mistakes %v", query, got.mistakes())
		}
	}
}

// A form, which curl sends unless told otherwise, is refused with the type that is wanted.
func TestBodies_SayWhichContentTypeTheyNeed(t *testing.T) {
	b := newBench(t)
	r := httptest.NewRequest("POST", "/v1/sip_users", strings.NewReader("username=1"))
	r.Header.Set("Authorization", "Bearer "+tokenAcme)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	if w.Code != 415 || !strings.Contains(w.Body.String(), "must be application/json") {
		t.Errorf("a form was answered %d %s", w.Code, w.Body)
	}
}

// A key past its burst is told when to come back; another key is not slowed by it.
func TestServe_LimitsEachKeyByItself(t *testing.T) {
	b := newBench(t)
	b.api.Rate, b.api.Burst = 0.01, 2
	for range 2 {
		b.want(200, tokenAcme, "GET", "/v1/sip_users", "")
	}
	if got := b.want(429, tokenAcme, "GET", "/v1/sip_users", ""); got.header.Get("Retry-After") != "100" {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	b.want(200, tokenOther, "GET", "/v1/sip_users", "")
}

// Who shows no key spends the rate of his address before anybody looks at his certificate, a good one too; keys are not slowed by it.
func TestServe_SpendsTheAddressBeforeACertificateIsJudged(t *testing.T) {
	b := newBench(t)
	b.api.Rate, b.api.Burst = 0.01, 2
	judged := 0
	b.api.Credential = func(r *http.Request) (brain.APIKey, bool) {
		if r.Header.Get("Authorization") == "" {
			judged++
			return b.tokens[tokenPlatform], judged == 1
		}
		return b.tokens[tokenAcme], true
	}
	for _, status := range []int{200, 401, 429, 429} {
		b.want(status, "", "GET", "/v1/accounts", "")
	}
	if judged != 2 {
		t.Errorf("%d certificates judged", judged)
	}
	b.want(200, tokenAcme, "GET", "/v1/sip_users", "")
}

// All keys of an account share a rate of ten keys; another account, and the platform, are not slowed by it.
func TestServe_LimitsAnAccountByAllItsKeys(t *testing.T) {
	b := newBench(t)
	b.api.Rate, b.api.Burst = 0.01, 2
	asker := ""
	b.api.Credential = func(*http.Request) (brain.APIKey, bool) {
		owner, _, _ := strings.Cut(asker, "/")
		return brain.APIKey{ID: asker, AccountID: owner, Scopes: []brain.Scope{brain.ScopeConfigRead, brain.ScopePlatform}}, true
	}
	for i := range 20 {
		asker = fmt.Sprintf("acc_1/%d", i)
		b.want(200, "x", "GET", "/v1/sip_users", "")
	}
	asker = "acc_1/20"
	if got := b.want(429, "x", "GET", "/v1/sip_users", ""); !strings.Contains(got.text, "keys of this account") {
		t.Errorf("told %s", got.text)
	}
	for _, asker = range []string{"acc_2/1", "/1"} {
		b.want(200, "x", "GET", "/v1/sip_users", "")
	}
}

// Bodies past their bound are refused, and the document may be larger than a resource.
func TestBodies_AreBounded(t *testing.T) {
	b := newBench(t)
	large := `{"username":"1","display_name":"` + strings.Repeat("x", v1.MaxBody) + `"}`
	b.want(413, tokenAcme, "POST", "/v1/sip_users", large)
	b.want(200, tokenAcme, "POST", "/v1/apply", "# "+strings.Repeat("x", v1.MaxBody))
	b.want(413, tokenAcme, "POST", "/v1/apply", "# "+strings.Repeat("x", v1.MaxDocument))
}

// The document operations hand on what was asked and by whom; an account's key is held to its account.
func TestDocuments_AreAppliedForTheCredentialsAccount(t *testing.T) {
	b := newBench(t)
	got := b.want(200, tokenAcme, "POST", "/v1/apply?prune=true", "kind: sip_user\n")
	if users := b.applied.Users; users == nil || users.AccountID != "acc_acme" || !slices.Equal(users.Scopes, b.tokens[tokenAcme].Scopes) {
		t.Errorf("console users are bounded by %+v", users)
	}
	b.applied.Users = nil
	if b.applied != (brain.ApplyOptions{AccountID: "acc_acme", Prune: true}) || b.doc != "kind: sip_user\n" || b.actor != "key_acme" {
		t.Errorf("applied %+v %q by %s", b.applied, b.doc, b.actor)
	}
	if items := got.body["items"].([]any); len(items) != 1 {
		t.Errorf("plan %v", got.body)
	}
	b.want(200, tokenReader, "POST", "/v1/apply?dry_run=true", "a: b")
	if !b.applied.Blind || !b.applied.DryRun {
		t.Errorf("who may only read tries secrets: %+v", b.applied)
	}
	b.want(200, tokenAcme, "POST", "/v1/apply?dry_run=true", "a: b")
	if b.applied.Blind || !b.applied.DryRun {
		t.Errorf("who may write cannot plan secrets: %+v", b.applied)
	}
	b.want(200, tokenPlatform, "POST", "/v1/apply", "a: b")
	if b.applied.AccountID != "" {
		t.Errorf("the platform applied for %q", b.applied.AccountID)
	}
	bad := b.want(422, tokenAcme, "POST", "/v1/apply", "mistake")
	if e := bad.body["errors"].([]any)[0].(map[string]any); e["path"] != "spec.username" || e["line"] != 4.0 || e["text"] != "is empty" {
		t.Errorf("mistake %v", e)
	}
	if text := b.want(200, tokenAcme, "GET", "/v1/export", "").text; text != "# account acc_acme\n" {
		t.Errorf("export %q", text)
	}
	if got := b.want(200, tokenPlatform, "POST", "/v1/rollback", `{"version":3}`); got.header.Get(v1.VersionHeader) != "3" {
		t.Errorf("rollback answered version %q", got.header.Get(v1.VersionHeader))
	}
	if items := b.want(200, tokenPlatform, "GET", "/v1/revisions", "").body["items"].([]any); len(items) != 1 {
		t.Errorf("revisions %v", items)
	}
}

// A taken name is a conflict with the store's words; a fault of the store is 500 and keeps its words inside.
func TestErrors_OfTheStoreBecomeProblems(t *testing.T) {
	b := newBench(t)
	b.want(201, tokenAcme, "POST", "/v1/sip_users", `{"username":"1"}`)
	if got := b.want(409, tokenAcme, "POST", "/v1/sip_users", `{"username":"1"}`); got.body["code"] != "conflict" || got.body["detail"] != "username 1 is taken" {
		t.Errorf("conflict: %s", got.text)
	}
	b.fault = errors.New("disk /var/lib is on fire")
	if got := b.want(500, tokenAcme, "GET", "/v1/sip_users", ""); strings.Contains(got.text, "fire") || got.body["code"] != "internal" {
		t.Errorf("fault: %s", got.text)
	}
}

// An unknown path is 404 and a wrong method 405 with Allow, both as problems.
func TestServe_AnswersUnknownPathsAndMethodsAsProblems(t *testing.T) {
	b := newBench(t)
	b.want(404, tokenAcme, "GET", "/v1/trunks", "")
	got := b.want(405, tokenAcme, "DELETE", "/v1/sip_users", "")
	if got.header.Get("Allow") != "GET, POST" || got.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("405: %v", got.header)
	}
}

// Two requests changing different fields of one user at once both get through. The store holds each
// reader until the other has read too, if it can: then the second write would undo the first.
func TestChange_LosesNoWriteOfTwoAtOnce(t *testing.T) {
	b := newBench(t)
	server := httptest.NewServer(b.api)
	defer server.Close()
	one := server.URL + b.want(201, tokenAcme, "POST", "/v1/sip_users", `{"username":"1"}`).header.Get("Location")
	patch := func(body string) error {
		r, err := http.NewRequest("PATCH", one, strings.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+tokenAcme)
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer reply.Body.Close()
		if _, err := io.Copy(io.Discard, reply.Body); err != nil || reply.StatusCode != 200 {
			return errors.Join(err, errors.New(reply.Status))
		}
		return nil
	}
	b.meet = make(chan struct{})
	done := make(chan error)
	for _, body := range []string{`{"dnd":true}`, `{"display_name":"Ann"}`} {
		go func() { done <- patch(body) }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	u := b.want(200, tokenAcme, "GET", strings.TrimPrefix(one, server.URL), "").body
	if u["dnd"] != true || u["display_name"] != "Ann" {
		t.Errorf("after both: %v", u)
	}
}

// An optional number is absent until it is given, keeps a 0, and null takes it away.
func TestCollections_TellZeroFromAbsent(t *testing.T) {
	b := newBench(t)
	one := b.want(201, tokenPlatform, "POST", "/v1/queues?account_id=acc_acme", `{"name":"support"}`).header.Get("Location")
	for _, c := range []struct{ body, want string }{{`{}`, "<nil>"}, {`{"max_queued":0}`, "0"}, {`{"wrap_up_sec":1}`, "0"}, {`{"max_queued":null}`, "<nil>"}} {
		b.want(200, tokenPlatform, "PATCH", one, c.body)
		if got := fmt.Sprint(b.want(200, tokenPlatform, "GET", one, "").body["max_queued"]); got != c.want {
			t.Errorf("PATCH %s left max_queued %s, want %s", c.body, got, c.want)
		}
	}
	b.want(422, tokenPlatform, "PATCH", one, `{"max_queued":-1}`)
	b.want(422, tokenPlatform, "PATCH", one, `{"max_queued":"some"}`)
}
