package sim

import (
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// books is what the model expects of one machine, in its own words: it shares no code with what it checks.
type books struct {
	slots  map[string]*place
	ended  map[string]int64  // tokens released for good, and when
	sights map[string]*sight // by node
	clock  int64             // latest time of an admission
}

type place struct {
	node       string
	evidenceMS int64 // by the owner's clock: admission, takeover, a swap, or the last fresh report that listed it
	takes      []cac.Take
	attempt    int // of the last swap granted
	emergency  bool
}

// sight is the last fresh report of a node.
type sight struct {
	boot               string
	bootMS, seq, heard int64
	absent             map[string]int64
}

func newBooks(m *presence.Machine, now int64, attempts map[string]int) *books {
	b := &books{slots: map[string]*place{}, ended: map[string]int64{}, sights: map[string]*sight{}}
	for _, s := range m.CAC().Slots {
		b.slots[s.Token] = &place{node: s.Node, evidenceMS: now, attempt: attempts[s.Token], emergency: s.Emergency}
		for _, t := range s.Takes {
			b.slots[s.Token].takes = append(b.slots[s.Token].takes, cac.Take{Kind: cac.KindOf(t.Dimension), ID: t.ID, Limit: t.Limit})
		}
		b.clock = max(b.clock, s.AdmittedMS)
	}
	return b
}

// check holds a machine to its books after an op.
func (o *owner) check(a *account, op, reply []byte, changed bool) {
	b, state := o.books[a.index], o.machines[a.index].CAC()
	told, err := presence.Describe(op)
	if err != nil {
		o.w.broken("an applied op is not described: %w", err)
		return
	}
	what := told.(*presence.Op)
	o.checkSums(state)
	now := map[string]bool{}
	for _, s := range state.Slots {
		now[s.Token] = true
		if b.slots[s.Token] == nil {
			o.appeared(b, what, s)
		}
	}
	var gone []string
	for token := range b.slots {
		if !now[token] {
			gone = append(gone, token)
		}
	}
	slices.Sort(gone) // the first fault is told: it must be the same in every run
	for _, token := range gone {
		o.vanished(b, what, token, b.slots[token])
	}
	for _, token := range ends(what) {
		if b.ended[token] == 0 {
			b.ended[token] = o.now()
		}
	}
	switch what.Kind {
	case "admit":
		o.checkVerdict(a, what.Admit, reply, changed, state)
	case "swap":
		o.checkSwap(a, what.Swap, reply, changed, state)
	}
	o.checkHeld(a, b, state)
}

// ends lists the tokens whose end an op tells for good.
func ends(what *presence.Op) []string {
	var tokens []string
	for _, ev := range what.Events {
		if ev.Token != "" && (ev.Type == api.EventDialogEnd || ev.Type == api.EventDialogFailed) {
			tokens = append(tokens, ev.Token)
		}
	}
	if what.Kind == "release" {
		tokens = append(tokens, what.Tokens...)
	}
	return tokens
}

// checkSums: in each dimension the places are the usage.
func (o *owner) checkSums(state api.CACState) {
	used := map[api.Take]int{}
	for _, s := range state.Slots {
		for _, t := range s.Takes {
			used[api.Take{Dimension: t.Dimension, ID: t.ID}]++
		}
	}
	for _, u := range state.Usage {
		k := api.Take{Dimension: u.Dimension, ID: u.ID}
		if u.Used != used[k] || u.Used <= 0 {
			o.w.broken("owner %d: %s: %s %s counts %d, the places take %d", o.n, state.AccountID, u.Dimension, u.ID, u.Used, used[k])
		}
		delete(used, k)
	}
	if len(used) > 0 {
		o.w.broken("owner %d: %s: %d dimensions are taken and not counted", o.n, state.AccountID, len(used))
	}
}

// appeared: a token whose end was told does not get a place.
func (o *owner) appeared(b *books, what *presence.Op, s api.Slot) {
	c := o.w.byToken[s.Token]
	b.slots[s.Token] = &place{node: s.Node, evidenceMS: o.now(), takes: c.known()}
	if what.Kind == "admit" {
		b.slots[s.Token].takes, b.slots[s.Token].emergency = what.Admit.Takes, what.Admit.Emergency
	} else if c.hunt != nil {
		c.hunt.adopted = true
	}
	if at := b.ended[s.Token]; at != 0 && !s.Emergency && o.now() < at+cac.Remember.Milliseconds()-minute {
		o.w.broken("owner %d: %s ended and got a place again by an op %s", o.n, s.Token, what.Kind)
	}
}

// vanished: a place is given back for a reason, and never that of a call which its node lists.
func (o *owner) vanished(b *books, what *presence.Op, token string, p *place) {
	delete(b.slots, token)
	c := o.w.byToken[token]
	switch what.Kind {
	case "events":
		if !slices.ContainsFunc(what.Events, func(ev presence.Event) bool {
			return ev.Type != api.EventDialogStart && (ev.Token == token || ev.Token == "" && ev.CallID == c.CallID)
		}) {
			o.w.broken("owner %d: %s lost its place by events of others", o.n, token)
		}
		if c.live {
			o.w.broken("owner %d: %s lost its place by an event while it is up", o.n, token)
		}
	case "report":
		if c.live {
			o.w.broken("owner %d: %s was released as absent while it is up (listed %v)", o.n, token, c.listed)
		}
	case "expire":
		if o.now()-p.evidenceMS < cac.Lease.Milliseconds() {
			o.w.broken("owner %d: the lease of %s ended %d ms after the last word of it", o.n, token, o.now()-p.evidenceMS)
		}
	case "release":
		if !slices.Contains(what.Tokens, token) {
			o.w.broken("owner %d: %s was released with others", o.n, token)
		}
	default:
		o.w.broken("owner %d: %s lost its place by an op %s", o.n, token, what.Kind)
	}
}

// checkVerdict: no limit is passed, no window holds too many, a refusal is true, and a repetition changes nothing.
func (o *owner) checkVerdict(a *account, ask *presence.Admit, reply []byte, changed bool, state api.CACState) {
	v, err := presence.ReadVerdict(reply)
	b, list := o.books[a.index], o.admitted[a.index]
	at := max(o.now(), b.clock)
	switch {
	case err != nil:
		o.w.broken("a verdict is not read: %w", err)
	case v.Repeated || !v.Admitted:
		if changed {
			o.w.broken("owner %d: %s got nothing new and changed something", o.n, ask.Token)
		}
		if !v.Admitted && v.Kind != 0 && (ask.Emergency || v.Kind != cac.Limit && v.Kind != cac.TrunkRate && used(state, v.Kind, v.ID) != v.Used || v.Used < v.Limit) {
			o.w.broken("owner %d: %s was refused by %+v", o.n, ask.Token, v)
		}
		if n := count(list, at, a.windows[0]); v.Kind == cac.Limit && n < a.windows[0].Max {
			o.w.broken("owner %d: %s was refused by a window that holds %d of %d", o.n, ask.Token, n, a.windows[0].Max)
		}
	default:
		for _, s := range state.Slots {
			if s.Token == ask.Token {
				at = s.AdmittedMS
			}
		}
		b.clock = max(b.clock, at)
		if n := count(list, at, a.windows[0]); !ask.Emergency && n >= a.windows[0].Max {
			o.w.broken("owner %d: %s was admitted into a window that holds %d of %d", o.n, ask.Token, n, a.windows[0].Max)
		}
		o.admitted[a.index] = append(list, admission{at, ask.Emergency})
		o.hit(a, ask.Token, ask.Windows, at, ask.Emergency)
		for _, t := range ask.Takes {
			if n := used(state, t.Kind, t.ID); t.Limit > 0 && n > t.Limit && !ask.Emergency {
				o.w.broken("owner %d: %s was admitted as number %d of %d of %v %s", o.n, ask.Token, n, t.Limit, t.Kind, t.ID)
			}
		}
	}
}

func used(state api.CACState, kind cac.Kind, id string) int {
	for _, u := range state.Usage {
		if u.Dimension == kind.String() && u.ID == id {
			return u.Used
		}
	}
	return 0
}

// hear takes a report into the books. It tells whether it is fresh, and which places must be gone after it.
func (b *books) hear(o *owner, r *presence.Report) (fresh bool, gone []string) {
	s := b.sights[r.Node]
	if s != nil && o.now()-s.heard <= cac.Lease.Milliseconds()/2 && (r.Seq <= s.seq || r.Boot != s.boot && r.BootMS <= s.bootMS) {
		return false, nil
	}
	var before map[string]int64
	if s != nil && s.boot == r.Boot {
		before = s.absent
	}
	s = &sight{boot: r.Boot, bootMS: r.BootMS, seq: r.Seq, heard: o.now(), absent: map[string]int64{}}
	b.sights[r.Node] = s
	for token, p := range b.slots {
		c := o.w.byToken[token]
		switch {
		case p.node != r.Node:
		case slices.ContainsFunc(r.Dialogs, func(d presence.Dialog) bool { return d.Token == token }):
			p.evidenceMS = o.now()
		case c.AskedMS < r.BootMS || max(c.AskedMS, c.lastMS) >= r.TakenMS-10*second:
		default:
			since, twice := before[token]
			if !twice || since > r.TakenMS {
				since = r.TakenMS
			}
			if s.absent[token] = since; twice && r.TakenMS-since >= second {
				gone = append(gone, token)
			}
		}
	}
	slices.Sort(gone)
	return true, gone
}

// checkLeases: no place is there two ticks after its lease, and no lease is longer than the last word of its call allows.
func (o *owner) checkLeases(a *account) {
	for _, s := range o.machines[a.index].CAC().Slots {
		p := o.books[a.index].slots[s.Token]
		if p == nil {
			o.w.broken("owner %d: %s has a place that no op gave", o.n, s.Token)
			return
		}
		if s.LeaseMS < o.now()-2*second {
			o.w.broken("owner %d: %s has its place %d ms after its lease", o.n, s.Token, o.now()-s.LeaseMS)
		}
		if s.LeaseMS > p.evidenceMS+cac.Lease.Milliseconds()+minute { // the ledger's clock does not follow one that is set back
			o.w.broken("owner %d: the lease of %s is longer than the last word of it allows", o.n, s.Token)
		}
	}
}

// checkPlaces holds the places to the truth in a calm: every call that its node lists has its place, and every place has a
// call. What is on its way is left out, and, unless all, calls of which no node can tell: those that Kamailio forgot.
func (w *world) checkPlaces(all bool) {
	for _, a := range w.accounts {
		placed := map[string]bool{}
		for _, s := range w.owner.machines[a.index].CAC().Slots {
			placed[s.Token] = true
			c := w.byToken[s.Token]
			forgotten := c.AskedMS < c.node.bootMS
			if !c.listed && w.now-c.overAt > 5*second && !(forgotten && !all) && (c.overAt != 0 || all) {
				w.broken("in the calm %s has a place and no dialog (over %v, forgotten %v)", s.Token, c.overAt != 0, forgotten)
			}
		}
		for _, n := range w.nodes {
			for _, c := range n.dialogs {
				if c.account == a && !placed[c.Token] && n.clock(w)-c.sinceMS > 25*second {
					w.broken("in the calm %s is up at %s and has no place", c.Token, n.name)
				}
			}
		}
	}
}

// checkPhones holds the contacts to the truth in a calm: what was registered or removed in it, and does not expire about now, is known.
func (w *world) checkPhones() {
	for _, n := range w.nodes {
		for _, p := range n.phones {
			if p.toldAt == 0 || w.now-p.toldAt < 25*second || p.expiresMS != 0 && p.expiresMS-n.clock(w) < 2*minute {
				continue
			}
			known := slices.ContainsFunc(w.owner.machines[p.account.index].Contacts(p.aor), func(c presence.Contact) bool { return c.Contact == p.contact && c.Node == n.name })
			if known != (p.expiresMS != 0) {
				w.broken("in the calm %s at %s is registered %v and known %v", p.contact, n.name, !known, known)
			}
		}
	}
}
