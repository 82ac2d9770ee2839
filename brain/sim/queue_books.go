package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/acd"
)

// queueBooks is what the simulator expects of a desk, in its own words and without an index: plain lists that are looked
// through whenever something must be known. It follows the ops, takes every offer that the desk makes as made once it
// has found it right, and shares no code with the desk.
type queueBooks struct {
	version int64
	queues  map[string]*bookQueue
	agents  map[string]*bookAgent
	staff   []*bookAgent // the agents in the order of their names
	signals map[string]signal
	entries map[string]*bookEntry // that wait or are served …
	order   []*bookEntry          // … and in the order of their ids
	left    map[string]bookLeft
	ended   map[string]int        // how often an entry has ended: again when it was lost and came back
	offers  map[string]*bookOffer // all that were ever made
	fence   int64                 // the last one
	now     int64
	due     map[string]bool   // entries whose place is to be told, if it is another one
	all     map[string]bool   // who must ring together with the offer that was made last …
	allFor  string            // … for this entry
	rescind map[string]string // offers whose nodes must hear to stop, and why
	sums    map[string]*sums  // of queues and agents
	written []acd.Record      // the records that the op should have made
	fault   error
}

type signal struct {
	reachable bool
	calls     int
}

type bookQueue struct {
	acd.Queue
	known  bool                  // in the configuration of now
	aht    int64                 // mean handling time; 0 = no history
	served map[string]bookSticky // by caller number
}

type bookSticky struct {
	user string
	at   int64
}

type bookAgent struct {
	cfg            *acd.Agent // nil: no agent any more, but it still talks
	members        []acd.Membership
	id             string
	status, reason string
	signal         signal
	state          string
	queue          string // offering, in_call, wrap_up
	offer          *bookOffer
	wrapUntil      int64
	signed         map[string]bool
	misses         int
	since          int64            // idle since
	turns          map[string]int64 // by queue: fence of the last offer
	calls          int64            // talks since the login
	talkMS         int64            // of those
	lastTalk       int64            // the one that is wrapped up
	wrapFrom       int64
	last           acd.Change
}

// States of an entry.
const (
	entryWaits   = "waiting"
	entryRings   = "offering"
	entryTalks   = "in_call"
	entryLeaving = "leaving"
	entryCalled  = "calling"
)

type bookEntry struct {
	acd.Join
	joined    int64
	state     string
	leaving   string // by which exit
	view      int64  // when its tier and needs were looked at: they change by an alarm
	skipped   map[string]bool
	quick     bool // the last agent refused without ringing for its time
	held      bool
	heldUntil int64
	holdMS    int64
	spoken    int
	announce  int64 // when its place is looked at next
	connected int64
	user      string
	misses    int
	talk      *bookOffer // that was claimed or is served
	back      *bookBack  // nil = his call is there
	kept      bool       // he had hung up at some time
	called    int64      // fence of the call that was made to him last; 0 = none that may join
	rank      bookRank
}

type bookLeft struct {
	outcome string
	since   int64
	at      int64
	called  int64     // fence of the call made to him that had the place
	rank    *bookRank // nil = by his own priority and time
}

// States of an offer.
const (
	offerRings   = "offered"
	offerCalls   = "calling" // whom it is for is called back
	offerClaimed = "claimed"
	offerServed  = "served"
	offerOver    = "over"
)

type bookOffer struct {
	acd.Offer
	entry string
	queue string
	state string
	full  int64 // the end of its lease, if no brain dies
	lease int64
	why   string // it does not hold any more
	late  bool   // it was claimed and its lease ran out: a confirm may still come
	miss  bool
}

func newQueueBooks() *queueBooks {
	return &queueBooks{queues: map[string]*bookQueue{}, agents: map[string]*bookAgent{}, signals: map[string]signal{}, entries: map[string]*bookEntry{},
		left: map[string]bookLeft{}, offers: map[string]*bookOffer{}, sums: map[string]*sums{}, ended: map[string]int{}}
}

// clone copies all that changes.
func (b *queueBooks) clone() *queueBooks {
	c := *b
	offers := map[*bookOffer]*bookOffer{nil: nil}
	c.offers = make(map[string]*bookOffer, len(b.offers))
	for id, o := range b.offers {
		copied := *o
		c.offers[id], offers[o] = &copied, &copied
	}
	c.queues = make(map[string]*bookQueue, len(b.queues))
	for id, q := range b.queues {
		copied := *q
		copied.served = maps.Clone(q.served)
		c.queues[id] = &copied
	}
	c.agents = make(map[string]*bookAgent, len(b.agents))
	for id, a := range b.agents {
		copied := *a
		copied.signed, copied.turns, copied.offer = maps.Clone(a.signed), maps.Clone(a.turns), offers[a.offer]
		c.agents[id] = &copied
	}
	c.entries = make(map[string]*bookEntry, len(b.entries))
	for id, e := range b.entries {
		copied := *e
		copied.skipped, copied.talk = maps.Clone(e.skipped), offers[e.talk]
		if e.back != nil {
			back := *e.back
			copied.back = &back
		}
		c.entries[id] = &copied
	}
	c.sums = make(map[string]*sums, len(b.sums))
	for id, sum := range b.sums {
		copied := *sum
		c.sums[id] = &copied
	}
	c.signals, c.left, c.ended = maps.Clone(b.signals), maps.Clone(b.left), maps.Clone(b.ended)
	c.sort()
	return &c
}

// wrong notes what the desk did wrong. The first fault counts.
func (b *queueBooks) wrong(format string, args ...any) {
	if b.fault == nil {
		b.fault = fmt.Errorf(format, args...)
	}
}

// sort puts agents and entries in order: what is told first is the same in every run.
func (b *queueBooks) sort() {
	b.staff, b.order = nil, nil
	for _, id := range slices.Sorted(maps.Keys(b.agents)) {
		b.staff = append(b.staff, b.agents[id])
	}
	for _, id := range slices.Sorted(maps.Keys(b.entries)) {
		b.order = append(b.order, b.entries[id])
	}
}

// place is where an entry stands, or would, in the order of ids.
func (b *queueBooks) place(id string) int {
	at, _ := slices.BinarySearchFunc(b.order, id, func(e *bookEntry, id string) int { return strings.Compare(e.EntryID, id) })
	return at
}

// ringing gives the offers of an entry that its callers wait for, by fence.
func (b *queueBooks) ringing(e *bookEntry) []*bookOffer {
	var list []*bookOffer
	for _, a := range b.staff {
		if o := a.offer; o != nil && o.entry == e.EntryID && o.state != offerOver {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(x, y *bookOffer) int { return int(x.Fence - y.Fence) })
	return list
}
