package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// guarded is a fake guard that notes what it is asked, and an audit log.
type guarded struct {
	asked   []string
	report  api.GuardReport
	refused string
	fail    error
	entries []brain.AuditEntry
	unwell  error // of the audit log
}

func (g *guarded) note(format string, args ...any) {
	g.asked = append(g.asked, fmt.Sprintf(format, args...))
}

func (g *guarded) Report(_ context.Context, r *api.GuardReport) (api.GuardReply, error) {
	g.report = *r
	g.note("report %s", r.Node)
	return api.GuardReply{Orders: []api.GuardOrder{{Addr: "192.0.2.1", Action: api.GuardBan, Tier: api.TierUA, UntilMS: 5, Why: "x"}}}, g.fail
}

func (g *guarded) List(_ context.Context, q guard.Question) (api.BanList, error) {
	what := map[bool]string{true: "list offenders", false: "list"}[q.Offenders]
	g.note("%s %s %s %s %d", what, q.Addr, q.Node, q.After, q.Limit)
	return api.BanList{Bans: []api.Ban{}}, g.fail
}

func (g *guarded) Add(_ context.Context, who string, req *api.BanRequest) (api.BanReply, string, error) {
	g.note("add %s %s %d %s", who, req.Addr, req.ForSec, req.Why)
	return api.BanReply{Addr: req.Addr, Nodes: []api.BanNode{{Node: "edge1", OK: true}, {Node: "edge2", Error: "x"}}}, g.refused, g.fail
}

func (g *guarded) Lift(_ context.Context, who, addr string) (api.BanReply, error) {
	g.note("lift %s %s", who, addr)
	return api.BanReply{Addr: addr, Ban: &api.Ban{Tier: api.TierUA, Node: "edge1", Why: "signature"}}, g.fail
}

func (g *guarded) Allowed(context.Context) (api.AllowList, error) {
	g.note("allowed")
	return api.AllowList{Allowed: []api.Allowed{}}, g.fail
}

func (g *guarded) Allow(_ context.Context, who string, req *api.AllowRequest) (api.AllowList, string, error) {
	g.note("allow %s %s %d %s", who, req.Net, req.ForSec, req.Note)
	return api.AllowList{}, g.refused, g.fail
}

func (g *guarded) Disallow(_ context.Context, who, network string) (api.AllowList, bool, error) {
	g.note("disallow %s %s", who, network)
	return api.AllowList{}, network != "10.0.0.0/8", g.fail
}

func (g *guarded) Audit(_ context.Context, e brain.AuditEntry) error {
	g.entries = append(g.entries, e)
	return g.unwell
}

