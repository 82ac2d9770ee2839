package v1_test

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that the value of a secret goes in and never comes out, sealed or not, that a change which says nothing of it
// keeps it, and that a value beside what it was sealed to is refused.
func TestSecrets_AreNeverShownAndKept(t *testing.T) {
	b := newBench(t)
	made := b.want(201, tokenAcme, "POST", "/v1/secrets", `{"name":"api","value":"hush-4711"}`)
	one := made.header.Get("Location")
	texts := made.text + b.want(200, tokenAcme, "PATCH", one, `{"name":"key"}`).text + b.want(200, tokenAcme, "PUT", one, `{"name":"api"}`).text +
		b.want(200, tokenAcme, "GET", one, "").text + b.want(200, tokenPlatform, "GET", "/v1/secrets", "").text
	if strings.Contains(texts, "hush") || strings.Contains(texts, "sealed") || strings.Contains(texts, `"value"`) {
		t.Errorf("shown: %s", texts)
	}
	kept := b.rows[made.body["id"].(string)].(*brain.Secret)
	if kept.Sealed != "sealed-hush-4711" || kept.Name != "api" {
		t.Errorf("kept: %+v", kept)
	}
	for _, method := range []string{"PATCH", "PUT"} {
		got := b.want(422, tokenAcme, method, one, `{"name":"api","value":"hush","sealed":"YWJj"}`)
		if list := got.mistakes(); len(list) != 1 || !strings.HasPrefix(list[0], "value: give either") || strings.Contains(got.text, "hush") {
			t.Errorf("%s of both: %s", method, got.text)
		}
	}
	if b.want(200, tokenAcme, "PATCH", one, `{"value":"other"}`); b.rows[made.body["id"].(string)].(*brain.Secret).Sealed != "sealed-other" {
		t.Error("another value was not taken")
	}
	b.want(403, tokenReader, "PATCH", one, `{"value":"x"}`)
	b.want(404, tokenOther, "GET", one, "")
}

// Proves who may change what of calls to the outside: trunks are the platform's to give; routes over them, forwards and
// secrets are the account's own.
func TestTrunks_AreGivenByThePlatform(t *testing.T) {
	b := newBench(t)
	trunk := b.want(201, tokenPlatform, "POST", "/v1/sip_trunks?account_id=acc_acme", `{"name":"out","direction":"outbound","proxy":"carrier.test","options_ping_sec":0}`)
	if trunk.body["options_ping_sec"] != 0.0 || trunk.body["transport"] != "udp" {
		t.Errorf("made: %s", trunk.text)
	}
	b.want(403, tokenAcme, "PATCH", trunk.header.Get("Location"), `{"proxy":"free.test"}`)
	b.want(200, tokenAcme, "GET", trunk.header.Get("Location"), "")
	b.want(201, tokenAcme, "POST", "/v1/outbound_routes", `{"name":"all","trunks":[{"trunk_id":"`+trunk.body["id"].(string)+`"}]}`)
	b.want(201, tokenAcme, "POST", "/v1/forwards", `{"name":"mobile","number":"1"}`)
	b.want(422, tokenAcme, "POST", "/v1/forwards", `{"name":"mobile"}`)
	b.want(422, tokenAcme, "POST", "/v1/outbound_routes", `{"name":"all","trunks":[{"priority":1}]}`)
	b.want(403, tokenReader, "POST", "/v1/outbound_routes", `{"name":"all"}`)
	was := b.want(201, tokenPlatform, "POST", "/v1/accounts", `{"name":"new"}`)
	now := b.want(200, tokenPlatform, "PATCH", was.header.Get("Location"), `{"emergency_when_suspended":false}`)
	if was.body["emergency_when_suspended"] != true || now.body["emergency_when_suspended"] != false {
		t.Errorf("emergency calls: %s, then %s", was.text, now.text)
	}
}
