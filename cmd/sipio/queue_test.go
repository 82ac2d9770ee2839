package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

// The fake brain's time when it is asked about queues.
const (
	fakeNowMS   = 1767225600000
	fakeNowDate = "Thu, 01 Jan 2026 00:00:00 GMT"
)

// fakeQueues has the fake brain answer for the queues of the account acme: in support two wait and one is served, sales
// has nobody at all, and the agents are 1001 to 1004. 1004 has no membership and may join nothing; support is mandatory.
func fakeQueues(mux *http.ServeMux) {
	support, sales := fakeSupport(), api.QueueState{QueueID: "q_2", Name: "sales", EWTMS: -1}
	mux.HandleFunc("GET "+api.PathQueues, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", fakeNowDate)
		q := r.URL.Query()
		list := []api.QueueState{sales, support}
		if id := q.Get("queue_id"); id != "" {
			list = slices.DeleteFunc(list, func(s api.QueueState) bool { return s.QueueID != id })
		}
		for i := range list {
			if q.Get("entries") != "true" {
				list[i].Entries = nil
			}
			if q.Get("from_ms") != "" {
				list[i].Figures = api.Figures{Offered: 1}
			}
		}
		switch q.Get("account_id") {
		case "":
			problem(w, 400, brain.EInvalid, "account_id: is missing: a key of the platform names the account",
				brain.FieldError{Path: "account_id", Text: "is missing: a key of the platform names the account"})
		case "acc_2":
			reply(w, api.QueueList{Queues: []api.QueueState{}})
		default:
			reply(w, api.QueueList{Queues: list})
		}
	})
	mux.HandleFunc("POST "+api.PathSupervise, func(w http.ResponseWriter, r *http.Request) {
		var req api.SuperviseRequest
		switch err := json.NewDecoder(r.Body).Decode(&req); {
		case err != nil:
			problem(w, 400, brain.EInvalid, err.Error())
		case req.EntryID != "t3-1":
			problem(w, 409, brain.EConflict, "caller "+req.EntryID+" is not with an agent, but waiting")
		default:
			reply(w, api.SuperviseReply{EntryID: req.EntryID, UserID: "us_9", Mode: req.Mode, Node: "edge-" + req.Mode})
		}
	})
	mux.HandleFunc("POST "+api.PathQueueMove, func(w http.ResponseWriter, r *http.Request) {
		var req api.MoveRequest
		switch err := json.NewDecoder(r.Body).Decode(&req); {
		case err != nil:
			problem(w, 400, brain.EInvalid, err.Error())
		case req.EntryID != "t5-1":
			problem(w, 409, brain.EConflict, "caller "+req.EntryID+" is with an agent")
		default:
			reply(w, api.MoveReply{EntryID: req.EntryID, QueueID: "q_1", Place: min(req.Place, 2)})
		}
	})
	mux.HandleFunc("POST "+api.PathQueueSend, func(w http.ResponseWriter, r *http.Request) {
		var req api.SendRequest
		switch err := json.NewDecoder(r.Body).Decode(&req); {
		case err != nil:
			problem(w, 400, brain.EInvalid, err.Error())
		case req.EntryID != "t5-1":
			problem(w, 409, brain.EConflict, "caller "+req.EntryID+" is with an agent")
		default:
			reply(w, api.SendReply{EntryID: req.EntryID, Token: "t5", Target: req.Target})
		}
	})
	agents := fakeAgents()
	mux.HandleFunc("GET "+api.PathAgents, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", fakeNowDate)
		if r.URL.Query().Get("account_id") == "acc_2" {
			reply(w, api.AgentList{Agents: []api.AgentState{}})
			return
		}
		list := slices.Clone(agents)
		if r.URL.Query().Get("from_ms") != "" {
			list[0].Figures = api.Figures{Missed: 2}
		}
		reply(w, api.AgentList{Agents: list})
	})
	mux.HandleFunc("POST "+api.PathAgent, func(w http.ResponseWriter, r *http.Request) {
		var req api.AgentRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			problem(w, 400, brain.EInvalid, err.Error())
			return
		}
		i := slices.IndexFunc(agents, func(a api.AgentState) bool { return a.UserID == req.UserID })
		if text := fakeChange(&agents[i], req); text != "" {
			problem(w, 409, brain.EConflict, text)
			return
		}
		reply(w, agents[i])
	})
}

