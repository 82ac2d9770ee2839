package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

// carriers are trunks with a live state of their own.
type carriers struct {
	list    []*brain.SIPTrunk
	machine *presence.Machine
	now     int64
	fail    error
	silent  string // prefix of the accounts that never answer; "" = none
}

func (c *carriers) Active(brain.Directory) []*brain.SIPTrunk { return c.list }

func (c *carriers) Lease(ctx context.Context, account, node string, asks []presence.LeaseAsk) ([]api.TrunkLease, error) {
	if c.silent != "" && strings.HasPrefix(account, c.silent) {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > leaseWait {
			panic("a silent account is waited for")
		}
		<-ctx.Done()
		return nil, brain.Errorf(brain.EUnavailable, "no answer")
	}
	if c.fail != nil {
		return nil, c.fail
	}
	reply, _, err := c.machine.Apply(c.now, presence.AppendLease(nil, node, asks))
	if err != nil {
		return nil, err
	}
	return presence.ReadLeases(reply)
}

func (c *carriers) Leases(context.Context, string) ([]api.TrunkLease, error) {
	return c.machine.Leases(c.now), c.fail
}

// newCarriers is a bench whose account has a trunk that is registered at and one that is not.
func newCarriers(t *testing.T) (*bench, *carriers) {
	b := newBench(t)
	list := []*brain.SIPTrunk{
		{ID: "trk_1", AccountID: "acc_1", Name: "north", Status: brain.StatusActive, Direction: brain.TrunkBoth, Proxy: "sip.north.test:5070", Transport: "tcp", DoRegister: true,
			ExpireSec: 600, AuthUsername: "4930@north", AuthSecretRef: "north", FromDomain: "north.test", Realm: "north.test", OptionsPingSec: 30},
		{ID: "trk_2", AccountID: "acc_1", Name: "east", Status: brain.StatusActive, Direction: brain.TrunkOutbound, Proxy: "[2001:db8::1]:5070"},
		{ID: "trk_3", AccountID: "acc_1", Name: "in", Status: brain.StatusActive, Direction: brain.TrunkInbound},
	}
	acct := b.Config.(*configuration).account
	acct.Trunks = map[string]*brain.SIPTrunk{}
	for _, tr := range list {
		acct.Trunks[tr.ID] = tr
	}
	c := &carriers{list: list, machine: presence.New("acc_1"), now: 1000}
	b.RegisterTrunks(b.mux, c)
	b.Password = func(_ *brain.AccountConfig, ref string) (string, error) {
		if ref != "north" {
			return "", errors.New("no such secret")
		}
		return "hush-hush", nil
	}
	return b, c
}

func (b *bench) json(path, body string, change ...func(*http.Request)) (int, string) {
	w := b.ask("POST", path, typeJSON, body, change...)
	return w.Code, w.Body.String()
}

// Proves what a node is told of the trunks to look after, once: with the digest of the list it hears that it is the same.
// What it tells is shown with the trunk.
func TestNodeTrunks_TellsTheListOnce(t *testing.T) {
	b, _ := newCarriers(t)
	w := b.ask("POST", api.PathNodeTrunks, typeJSON, `{"node":"n1","trunks":[{"id":"trk_1","state":"down","code":408,"since_ms":5,"pings":7,"failed":2,"last_error":"no answer"}]}`)
	list := reading[api.NodeTrunksReply](t, w)
	want := []api.TrunkWatch{
		{ID: "trk_1", AccountID: "acc_1", Name: "north", URI: "sip:north.test", Proxy: "sip.north.test:5070", Transport: "tcp", PingSec: 30, AOR: "sip:4930@north.test", User: "4930", ExpireSec: 600, Auth: true},
		{ID: "trk_2", AccountID: "acc_1", Name: "east", URI: "sip:[2001:db8::1]", Proxy: "[2001:db8::1]:5070", Transport: "udp"},
	}
	if !slices.Equal(list.Trunks, want) || list.Same || list.Digest == "" {
		t.Errorf("told %+v", list)
	}
	again := reading[api.NodeTrunksReply](t, b.ask("POST", api.PathNodeTrunks, typeJSON, fmt.Sprintf(`{"node":"n2","digest":%q,"trunks":[]}`, list.Digest)))
	if !again.Same || again.Trunks != nil || again.Digest != list.Digest {
		t.Errorf("told again %+v", again)
	}
	shown := reading[api.TrunkList](t, b.ask("GET", api.PathTrunks+"?account_id=acc_1", "", "", withToken(tokenPlatform)))
	if len(shown.Trunks) != 3 || shown.Trunks[2].Name != "north" || len(shown.Trunks[2].Nodes) != 1 || shown.Trunks[2].Nodes[0].Failed != 2 || shown.Trunks[2].Nodes[0].Node != "n1" {
		t.Errorf("shown %+v", shown)
	}
}

