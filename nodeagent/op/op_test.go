package op

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func newHandler(t *testing.T, kinds map[string]Func) *Handler {
	return New(Config{Key: "secret", Kinds: kinds, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

// post gives an order as the brain would, sent now; key "" leaves the header out.
func post(h *Handler, key, body string) (int, api.OpReply) {
	return postAt(h, key, body, time.Now())
}

// postAt gives an order that was sent at a time.
func postAt(h *Handler, key, body string, at time.Time) (int, api.OpReply) {
	if rest, ok := strings.CutPrefix(body, "{"); ok {
		body = fmt.Sprintf(`{"time_ms":%d,%s`, at.UnixMilli(), rest)
	}
	r := httptest.NewRequest(http.MethodPost, api.PathOp, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var reply api.OpReply
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			return 0, reply
		}
	}
	return w.Code, reply
}

func TestHandler_CarriesOutOnce(t *testing.T) {
	// Proves that an order sent again is not done again and is answered alike, that its error reaches the brain, and that an id cannot
	// be used for two orders.
	var done int
	h := newHandler(t, map[string]Func{
		"hangup": func(_ context.Context, op api.Op) (api.OpReply, error) {
			done++
			if op.Token == "gone" {
				return api.OpReply{}, errors.New("no such call on this node")
			}
			return api.OpReply{Locked: true}, nil
		},
		"panics": func(context.Context, api.Op) (api.OpReply, error) { panic("in an order") },
	})
	for range 3 {
		code, reply := post(h, "secret", `{"id":"1","kind":"hangup","token":"t"}`)
		if code != 200 || reply.ID != "1" || !reply.OK || !reply.Locked || reply.Error != "" {
			t.Errorf("%d %+v", code, reply)
		}
	}
	code, reply := post(h, "secret", `{"id":"2","kind":"hangup","token":"gone"}`)
	if code != 200 || reply.OK || reply.Error != "no such call on this node" || done != 2 {
		t.Errorf("%d %+v, done %d times", code, reply, done)
	}
	if code, _ := post(h, "secret", `{"id":"1","kind":"hangup","token":"other"}`); code != http.StatusConflict {
		t.Errorf("another order under a known id: %d", code)
	}
	if code, reply := post(h, "secret", `{"id":"3","kind":"dance"}`); code != 200 || reply.OK || reply.Error == "" {
		t.Errorf("unknown kind: %d %+v", code, reply)
	}
	func() {
		defer func() { _ = recover() }()
		post(h, "secret", `{"id":"4","kind":"panics"}`)
	}()
	if code, reply := post(h, "secret", `{"id":"4","kind":"panics"}`); code != 200 || reply.OK || reply.ID != "4" || len(h.slots) != 0 {
		t.Errorf("after a panic: %d %+v, %d places taken", code, reply, len(h.slots))
	}
}

func TestHandler_RingsOnceWhateverTimeIsLeft(t *testing.T) {
	// Proves that a phone is rung once though the same order comes with another rest of its time, as from a brain that was started
	// again meanwhile; an order about another reservation under the same id is refused.
	for kind, order := range map[string]string{
		"dispatch": `{"id":"1","kind":"dispatch","token":"t","entry_id":"e","dispatch":{"reservation_id":%q,"lease_ms":%d}}`,
		"callback": `{"id":"1","kind":"callback","token":"t","entry_id":"e","callback":{"reservation_id":%q,"ring_ms":%d}}`,
	} {
		rung := 0
		h := newHandler(t, map[string]Func{kind: func(context.Context, api.Op) (api.OpReply, error) {
			rung++
			return api.OpReply{}, nil
		}})
		for _, row := range []struct {
			reservation string
			leftMS      int
			want        int
		}{{"r1", 20_000, 200}, {"r1", 13_000, 200}, {"r2", 13_000, http.StatusConflict}} {
			order := fmt.Sprintf(order, row.reservation, row.leftMS)
			if code, _ := post(h, "secret", order); code != row.want || rung != 1 {
				t.Errorf("%s: %d, rung %d times", order, code, rung)
			}
		}
	}
}

func TestHandler_RefusesStrangersAndNonsense(t *testing.T) {
	// Proves each refusal by its status; without a key of its own a handler opens to nobody.
	h := newHandler(t, nil)
	for _, row := range []struct {
		key, body string
		want      int
	}{
		{"", `{"id":"1","kind":"x"}`, 401}, {"wrong", `{"id":"1","kind":"x"}`, 401}, {"secret ", `{"id":"1","kind":"x"}`, 401},
		{"secret", ``, 400}, {"secret", `[]`, 400}, {"secret", `{"kind":"x"}`, 400}, {"secret", `{"id":"1"}`, 400},
		{"secret", `{"kind":"x","id":"` + strings.Repeat("a", 200) + `"}`, 400}, {"secret", strings.Repeat(" ", maxBody+1), 413},
	} {
		if code, _ := post(h, row.key, row.body); code != row.want {
			t.Errorf("key %q, body %.30q: %d, want %d", row.key, row.body, code, row.want)
		}
	}
	if code, _ := post(New(Config{}), "", `{"id":"1","kind":"x"}`); code != 401 {
		t.Errorf("a handler without a key answered %d", code)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, api.PathOp, nil)
	r.Header.Set("Authorization", "Bearer secret")
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

func TestHandler_IsBounded(t *testing.T) {
	// Proves that no more than maxAtOnce orders run, that further ones are told to come again, that the same order waits for the
	// first, and that no more than maxAnswers are remembered.
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var running atomic.Int64
		h := newHandler(t, map[string]Func{
			"slow": func(context.Context, api.Op) (api.OpReply, error) {
				running.Add(1)
				<-release
				return api.OpReply{}, nil
			},
			"fast": func(context.Context, api.Op) (api.OpReply, error) { return api.OpReply{}, nil },
		})
		var all sync.WaitGroup
		for i := range maxAtOnce {
			for range 2 { // each twice
				all.Go(func() {
					if code, reply := post(h, "secret", fmt.Sprintf(`{"id":"s%d","kind":"slow"}`, i)); code != 200 || !reply.OK {
						t.Errorf("order %d: %d %+v", i, code, reply)
					}
				})
			}
		}
		synctest.Wait()
		if running.Load() != maxAtOnce {
			t.Errorf("%d run", running.Load())
		}
		if code, _ := post(h, "secret", `{"id":"more","kind":"fast"}`); code != http.StatusServiceUnavailable {
			t.Errorf("beyond the limit: %d", code)
		}
		close(release)
		all.Wait()
		for i := range 2 * maxAnswers {
			time.Sleep(time.Millisecond)
			if code, _ := post(h, "secret", fmt.Sprintf(`{"id":"f%d","kind":"fast"}`, i)); code != 200 {
				t.Fatalf("order %d: %d", i, code)
			}
		}
		if len(h.answers) != maxAnswers || len(h.order) != maxAnswers {
			t.Errorf("%d answers, %d ids remembered", len(h.answers), len(h.order))
		}
	})
}

func TestHandler_WhoMayOrder(t *testing.T) {
	// Proves, for a node with and without a tunnel's token: nothing is done for who has no credentials, the platform's or another
	// node's token, half or none of the tunnel's, and all of them hear the same; only the right ones are obeyed.
	const own, access, secret = "token-of-this-node", "id.access", "secret.access"
	for _, row := range []struct {
		name              string
		key, id, pass     string
		direct, tunnelled int
	}{
		{"nobody", "", "", "", 401, 401},
		{"the platform's key", "key-of-all-nodes", access, secret, 401, 401},
		{"another node's token", "token-of-edge-2", access, secret, 401, 401},
		{"the token and more", own + "x", access, secret, 401, 401},
		{"a part of it", own[:5], access, secret, 401, 401},
		{"the token alone", own, "", "", 200, 401},
		{"no access secret", own, access, "", 200, 401},
		{"no access id", own, "", secret, 200, 401},
		{"another access id", own, "id.other", secret, 200, 401},
		{"another access secret", own, access, "secret.other", 200, 401},
		{"the access token alone", "", access, secret, 401, 401},
		{"all of it", own, access, secret, 200, 200},
	} {
		for _, tunnel := range []Access{{}, {access, secret}} {
			done, words := 0, ""
			h := New(Config{Key: own, Access: tunnel, Kinds: map[string]Func{"x": func(context.Context, api.Op) (api.OpReply, error) {
				done++
				return api.OpReply{}, nil
			}}})
			r := httptest.NewRequest(http.MethodPost, api.PathOp, strings.NewReader(fmt.Sprintf(`{"id":"1","kind":"x","time_ms":%d}`, time.Now().UnixMilli())))
			for name, value := range map[string]string{"Authorization": "Bearer " + row.key, api.HeaderAccessID: row.id, api.HeaderAccessSecret: row.pass} {
				if value != "" && value != "Bearer " {
					r.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			want := row.direct
			if tunnel != (Access{}) {
				want = row.tunnelled
			}
			words = strings.TrimSpace(w.Body.String())
			if w.Code != want || (done == 1) != (want == 200) || want == 401 && words != "no valid key" {
				t.Errorf("%s, tunnel %v: %d %q, done %d times, want %d", row.name, tunnel != (Access{}), w.Code, words, done, want)
			}
		}
	}
}

func TestHandler_TakesNothingOld(t *testing.T) {
	// Proves that an order is refused that was sent longer ago, or later, than clocks may differ, before this process began, or before
	// what was forgotten; that a copy of one that is remembered is answered and not done again, however old; and that the brain's
	// next try, sent now, is taken.
	synctest.Test(t, func(t *testing.T) {
		done := map[string]int{}
		h := newHandler(t, map[string]Func{"x": func(_ context.Context, op api.Op) (api.OpReply, error) {
			done[op.ID]++
			return api.OpReply{}, nil
		}})
		began := time.Now()
		order := func(id string) string { return fmt.Sprintf(`{"id":%q,"kind":"x"}`, id) }
		if code, _ := postAt(h, "secret", order("before"), began.Add(-time.Second)); code != http.StatusConflict {
			t.Errorf("sent before the process began: %d", code)
		}
		if code, _ := post(h, "secret", order("copied")); code != 200 {
			t.Errorf("sent now: %d", code)
		}
		time.Sleep(time.Hour)
		now := time.Now()
		for _, row := range []struct {
			name string
			at   time.Time
			want int
		}{
			{"old", now.Add(-window - time.Millisecond), 409}, {"just", now.Add(-window), 200}, {"ahead", now.Add(window), 200},
			{"future", now.Add(window + time.Millisecond), 409}, {"copied", began, 200}, {"", now, 400},
		} {
			if code, _ := postAt(h, "secret", order(row.name), row.at); code != row.want {
				t.Errorf("%q: %d, want %d", row.name, code, row.want)
			}
		}
		if code, _ := post(h, "secret", order("old")); code != 200 {
			t.Error("another try was refused")
		}
		for i := range maxAnswers { // what was sent before is forgotten; what was sent by a clock that is ahead keeps no other out
			time.Sleep(time.Millisecond)
			if code, _ := post(h, "secret", order(fmt.Sprint("more", i))); code != 200 {
				t.Fatalf("order %d: %d", i, code)
			}
		}
		if code, _ := postAt(h, "secret", order("just"), now.Add(-window)); code != 409 {
			t.Errorf("a copy of a forgotten order: %d", code)
		}
		if done["copied"] != 1 || done["just"] != 1 || done["before"] != 0 || done["future"] != 0 {
			t.Errorf("done: %v", done)
		}
		if code, _ := post(h, "secret", `{"id":"timeless","kind":"x","time_ms":0}`); code != 400 {
			t.Errorf("an order without a time: %d", code)
		}
	})
}

func FuzzRead(f *testing.F) {
	// Proves that no body makes the handler panic, and that what it takes has an id and a kind.
	f.Add([]byte(`{"id":"1","kind":"mwi","time_ms":1,"aor":"a@b","new":1}`))
	f.Add([]byte(`{"id":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		op, err := read(body)
		if err == nil && (op.ID == "" || op.Kind == "" || op.TimeMS <= 0 || len(op.ID) > maxID) {
			t.Errorf("%q became %+v", body, op)
		}
	})
}
