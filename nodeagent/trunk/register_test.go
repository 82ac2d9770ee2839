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

// Proves that a trunk that is no longer registered at is removed at the registrar, though no lease of it is renewed any
// more, and its lease is forgotten; so is one that is gone, where nothing needs a password; one whose login was changed is
// removed before it is registered anew.
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
			w.list = []api.TrunkWatch{pinged("a", "srv.test", 0)}
		})
		gone := func(what string) {
			time.Sleep(8 * time.Second)
			w.set(func(w *world) {
				if l := w.lease; len(w.reg.live()) != 0 || l.Node != "" || l.Contact != "" || len(l.Old) != 0 {
					t.Errorf("%s: %v, %+v", what, w.reg.live(), l)
				}
			})
		}
		gone("no longer registered at")
		w.set(func(w *world) { w.list = []api.TrunkWatch{registers("a")}; w.reg.open = true })
		time.Sleep(8 * time.Second)
		w.set(func(w *world) {
			if len(w.reg.live()) != 1 {
				t.Error("not registered again")
			}
			w.list = nil
		})
		gone("gone")
	})
}

// Proves that a holder who has not registered yet, and whose trunk is changed, leaves the Contact of his predecessor to be
// removed by whoever registers next.
func TestKeeper_ForgetsNoFormerContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		startKeeper(t, w, "n1")
		time.Sleep(8 * time.Second)
		w.set(func(w *world) { w.broken, w.reg.refuse = "n1", 500 })
		startKeeper(t, w, "n2")
		time.Sleep(20 * time.Second)
		w.set(func(w *world) {
			if got := w.reg.live(); !slices.Equal(got, []string{"sip:4930@n1.test:5060"}) || w.lease.Node != "n2" {
				t.Errorf("registered %v, lease %+v", got, w.lease)
			}
			l := registers("a")
			l.URI = "sip:other.test"
			w.reg.refuse, w.list = 0, []api.TrunkWatch{l}
		})
		time.Sleep(time.Minute)
		w.set(func(w *world) {
			if got := w.reg.live(); !slices.Equal(got, []string{"sip:4930@n2.test:5060"}) {
				t.Errorf("registered %v, lease %+v", got, w.lease)
			}
		})
	})
}

// Proves that a trunk that is changed while its first REGISTER is under way leaves nothing registered behind: what comes
// of that is not known, and the next REGISTER removes it.
func TestKeeper_RemovesWhatWasUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		w.slow, w.reg.refuse = make(chan struct{}), 403 // slow is never closed
		startKeeper(t, w, "n1")
		time.Sleep(2500 * time.Millisecond)
		w.set(func(w *world) { w.reg.refuse = 0 }) // it is tried again within 1.7 s, and has its answer 4 s later
		time.Sleep(2 * time.Second)
		w.set(func(w *world) {
			if w.slow != nil || len(w.reg.live()) != 1 || w.lease.Target != "" {
				t.Errorf("registered %v, lease %+v", w.reg.live(), w.lease)
			}
			w.list = slices.Clone(w.list)
			w.list[0].User, w.list[0].AOR = "4940", "sip:4940@carrier.test"
		})
		time.Sleep(8 * time.Second)
		w.set(func(w *world) {
			if got := w.reg.live(); !slices.Equal(got, []string{"sip:4940@n1.test:5060"}) {
				t.Errorf("registered %v, lease %+v", got, w.lease)
			}
		})
	})
}

// Proves that a target that cannot be sent to is passed over for the next.
func TestKeeper_PassesOverWhatCannotBeSentTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		w.shut["192.0.2.1:5061"] = true
		startKeeper(t, w, "n1")
		time.Sleep(8 * time.Second)
		w.set(func(w *world) {
			if len(w.reg.live()) != 1 || w.lease.Target != "192.0.2.2:5062" {
				t.Errorf("registered %v, lease %+v", w.reg.live(), w.lease)
			}
		})
	})
}

