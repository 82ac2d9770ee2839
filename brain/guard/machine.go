package guard

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// Machine is the guard of the platform: its bans, who offended before, and the allow list. It is not safe for concurrent
// use: one actor owns it. What Apply changes is a function of the ops and times it was given, and of nothing else.
type Machine struct {
	bans      book[*ban]
	offenders book[*offender]
	allowed   book[*allowed]
	known     book[struct{}] // from where devices were believed
	nets      *Nets          // of allowed; nil = to be made anew

	allowVersion  int64
	policyVersion int64
	policyDigest  string
}

// ban is one that is in force until the end of its entry.
type ban struct {
	tier, kind, why, evidence, who string
	node                           string
	fromMS                         int64
	before, long                   int      // what the offender's counts were
	proven                         bool     // by more than one who forges addresses can do: see rank
	shared                         bool     // every node enforces it; else those of nodes
	nodes                          []string // that caught it, sorted
}

// offender is what is remembered of an address beside its ban.
type offender struct {
	count, long int   // bans, and of them long ones, as of anchorMS
	anchorMS    int64 // end of the last ban; of the last offence when there was none
	endMS       int64 // of the last ban; 0 = there was none
	lastMS      int64 // of the last offence
	lastKind    string
	lastCount   int    // how often it was done
	evidence    string // of the last offence, its beginning
	tier, node  string // of the last ban that the guard made; "" = there was none
	liftMS      int64  // when it was lifted last; 0 = never
	liftWho     string
	graceMS     int64 // until then it is not banned again
}

// allowed is an entry of the allow list. Its end is that of the entry, MaxTimeMS for good.
type allowed struct {
	who, note string
	sinceMS   int64
}

// New makes a guard that knows of nothing.
func New() *Machine {
	return &Machine{bans: newBook((*ban).rank), offenders: newBook[*offender](nil), allowed: newBook[*allowed](nil), known: newBook[struct{}](nil)}
}

// Apply does an op at a time, epoch milliseconds; the reply is read by ReadReply. With changed false the op need not be written down:
// without it the guard would be the same. An error means that the op cannot be read; nothing changed.
func (m *Machine) Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error) {
	o, err := ReadOp(op)
	if err != nil {
		return nil, false, err
	}
	nowMS = max(0, min(nowMS, MaxTimeMS/2))
	changed = m.expire(nowMS)
	var y Reply
	did := false
	switch o.Kind {
	case Report:
		did = m.report(nowMS, o, &y)
	case Add:
		did = m.add(nowMS, o, &y)
	case Lift:
		did = m.lift(nowMS, o, &y)
	case Allow:
		did = m.allow(nowMS, o, &y)
	case Disallow:
		did = m.disallow(o, &y)
	case Protect:
		did = m.protect(nowMS, o, &y)
	case Policy:
		did = m.policy(nowMS, o, &y)
	case Known:
		did = m.knows(nowMS, o, &y)
	}
	y.AllowVersion = m.allowVersion
	reply, err = json.Marshal(&y)
	if err != nil {
		panic(fmt.Sprintf("encode a reply of the guard: %v", err)) // its fields are text and numbers
	}
	return reply, changed || did, nil
}

// expire ends what is over.
func (m *Machine) expire(nowMS int64) bool {
	bans, offenders := m.bans.expire(nowMS), m.offenders.expire(nowMS)
	known := m.known.expire(nowMS)
	if m.allowed.expire(nowMS) {
		m.allowChanged()
		return true
	}
	return bans || offenders || known
}

func (m *Machine) allowChanged() {
	m.allowVersion++
	m.nets = nil
}

// listed names the entry of the allow list that overlaps a key, "" = none.
func (m *Machine) listed(key netip.Prefix) string {
	if m.nets == nil {
		var list []Net
		for _, key := range m.allowed.keys() {
			list = append(list, Net{Prefix: key, What: "allow list"})
		}
		m.nets = NewNets(list)
	}
	return m.nets.Shield(key)
}

// policy numbers the content of the policy.
func (m *Machine) policy(nowMS int64, o *Op, y *Reply) (did bool) {
	if did = m.policyDigest != o.Digest; did {
		m.policyDigest = o.Digest
		pack.Own(&m.policyDigest)
		m.policyVersion = max(m.policyVersion+1, nowMS) // by the clock: it rises also when the journal was lost
	}
	y.Version = m.policyVersion
	return did
}

