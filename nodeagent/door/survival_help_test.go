package door

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// helped is acme with two ways to call for help; 1002 has a number of his own.
func helped(tag string) api.SurvivalAccount {
	a := acme(tag)
	attempt := func(id, host string) api.Route {
		return api.Route{Step: 1, URI: "sip:112@" + host, FrInvTimer: 120000, Trunk: &api.RouteTrunk{ID: id, From: &api.NameAddr{URI: "sip:4930100@" + host}}}
	}
	a.Help = []api.SurvivalHelp{{Number: "112", At: "emergency/112", SOS: true, Routes: []api.Route{attempt("t_1", "one.test"), attempt("t_2", "two.test;transport=tcp")}}}
	a.Callers[1].Shown = []api.SurvivalShown{{TrunkID: "t_1", From: &api.NameAddr{URI: "sip:4930102@one.test"}, Headers: "X: y\r\n"}}
	return a
}

func TestSurvival_CallsForHelp(t *testing.T) {
	// Proves which attempt is made next, by what was tried and what does not answer, who is shown, and that other calls outside, and what
	// follows other calls, wait for the brain.
	synctest.Test(t, func(t *testing.T) {
		s, from := prepared(t, nil)
		from.change(func(st *store) { st.accounts = []api.SurvivalAccount{helped("t2")} })
		s.stop()
		s = startSurviving(t, from, nil)
		s.decideForm(t, api.PathAuth, asking("REGISTER", "1001", "secret-1001", "", nil))
		time.Sleep(2 * firstRefresh)
		s.away()
		all := func(pairs ...string) func(url.Values) {
			return func(v url.Values) {
				for i := 0; i < len(pairs); i += 2 {
					v.Set(pairs[i], pairs[i+1])
				}
			}
		}
		for _, row := range []struct {
			user, dialed string
			change       func(url.Values)
			trunk, shown string
			code         int
		}{
			{"1001", "112", nil, "t_1", "sip:4930100@one.test", 0},
			{"1002", "112", set("ruri_domain", "elsewhere.test"), "t_1", "sip:4930102@one.test", 0},
			{"1001", "+112", nil, "t_1", "sip:4930100@one.test", 0},
			{"1001", "service", set("ruri", "urn:service:sos.fire"), "t_1", "sip:4930100@one.test", 0},
			{"1001", "service", set("ruri", "urn:service:sosx"), "", "", 503},
			{"1002", "112", set("at", "emergency/112"), "t_1", "sip:4930102@one.test", 0},
			{"1001", "112", all("at", "emergency/112", "tried", "t_1", "trunk", "t_1", "failed_code", "407", "challenge", "Proxy-Authenticate: Digest realm=x\n"), "t_2", "sip:4930100@two.test;transport=tcp", 0},
			{"1001", "112", all("at", "emergency/112", "tried", "t_1,t_2", "failed_code", "503"), "", "", 503},
			{"1001", "112", set("from_name", "a\nb"), "", "", 503}, // no question of Kamailio's
			{"1001", "0301234567", nil, "", "", 503},
			{"1001", "1002", all("at", "forward/f_1", "failed_code", "480"), "", "", 503},
		} {
			d := s.decideForm(t, api.PathRoute, asking("INVITE", row.user, "secret-"+row.user, row.dialed, row.change))
			if row.code != 0 {
				if d.Action != api.ActionReject || d.SIPCode != row.code {
					t.Errorf("%+v: %+v", row, d)
				}
				continue
			}
			if d.Action != api.ActionProxy || !d.Survival || len(d.Routes) != 1 || d.Routes[0].Trunk.ID != row.trunk || d.Routes[0].Trunk.From.URI != row.shown ||
				d.Call.At != "emergency/112" || d.Call.Direction != "out" || d.Call.Token == "" || d.AccountID != "acc_1" || d.Media == nil {
				t.Errorf("%+v: %+v %+v", row, d, d.Call)
			}
		}
		d := s.decideForm(t, api.PathRoute, asking("INVITE", "1001", "wrong", "112", nil))
		if d.SIPCode != 403 {
			t.Errorf("a wrong password: %+v", d)
		}
	})
}

func TestNextForHelp_ByHints(t *testing.T) {
	// Proves that a trunk that does not answer this node comes last, that a registration's host, or the targets of a name, are called over the trunk's transport, and
	// that a trunk whose name leads nowhere is passed over.
	h := helped("t").Help[0]
	for _, row := range []struct{ down, tried, want string }{{"", "", "t_1"}, {"t_1", "", "t_2"}, {"t_1,t_2", "", "t_1"}, {"t_2", "t_1", "t_2"}, {"", "t_1,t_2", ""}} {
		got := ""
		if r := nextForHelp(h.Routes, &api.RouteRequest{Down: row.down, Tried: row.tried}); r != nil {
			got = r.Trunk.ID
		}
		if got != row.want {
			t.Errorf("%+v: %s", row, got)
		}
	}
	a := keptAccount{SurvivalAccount: helped("t")}
	reply, _ := a.help(&h, &api.RouteRequest{Down: "t_1", Via: "x=1.2.3.4:5,t_2=192.0.2.1:5070"}, &a.Callers[0], api.Directive{})
	if r := reply.RTJSON.Routes[0]; r.Trunk.DstURI != "sip:192.0.2.1:5070;transport=tcp" || h.Routes[1].Trunk.DstURI != "" {
		t.Errorf("%+v", r.Trunk)
	}
	h.Routes[1].Trunk.FrTimer = 1000
	reply, _ = a.help(&h, &api.RouteRequest{Via: "t_1=,t_2=192.0.2.1:5070|192.0.2.2:5070|192.0.2.3:5070"}, &a.Callers[0], api.Directive{})
	if r := reply.RTJSON.Routes[0].Trunk; r.ID != "t_2" || r.DstURI != "sip:192.0.2.1:5070;transport=tcp" || r.Next != "sip:192.0.2.2:5070;transport=tcp" || r.FrTimer != 500 {
		t.Errorf("a name that leads nowhere, then one with three targets: %+v", r)
	}
}

func TestReadAccount_RefusesHelpThatLeadsNowhere(t *testing.T) {
	// Proves that calls for help without attempts over trunks are taken for damage.
	for _, help := range []string{`[{"number":"112","at":"x","routes":[]}]`, `[{"number":"112","at":"x","routes":[{"step":1,"uri":"sip:a@b"}]}]`, `[{"number":"","at":"x","routes":[{"step":1,"uri":"sip:a@b","trunk":{"id":"t"}}]}]`} {
		raw := `{"tag":"t","account_id":"a","media":{},"help":` + help + `}`
		if _, err := readAccount([]byte(raw)); err == nil || !strings.Contains(err.Error(), "help") {
			t.Errorf("%s: %v", help, err)
		}
	}
}
