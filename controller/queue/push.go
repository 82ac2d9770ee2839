package queue

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sipio/sipio/brain/acd"
)

// Bounds of what waits for one node. A node that takes nothing fills its own lane and nobody else's.
const (
	maxOrders  = 10_000 // orders; further ones are dropped: leases and repeated exits see to what was in them
	maxCarried = 32     // orders on their way at once
	maxRinging = 8      // of them about one caller: whom many agents are rung for leaves room for others
	maxLooked  = 64     // orders of one caller that are looked at for one that may leave
)

// pusher takes orders to nodes: those of one node beside those of the others, those of one caller one after the other,
// but for agents who are rung for him at the same time.
type pusher struct {
	carry func(ctx context.Context, e *errand) // to its end
	ctx   context.Context                      // of everything on its way
	stop  context.CancelFunc
	all   sync.WaitGroup

	mu    sync.Mutex
	lanes map[string]*lane // by node

	done, refused, late, dropped, again atomic.Int64
}

// lane is what one node is to be told.
type lane struct {
	lines   map[caller]*line
	ready   []*line // with an order that may leave, in their turn
	orders  int     // in lines
	carried int     // workers
}

type caller struct{ account, entry string }

// line is the orders about one caller, in order, until they are done.
type line struct {
	caller  caller
	orders  []*errand
	carried int  // of them
	ready   bool // it is in its lane's ready
}

// errand is one order on its way.
type errand struct {
	account string
	acd.Order
	left bool        // a worker has it
	void atomic.Bool // it has been taken back: not tried again
}

// add takes an order. It does not wait.
func (p *pusher) add(account string, o acd.Order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	l := p.lanes[o.Node]
	if l == nil {
		l = &lane{lines: map[caller]*line{}}
		if p.lanes == nil {
			p.lanes = map[string]*lane{}
		}
		p.lanes[o.Node] = l
	}
	if l.orders >= maxOrders {
		p.dropped.Add(1)
		return
	}
	of := caller{account, o.EntryID}
	n := l.lines[of]
	switch {
	case n == nil:
		n = &line{caller: of}
		l.lines[of] = n
	case n.has(&o):
		return // given again, and still on its way
	case o.Kind == acd.OrderRescind && n.takeBack(&o):
		if l.orders--; len(n.orders) == 0 {
			delete(l.lines, of)
		}
		return // it never left
	}
	n.orders = append(n.orders, &errand{account: account, Order: o})
	l.orders++
	p.offer(o.Node, l, n)
}

// offer gives a line's next order to a worker, when it has one that may leave.
func (p *pusher) offer(node string, l *lane, n *line) {
	if n.ready || n.next() == nil {
		return
	}
	n.ready = true
	l.ready = append(l.ready, n)
	if l.carried < maxCarried {
		l.carried++
		p.all.Go(func() { p.work(node, l) })
	}
}

// has tells that an order was given before and is still on its way. An exit has another id each time, and is one.
func (n *line) has(o *acd.Order) bool {
	return slices.ContainsFunc(n.orders, func(e *errand) bool {
		return e.ID == o.ID || o.Kind == acd.OrderExit && e.Kind == acd.OrderExit
	})
}

// takeBack voids the dispatch that a rescind is about. True: it has not left, so the node need not hear of either.
func (n *line) takeBack(rescind *acd.Order) bool {
	i := slices.IndexFunc(n.orders, func(e *errand) bool {
		return e.Kind == acd.OrderDispatch && e.Offer.ReservationID == rescind.Offer.ReservationID
	})
	if i < 0 {
		return false
	}
	n.orders[i].void.Store(true)
	if n.orders[i].left {
		return false // it may be on its way
	}
	n.orders = slices.Delete(n.orders, i, i+1)
	return true
}

// next is the first order that may leave now, nil when all wait for others.
func (n *line) next() *errand {
	if n.carried >= maxRinging {
		return nil
	}
	for i, e := range n.orders[:min(len(n.orders), maxLooked)] {
		if !e.left && !slices.ContainsFunc(n.orders[:i], e.waits) {
			return e
		}
	}
	return nil
}

// waits tells that an order goes only after an earlier one about the same caller: agents are rung at the same time, and
// one is let go as soon as the order to ring him is done.
func (e *errand) waits(earlier *errand) bool {
	switch {
	case e.Kind == acd.OrderDispatch && earlier.Kind == acd.OrderDispatch:
		return false
	case e.Kind == acd.OrderRescind && (earlier.Kind == acd.OrderDispatch || earlier.Kind == acd.OrderRescind):
		return e.Offer.ReservationID == earlier.Offer.ReservationID
	}
	return true
}

// work carries orders of one node until none waits for a worker.
func (p *pusher) work(node string, l *lane) {
	for n, e := p.take(node, l); n != nil; n, e = p.take(node, l) {
		p.carry(p.ctx, e) // it stays in its line until it is done
		p.mu.Lock()
		i := slices.Index(n.orders, e)
		n.orders = slices.Delete(n.orders, i, i+1)
		n.carried--
		if l.orders--; len(n.orders) == 0 {
			delete(l.lines, n.caller)
		}
		p.offer(node, l, n)
		p.mu.Unlock()
	}
}

// take takes the line whose turn it is, and its next order; nil ends the worker.
func (p *pusher) take(node string, l *lane) (*line, *errand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(l.ready) > 0 && p.ctx.Err() == nil {
		n := l.ready[0]
		l.ready[0] = nil
		l.ready, n.ready = l.ready[1:], false
		if e := n.next(); e != nil { // not taken back meanwhile
			e.left = true
			n.carried++
			p.offer(node, l, n)
			return n, e
		}
	}
	if l.carried--; l.carried == 0 && l.orders == 0 {
		delete(p.lanes, node)
	}
	return nil, nil
}

// close ends everything on its way.
func (p *pusher) close() {
	p.mu.Lock()
	p.stop()
	p.mu.Unlock()
	p.all.Wait()
}
