package route

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// outFrom is the first question of Alice's desk phone, in a company that was changed.
func outFrom(dial string, change func(o *office)) (api.RouteRequest, Caller, brain.Directory) {
	s := outScenario{scenario: scenario{dial: dial, change: change}}
	return s.first()
}

// Proves when a challenge is answered: once, and once more when the nonce was too old; by a trunk that has a password and can;
// and that the same trunk, and no other, is tried again then, else the next.
func TestChallenged_AnswersOnceAndAStaleNonceOnceMore(t *testing.T) {
	const fresh, old = `Proxy-Authenticate: Digest realm="x", nonce="1"`, `WWW-Authenticate: Digest realm="x", nonce="2", Stale = "TRUE"`
	for _, c := range []struct {
		name      string
		code      int
		challenge string
		answered  int
		change    func(o *office)
		cannot    bool
		want      string // the trunk that is tried
	}{
		{name: "first", code: 407, challenge: fresh, want: "trk_alpha"},
		{name: "of a registrar's kind", code: 401, challenge: fresh, want: "trk_alpha"},
		{name: "again", code: 407, challenge: fresh, answered: 1, want: "trk_beta"},
		{name: "stale", code: 407, challenge: fresh + "\n" + old, answered: 1, want: "trk_alpha"},
		{name: "stale for ever", code: 407, challenge: old, answered: 2, want: "trk_beta"},
		{name: "not a challenge", code: 403, challenge: fresh, want: ""},
		{name: "none", code: 407, want: "trk_beta"},
		{name: "no password", code: 407, challenge: fresh, change: func(o *office) { o.way("trk_alpha").AuthSecretRef = "" }, want: "trk_beta"},
		{name: "no name", code: 407, challenge: fresh, change: func(o *office) { o.way("trk_alpha").AuthUsername = "" }, want: "trk_beta"},
		{name: "cannot be computed", code: 407, challenge: fresh, cannot: true, want: "trk_beta"},
		{name: "disabled meanwhile", code: 407, challenge: fresh, change: func(o *office) { o.way("trk_alpha").Status = brain.StatusDisabled }, want: "trk_beta"},
		{name: "not of the route any more", code: 407, challenge: fresh, change: func(o *office) {
			o.wayOut("germany").Trunks = []brain.OutboundChoice{{TrunkID: "trk_beta"}}
		}, want: ""},
	} {
		req, caller, dir := outFrom("0405551234", c.change)
		req.At, req.Trunk, req.Tried, req.FailedCode, req.Challenge, req.Answered = "number/+49405551234", "trk_alpha", "trk_alpha", c.code, c.challenge, c.answered
		caller.Unanswered = c.cannot
		d, got := Decide(dir, caller, req), ""
		if t := Leaving(caller.Account, &d); t != nil {
			got = t.ID
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q\n%s", c.name, got, c.want, Text(d))
		}
		if repeats := Challenged(caller, &req) != nil; repeats != (c.want == "trk_alpha") && c.want != "" {
			t.Errorf("%s: challenged %v", c.name, repeats)
		}
	}
}

