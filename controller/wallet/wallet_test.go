package wallet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// shelf is a media store in memory, and the rows of plans.
type shelf struct {
	mu      sync.Mutex
	objects map[string][]byte
	rows    map[string]*brain.RatePlan // by OWNER/NAME
	gets    int
	fail    error
}

func (s *shelf) Put(_ context.Context, key string, r io.Reader, _ int64) (api.MediaRef, error) {
	text, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = text
	return api.MediaRef{Key: key}, err
}

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }

func (s *shelf) Get(_ context.Context, key string) (io.ReadSeekCloser, api.MediaRef, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	return object{bytes.NewReader(s.objects[key])}, api.MediaRef{}, s.fail
}

func (s *shelf) Change(_ context.Context, _ string, changes ...brain.Change) (int64, error) {
	row := changes[0].Resource.(*brain.RatePlan)
	if s.rows[row.AccountID+"/"+row.Name] != changes[0].Before {
		return 0, brain.Errorf(brain.EConflict, "changed meanwhile")
	}
	s.rows[row.AccountID+"/"+row.Name] = row
	return 1, nil
}

func newRates() (*shelf, *Rates) {
	s := &shelf{objects: map[string][]byte{}, rows: map[string]*brain.RatePlan{"/retail": {ID: "rate_1", Name: "retail", Currency: "EUR"},
		"acc_0/own": {ID: "rate_2", AccountID: "acc_0", Name: "own", Currency: "EUR"}}}
	plans := &Plans{Objects: s, Log: slog.New(slog.DiscardHandler), Row: func(owner, name string) *brain.RatePlan { return s.rows[owner+"/"+name] }}
	return s, &Rates{Plans: plans, Config: s, Now: func() int64 { return 1_800_000_000 }}
}

func file(prefixes ...string) []byte {
	text := "prefix,connect,per_minute,interval_first_sec,interval_next_sec,effective_from\n"
	for i, p := range prefixes {
		text += fmt.Sprintf("%s,0,0.0%d,60,60,0\n", p, i+1)
	}
	return []byte(text)
}

// Proves that rates are read once for each content, that a dry run changes nothing, that what was brought in counts from the next question on, that
// the same file again changes nothing, and that a plan that somebody else has changed meanwhile is not overwritten.
func TestRates_ComeInAndCountAtOnce(t *testing.T) {
	s, r := newRates()
	ctx := t.Context()
	if _, err := r.Show(ctx, "", "retail", "4930"); brain.CodeOf(err) != brain.ENotFound {
		t.Errorf("an empty plan: %v", err)
	}
	if in, err := r.Import(ctx, "me", "", "retail", file("49", "1"), true); err != nil || in.Added != 2 || len(s.objects) != 0 {
		t.Fatalf("dry run: %+v %v", in, err)
	}
	for want := range 2 {
		in, err := r.Import(ctx, "me", "", "retail", file("49", "1"), false)
		if err != nil || in.Added != 2-2*want || in.Unchanged != 2*want || len(s.objects) != 1 {
			t.Fatalf("%+v %v", in, err)
		}
	}
	for range 3 {
		if shown, err := r.Show(ctx, "", "retail", "4930"); err != nil || shown.Prefix != "49" || shown.PerMinuteMicros != 10_000 {
			t.Fatalf("%+v %v", shown, err)
		}
	}
	if s.gets != 1 {
		t.Errorf("the rates were read %d times", s.gets)
	}
	if in, err := r.Import(ctx, "me", "", "retail", file("44", "49"), false); err != nil || fmt.Sprint(in.Added, in.Changed, in.Ended, in.Rates) != "1 1 1 2" || len(in.Changes) != 3 {
		t.Errorf("%+v %v", in, err)
	}
	row := s.rows["/retail"]
	other := *row
	r.Row = func(string, string) *brain.RatePlan { return &other }
	if _, err := r.Import(ctx, "me", "", "retail", file("33"), false); brain.CodeOf(err) != brain.EConflict || s.rows["/retail"] != row {
		t.Errorf("changed meanwhile: %v", err)
	}
	if _, err := r.Import(ctx, "me", "", "retail", []byte("prefix\n"), false); brain.CodeOf(err) != brain.EInvalid {
		t.Errorf("a bad file: %v", err)
	}
}

