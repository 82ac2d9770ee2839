package trunk

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Proves what questions are told of trunks with several targets: all of them, also of one that is not pinged, the ones at which a call
// has failed last, for half a minute, whether a question tells it or the events of a call that another target took. What is told of
// targets that are none of the trunk's changes nothing. One target of a name is told too, behind the others, and a name that leads nowhere; an address
// is not.
func TestKeeper_TellsTheTargetsOfATrunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(pinged("a", "srv.test", 0), pinged("b", "192.0.2.9:5070", 0), pinged("c", "nowhere.test", 0), pinged("a0", "one.test:5070", 0))
		k, _ := startKeeper(t, w, "n1")
		expect := func(want string) {
			t.Helper()
			if _, via := k.Hints(); via != want+",c=,a0=192.0.2.1:5070" {
				t.Errorf("after %d s via %q, want %q", now(), via, want)
			}
		}
		time.Sleep(time.Second)
		both, other := "a=192.0.2.1:5061|192.0.2.2:5062", "a=192.0.2.2:5062|192.0.2.1:5061"
		expect(both)
		k.TargetsFailed("a", "sip:192.0.2.1:5061;transport=udp=408,sip:192.0.2.7:5061;transport=udp=503")
		expect(other)
		for _, e := range []api.Event{{Type: api.EventDialogEnd, Trunk: "a", Targets: "sip:192.0.2.2:5062=408"}, {Type: api.EventDialogStart, Trunk: "moon", Targets: "sip:192.0.2.2:5062=408"},
			{Type: api.EventDialogStart, Trunk: "a"}} {
			k.Note([]api.Event{e})
			expect(other)
		}
		time.Sleep(29 * time.Second)
		expect(other)
		time.Sleep(2 * time.Second)
		expect(both)
		k.Note([]api.Event{{Type: api.EventDialogStart, Trunk: "a", Targets: "sip:192.0.2.1:5061=503"}})
		expect(other)
		time.Sleep(5 * time.Second)
		w.set(func(w *world) {
			if got := w.told["n1"].Trunks; len(got) != 4 || got[0].Failed != 2 {
				t.Errorf("the brain was told %+v", got)
			}
		})
	})
}
