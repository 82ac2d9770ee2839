package guard

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Of two brains that are configured otherwise a node keeps to the one that spoke last, whichever it reports to. A policy whose version nobody has
// given out, since the journal is gone and the clock went back, is replaced all the same.
func TestPolicy_OfTwoBrainsTheLastWordHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newBench(), newBench()
		second.Bans, second.live = first.live, first.live
		second.Signatures = []string{"evil-dialer"}
		old := first.tells(t, api.GuardReport{}).Policy
		time.Sleep(time.Second)
		now := second.tells(t, api.GuardReport{PolicyVersion: old.Version}).Policy
		if now == nil || now.Version <= old.Version || !slices.Contains(now.Signatures, "evil-dialer") {
			t.Fatalf("after %d comes %+v", old.Version, now)
		}
		for _, b := range []*bench{first, second} {
			for _, complete := range []bool{false, true} {
				if p := b.tells(t, api.GuardReport{PolicyVersion: now.Version, Complete: complete}).Policy; p != nil {
					t.Errorf("version %d is replaced by %d", now.Version, p.Version)
				}
			}
		}
		ahead := now.Version + time.Hour.Milliseconds()
		if p := second.tells(t, api.GuardReport{PolicyVersion: ahead, Complete: true}).Policy; p == nil || p.Version != now.Version {
			t.Errorf("a version that nobody has given out is replaced by %+v", p)
		}
	})
}

// A report of many offences is a bounded number of lines in the log, the last of which says how many more there were.
func TestReport_LogsSoMuch(t *testing.T) {
	b := newBench()
	var log strings.Builder
	b.Log = slog.New(slog.NewTextHandler(&log, nil))
	b.tells(t, api.GuardReport{})
	log.Reset()
	var offences []api.Offence
	for i := range 100 {
		o := offence(api.TierUA, api.OffenceScanner, fmt.Sprintf("192.0.2.%d", i))
		o.Known, o.UntilMS = i%2 == 0, time.Now().Add(time.Hour).UnixMilli()
		offences = append(offences, o)
	}
	offences[1].Count, offences[1].Evidence = 7, "INVITE of a scanner"
	b.tells(t, api.GuardReport{Offences: offences})
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if last := lines[len(lines)-1]; len(lines) != 21 || !strings.Contains(last, "decisions=80 bans=40 lifts=40") {
		t.Errorf("%d lines, the last is %s", len(lines), last)
	}
	for _, want := range []string{"addr=192.0.2.1 ", "kind=scanner", "count=7", `evidence="INVITE of a scanner"`} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("%s: no %s", lines[1], want)
		}
	}
}
