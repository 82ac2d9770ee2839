package actor

import (
	"fmt"
	"runtime/debug"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/presence"
)

// pass applies what was taken and hands the records to the committer. False means the shard is broken: a
// machine failed in the middle of an operation, and only the journal knows what it was before. What was applied before
// that is handed over all the same.
func (s *shard) pass(reqs []*request, control []func()) (ok bool) {
	applied := 0
	defer func() {
		if p := recover(); p != nil {
			s.host.Log.Error("machine failed, its shard is read again", "shard", s.n, "panic", p, "stack", string(debug.Stack()))
			err := brain.Errorf(brain.EInternal, "a machine of shard %d failed", s.n)
			for _, r := range reqs[applied:] {
				r.fail(err)
			}
			s.hand()
			s.broken(err)
		}
	}()
	now := s.now()
	for _, r := range reqs {
		s.apply(r, now)
		r.applyDone()
		s.done = append(s.done, r)
		applied++
		s.spill()
	}
	for _, f := range control {
		f()
	}
	s.expire(now)
	s.hand()
	s.snapshot()
	return true
}

// now is the time of the operations: it never goes back, not even when the clock does.
func (s *shard) now() int64 {
	s.lastMS = max(s.lastMS, s.host.Now().UnixMilli())
	return s.lastMS
}

// apply runs one request and keeps the record of what it changed.
func (s *shard) apply(r *request, now int64) {
	o := s.object(r.id)
	if o == nil {
		r.err = brain.Errorf(brain.EUnavailable, "no room for another actor in shard %d", s.n)
		return
	}
	switch {
	case r.step != nil:
		s.step(r, o, now)
	case r.ask != nil:
		r.reply, r.err = r.ask(s, o, now)
	default:
		if r.reply, r.changed, r.err = o.machine.Apply(now, r.op); r.changed {
			s.keep(o, now, r.op)
		}
		r.changed = s.hear(o, now) || r.changed
	}
	s.settle(o)
}

// force applies an operation of our own making: nobody waits for it. It is true when it has changed something.
func (s *shard) force(o *object, now int64, op []byte) (changed bool) {
	_, changed, err := o.machine.Apply(now, op)
	if err != nil {
		panic(fmt.Sprintf("own operation of %s: %v", o.id, err))
	}
	if changed {
		s.keep(o, now, op)
	}
	return s.hear(o, now) || changed
}

// keep notes an operation that has changed its machine: the record, then what follows from it.
func (s *shard) keep(o *object, now int64, op []byte) {
	before := len(s.out)
	s.out = appendRecord(s.out, o.id, now, op)
	s.records, s.written = s.records+1, s.written+len(s.out)-before
	s.publish(o, now)
	s.collect(o)
}

// expire runs the alarms that are due.
func (s *shard) expire(now int64) {
	for len(s.due) > 0 && s.due[0].dueMS <= now {
		o := s.due[0]
		o.unwatch(now)
		if op := o.machine.Due(now); op != nil {
			s.force(o, now, op)
			s.spill()
		}
		s.doubt(o, now)
		s.collect(o)
		before := o.dueMS
		s.settle(o)
		if o.index >= 0 && o.dueMS <= now && o.dueMS == before {
			panic(fmt.Sprintf("the deadline of %s does not move", o.id))
		}
	}
}

// observe lets every actor of the shard see a node's dialog report; of is the part of the report by account. What comes
// of it is written behind what the pass has applied before.
func (s *shard) observe(base presence.Report, of map[string][]presence.Dialog) {
	now := s.now()
	see := func(o *object, dialogs []presence.Dialog) {
		r := base
		r.Dialogs = dialogs
		if op := o.machine.Observe(now, &r); op != nil {
			s.force(o, now, op)
			s.spill()
		}
		s.settle(o)
	}
	known := make([]*object, 0, len(s.objects))
	for _, o := range s.objects {
		known = append(known, o)
	}
	for _, o := range known {
		see(o, of[o.id])
	}
	for id, dialogs := range of {
		if brain.ShardOfObject(id) != s.n || s.objects[id] != nil {
			continue
		}
		if o := s.object(id); o != nil {
			see(o, dialogs)
		}
	}
}

// collect takes what an actor wants done, until its record is handed over.
func (s *shard) collect(o *object) {
	if e := o.machine.Effects(); !e.Empty() {
		s.effects = append(s.effects, effect{id: o.id, Effects: e})
	}
	if w, ok := o.machine.(wallet); ok {
		if tasks := w.Tasks(); len(tasks) > 0 {
			s.effects = append(s.effects, effect{id: o.id, tasks: tasks})
		}
	}
}

// hand hands what was applied over to the committer: records, and the requests and effects that wait for them.
func (s *shard) hand() {
	s.gate.put(s.out, s.done, s.effects)
	clear(s.done)
	clear(s.effects)
	s.out, s.done, s.effects = s.out[:0], s.done[:0], s.effects[:0]
	if cap(s.out) > maxBatch {
		s.out = nil
	}
}

// spill hands over when the records would make too large a message with the next one. It stands between what belongs
// together: an operation and its effects, a step of a call and the wrong PIN it tells of.
func (s *shard) spill() {
	if len(s.out) >= maxBatch {
		s.hand()
	}
}
