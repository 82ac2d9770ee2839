package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// trunk is a way out of an account, with few channels and a low rate.
type trunk struct {
	id       string
	channels int
	rate     cac.Window
}

func newTrunks(account int, rng *rand.Rand) []trunk {
	var list []trunk
	for i := range 3 {
		id := fmt.Sprintf("trk_%d%d", account, i)
		list = append(list, trunk{id, 1 + rng.IntN(3), cac.Window{Kind: cac.TrunkRate, ID: id, Max: 1 + rng.IntN(3), PeriodMS: 10 * second, Hard: true}})
	}
	return list
}

func (t *trunk) take() cac.Take { return cac.Take{Kind: cac.Trunk, ID: t.id, Limit: t.channels} }

// hunt is the search of a call for a trunk that takes it, as the edge knows it. The questions of a call come one after the
// other; copies of them may come at any time.
type hunt struct {
	tried   []int // trunks of the account, at what it is for now
	hops    int
	asked   int  // the attempt of its last question; 0: the first, which is an admission
	waits   bool // for the answer to it
	trunk   int  // that it may use; -1: none
	adopted bool // its place is not the one that it was admitted to
	sure    bool // the journal had what it was told last
	doubt   bool // once it had not: a trunk that it left may be held on, as its drop was lost
}

// question is one of a hunt, as it was asked: a copy of it says the same.
type question struct {
	attempt    int
	tried      []int
	candidates []int // trunks to try, in order; none: the call goes on without one
}

// goOut makes a call one that goes out over a trunk.
func (w *world) goOut(c *call) {
	a := c.account
	first := w.rng.IntN(len(a.trunks))
	c.hunt = &hunt{trunk: first, tried: []int{first}}
	c.CalleeUser, c.Emergency = "", w.chance(8)
	c.Takes = []cac.Take{{Kind: cac.Out, Limit: a.inside}, {Kind: cac.User, ID: c.CallerUser, Limit: a.user}, {Kind: cac.Node, ID: c.node.name, Limit: 50},
		a.trunks[first].take()}
	c.Windows = append(slices.Clone(a.windows), a.trunks[first].rate)
}

// known is what a brain takes a call to hold that it does not know: it cannot tell the trunk.
func (c *call) known() []cac.Take {
	return slices.DeleteFunc(slices.Clone(c.Takes), func(t cac.Take) bool { return t.Kind == cac.Trunk })
}

// ringOut waits for what becomes of a call at its trunk: an answer, its end, or that the trunk does not take it.
func (w *world) ringOut(c *call) {
	w.after(w.between(second, 10*second), func() {
		switch {
		case !c.live:
		case c.hunt.trunk >= 0 && w.stormy && w.chance(60):
			w.next(c)
		default:
			w.ended(c)
		}
	})
}

// next asks what follows the trunk that did not take a call: the question may be asked again, and come once more much later.
func (w *world) next(c *call) {
	h := c.hunt
	if w.chance(15) && h.hops < 2 { // it is for something else now, as a forward: every trunk may be tried
		h.hops++
		h.tried = nil
	}
	q := question{attempt: h.hops*32 + len(h.tried) + 1, tried: slices.Clone(h.tried)}
	if h.hops > 0 && len(h.tried) == 0 {
		q.tried = []int{h.trunk}
	}
	for _, i := range w.rng.Perm(len(c.account.trunks)) {
		if !slices.Contains(h.tried, i) && !w.chance(15) {
			q.candidates = append(q.candidates, i)
		}
	}
	h.asked, h.waits = q.attempt, true
	ask := func() {
		if o := w.someOwner(); o != nil && c.node.reachable {
			o.swap(c, q)
		}
	}
	w.after(w.between(1, 50), ask)
	if w.chance(25) {
		w.after(w.between(1, 3*second), ask)
	}
	if w.bad(15) {
		w.after(w.between(5*second, minute), ask)
	}
	w.after(2*second, func() {
		if c.live && h.waits && h.asked == q.attempt {
			h.waits = false
			w.over(c, api.EventDialogFailed)
		}
	})
}

// swapped takes the verdict on a question to the edge: the call goes on at a trunk, without one (-1), or is over.
func (w *world) swapped(c *call, attempt, at int, v cac.Verdict, sure bool) {
	h := c.hunt
	if !c.live || !h.waits || h.asked != attempt {
		return // nobody waits for it any more
	}
	if h.waits = false; !v.Admitted {
		w.over(c, api.EventDialogFailed)
		return
	}
	if v.Repeated { // an answer to the same question was lost: it was that trunk
		at = slices.IndexFunc(c.account.trunks, func(t trunk) bool { return places(v.Held, t.take()) > 0 })
	}
	if h.trunk, h.sure, h.doubt = at, sure, h.doubt || !sure; at >= 0 {
		h.tried = append(h.tried, at)
	}
	w.ringOut(c)
}

// swap does a question of a hunt: the first of its trunks with room. Its answer leaves as that of an admission.
func (o *owner) swap(c *call, q question) {
	w, candidates := o.w, q.candidates
	unlogged := o == w.owner && w.now < w.journal.stalled && w.bad(70)
	for first := true; first || len(candidates) > 0; first = false {
		s := cac.Swap{Token: c.Token, Attempt: q.attempt, Emergency: c.Emergency}
		for _, i := range q.tried {
			s.Drop = append(s.Drop, c.account.trunks[i].take())
		}
		at := -1
		if len(candidates) > 0 {
			at, candidates = candidates[0], candidates[1:]
			s.Add, s.Windows = []cac.Take{c.account.trunks[at].take()}, []cac.Window{c.account.trunks[at].rate}
		}
		send := func(reply []byte) {
			v, err := presence.ReadVerdict(reply)
			if err != nil {
				w.broken("a verdict is not read: %w", err)
			}
			w.after(w.between(1, 50), func() { w.swapped(c, q.attempt, at, v, !unlogged) })
		}
		reply := o.do(c.account, presence.AppendSwap(nil, &s), nil)
		if reply == nil {
			return
		}
		if v, _ := presence.ReadVerdict(reply); !v.Admitted && v.Kind != 0 && len(candidates) > 0 {
			continue
		}
		if unlogged {
			w.after(25, func() { send(reply) })
		} else {
			o.gate = append(o.gate, func() { send(reply) })
		}
		return
	}
}
