package dialogs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// node is a Kamailio, an rtpengine and a brain as a test says.
type node struct {
	mu       sync.Mutex
	boot     string
	sec      int64
	tokens   []string // dialogs of Kamailio
	sessions map[string]bool
	slow     time.Duration // of a list
	kamErr   error
	mediaErr error
	postErr  error
	during   func() // while a list is made
	asked    int    // media sessions asked for
	lists    int
	reports  []api.DialogReport
}

func (n *node) Boot(context.Context) (string, int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.boot, n.sec, n.kamErr
}

func call(token string) api.Dialog {
	return api.Dialog{AccountID: "acc", Token: token, CallID: "call-" + token, From: "sip:a@x", To: "sip:b@x", SinceMS: time.Now().UnixMilli()}
}

func (n *node) Dialogs(context.Context) ([]api.Dialog, error) {
	time.Sleep(n.slow)
	if n.during != nil {
		n.during()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lists++
	var list []api.Dialog
	for _, token := range n.tokens {
		list = append(list, call(token))
	}
	return list, n.kamErr
}

func (n *node) HasSession(_ context.Context, callID string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.sessions[callID], n.mediaErr
}

func (n *node) post(_ context.Context, r api.DialogReport) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.postErr != nil {
		return n.postErr
	}
	n.reports = append(n.reports, r)
	return nil
}

func (n *node) set(change func(*node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// last returns the tokens of the last report and how many reports came.
func (n *node) last() (tokens []string, reports int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.reports) == 0 {
		return nil, 0
	}
	for _, d := range n.reports[len(n.reports)-1].Dialogs {
		tokens = append(tokens, d.Token)
	}
	slices.Sort(tokens)
	return tokens, len(n.reports)
}

// start runs a reporter over n with a report a second, inside a synctest bubble.
func start(t *testing.T, n *node) *Reporter {
	t.Helper()
	n.boot, n.sec = fmt.Sprintf("%d-7", time.Now().Unix()), time.Now().Unix()
	r := New(Config{Node: "edge1", Interval: time.Second, Kamailio: n, Media: n, Post: n.post, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

func (n *node) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got, _ := n.last(); !slices.Equal(got, want) {
		t.Errorf("%s: the report lists %v, want %v", when, got, want)
	}
}

func started(d api.Dialog) []api.Event {
	return []api.Event{{Type: api.EventDialogStart, AccountID: d.AccountID, Token: d.Token, CallID: d.CallID, From: d.From, To: d.To, TimeMS: d.SinceMS}}
}

// A report says whose it is, when its list was begun and how many it lists; numbers rise by one from the start
// time, and Kamailio's life begins where no second is shared with the one before.
func TestReporter_ReportsTheWholeList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := &node{tokens: []string{"a", "b"}, slow: 10 * time.Millisecond}
		r := start(t, n)
		time.Sleep(3500 * time.Millisecond)
		n.expect(t, "after three rounds", "a", "b")
		if len(n.reports) != 3 || r.Stats().Reports != 3 || r.Stats().Dialogs != 2 || r.Stats().TookMS != 10 {
			t.Fatalf("%d reports, stats %+v", len(n.reports), r.Stats())
		}
		for i, got := range n.reports {
			want := api.DialogReport{Node: "edge1", Boot: n.boot, BootMS: began.Unix()*1000 + 1000, Seq: began.UnixMilli() + int64(i),
				TakenMS: began.Add(time.Duration(i+1) * time.Second).UnixMilli(), Count: 2}
			got.Dialogs = nil
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("report %d is %+v, want %+v", i, got, want)
			}
		}
	})
}

// No report is made while Kamailio does not answer or lists nothing for certain, nor when it was restarted in the
// middle of a list; an idle Kamailio's empty list is a report.
func TestReporter_SaysNothingItDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{tokens: []string{"a"}, kamErr: errors.New("not complete")}
		r := start(t, n)
		time.Sleep(2500 * time.Millisecond)
		n.set(func(n *node) { n.kamErr = nil; n.during = func() { n.set(func(n *node) { n.boot += "x" }) } })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, reports := n.last(); reports != 0 || r.Stats().Faults != 4 {
			t.Errorf("%d reports, stats %+v; want none and four faults", reports, r.Stats())
		}
		n.set(func(n *node) { n.during = nil; n.tokens = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		if len(n.reports) != 1 || n.reports[0].Count != 0 {
			t.Errorf("reports %+v, want an empty one", n.reports)
		}
	})
}