// Proves that a call does not wait for a price list that is being read while there is one before it.
func TestPlans_CallsPayByTheOneBeforeWhileANewOneIsRead(t *testing.T) {
	s, r := newRates()
	for _, prefix := range []string{"49", "44"} {
		if _, err := r.Import(t.Context(), "me", "", "retail", file(prefix), false); err != nil {
			t.Fatal(err)
		}
		if prefix == "49" {
			if _, err := r.Plan(t.Context(), "", "retail"); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.mu.Lock() // the store takes its time
	plan, err := r.Plan(t.Context(), "", "retail")
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := plan.Lookup("49", 1_800_000_000); !ok {
		t.Error("the call did not pay by the plan before")
	}
	if shown, err := r.Show(t.Context(), "", "retail", "44"); err != nil || shown.Prefix != "44" {
		t.Errorf("%+v %v", shown, err)
	}
}

// Proves that an object that is not what the row names is refused, that the store is asked again some seconds later and not before, and that
// nobody waits longer than he wants.
func TestPlans_AnObjectThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newRates()
		if _, err := r.Import(t.Context(), "me", "", "retail", file("49"), false); err != nil {
			t.Fatal(err)
		}
		key := s.rows["/retail"].ObjectKey
		whole := s.objects[key]
		s.objects[key] = whole[:len(whole)-2]
		for range 2 {
			if _, err := r.Plan(t.Context(), "", "retail"); brain.CodeOf(err) != brain.EUnavailable {
				t.Fatalf("a cut object: %v", err)
			}
		}
		s.objects[key] = whole
		time.Sleep(retryPause + time.Second)
		if plan, err := r.Plan(t.Context(), "", "retail"); err != nil || plan.Len() != 1 || s.gets != 2 {
			t.Errorf("%v after %d tries", err, s.gets)
		}
		if _, err := r.Plan(t.Context(), "", "none"); brain.CodeOf(err) != brain.EUnavailable {
			t.Errorf("no plan: %v", err)
		}
	})
}

// office is a configuration: acc_1 is a customer of acc_0, which is one of the platform.
type office struct {
	brain.Directory
	of map[string]*brain.AccountConfig
}

func (o office) ByAccount(id string) *brain.AccountConfig { return o.of[id] }
func (o office) NodeByName(name string) *brain.Node {
	if name == "edge1" {
		return &brain.Node{Name: name, AgentURL: "http://edge1"}
	}
	return nil
}

// till is the wallets behind, and the nodes.
type till struct {
	Owner
	paid    balance.Paid
	has     map[string]balance.Balance
	asked   []string
	pushed  chan api.Op
	carried chan string
}

func (m *till) Pay(_ context.Context, id string, p *balance.Payment) (balance.Paid, error) {
	line := id
	for _, l := range p.Levels {
		line += fmt.Sprintf(" %s:%s:%d", l.AccountID, l.Rate.Prefix, l.Rate.PerMinuteMicros)
	}
	m.asked = append(m.asked, line)
	return m.paid, nil
}

func (m *till) Balance(_ context.Context, id string) (balance.Balance, error) { return m.has[id], nil }

func (m *till) Carry(_ context.Context, id, chain string, o balance.Order) (balance.Paid, error) {
	m.carried <- id + " " + chain + " " + o.AccountID
	return balance.Paid{}, nil
}

func (m *till) Push(_ context.Context, n *brain.Node, op api.Op) (api.OpReply, error) {
	m.pushed <- op
	return api.OpReply{ID: op.ID, OK: true}, nil
}

