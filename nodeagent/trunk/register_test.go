package trunk

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func registers(id string) api.TrunkWatch {
	w := pinged(id, "srv.test", 0)
	w.AOR, w.User, w.ExpireSec, w.Auth = "sip:4930@carrier.test", "4930", 600, true
	return w
}

// Proves that of two nodes one registers, refreshes at half time, and that after it is gone without a word the other has
// registered within 5 s, removing the first one's Contact in the same REGISTER: the carrier never has two. Calls follow.
func TestKeeper_OneNodeRegisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		two := ""
		k1, stop1 := startKeeper(t, w, "n1")
		time.Sleep(3 * time.Second)
		k2, _ := startKeeper(t, w, "n2")
		time.Sleep(4 * time.Second)
		if _, via := k2.Hints(); via != "a=192.0.2.1:5061" {
			t.Errorf("the other node sends calls via %q", via)
		}
		w.set(func(w *world) {
			if got := w.reg.live(); !slices.Equal(got, []string{"sip:4930@n1.test:5060"}) || len(w.reg.requests) != 1 {
				t.Errorf("registered: %v by %d requests", got, len(w.reg.requests))
			}
		})
		time.Sleep(5 * time.Minute)
		w.set(func(w *world) {
			if len(w.reg.requests) != 2 || w.reg.requests[0].CallID != w.reg.requests[1].CallID || w.reg.requests[0].CSeq >= w.reg.requests[1].CSeq {
				t.Errorf("refreshed: %+v", w.reg.requests)
			}
		})
		k1.mu.Lock() // killed: it asks and sends nothing more
		k1.trunks = map[string]*trunk{}
		k1.mu.Unlock()
		died := time.Now()
		for two == "" && time.Since(died) < 10*time.Second {
			time.Sleep(50 * time.Millisecond)
			w.set(func(w *world) {
				if got := w.reg.live(); slices.Equal(got, []string{"sip:4930@n2.test:5060"}) {
					two = got[0]
				}
			})
		}
		if took := time.Since(died); two == "" || took > 5*time.Second {
			t.Errorf("taken over after %v by %q", took, two)
		}
		time.Sleep(2 * time.Second)
		w.set(func(w *world) {
			if w.reg.most != 1 {
				t.Errorf("the carrier had %d Contacts at a time", w.reg.most)
			}
			if l := w.lease; l.Node != "n2" || len(l.Old) != 0 || l.Target != "192.0.2.1:5061" {
				t.Errorf("the lease says %+v", l)
			}
		})
		stop1()
	})
}

// Proves that a holder that cannot renew its lease sends no REGISTER after its end, and goes on when the brain is back;
// that a stop gives the lease back at once and leaves the registration to the next.
func TestKeeper_RegistersUnderItsLeaseAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		w.list[0].ExpireSec = 60
		_, stop := startKeeper(t, w, "n1")
		time.Sleep(8 * time.Second)
		w.set(func(w *world) { w.away = true })
		time.Sleep(2 * time.Minute)
		w.set(func(w *world) {
			if n := len(w.reg.requests); n != 1 {
				t.Errorf("%d REGISTERs, one before the brain went", n)
			}
			w.away = false
		})
		time.Sleep(2 * time.Second)
		w.set(func(w *world) {
			if len(w.reg.live()) != 1 {
				t.Error("the brain is back, and nothing is registered")
			}
		})
		stop()
		if l := w.lease; l.Node != "" || len(l.Old) != 1 || len(w.reg.live()) != 1 {
			t.Errorf("stopped: %+v, registered %v", l, w.reg.live())
		}
	})
}

// Proves that a node whose Kamailio is away leaves the registration to another, and does not ask for it.
func TestKeeper_LeavesItToANodeThatCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		startKeeper(t, w, "n1")
		time.Sleep(8 * time.Second)
		startKeeper(t, w, "n2")
		w.set(func(w *world) { w.broken = "n1" })
		time.Sleep(8 * time.Second)
		w.set(func(w *world) {
			if got := w.reg.live(); !slices.Equal(got, []string{"sip:4930@n2.test:5060"}) || w.reg.most != 1 {
				t.Errorf("registered: %v, at most %d", got, w.reg.most)
			}
			w.broken = "n2"
		})
		time.Sleep(3 * time.Second)
		w.set(func(w *world) {
			if got := w.reg.live(); !slices.Equal(got, []string{"sip:4930@n1.test:5060"}) || w.reg.most != 1 {
				t.Errorf("registered: %v, at most %d", got, w.reg.most)
			}
		})
	})
}

