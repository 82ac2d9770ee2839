package guard

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// report decides on each offence that a node tells of.
func (m *Machine) report(nowMS int64, o *Op, y *Reply) (did bool) {
	for i := range o.Offences {
		if m.judge(nowMS, o, &o.Offences[i], y) {
			did = true
		}
	}
	return did
}

// judge decides on one offence, in this order: who is protected is lifted, also from what an operator has banned; a ban by hand stays;
// who is known or has grace is lifted; whom the node alone says to be known, there; a ban that is in force goes on; else there is a new one.
func (m *Machine) judge(nowMS int64, op *Op, o *Offence, y *Reply) (did bool) {
	key, _ := KeyOf(o.Addr) // check has read it
	e := m.bans.get(key)
	if shield := m.shield(key, o.Shield); shield != "" {
		m.spare(key, e, o, y, "it is protected: "+shield, 0)
		return e != nil
	}
	byHand := e != nil && e.of.tier == api.TierOperator
	off := m.offenders.get(key)
	switch {
	case byHand:
		y.Decisions = append(y.Decisions, m.order(e, "banned by hand: "+e.of.why))
		return false
	case m.known.get(key) != nil:
		m.note(nowMS, key, o)
		m.spare(key, e, o, y, whyKnown, 0)
		return true
	case o.Known:
		m.note(nowMS, key, o)
		m.claim(key, e, op.Node, o, y)
		return true
	case off != nil && off.of.graceMS > nowMS:
		left := ms(off.of.graceMS - nowMS)
		m.note(nowMS, key, o)
		m.spare(key, e, o, y, fmt.Sprintf("%s lifted it, grace for another %s", off.of.liftWho, span(left)), int((left+time.Second-1)/time.Second))
		return true
	case o.Listed && (o.Tier == api.TierScore || off != nil && off.of.liftMS > 0):
		m.spare(key, nil, o, y, "the node lists a ban that was lifted, or that is not its own to make", 0)
		return false
	}
	fromMS := began(nowMS, o.TimeMS)
	switch {
	case e != nil:
		return m.prolong(nowMS, fromMS, op, e, o, y)
	case off != nil && !o.Listed && o.TimeMS != 0 && o.TimeMS < max(off.of.endMS, off.of.liftMS):
		y.Decisions = append(y.Decisions, Decision{Addr: Name(key), Why: "told late: it belongs to a ban that is over"})
		return false
	}
	return m.ban(nowMS, fromMS, op, key, o, y)
}

// shield says what protects a key: the configuration, as the asker has it, or the allow list. "" = nothing.
func (m *Machine) shield(key netip.Prefix, configured string) string {
	if configured != "" {
		return configured
	}
	return m.listed(key)
}

// began is the time from which an offence counts: now, unless it is told late.
func began(nowMS, toldMS int64) int64 {
	if toldMS > 0 && toldMS < nowMS-Fresh.Milliseconds() {
		return max(toldMS, nowMS-MaxTerm.Milliseconds())
	}
	return nowMS
}

// note remembers an offence that led to no ban.
func (m *Machine) note(nowMS int64, key netip.Prefix, o *Offence) {
	e := m.remember(nowMS, key)
	e.of.did(nowMS, o)
	m.retain(e)
}

// did is the offender's last offence.
func (v *offender) did(nowMS int64, o *Offence) {
	text := o.Evidence
	if len(text) > api.MaxKeptEvidence {
		text = strings.ToValidUTF8(text[:api.MaxKeptEvidence], "")
	}
	v.lastMS, v.lastKind, v.lastCount, v.evidence = nowMS, o.Kind, min(o.Count, maxCount), strings.Clone(text)
}

// spare decides that an address is not banned. What a node has banned by itself, and what is in force, is lifted.
func (m *Machine) spare(key netip.Prefix, e *entry[*ban], o *Offence, y *Reply, why string, graceSec int) {
	d := Decision{Addr: Name(key), GraceSec: graceSec, Why: why}
	if e != nil {
		m.undo(e)
		d.Action, d.Everyone = api.GuardLift, true
	}
	if o.UntilMS > 0 || o.Listed {
		d.Action = api.GuardLift
	}
	if d.Action == "" {
		d.GraceSec = 0
	}
	y.Decisions = append(y.Decisions, d)
}

// undo ends a ban before its time. It does not count.
func (m *Machine) undo(e *entry[*ban]) {
	m.bans.remove(e)
	if off := m.offenders.get(e.key); off != nil && e.of.tier != api.TierOperator {
		off.of.count, off.of.long, off.of.endMS = e.of.before, e.of.long, e.of.fromMS
		off.of.anchorMS = max(off.of.lastMS, e.of.fromMS)
		m.retain(off)
	}
}

