package route

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// scenario is one golden file: what is different in the office, and who dials what.
type scenario struct {
	name   string
	about  string
	change func(o *office)
	device string // "" is 1001-desk
	dial   string
	domain string // "" is acme.example
	from   func(req *api.RouteRequest)

	office func() *office // nil is newOffice
	trunk  bool           // the call comes from the telephone network, over trunk Carrier
	leg    string         // the call is a leg of the media server, for KIND/ID
	at     string         // when, in Berlin; "" is Monday morning
	busy   string         // id of the user who has no free line
}

var scenarios = []scenario{
	// What is dialed.
	{name: "dial-user", about: "Alice dials Bob, who has one phone", dial: "1002"},
	{name: "dial-user-in-second-domain", about: "any domain of the account will do, in any case", dial: "1002", domain: "OLD.Acme.Example"},
	{name: "dial-extension-to-user", about: "extension 300 is Bob", dial: "300"},
	{name: "dial-extension-before-username", about: "extension 1002 hides the user of that number", dial: "1002",
		change: func(o *office) { e := o.extension("300"); e.Digits, e.DestID = "1002", "us_1005" }},
	{name: "dial-disabled-extension", about: "a disabled extension no longer hides the user of its number", dial: "1002",
		change: func(o *office) { e := o.extension("300"); e.Digits, e.Status = "1002", brain.StatusDisabled }},
	{name: "dial-hangup", about: "extension 900 leads to a hangup with 603", dial: "900"},
	{name: "dial-hangup-without-code", about: "a hangup target without a code is 480", dial: "900",
		change: func(o *office) { o.extension("900").DestID = "" }},
	{name: "dial-unknown-number", about: "nobody has 1999", dial: "1999"},
	{name: "dial-disabled-user", about: "Bob is disabled", dial: "1002", change: func(o *office) { o.user("1002").Status = brain.StatusDisabled }},
	{name: "dial-other-account", about: "user 2002 exists, but with another tenant", dial: "2002", domain: "other.example"},
	{name: "dial-foreign-domain", about: "a domain that nobody has", dial: "1002", domain: "elsewhere.example"},
	{name: "account-suspended", about: "the account is suspended", dial: "1002", change: func(o *office) { o.Account.Status = brain.StatusSuspended }},

	// Who calls.
	{name: "from-forced", about: "the phone claims to be Bob; everybody sees Alice", dial: "1003",
		from: func(r *api.RouteRequest) { r.FromUser, r.FromName = "1002", "Bob" }},
	{name: "from-forced-domain", about: "the phone claims another tenant's domain", dial: "1002",
		from: func(r *api.RouteRequest) { r.FromDomain = "other.example" }},
	{name: "from-display-escaped", about: "a display name full of traps is quoted, escaped and stripped", dial: "1002",
		from:   func(r *api.RouteRequest) { r.FromName = "Alice" },
		change: func(o *office) { o.user("1001").DisplayName = "A\"l\\ice\r\nX-Evil: 1\u202e\x7f\xff é" }},
	{name: "from-display-empty", about: "without a display name the username is shown", dial: "1002",
		change: func(o *office) { o.user("1001").DisplayName = "" }},
	{name: "from-quoted-same", about: "the phone quotes the right name: nothing is changed", dial: "1002",
		from: func(r *api.RouteRequest) { r.FromName = `"Alice"` }},

	// Ringing a user.
	{name: "ring-simultaneous", about: "Carol's desk and mobile ring together, her spare does not", dial: "1003"},
	{name: "ring-sequential", about: "Carol's phones ring one after the other, then Bob", dial: "1003",
		change: func(o *office) {
			o.user("1003").RingStrategy, o.user("1003").RingTimeoutSec = brain.RingSequential, 12
			noanswer(o.user("1003"), "user us_1002")
			busy(o.user("1003"), "user us_1005")
		}},
	{name: "ring-sequential-equal-order", about: "phones of equal order still ring one by one, by id", dial: "1003",
		change: func(o *office) {
			o.user("1003").RingStrategy = brain.RingSequential
			o.device("1003-desk").RingOrder, o.device("1003-mobile").RingOrder = 5, 5
		}},
	{name: "ring-specific", about: "only the first of Carol's phones rings", dial: "1003",
		change: func(o *office) { o.user("1003").RingStrategy = brain.RingSpecific }},
	{name: "ring-only-device", about: "a spare rings when it is the only active phone", dial: "1003",
		change: func(o *office) {
			o.device("1003-desk").Status, o.device("1003-mobile").Status = brain.StatusDisabled, brain.StatusDisabled
		}},
	{name: "ring-no-device", about: "Dave has no phone", dial: "1004"},
	{name: "ring-no-device-forwarded", about: "Dave has no phone, his fwd_noanswer is taken at once", dial: "1004",
		change: func(o *office) { noanswer(o.user("1004"), "user us_1002") }},
	{name: "call-own-number", about: "Alice's desk calls her own number: her mobile rings", dial: "1001"},
	{name: "call-own-number-only-device", about: "Bob calls himself from his only phone", dial: "1002", device: "1002-desk"},

	// Forwards.
	{name: "dnd", about: "Bob has do-not-disturb", dial: "1002", change: func(o *office) { o.user("1002").DND = true }},
	{name: "dnd-forwarded", about: "Bob has do-not-disturb and forwards busy calls to Carol", dial: "1002",
		change: func(o *office) { o.user("1002").DND = true; busy(o.user("1002"), "user us_1003") }},
	{name: "forward-always", about: "Bob forwards everything to Eve; his do-not-disturb plays no part", dial: "1002",
		change: func(o *office) { o.user("1002").DND = true; always(o.user("1002"), "user us_1005") }},
	{name: "forward-always-extension", about: "Bob forwards everything to extension 200", dial: "1002",
		change: func(o *office) { always(o.user("1002"), "extension ext_200") }},
	{name: "forward-busy-and-noanswer", about: "Bob: busy goes to Carol, no answer to Eve", dial: "1002",
		change: func(o *office) { busy(o.user("1002"), "user us_1003"); noanswer(o.user("1002"), "user us_1005") }},
	{name: "forward-both-shared", about: "busy and no answer lead to the same target and share its step", dial: "1002",
		change: func(o *office) { busy(o.user("1002"), "user us_1003"); noanswer(o.user("1002"), "user us_1003") }},
	{name: "forward-noanswer-hangup", about: "no answer ends with a code of its own", dial: "1002",
		change: func(o *office) { noanswer(o.user("1002"), "hangup 603") }},
	{name: "forward-noanswer-dead-end", about: "no answer leads to Dave, who has no phone", dial: "1002",
		change: func(o *office) { noanswer(o.user("1002"), "user us_1004") }},

	// Ring groups.
	{name: "group-simultaneous", about: "Sales: all phones of Bob and Carol ring together for the group's 20 s", dial: "200"},
	{name: "group-sequential", about: "Sales one by one: Carol first by order, then Bob, then overflow to Eve", dial: "200",
		change: func(o *office) { o.sales().Strategy = brain.RingSequential; overflow(o.sales(), "user us_1005") }},
	{name: "group-member-dnd", about: "Bob has do-not-disturb: the group rings without him", dial: "200",
		change: func(o *office) { o.user("1002").DND = true }},
	{name: "group-member-forward-ignored", about: "Bob's forwards do not take the group's call away", dial: "200",
		change: func(o *office) { always(o.user("1002"), "user us_1005"); busy(o.user("1002"), "user us_1005") }},
	{name: "group-empty", about: "nobody of Sales can be rung", dial: "200",
		change: func(o *office) { o.user("1002").DND, o.user("1003").Status = true, brain.StatusDisabled }},
	{name: "group-empty-overflow", about: "nobody of Sales can be rung: overflow at once", dial: "200",
		change: func(o *office) { o.sales().Members = nil; overflow(o.sales(), "user us_1005") }},
	{name: "group-member-calls", about: "Bob calls the group he is in: his phone is not rung", dial: "200", device: "1002-desk"},

	// Chains.
	{name: "loop-first", about: "Bob and Carol forward everything to each other", dial: "1002",
		change: func(o *office) { always(o.user("1002"), "user us_1003"); always(o.user("1003"), "user us_1002") }},
	{name: "loop-self", about: "Bob forwards everything to himself", dial: "1002",
		change: func(o *office) { always(o.user("1002"), "user us_1002") }},
	{name: "loop-through-extension", about: "Bob forwards to the extension that leads to him", dial: "300",
		change: func(o *office) { always(o.user("1002"), "extension ext_300") }},
	{name: "loop-later", about: "Bob's no answer goes to Eve, hers back to Bob: it ends there", dial: "1002",
		change: func(o *office) { noanswer(o.user("1002"), "user us_1005"); noanswer(o.user("1005"), "user us_1002") }},
	{name: "chain-too-long", about: "nine users, each forwarding to the next", dial: "7001", change: chainOf(9)},
	{name: "chain-just-short-enough", about: "eight users, each forwarding to the next, the last one rings", dial: "7001", change: chainOf(8)},
	{name: "cut-steps", about: "a sequential group of 20 rings 16", dial: "200", change: crowd(brain.RingSequential, 20)},
	{name: "cut-routes", about: "a group of 50 with two phones each rings 64 of them", dial: "200", change: crowd(brain.RingSimultaneous, 50)},
}

