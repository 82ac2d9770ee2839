package endpoint

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// answered records what it is asked and answers as it is told.
type answered struct {
	asked []api.FlowRequest
	alive []api.FlowAlive
	fail  error
}

func (a *answered) Flow(_ context.Context, req *api.FlowRequest) (api.FlowReply, error) {
	a.asked = append(a.asked, *req)
	return api.FlowReply{Seq: req.Seq + 1, Command: api.CommandPlay, Params: api.CommandParams{BargeIn: "<&>"}}, a.fail
}

func (a *answered) Alive(_ context.Context, alive *api.FlowAlive) error {
	a.alive = append(a.alive, *alive)
	return a.fail
}

func newFlowBench(t testing.TB) (*bench, *answered) {
	b, a := newBench(t), &answered{}
	b.RegisterFlow(b.mux, a)
	return b, a
}

const goodFlow = `{"account_id":"acc_1","token":"t","call_id":"c","node":"edge1","seq":4,"outcome":"digits","data":{"digits":"1"}}`

func TestFlow_CarriesQuestionAndReply(t *testing.T) {
	// Proves the way there and back: what the node sent arrives field by field, the command goes out as it is.
	b, a := newFlowBench(t)
	w := b.ask("POST", api.PathFlow, typeJSON, goodFlow)
	reply := reading[api.FlowReply](t, w)
	if w.Code != http.StatusOK || reply.Seq != 5 || reply.Command != api.CommandPlay || reply.Params.BargeIn != "<&>" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(a.asked) != 1 || a.asked[0].Token != "t" || a.asked[0].Data["digits"] != "1" || a.asked[0].Outcome != "digits" {
		t.Errorf("asked %+v", a.asked)
	}
	w = b.ask("POST", api.PathFlowAlive, typeJSON, `{"node":"edge1","calls":[{"account_id":"acc_1","token":"t"},{"account_id":"acc_9","token":"t"}]}`)
	if reply := reading[FlowAliveReply](t, w); w.Code != http.StatusOK || reply.Calls != 1 || len(a.alive) != 1 || len(a.alive[0].Calls) != 1 || a.alive[0].Calls[0].AccountID != "acc_1" {
		t.Errorf("%d %s, alive %+v", w.Code, w.Body, a.alive)
	}
}

func TestFlow_ErrorsHaveTheStatusTheNodeActsOn(t *testing.T) {
	// Proves that an unknown session, an account that is not ours, bounds, and a brain that cannot tell are told apart by status.
	for code, status := range map[brain.Code]int{brain.ENotFound: 404, brain.EForbidden: 403, brain.EInvalid: 400, brain.EUnavailable: 503, brain.EInternal: 500} {
		b, a := newFlowBench(t)
		a.fail = brain.Errorf(code, "planted")
		for path, body := range map[string]string{api.PathFlow: goodFlow, api.PathFlowAlive: `{"node":"n","calls":[]}`} {
			if w := b.ask("POST", path, typeJSON, body); w.Code != status {
				t.Errorf("%s %s: %d, want %d", path, code, w.Code, status)
			}
		}
	}
}

func TestFlow_RefusesWhoMayNotAskAndWhatIsNoQuestion(t *testing.T) {
	// Proves gate and bounds: each row differs from a good question in one thing, gets its status, and asks nobody.
	large := `{"account_id":"acc_1","token":"t","node":"n","data":{"a":"` + strings.Repeat("a", maxFlow) + `"}}`
	many := `{"node":"n","calls":[` + strings.TrimSuffix(strings.Repeat(`{"account_id":"a","token":"t"},`, maxAliveCalls+1), ",") + `]}`
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	for _, c := range []struct {
		name, path, body string
		status           int
		change           func(*http.Request)
	}{
		{"no key", api.PathFlow, goodFlow, 401, withToken("")},
		{"an account's key", api.PathFlow, goodFlow, 403, withToken(tokenAccount)},
		{"an account's key that claims node", api.PathFlow, goodFlow, 403, withToken(tokenForged)},
		{"address", api.PathFlow, goodFlow, 403, func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }},
		{"method", api.PathFlow, "", 405, func(r *http.Request) { r.Method = "GET" }},
		{"form", api.PathFlow, goodFlow, 415, func(r *http.Request) { r.Header.Set("Content-Type", typeForm) }},
		{"another account", api.PathFlow, replace(goodFlow, `"acc_1"`, `"acc_9"`), 403, nil},
		{"an object of another kind", api.PathFlow, replace(goodFlow, `"acc_1"`, `"acc_1/call/x"`), 403, nil},
		{"no account", api.PathFlow, replace(goodFlow, `"acc_1"`, `""`), 400, nil},
		{"no token", api.PathFlow, replace(goodFlow, `"t"`, `""`), 400, nil},
		{"no node", api.PathFlow, replace(goodFlow, `"edge1"`, `""`), 400, nil},
		{"long token", api.PathFlow, replace(goodFlow, `"t"`, `"`+strings.Repeat("t", maxID+1)+`"`), 400, nil},
		{"control character", api.PathFlow, replace(goodFlow, `"t"`, `"t\n"`), 400, nil},
		{"seq below 0", api.PathFlow, replace(goodFlow, `4`, `-4`), 400, nil},
		{"long value", api.PathFlow, replace(goodFlow, `"digits":"1"`, `"digits":"`+strings.Repeat("1", 4097)+`"`), 400, nil},
		{"unknown field", api.PathFlow, replace(goodFlow, `"token"`, `"tokem"`), 400, nil},
		{"too large", api.PathFlow, large, 413, nil},
		{"too large, unsaid", api.PathFlow, large, 413, chunked},
		{"cut off", api.PathFlow, goodFlow[:40], 400, nil},
		{"empty", api.PathFlow, "", 400, nil},
		{"two documents", api.PathFlow, goodFlow + goodFlow, 400, nil},
		{"alive: no key", api.PathFlowAlive, `{"node":"n"}`, 401, withToken("")},
		{"alive: no node", api.PathFlowAlive, `{"calls":[]}`, 400, nil},
		{"alive: no token", api.PathFlowAlive, `{"node":"n","calls":[{"account_id":"acc_1"}]}`, 400, nil},
		{"alive: too many", api.PathFlowAlive, many, 400, nil},
	} {
		b, a := newFlowBench(t)
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		var w *httptest.ResponseRecorder
		if w = b.ask("POST", c.path, typeJSON, c.body, change); w.Code != c.status {
			t.Errorf("%s: %d %s; want %d", c.name, w.Code, w.Body, c.status)
		}
		if len(a.asked)+len(a.alive) > 0 {
			t.Errorf("%s: was asked on", c.name)
		}
	}
}

// FuzzFlow proves that no body makes the endpoint panic or let a question through that is out of bounds.
func FuzzFlow(f *testing.F) {
	f.Add(goodFlow)
	f.Add(`{"account_id":"acc_1","token":"t","node":"n","seq":0,"start":{"target_kind":"flow","channel":"c","vars":{"a":"b"}}}`)
	b, a := newFlowBench(f)
	f.Fuzz(func(t *testing.T, body string) {
		a.asked = nil
		w := b.ask("POST", api.PathFlow, typeJSON, body)
		if w.Code >= 500 {
			t.Errorf("%d for %q", w.Code, body)
		}
		for _, q := range a.asked {
			if q.AccountID != "acc_1" || q.Token == "" || len(q.Token) > maxID || q.Seq < 0 || len(q.Data) > 64 {
				t.Errorf("asked on with %+v", q)
			}
		}
	})
}
