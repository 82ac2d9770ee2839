package acd

import "strconv"

// maxEffects bounds what waits to be taken, of each sort. What finds no room is lost; leases and repeated exits
// make up for lost orders.
const maxEffects = 100_000

// How long an order is of use.
const (
	rescindMS  = 60_000
	positionMS = 10_000
)

// effects are what leaves the desk. None are made while it is not live.
type effects struct {
	live    bool
	orders  []Order
	changes []Change
	records []Record
}

// Orders gives the orders since they were taken last.
func (f *effects) Orders() []Order { return taken(&f.orders) }

// Changes gives the changes of agents since they were taken last.
func (f *effects) Changes() []Change { return taken(&f.changes) }

// Records gives the records of the entries that ended since they were taken last.
func (f *effects) Records() []Record { return taken(&f.records) }

func taken[T any](list *[]T) []T {
	out := *list
	*list = nil
	return out
}

func put[T any](live bool, list *[]T, v T) {
	if live && len(*list) < maxEffects {
		*list = append(*list, v)
	}
}

func (f *effects) record(r Record) { put(f.live, &f.records, r) }

// order gives an order about a reservation.
func (d *Desk) order(o Order, r *reservation) {
	if !d.live {
		return
	}
	o.ID, o.Offer = o.Kind+"-"+r.id, r.offer()
	switch o.UntilMS = r.alarm.atMS; o.Kind {
	case OrderRescind:
		o.UntilMS = d.nowMS + rescindMS
	case OrderCallback:
		o.UntilMS = r.atMS + CallbackMS
	}
	d.orderTo(r.entry, o)
}

// orderExit has another id each time: a node that was not ready for the first answers the same one as it did then.
func (d *Desk) orderExit(e *entry) {
	d.orderTo(e, Order{ID: "exit-" + e.id + "-" + strconv.FormatInt(e.exitMS, 36), Kind: OrderExit, Outcome: e.outcome, UntilMS: e.exitMS})
}

func (d *Desk) orderPosition(e *entry, position int) {
	o := Order{ID: "position-" + e.id + "-" + strconv.FormatInt(d.nowMS, 36), Kind: OrderPosition, Position: position, EWTMS: -1,
		UntilMS: d.nowMS + positionMS}
	if e.queue.AnnounceEWT {
		o.EWTMS = e.queue.ewt(position - 1)
	}
	d.orderTo(e, o)
}

func (d *Desk) orderTo(e *entry, o Order) {
	o.EntryID, o.Token, o.Node, o.QueueID = e.id, e.token, e.node, e.queue.ID
	switch o.Kind {
	case OrderDispatch:
		o.CallerNumber, o.CallerName, o.Label = e.number, e.name, e.label
	case OrderCallback:
		o.CallerNumber, o.CallerName, o.Label = e.callback.number, e.name, e.label
		o.Token = "cb" + o.Offer.ReservationID
	}
	put(d.live, &d.orders, o)
}

// publish makes known what the agents that were touched are now. Those that are no agents any more go with their talk.
func (d *Desk) publish() {
	for _, a := range d.touched {
		a.touched = false
		c := a.view()
		a.spell = a.spells(c.Bucket)
		if c.Bucket != a.shown.Bucket {
			a.sinceMS = d.nowMS
		}
		if c != a.shown {
			a.shown = c
			c.TimeMS = d.nowMS
			put(d.live, &d.changes, c)
		}
		if a.gone && a.reservation == nil {
			d.retire(a)
		}
	}
	clear(d.touched)
	d.touched = d.touched[:0]
}

// view is what an agent is now, without a time.
func (a *agent) view() Change {
	c := Change{UserID: a.id, Status: a.status, Reason: a.reason, State: a.state, Bucket: a.bucket(), QueueID: a.wrapQueue}
	if r := a.reservation; r != nil {
		c.QueueID, c.EntryID = r.entry.queue.ID, r.entry.id
	}
	return c
}