// Proves that more trunks than a node looks after are left out, and that it is said.
func TestNodeTrunks_SaysWhatIsLeftOut(t *testing.T) {
	b, c := newCarriers(t)
	for i := range api.MaxNodeTrunks {
		c.list = append(c.list, &brain.SIPTrunk{ID: fmt.Sprint("trk_x", i), AccountID: "acc_1", Direction: brain.TrunkOutbound, Status: brain.StatusActive, Proxy: "192.0.2.1"})
	}
	for range 2 {
		if list := reading[api.NodeTrunksReply](t, b.ask("POST", api.PathNodeTrunks, typeJSON, `{"node":"n1","trunks":[]}`)); len(list.Trunks) != api.MaxNodeTrunks {
			t.Errorf("%d trunks", len(list.Trunks))
		}
	}
	if n := strings.Count(b.log.String(), "no node looks after"); n != 1 || !strings.Contains(b.log.String(), "trunks=2 ") {
		t.Errorf("logged %d times:\n%s", n, b.log)
	}
}

// Proves that the holder of a lease, and nobody else, gets a challenge answered, and that the password is in nothing that
// is said or logged.
func TestTrunkAnswer_IsForTheHolder(t *testing.T) {
	b, c := newCarriers(t)
	ask := func(node string) api.TrunkLease {
		w := b.ask("POST", api.PathTrunkLease, typeJSON, fmt.Sprintf(`{"node":%q,"asks":[{"trunk_id":"trk_1","account_id":"acc_1","contact":"sip:4930@%s"},{"trunk_id":"trk_2","account_id":"acc_1","contact":"sip:x@y"},{"trunk_id":"trk_9","account_id":"acc_9","contact":"sip:x@y"}]}`, node, node))
		got := reading[api.TrunkLeaseReply](t, w).Leases
		for _, l := range got {
			if l.TrunkID != "trk_1" && (l.Node != "" || l.Fence != 0) {
				t.Errorf("a lease of a trunk that is not registered at: %+v", l)
			}
		}
		return got[slices.IndexFunc(got, func(l api.TrunkLease) bool { return l.TrunkID == "trk_1" })]
	}
	mine := ask("n1")
	if other := ask("n2"); other.Node != "n1" || mine.Node != "n1" || mine.LeaseMS != presence.TrunkLeaseMS {
		t.Fatalf("leases %+v, %+v", mine, other)
	}
	answer := func(node string, fence int64, trunk, challenge string) (int, string) {
		return b.json(api.PathTrunkAnswer, fmt.Sprintf(`{"node":%q,"trunk_id":%q,"account_id":"acc_1","fence":%d,"method":"REGISTER","uri":"sip:north.test","challenges":[%q]}`, node, trunk, fence, challenge))
	}
	const good = `WWW-Authenticate: Digest realm="north.test", nonce="n", qop="auth"`
	var said strings.Builder
	for _, c := range []struct {
		node, trunk, challenge string
		fence                  int64
		code                   int
	}{
		{"n1", "trk_1", good, mine.Fence, 200},
		{"n2", "trk_1", good, mine.Fence, 409},
		{"n1", "trk_1", good, mine.Fence + 1, 409},
		{"n1", "trk_1", good, 0, 409},
		{"n1", "trk_1", `WWW-Authenticate: Digest realm="elsewhere.test", nonce="n"`, mine.Fence, 422},
		{"n1", "trk_2", good, mine.Fence, 403},
		{"n1", "trk_9", good, mine.Fence, 404},
	} {
		code, text := answer(c.node, c.fence, c.trunk, c.challenge)
		said.WriteString(text)
		if code != c.code || (code == 200) != strings.Contains(text, `Authorization: Digest username=\"4930@north\"`) {
			t.Errorf("%s %s fence %d: %d %s, want %d", c.node, c.trunk, c.fence, code, text, c.code)
		}
	}
	c.now += presence.TrunkLeaseMS
	if next := ask("n2"); next.Node != "n2" || !slices.Equal(next.Old, []string{"sip:4930@n1"}) {
		t.Errorf("after its end: %+v", next)
	}
	if code, text := answer("n1", mine.Fence, "trk_1", good); code != 409 {
		t.Errorf("the former holder: %d %s", code, text)
	}
	if strings.Contains(said.String()+b.log.String(), "hush-hush") {
		t.Error("the password was said")
	}
	c.fail = brain.Errorf(brain.EUnavailable, "no owner")
	if got := reading[api.TrunkLeaseReply](t, b.ask("POST", api.PathTrunkLease, typeJSON, `{"node":"n2","asks":[{"trunk_id":"trk_1","account_id":"acc_1","contact":"sip:x@y"}]}`)); len(got.Leases) != 0 {
		t.Errorf("nobody can tell, and somebody does: %+v", got)
	}
}

