package endpoint

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// A phone with the right password is accepted with everything the edge stores.
func TestAuth_AcceptsADeviceWithItsContext(t *testing.T) {
	b := newBench(t)
	got := reading[api.AuthReply](t, b.form(api.PathAuth, registerQuestion("1001", "secret1001")))
	want := api.AuthReply{Action: "accept", AccountID: "acc_1", UserID: "us_1001", DeviceID: "dev_1001",
		AOR: "sip:1001@example.com", MaxContacts: 10, ConfigVersion: 7}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	onlyCounted(t, b, "auth_accepted")
}

// Unknown user, wrong password, unknown realm and a foreign address-of-record get the same public
// answer byte for byte; only the operators' why differs.
func TestAuth_RefusesUnknownUserLikeABadPassword(t *testing.T) {
	foreign := registerQuestion("1001", "secret1001")
	foreign.Set("to_user", "1002")
	elsewhere := registerQuestion("1001", "secret1001")
	elsewhere.Set("auth_realm", "example.net")
	whys := map[string]bool{}
	for _, v := range []map[string][]string{registerQuestion("1001", "wrong"), registerQuestion("9999", "secret1001"), foreign, elsewhere, nil} {
		b := newBench(t)
		w := b.form(api.PathAuth, v)
		got := reading[api.AuthReply](t, w)
		if got.Why == "" {
			t.Errorf("no why for the operator: %+v", got)
		}
		whys[got.Why] = true
		got.Why = ""
		if want := (api.AuthReply{Action: "reject", ConfigVersion: 7, Refusal: api.Refusal{SIPCode: 403, Reason: "Forbidden", Guard: "authfail"}}); w.Code != 200 || got != want {
			t.Errorf("%v got %d %+v", v, w.Code, got)
		}
		onlyCounted(t, b, "auth_refused")
	}
	if len(whys) < 4 {
		t.Errorf("the operator cannot tell refusals apart: %v", whys)
	}
}

// A call to a user rings the user's phone: the reply is a directive under rtjson.
func TestRoute_ProxiesACallToTheDialedUser(t *testing.T) {
	b := newBench(t)
	got := reading[api.RouteReply](t, b.form(api.PathRoute, inviteQuestion("1001", "secret1001", "1002"))).RTJSON
	if got.Action != api.ActionProxy || got.AccountID != "acc_1" || len(got.Routes) == 0 || got.Routes[0].URI != "sip:1002@example.com" {
		t.Errorf("got %+v", got)
	}
	onlyCounted(t, b, "route_proxied")
}

// A caller who is not known learns nothing of what exists: the same refusal whatever was dialed.
func TestRoute_RefusesAnUnknownCallerAlikeWhateverWasDialed(t *testing.T) {
	for _, dialed := range []string{"1002", "4711", ""} {
		b := newBench(t)
		w := b.form(api.PathRoute, inviteQuestion("1001", "wrong", dialed))
		got := reading[api.RouteReply](t, w).RTJSON
		got.Why = ""
		want := api.Directive{Action: "reject", Version: api.Version, ConfigVersion: 7, Refusal: api.Refusal{SIPCode: 403, Reason: "Forbidden", Guard: "authfail"}}
		if w.Code != 200 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d %+v", dialed, w.Code, got)
		}
		onlyCounted(t, b, "route_refused")
	}
}