// fakeChange does what is asked, or says why not.
func fakeChange(a *api.AgentState, req api.AgentRequest) string {
	switch req.Action {
	case "login":
		a.Status, a.Reason, a.Bucket = "on_break", "login", "paused"
	case "logout":
		a.Status, a.Reason, a.Bucket, a.Queues = "offline", "", "offline", nil
	case "available", "wrapup_end":
		a.Status, a.Reason, a.Bucket = "available", "", "ready"
	case "break":
		a.Status, a.Reason, a.Bucket = "on_break", req.Reason, "paused"
	case "queue_join":
		if a.Username == "1004" {
			return "no member"
		}
		a.Queues = append(slices.Clone(a.Queues), req.QueueID)
	case "queue_leave":
		if req.QueueID == "q_1" {
			return "mandatory"
		}
		a.Queues = slices.DeleteFunc(slices.Clone(a.Queues), func(id string) bool { return id == req.QueueID })
	}
	a.SinceMS = fakeNowMS
	return ""
}

func fakeSupport() api.QueueState {
	ratio := func(f float64) *float64 { return &f }
	return api.QueueState{
		QueueID: "q_1", Name: "support", Waiting: 2, Served: 1, LongestMS: 105_000, EWTMS: 180_000, AgentsSigned: 3, AgentsReady: 1,
		Entries: []api.QueueCaller{
			{EntryID: "t3-1", Token: "t3", CallerNumber: "+4930123", CallerName: "Zoe\tX", State: "in_call", EnqueuedMS: fakeNowMS - 3_723_000, UserID: "us_1"},
			{EntryID: "t1-4", Token: "t1", CallerNumber: "+4930124", State: "offering", Priority: 10, Position: 1, EnqueuedMS: fakeNowMS - 105_000, UserID: "us_2"},
			{EntryID: "t2-1", Token: "t2", CallerNumber: "+4930125", State: "waiting", Position: 2, EnqueuedMS: fakeNowMS - 7_000},
		},
		Figures: api.Figures{Offered: 120, Answered: 100, Abandoned: 12, ShortAbandon: 2, TimedOut: 5, Overflowed: 2, OptionOut: 1,
			AbandonRate: ratio(0.1), ASAMS: ratio(18_400), AHTMS: ratio(245_000), ServiceLevel: ratio(0.8334)},
	}
}

func fakeAgents() []api.AgentState {
	ratio := 0.5
	return []api.AgentState{
		{UserID: "us_1", Username: "1001", Name: "Ann Lee", Status: "available", State: "in_call", Reachable: true, Bucket: "incall", SinceMS: fakeNowMS - 65_000,
			Queues: []string{"q_2", "q_1"}, QueueID: "q_1", EntryID: "t3-1", Figures: api.Figures{Answered: 7, Missed: 1, Occupancy: &ratio}},
		{UserID: "us_2", Username: "1002", Status: "available", State: "offering", Reachable: true, Bucket: "ring", SinceMS: fakeNowMS - 3_000,
			Queues: []string{"q_1"}, QueueID: "q_1", EntryID: "t1-4"},
		{UserID: "us_3", Username: "1003", Status: "on_break", Reason: "lunch", State: "waiting", Reachable: true, Bucket: "paused", SinceMS: fakeNowMS - 273_600_000,
			Queues: []string{"q_1"}},
		{UserID: "us_4", Username: "1004", Status: "offline", State: "waiting", Bucket: "offline"},
	}
}