// Proves that what a carrier has said costs the node nothing: it is cut and cleaned, and the request goes on.
func TestTrunks_CleanWhatCarriersSay(t *testing.T) {
	b, c := newCarriers(t)
	lease := func(fence int64, why string) api.TrunkLease {
		w := b.ask("POST", api.PathTrunkLease, typeJSON, fmt.Sprintf(`{"node":"n1","asks":[{"trunk_id":"trk_1","account_id":"acc_1","contact":"sip:a@b","fence":%d,"last_error":%s}]}`, fence, why))
		return reading[api.TrunkLeaseReply](t, w).Leases[0]
	}
	fence := lease(0, `""`).Fence
	for _, x := range []struct{ why, kept string }{
		{`"503 Wartung\t2 h\r\nX: y\u0085"`, "503 Wartung 2 h  X: y "},
		{`"403 ` + strings.Repeat("禁", 80) + `"`, "403 " + strings.Repeat("禁", 65)},
		{"\"4\xff3\"", "4\ufffd3"}, // the JSON decoder's doing
	} {
		lease(fence, x.why)
		if got := c.machine.Leases(c.now)[0].LastError; got != x.kept || len(got) > maxTrunkText || !utf8.ValidString(got) {
			t.Errorf("%s is kept as %q, want %q", x.why, got, x.kept)
		}
		b.ask("POST", api.PathNodeTrunks, typeJSON, fmt.Sprintf(`{"node":"n1","trunks":[{"id":"trk_1","state":"down","last_error":%s}]}`, x.why))
		if got := b.trunks.nodes(0, "trk_1"); len(got) != 1 || got[0].LastError != x.kept {
			t.Errorf("%s is shown as %+v, want %q", x.why, got, x.kept)
		}
	}
}

// manyAccounts has every account be the same.
type manyAccounts struct{ *configuration }

func (m manyAccounts) Directory() brain.Directory {
	return sameAccount{m.configuration.Directory(), m.account}
}

type sameAccount struct {
	brain.Directory
	account *brain.AccountConfig
}

func (s sameAccount) ByAccount(string) *brain.AccountConfig { return s.account }

// Proves that accounts that do not answer, even more than are asked at once, cost no other its leases for long, and that
// what did not answer is left out.
func TestTrunkLease_WaitsForNoSilentAccount(t *testing.T) {
	b, c := newCarriers(t)
	b.Config = manyAccounts{b.Config.(*configuration)}
	c.silent = "acc_slow"
	asks := []string{`{"trunk_id":"trk_1","account_id":"acc_1","contact":"sip:a@b"}`}
	for i := range leasesAtOnce - 1 {
		asks = append(asks, fmt.Sprintf(`{"trunk_id":"trk_1","account_id":"acc_slow%d","contact":"sip:a@b"}`, i))
	}
	got := reading[api.TrunkLeaseReply](t, b.ask("POST", api.PathTrunkLease, typeJSON, `{"node":"n1","asks":[`+strings.Join(asks, ",")+`]}`))
	if len(got.Leases) != 1 || got.Leases[0].Node != "n1" {
		t.Errorf("%+v", got)
	}
	for i := range 2 * leasesAtOnce {
		asks = append(asks, fmt.Sprintf(`{"trunk_id":"trk_1","account_id":"acc_slower%d","contact":"sip:a@b"}`, i))
	}
	got = reading[api.TrunkLeaseReply](t, b.ask("POST", api.PathTrunkLease, typeJSON, `{"node":"n1","asks":[`+strings.Join(asks, ",")+`]}`))
	if len(got.Leases) > 1 {
		t.Errorf("%+v", got)
	}
}

