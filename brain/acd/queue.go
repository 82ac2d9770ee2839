package acd

import (
	"cmp"
	"slices"
	"strings"
)

// queue is a queue with who waits in it and who serves it.
type queue struct {
	Queue
	gone    bool  // no longer in the setup: it stays until its callers have left
	ahtMS   int64 // mean handling time; 0 = no history
	figures history

	// Found again from what is above, agents and entries.
	tiers   []*tier  // lowest first
	classes []*class // of those that may be offered
	kinds   map[kind]*class
	lines   []*line // places, by priority
	present int     // signed in and reachable
	staffed int     // signed in and not on a break
	waiting int     // entries that wait or are rung for
	served  int
	entries int // of whatever state
	shaken  bool
}

// tier is the members of one level. Ready ones stand in the order of the strategy.
type tier struct {
	level   int
	present int // signed in and reachable
	ready   tree[*member]
}

// line is the places of one priority, by rank: longer waits first.
type line struct {
	priority int
	tree[*entry]
}

// kind is what entries that suit the same agents have in common.
type kind struct {
	priority, stage int
	needs           string
}

// class is the entries of a kind that may be offered, longer waits first.
type class struct {
	kind
	skills []Skill
	tree[*entry]
	scan int64 // the look through the queue in which nobody was found
}

func newQueue(conf Queue) *queue {
	q := &queue{Queue: conf}
	q.reset()
	return q
}

// reset forgets everything that is found again.
func (q *queue) reset() {
	q.tiers, q.classes, q.lines, q.kinds = nil, nil, nil, map[kind]*class{}
	q.present, q.staffed, q.waiting, q.served, q.entries = 0, 0, 0, 0, 0
}

// leaves takes one entry off the count, and tells whether the queue was only there for it.
func (q *queue) leaves() bool {
	q.entries--
	return q.gone && q.entries == 0
}

// tier is that of a level, made when it is not there.
func (q *queue) tier(level int) *tier {
	i, found := slices.BinarySearchFunc(q.tiers, level, func(t *tier, level int) int { return cmp.Compare(t.level, level) })
	if !found {
		q.tiers = slices.Insert(q.tiers, i, &tier{level: level, ready: tree[*member]{less: memberBefore}})
	}
	return q.tiers[i]
}

// line is that of a priority, made when it is not there.
func (q *queue) line(priority int) *line {
	i, found := slices.BinarySearchFunc(q.lines, priority, func(l *line, p int) int { return cmp.Compare(l.priority, p) })
	if !found {
		q.lines = slices.Insert(q.lines, i, &line{priority, tree[*entry]{less: longer}})
	}
	return q.lines[i]
}

// openTo is the highest level that is open to entries in a stage: stage 1 has the lowest tier with somebody signed in
// and reachable, each further stage the next. -1 = nobody is there.
func (q *queue) openTo(stage int) int {
	level := -1
	for _, t := range q.tiers {
		if t.present > 0 {
			if level = t.level; stage <= 1 {
				break
			}
			stage--
		}
	}
	return level
}

// stage is how many tiers a wait opens.
func (q *queue) stage(waitMS int64) int {
	if q.TierEscalationMS <= 0 {
		return 1
	}
	return int(min(1+waitMS/q.TierEscalationMS, int64(max(1, len(q.tiers)))))
}

// level is the priority that an entry has by now, with what its wait is worth; of one who was moved those of his rank.
func (q *queue) level(e *entry, nowMS int64) int64 {
	level := int64(e.rank.priority)
	if q.PriorityAgeMS > 0 {
		level += max(0, nowMS-e.rank.sinceMS) / q.PriorityAgeMS
	}
	return level
}

// longer tells whether a has waited longer than b, by their ranks.
func longer(a, b *entry) bool {
	switch {
	case a.rank.sinceMS != b.rank.sinceMS:
		return a.rank.sinceMS < b.rank.sinceMS
	case a.rank.order != b.rank.order:
		return a.rank.order < b.rank.order
	}
	return a.id < b.id
}

// ahead tells whether a is served before b: by priority and age, then by the wait.
func ahead(a, b *entry, nowMS int64) bool {
	if x, y := a.queue.level(a, nowMS), b.queue.level(b, nowMS); x != y {
		return x > y
	}
	return longer(a, b)
}

// position is the place of an entry in its queue, 1 = next. Those who are being rung for keep theirs.
func (q *queue) position(e *entry, nowMS int64) int {
	n := 1
	level := q.level(e, nowMS)
	for _, l := range q.lines {
		n += l.count(func(o *entry) bool {
			if x := q.level(o, nowMS); x != level {
				return x > level
			}
			return longer(o, e)
		})
	}
	return n
}

// ewt is the expected wait behind so many callers; -1 = unknown, since nobody serves.
func (q *queue) ewt(before int) int64 {
	if q.staffed == 0 {
		return -1
	}
	aht, agents := q.ahtMS, int64(q.staffed)
	if aht == 0 {
		aht = q.EWTAHTMS
	}
	return (int64(before+1)*aht + agents - 1) / agents
}

// handled takes a talk with its wrap-up into the mean handling time, the last ones weigh most.
func (q *queue) handled(ms int64) {
	if q.ahtMS == 0 {
		q.ahtMS = max(1, ms)
		return
	}
	q.ahtMS = max(1, q.ahtMS+(ms-q.ahtMS)/8)
}

// longest is how long those wait at most who do, wherever they stand.
func (q *queue) longest(nowMS int64) (ms int64) {
	for _, l := range q.lines {
		l.each(func(e *entry) bool {
			ms = max(ms, e.wait(nowMS))
			return true
		})
	}
	return ms
}

// place gives an entry its place in the line, displace takes it.
func (q *queue) place(e *entry) {
	q.line(e.rank.priority).insert(&e.place, e)
	q.waiting++
}

func (q *queue) displace(e *entry) {
	if e.place.in {
		q.line(e.rank.priority).remove(&e.place)
		q.waiting--
	}
}

// classOf is the class of a kind, made when it is not there.
func (q *queue) classOf(k kind, needs []Skill) *class {
	c := q.kinds[k]
	if c == nil {
		c = &class{kind: k, skills: needs, tree: tree[*entry]{less: longer}}
		q.kinds[k] = c
		i, _ := slices.BinarySearchFunc(q.classes, c, classOrder)
		q.classes = slices.Insert(q.classes, i, c)
	}
	return c
}

func classOrder(a, b *class) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(b.stage, a.stage), strings.Compare(a.needs, b.needs))
}

// dropClass forgets a class without entries.
func (q *queue) dropClass(c *class) {
	delete(q.kinds, c.kind)
	if i, found := slices.BinarySearchFunc(q.classes, c, classOrder); found {
		q.classes = slices.Delete(q.classes, i, i+1)
	}
}
