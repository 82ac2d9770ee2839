package sim

// Faults that TestSimBalance finds.
var balanceFaults = []fault{
	{"a call is settled again", "balance/end.go", "	if e := m.calls.byID[o.ID]; e != nil {\n		return m.again(nowMS, o, e)\n	}\n", ""},
	{"a late hold of a call that is over", "balance/wallet.go", "	if e := m.calls.byID[o.ID]; e != nil {\n		return Reply{Why: WhyOver, ChargedMicros: e.micros}, false\n	}\n", ""},
	{"what is held is available", "balance/wallet.go", "m.balanceMicros + m.limitMicros - m.heldMicros }", "m.balanceMicros + m.limitMicros }"},
	{"what was held stays held", "balance/end.go", "		m.heldMicros -= h.micros\n", ""},
	{"an extend takes more than there is", "balance/wallet.go", "if sec := h.terms.Affords(m.available()+h.micros, want)", "if sec := h.terms.Affords(m.available()+2*h.micros, want)"},
	{"a top-up counts again", "balance/wallet.go", "	if e := m.hands.byID[o.ID]; e != nil {\n", "	if e := m.hands.byID[o.ID]; e != nil && o.Kind != TopUp {\n"},
	{"an interval that has begun is not billed", "balance/rate.go", "(beyond+next*1000-1)/(next*1000)", "beyond/(next*1000)"},
	{"the price is rounded down", "balance/rate.go", "t.BilledSec(talkMS)+59)/60", "t.BilledSec(talkMS))/60"},
	{"a rate of the future is in force", "balance/plan.go", "p.rates[k].EffectiveFrom <= at {", "p.rates[k].EffectiveFrom <= at+1000 {"},
	{"who was not answered pays to connect", "balance/end.go", "	if answered {\n		charged", "	if answered || h.terms.ConnectMicros > 0 {\n		charged"},
	{"a charge without a movement", "balance/statement.go", "	m.moves = append(m.moves, v)\n", "	if v.Micros != -60 && v.Seq%64 != 63 {\n		m.moves = append(m.moves, v)\n	}\n"},
	{"silence ends a hold", "balance/lease.go", "	if over {\n		heap.Push(&m.over, h)", "	if h.over = true; h.over {\n		heap.Push(&m.over, h)"},
	{"an expired call is not settled any more", "balance/end.go", "	if e.was == nil || o.Kind", "	if true || o.Kind"},
	{"a settle after an expiry charges everything again", "balance/end.go", "m.charge(nowMS, h, o.TalkMS, charge-e.micros)", "m.charge(nowMS, h, o.TalkMS, charge)"},
	{"a snapshot forgets that an end was not the last word", "balance/snapshot.go", "pack.AppendBool(one, e.was != nil); e.was != nil {", "pack.AppendBool(one, false); false {"},
	{"a snapshot forgets what is over", "balance/snapshot.go", "	for e := m.first; e != nil; e = e.next {\n		one", "	b = b[:len(b)-len(pack.AppendUint(nil, uint64(len(m.byID))))]\n	b = pack.AppendUint(b, 0)\n	for e := (*ended)(nil); e != nil; e = e.next {\n		one"},
	{"a chain is granted before its last level", "balance/chain.go", "		c.held[level] = y.HeldSec\n		if c.at++; c.at == len(c.Levels) {", "		c.held[level] = y.HeldSec\n		if c.at++; c.at >= len(c.Levels)-1 {"},
	{"only the account itself is settled", "balance/chain.go", "	if c.touched = len(c.Levels); c.phase", "	if c.touched = 1; c.phase"},
	{"the talk of a call whose end is lost is not charged", "balance/chain.go", "		o.Answered, o.TalkMS = c.answered, c.talkMS\n", "		o.Answered, o.TalkMS = c.final, c.talkMS\n"},
	{"an end as answered is not heard after one as not", "balance/chain.go", "c.phase == ending && (!answered || c.final)", "c.phase == ending"},
}
