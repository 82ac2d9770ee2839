package flow

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of one caller in a queue.
const (
	maxLegs  = 64  // agents rung for him at once
	maxPast  = 512 // reservations that are remembered as over, and callers of whom some are before they are here
	maxSaid  = 4   // announcements that wait
	askApart = 2 * time.Millisecond
)

// entry is a caller's place in a queue, as this node serves it. Orders reach it at once, whatever the runner of his
// call does meanwhile: legs to agents run by themselves, and the runner is told by kick.
type entry struct {
	of    *Calls
	k     *call // what never changes of it
	id    string
	laws  string // what agents are offered: the caller's law first
	kick  chan struct{}
	start func(*leg)

	mu     sync.Mutex
	legs   map[string]*leg // by reservation, until they have ended
	past   map[string]bool // reservations that are over
	won    *leg            // the one whose agent may talk to the caller
	over   bool            // he waits no more
	exit   string          // so he is to leave
	say    [][]api.MediaRef
	ask    bool           // the brain was away: what is to be done now?
	answer *api.FlowReply // that
}

// news is what has come for an entry since the runner looked last.
type news struct {
	won    *leg
	exit   string
	say    [][]api.MediaRef
	ask    bool
	answer *api.FlowReply
	rings  bool // an agent is rung
}

// enqueue keeps the caller in his place: he hears music, agents are rung for him as the brain orders, and one who was
// granted talks to him. It ends with the talk, by an order (exit), or by a key of BargeIn.
func (k *call) enqueue(ctx context.Context, seq int64, p api.CommandParams) (result, error) {
	if p.EntryID == "" || k.of.cfg.Desk == nil || k.of.cfg.Listen == "" {
		return failed("this node has no queues"), nil
	}
	k.keys.clear()
	if done, ok := k.servedBefore(ctx, seq); ok {
		return done, nil
	}
	e := k.enter(ctx, p.EntryID)
	defer k.leave(e)
	for _, d := range p.Dispatches {
		if err := e.dispatch(d); err != nil {
			k.log.Warn("an agent is not rung", "reservation", d.ReservationID, "error", err)
		}
	}
	if err := k.pickUp(ctx, false); err != nil {
		return result{}, err
	}
	m := k.newMusic(ctx, p, e.news().rings)
	defer m.timer.Stop()
	return k.queued(ctx, seq, e, m, p)
}

// enter makes the caller's place known to orders.
func (k *call) enter(ctx context.Context, id string) *entry {
	e := &entry{of: k.of, k: k, id: id, laws: k.laws, kick: make(chan struct{}, 1), legs: map[string]*leg{}, past: map[string]bool{}}
	e.start = func(l *leg) { k.legs.Go(func() { l.run(ctx) }) }
	k.kicked = e.kick
	k.of.mu.Lock()
	defer k.of.mu.Unlock()
	k.of.entries[id] = e
	for _, reservation := range k.of.rescinded[id] {
		e.passed(reservation)
	}
	delete(k.of.rescinded, id)
	return e
}

// leave takes the place away. Agents who still ring are let go; when the call only changes hands, they ring on for its
// next runner.
func (k *call) leave(e *entry) {
	k.kicked = nil
	k.of.mu.Lock()
	if k.of.entries[e.id] == e {
		delete(k.of.entries, e.id)
	}
	k.of.mu.Unlock()
	passedOn := k.stopping || k.closed && k.cause == ""
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	for _, l := range e.legs {
		switch {
		case passedOn:
			l.stop(stopPassedOn)
		case k.gone:
			l.stop(stopCaller)
		default:
			l.stop(stopFailed)
		}
	}
}