// Proves that challenges are answered for the REGISTER of this trunk alone, and no longer than the lease lasts: for a
// trunk that was disabled, or is not registered at any more, as for any; and that the lease of an account that is gone
// can be given back.
func TestTrunkAnswer_EndsWithTheLease(t *testing.T) {
	b, c := newCarriers(t)
	acct := b.Config.(*configuration).account
	ask := func(more string) api.TrunkLease {
		w := b.ask("POST", api.PathTrunkLease, typeJSON, `{"node":"n1","asks":[{"trunk_id":"trk_1","account_id":"acc_1","contact":"sip:a@b"`+more+`}]}`)
		return reading[api.TrunkLeaseReply](t, w).Leases[0]
	}
	fence := ask("").Fence
	answer := func(uri string) int {
		code, _ := b.json(api.PathTrunkAnswer, fmt.Sprintf(`{"node":"n1","trunk_id":"trk_1","account_id":"acc_1","fence":%d,"method":"REGISTER","uri":%q,"challenges":["WWW-Authenticate: Digest realm=\"north.test\", nonce=\"1\""]}`, fence, uri))
		return code
	}
	if ours, other := answer("sip:north.test"), answer("sip:bank.test"); ours != 200 || other != 403 {
		t.Errorf("its URI: %d, another: %d", ours, other)
	}
	acct.Trunks["trk_1"].Status, acct.Trunks["trk_1"].DoRegister = brain.StatusDisabled, false
	if l := ask(fmt.Sprintf(`,"fence":%d`, fence)); l.Node != "" || l.Fence != 0 {
		t.Errorf("a disabled trunk's lease was renewed: %+v", l)
	}
	c.now += presence.TrunkLeaseMS - 1
	if code := answer("sip:north.test"); code != 200 {
		t.Errorf("disabled, within the lease: %d", code)
	}
	c.now++
	if code := answer("sip:north.test"); code != 409 {
		t.Errorf("after the lease: %d", code)
	}
	b.Config.(*configuration).account = nil
	if ask(fmt.Sprintf(`,"fence":%d,"release":true,"forget":true`, fence)); len(c.machine.Leases(c.now)) != 0 {
		t.Errorf("its account is gone, and there is %+v", c.machine.Leases(c.now))
	}
}

