package cac

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/sipio/sipio/brain/pack"
)

// trunk is a channel of a trunk with room for one call.
func trunk(id string) Take { return Take{Kind: Trunk, ID: id, Limit: 1} }

// rate is the window of a trunk that may be asked once a second.
func rate(id string) Window {
	return Window{Kind: TrunkRate, ID: id, Max: 1, PeriodMS: 1000, Hard: true}
}

// holds tells what the slot of a token takes, as kind/id/limit, with its attempt.
func holds(l *Ledger, token string) string {
	s, ok := l.Slot(token)
	if !ok {
		return "nothing"
	}
	out := ""
	for _, t := range s.Takes {
		out += fmt.Sprintf("%v/%s/%d ", t.Kind, t.ID, t.Limit)
	}
	return fmt.Sprint(out, "at ", s.Attempt)
}

// Proves what a swap changes: it drops one place for each that is named and held, passes over the others, tests and
// takes the new ones behind what stays; only drops, nothing at all and the same dimension again are swaps too. In the
// end the release gives back exactly what is held then.
func TestSwap_ChangesWhatACallHolds(t *testing.T) {
	out, user := Take{Kind: Out, Limit: 9}, Take{Kind: User, ID: "u", Limit: 9}
	for name, row := range map[string]struct {
		drop, add []Take
		want      string
	}{
		"the next trunk":      {[]Take{trunk("a")}, []Take{trunk("b")}, "out//9 user/u/9 user/u/9 trunk/b/1 at 1"},
		"every trunk so far":  {[]Take{trunk("x"), trunk("a"), trunk("a")}, []Take{trunk("b")}, "out//9 user/u/9 user/u/9 trunk/b/1 at 1"},
		"one place of two":    {[]Take{{Kind: User, ID: "u"}}, nil, "out//9 user/u/9 trunk/a/1 at 1"},
		"both places":         {[]Take{user, user}, nil, "out//9 trunk/a/1 at 1"},
		"the same once more":  {[]Take{trunk("a")}, []Take{trunk("a")}, "out//9 user/u/9 user/u/9 trunk/a/1 at 1"},
		"everything":          {[]Take{user, trunk("a"), user, out}, nil, "at 1"},
		"nothing":             {nil, nil, "out//9 user/u/9 user/u/9 trunk/a/1 at 1"},
		"counted, no limit":   {nil, []Take{{Kind: Trunk, ID: "c", Limit: -1}}, "out//9 user/u/9 user/u/9 trunk/a/1 trunk/c/0 at 1"},
		"two of the next one": {nil, []Take{{Kind: Trunk, ID: "d", Limit: 2}, {Kind: Trunk, ID: "d", Limit: 2}}, "out//9 user/u/9 user/u/9 trunk/a/1 trunk/d/2 trunk/d/2 at 1"},
	} {
		l := New()
		l.Admit(1, call("1", out, user, user, trunk("a")))
		l.Admit(1, call("2", out, user))
		if v := l.Swap(2, Swap{Token: "1", Attempt: 1, Drop: row.drop, Add: row.add}); !v.Admitted || v.Repeated || holds(l, "1") != row.want {
			t.Errorf("%s: %+v, holds %s", name, v, holds(l, "1"))
		}
		books(t, l)
		if l.Release(3, "1"); fmt.Sprint(l.Usage()) != "[{out  1 9} {user u 1 9}]" {
			t.Errorf("%s: after the release %v", name, l.Usage())
		}
	}
}

