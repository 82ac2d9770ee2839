package endpoint

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// offices is a directory of many accounts, one a domain: d0.test, d1.test …
type offices struct{ accounts []*brain.AccountConfig }

func (o offices) Version() int64                        { return 1 }
func (o offices) ByAccount(string) *brain.AccountConfig { return nil }

func (o offices) ByDomain(domain string) *brain.AccountConfig {
	for _, a := range o.accounts {
		if a.PrimaryDomain == domain {
			return a
		}
	}
	return nil
}

// newOffices makes n accounts of size users each, numbered from first.
func newOffices(first, n, size int) offices {
	var o offices
	for i := first; i < first+n; i++ {
		rows := brain.AccountRows{Account: brain.Account{ID: fmt.Sprint("acc_", i), Status: brain.StatusActive},
			Domains: []brain.SIPDomain{{Domain: fmt.Sprintf("d%d.test", i), IsPrimary: true}}}
		for u := range size {
			user := fmt.Sprint(1000 + u)
			rows.Users = append(rows.Users, brain.SIPUser{ID: "us_" + user, Username: user, Status: brain.StatusActive})
			rows.Devices = append(rows.Devices, brain.SIPDevice{ID: "dev_" + user, UserID: "us_" + user, AuthUsername: user,
				Realm: rows.Domains[0].Domain, HA1MD5: md5hex(user), RingOnFork: true, Status: brain.StatusActive})
		}
		o.accounts = append(o.accounts, brain.NewAccountConfig(int64(i+1), rows))
	}
	return o
}

// Only a node or the platform is told what survival needs, from an allowed address: it is as good as every
// password of the accounts. What the node has already is not sent again.
func TestSurvival_IsForNodesOnly(t *testing.T) {
	const body = `{"node":"edge1","realms":["Example.com","nobody.test","example.com"]}`
	for token, want := range map[string]int{"": 401, "sk_unknown": 401, tokenNode: 200, tokenPlatform: 200, tokenAccount: 403,
		tokenCalls: 403, tokenConfig: 403, tokenForged: 403} {
		b := newBench(t)
		w := b.ask("POST", api.PathSurvival, typeJSON, body, withToken(token))
		if w.Code != want || (w.Code == 200) != strings.Contains(w.Body.String(), md5hex("1001:example.com:secret1001")) {
			t.Errorf("%q: %d %s, want %d", token, w.Code, w.Body, want)
		}
	}
	b := newBench(t)
	first := reading[api.SurvivalReply](t, b.ask("POST", api.PathSurvival, typeJSON, body))
	if len(first.Accounts) != 1 || len(first.Accounts[0].Callers) != 2 || len(first.Accounts[0].Numbers) != 2 || first.Accounts[0].MaxContacts != MaxContacts {
		t.Fatalf("answer %+v", first)
	}
	tag := first.Accounts[0].Tag
	again := reading[api.SurvivalReply](t, b.ask("POST", api.PathSurvival, typeJSON, `{"node":"edge1","realms":["example.com"],"have":["`+tag+`"]}`))
	if len(again.Accounts) != 0 || fmt.Sprint(again.Kept) != "["+tag+"]" || again.More {
		t.Errorf("asked again: %+v", again)
	}
	b.Version = "another build"
	if other := reading[api.SurvivalReply](t, b.ask("POST", api.PathSurvival, typeJSON, `{"node":"edge1","realms":["example.com"],"have":["`+tag+`"]}`)); len(other.Accounts) != 1 {
		t.Errorf("another build keeps what the first sent: %+v", other)
	}
	if log := b.log.String(); strings.Contains(log, md5hex("1001:example.com:secret1001")) {
		t.Errorf("the log shows a digest: %s", log)
	}
}