// prolong is an offence during a ban: no repeat, but it lasts until the offence's own first term is over, and the node that tells of it
// enforces it too.
func (m *Machine) prolong(nowMS, fromMS int64, op *Op, e *entry[*ban], o *Offence, y *Reply) bool {
	m.note(nowMS, e.key, o)
	untilMS := fromMS + FirstTerm(o.Tier).Milliseconds()
	if o.Listed {
		untilMS = 0
	}
	longer := untilMS > e.endMS
	if longer {
		e.of.why = fmt.Sprintf("%s, during a ban: %s", words(o.Kind), span(FirstTerm(o.Tier)))
		e.of.tier, e.of.kind, e.of.evidence = o.Tier, o.Kind, string([]byte(o.Evidence))
		m.bans.keep(e, untilMS)
		m.banned(e)
	}
	if o.proves() && !e.of.proven {
		e.of.proven = true
		m.bans.keep(e, e.endMS)
	}
	e.of.join(op.Node)
	d := m.order(e, e.of.why)
	d.Everyone = longer && e.of.shared
	y.Decisions = append(y.Decisions, d)
	return true
}

// ban makes a new ban. One that is over by now, since it is told late, only counts.
func (m *Machine) ban(nowMS, fromMS int64, op *Op, key netip.Prefix, o *Offence, y *Reply) bool {
	count, long, repeat := m.past(fromMS, key)
	if untilMS := fromMS + FirstTerm(o.Tier).Milliseconds(); untilMS > nowMS && !m.records(key, o, repeat) {
		d := Decision{Addr: Name(key), Action: api.GuardBan, Tier: o.Tier, UntilMS: untilMS,
			Why: fmt.Sprintf("%s: %s, not recorded: there are %d bans", words(o.Kind), span(FirstTerm(o.Tier)), m.bans.len())}
		if o.Listed { // it ends there as it is
			d = Decision{Addr: d.Addr, Why: d.Why}
		}
		y.Decisions = append(y.Decisions, d)
		return false
	}
	off := m.remember(nowMS, key)
	term := Term(o.Tier, repeat, long)
	untilMS := fromMS + term.Milliseconds()
	why := whyBan(o.Kind, repeat, count, term)
	if o.Listed {
		untilMS = min(max(o.UntilMS, nowMS+1), nowMS+MaxTerm.Milliseconds())
		why = words(o.Kind) + ": the node bans it, and no offence was heard of"
	}
	b := &ban{tier: o.Tier, kind: o.Kind, evidence: o.Evidence, node: op.Node, why: why, fromMS: fromMS, before: count, long: long, proven: repeat || o.proves(),
		shared: op.Share == ShareAll || op.Share == ShareRepeat && repeat}
	b.join(op.Node)
	off.of.count = min(count+1, maxCount)
	off.of.long = long
	if repeat || o.Tier == api.TierNft {
		off.of.long = min(long+1, maxCount)
	}
	off.of.did(nowMS, o)
	off.of.endMS, off.of.anchorMS, off.of.liftMS = untilMS, untilMS, 0
	off.of.tier, off.of.node = o.Tier, strings.Clone(op.Node)
	m.retain(off)
	if untilMS <= nowMS {
		y.Decisions = append(y.Decisions, Decision{Addr: Name(key), Why: "told late: " + b.why + ", which is over"})
		return true
	}
	m.impose(key, untilMS, b, y)
	d := m.order(m.bans.get(key), b.why)
	d.Everyone = b.shared
	y.Decisions = append(y.Decisions, d)
	return true
}

// past is what an address has done before: how many bans and long ones are left of it, and whether one that begins now is a repeat.
func (m *Machine) past(fromMS int64, key netip.Prefix) (count, long int, repeat bool) {
	e := m.offenders.get(key)
	if e == nil {
		return 0, 0, false
	}
	since := ms(fromMS - e.of.anchorMS)
	count, long = decayed(e.of.count, since), decayed(e.of.long, since)
	return count, long, count > 0 && fromMS-e.of.endMS <= RepeatWithin.Milliseconds()
}

// proves tells that nobody else has done it in the address's name: it came over a connection, or answered challenges that only the address
// has got.
func (o *Offence) proves() bool { return o.Proven || o.Kind == api.OffenceAuthFail && !o.Listed }

// records tells whether a new ban gets a place in the book. A signature takes one packet, and its sender may be forged: whoever fills the book
// so must not drive out those that took more. His node bans him all the same.
func (m *Machine) records(key netip.Prefix, o *Offence, repeat bool) bool {
	proven := repeat || o.proves()
	if o.Tier == api.TierUA && !proven && m.bans.len() >= MaxBans {
		return false
	}
	return m.room(key, (&ban{proven: proven}).rank())
}

// banned notes at the offender that its ban ends at another time.
func (m *Machine) banned(e *entry[*ban]) {
	if off := m.offenders.get(e.key); off != nil {
		off.of.endMS, off.of.anchorMS = e.endMS, e.endMS
		m.retain(off)
	}
}

// order is the decision that a ban is to be enforced.
func (m *Machine) order(e *entry[*ban], why string) Decision {
	return Decision{Addr: Name(e.key), Action: api.GuardBan, Tier: e.of.tier, UntilMS: e.endMS, Why: why}
}