// Proves which call is one for help: the dialed string as a whole by the account's country, of whoever may call outside, and later
// what the first directive said.
func TestEmergency_ByCountryAndCaller(t *testing.T) {
	for _, c := range []struct {
		dial, uri, at, country string
		pbx, trunk             bool
		want                   bool
	}{
		{dial: "112", country: "DE", want: true}, {dial: "1-1-2", country: "DE", want: true}, {dial: "911", country: "DE"}, {dial: "1120", country: "DE"}, {dial: "+112", country: "DE", want: true},
		{dial: "service", uri: "urn:service:sos", country: "DE", want: true}, {dial: "service", uri: "URN:service:SOS.police", country: "DE", want: true},
		{dial: "service", uri: "urn:service:sos", country: "DE", trunk: true}, {dial: "service", uri: "urn:service:sosx", country: "DE"}, {dial: "service", uri: "urn:service:counseling", country: "DE"},
		{dial: "999", country: "GB", want: true}, {dial: "911", want: true}, {dial: "112", want: true}, {dial: "110"},
		{dial: "112", country: "DE", pbx: true, want: true}, {dial: "112", country: "DE", trunk: true},
		{dial: "300", at: "emergency/112", country: "DE", want: true}, {dial: "112", at: "number/+49405551234", country: "DE"},
	} {
		s := outScenario{scenario: scenario{dial: c.dial, trunk: c.trunk, change: func(o *office) { o.Account.Country = c.country }}, pbx: c.pbx}
		req, caller, _ := s.first()
		req.At = c.at
		if c.uri != "" {
			req.RURI = c.uri
		}
		if got := Emergency(&caller, &req); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if Emergency(&Caller{}, &api.RouteRequest{RURIUser: "112"}) {
		t.Error("nobody's call is one for help")
	}
}

// Proves that a carrier is told nothing about numbers outside, whatever it asks with.
func TestAgain_ACarrierHasNoNumberOutside(t *testing.T) {
	acct, dir := newCompany().config()
	req, caller := fromTrunk(acct, "+4930100")
	for _, at := range []string{"number/+49405551234", "emergency/112", "number/", "number", "/", "forward/fwd_gone", "forward/", "x/y", "emergency/12345678901", "emergency/abc", strings.Repeat("a", 300)} {
		req.At = at
		d := Decide(dir, caller, req)
		if d.Action != api.ActionReject || d.SIPCode != 404 || !printable(d.Why) || len(d.Why) > 1000 {
			t.Errorf("%q: %s", at, Text(d))
		}
	}
}

// Proves what the caller is told at last, for each answer of the only trunk; never that a password is wanted, nor another address.
func TestFinalCode_OfTheOnlyTrunk(t *testing.T) {
	for code, want := range map[int]int{0: 503, 199: 503, 300: 480, 302: 480, 380: 480, 400: 400, 401: 503, 403: 403, 404: 404, 407: 503, 408: 503, 410: 410,
		480: 480, 484: 484, 486: 486, 487: 487, 488: 488, 500: 503, 502: 503, 503: 503, 504: 503, 600: 600, 603: 603, 604: 604, 606: 606, 700: 503} {
		req, caller, dir := outFrom("0033142685300", nil)
		req.At, req.Trunk, req.Tried, req.FailedCode = "number/+33142685300", "trk_whole", "trk_whole", code
		if d := Decide(dir, caller, req); d.Action != api.ActionReject || d.SIPCode != want {
			t.Errorf("%d: %s, want %d", code, Text(d), want)
		}
	}
}

// Proves what calls to outside take at first, by who makes them, and what they count for.
func TestNeeds_OfCallsToOutside(t *testing.T) {
	limits := func(o *office) {
		o.Account.MaxOut, o.Account.MaxIn, o.Account.MaxInternal = 10, 20, 40
		o.Limits = []brain.CallLimit{{ID: "lim_out", ScopeKind: brain.LimitAccount, Direction: brain.DirectionOut, MaxCount: 7, PeriodSec: 60},
			{ID: "lim_in", ScopeKind: brain.LimitAccount, Direction: brain.DirectionIn, MaxCount: 7, PeriodSec: 60},
			{ID: "lim_hh", ScopeKind: brain.LimitNumber, NumberPattern: "4940*", Direction: brain.DirectionOut, MaxCount: 7, PeriodSec: 60},
			{ID: "lim_inside", ScopeKind: brain.LimitAccount, Direction: brain.DirectionInternal, MaxCount: 7, PeriodSec: 60}}
	}
	for _, c := range []struct {
		name    string
		s       outScenario
		takes   string
		windows string
	}{
		{"phone", outScenario{scenario: scenario{dial: "0405551234"}}, "[user us_1001/0 out /10 trunk trk_alpha/2]", "lim_hh lim_out trk_alpha"},
		{"emergency", outScenario{scenario: scenario{dial: "112"}}, "[user us_1001/0 out /10 trunk trk_beta/0]", "lim_out"},
		{"pbx", outScenario{scenario: scenario{dial: "0405551234"}, pbx: true}, "[trunk trk_pbx/0 out /10 trunk trk_alpha/2]", "lim_hh lim_out trk_alpha"},
		{"pbx to an extension", outScenario{scenario: scenario{dial: "300"}, pbx: true}, "[internal /40 trunk trk_pbx/0 user us_1002/0]", "lim_inside"},
		{"forward of a number", outScenario{scenario: scenario{dial: "+4930100", trunk: true, change: func(o *office) { o.leads("forward fwd_work") }}},
			"[in /20 did did_main/0 trunk trk_carrier/30 out /10 trunk trk_alpha/2]", "lim_in lim_hh lim_out trk_alpha"},
		{"forward of a user", outScenario{scenario: scenario{dial: "1002", change: func(o *office) { always(o.user("1002"), "forward fwd_work") }}},
			"[user us_1001/0 out /10 trunk trk_alpha/2]", "lim_hh lim_out trk_alpha"},
		{"leg", outScenario{scenario: scenario{leg: "forward/fwd_work"}}, "[out /10 trunk trk_alpha/2]", "lim_hh lim_out trk_alpha"},
		{"call back", outScenario{scenario: scenario{leg: "number/+49405551234"}}, "[out /10 trunk trk_alpha/2]", "lim_hh lim_out trk_alpha"},
	} {
		change := c.s.change
		c.s.change = func(o *office) {
			limits(o)
			if change != nil {
				change(o)
			}
		}
		req, caller, dir := c.s.first()
		d := Decide(dir, caller, req)
		got, windows := Needs(&caller, Callee(caller, &req), &req, &d)
		if takes(got) != c.takes || names(windows) != c.windows {
			t.Errorf("%s: %s, %s; want %s, %s\n%s", c.name, takes(got), names(windows), c.takes, c.windows, Text(d))
		}
	}
}

func names(windows []cac.Window) string {
	list := make([]string, 0, len(windows))
	for _, w := range windows {
		list = append(list, w.ID)
	}
	return strings.Join(list, " ")
}

// Proves what each later directive of a call changes: phones give back their lines when the call leaves, a trunk its channel when
// another is tried, everything outside when the call comes back; an answered challenge changes nothing.
func TestChange_OfLaterDirectives(t *testing.T) {
	noAnswer := func(o *office) {
		o.Account.MaxOut, o.Account.MaxInternal, o.user("1005").MaxSimultaneous = 10, 40, 2
		noanswer(o.user("1002"), "forward fwd_cell")
	}
	req, caller, dir := outFrom("1002", noAnswer)
	first := Decide(dir, caller, req)
	Reached(&req, &first, 2, 408)
	for i, c := range []struct {
		code    int
		drop    string
		add     string
		windows string
		attempt int
	}{
		{503, "[user us_1002/0 internal /0]", "[out /10 trunk trk_alpha/2]", "trk_alpha", 2*32 + 1},
		{486, "[trunk trk_alpha/0]", "[trunk trk_beta/0]", "", 2*32 + 2},
		{0, "[trunk trk_beta/0 trunk trk_alpha/0 out /0]", "[user us_1005/2 internal /40]", "", 2*32 + 3},
	} {
		d := Decide(dir, caller, req)
		s, changes := Change(&caller, Callee(caller, &req), &req, &d)
		if !changes || takes(s.Drop) != c.drop || takes(s.Add) != c.add || names(s.Windows) != c.windows || s.Attempt != c.attempt || s.Token != first.Call.Token || s.Emergency {
			t.Errorf("question %d: %+v, %v\n%s", i, s, changes, Text(d))
		}
		if c.code != 0 {
			Failed(&req, &d, c.code)
		}
	}
	req, caller, dir = outFrom("0405551234", nil)
	first = Decide(dir, caller, req)
	Failed(&req, &first, 407)
	req.Challenge = "Proxy-Authenticate: Digest realm=x"
	d := Decide(dir, caller, req)
	if s, changes := Change(&caller, nil, &req, &d); changes {
		t.Errorf("an answered challenge changes %+v", s)
	}
}

// Proves that calls share trunks by weight, the same call always in the same order, and that what is down comes last.
func TestLines_ShareByWeight(t *testing.T) {
	req, caller, dir := outFrom("0405551234", func(o *office) {
		r := o.wayOut("germany")
		r.Strategy, r.Trunks = "weight", []brain.OutboundChoice{{TrunkID: "trk_alpha", Weight: 1}, {TrunkID: "trk_beta", Weight: 3}}
	})
	count := map[string]int{}
	for i := range 2000 {
		req.CallID = fmt.Sprint("call-", i)
		d := Decide(dir, caller, req)
		count[d.Call.Trunk]++
		if again := Decide(dir, caller, req); again.Call.Trunk != d.Call.Trunk {
			t.Fatal("the same call goes elsewhere")
		}
	}
	if n := count["trk_beta"]; n < 1400 || n > 1600 {
		t.Errorf("%v, want about 3 of 4 over Beta", count)
	}
}

// Proves that Walk shows every trunk in the order in which they are tried, and ends with what the caller is told.
func TestWalk_ShowsEveryTrunk(t *testing.T) {
	req, caller, dir := outFrom("112", nil)
	got := ""
	for _, d := range Walk(dir, caller, req, 503) {
		if d.Call == nil {
			got += fmt.Sprint(d.SIPCode)
			break
		}
		got += d.Call.Trunk + " "
	}
	if got != "trk_beta trk_whole trk_alpha 503" {
		t.Error(got)
	}
}

// Proves what counts for a call that nobody remembers admitting.
func TestAdopted_CallsToOutside(t *testing.T) {
	acct, _ := newCompany().config()
	for ends, want := range map[[3]string]string{
		{"1001", "49405551234", "trk_alpha"}:     "[out /0 user us_1001/0 trunk trk_alpha/2]",
		{"1001", "112", "trk_beta"}:              "[out /0 user us_1001/0 trunk trk_beta/0]",
		{"+4940555", "49405551234", "trk_alpha"}: "[out /0 trunk trk_alpha/2]",
		{"+4940555", "4930100", "trk_carrier"}:   "[in /0 did did_main/0 trunk trk_carrier/30]",
		{"1001", "49405551234", ""}:              "[out /0 user us_1001/0]",
		{"1001", "1002", "trk_gone"}:             "[internal /0 user us_1001/0 user us_1002/0]",
	} {
		if got := takes(Adopted(acct, ends[0], ends[1], ends[2])); got != want {
			t.Errorf("%v: %s, want %s", ends, got, want)
		}
	}
}