// The whole of a watch against a brain: the first block is written at once, and --for ends it with exit status 0.
func TestQueueWatch_WritesABlockAtOnceAndEnds(t *testing.T) {
	t.Setenv("SIPIO_SERVER", newFakeBrain(t).URL)
	t.Setenv("SIPIO_KEY", tokenGood)
	got := transcript("sipio queue watch support --account acme --for 1ns --rows 1")
	for _, want := range []string{"\n2026-01-01 00:00:00Z\nsupport: 2 waiting", "in_call", "\n… and 2 more\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "offering") || strings.Contains(got, "exit status") || strings.Contains(got, "\x1b") {
		t.Errorf("wrote\n%q", got)
	}
}

// looks is a script of what a watch sees; past its end the watch is over.
type looks struct {
	scenes []scene
	errs   map[int]error // by number of the look
	n      int
	over   context.CancelFunc
}

func (l *looks) look(context.Context) (scene, error) {
	n := l.n
	l.n++
	if n >= len(l.scenes) {
		l.over()
		return scene{}, context.Canceled
	}
	return l.scenes[n], l.errs[n]
}

// follow runs a watch over the script, and returns what it wrote.
func (l *looks) follow(t *testing.T, w watch) (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out bytes.Buffer
	l.over, w.look, w.out, w.every, w.patience = cancel, l.look, &out, time.Second, 30*time.Second
	err := w.run(ctx)
	return out.String(), err
}

// A file or pipe gets a block for each change, and none for a look that only finds the time gone by, or nothing.
func TestWatch_WritesABlockForEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looks{scenes: []scene{{0, []byte("a 0:00\n"), "a"}, {1000, []byte("a 0:01\n"), "a"}, {}, {3000, []byte("b 0:03\n"), "b"}},
			errs: map[int]error{2: errors.New("no route to host")}}
		got, err := l.follow(t, watch{})
		if want := "1970-01-01 00:00:00Z\na 0:00\n\n1970-01-01 00:00:03Z\nb 0:03\n\n"; err != nil || got != want {
			t.Errorf("wrote %q, %v", got, err)
		}
	})
}

// A terminal is redrawn at each look, line by line in its place, so that nothing scrolls; a silence of the brain is
// told over what was seen last, and at the end lines wrap again.
func TestWatch_RedrawsATerminalInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looks{scenes: []scene{{0, []byte("x\ny\n"), "a"}, {1000, []byte("x\n"), "a"}, {}}, errs: map[int]error{2: errors.New("no route to host")}}
		got, err := l.follow(t, watch{terminal: true})
		want := wrapOff + eraseAll +
			"\x1b[1;1H1970-01-01 00:00:00Z\x1b[K\x1b[2;1Hx\x1b[K\x1b[3;1Hy\x1b[K\x1b[J" +
			"\x1b[1;1H1970-01-01 00:00:01Z\x1b[K\x1b[2;1Hx\x1b[K\x1b[J" +
			"\x1b[1;1H1970-01-01 00:00:01Z  no answer for 0:01\x1b[K\x1b[2;1Hx\x1b[K\x1b[J" + wrapOn + "\n"
		if err != nil || got != want {
			t.Errorf("wrote %q, %v", got, err)
		}
	})
}