// Kamailio is restarted with calls up: those of the last list, and those that began since, are reported as long
// as their media sessions live or nobody can tell, and no longer than that or than their end was told.
func TestReporter_KeepsCallsOfAnEarlierKamailio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{tokens: []string{"a", "b", "c"}, sessions: map[string]bool{"call-a": true, "call-b": true, "call-c": true, "call-d": true}}
		r := start(t, n)
		time.Sleep(1500 * time.Millisecond)
		r.Note(started(call("d"))) // between two lists
		n.set(func(n *node) { n.boot, n.tokens = "later", []string{"new"} })
		time.Sleep(time.Second)
		n.expect(t, "after the restart", "a", "b", "c", "d", "new")
		if r.Stats().Orphans != 4 {
			t.Errorf("stats %+v, want four orphans", r.Stats())
		}
		r.Note([]api.Event{{Type: api.EventDialogEnd, Token: "b"}, {Type: api.EventDialogFailed}})
		n.set(func(n *node) { delete(n.sessions, "call-c") })
		time.Sleep(time.Second)
		n.expect(t, "one was told to be over, one lost its session", "a", "d", "new")
		n.set(func(n *node) { n.mediaErr = errors.New("away"); n.sessions = nil })
		time.Sleep(3 * time.Second)
		n.expect(t, "rtpengine is away", "a", "d", "new")
		n.set(func(n *node) {
			n.boot, n.mediaErr = "third", nil
			n.tokens = nil
			n.sessions = map[string]bool{"call-new": true}
		})
		time.Sleep(time.Second)
		n.expect(t, "another restart", "new")
		time.Sleep(orphanAge)
		n.expect(t, "after the longest life of a call")
	})
}

// A call that Kamailio no longer lists, without any restart, is over and not reported, media session or not.
func TestReporter_DropsWhatALivingKamailioDoesNotList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{tokens: []string{"a", "b"}, sessions: map[string]bool{"call-a": true, "call-b": true}}
		r := start(t, n)
		time.Sleep(1500 * time.Millisecond)
		n.set(func(n *node) { n.tokens = []string{"b"} })
		r.Note(started(call("lost"))) // heard of before the list was begun, and not in it
		time.Sleep(time.Second)
		n.expect(t, "after one ended", "b")
		n.set(func(n *node) { n.boot, n.tokens = "later", nil })
		time.Sleep(time.Second)
		n.expect(t, "after a restart", "b")
		if n.asked != 1 {
			t.Errorf("%d media sessions asked for, want that of b", n.asked)
		}
	})
}

// With many orphans a round asks for a bounded number of them, each in its turn.
func TestReporter_LooksForABoundedNumberOfSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		for i := range 2*maxLooks + 10 {
			n.tokens = append(n.tokens, fmt.Sprint(i))
		}
		r := start(t, n)
		time.Sleep(1500 * time.Millisecond)
		n.set(func(n *node) { n.boot, n.tokens = "later", nil })
		for _, want := range []int{maxLooks + 10, 10, 0} {
			time.Sleep(time.Second)
			synctest.Wait()
			if got, _ := n.last(); len(got) != want {
				t.Errorf("%d are left, want %d", len(got), want)
			}
		}
		if n.asked != 2*maxLooks+10 || len(r.orphans) != 0 {
			t.Errorf("asked %d times, %d orphans left", n.asked, len(r.orphans))
		}
	})
}

// A list that takes long comes less often, so that it takes a fifth of the time at most; a report that no brain
// takes is not kept, and the next has the next number.
func TestReporter_BoundsWhatItCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{tokens: []string{"a"}, slow: 2 * time.Second, postErr: errors.New("away")}
		r := start(t, n)
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if n.lists != 3 { // begun after 1, 11 and 21 s
			t.Errorf("%d lists in 25 s, want 3", n.lists)
		}
		first := r.seq - 2
		n.set(func(n *node) { n.postErr = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(n.reports) != 1 || n.reports[0].Seq != first+3 || r.Stats().Faults != 3 {
			t.Errorf("reports %+v, first %d, stats %+v", n.reports, first, r.Stats())
		}
	})
}