// ask puts one question to the endpoints of the guard, as the key of a token.
func (g *guarded) ask(t testing.TB, token, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	s := New(newConfiguration(), &state{})
	mux := http.NewServeMux()
	s.RegisterSecurity(mux, g, g)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:5555"
	r.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

// What is asked reaches the guard, changes stand in the audit log with who and from where, and what is wrong is told.
func TestSecurity(t *testing.T) {
	bans, allow := api.PathSecurityBans, api.PathSecurityAllow
	long := strings.Repeat("x", api.MaxEvidence+1)
	for _, row := range []struct {
		name, token, method, path, body string
		status                          int
		asked, audit                    string
	}{
		{"list", tokenPlatform, "GET", bans, "", 200, "list    100", ""},
		{"page", tokenPlatform, "GET", bans + "?node=edge1&after=192.0.2.1&limit=7", "", 200, "list  edge1 192.0.2.1 7", ""},
		{"one", tokenPlatform, "GET", bans + "?addr=2001:db8::1", "", 200, "list 2001:db8::1   100", ""},
		{"offenders", tokenPlatform, "GET", bans + "?offenders=true&limit=7", "", 200, "list offenders    7", ""},
		{"offenders, perhaps", tokenPlatform, "GET", bans + "?offenders=maybe", "", 400, "", ""},
		{"no address", tokenPlatform, "GET", bans + "?addr=nonsense", "", 400, "", ""},
		{"no limit", tokenPlatform, "GET", bans + "?limit=1001", "", 400, "", ""},
		{"add", tokenPlatform, "POST", bans, `{"addr":"192.0.2.1","for_sec":60,"why":"fraud"}`, 200, "add key_2 192.0.2.1 60 fraud", "key_2 ban.add 192.0.2.1 for 1m0s: fraud; not confirmed by edge2"},
		{"add without why", tokenPlatform, "POST", bans, `{"addr":"192.0.2.1","for_sec":60}`, 400, "", ""},
		{"add for ever", tokenPlatform, "POST", bans, `{"addr":"192.0.2.1","for_sec":2592001,"why":"x"}`, 400, "", ""},
		{"add a network", tokenPlatform, "POST", bans, `{"addr":"192.0.2.0/24","for_sec":60,"why":"x"}`, 400, "", ""},
		{"add loopback", tokenPlatform, "POST", bans, `{"addr":"::ffff:127.0.0.1","for_sec":60,"why":"x"}`, 400, "", ""},
		{"add a long story", tokenPlatform, "POST", bans, `{"addr":"192.0.2.1","for_sec":60,"why":"` + long + `"}`, 400, "", ""},
		{"add what nobody knows", tokenPlatform, "POST", bans, `{"addr":"192.0.2.1","for_sec":60,"why":"x","more":1}`, 400, "", ""},
		{"lift", tokenPlatform, "DELETE", bans + "?addr=192.0.2.1", "", 200, "lift key_2 192.0.2.1", "key_2 ban.lift 192.0.2.1 banned by ua at edge1: signature"},
		{"lift nothing", tokenPlatform, "DELETE", bans, "", 400, "", ""},
		{"allowed", tokenPlatform, "GET", allow, "", 200, "allowed", ""},
		{"allow", tokenPlatform, "POST", allow, `{"net":"192.0.2.9/24","note":"office","for_sec":60}`, 200, "allow key_2 192.0.2.9/24 60 office", "key_2 allow.add 192.0.2.0/24 for 1m0s: office; 0 bans lifted"},
		{"allow everybody", tokenPlatform, "POST", allow, `{"net":"0.0.0.0/0"}`, 400, "", ""},
		{"allow for ever and a day", tokenPlatform, "POST", allow, `{"net":"192.0.2.0/24","for_sec":-1}`, 400, "", ""},
		{"disallow", tokenPlatform, "DELETE", allow + "?net=192.0.2.0/24", "", 200, "disallow key_2 192.0.2.0/24", "key_2 allow.remove 192.0.2.0/24 "},
		{"disallow what is not there", tokenPlatform, "DELETE", allow + "?net=10.0.0.0/8", "", 404, "disallow key_2 10.0.0.0/8", ""},
		{"report", tokenNode, "POST", api.PathSecurityReport, `{"node":"edge1","policy_version":3,"offences":[{"addr":"192.0.2.1","tier":"ua","kind":"scanner","count":1,"time_ms":5}]}`, 200, "report edge1", ""},
		{"report of nobody", tokenNode, "POST", api.PathSecurityReport, `{}`, 400, "", ""},
		{"report of an operator's ban", tokenNode, "POST", api.PathSecurityReport, `{"node":"edge1","offences":[{"addr":"192.0.2.1","tier":"operator","kind":"scanner"}]}`, 400, "", ""},
		{"report of no kind", tokenNode, "POST", api.PathSecurityReport, `{"node":"edge1","offences":[{"addr":"192.0.2.1","tier":"ua"}]}`, 400, "", ""},
		{"report of a number below 0", tokenNode, "POST", api.PathSecurityReport, `{"node":"edge1","offences":[{"addr":"192.0.2.1","tier":"ua","kind":"scanner","time_ms":-1}]}`, 400, "", ""},
		{"report of too much", tokenNode, "POST", api.PathSecurityReport, `{"node":"edge1","offences":[` + strings.Repeat(`{},`, api.MaxGuardOffences) + `{}]}`, 400, "", ""},
		{"report by an operator", tokenPlatform, "POST", api.PathSecurityReport, `{"node":"edge1"}`, 200, "report edge1", ""},
		{"list by a node", tokenNode, "GET", bans, "", 403, "", ""},
		{"add by a node", tokenNode, "POST", bans, `{"addr":"192.0.2.1","for_sec":60,"why":"x"}`, 403, "", ""},
		{"lift by a node", tokenNode, "DELETE", bans + "?addr=192.0.2.1", "", 403, "", ""},
		{"allow by a node", tokenNode, "POST", allow, `{"net":"192.0.2.0/24"}`, 403, "", ""},
		{"disallow by an account", tokenForged, "DELETE", allow + "?net=192.0.2.0/24", "", 403, "", ""},
		{"allowed to nobody", "sk_nobody", "GET", allow, "", 401, "", ""},
		{"report by an account", tokenForged, "POST", api.PathSecurityReport, `{"node":"edge1"}`, 403, "", ""},
		{"wrong method", tokenPlatform, "PUT", bans, "", 405, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := &guarded{}
			w := g.ask(t, row.token, row.method, row.path, row.body)
			if w.Code != row.status || strings.Join(g.asked, ";") != row.asked {
				t.Errorf("%d %q, want %d %q: %s", w.Code, g.asked, row.status, row.asked, w.Body)
			}
			audit := ""
			for _, e := range g.entries {
				if e.Peer != "127.0.0.1" || e.TimeMS == 0 {
					t.Errorf("%+v", e)
				}
				audit += e.Actor + " " + e.Action + " " + e.Object + " " + e.Detail
			}
			if audit != row.audit {
				t.Errorf("audit %q, want %q", audit, row.audit)
			}
		})
	}
}

