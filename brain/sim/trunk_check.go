package sim

import (
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// checkHeld: every place holds what the op that made it, or the last swap granted to it, said; and no trunk has more calls
// than channels, but for emergency calls.
func (o *owner) checkHeld(a *account, b *books, state api.CACState) {
	channels := make([]int, len(a.trunks))
	for _, s := range state.Slots {
		p := b.slots[s.Token]
		same := p.emergency == s.Emergency && slices.EqualFunc(p.takes, s.Takes, func(t cac.Take, shown api.Take) bool {
			return t.Kind.String() == shown.Dimension && t.ID == shown.ID && max(0, t.Limit) == shown.Limit
		})
		if !same {
			o.w.broken("owner %d: %s holds %+v (emergency %v), it was given %+v (%v)", o.n, s.Token, s.Takes, s.Emergency, p.takes, p.emergency)
			return
		}
		for _, t := range p.takes {
			if t.Kind == cac.Trunk && !p.emergency {
				channels[slices.IndexFunc(a.trunks, func(known trunk) bool { return known.id == t.ID })]++
			}
		}
	}
	for i, n := range channels {
		if n > a.trunks[i].channels {
			o.w.broken("owner %d: %d calls have the %d channels of %s", o.n, n, a.trunks[i].channels, a.trunks[i].id)
		}
	}
}

// checkSwap: a swap is granted exactly when there is room, changes what it says and nothing else, and only once.
func (o *owner) checkSwap(a *account, ask *cac.Swap, reply []byte, changed bool, state api.CACState) {
	v, err := presence.ReadVerdict(reply)
	b := o.books[a.index]
	p := b.slots[ask.Token]
	if err != nil {
		o.w.broken("a verdict is not read: %w", err)
		return
	}
	granted := v.Admitted && !v.Repeated
	if granted != changed {
		o.w.broken("owner %d: the swap of %s is granted %v and changed something %v", o.n, ask.Token, granted, changed)
	}
	switch {
	case p == nil:
		if v.Admitted || v.Kind != 0 || v.Limit != 0 {
			o.w.broken("owner %d: %s is over, and its swap has the verdict %+v", o.n, ask.Token, v)
		}
		return
	case ask.Attempt <= p.attempt:
		if !v.Admitted || !v.Repeated {
			o.w.broken("owner %d: attempt %d of %s after %d has the verdict %+v", o.n, ask.Attempt, ask.Token, p.attempt, v)
		}
		return
	case v.Repeated:
		o.w.broken("owner %d: attempt %d of %s after %d is taken for a repetition", o.n, ask.Attempt, ask.Token, p.attempt)
		return
	}
	held := slices.Clone(p.takes)
	for _, d := range ask.Drop {
		if at := slices.IndexFunc(held, func(t cac.Take) bool { return t.Kind == d.Kind && t.ID == d.ID }); at >= 0 {
			held = append(held[:at:at], held[at+1:]...)
		}
	}
	emergency := ask.Emergency || p.emergency
	o.checkRoom(a, ask, held, v, emergency)
	if granted {
		p.takes, p.attempt, p.emergency, p.evidenceMS = append(held, ask.Add...), ask.Attempt, emergency, o.now()
		o.counts(a, ask, state, emergency)
	}
}

// checkRoom: a swap to a trunk is refused when its channels are taken by others, or its rate is reached, and never else.
func (o *owner) checkRoom(a *account, ask *cac.Swap, held []cac.Take, v cac.Verdict, emergency bool) {
	full := cac.Take{}
	for _, t := range ask.Add {
		if n := o.others(a, ask.Token, t) + places(held, t); n >= t.Limit {
			full = t
		}
	}
	switch {
	case emergency:
		if !v.Admitted {
			o.w.broken("owner %d: the emergency call %s was refused by %+v", o.n, ask.Token, v)
		}
	case full.Kind != 0:
		if v.Admitted || v.Kind != full.Kind || v.ID != full.ID || v.Used < v.Limit {
			o.w.broken("owner %d: %s is full, and a swap of %s to it has the verdict %+v", o.n, full.ID, ask.Token, v)
		}
	case v.Kind == cac.TrunkRate:
		at := max(o.now(), o.books[a.index].clock)
		if n := count(*o.rate(a, v.ID), at, ask.Windows[0]); n < ask.Windows[0].Max {
			o.w.broken("owner %d: a swap of %s was refused by a rate that counts %d of %d", o.n, ask.Token, n, ask.Windows[0].Max)
		}
	case !v.Admitted:
		o.w.broken("owner %d: a swap of %s was refused by %+v", o.n, ask.Token, v)
	}
}

// others is how many places of other calls there are in a dimension.
func (o *owner) others(a *account, token string, t cac.Take) (n int) {
	for of, p := range o.books[a.index].slots {
		if of != token {
			n += places(p.takes, t)
		}
	}
	return n
}

func places(takes []cac.Take, of cac.Take) (n int) {
	for _, t := range takes {
		if t.Kind == of.Kind && t.ID == of.ID {
			n++
		}
	}
	return n
}

// counts takes a granted swap into the rate of its trunk, and holds the rate. Its lease says when it was granted.
func (o *owner) counts(a *account, ask *cac.Swap, state api.CACState, emergency bool) {
	at := slices.IndexFunc(state.Slots, func(s api.Slot) bool { return s.Token == ask.Token })
	when := state.Slots[at].LeaseMS - cac.Lease.Milliseconds()
	o.books[a.index].clock = max(o.books[a.index].clock, when)
	o.hit(a, ask.Token, ask.Windows, when, emergency)
}

// hit counts an admission or swap in the rates that it names, and holds them.
func (o *owner) hit(a *account, token string, windows []cac.Window, when int64, emergency bool) {
	for _, win := range windows {
		if win.Kind != cac.TrunkRate {
			continue
		}
		list := o.rate(a, win.ID)
		if n := count(*list, when, win); n >= win.Max && !emergency {
			o.w.broken("owner %d: %s got trunk %s, whose rate counts %d of %d", o.n, token, win.ID, n, win.Max)
		}
		*list = append(*list, admission{when, emergency})
	}
}

// rate is what the rate of a trunk counts.
func (o *owner) rate(a *account, id string) *[]admission {
	at := slices.IndexFunc(a.trunks, func(t trunk) bool { return t.id == id })
	return &o.rates[a.index*len(a.trunks)+at]
}

// remember sets the clock of the books to the latest that a rate counts: a ledger's clock does not go back.
func (o *owner) remember(a *account) {
	b := o.books[a.index]
	for i := range a.trunks {
		if list := *o.rate(a, a.trunks[i].id); len(list) > 0 {
			b.clock = max(b.clock, list[len(list)-1].at)
		}
	}
}

// copied copies what windows count, by account, or by account and trunk.
func copied(lists [][]admission, n int) [][]admission {
	out := make([][]admission, n)
	for i := range lists {
		out[i] = slices.Clone(lists[i])
	}
	return out
}

// attempts is at which attempt the calls of an owner are.
func (o *owner) attempts() map[string]int {
	list := map[string]int{}
	for _, b := range o.books {
		for token, p := range b.slots {
			if p.attempt > 0 {
				list[token] = p.attempt
			}
		}
	}
	return list
}

// checkTrunks holds, in a calm, the places of outgoing calls to what their edge was told: a call whose last answer was
// written holds the trunk that it uses, and no other if all of them were.
func (w *world) checkTrunks() {
	for _, a := range w.accounts {
		b := w.owner.books[a.index]
		for _, token := range slices.Sorted(maps.Keys(b.slots)) {
			c := w.byToken[token]
			if h := c.hunt; h != nil && c.live && h.sure && !h.adopted && !h.waits {
				for i, t := range a.trunks {
					if held := places(b.slots[token].takes, t.take()); held > 1 || i == h.trunk && held == 0 || i != h.trunk && held > 0 && !h.doubt {
						w.broken("in the calm %s uses trunk %d and holds %d of %s", token, h.trunk, held, t.id)
					}
				}
			}
		}
	}
}
