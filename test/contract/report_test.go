package contract

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// fleet is how many dialogs the report of the test has: a large node on a busy day.
const fleet = 36_000

// reporter posts dialog reports of one node to a real brain, and counts slots.
type reporter struct {
	asker
	account string
	calls   []api.Dialog
	boot    int64 // of Kamailio, epoch milliseconds
	now     int64 // the node's clock, epoch milliseconds
	seq     int64
}

func newReporter(t *testing.T, e *edge.Edge) *reporter {
	t.Helper()
	ctx := within(t, 20*time.Second)
	if err := e.Apply(ctx, two); err != nil {
		t.Fatal(err)
	}
	id, err := e.AccountID(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	r := &reporter{asker: newAsker(t, e.BrainURL, e.AdminKey), account: id, boot: now - 3_600_000, now: now, seq: now}
	for i := range fleet {
		r.calls = append(r.calls, api.Dialog{AccountID: id, Token: fmt.Sprintf("tok%017d", i), CallID: fmt.Sprintf("%d-call@192.0.2.10", i),
			From: "1001", To: "1002", SinceMS: now - 600_000})
	}
	return r
}

// body is the next report: five seconds later, with these dialogs.
func (r *reporter) body(dialogs []api.Dialog) []byte {
	r.seq++
	r.now += 5000
	return r.encode(api.DialogReport{Node: "edge-9", Boot: "b1", BootMS: r.boot, Seq: r.seq, TakenMS: r.now, Count: len(dialogs), Dialogs: dialogs})
}

func (r *reporter) encode(report api.DialogReport) []byte {
	raw, err := json.Marshal(report)
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

func (r *reporter) post(body []byte, status int) {
	r.t.Helper()
	if a := r.ask("POST", api.PathDialogs, typeJSON, string(body)); a.status != status {
		r.t.Fatalf("%d %.300s, want %d", a.status, a.body, status)
	}
}

// slots counts the account's calls, after every report posted so far has been looked at. A journal that is behind
// makes the brain say 503: try again.
func (r *reporter) slots() int {
	r.t.Helper()
	a := answer{status: 503}
	for deadline := time.Now().Add(time.Minute); a.status == 503 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		a = r.ask("GET", api.PathCAC+"?account_id="+r.account, "", "")
	}
	var state api.CACState
	if err := json.Unmarshal(a.body, &state); err != nil || a.status != 200 {
		r.t.Fatalf("%d %.300s %v", a.status, a.body, err)
	}
	return len(state.Slots)
}

// until waits for a number of slots. Each look is megabytes of JSON, so it looks seldom.
func (r *reporter) until(want int) {
	r.t.Helper()
	got := 0
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if got = r.slots(); got == want {
			return
		}
	}
	r.t.Fatalf("%d slots, want %d", got, want)
}

// A report of 36,000 dialogs that arrives cut in half, miscounted, late, twice, out of order or from an earlier life of
// Kamailio frees no slot, however often it comes; nor does one complete report that lists half. A second complete one,
// later, does: those calls are positively absent. What is up is never touched.
func TestReport_OnlyTwoCompleteReportsFreeASlot(t *testing.T) {
	e := start(t, edge.Options{})
	r := newReporter(t, e)
	half := r.calls[:fleet/2]
	r.post(r.body(r.calls), 200)
	r.until(fleet)
	same := func(what string) {
		t.Helper()
		if n := r.slots(); n != fleet {
			t.Fatalf("%s: %d slots of %d are left", what, n, fleet)
		}
	}

	whole := r.body(r.calls)
	for range 3 {
		r.post(whole[:len(whole)/2], 400)
		r.post(whole[:len(whole)-2], 400)
	}
	same("cut")
	wrong := api.DialogReport{Node: "edge-9", Boot: "b1", BootMS: r.boot, Seq: r.seq + 1, TakenMS: r.now + 5000, Count: fleet, Dialogs: half}
	for range 3 {
		r.post(r.encode(wrong), 400)
	}
	same("half of what it counts")
	r.post(whole, 200)

	once := r.body(half)
	for range 3 {
		r.post(once, 200) // the same report again and again is one report
	}
	same("the same half report three times")
	r.post(r.body(r.calls), 200)
	stale := api.DialogReport{Node: "edge-9", Boot: "b1", BootMS: r.boot, Seq: r.seq - 2, TakenMS: r.now + 60_000, Count: 0, Dialogs: []api.Dialog{}}
	for range 3 {
		r.post(r.encode(stale), 200)
		stale.Seq--
	}
	same("empty reports out of order")
	early := api.DialogReport{Node: "edge-9", Boot: "b0", BootMS: r.boot - 3_600_000, Seq: r.seq + 10, TakenMS: r.now, Count: 0, Dialogs: []api.Dialog{}}
	for range 3 {
		r.post(r.encode(early), 200)
		early.Seq++
		early.TakenMS += 5000
	}
	same("empty reports of an earlier life of Kamailio")
	late := api.DialogReport{Node: "edge-9", Boot: "b1", BootMS: r.boot, Seq: r.seq + 20, TakenMS: r.calls[0].SinceMS + 1000, Count: 0, Dialogs: []api.Dialog{}}
	for range 3 {
		r.post(r.encode(late), 200)
		late.Seq++
		late.TakenMS += 1000
	}
	same("empty reports from just after the calls began, delivered late")
	r.seq += 50

	r.post(r.body(half), 200)
	same("one complete half report")
	r.post(r.body(half), 200)
	r.until(len(half))
	r.post(r.body(half), 200)
	if n := r.slots(); n != len(half) {
		t.Errorf("%d slots, want the %d that are up", n, len(half))
	}
	noFaults(t, e)
}

// Kamailio's restart empties its list. The calls from before are not positively absent: nothing is freed by any number
// of empty reports of its new life. Killed and started again, the brain has every one of them from its journal.
func TestReport_AnEmptyListAfterARestartFreesNothing(t *testing.T) {
	e := start(t, edge.Options{})
	r := newReporter(t, e)
	r.post(r.body(r.calls[:500]), 200)
	ctx := within(t, 2*time.Minute)
	count := func(want int) error {
		if n := r.slots(); n != want {
			return fmt.Errorf("%d slots, want %d", n, want)
		}
		return nil
	}
	r.until(500)
	r.boot = r.now // Kamailio begins anew
	for range 5 {
		r.post(r.body([]api.Dialog{}), 200)
	}
	if err := count(500); err != nil {
		t.Fatal(err)
	}
	if err := e.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := count(500); err != nil {
		t.Errorf("after the brain's restart: %v", err)
	}
	out := must(t, e, 0, "cac", "show", "--account", "acme").out
	if !strings.Contains(out, "internal") || !strings.Contains(out, "500") {
		t.Errorf("sipio cac show:\n%s", out)
	}
	dump := must(t, e, 0, "journal", "dump", "--account", "acme").out
	replayed := must(t, e, 0, "journal", "replay", write(t, e, "dump.jsonl", dump)).out
	if strings.Count(replayed, `"token": "tok`) != 500 {
		t.Errorf("the replay of the dump has %d calls, want 500", strings.Count(replayed, `"token": "tok`))
	}
	if s := must(t, e, 0, "cac", "reset", "--account", "acme", "--all"); s.out != "500 released\n" {
		t.Errorf("reset: %v", s)
	}
	if err := count(0); err != nil {
		t.Error(err)
	}
	must(t, e, 0, "journal", "stat")
	if s := must(t, e, 0, "cluster", "status"); !strings.Contains(s.out, "brain-1") {
		t.Errorf("cluster status: %v", s)
	}
}