// With LogDecisions each decision is one info line with its outcome; without, none. No value of the
// digest is ever in it.
func TestDecisions_AreLoggedWithoutTheDigest(t *testing.T) {
	b := newBench(t)
	v := inviteQuestion("1001", "secret1001", "1002")
	b.form(api.PathRoute, v)
	if b.log.Len() != 0 {
		t.Errorf("logged at info by default: %s", b.log)
	}
	b.LogDecisions = true
	b.form(api.PathRoute, v)
	b.form(api.PathAuth, registerQuestion("1001", "wrong"))
	lines := strings.Split(strings.TrimSpace(b.log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), b.log)
	}
	for _, want := range []string{"what=route", "account=acc_1", "from=1001@example.com", "to=1002@example.com", "outcome=proxy", "call_id=c1@phone", "took_us="} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %s in %s", want, lines[0])
		}
	}
	if !strings.Contains(lines[1], "what=auth") || !strings.Contains(lines[1], "outcome=reject") || !strings.Contains(lines[1], "why=") {
		t.Errorf("refusal logged as %s", lines[1])
	}
	for _, secret := range []string{v.Get("auth_response"), v.Get("auth_nonce"), md5hex("1001:example.com:secret1001")} {
		if strings.Contains(b.log.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}

// A batch reaches the machines whole and in order, and the reply says up to where.
func TestPresenceEvent_DeliversTheBatch(t *testing.T) {
	b := newBench(t)
	w := b.ask("POST", api.PathPresenceEvent, typeJSON, `{"node":"edge1","boot":"b1","events":[
		{"seq":1,"time_ms":1,"type":"contact.saved","account_id":"acc_1","aor":"sip:1001@example.com"},
		{"seq":2,"time_ms":2,"type":"dialog.start","account_id":"acc_1","call_id":"c1","token":"t1"}]}`)
	if got := reading[api.EventReply](t, w); w.Code != 200 || got.LastSeq != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := b.presence.got; len(got) != 1 || got[0].Node != "edge1" || got[0].Boot != "b1" || len(got[0].Events) != 2 || got[0].Events[1].CallID != "c1" {
		t.Errorf("delivered %+v", got)
	}
}

// One bad event among good ones is dropped, counted and logged by its path; the others are applied
// and the whole batch is acknowledged, so that a spool behind it moves on.
func TestPresenceEvent_DropsABadEventAlone(t *testing.T) {
	for name, bad := range map[string]string{
		"control character": `"type":"contact.saved","user_agent":"a\r\nVia: x"`,
		"unknown type":      `"type":"contact.stolen"`,
		"too long":          `"type":"dialog.end","call_id":"` + strings.Repeat("a", maxID+1) + `"`,
	} {
		b := newBench(t)
		w := b.ask("POST", api.PathPresenceEvent, typeJSON,
			`{"node":"e","boot":"b","events":[{"seq":1,"time_ms":1,"type":"dialog.end"},{"seq":2,"time_ms":1,`+bad+`}]}`)
		if got := reading[api.EventReply](t, w); w.Code != 200 || got.LastSeq != 2 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if got := b.presence.got; len(got) != 1 || len(got[0].Events) != 1 || got[0].Events[0].Seq != 1 {
			t.Errorf("%s: delivered %+v", name, got)
		}
		if b.counts[countEventsBad].Load() != 1 || !strings.Contains(b.log.String(), "events[1].") {
			t.Errorf("%s: not counted or not logged: %s", name, b.log)
		}
	}
}

// What cannot be read as a batch, or does not say whose it is, is refused whole and nothing is applied.
func TestPresenceEvent_RefusesWhatIsNoBatch(t *testing.T) {
	for body, c := range map[string]struct {
		status int
		field  string
	}{
		`{"boot":"b","events":[]}`:                                   {400, "node"},
		`{"node":"e","events":[]}`:                                   {400, "boot"},
		`{"node":"e\n","boot":"b","events":[]}`:                      {400, "node"},
		`{"node":"e","boot":"b","events":[{"seq":"1"}]}`:             {400, "events.seq"},
		`{"node":"e","boot":"b","events":[{"seq":1,"what":1}]}`:      {400, "what"},
		`{"node":"e","boot":"b","events":[]}x`:                       {400, ""},
		`{"node":"` + strings.Repeat("a", 70000) + `","boot":"b"}`:   {413, ""},
		"{\"node\":\"\xc3\",\"boot\":\"b\",\"events\":[]}":           {400, ""},
		`{"node":"` + strings.Repeat("a", maxID+1) + `","boot":"b"}`: {400, "node"},
	} {
		b := newBench(t)
		w := b.ask("POST", api.PathPresenceEvent, typeJSON, body)
		p := reading[Problem](t, w)
		if w.Code != c.status || c.field != "" && (len(p.Errors) != 1 || p.Errors[0].Path != c.field) || len(b.presence.got) != 0 {
			t.Errorf("%.60s: %d %s", body, w.Code, w.Body)
		}
	}
	if w := newBench(t).ask("POST", api.PathPresenceEvent, typeForm, "node=e"); w.Code != 415 {
		t.Errorf("a form: %d", w.Code)
	}
}

// A full mailbox is 503 with Retry-After, not a loss: the node delivers again.
func TestPresenceEvent_SaysWhenToTryAgain(t *testing.T) {
	b := newBench(t)
	b.presence.fail = brain.Errorf(brain.EUnavailable, "full")
	w := b.ask("POST", api.PathPresenceEvent, typeJSON, `{"node":"e","boot":"b","events":[]}`)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || reading[Problem](t, w).Code != brain.EUnavailable {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	onlyCounted(t, b, "unavailable")
}

// The last heartbeat of each node is listed with its age, by name.
func TestNodes_ListTheLastHeartbeat(t *testing.T) {
	b := newBench(t)
	now := time.UnixMilli(5000)
	b.Now = func() time.Time { return now }
	for _, body := range []string{`{"node":"edge2","protocol":"1.0"}`, `{"node":"edge1","protocol":"1.0","dialogs":1}`,
		`{"node":"edge1","protocol":"1.0","dialogs":2,"versions":{"kamailio":"5.6.3"},"healthy":{"kamailio":true}}`} {
		if w := b.ask("POST", api.PathHeartbeat, typeJSON, body); w.Code != 200 || reading[api.HeartbeatReply](t, w).Version != api.Version {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	now = now.Add(3 * time.Second)
	got := reading[NodeList](t, b.ask("GET", PathNodes, "", "", withToken(tokenPlatform))).Nodes
	if len(got) != 2 || got[0].Node != "edge1" || got[0].Dialogs != 2 || got[0].Versions["kamailio"] != "5.6.3" || got[1].Node != "edge2" || got[0].SeenMS != 5000 || got[0].AgeMS != 3000 {
		t.Errorf("got %+v", got)
	}
	for body, status := range map[string]int{`{"protocol":"1.0"}`: 400, `{"node":"a\u0000"}`: 400, `{"node":"a","dialogs":"x"}`: 400,
		`{"node":"a","versions":{"k":"\n"}}`: 400, `{"node":"a","mood":"x"}`: 400} {
		if w := b.ask("POST", api.PathHeartbeat, typeJSON, body); w.Code != status {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
	for i := range maxNodes {
		b.nodes.keep(NodeSeen{Heartbeat: api.Heartbeat{Node: strconv.Itoa(i)}})
	}
	if w := b.ask("POST", api.PathHeartbeat, typeJSON, `{"node":"one too many"}`); w.Code != 503 {
		t.Errorf("a node too many: %d", w.Code)
	}
}

// Walking the pages meets every call exactly once, whatever the page size; an account's key sees its
// own calls only.
func TestCalls_PagesMeetEveryCallOnce(t *testing.T) {
	b := newBench(t)
	for i := range 23 {
		b.presence.calls = append(b.presence.calls, api.Call{AccountID: "acc_" + strconv.Itoa(i%3), CallID: "c" + strconv.Itoa(i/2), Node: strconv.Itoa(i)})
	}
	for _, limit := range []int{1, 2, 7, 22, 23, 24, 500} {
		got := walk(t, b, limit, tokenPlatform)
		if len(got) != 23 || !slices.IsSortedFunc(got, func(x, y api.Call) int { return keyOf(x).compare(keyOf(y)) }) {
			t.Errorf("limit %d: %d calls, or unsorted", limit, len(got))
		}
	}
	for _, c := range walk(t, b, 3, tokenAccount) {
		if c.AccountID != "acc_1" {
			t.Errorf("an account's key sees %+v", c)
		}
	}
	for _, query := range []string{"limit=0", "limit=501", "limit=x", "after=!", "after=YQ", "limit=1&limit=2", "offset=3"} {
		if w := b.ask("GET", api.PathCalls+"?"+query, "", "", withToken(tokenPlatform)); w.Code != 400 {
			t.Errorf("%s: %d", query, w.Code)
		}
	}
	if w := newBench(t).ask("GET", api.PathCalls, "", "", withToken(tokenViewer)); w.Body.String() != "{\"calls\":[]}\n" {
		t.Errorf("no calls: %s", w.Body)
	}
}

func walk(t *testing.T, b *bench, limit int, token string) []api.Call {
	t.Helper()
	var all []api.Call
	for after, pages := "", 0; pages < 30; pages++ {
		page := reading[api.CallList](t, b.ask("GET", api.PathCalls+"?limit="+strconv.Itoa(limit)+"&after="+after, "", "", withToken(token)))
		if len(page.Calls) > limit {
			t.Fatalf("%d calls on a page of %d", len(page.Calls), limit)
		}
		all = append(all, page.Calls...)
		if after = page.Next; after == "" {
			return all
		}
	}
	t.Fatal("the pages do not end")
	return nil
}

// Anybody learns that the brain is well and of what version; only a key of the platform sees counts
// and nodes.
func TestHealth_ShowsDetailsToThePlatformOnly(t *testing.T) {
	b := newBench(t)
	b.form(api.PathAuth, registerQuestion("1001", "wrong"))
	for _, token := range []string{"", "sk_unknown", tokenNode, tokenAccount, tokenForged, tokenPlatform} {
		w := b.ask("GET", api.PathHealth, "", "", withToken(token))
		got := reading[Health](t, w)
		if w.Code != 200 || got.Status != "ok" || got.ConfigVersion != 7 || got.Version != "dev" {
			t.Errorf("%s: %d %s", token, w.Code, w.Body)
		}
		if open := got.Counts != nil; open != (token == tokenPlatform) {
			t.Errorf("%s sees %s", token, w.Body)
		}
		if token == tokenPlatform && (got.Counts["auth_refused"] != 1 || got.Counts["events_applied"] != 3) {
			t.Errorf("counts %v", got.Counts)
		}
	}
}

// sink is a response that keeps nothing.
type sink struct{ header http.Header }

func (s sink) Header() http.Header         { return s.header }
func (s sink) Write(p []byte) (int, error) { return len(p), nil }
func (s sink) WriteHeader(int)             {}

// What one /route costs without the network.
func BenchmarkRouteHandler(b *testing.B) {
	f := newBench(b)
	f.Log = slog.New(slog.DiscardHandler)
	body := inviteQuestion("1001", "secret1001", "1002").Encode()
	r, _ := http.NewRequest("POST", api.PathRoute, nil)
	r.RemoteAddr, r.ContentLength = "127.0.0.1:1", int64(len(body))
	r.Header.Set("Content-Type", typeForm)
	r.Header.Set("Authorization", "Bearer "+tokenNode)
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(body))
		f.mux.ServeHTTP(sink{http.Header{}}, r)
	}
	if f.counts[countRouteProxied].Load() == 0 {
		b.Fatal("no call was proxied")
	}
}

// Every counter has a name, no two the same, or /health would lose one.
func TestCounts_AllHaveNames(t *testing.T) {
	var c counts
	if m := c.all(); len(m) != int(countersEnd) {
		t.Errorf("%d names for %d counters", len(m), countersEnd)
	} else if _, err := json.Marshal(m); err != nil || slices.Contains(counterNames[:], "") {
		t.Errorf("a counter without a name: %v", counterNames)
	}
}
