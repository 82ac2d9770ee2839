package nodeagent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// A report of live dialogs arrives as it is, at the next brain when the first one is away; one that is larger
// than a brain reads is an error, and nobody is asked to take it.
func TestPostDialogs_DeliversTheWholeReport(t *testing.T) {
	posts := 0
	var got api.DialogReport
	brain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posts++
		if r.URL.Path != api.PathDialogs || r.Header.Get("Authorization") != "Bearer key" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprintf(w, `{"seq":%d}`, got.Seq)
	}))
	defer brain.Close()
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer away.Close()
	r := newReporter([]string{away.URL, brain.URL}, "key", nil)
	report := api.DialogReport{Node: "edge1", Boot: "1-2", BootMS: 1, Seq: 7, TakenMS: 2}
	for i := range 36_000 {
		report.Dialogs = append(report.Dialogs, api.Dialog{AccountID: "acc", Token: fmt.Sprint(i), CallID: fmt.Sprint("c", i), SinceMS: 1})
	}
	report.Count = len(report.Dialogs)
	if err := r.postDialogs(t.Context(), report); err != nil || !reflect.DeepEqual(got, report) {
		t.Errorf("%v; %d dialogs came", err, len(got.Dialogs))
	}
	report.Dialogs[0].From = strings.Repeat("x", api.MaxReport)
	if err := r.postDialogs(t.Context(), report); err == nil || posts != 1 {
		t.Errorf("too large: %v, posted %d times", err, posts)
	}
}

// Proves that of several brains a frozen one costs a question no more than its part of the time: another answers within
// it, and is asked first from then on; when the time is too short for the other, the next question begins there.
func TestReporter_FrozenBrainLeavesTimeForTheOther(t *testing.T) {
	frozen := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the asker go
		<-r.Context().Done()
	}))
	defer frozen.Close()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"leases":[]}`) }))
	defer good.Close()
	ask := func(r *reporter, within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := trunkBrain{r}.Lease(ctx, api.TrunkLeaseRequest{Node: "n1"})
		return err
	}
	r := newReporter([]string{frozen.URL, good.URL}, "key", nil)
	if err := ask(r, 4*time.Second); err != nil || r.first.Load() != 1 {
		t.Errorf("%v, and brain %d is asked first", err, r.first.Load())
	}
	r = newReporter([]string{frozen.URL, good.URL}, "key", nil)
	if err := ask(r, minShare/2); err == nil || r.first.Load() != 1 {
		t.Errorf("too short a time: %v, and brain %d is asked first", err, r.first.Load())
	}
	if err := ask(r, 10*time.Second); err != nil {
		t.Errorf("the next question: %v", err)
	}
}

// Proves how the time of a question is shared among brains.
func TestReporter_SharesTheTime(t *testing.T) {
	for _, c := range []struct {
		brains, n  int
		left, want time.Duration // left 0 = without end
	}{
		{2, 0, 1500 * time.Millisecond, 750 * time.Millisecond},
		{3, 1, 1500 * time.Millisecond, 750 * time.Millisecond},
		{9, 0, 1500 * time.Millisecond, minShare},
		{2, 0, time.Minute, shareTimeout},
		{2, 0, 0, shareTimeout},
		{2, 1, time.Minute, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			if c.left > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.left)
				defer cancel()
			}
			asking, cancel := (&reporter{urls: make([]string, c.brains)}).share(ctx, c.n)
			defer cancel()
			end, _ := asking.Deadline()
			if got := time.Until(end); got != c.want {
				t.Errorf("%+v: %v", c, got)
			}
		})
	}
}