// Deadline is when something ends next, epoch milliseconds.
func (m *Machine) Deadline() (ms int64, ok bool) {
	if e := m.bans.first(); e != nil {
		ms, ok = e.endMS, true
	}
	if e := m.offenders.first(); e != nil && (!ok || e.endMS < ms) {
		ms, ok = e.endMS, true
	}
	if e := m.known.first(); e != nil && (!ok || e.endMS < ms) {
		ms, ok = e.endMS, true
	}
	if e := m.allowed.first(); e != nil && e.endMS < MaxTimeMS && (!ok || e.endMS < ms) {
		ms, ok = e.endMS, true
	}
	return ms, ok
}

// Due gives the op that ends what is over, nil when nothing is.
func (m *Machine) Due(nowMS int64) []byte {
	if at, ok := m.Deadline(); !ok || at > nowMS {
		return nil
	}
	return AppendOp(nil, &Op{Kind: Expire})
}

// Resume is for after a restart: the guard keeps nothing beside what it wrote down.
func (m *Machine) Resume(int64) {}

// Empty tells whether nothing is worth keeping.
func (m *Machine) Empty() bool {
	return m.bans.len()+m.offenders.len()+m.allowed.len()+m.known.len() == 0 && m.allowVersion == 0 && m.policyVersion == 0
}

// remember makes or finds what is remembered of an address.
func (m *Machine) remember(nowMS int64, key netip.Prefix) *entry[*offender] {
	if e := m.offenders.get(key); e != nil {
		return e
	}
	for m.offenders.len() >= MaxOffenders {
		m.offenders.remove(m.offenders.first())
	}
	return m.offenders.put(key, nowMS+RepeatWithin.Milliseconds(), &offender{anchorMS: nowMS})
}

// retain sets how long an offender is remembered.
func (m *Machine) retain(e *entry[*offender]) {
	o := e.of
	m.offenders.keep(e, max(o.graceMS, o.anchorMS+remembered(o.count).Milliseconds(), o.liftMS+RepeatWithin.Milliseconds(), o.lastMS+RepeatWithin.Milliseconds()))
}

// room tells whether a ban of a key finds a place: in a full book it has to be another one's, of no higher rank and not by hand.
func (m *Machine) room(key netip.Prefix, rank int) bool {
	return m.bans.get(key) != nil || m.bans.len() < MaxBans || m.bans.weakest(min(rank, rankProven)) != nil
}

// rank is what a ban is worth in a full book. A first ban for packets of UDP may be somebody's who forges addresses, a hundred thousand of them;
// it must not drive out one for which connections, answered challenges or another ban stand. What an operator has banned stays.
func (b *ban) rank() int {
	switch {
	case b.tier == api.TierOperator:
		return rankByHand
	case b.proven:
		return rankProven
	}
	return rankForgeable
}

// impose puts a ban in force for which there is room; one that is in force already is replaced. In a full book the weakest makes room, and is
// lifted everywhere.
func (m *Machine) impose(key netip.Prefix, untilMS int64, b *ban, y *Reply) {
	if m.bans.get(key) == nil && m.bans.len() >= MaxBans {
		first := m.bans.weakest(min(b.rank(), rankProven))
		m.bans.remove(first)
		y.Decisions = append(y.Decisions, Decision{Addr: Name(first.key), Action: api.GuardLift, Everyone: true,
			Why: fmt.Sprintf("there are more than %d bans, and this one was the first to go", MaxBans)})
	}
	pack.Own(&b.why, &b.evidence, &b.who, &b.node)
	m.bans.put(key, untilMS, b)
}

// view is a ban as it is shown.
func (m *Machine) view(e *entry[*ban]) api.Ban {
	b := e.of
	v := api.Ban{Addr: Name(e.key), Tier: b.tier, Kind: b.kind, Why: b.why, Evidence: b.evidence, FromMS: b.fromMS, UntilMS: e.endMS, Node: b.node,
		Shared: b.shared, Count: b.before, Actor: b.who}
	return v
}

// at tells whether a node is to enforce a ban.
func (b *ban) at(node string) bool {
	if b.shared {
		return true
	}
	_, found := slices.BinarySearch(b.nodes, node)
	return found
}

// join has one more node have caught an address. What MaxNodes of them caught is shared.
func (b *ban) join(node string) {
	at, found := slices.BinarySearch(b.nodes, node)
	switch {
	case found:
	case len(b.nodes) >= MaxNodes:
		b.shared = true
	default:
		pack.Own(&node)
		b.nodes = slices.Insert(b.nodes, at, node)
	}
}