// Proves what a REGISTER is tried with: a second target when the first is silent, a longer time when the registrar wants
// one, again with growing pauses while it refuses; and what the brain is told of it.
func TestKeeper_TriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		w.silent["192.0.2.1:5061"], w.reg.least = true, 1800
		k, _ := startKeeper(t, w, "n1")
		time.Sleep(12 * time.Second)
		if _, via := k.Hints(); via != "a=192.0.2.2:5062" {
			t.Errorf("via %q", via)
		}
		w.set(func(w *world) {
			if len(w.reg.requests) != 1 || !strings.Contains(w.reg.requests[0].Headers, "Expires: 1800\r\n") {
				t.Errorf("accepted %+v", w.reg.requests)
			}
			w.reg.refuse, w.seen = 403, nil
		})
		time.Sleep(15*time.Minute + 60*time.Second)
		w.set(func(w *world) {
			n := strings.Count(strings.Join(w.seen, " "), "REGISTER")
			if l := w.lease; n < 4 || n > 10 || !strings.HasPrefix(l.LastError, "403") || l.Target == "" {
				t.Errorf("%d REGISTERs in a minute of refusals: %+v", n, l)
			}
		})
	})
}

// Proves that a trunk that is no longer registered at is removed at the registrar, and its lease is forgotten; one whose
// login was changed is removed before it is registered anew.
func TestKeeper_UnregistersWhatWasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		startKeeper(t, w, "n1")
		time.Sleep(8 * time.Second)
		w.set(func(w *world) {
			w.list = slices.Clone(w.list)
			w.list[0].User, w.list[0].AOR = "4940", "sip:4940@carrier.test"
		})
		time.Sleep(12 * time.Second)
		w.set(func(w *world) {
			if got := w.reg.live(); !slices.Equal(got, []string{"sip:4940@n1.test:5060"}) || w.reg.most != 1 {
				t.Errorf("changed: %v, at most %d", got, w.reg.most)
			}
			w.list = nil
		})
		time.Sleep(8 * time.Second)
		w.set(func(w *world) {
			if len(w.reg.live()) != 0 || w.lease.Node != "" {
				t.Errorf("removed: %v, %+v", w.reg.live(), w.lease)
			}
		})
	})
}

// Proves for how long a registrar has granted a Contact, and when it is refreshed.
func TestGrantedBy_ReadsTheRegistrar(t *testing.T) {
	const me = "sip:a@192.0.2.1:5060"
	for _, c := range []struct {
		name, value   string
		want, refresh int
	}{
		{"Expires", "300", 300, 150},
		{"Contact", "<" + me + ">;expires=120", 120, 60},
		{"Contact", "<sip:x@y>;expires=9, <" + me + ">;q=1;Expires=50;x, <sip:z@y>;expires=8", 50, 20},
		{"Contact", "<sip:x@y>;expires=9", 600, 300},
		{"Expires", "0", 1, 0},
		{"Expires", "99999", 600, 300},
		{"Expires", "30", 30, 7},
	} {
		r := Response{Code: 200, Fields: []HeaderField{{Name: c.name, Value: c.value}}}
		got := grantedBy(&r, me, 600)
		if at := refreshAfter(time.Duration(got) * time.Second); got != c.want || int(at.Seconds()) != c.refresh {
			t.Errorf("%s: %s: %d s, refreshed after %v; want %d and %d", c.name, c.value, got, at, c.want, c.refresh)
		}
	}
}

// Proves the Contact of each transport and kind of address.
func TestContactOf_IsTheNodesAddress(t *testing.T) {
	for _, c := range []struct{ transport, self, want string }{
		{"udp", "192.0.2.1:5070", "sip:u@192.0.2.1:5070"},
		{"tcp", "192.0.2.1", "sip:u@192.0.2.1;transport=tcp"},
		{"tls", "edge.test:5060", "sip:u@edge.test:5061;transport=tls"},
		{"udp", "[2001:db8::1]", "sip:u@[2001:db8::1]"},
		{"udp", "[2001:db8::1]:5070", "sip:u@[2001:db8::1]:5070"},
	} {
		if got := contactOf(&api.TrunkWatch{User: "u", Transport: c.transport}, c.self); got != c.want {
			t.Errorf("%s over %s: %s, want %s", c.self, c.transport, got, c.want)
		}
	}
}