// chainOf gives the office n users 7001, 7002 …, each forwarding to the next, all with a phone.
func chainOf(n int) func(o *office) {
	return func(o *office) {
		addUsers(o, 7001, n)
		for i := range n - 1 {
			always(o.user(fmt.Sprint(7001+i)), fmt.Sprint("user us_", 7002+i))
		}
	}
}

// crowd fills Sales with n users of two phones each and lets it overflow to Eve.
func crowd(strategy brain.RingStrategy, n int) func(o *office) {
	return func(o *office) {
		addUsers(o, 7001, n)
		g := o.sales()
		g.Strategy, g.Members = strategy, nil
		overflow(g, "user us_1005")
		for i := range n {
			g.Members = append(g.Members, brain.RingGroupMember{UserID: fmt.Sprint("us_", 7001+i)})
		}
	}
}

// addUsers adds n users from number first, each with two phones.
func addUsers(o *office, first, n int) {
	for i := range n {
		number := fmt.Sprint(first + i)
		o.Users = append(o.Users, brain.SIPUser{ID: "us_" + number, Username: number, RingTimeoutSec: 25,
			RingStrategy: brain.RingSimultaneous, Status: brain.StatusActive})
		for j, phone := range []string{"-a", "-b"} {
			o.Devices = append(o.Devices, brain.SIPDevice{ID: "dev_" + number + phone, UserID: "us_" + number, AuthUsername: number + phone,
				Realm: "acme.example", RingOrder: j, RingOnFork: true, Status: brain.StatusActive})
		}
	}
}