// queued waits for whatever ends the caller's time in the queue.
func (k *call) queued(ctx context.Context, seq int64, e *entry, m *music, p api.CommandParams) (result, error) {
	for {
		n := e.news()
		if n.won != nil {
			if done, talked := k.serveBy(ctx, seq, e, n.won); talked {
				m.stopped(k)
				return done, nil
			}
			m.settle(ctx, k)
			n = e.news()
		}
		if n.exit != "" {
			return result{api.OutcomeExit, map[string]string{"exit": n.exit}}, m.end(ctx, k)
		}
		if d, ok := k.option(p.BargeIn); ok {
			k.from, k.fromKey = d.at, true
			return result{api.OutcomeDigit, map[string]string{"digit": string(d.digit)}}, m.end(ctx, k)
		}
		if n.answer != nil && !e.follow(seq, *n.answer) {
			return result{}, m.end(ctx, k) // something else is to be done: the brain is asked once more
		}
		if n.ask {
			k.askAgain(ctx, e)
		}
		for _, files := range n.say {
			k.announce(ctx, files)
		}
		if k.gap {
			k.gap = false
			m.lost(ctx, k)
		}
		if err := m.keep(ctx, k, n.rings); err != nil {
			return result{}, err
		}
		if _, why := k.next(ctx, m.timer.C); why == wakeGone {
			return result{}, nil
		}
	}
}

// option takes the first key out that ends the waiting. All before it are nobody's.
func (k *call) option(keys string) (press, bool) {
	for {
		d, ok := k.keys.pop()
		if !ok || strings.IndexByte(keys, d.digit) >= 0 {
			return d, ok
		}
	}
}

// announce tells the caller something over the music, behind what is being said: the music goes on by itself.
func (k *call) announce(ctx context.Context, files []api.MediaRef) {
	paths, _ := k.fetch(ctx, files)
	if len(paths) == 0 || k.gone {
		return
	}
	err := k.order(ctx, func(ctx context.Context) error { return k.ch.Follow(ctx, "playback", inOne(paths), newID()) })
	if err != nil && !k.gone {
		k.log.Warn("an announcement is left out", "error", err)
	}
}

// inOne is one sound made of files, without a pause between them.
func inOne(paths []string) string {
	if len(paths) == 1 {
		return paths[0]
	}
	return "file_string://" + strings.Join(paths, "!")
}

// askAgain asks what is to be done now: orders may have been given while no brain could be reached from here.
func (k *call) askAgain(ctx context.Context, e *entry) {
	req := k.request(0, "")
	k.legs.Go(func() {
		reply, err := k.question(ctx, req)
		if err != nil {
			k.of.mu.Lock()
			k.of.away = true // again, when the next list of calls was taken
			k.of.mu.Unlock()
			return
		}
		e.mu.Lock()
		e.answer = &reply
		e.mu.Unlock()
		e.wake()
	})
}

// follow does what the answer to askAgain says, false when it is not about this place any more.
func (e *entry) follow(seq int64, reply api.FlowReply) bool {
	if reply.Seq != seq || reply.Command != api.CommandEnqueue || reply.Params.EntryID != e.id {
		return false
	}
	for _, d := range reply.Params.Dispatches {
		if err := e.dispatch(d); err != nil {
			e.k.log.Warn("an agent is not rung", "reservation", d.ReservationID, "error", err)
		}
	}
	return true
}

// wake tells the runner to look.
func (e *entry) wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// news takes what has come.
func (e *entry) news() news {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := news{won: e.won, exit: e.exit, say: e.say, ask: e.ask, answer: e.answer, rings: len(e.legs) > 0}
	e.say, e.ask, e.answer = nil, false, nil
	return n
}

// callersLaw is the G.711 law that a caller's SDP names first, as FreeSWITCH will choose it, before the other one.
func callersLaw(sdp string) string {
	for line := range strings.Lines(sdp) {
		if !strings.HasPrefix(line, "m=audio ") {
			continue
		}
		for _, payload := range strings.Fields(line) {
			switch payload {
			case "0":
				return "PCMU,PCMA"
			case "8":
				return "PCMA,PCMU"
			}
		}
		break
	}
	return "PCMA,PCMU"
}