// A question that is too long, or asks for too much, is refused by name.
func TestSurvival_RefusesBadQuestions(t *testing.T) {
	many := func(n int) string {
		raw, err := json.Marshal(make([]string, n))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for body, want := range map[string]int{
		`{"node":"edge1","realms":` + many(api.MaxSurvivalRealms) + `}`:                 200,
		`{"node":"edge1","realms":` + many(api.MaxSurvivalRealms+1) + `}`:               400,
		`{"node":"edge1","realms":[],"have":` + many(api.MaxSurvivalAccounts+1) + `}`:   400,
		`{"node":"edge1","realms":["` + strings.Repeat("a", api.MaxSurvivalAsk) + `"]}`: 413,
		`{"node":"a\r\nb","realms":[]}`:                                                 400, `{"nodes":1}`: 400, `{`: 400, "": 400,
	} {
		if w := newBench(t).ask("POST", api.PathSurvival, typeJSON, body); w.Code != want {
			t.Errorf("%.60s: %d %s, want %d", body, w.Code, w.Body, want)
		}
	}
	if w := newBench(t).ask("POST", api.PathSurvival, typeForm, "node=edge1"); w.Code != 415 {
		t.Errorf("a form: %d", w.Code)
	}
}

// More than a page comes in several replies, each below its bound, until all is there; a suspended account
// and one beyond the bounds are left out.
func TestSurvival_ComesInPages(t *testing.T) {
	dir := newOffices(0, 24, 1000)
	dir.accounts[3].Account.Status = brain.StatusSuspended
	// 300 bytes and more a user, so beyond what a node can keep of one account.
	dir.accounts = append(dir.accounts, newOffices(24, 1, 32000).accounts[0])
	req := api.SurvivalRequest{Node: "edge1"}
	for _, a := range dir.accounts {
		req.Realms = append(req.Realms, a.PrimaryDomain)
	}
	pages := 0
	for more := true; more; pages++ {
		page, tooLong, err := survivalOf(dir, "build", &helplines{}, &req)
		if err != nil || pages > 24 {
			t.Fatalf("page %d: %v", pages, err)
		}
		raw, err := json.Marshal(page)
		if err != nil || len(raw) > api.MaxSurvivalReply {
			t.Fatalf("a reply of %d bytes, %v", len(raw), err)
		}
		if !page.More && fmt.Sprint(tooLong) != "[acc_24]" {
			t.Errorf("too long: %v", tooLong)
		}
		var reply api.SurvivalReply
		if err := json.Unmarshal(raw, &reply); err != nil {
			t.Fatal(err)
		}
		if len(page.Kept) != len(req.Have) {
			t.Fatalf("%d of %d kept", len(page.Kept), len(req.Have))
		}
		for _, a := range reply.Accounts {
			req.Have = append(req.Have, a.Tag)
		}
		more = page.More
	}
	if len(req.Have) != 23 || pages < 2 {
		t.Errorf("%d accounts in %d pages, want 23 in several", len(req.Have), pages)
	}
}

// Reports of a node are counted and logged once, however often they are delivered, and do not keep the other
// events of a batch from their account.
func TestSurvival_ReportsAreCountedOnce(t *testing.T) {
	b := newBench(t)
	const batch = `{"node":"edge1","boot":"survival-1","events":[
		{"seq":1,"type":"decision.survival","account_id":"acc_1","aor":"sip:1001@example.com","time_ms":5},
		{"seq":2,"type":"decision.survival","account_id":"acc_1","aor":"sip:1001@example.com","sip_code":403,"count":7},
		{"seq":3,"type":"dialog.end","account_id":"acc_1","call_id":"c1"},
		{"seq":4,"type":"decision.survival","account_id":"acc_1","token":"abc","from":"1001@example.com","to":"1002","call_id":"c2"}]}`
	for range 2 {
		if w := b.ask("POST", api.PathPresenceEvent, typeJSON, batch); w.Code != 200 || !strings.Contains(w.Body.String(), `"last_seq":4`) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if accepted, refused := b.counts[countSurvivalAccepted].Load(), b.counts[countSurvivalRefused].Load(); accepted != 2 || refused != 7 {
		t.Errorf("%d accepted, %d refused, want 2 and 7", accepted, refused)
	}
	if n := strings.Count(b.log.String(), "decided by a node without a brain"); n != 3 || !strings.Contains(b.log.String(), "to=1002") {
		t.Errorf("%d lines: %s", n, b.log)
	}
	for _, got := range b.presence.got {
		if len(got.Events) != 1 || got.Events[0].Type != api.EventDialogEnd {
			t.Errorf("handed on: %+v", got.Events)
		}
	}
}

func (offices) NodeByName(string) *brain.Node { return nil }
func (offices) ActiveNodes() int              { return 0 }

func (offices) ByDID(string) (*brain.AccountConfig, *brain.DID)               { return nil, nil }
func (offices) TrunkBySource(string) (*brain.AccountConfig, *brain.SIPTrunk)  { return nil, nil }
func (offices) TrunkByTLSName(string) (*brain.AccountConfig, *brain.SIPTrunk) { return nil, nil }
func (offices) TrunkSources() []string                                        { return nil }
func (offices) Nodes() []*brain.Node                                          { return nil }