// Proves who pays for a call: the account by its reseller's plan, the reseller by the platform's, whoever has no plan nothing; a number without
// a rate at any level is refused, and a wallet in another currency than its plan is no call at all.
func TestWallets_EveryLevelPaysByThePlanOfTheOneAbove(t *testing.T) {
	_, r := newRates()
	for owner, name := range map[string]string{"": "retail", "acc_0": "own"} {
		prefixes := []string{"49", "1"}
		if owner != "" {
			prefixes = []string{"44", "4930"}
		}
		if _, err := r.Import(t.Context(), "me", owner, name, file(prefixes...), false); err != nil {
			t.Fatal(err)
		}
	}
	parent := "acc_0"
	for _, c := range []struct {
		childPlan, parentPlan, currency, number string
		asked, why, text                        string
		fails                                   bool
	}{
		{"own", "retail", "EUR", "493012", "acc_1 acc_1:4930:20000 acc_0:49:10000", "", "", false},
		{"own", "", "EUR", "493012", "acc_1 acc_1:4930:20000", "", "", false},
		{"", "retail", "EUR", "493012", "acc_1 acc_0:49:10000", "", "", false},
		{"", "", "EUR", "493012", "", "", "", false},
		{"own", "retail", "EUR", "1202", "", WhyRate, "plan own has no rate for +1202", false},
		{"own", "retail", "EUR", "4412", "", WhyRate, "plan retail of reseller has no rate for +4412", false},
		{"own", "retail", "USD", "493012", "", "", "", true},
		{"gone", "retail", "EUR", "493012", "", "", "", true},
	} {
		child := &brain.AccountConfig{Account: brain.Account{ID: "acc_1", ParentID: &parent, RatePlan: c.childPlan, Currency: c.currency}}
		o := office{of: map[string]*brain.AccountConfig{"acc_1": child, "acc_0": {Account: brain.Account{ID: "acc_0", Name: "reseller", RatePlan: c.parentPlan, Currency: "EUR"}}}}
		m := &till{}
		w := New(m, func() brain.Directory { return o }, r.Plans, m, slog.New(slog.NewTextHandler(io.Discard, nil)))
		paid, charged, err := w.Pay(t.Context(), child, &balance.Payment{Token: "t", To: c.number})
		if (err != nil) != c.fails || strings.Join(m.asked, ";") != c.asked || paid.Why != c.why || paid.Text != c.text {
			t.Errorf("%+v: %+v %v %v, asked %v", c, paid, charged, err, m.asked)
		}
		if free := c.childPlan == "" && c.parentPlan == ""; charged == free {
			t.Errorf("%+v: charged %v", c, charged)
		}
	}
}

// Proves that a call without money says which wallet is short and of what, the reseller's by its name.
func TestWallets_ARefusalSaysWhoseMoneyIsMissing(t *testing.T) {
	_, r := newRates()
	for owner, name := range map[string]string{"": "retail", "acc_0": "own"} {
		if _, err := r.Import(t.Context(), "me", owner, name, file("49"), false); err != nil {
			t.Fatal(err)
		}
	}
	parent := "acc_0"
	child := &brain.AccountConfig{Account: brain.Account{ID: "acc_1", Name: "acme", ParentID: &parent, RatePlan: "own", Currency: "EUR"}}
	o := office{of: map[string]*brain.AccountConfig{"acc_1": child, "acc_0": {Account: brain.Account{ID: "acc_0", Name: "reseller", RatePlan: "retail", Currency: "EUR"}}}}
	rich := balance.Balance{BalanceMicros: 5_000_000, AvailableMicros: 5_000_000}
	for want, has := range map[string]map[string]balance.Balance{
		"balance -52.536, limit 0.00: not enough for the first interval":                         {"acc_1": {BalanceMicros: -52_536_000, AvailableMicros: -52_536_000}, "acc_0": rich},
		"balance 1.00, limit 2.00, held for other calls 3.00: not enough for the first interval": {"acc_1": {BalanceMicros: 1_000_000, LimitMicros: 2_000_000, HeldMicros: 3_000_000}, "acc_0": rich},
		"reseller: balance 0.00, limit 0.00: not enough for the first interval":                  {"acc_1": rich},
		"not enough money for the first interval":                                                {"acc_1": rich, "acc_0": rich}, // somebody has paid meanwhile
	} {
		m := &till{paid: balance.Paid{State: balance.Refused, Why: balance.WhyMoney}, has: has}
		w := New(m, func() brain.Directory { return o }, r.Plans, m, slog.New(slog.DiscardHandler))
		paid, _, err := w.Pay(t.Context(), child, &balance.Payment{Token: "t", To: "493012"})
		if err != nil || paid.Why != balance.WhyMoney || paid.Text != want {
			t.Errorf("%q, want %q, %v", paid.Text, want, err)
		}
	}
}

// Proves that tasks are carried to resellers' wallets and to nodes, each try under an id of its own.
func TestWallets_CarryTasks(t *testing.T) {
	m := &till{pushed: make(chan api.Op, 4), carried: make(chan string, 4)}
	var log bytes.Buffer
	w := New(m, func() brain.Directory { return office{} }, nil, m, slog.New(slog.NewTextHandler(&log, nil)))
	end := balance.Task{Kind: balance.TaskEnd, Token: "tok", CallID: "c1", Node: "edge1"}
	w.Tasks("acc_1/wallet", []balance.Task{end, {Kind: balance.TaskOrder, Chain: "tok", Order: balance.Order{AccountID: "acc_0"}}})
	first := <-m.pushed
	if first.Kind != api.OpEnd || first.CallID != "c1" || first.Token != "tok" {
		t.Errorf("%+v", first)
	}
	if got := <-m.carried; got != "acc_1 tok acc_0" {
		t.Errorf("carried %s", got)
	}
	w.Now = func() time.Time { return time.Now().Add(2 * time.Second) }
	w.Tasks("acc_1/wallet", []balance.Task{end})
	if second := <-m.pushed; second.ID == first.ID {
		t.Errorf("the node has answered %s before", second.ID)
	}
}

