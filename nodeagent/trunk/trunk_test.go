package trunk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func pinged(id, proxy string, sec int) api.TrunkWatch {
	return api.TrunkWatch{ID: id, AccountID: "acc_1", Name: id, URI: "sip:carrier.test", Proxy: proxy, Transport: "udp", PingSec: sec}
}

// Proves that a silent trunk goes down within two pings and comes back after two answers, that questions are told, and
// the brain hears what was found; a trunk whose DNS name cannot be found is down too.
func TestKeeper_TellsWhichTrunksAreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(pinged("a", "192.0.2.1", 10), pinged("b", "192.0.2.9:5070", 10), pinged("c", "nowhere.test", 10))
		k, _ := startKeeper(t, w, "n1")
		time.Sleep(8 * time.Second)
		if down, via := k.Hints(); down != "c" || via != "c=" {
			t.Errorf("at first down %q, via %q", down, via)
		}
		w.set(func(w *world) { w.silent["192.0.2.1:5060"] = true })
		time.Sleep(30 * time.Second)
		if down, _ := k.Hints(); down != "a,c" {
			t.Errorf("silent, and down is %q", down)
		}
		w.set(func(w *world) { w.silent["192.0.2.1:5060"], w.code = false, 404; w.away = true }) // pings need no brain
		time.Sleep(30 * time.Second)
		if down, _ := k.Hints(); down != "c" {
			t.Errorf("answering again, and down is %q", down)
		}
		w.set(func(w *world) { w.away = false })
		time.Sleep(6 * time.Second)
		w.set(func(w *world) {
			got := w.told["n1"].Trunks
			if len(got) != 3 || got[0].State != api.TrunkUp || got[0].Code != 404 || got[0].RTTMS != 20 || got[0].Target != "192.0.2.1:5060" || got[0].Failed < 2 ||
				got[2].State != api.TrunkDown || !strings.Contains(got[2].LastError, "no such host") {
				t.Errorf("the brain was told %+v", got)
			}
			if n := strings.Count(strings.Join(w.seen, "\n"), "OPTIONS 192.0.2.9:5070"); n < 6 || n > 9 {
				t.Errorf("%d pings in 74 s at 10 s each", n)
			}
		})
	})
}

// Proves that the targets of SRV records are tried in order, and that questions are told all, the one that answers first.
func TestKeeper_FindsTheTargetThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(pinged("a", "srv.test", 10))
		w.silent["192.0.2.1:5061"] = true
		k, _ := startKeeper(t, w, "n1")
		time.Sleep(8 * time.Second)
		if down, via := k.Hints(); down != "" || via != "a=192.0.2.2:5062|192.0.2.1:5061" {
			t.Errorf("down %q, via %q", down, via)
		}
	})
}

// Proves that pings which Kamailio did not take say nothing of a trunk, neither of one that is up nor of one nobody has heard of, but are told;
// one that it cannot send is the trunk's own failure.
func TestKeeper_PingThatNeverLeftIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(pinged("a", "192.0.2.1", 10), pinged("b", "192.0.2.2", 10))
		w.shut["192.0.2.2:5060"] = true
		states := func(want ...string) {
			t.Helper()
			time.Sleep(35 * time.Second)
			w.set(func(w *world) {
				for i, got := range w.told["n1"].Trunks {
					if got.State != want[i] || got.State == api.TrunkUnknown && got.Pings != 0 || (got.LastError == "") != (got.State == api.TrunkUp && !w.deaf) {
						t.Errorf("the brain was told %+v, want %s", got, want[i])
					}
				}
			})
		}
		w.deaf = true
		startKeeper(t, w, "n1")
		states(api.TrunkUnknown, api.TrunkUnknown)
		w.set(func(w *world) { w.deaf = false })
		states(api.TrunkUp, api.TrunkDown)
		w.set(func(w *world) { w.deaf = true })
		states(api.TrunkUp, api.TrunkDown)
	})
}

// Proves that failed calls count as failed pings where there are pings, and mark a trunk without for half a minute.
func TestKeeper_HearsOfFailedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(pinged("a", "192.0.2.1", 600), pinged("b", "192.0.2.2", 0))
		k, _ := startKeeper(t, w, "n1")
		time.Sleep(3 * time.Second)
		for _, id := range []string{"a", "b", "other"} {
			k.CallFailed(id, 408)
			k.CallFailed(id, 486)
		}
		if down, _ := k.Hints(); down != "b" {
			t.Errorf("after one call down is %q", down)
		}
		k.CallFailed("a", 503)
		if down, _ := k.Hints(); down != "a,b" {
			t.Errorf("after two calls down is %q", down)
		}
		time.Sleep(31 * time.Second)
		if down, _ := k.Hints(); down != "a" {
			t.Errorf("half a minute later down is %q", down)
		}
		if _, err := k.Ping(t.Context(), "other"); err == nil {
			t.Error("a trunk that is not there was pinged")
		}
		for range 2 {
			if seen, err := k.Ping(t.Context(), "a"); err != nil || seen.Code != 200 {
				t.Errorf("%+v, %v", seen, err)
			}
		}
		if down, _ := k.Hints(); down != "" {
			t.Errorf("pinged twice, and down is %q", down)
		}
	})
}

// Proves that a trunk does not stay down for ever where no ping finds it up again: one whose pings were switched off while
// it was down, and one without pings that an operator has pinged.
func TestKeeper_ForgetsThatAnUnpingedTrunkIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(pinged("a", "192.0.2.1", 10), pinged("b", "192.0.2.2", 0))
		w.silent["192.0.2.1:5060"], w.silent["192.0.2.2:5060"] = true, true
		k, _ := startKeeper(t, w, "n1")
		time.Sleep(30 * time.Second)
		if _, err := k.Ping(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		if down, _ := k.Hints(); down != "a,b" {
			t.Errorf("down is %q", down)
		}
		w.set(func(w *world) { w.list = []api.TrunkWatch{pinged("a", "192.0.2.1", 0), pinged("b", "192.0.2.2", 0)} })
		time.Sleep(40 * time.Second)
		if down, _ := k.Hints(); down != "" {
			t.Errorf("neither is pinged, and down is %q", down)
		}
	})
}

// Proves that a list keeps what is known of trunks that stay, forgets those that go, and that neither more trunks nor
// longer hints than allowed come out of it.
func TestKeeper_TakesANewList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(pinged("a", "192.0.2.1", 600), pinged("b", "192.0.2.2", 600))
		k, _ := startKeeper(t, w, "n1")
		time.Sleep(3 * time.Second)
		w.set(func(w *world) {
			w.list = []api.TrunkWatch{pinged("a", "192.0.2.1", 600)}
			for i := range 1200 {
				w.list = append(w.list, pinged(fmt.Sprintf("trk_%020d", i), "192.0.2.3", 0))
			}
		})
		time.Sleep(6 * time.Second)
		found := k.found().Trunks
		if len(found) != api.MaxNodeTrunks || found[0].State != api.TrunkUp || slices.ContainsFunc(found, func(s api.TrunkSeen) bool { return s.ID == "b" }) {
			t.Errorf("%d trunks, the first %+v", len(found), found[0])
		}
		for i := range 1200 {
			k.CallFailed(fmt.Sprintf("trk_%020d", i), 408)
		}
		down, _ := k.Hints()
		if n := strings.Count(down, ",") + 1; n > maxHints || len(down) > maxHintText || !strings.HasSuffix(down, fmt.Sprintf(",trk_%020d", n-1)) {
			t.Errorf("%d trunks in %d bytes: …%s", n, len(down), down[len(down)-60:])
		}
	})
}