// A watch fails at once when the first look does or when the brain refuses, and after its patience when the brain is
// silent or has no owner for the account; --for ends it without an error.
func TestWatch_EndsWhenThereIsNothingMoreToSee(t *testing.T) {
	silent, away := errors.New("no route to host"), brain.Errorf(brain.EUnavailable, "no owner")
	gone := brain.Errorf(brain.ENotFound, "gone")
	many := func(err error) map[int]error {
		errs := map[int]error{}
		for i := 1; i < 100; i++ {
			errs[i] = err
		}
		return errs
	}
	cases := []struct {
		name  string
		errs  map[int]error
		span  time.Duration
		looks int
		want  error
	}{
		{"first look", map[int]error{0: silent}, 0, 1, silent},
		{"refused", map[int]error{3: gone}, 0, 4, gone},
		{"silent", many(silent), 0, 32, silent},
		{"no owner", many(away), 0, 32, away},
		{"span", nil, 5500 * time.Millisecond, 6, nil},
		{"span in silence", many(silent), 5500 * time.Millisecond, 6, nil},
	}
	for _, tc := range cases {
		synctest.Test(t, func(t *testing.T) {
			l := looks{scenes: make([]scene, 100), errs: tc.errs}
			_, err := l.follow(t, watch{span: tc.span})
			if !errors.Is(err, tc.want) || l.n != tc.looks {
				t.Errorf("%s: %v after %d looks, wanted %v after %d", tc.name, err, l.n, tc.want, tc.looks)
			}
		})
	}
}

// What only grows with time is no change: two looks a minute apart are the same scene, until a caller moves on.
func TestWatch_TakesAGrowingWaitForNoChange(t *testing.T) {
	queue, agents, now := fakeSupport(), fakeAgents(), time.Unix(1767225600, 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		if r.URL.Path == api.PathAgents {
			reply(w, api.AgentList{Agents: agents})
			return
		}
		reply(w, api.QueueList{Queues: []api.QueueState{queue}})
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	look := func() (one, all scene) {
		one, err1 := queueScene(t.Context(), c, "acc_1", "q_1", watchRows)
		all, err2 := queuesScene(t.Context(), c, "acc_1", watchRows)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return one, all
	}
	one, all := look()
	now, queue.LongestMS, queue.EWTMS, agents[0].Figures.Answered = now.Add(time.Minute), queue.LongestMS+60_000, 190_000, 8
	later, allLater := look()
	if later.same != one.same || allLater.same != all.same {
		t.Errorf("a minute was taken for a change:\n%s\n%s", one.same, later.same)
	}
	if bytes.Equal(later.text, one.text) || bytes.Equal(allLater.text, all.text) {
		t.Errorf("a minute later the same is shown:\n%s", later.text)
	}
	queue.Entries[1].State, agents[2].Bucket = "in_call", "ready"
	queue.Waiting--
	moved, allMoved := look()
	if moved.same == later.same || allMoved.same == allLater.same {
		t.Error("a caller who moved on was taken for no change")
	}
}

// Waits as people read them.
func TestClock_ReadsLikeAWait(t *testing.T) {
	for ms, want := range map[int64]string{-5: "0:00", 999: "0:00", 42_000: "0:42", 725_000: "12:05", 3_723_000: "1:02:03", 273_600_000: "3d 4h"} {
		if got := clock(ms); got != want {
			t.Errorf("%d ms: %s, wanted %s", ms, got, want)
		}
	}
}

// Periods as people write them.
func TestShort_LeavesOutNoughts(t *testing.T) {
	for d, want := range map[time.Duration]string{24 * time.Hour: "24h", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", 70 * time.Second: "1m10s", 30 * time.Second: "30s"} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, wanted %s", d, got, want)
		}
	}
}

// An error names what there is, but not all of a thousand.
func TestThereAre_NamesAFew(t *testing.T) {
	var many []string
	for i := range 13 {
		many = append(many, fmt.Sprintf("n%02d", 12-i))
	}
	for _, tc := range []struct {
		names []string
		want  string
	}{
		{nil, "is none"}, {[]string{"a"}, "is only a"}, {[]string{"b", "a"}, "are a, b"},
		{many, "are n00, n01, n02, n03, n04, n05, n06, n07, n08, n09 and 3 more"},
	} {
		if got := thereAre(tc.names); got != tc.want {
			t.Errorf("%v: %q, wanted %q", tc.names, got, tc.want)
		}
	}
}