// What an attacker has written is made one short line, and does not cost the node its report.
func TestSecurityReport_CleansEvidence(t *testing.T) {
	g := &guarded{}
	body, err := json.Marshal(api.GuardReport{Node: "edge1", Offences: []api.Offence{{Addr: "192.0.2.1", Tier: api.TierUA, Kind: api.OffenceScanner, Evidence: "a\r\nb\x00" + strings.Repeat("ü", api.MaxEvidence)}}})
	if err != nil {
		t.Fatal(err)
	}
	w := g.ask(t, tokenNode, "POST", api.PathSecurityReport, string(body))
	got := g.report.Offences[0].Evidence
	if w.Code != 200 || !strings.HasPrefix(got, "a  b ü") || len(got) > api.MaxEvidence {
		t.Errorf("%d %q", w.Code, got)
	}
}

// Nobody can decide: 503, to be asked again. Refused: 409, and why. Done, but not in the audit log: 503 that says so.
func TestSecurity_Faults(t *testing.T) {
	add := `{"addr":"192.0.2.1","for_sec":60,"why":"fraud"}`
	for name, row := range map[string]struct {
		g      guarded
		status int
		says   string
	}{
		"nobody decides": {guarded{fail: brain.Errorf(brain.EUnavailable, "no owner")}, 503, "no owner"},
		"protected":      {guarded{refused: "192.0.2.1 is protected: trunk"}, 409, "is protected: trunk"},
		"no audit log":   {guarded{unwell: errors.New("disk full")}, 503, "it is done, but the audit log does not have it"},
		"a fault":        {guarded{fail: errors.New("secret detail")}, 500, "internal error"},
	} {
		w := row.g.ask(t, tokenPlatform, "POST", api.PathSecurityBans, add)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) || strings.Contains(w.Body.String(), "secret detail") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// FuzzSecurityReport: whatever a node sends is answered, and nothing beyond the bounds reaches the guard.
func FuzzSecurityReport(f *testing.F) {
	f.Add([]byte(`{"node":"edge1","policy_version":3,"complete":true,"offences":[{"addr":"192.0.2.1","tier":"ua","kind":"scanner","count":1,"time_ms":5,"evidence":"x"}],"active":[{"addr":"192.0.2.1","tier":"ua","until_ms":7}]}`))
	f.Add([]byte(`{"node":"edge1","offences":[{"addr":"` + strings.Repeat("1", 300) + `"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		g := &guarded{}
		w := g.ask(t, tokenNode, "POST", api.PathSecurityReport, string(body))
		if w.Code >= 500 || (w.Code == 200) != (len(g.asked) == 1) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, o := range g.report.Offences {
			if len(o.Evidence) > api.MaxEvidence || bytes.ContainsAny([]byte(o.Evidence), "\r\n\x00") {
				t.Fatalf("%q", o.Evidence)
			}
		}
	})
}

// FuzzSecurityBans: whatever a query asks is answered without a fault.
func FuzzSecurityBans(f *testing.F) {
	f.Add("192.0.2.1", "edge1", "2001:db8::/64", "10")
	f.Fuzz(func(t *testing.T, addr, node, after, limit string) {
		q := url.Values{"addr": {addr}, "node": {node}, "after": {after}, "limit": {limit}}
		if w := (&guarded{}).ask(t, tokenPlatform, "GET", api.PathSecurityBans+"?"+q.Encode(), ""); w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

// hungUp is a guard and an audit log that do nothing for a question that is over.
type hungUp struct{ guarded }

func (g *hungUp) Add(ctx context.Context, who string, req *api.BanRequest) (api.BanReply, string, error) {
	reply, refused, _ := g.guarded.Add(ctx, who, req)
	return reply, refused, ctx.Err()
}

func (g *hungUp) Lift(ctx context.Context, who, addr string) (api.BanReply, error) {
	reply, _ := g.guarded.Lift(ctx, who, addr)
	return reply, ctx.Err()
}

func (g *hungUp) Allow(ctx context.Context, who string, req *api.AllowRequest) (api.AllowList, string, error) {
	list, refused, _ := g.guarded.Allow(ctx, who, req)
	return list, refused, ctx.Err()
}

func (g *hungUp) Disallow(ctx context.Context, who, network string) (api.AllowList, bool, error) {
	list, found, _ := g.guarded.Disallow(ctx, who, network)
	return list, found, ctx.Err()
}

func (g *hungUp) Audit(ctx context.Context, e brain.AuditEntry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return g.guarded.Audit(ctx, e)
}

// Proves that a change by an operator who hangs up is carried out whole, and stands in the audit log.
func TestSecurity_AChangeIsAuditedThoughItsOperatorHangsUp(t *testing.T) {
	for _, row := range []struct{ method, path, body, action string }{
		{"POST", api.PathSecurityBans, `{"addr":"192.0.2.1","for_sec":60,"why":"x"}`, brain.AuditBanAdd},
		{"DELETE", api.PathSecurityBans + "?addr=192.0.2.1", "", brain.AuditBanLift},
		{"POST", api.PathSecurityAllow, `{"net":"192.0.2.0/24"}`, brain.AuditAllowAdd},
		{"DELETE", api.PathSecurityAllow + "?net=192.0.2.0/24", "", brain.AuditAllowRemove},
	} {
		g := &hungUp{}
		s := New(newConfiguration(), &state{})
		mux := http.NewServeMux()
		s.RegisterSecurity(mux, g, g)
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		r := httptest.NewRequestWithContext(gone, row.method, row.path, strings.NewReader(row.body))
		r.RemoteAddr = "127.0.0.1:5555"
		r.Header.Set("Authorization", "Bearer "+tokenPlatform)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != http.StatusOK || len(g.entries) != 1 || g.entries[0].Action != row.action {
			t.Errorf("%s: %d %s, entries %+v", row.action, w.Code, w.Body, g.entries)
		}
	}
}
