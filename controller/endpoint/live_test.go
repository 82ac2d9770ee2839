package endpoint

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// call asks /route for one call of 1001 to 1002, as the call with that Call-ID.
func (b *bench) call(t *testing.T, callID string, change func(url.Values)) api.Directive {
	t.Helper()
	q := inviteQuestion("1001", "secret1001", "1002")
	q.Set("call_id", callID)
	if change != nil {
		change(q)
	}
	return reading[api.RouteReply](t, b.form(api.PathRoute, q)).RTJSON
}

// Each limit refuses the call over it with the code its reason deserves, and says to operators which limit it was; a
// question that comes twice is admitted once.
func TestRoute_AdmissionRefusesWithTheDimension(t *testing.T) {
	rows := map[string]struct {
		limit func(c *brain.AccountConfig)
		node  string
		code  int
		why   string
		after int // Retry-After
	}{
		"account": {limit: func(c *brain.AccountConfig) { c.Account.MaxInternal = 1 }, code: 480, why: "internal"},
		"caller":  {limit: func(c *brain.AccountConfig) { c.Users["us_1001"].MaxSimultaneous = 1 }, code: 486, why: "user us_1001 has 1 of 1"},
		"callee":  {limit: func(c *brain.AccountConfig) { c.Users["us_1002"].MaxSimultaneous = 1 }, code: 486, why: "has no free line"},
		"node":    {node: "small", code: 503, why: "node small has 1 of 1", after: 1},
		"calls a time": {limit: func(c *brain.AccountConfig) {
			c.Limits = []*brain.CallLimit{{ID: "lim_1", ScopeKind: brain.LimitAccount, Direction: brain.DirectionAny, PeriodSec: 60, MaxCount: 1, Hard: true}}
		}, code: 480, why: "limit lim_1", after: 60},
	}
	for name, row := range rows {
		b := newBench(t)
		if row.limit != nil {
			row.limit(b.Config.(*configuration).account)
		}
		change := func(q url.Values) {
			if row.node != "" {
				q.Set("node", row.node)
			}
		}
		for range 2 {
			if d := b.call(t, "c1", change); d.Action != api.ActionProxy {
				t.Errorf("%s: the first call: %+v", name, d)
			}
		}
		d := b.call(t, "c2", change)
		if d.Action != api.ActionReject || d.SIPCode != row.code || !strings.Contains(d.Why, row.why) || d.RetryAfterSec != row.after {
			t.Errorf("%s: the second call: %+v", name, d)
		}
	}
}

// A callee without a free line is busy: the call goes where his fwd_busy says, and only the caller's line is taken.
func TestRoute_CalleeWithoutALineIsBusy(t *testing.T) {
	b := newBench(t)
	c := b.Config.(*configuration).account
	c.Users["us_1002"].MaxSimultaneous = 1
	c.Users["us_1002"].FwdBusyDestKind, c.Users["us_1002"].FwdBusyDestID = brain.DestHangup, "600"
	b.call(t, "c1", nil)
	if d := b.call(t, "c2", nil); d.SIPCode != 600 {
		t.Errorf("%+v", d)
	}
	c.Users["us_1002"].FwdBusyDestKind, c.Users["us_1002"].FwdBusyDestID = brain.DestUser, "us_1001"
	if d := b.call(t, "c3", nil); !strings.Contains(d.Why, "has no free line") {
		t.Errorf("%+v", d)
	}
}

// While nobody can tell whether there is room, the call is refused with 503 and Retry-After.
func TestRoute_WithoutAdmissionIsRefused(t *testing.T) {
	b := newBench(t)
	b.presence.fail = brain.Errorf(brain.EUnavailable, "no owner")
	if d := b.call(t, "c1", nil); d.SIPCode != 503 || d.RetryAfterSec == 0 {
		t.Errorf("%+v", d)
	}
}

