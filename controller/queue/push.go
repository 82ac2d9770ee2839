package queue

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sipio/sipio/brain/acd"
)

// Bounds of what waits for one node. A node that takes nothing fills its own lane and nobody else's.
const (
	maxOrders  = 10_000 // orders; further ones are dropped: leases and repeated exits see to what was in them
	maxCarried = 32     // orders on their way at once, each of another caller
)

// pusher takes orders to nodes: those of one node beside those of the others, those of one caller one after the other.
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
	ready   []*line // with orders that nobody carries, in their turn
	orders  int     // in lines
	carried int     // workers
}

type caller struct{ account, entry string }

// line is the orders about one caller, in order. The first may be on its way.
type line struct {
	caller caller
	orders []*errand
	busy   bool
}

// errand is one order on its way.
type errand struct {
	account string
	acd.Order
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
	case n.has(o.ID):
		return // given again, and still on its way
	case o.Kind == acd.OrderRescind && n.takeBack(l, &o):
		return // it never left
	}
	n.orders = append(n.orders, &errand{account: account, Order: o})
	l.orders++
	if n.busy || len(n.orders) > 1 {
		return
	}
	l.ready = append(l.ready, n)
	if l.carried < maxCarried {
		l.carried++
		p.all.Go(func() { p.work(o.Node, l) })
	}
}

func (n *line) has(id string) bool {
	for _, e := range n.orders {
		if e.ID == id {
			return true
		}
	}
	return false
}

// takeBack voids the dispatch that a rescind is about. True: it has not left, so the node need not hear of either.
func (n *line) takeBack(l *lane, rescind *acd.Order) bool {
	for i, e := range n.orders {
		if e.Kind != acd.OrderDispatch || e.Offer.ReservationID != rescind.Offer.ReservationID {
			continue
		}
		e.void.Store(true)
		if i == 0 {
			return false // it may be on its way
		}
		n.orders = append(n.orders[:i], n.orders[i+1:]...)
		l.orders--
		return true
	}
	return false
}

// work carries orders of one node until none waits for a worker.
func (p *pusher) work(node string, l *lane) {
	for n, e := p.next(node, l); n != nil; n, e = p.next(node, l) {
		p.carry(p.ctx, e) // it stays the first of its line until it is done
		p.mu.Lock()
		n.orders[0] = nil
		n.orders, n.busy = n.orders[1:], false
		if l.orders--; len(n.orders) > 0 {
			l.ready = append(l.ready, n)
		} else {
			delete(l.lines, n.caller)
		}
		p.mu.Unlock()
	}
}

// next takes the line whose turn it is, and its first order; nil ends the worker.
func (p *pusher) next(node string, l *lane) (*line, *errand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(l.ready) == 0 || p.ctx.Err() != nil {
		if l.carried--; l.carried == 0 && l.orders == 0 {
			delete(p.lanes, node)
		}
		return nil, nil
	}
	n := l.ready[0]
	l.ready[0] = nil
	l.ready, n.busy = l.ready[1:], true
	return n, n.orders[0]
}

// close ends everything on its way.
func (p *pusher) close() {
	p.mu.Lock()
	p.stop()
	p.mu.Unlock()
	p.all.Wait()
}