// Proves that a swap without room changes nothing: places, windows and attempt stay, and the dimension without room is
// named; what the swap itself drops is room, what it adds twice is not.
func TestSwap_RefusedChangesNothing(t *testing.T) {
	l := New()
	l.Admit(1, call("1", Take{Kind: Out, Limit: 5}, trunk("a")))
	l.Admit(1, call("2", trunk("b")))
	hit := call("3")
	hit.Windows = []Window{rate("c")}
	l.Admit(1, hit)
	for name, row := range map[string]struct {
		swap Swap
		want Verdict
	}{
		"full":            {Swap{Drop: []Take{trunk("a")}, Add: []Take{trunk("c"), trunk("b")}, Windows: []Window{rate("x")}}, Verdict{Kind: Trunk, ID: "b", Limit: 1, Used: 1}},
		"twice":           {Swap{Drop: []Take{trunk("a")}, Add: []Take{trunk("a"), trunk("a")}}, Verdict{Kind: Trunk, ID: "a", Limit: 1, Used: 1}},
		"not dropped":     {Swap{Add: []Take{trunk("a")}}, Verdict{Kind: Trunk, ID: "a", Limit: 1, Used: 1}},
		"another's place": {Swap{Drop: []Take{trunk("b")}, Add: []Take{trunk("b")}}, Verdict{Kind: Trunk, ID: "b", Limit: 1, Used: 1}},
		"too fast":        {Swap{Drop: []Take{trunk("a")}, Add: []Take{trunk("c")}, Windows: []Window{rate("x"), rate("c")}}, Verdict{Kind: TrunkRate, ID: "c", Limit: 1, Used: 1, RetryMS: 999}},
		"too much":        {Swap{Add: make([]Take, MaxTakes-1)}, Verdict{Limit: MaxTakes, Used: 2}},
	} {
		before := l.AppendSnapshot(nil)
		row.swap.Token, row.swap.Attempt = "1", 1
		if v := l.Swap(2, row.swap); !reflect.DeepEqual(v, row.want) {
			t.Errorf("%s: %+v", name, v)
		}
		if !bytes.Equal(l.AppendSnapshot(nil), before) {
			t.Errorf("%s changed something: %s", name, holds(l, "1"))
		}
	}
	if v := l.Swap(2, Swap{Token: "1", Attempt: 1, Drop: []Take{trunk("a")}, Add: []Take{trunk("c")}, Windows: []Window{rate("x")}}); !v.Admitted {
		t.Errorf("a refused swap stands in the way of the next: %+v", v)
	}
}

// Proves that an attempt is granted once: the same and every earlier one are repetitions that change nothing and say what
// the call holds, also after the ledger was restored, and a later one is new, as an admission is; that a call which is
// over, or never was, has nothing to swap; and that a call which was adopted has.
func TestSwap_AnAttemptIsGrantedOnce(t *testing.T) {
	l := New()
	l.Admit(1, call("1", trunk("a")))
	l.Adopt(1, call("2", Take{Kind: Out}))
	if v := l.Admit(1, call("1", trunk("b"))); !v.Repeated || !slices.Equal(v.Held, []Take{trunk("a")}) {
		t.Fatalf("admitted again: %+v", v)
	}
	next := func(token string, attempt int, from, to string) Verdict {
		return l.Swap(2, Swap{Token: token, Attempt: attempt, Drop: []Take{trunk(from)}, Add: []Take{trunk(to)}})
	}
	if v := next("1", 34, "a", "b"); !v.Admitted || v.Repeated {
		t.Fatalf("%+v", v)
	}
	again, err := Restore(pack.NewReader(l.AppendSnapshot(nil)))
	if err != nil {
		t.Fatal(err)
	}
	again.Resume(2)
	for _, l = range []*Ledger{l, again} {
		for _, attempt := range []int{34, 33, 1} {
			v := next("1", attempt, "b", "c")
			if !v.Admitted || !v.Repeated || !slices.Equal(v.Held, []Take{trunk("b")}) || holds(l, "1") != "trunk/b/1 at 34" {
				t.Errorf("attempt %d once more: %+v, holds %s", attempt, v, holds(l, "1"))
			}
		}
		if v := next("2", 1, "a", "a"); !v.Admitted || holds(l, "2") != "out//0 trunk/a/1 at 1" {
			t.Errorf("adopted: %+v, holds %s", v, holds(l, "2"))
		}
		if v := next("1", 35, "b", "c"); !v.Admitted || v.Repeated || holds(l, "1") != "trunk/c/1 at 35" {
			t.Errorf("the next attempt: %+v, holds %s", v, holds(l, "1"))
		}
		l.Release(3, "1")
		for _, token := range []string{"1", "unknown"} {
			if v := next(token, 99, "c", "d"); !reflect.DeepEqual(v, Verdict{}) || holds(l, token) != "nothing" {
				t.Errorf("%s: %+v", token, v)
			}
		}
		books(t, l)
	}
}

