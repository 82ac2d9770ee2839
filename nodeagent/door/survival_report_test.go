package door

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func (m *memorySpool) taken() []api.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.events
}

// Every call is reported by itself; a phone that registers again and again, and one that guesses passwords,
// are reported once and then as a count each minute; and nothing of the digest is in a report.
func TestSurvival_ReportsWhatItDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := prepared(t, nil)
		for range 5 {
			s.decideForm(t, api.PathAuth, asking("REGISTER", "1002", "secret-1002", "", nil))
			s.decideForm(t, api.PathAuth, asking("REGISTER", "1002", "wrong", "", nil))
		}
		call := s.decideForm(t, api.PathRoute, asking("INVITE", "1001", "secret-1001", "1002", nil))
		s.decideForm(t, api.PathRoute, asking("INVITE", "1001", "secret-1001", "1002", nil))
		s.decideForm(t, api.PathRoute, asking("INVITE", "1001", "secret-1001", "1003", nil)) // 503: not decided
		time.Sleep(2 * reportEvery)
		first := s.spool.taken()
		if len(first) != 4 {
			t.Fatalf("%d events, want 4: %+v", len(first), first)
		}
		if ev := first[2]; ev.Type != api.EventSurvival || ev.Token != call.Call.Token || ev.AccountID != "acc_1" || ev.AOR != "sip:phone-1001@acme.test" ||
			ev.From != "1001@acme.test" || ev.To != "1002" || ev.SIPCode != 0 || ev.CallID == "" || ev.TimeMS == 0 || ev.Seq != 3 {
			t.Errorf("report of a call: %+v", ev)
		}
		time.Sleep(tallyFor)
		counted := map[int]int{}
		for _, ev := range s.spool.taken()[4:] {
			counted[ev.SIPCode] += ev.Count
		}
		if fmt.Sprint(counted) != "map[0:4 403:4]" {
			t.Errorf("counted %v, want 4 more of each", counted)
		}
		s.decideForm(t, api.PathAuth, asking("REGISTER", "1002", "secret-1002", "", nil))
		s.stop()
		if got := len(s.spool.taken()); got != 7 {
			t.Errorf("%d events at the end, want 7: the last must not wait for the next start", got)
		}
	})
}

// While the spool fails reports wait; past the bound they are counted as dropped; and what a stranger wrote
// into a request is bounded and clean in its report.
func TestReports_AreBounded(t *testing.T) {
	spool := &memorySpool{fail: errors.New("disk full")}
	now := time.UnixMilli(1_700_000_000_000)
	r := newReports("edge-1", spool, slog.New(slog.DiscardHandler), now)
	long := url.Values{}
	for range 500 {
		long.Add("x", "\x00\xff é")
	}
	q := &api.RouteRequest{Origin: api.Origin{CallID: long["x"][0] + fmt.Sprint(long)}}
	for i := range maxReports + 10 {
		r.note(now, q, decided{account: "acc_1", token: fmt.Sprint("t", i)})
	}
	for i := range maxTallies + 5 {
		r.note(now, q, decided{account: "acc_1", aor: fmt.Sprint("sip:", i, "@x"), code: 403})
	}
	r.flush()
	if waiting, dropped := r.counts(); waiting != maxReports || dropped != 10+maxTallies+5 {
		t.Errorf("%d wait, %d dropped", waiting, dropped)
	}
	spool.fail = nil
	r.flush()
	got := spool.taken()
	if waiting, _ := r.counts(); waiting != 0 || len(got) != maxReports || got[maxReports-1].Seq != maxReports {
		t.Errorf("%d wait, %d spooled", waiting, len(got))
	}
	if id := got[0].CallID; len(id) > maxReportText || id != reportText(id) || id == "" {
		t.Errorf("call id %q", id)
	}
}