// A report that is cut, miscounted, without a place in time or with a broken field is refused and reaches nobody; a
// whole one is passed on as it is.
func TestDialogs_OnlyAWholeReportIsTaken(t *testing.T) {
	whole := `{"node":"e","boot":"b","boot_ms":1000,"seq":7,"taken_ms":2000,"count":1,"dialogs":[{"account_id":"acc_1","token":"t","call_id":"c","since_ms":1500}]}`
	rows := map[string]string{
		"cut":               whole[:len(whole)/2],
		"cut at the end":    whole[:len(whole)-1],
		"one missing":       strings.Replace(whole, `"count":1`, `"count":2`, 1),
		"list missing":      `{"node":"e","boot":"b","boot_ms":1000,"seq":7,"taken_ms":2000,"count":1}`,
		"no node":           strings.Replace(whole, `"node":"e",`, "", 1),
		"no boot":           strings.Replace(whole, `"boot":"b",`, "", 1),
		"no seq":            strings.Replace(whole, `"seq":7,`, "", 1),
		"before its boot":   strings.Replace(whole, `"taken_ms":2000`, `"taken_ms":999`, 1),
		"no call_id":        strings.Replace(whole, `"call_id":"c"`, `"call_id":""`, 1),
		"control character": strings.Replace(whole, `"token":"t"`, `"token":"\u0007"`, 1),
		"two documents":     whole + whole,
		"unknown field":     strings.Replace(whole, `"seq"`, `"sequence"`, 1),
		"not JSON":          "dialogs",
		"nothing":           "",
	}
	for name, body := range rows {
		b := newBench(t)
		if w := b.ask("POST", api.PathDialogs, typeJSON, body); w.Code != 400 || len(b.presence.reports) != 0 {
			t.Errorf("%s: %d %s, %d passed on", name, w.Code, w.Body, len(b.presence.reports))
		}
	}
	b := newBench(t)
	w := b.ask("POST", api.PathDialogs, typeJSON, whole)
	if reading[api.DialogReportReply](t, w).Seq != 7 || len(b.presence.reports) != 1 || b.presence.reports[0].Dialogs[0].Token != "t" {
		t.Errorf("%d %s, %+v", w.Code, w.Body, b.presence.reports)
	}
}

// Slots are released only by a question that says exactly what it wants.
func TestLive_QuestionsOfOperators(t *testing.T) {
	rows := []struct {
		path, body string
		code       int
	}{
		{api.PathCACReset, `{}`, 400},
		{api.PathCACReset, `{"all":true,"tokens":["a"]}`, 400},
		{api.PathCACReset, `{"tokens":["a\u0001"]}`, 400},
		{api.PathCACReset, `{"tokens":["a","b"]}`, 200},
		{api.PathCACReset, `{"all":true}`, 200},
	}
	b := newBench(t)
	for _, row := range rows {
		if w := b.ask("POST", row.path, typeJSON, row.body, withToken(tokenWrite)); w.Code != row.code {
			t.Errorf("%s %s: %d %s", row.path, row.body, w.Code, w.Body)
		}
	}
	if len(b.presence.resets) != 2 || len(b.presence.resets[0]) != 2 {
		t.Errorf("resets %v", b.presence.resets)
	}
	if w := b.ask("GET", api.PathCAC+"?account_id=acc_2", "", "", withToken(tokenAccount)); w.Code != 403 {
		t.Errorf("another account: %d %s", w.Code, w.Body)
	}
	if w := b.ask("GET", api.PathCAC, "", "", withToken(tokenPlatform)); w.Code != 400 {
		t.Errorf("no account named: %d %s", w.Code, w.Body)
	}
}

// listen opens a stream and returns its lines.
func (b *bench) listen(t *testing.T, after string) <-chan string {
	t.Helper()
	srv := httptest.NewServer(b.mux)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+api.PathPresenceStream, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokenAccount)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v %+v", err, res)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() { stop(); res.Body.Close(); srv.Close() })
	return lines
}

func wants(t *testing.T, lines <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		for got := ""; got == "" || got == ":"; {
			select {
			case got = <-lines:
			case <-time.After(10 * time.Second):
				t.Fatalf("no %q came", w)
			}
			if got != "" && got != ":" && got != w {
				t.Fatalf("%q, want %q", got, w)
			}
		}
	}
}

// A stream begins with the whole state, goes on with each delta, and asks the owner when one was missed; with
// Last-Event-ID it begins with what followed that one.
func TestStream_WholeStateThenDeltasAndNoGap(t *testing.T) {
	b := newBench(t)
	b.presence.watched = api.Watched{ID: "3.10"}
	lines := b.listen(t, "")
	wants(t, lines, "id: 3.10", "event: state", `data: {"account_id":"acc_1"}`)
	b.presence.listener(api.Numbered{ID: "3.11", Data: []byte(`{"n":11}`)})
	wants(t, lines, "id: 3.11", "event: delta", `data: {"n":11}`)
	b.presence.mu.Lock()
	b.presence.watched.Deltas = []api.Numbered{{ID: "3.12", Data: []byte(`{"n":12}`)}, {ID: "3.13", Data: []byte(`{"n":13}`)}}
	b.presence.mu.Unlock()
	b.presence.listener(api.Numbered{ID: "3.13", Data: []byte(`{"n":13}`)})
	wants(t, lines, "id: 3.12", "event: delta", `data: {"n":12}`, "id: 3.13", "event: delta", `data: {"n":13}`)

	resumed := b.listen(t, "3.11")
	wants(t, resumed, "id: 3.12", "event: delta", `data: {"n":12}`, "id: 3.13")
}

// A stream ends when the process does, and an account's key opens no other account's.
func TestStream_EndsWithTheProcess(t *testing.T) {
	b := newBench(t)
	done := make(chan struct{})
	b.Done = done
	lines := b.listen(t, "")
	close(done)
	for range lines {
	}
	if w := b.ask("GET", api.PathPresenceStream+"?account_id=acc_2", "", "", withToken(tokenAccount)); w.Code != 403 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