// Proves that an emergency call swaps against every limit, is counted, and stays one; that a call becomes one by a swap
// which says so; and that even too many places do not stop it.
func TestSwap_EmergencyAlwaysPasses(t *testing.T) {
	l := New()
	full := call("full", trunk("b"))
	full.Windows = []Window{rate("b")}
	l.Admit(1, full)
	sos := call("sos", trunk("a"))
	sos.Emergency = true
	l.Admit(1, sos)
	l.Adopt(1, call("adopted"))
	for _, s := range []Swap{{Token: "sos"}, {Token: "adopted", Emergency: true}} {
		s.Add, s.Windows = []Take{trunk("b")}, []Window{rate("b")}
		for s.Attempt = 1; s.Attempt <= 2; s.Attempt++ {
			if v := l.Swap(1, s); !v.Admitted || v.Repeated {
				t.Errorf("%s, attempt %d: %+v", s.Token, s.Attempt, v)
			}
			s.Drop, s.Emergency = s.Add, false
		}
		if slot, _ := l.Slot(s.Token); !slot.Emergency {
			t.Errorf("%s is an emergency no longer", s.Token)
		}
	}
	if n := l.Windows(1, rate("b")); n != 5 {
		t.Errorf("the window counts %d", n)
	}
	if v := l.Swap(1, Swap{Token: "sos", Attempt: 3, Add: make([]Take, 2*MaxTakes)}); !v.Admitted {
		t.Errorf("with too many places: %+v", v)
	}
	if s, _ := l.Slot("sos"); len(s.Takes) != MaxTakes {
		t.Errorf("it holds %d places", len(s.Takes))
	}
	books(t, l)
}

// Proves that the rate of a trunk is a window which admissions and swaps share: what either took counts against the other
// for a second, exactly.
func TestSwap_SharesTheRateOfATrunkWithAdmit(t *testing.T) {
	l, n := New(), 0
	w := Window{Kind: TrunkRate, ID: "trk", Max: 2, PeriodMS: 1000, Hard: true}
	l.Admit(1000, call("swaps"))
	for _, row := range []struct {
		now, retry int64
		swap       bool
	}{{1000, 0, false}, {1400, 0, true}, {1400, 600, true}, {1999, 1, false}, {2000, 0, true}, {2001, 399, false}, {2400, 0, false}, {2999, 1, true}, {9000, 0, true}} {
		n++
		var v Verdict
		if row.swap {
			v = l.Swap(row.now, Swap{Token: "swaps", Attempt: n, Windows: []Window{w, w}}) // twice counts once
		} else {
			c := call(fmt.Sprint(n))
			c.Windows = []Window{w}
			v = l.Admit(row.now, c)
		}
		if v.Admitted != (row.retry == 0) || v.RetryMS != row.retry || !v.Admitted && (v.Kind != TrunkRate || v.ID != "trk" || v.Used != 2 || v.Limit != 2) {
			t.Fatalf("at %d, swap %v: %+v, want to wait %d", row.now, row.swap, v, row.retry)
		}
	}
	w.Hard = false
	for i := range 4 {
		if v := l.Swap(20_000, Swap{Token: "swaps", Attempt: 100 + i, Windows: []Window{w}}); !v.Admitted || (len(v.Soft) > 0) != (i >= 2) {
			t.Errorf("soft, swap %d: %+v", i, v)
		}
	}
}

// Proves that a swap, as word of the call, lets its lease begin anew, and that a refused or repeated one does not.
func TestSwap_RenewsTheLease(t *testing.T) {
	l := New()
	l.Admit(0, call("1"))
	l.Admit(0, call("full", trunk("b")))
	l.Swap(1000, Swap{Token: "1", Attempt: 1})
	l.Swap(2000, Swap{Token: "1", Attempt: 1})
	l.Swap(3000, Swap{Token: "1", Attempt: 2, Add: []Take{trunk("b")}})
	if s, _ := l.Slot("1"); s.LeaseMS != 1000+Lease.Milliseconds() {
		t.Errorf("the lease ends at %d", s.LeaseMS)
	}
	books(t, l)
}