// Proves that operators hear once of a call that its node does not end, and of one that could not be charged, however many tasks are on their way.
func TestWallets_TellOperatorsOnce(t *testing.T) {
	var log bytes.Buffer
	w := New(nil, func() brain.Directory { return office{} }, nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
	end := balance.Task{Kind: balance.TaskEnd, Token: "tok", CallID: "c1", Node: "gone"}
	for i := range 5 {
		end.Again = i > 0
		w.do(t.Context(), "acc_1", &end)
	}
	if n := lines(&log, "level=ERROR"); n != 1 || !strings.Contains(log.String(), "call_id=c1") {
		t.Errorf("told %d times: %s", n, &log)
	}
	log.Reset()
	for range cap(w.carried) {
		w.carried <- struct{}{}
	}
	w.Tasks("acc_1/wallet", []balance.Task{{Kind: balance.TaskUnpaid, Token: "tok", Unpaid: []string{"acc_0"}}})
	if n := lines(&log, "level=ERROR"); n != 1 || !strings.Contains(log.String(), "unpaid=acc_0") {
		t.Errorf("told %d times: %s", n, &log)
	}
}

// lines counts the lines of a log that say something.
func lines(log *bytes.Buffer, text string) int { return strings.Count(log.String(), text) }

// Proves that calls pay by the last price list that could be read when its successor cannot, however often that is tried, that operators hear of it
// once and see it with the rate, that a new file mends it, and that the plan of a row that is gone leaves memory.
func TestPlans_TheLastOneThatCouldBeReadStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newRates()
		var log bytes.Buffer
		r.Log = slog.New(slog.NewTextHandler(&log, nil))
		for _, prefix := range []string{"49", "44"} {
			if _, err := r.Import(t.Context(), "me", "", "retail", file(prefix), false); err != nil {
				t.Fatal(err)
			}
			if prefix == "44" {
				delete(s.objects, s.rows["/retail"].ObjectKey)
			}
			r.Preload(s.rows["/retail"])
			synctest.Wait()
		}
		for range 4 {
			plan, err := r.Plan(t.Context(), "", "retail")
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := plan.Lookup("49", 1_800_000_000); !ok {
				t.Fatal("the call does not pay by the last one")
			}
			time.Sleep(retryPause + time.Second)
		}
		if n := lines(&log, "cannot be read"); n != 1 || !strings.Contains(log.String(), "plan=retail") {
			t.Errorf("told %d times: %s", n, &log)
		}
		shown, err := r.Show(t.Context(), "", "retail", "4930")
		if err != nil || shown.Prefix != "49" || !strings.Contains(shown.Problem, "is not the object") {
			t.Errorf("%+v %v", shown, err)
		}
		if in, err := r.Import(t.Context(), "me", "", "retail", file("44"), false); err != nil || in.Added != 1 || in.Ended != 1 {
			t.Fatalf("%+v %v", in, err)
		}
		time.Sleep(retryPause + time.Second)
		if shown, err := r.Show(t.Context(), "", "retail", "4430"); err != nil || shown.Prefix != "44" || shown.Problem != "" {
			t.Errorf("mended: %+v %v", shown, err)
		}
		if n := lines(&log, "can be read again"); n != 1 {
			t.Errorf("%d times: %s", n, &log)
		}
		r.Prune()
		if len(r.loaded) != 1 {
			t.Error("a plan that is there was forgotten")
		}
		delete(s.rows, "/retail")
		if r.Prune(); len(r.loaded) != 0 {
			t.Errorf("%d plans are kept", len(r.loaded))
		}
	})
}

// Proves that a plan whose rates were never read by this brain, and cannot be, is mended by a new file.
func TestRates_AFileMendsAPlanThatCannotBeRead(t *testing.T) {
	s, r := newRates()
	s.rows["/retail"].ObjectKey, s.rows["/retail"].SHA256 = "gone", "x"
	if in, err := r.Import(t.Context(), "me", "", "retail", file("49"), false); err != nil || in.Added != 1 {
		t.Fatalf("%+v %v", in, err)
	}
	if shown, err := r.Show(t.Context(), "", "retail", "4930"); err != nil || shown.Prefix != "49" {
		t.Errorf("%+v %v", shown, err)
	}
}