// decide plays a scenario.
func (s *scenario) decide() (api.RouteRequest, Caller, api.Directive) {
	o := newOffice()
	if s.office != nil {
		o = s.office()
	}
	if s.change != nil {
		s.change(o)
	}
	acct, dir := o.config()
	device, domain := s.device, s.domain
	if device == "" {
		device = "1001-desk"
	}
	if domain == "" {
		domain = "acme.example"
	}
	req, caller := invite(s.dial, domain), callerOf(acct, device)
	switch {
	case s.trunk:
		req, caller = fromTrunk(acct, s.dial)
	case s.leg != "":
		req, caller = fromMedia(acct, s.leg)
	default:
		req.FromUser, req.FromName = caller.User.Username, caller.User.DisplayName
	}
	caller.NowMS, caller.Busy = berlin(s.at), s.busy
	if s.from != nil {
		s.from(&req)
	}
	return req, caller, Decide(dir, caller, req)
}

// question is the first lines of a golden file.
func (s *scenario) question(req *api.RouteRequest, caller *Caller) string {
	who := ""
	switch {
	case s.trunk:
		who = "trunk " + caller.Trunk.Name
		if req.Asserted != "" {
			who += ", asserted " + req.Asserted
		}
	case s.leg != "":
		who = "leg for " + safe(req.Dial)
	default:
		who = "device " + caller.Device.AuthUsername
	}
	if s.at != "" {
		who += ", at " + s.at
	}
	return fmt.Sprintf("# %s\nINVITE sip:%s@%s\nfrom %q <sip:%s@%s>, %s\n", s.about, req.RURIUser, req.RURIDomain,
		strings.Trim(req.FromName, `"`), safe(req.FromUser), req.FromDomain, who)
}