// Proves that what a node says is bounded, and that each question needs its key.
func TestTrunks_RefuseWhatIsWrong(t *testing.T) {
	b, _ := newCarriers(t)
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		path, body string
		code       int
	}{
		{api.PathNodeTrunks, `{"trunks":[]}`, 400},
		{api.PathNodeTrunks, `{"node":"n","trunks":[{"id":"a","state":"ill"}]}`, 400},
		{api.PathNodeTrunks, `{"node":"n","trunks":[{"id":"` + long + `","state":"up"}]}`, 400},
		{api.PathNodeTrunks, `{"node":"n","trunks":[` + strings.Repeat(`{"id":"a","state":"up"},`, api.MaxNodeTrunks) + `{"id":"a","state":"up"}]}`, 400},
		{api.PathNodeTrunks, `{"node":"n","trunks":[]} x`, 400},
		{api.PathNodeTrunks, `{"node":"n"`, 400},
		{api.PathNodeTrunks, `{"node":"` + strings.Repeat("x", api.MaxNodeBody) + `"}`, 413},
		{api.PathTrunkLease, `{"node":"n","asks":[{"trunk_id":"trk_1","account_id":"acc_1"}]}`, 400},
		{api.PathTrunkLease, `{"node":"n","asks":[{"trunk_id":"trk_1","account_id":"acc_1","contact":"c","fence":-1}]}`, 400},
		{api.PathTrunkLease, `{"asks":[]}`, 400},
		{api.PathTrunkAnswer, `{"node":"n","trunk_id":"trk_1","account_id":"acc_9"}`, 404},
		{api.PathTrunkAnswer, `{"node":"n","trunk_id":"trk_1","account_id":"acc_1","method":"INVITE"}`, 403},
	} {
		if code, text := b.json(c.path, c.body); code != c.code {
			t.Errorf("%s %.80s: %d %.200s, want %d", c.path, c.body, code, text, c.code)
		}
	}
	for _, c := range []struct {
		method, path, token string
		code                int
	}{
		{"POST", api.PathTrunkAnswer, tokenAccount, 403}, {"POST", api.PathTrunkLease, tokenForged, 403}, {"POST", api.PathNodeTrunks, "", 401},
		{"GET", api.PathTrunks, tokenNode, 403}, {"GET", api.PathTrunks, tokenAccount, 200}, {"GET", api.PathTrunks + "?account_id=acc_2", tokenAccount, 403},
		{"POST", "/trunks/trk_1/ping", tokenAccount, 403}, {"POST", "/trunks/trk_9/ping", tokenWrite, 404}, {"POST", "/trunks/trk_1/ping", tokenWrite, 503},
	} {
		if w := b.ask(c.method, c.path, typeJSON, `{}`, withToken(c.token)); w.Code != c.code {
			t.Errorf("%s %s with %s: %d %s, want %d", c.method, c.path, c.token, w.Code, w.Body, c.code)
		}
	}
}

// fleet is nodes of which one answers a ping, one finds nobody and one is away.
type fleet struct{}

func (fleet) Push(_ context.Context, n *brain.Node, op api.Op) (api.OpReply, error) {
	switch n.Name {
	case "n1":
		return api.OpReply{OK: true, Trunk: &api.TrunkSeen{ID: op.TrunkID, State: api.TrunkUp, Code: 200}}, nil
	case "n2":
		return api.OpReply{Error: "this node does not look after it"}, nil
	}
	return api.OpReply{}, errors.New("away")
}

// Proves that a ping asks every node that takes orders and tells what each found.
func TestPingTrunk_AsksEveryNode(t *testing.T) {
	b, _ := newCarriers(t)
	b.Nodes = fleet{}
	nodes := []*brain.Node{{Name: "n1", AgentURL: "x"}, {Name: "n2", AgentURL: "x"}, {Name: "n3", AgentURL: "x"}, {Name: "n4"}}
	got := b.pingAll(t.Context(), nodes, "trk_1")
	if len(got) != 3 || got[0].Seen == nil || got[0].Seen.ID != "trk_1" || got[1].Error != "this node does not look after it" || got[2].Error != "away" || got[2].Node != "n3" {
		t.Errorf("%+v", got)
	}
}

// Proves that a trunk which registers here is shown with where it has, and as one that has not when there is no such contact.
func TestTrunks_TellWhetherAPeerHasRegistered(t *testing.T) {
	b, _ := newCarriers(t)
	acct := b.Config.(*configuration).account
	acct.PrimaryDomain = "one.test"
	for _, name := range []string{"here", "away"} {
		acct.Trunks["trk_"+name] = &brain.SIPTrunk{ID: "trk_" + name, AccountID: "acc_1", Name: name, Status: brain.StatusActive, InboundAuth: brain.InboundRegister, AuthUsername: name}
	}
	b.presence.devices = []api.DevicePresence{{AOR: "sip:1001@one.test", Node: "n9"}, {AOR: "sip:here@one.test", Contacts: 1, Node: "n1"}}
	shown := reading[api.TrunkList](t, b.ask("GET", api.PathTrunks+"?account_id=acc_1", "", "", withToken(tokenPlatform)))
	for i := range shown.Trunks {
		tr := &shown.Trunks[i]
		if is := tr.Peer != nil && tr.Peer.Node == "n1"; is != (tr.Name == "here") || tr.Peer != nil && !is {
			t.Errorf("%s: %+v", tr.Name, tr.Peer)
		}
		if (tr.InboundAuth == "register") != (tr.Name == "here" || tr.Name == "away") {
			t.Errorf("%s: %s", tr.Name, tr.InboundAuth)
		}
	}
}
