package queue

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// maxAsked bounds the nodes that are asked to call somebody back: his agent waits meanwhile.
const maxAsked = 3

// callBack has a node call somebody who keeps his place: the one that had his call, or another one that is there. When none
// does, the desk hears that it failed. A node that was told and has not answered may be calling: no other is asked then, nor
// does the desk hear anything, so that his phone does not ring twice; the lease settles it.
func (q *Queues) callBack(ctx context.Context, e *errand) {
	why := "there is no node to call from"
	for _, name := range callFrom(q.directory(), e.Node) {
		var told atomic.Bool
		asking := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(r httptrace.WroteRequestInfo) {
			if r.Err == nil {
				told.Store(true)
			}
		}})
		there := &errand{account: e.account, Order: e.Order}
		there.Node = name
		var unsure bool
		if why, unsure = q.deliver(asking, there); why == "" {
			q.push.done.Add(1)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if unsure && told.Load() {
			q.log.Warn("whether a caller is called back is not known", "account", e.account, "queue", e.QueueID, "entry", e.EntryID, "order", e.ID, "node", name, "why", why)
			return
		}
	}
	q.log.Warn("nobody calls a caller back", "account", e.account, "queue", e.QueueID, "entry", e.EntryID, "order", e.ID, "why", why)
	q.failed(ctx, e.account, &e.Offer)
}

// callFrom lists the nodes that may make a call, first the one that is wanted.
func callFrom(dir brain.Directory, wanted string) (names []string) {
	if n := dir.NodeByName(wanted); n != nil && n.TakesOrders() && (n.State == "" || n.State == "active" || n.State == "draining") {
		names = append(names, wanted)
	}
	for _, n := range dir.Nodes() {
		if len(names) < maxAsked && n.Name != wanted && n.TakesOrders() && (n.State == "" || n.State == "active") {
			names = append(names, n.Name)
		}
	}
	return names
}

// callOf is the call to be made, as a node needs it: his phone rings until the order is over.
func callOf(acct *brain.AccountConfig, o *acd.Order, now time.Time) *api.CallbackCall {
	call := &api.CallbackCall{AccountID: acct.Account.ID, ReservationID: o.Offer.ReservationID, Fence: o.Offer.Fence, QueueID: o.QueueID, Number: o.CallerNumber,
		RingMS: o.UntilMS - now.UnixMilli(), AcceptMS: acd.AcceptMS, Label: o.Label, CallerName: o.CallerName, FromNumber: reachedBy(acct, o.QueueID)}
	if c := acct.Queues[o.QueueID]; c != nil {
		call.FromName = c.Name
	}
	return call
}

// reachedBy is a number that leads to a queue, "" when none does: the lowest extension, else the lowest number.
func reachedBy(acct *brain.AccountConfig, queueID string) (number string) {
	to := brain.RouteTarget{Kind: brain.DestQueue, ID: queueID}
	least := func(candidate string) {
		if number == "" || candidate < number {
			number = candidate
		}
	}
	for digits, e := range acct.Extensions {
		if e.Status == brain.StatusActive && e.Dest() == to && e.DestXform[brain.VarAction] == "" { // a feature code only names it
			least(digits)
		}
	}
	if number != "" {
		return number
	}
	for digits, d := range acct.DIDByE164 {
		if d.Status == brain.StatusActive && d.Dest() == to {
			least(digits)
		}
	}
	return number
}