// everyScenario is all of them.
func everyScenario() []scenario { return slices.Concat(scenarios, answerScenarios) }

// Proves each rule of routing against a file that a telephony person can read: who calls what, a line of
// dashes, the directive. `go test ./brain/route -update` rewrites the files; the diff is then the review.
func TestDecide_GoldenScenarios(t *testing.T) {
	for _, s := range everyScenario() {
		t.Run(s.name, func(t *testing.T) {
			req, caller, d := s.decide()
			checkDirective(t, caller.Account, d)
			got := s.question(&req, &caller) + "--------\n" + Text(d)
			file := filepath.Join("testdata", s.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Proves that the golden files are those of the scenarios: none is left over from a scenario that is gone.
func TestDecide_EveryGoldenFileHasItsScenario(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	answered, err2 := filepath.Glob("testdata/answer/*.txt")
	if err := cmp.Or(err, err2); err != nil {
		t.Fatal(err)
	}
	files = append(files, answered...)
	known := map[string]bool{}
	for _, s := range everyScenario() {
		known[filepath.Join("testdata", s.name+".txt")] = true
	}
	for _, f := range files {
		if !known[f] {
			t.Errorf("%s belongs to no scenario", f)
		}
	}
}

// checkDirective holds a directive to what every one promises: a known action, bounded and rising steps,
// exits to higher steps that exist, one code for a step that answers, one application of the account without
// exits for a step that the platform answers, and no URI but of a device of the account that is not disabled.
func checkDirective(t testing.TB, acct *brain.AccountConfig, d api.Directive) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf(format+"\n%s", append(args, Text(d))...)
	}
	if d.Version != api.Version || d.Why == "" || len(d.Why) > 4*maxWhy {
		fail("version %q, why of %d bytes", d.Version, len(d.Why))
	}
	if d.Action == api.ActionReject {
		if d.SIPCode < 400 || d.SIPCode > 699 || d.Reason == "" || d.Routes != nil || d.Call != nil {
			fail("a reject with code %d, reason %q, %d routes", d.SIPCode, d.Reason, len(d.Routes))
		}
		return
	}
	if d.Action != api.ActionProxy || len(d.Routes) == 0 || len(d.Routes) > MaxRoutes || d.SIPCode != 0 || d.Media == nil || d.Call == nil {
		fail("action %q with %d routes, code %d", d.Action, len(d.Routes), d.SIPCode)
	}
	aors := map[string]bool{}
	for _, dev := range acct.Devices {
		aors[dev.AOR()] = dev.Status == brain.StatusActive
	}
	steps := 0
	rings := map[string]bool{}
	for i, r := range d.Routes {
		newStep := r.Step == steps+1
		if newStep {
			steps++
			clear(rings)
		}
		if r.Step != steps || i == 0 && r.URI == "" && r.App == "" {
			fail("route %d has step %d after %d", i, r.Step, steps)
		}
		if r.App != "" {
			if why := badApp(acct, &r); why != "" || !newStep || i+1 < len(d.Routes) && d.Routes[i+1].Step == r.Step {
				fail("route %d: %s", i, cmp.Or(why, "the platform does not answer alone"))
			}
			continue
		}
		if r.Ask != "" {
			kind, id, _ := strings.Cut(r.Ask, "/")
			if kind != string(brain.DestForward) || acct.Forwards[id] == nil || !newStep || i == 0 || r.Busy != 0 || r.Noanswer != 0 || r.URI != "" || r.SIPCode != 0 || r.Headers != nil {
				fail("route %d asks and does more", i)
			}
			continue
		}
		if r.SIPCode != 0 {
			if !newStep || r.URI != "" || r.Vars != "" || r.Busy != 0 || r.Noanswer != 0 || r.SIPCode < 400 || r.SIPCode > 699 {
				fail("route %d answers and does more", i)
			}
			continue
		}
		if !aors[r.URI] || rings[r.URI] || r.FrInvTimer <= 0 {
			fail("route %d rings %q for %d ms", i, r.URI, r.FrInvTimer)
		}
		rings[r.URI] = true
		if r.Headers != nil && r.Headers.Extra != "" || !reflect.DeepEqual(r.Headers, d.Routes[0].Headers) {
			fail("route %d has headers of its own", i)
		}
	}
	for i, r := range d.Routes {
		for _, to := range []int{r.Busy, r.Noanswer} {
			if to != 0 && (to <= r.Step || to > steps) {
				fail("route %d of step %d leads to step %d of %d", i, r.Step, to, steps)
			}
		}
		if i > 0 && d.Routes[i-1].Step == r.Step && (d.Routes[i-1].Busy != r.Busy || d.Routes[i-1].Noanswer != r.Noanswer) {
			fail("route %d leaves its step otherwise than the one before", i)
		}
	}
	if steps > MaxSteps || (d.Routing == "parallel") != (steps == 1) {
		fail("%d steps, routing %q", steps, d.Routing)
	}
	if h := d.Routes[0].Headers; h != nil && (!printable(h.From.Display) || len(h.From.Display) < 2) {
		fail("unsafe display %q", h.From.Display)
	}
}

// Proves that another tenant's number, a number nobody has, a foreign domain and a disabled user get the
// very same answer, so that nobody learns what exists: the directives differ in Why alone.
func TestDecide_UnreachableNumbersAreIndistinguishable(t *testing.T) {
	o := newOffice()
	o.user("1005").Status = brain.StatusDisabled
	acct, dir := o.config()
	var first api.Directive
	for i, dial := range [][2]string{{"1999", "acme.example"}, {"2002", "other.example"}, {"2999", "other.example"},
		{"1002", "elsewhere.example"}, {"1005", "acme.example"}} {
		d := Decide(dir, callerOf(acct, "1001-desk"), invite(dial[0], dial[1]))
		if d.Why == "" {
			t.Errorf("%s@%s: no reason for operators", dial[0], dial[1])
		}
		d.Why = ""
		if i == 0 {
			first = d
		}
		if !reflect.DeepEqual(d, first) || d.SIPCode != 404 {
			t.Errorf("%s@%s: %+v, want %+v", dial[0], dial[1], d, first)
		}
	}
}

// Proves that dialed strings no phone should send are refused with a reason that is safe to print.
func TestDecide_RefusesMalformedDialedStrings(t *testing.T) {
	acct, dir := newOffice().config()
	for _, dial := range []string{"", "10\r\n02", "1002\x00", "\xff\xfe", strings.Repeat("1", maxDialed+1), strings.Repeat("1", 1<<20)} {
		d := Decide(dir, callerOf(acct, "1001-desk"), invite(dial, "acme.example"))
		checkDirective(t, acct, d)
		if d.Action != api.ActionReject || d.SIPCode != 404 || !printable(d.Why) || len(d.Why) > 1000 {
			t.Errorf("%.20q: %s", dial, Text(d))
		}
	}
	for _, domain := range []string{strings.Repeat("a", 1<<20), "acme.example\r\n", "\xff"} {
		d := Decide(dir, callerOf(acct, "1001-desk"), invite("1002", domain))
		if d.Action != api.ActionReject || d.SIPCode != 404 || !printable(d.Why) || len(d.Why) > 1000 {
			t.Errorf("domain %.20q: %s", domain, Text(d))
		}
	}
}

// Proves that a caller without identity is refused and nothing panics, whatever is missing.
func TestDecide_RefusesACallerWithoutIdentity(t *testing.T) {
	acct, dir := newOffice().config()
	full := callerOf(acct, "1001-desk")
	for _, c := range []Caller{{}, {Account: acct}, {Account: acct, User: full.User}, {User: full.User, Device: full.Device}} {
		if d := Decide(dir, c, invite("1002", "acme.example")); d.Action != api.ActionReject || d.SIPCode != 403 {
			t.Errorf("%+v: %s", c, Text(d))
		}
	}
}

// Proves idempotence: the same question gives the same directive to the last field, though maps are walked
// in another order each time, and a retry under another branch, CSeq, call, node, transaction or time has another token.
func TestDecide_SameQuestionSameDirective(t *testing.T) {
	for _, s := range everyScenario() {
		_, _, first := s.decide()
		for range 5 {
			if _, _, again := s.decide(); !reflect.DeepEqual(first, again) {
				t.Fatalf("%s: %s\nthen %s", s.name, Text(first), Text(again))
			}
		}
	}
	seen := map[string]bool{}
	for _, r := range []api.RouteRequest{
		{Origin: api.Origin{CallID: "a", CSeq: "1", Branch: "b", Node: "n"}},
		{Origin: api.Origin{CallID: "a1", Branch: "b", Node: "n"}},
		{Origin: api.Origin{CallID: "a", CSeq: "2", Branch: "b", Node: "n"}},
		{Origin: api.Origin{CallID: "a", CSeq: "1", Branch: "c", Node: "n"}},
		{Origin: api.Origin{CallID: "a", CSeq: "1", Branch: "b", Node: "m"}},
		{Origin: api.Origin{CallID: "a", CSeq: "1", Branch: "bn"}},
		{Origin: api.Origin{CallID: "a", CSeq: "1", Branch: "b", Node: "n"}, Transaction: "7.1"},
		{Origin: api.Origin{CallID: "a", CSeq: "1", Branch: "b", Node: "n"}, Transaction: "7.2"},
		{Origin: api.Origin{CallID: "a", CSeq: "1", Branch: "b", Node: "n", TimeMS: 1}, Transaction: "7.1"},
	} {
		tok := r.Token()
		if seen[tok] || tok != r.Token() {
			t.Errorf("%+v shares its token with another question", r)
		}
		seen[tok] = true
		if len(tok) != 20 || strings.Trim(tok, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("token %q", tok)
		}
	}
}

// Proves that a display name of any length or script is cut to 64 characters, whole ones, and stays a
// valid quoted-string.
func TestSanitize_KeepsNamesShortAndWhole(t *testing.T) {
	for in, want := range map[string]string{
		"Alice":                      "Alice",
		"  Alice  ":                  "Alice",
		"Zoë\tMüller":                "ZoëMüller",
		strings.Repeat("é", 100):     strings.Repeat("é", maxDisplay),
		strings.Repeat("x", 65):      strings.Repeat("x", maxDisplay),
		"\u202eevil\u2066 \u2028end": "evil end",
		"\xff\xfe":                   "",
	} {
		if got := sanitize(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := quote(`a"b\c`); got != `"a\"b\\c"` {
		t.Errorf("quoted: %s", got)
	}
}

func BenchmarkDecide(b *testing.B) {
	o := newOffice()
	addUsers(o, 7001, 100)
	noanswer(o.user("1002"), "user us_1003")
	acct, dir := o.config()
	caller := callerOf(acct, "1001-desk")
	for _, dial := range []string{"7050", "1002", "200", "1999"} {
		req := invite(dial, "acme.example")
		b.Run(dial, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(dir, caller, req)
			}
		})
	}
}
