package presence

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// report makes a report of n1 taken at a second of the clock; Kamailio began at second 1.
func report(seq, takenSec int64, tokens ...string) Report {
	r := Report{Node: "n1", Boot: "b1", Seq: seq, BootMS: 1000, TakenMS: takenSec * 1000}
	for _, token := range tokens {
		r.Dialogs = append(r.Dialogs, Dialog{Token: token, CallID: "c" + token, SinceMS: 50_000, Takes: []cac.Take{{Kind: cac.User, ID: "u9"}}})
	}
	return r
}

// Proves the two-report rule: each row is the reports of a node with one call, t1, that asked at second 50, and the
// places that are left. Late, repeated, out-of-order, older and too early reports free nothing.
func TestObserve_TwoReportRule(t *testing.T) {
	older, elsewhere, rebooted := report(3, 80), report(3, 80), report(3, 80)
	older.Boot, older.BootMS = "b0", 500
	elsewhere.Node = "n2"
	rebooted.Boot, rebooted.BootMS = "b2", 70_000
	again := report(4, 90)
	again.Boot, again.BootMS = "b2", 70_000
	set := report(2, 30)
	rows := []struct {
		name    string
		reports []Report
		want    string
	}{
		{"listed", []Report{report(1, 70, "t1"), report(2, 80, "t1")}, "t1 "},
		{"absent once", []Report{report(1, 70)}, "t1 "},
		{"absent twice", []Report{report(1, 70), report(2, 80)}, ""},
		{"absent, listed, absent", []Report{report(1, 70), report(2, 80, "t1"), report(3, 90)}, "t1 "},
		{"the same report again", []Report{report(1, 70), report(1, 70), report(1, 80)}, "t1 "},
		{"out of order", []Report{report(2, 80), report(1, 70)}, "t1 "},
		{"listed, then an older absence twice", []Report{report(5, 90, "t1"), report(1, 70), report(2, 80)}, "t1 "},
		{"too close to each other", []Report{report(1, 70), {Node: "n1", Boot: "b1", Seq: 2, BootMS: 1000, TakenMS: 70_999}}, "t1 "},
		{"too close, then far enough", []Report{report(1, 70), {Node: "n1", Boot: "b1", Seq: 2, BootMS: 1000, TakenMS: 70_999}, report(3, 71)}, ""},
		{"asked just before", []Report{report(1, 59), report(2, 60)}, "t1 "},
		{"from an older boot", []Report{report(1, 70), report(2, 80, "t1"), older, older}, "t1 "},
		{"second one from an older boot", []Report{report(1, 70), older}, "t1 "},
		{"of another node", []Report{report(1, 70), elsewhere}, "t1 "},
		{"Kamailio lost its dialogs", []Report{report(1, 70, "t1"), rebooted, again}, "t1 "},
		{"absent before and after a restart", []Report{report(2, 69), rebooted}, "t1 "},
		{"clock set back between", []Report{report(1, 70), set, report(3, 80)}, "t1 "},
		{"unknown call", []Report{report(1, 70, "t1", "t2")}, "t1 t2 "},
		{"unknown call twice in a list", []Report{report(1, 70, "t1", "t2", "t2")}, "t1 t2 "},
		{"unknown call that is too young", []Report{report(1, 60, "t1", "t2")}, "t1 "},
	}
	for _, row := range rows {
		m := New("acc_1")
		ask(t, m, admission("t1", "ct1", "n1"))
		for _, r := range row.reports {
			before := m.AppendSnapshot(nil)
			op := m.Observe(nowMS, &r)
			if string(before) != string(m.AppendSnapshot(nil)) {
				t.Errorf("%s: a report changed the machine without an op", row.name)
			}
			if op != nil {
				do(t, m, nowMS, op)
			}
			check(t, m)
		}
		if got := slots(m); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// Proves that a call that ended is not adopted by a report from before its end, one whose lease alone ran out is,
// and that an adopted call takes what its dialog says.
func TestObserve_AdoptsWhatIsUp(t *testing.T) {
	m := New("acc_1")
	for _, token := range []string{"ended", "lapsed"} {
		ask(t, m, admission(token, "c"+token, "n1"))
	}
	do(t, m, nowMS+1000, AppendEvents(nil, "n1", []Event{{Event: event(60, api.EventDialogEnd, "ended", "cended")}}))
	lease := nowMS + cac.Lease.Milliseconds()
	do(t, m, lease, m.Due(lease))
	if got := slots(m); got != "" {
		t.Fatalf("before the report: %s", got)
	}
	r := report(1, 400, "ended", "lapsed", "unknown")
	do(t, m, lease, m.Observe(lease, &r))
	if got := slots(m); got != "lapsed unknown " {
		t.Fatalf("adopted %s", got)
	}
	if u := m.ledger.Usage(); len(u) != 1 || u[0].Kind != cac.User || u[0].ID != "u9" || u[0].Used != 2 {
		t.Fatalf("%+v", u)
	}
	check(t, m)
}

// Proves that a listed call's lease is renewed, that Resume gives every call a whole lease and forgets absences, and that
// after a long silence a report is heard whatever its sequence.
func TestObserve_RenewsLeases(t *testing.T) {
	m := New("acc_1")
	ask(t, m, admission("t1", "ct1", "n1"))
	ask(t, m, admission("t2", "ct2", "n1"))
	lease := cac.Lease.Milliseconds()
	r := report(5, 100, "t1")
	m.Observe(nowMS+1000, &r)
	do(t, m, nowMS+lease, m.Due(nowMS+lease))
	if got := slots(m); got != "t1 " {
		t.Fatalf("left: %s", got)
	}
	r = report(6, 200)
	m.Observe(nowMS+2000, &r)
	m.Resume(nowMS + 10_000)
	if at, _ := m.ledger.LeaseDue(); at != nowMS+10_000+lease {
		t.Fatalf("lease until %d", at)
	}
	r = report(1, 300)
	if op := m.Observe(nowMS+11_000, &r); op != nil {
		t.Fatal("the first report after Resume freed a call")
	}
	r = report(0, 310)
	if op := m.Observe(nowMS+12_000, &r); op != nil {
		t.Fatal("a late report was taken")
	}
	if op := m.Observe(nowMS+11_001+lease/2, &r); op == nil {
		t.Fatal("a node whose sequence fell back is never heard again")
	}
}

// Proves that a report of very many unknown calls is adopted piece by piece, no op being larger than MaxOp.
func TestObserve_BoundsItsOp(t *testing.T) {
	m, from, ops := New("acc_1"), strings.Repeat("1", 200), 0
	r := report(0, 100)
	for i := range 36_000 {
		r.Dialogs = append(r.Dialogs, Dialog{Token: fmt.Sprintf("b2jk7zqy4xnd5tv%06d", i), CallID: fmt.Sprintf("%030d@192.0.2.1", i), From: from, To: "1002", SinceMS: 5})
	}
	for n := range int64(40) {
		r.Seq, r.TakenMS = n, r.TakenMS+10_000
		op := m.Observe(nowMS+n, &r)
		if len(op) > MaxOp {
			t.Fatalf("an op of %d bytes", len(op))
		}
		if op == nil {
			break
		}
		do(t, m, nowMS+n, op)
		ops++
	}
	if c := m.Counts(); c.Slots != 36_000 || ops < 2 {
		t.Fatalf("%+v in %d ops", c, ops)
	}
}

// Proves the three signals and the buckets of a user along a day, what the deltas tell of it, and what GET /presence shows.
func TestMachine_ShowsItsUsers(t *testing.T) {
	m := New("acc_1")
	m.Watch(true)
	buckets := func() string {
		var out []string
		for _, d := range m.Deltas() {
			if d.Type == api.DeltaAgent && d.UserID == "u1" {
				out = append(out, d.Bucket+"/"+d.State)
			}
		}
		return strings.Join(out, " ")
	}
	now := nowMS
	do(t, m, now, AppendACD(nil, acd.AppendSetup(nil, helpDesk)))
	set := func(action string) {
		now++
		act(t, m, now, "u1", action)
	}
	set(acd.ActionLogin)
	contact := Event{Event: saved(10, "a", 60), UserID: "u1", DeviceID: "d1"}
	do(t, m, now, AppendEvents(nil, "n1", []Event{contact}))
	set(acd.ActionBreak)
	set(acd.ActionAvailable)
	ask(t, m, admission("t1", "c1", "n1"))
	tell(t, m, "n1", event(51, api.EventDialogStart, "t1", "c1"))
	tell(t, m, "n1", event(52, api.EventDialogEnd, "t1", "c1"))
	set(acd.ActionLogout)
	if got := buckets(); got != "unreachable/waiting ready/waiting paused/waiting ready/waiting extcall/waiting ready/waiting offline/waiting" {
		t.Fatalf("%s", got)
	}
	out, err := m.Query(now, []byte(`{"what":"presence"}`))
	var p api.PresenceState
	if err != nil || json.Unmarshal(out, &p) != nil || len(p.Devices) != 1 || p.Devices[0] != (api.DevicePresence{AOR: aor, DeviceID: "d1", UserID: "u1", Contacts: 1, Node: "n1"}) ||
		len(p.Users) != len(helpDesk.Agents) || p.Users[1] != (api.UserPresence{UserID: "u1", Reachable: true, Status: acd.StatusOffline, State: "waiting", Bucket: "offline"}) {
		t.Fatalf("%s %v", out, err)
	}
	m.Watch(false)
	set(acd.ActionLogin)
	if len(m.Deltas()) != 0 {
		t.Fatal("deltas while nobody looks")
	}
}

// Proves the answers of Query to each question, and that another question is refused.
func TestQuery(t *testing.T) {
	m := New("acc_1")
	ask(t, m, admission("t1", "c1", "n1"))
	tell(t, m, "n1", event(51, api.EventDialogStart, "t1", "c1"))
	for question, want := range map[string]string{
		`{"what":"calls"}`:  `[{"call_id":"c1","account_id":"acc_1","node":"n1","from":"1001","to":"1002","started_ms":51000,"token":"t1"}]`,
		`{"what":"counts"}`: `{"contacts":0,"calls":1,"slots":1,"users":2,"dropped":0}`,
		`{"what":"cac"}`: `{"account_id":"acc_1","usage":[{"dimension":"internal","used":1,"limit":10},{"dimension":"user","id":"u1","used":1,"limit":3},` +
			`{"dimension":"node","id":"n1","used":1}],"slots":[{"token":"t1","call_id":"c1","node":"n1","admitted_ms":60000,"answered_ms":51000,"lease_ms":360000,` +
			`"takes":[{"dimension":"internal","limit":10},{"dimension":"user","id":"u1","limit":3},{"dimension":"node","id":"n1"}]}]}`,
	} {
		if got, err := m.Query(nowMS, []byte(question)); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", question, err, got, want)
		}
	}
	for _, question := range []string{``, `{`, `{"what":"weather"}`} {
		if _, err := m.Query(nowMS, []byte(question)); err == nil {
			t.Errorf("%q was answered", question)
		}
	}
}
