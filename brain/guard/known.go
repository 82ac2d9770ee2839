package guard

import (
	"net/netip"
	"slices"

	"github.com/sipio/sipio/brain/api"
)

const whyKnown = "a device has authenticated from there in the last hour"

// knows notes addresses from which a device was believed. What the guard itself has banned there is lifted at every node.
func (m *Machine) knows(nowMS int64, o *Op, y *Reply) (did bool) {
	untilMS := nowMS + KnownFor.Milliseconds()
	for _, text := range o.Nets {
		key, _ := KeyOf(text) // check has read it
		k := m.known.get(key)
		if k == nil || k.endMS <= untilMS-knownAgain.Milliseconds() {
			if k == nil && m.known.len() >= MaxKnown {
				m.known.remove(m.known.first())
			}
			m.known.put(key, untilMS, struct{}{})
			did = true
		}
		if e := m.bans.get(key); e != nil && e.of.tier != api.TierOperator {
			m.undo(e)
			y.Decisions = append(y.Decisions, Decision{Addr: Name(key), Action: api.GuardLift, Everyone: true, Why: whyKnown})
			did = true
		}
	}
	return did
}

// claim is a node's word alone that an address is known. It holds at that node; a ban is not shared any longer, and goes on at the nodes that
// caught the address by themselves, so that one node's key does not free an address everywhere.
func (m *Machine) claim(key netip.Prefix, e *entry[*ban], node string, o *Offence, y *Reply) {
	why := whyKnown + ", as " + node + " says"
	if e != nil {
		e.of.nodes = slices.DeleteFunc(e.of.nodes, func(n string) bool { return n == node })
	}
	if e == nil || len(e.of.nodes) == 0 {
		m.spare(key, e, o, y, why, 0)
		return
	}
	d := Decision{Addr: Name(key), Action: api.GuardLift, Everyone: e.of.shared, Why: why}
	y.Decisions = append(y.Decisions, d)
	if e.of.shared {
		e.of.shared = false
		again := m.order(e, e.of.why)
		again.Only = slices.Clone(e.of.nodes)
		y.Decisions = append(y.Decisions, again)
	}
}
