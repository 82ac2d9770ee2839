package guard

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// add bans an address by hand: at every node, in the place of any other ban of it. What is protected is not banned by hand either.
func (m *Machine) add(nowMS int64, o *Op, y *Reply) (did bool) {
	key, _ := KeyOf(o.Addr) // check has read it
	if shield := m.shield(key, o.Shield); shield != "" {
		y.Refused = fmt.Sprintf("%s is protected: %s", Name(key), shield)
		return false
	}
	if !m.room(key, rankByHand) {
		y.Refused = fmt.Sprintf("there are %d bans by hand, and no more are taken", MaxBans)
		return false
	}
	b := &ban{tier: api.TierOperator, why: o.Why, who: o.Who, fromMS: nowMS, shared: true}
	if off := m.offenders.get(key); off != nil {
		since := ms(nowMS - off.of.anchorMS)
		b.before = decayed(off.of.count, since)
		off.of.graceMS, off.of.liftMS = 0, 0
		m.retain(off)
	}
	m.impose(key, nowMS+o.ForSec*1000, b, y)
	e := m.bans.get(key)
	view := m.view(e)
	y.Ban = &view
	d := m.order(e, b.why)
	d.Everyone = true
	y.Decisions = append(y.Decisions, d)
	return true
}

// lift ends whatever bans an address, at every node and in every tier, known here or not, and gives it grace.
func (m *Machine) lift(nowMS int64, o *Op, y *Reply) (did bool) {
	key, _ := KeyOf(o.Addr) // check has read it
	y.Decisions = append(y.Decisions, m.lifted(nowMS, key, o.Who, y))
	return true
}

// lifted is lift of one address.
func (m *Machine) lifted(nowMS int64, key netip.Prefix, who string, y *Reply) Decision {
	if e := m.bans.get(key); e != nil {
		view := m.view(e)
		y.Ban = &view
		m.undo(e)
	}
	e := m.remember(nowMS, key)
	e.of.graceMS, e.of.liftMS, e.of.liftWho = nowMS+Grace.Milliseconds(), nowMS, who
	e.of.endMS = min(e.of.endMS, nowMS)
	pack.Own(&e.of.liftWho)
	m.retain(e)
	return Decision{Addr: Name(key), Action: api.GuardLift, GraceSec: int(Grace / time.Second), Everyone: true, Why: "lifted by " + who}
}

// allow lists a network, or replaces its entry. The bans that it ends are lifted.
func (m *Machine) allow(nowMS int64, o *Op, y *Reply) (did bool) {
	p, _ := AllowedNet(o.Addr) // check has read it
	if m.allowed.get(p) == nil && m.allowed.len() >= MaxAllowed {
		y.Refused = fmt.Sprintf("the allow list has %d entries, and takes no more", MaxAllowed)
		return false
	}
	end := MaxTimeMS
	if o.ForSec > 0 {
		end = min(MaxTimeMS, nowMS+o.ForSec*1000)
	}
	a := &allowed{who: o.Who, note: o.Why, sinceMS: nowMS}
	pack.Own(&a.who, &a.note)
	m.allowed.put(p, end, a)
	m.allowChanged()
	m.free(nowMS, []Net{{Prefix: p, What: "allow list"}}, y)
	return true
}

// disallow takes a network off the allow list.
func (m *Machine) disallow(o *Op, y *Reply) (did bool) {
	p, _ := AllowedNet(o.Addr) // check has read it
	e := m.allowed.get(p)
	if e == nil {
		return false
	}
	m.allowed.remove(e)
	m.allowChanged()
	y.Done = true
	return true
}

// protect lifts the bans of networks that are protected from now on.
func (m *Machine) protect(nowMS int64, o *Op, y *Reply) (did bool) {
	list := make([]Net, len(o.Nets))
	for i, text := range o.Nets {
		p, _ := netip.ParsePrefix(text) // check has read it
		list[i] = Net{Prefix: p, What: o.Why}
	}
	return m.free(nowMS, list, y)
}

// free lifts the bans that overlap networks, in the order of lists.
func (m *Machine) free(nowMS int64, list []Net, y *Reply) (did bool) {
	if m.bans.len() == 0 || len(list) == 0 {
		return false
	}
	nets := NewNets(list)
	for _, key := range m.bans.keys() {
		shield := nets.Shield(key)
		if shield == "" {
			continue
		}
		m.undo(m.bans.get(key))
		y.Decisions = append(y.Decisions, Decision{Addr: Name(key), Action: api.GuardLift, Everyone: true, Why: "it is protected: " + shield})
		did = true
	}
	return did
}