// Proves that a carrier's words, whatever they are, keep no lease from being renewed: the brain refuses requests whose
// texts are too long or have control characters.
func TestKeeper_TellsCarriersWordsCleaned(t *testing.T) {
	for _, reason := range []string{"Wartung\t2 h\r\nX: y", strings.Repeat("禁", 300), "\xff\x00"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(registers("a"))
			w.reg.refuse, w.reg.reason = 503, reason
			startKeeper(t, w, "n1")
			time.Sleep(20 * time.Second)
			w.set(func(w *world) {
				if l := w.lease; l.Node != "n1" || !strings.HasPrefix(l.LastError, "503") || w.until < time.Now().UnixMilli() {
					t.Errorf("%.20q: %+v", reason, l)
				}
				w.reg.refuse = 0
			})
			time.Sleep(time.Minute)
			w.set(func(w *world) {
				if len(w.reg.live()) != 1 {
					t.Errorf("%.20q: not registered; %+v", reason, w.lease)
				}
			})
		})
	}
}

// Proves that what comes of a REGISTER counts for the lease and the Contact under which it was sent alone.
func TestKeeper_CreditsNoLaterContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(registers("a"))
		slow := make(chan struct{})
		w.self, w.list[0].ExpireSec = "old.test", 30
		startKeeper(t, w, "n1")
		time.Sleep(3 * time.Second)
		w.set(func(w *world) { w.slow = slow }) // of the refresh, after 8.5 s
		time.Sleep(6 * time.Second)
		w.set(func(w *world) { w.self = "new.test" })
		time.Sleep(2500 * time.Millisecond) // it asks for leases with the new Contact before the answer to the old one is there
		w.set(func(w *world) {
			if w.lease.Contact != "sip:4930@new.test" || w.slow != nil || len(w.reg.live()) != 1 {
				t.Errorf("lease %+v, registered %v", w.lease, w.reg.live())
			}
		})
		close(slow)
		time.Sleep(5 * time.Second)
		w.set(func(w *world) {
			if got := w.reg.live(); !slices.Equal(got, []string{"sip:4930@new.test"}) || len(w.lease.Old) != 0 || w.lease.Target == "" {
				t.Errorf("registered %v, lease %+v", got, w.lease)
			}
		})
	})
}

// Proves that a registrar that grants next to nothing gets a REGISTER each 5 s at most, and one that grants nothing at all
// is one that refuses.
func TestKeeper_DoesNotFloodARegistrar(t *testing.T) {
	for grants, most := range map[string]int{"1": 13, "0": 7} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(registers("a"))
			w.reg.grants = grants
			startKeeper(t, w, "n1")
			time.Sleep(time.Minute)
			w.set(func(w *world) {
				if n := len(w.reg.requests); n < 3 || n > most {
					t.Errorf("%s s granted: %d REGISTERs in a minute, at most %d are wanted", grants, n, most)
				}
				if refused := w.lease.LastError != ""; refused != (grants == "0") {
					t.Errorf("%s s granted: %+v", grants, w.lease)
				}
			})
		})
	}
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
		{"Contact", "<sip:x@y>;expires=9", 9, 5},
		{"Contact", "<sip:x@y>;expires=90, <sip:z@y>;expires=60, <sip:old@y>;expires=0", 60, 30},
		{"Contact", "<sip:x@y>", 600, 300},
		{"Contact", "<sip:a@192.0.2.1>;expires=60", 60, 30},
		{"Contact", "<sip:x@y>;expires=9, <sip:a@203.0.113.5:40123;transport=udp;ob>;+sip.instance=\"<urn:x,y>\";expires=\"60\"", 60, 30},
		{"Contact", "\"a, <b>;expires=1\" <sip:%61@203.0.113.5>;q=1;expires=60", 60, 30},
		{"Contact", "<sip:a@198.51.100.1>;expires=0, <sip:a@203.0.113.5>;expires=60, <sip:a@203.0.113.6>;expires=70", 60, 30},
		{"Contact", "sip:a@192.0.2.1:5060;expires=60", 60, 30},
		{"Contact", "SIP:a@192.0.2.1 ; Expires = 60, <sip:x@y>;expires=9", 60, 30},
		{"Contact", "<" + me, 600, 300},
		{"Contact", "<sip:old@y>;expires=0", 600, 300},
		{"Contact", "*, , ;expires=70", 600, 300},
		{"Expires", "0", 0, 5},
		{"Contact", "<" + me + ">;expires=0", 0, 5},
		{"Expires", "1", 1, 5},
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
