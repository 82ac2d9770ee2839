package queue

import (
	"context"
	"log/slog"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

// How long a node has for one try of an order, and the pause before the next, which doubles.
const (
	tryTime    = 2 * time.Second
	firstPause = 100 * time.Millisecond
	mostPause  = time.Second
)

// dispatchTime bounds the tries of a dispatch: a node that is silent for so long has no caller any more, or will not be
// in time for him; the agent is of use to somebody else.
const dispatchTime = 5 * time.Second

// Times of what is said beside an order.
const (
	rescindTime = 2 * time.Second // a rescind of a dispatch that may have been taken; the claim is refused without it
	askTime     = 2 * time.Second // a caller's session and the word that he is gone; the next refusal asks again
)

// missTime bounds the word that a dispatch failed. When it does not get through, the lease runs out.
const missTime = 5 * time.Second

// Effects takes what the queues of an account want done, once the journal holds it. It does not wait.
func (q *Queues) Effects(accountID string, e presence.Effects) {
	for i := range e.Orders {
		q.push.add(accountID, e.Orders[i])
	}
	for i := range e.Records {
		select {
		case q.records <- record{accountID, e.Records[i]}:
		default:
			q.recordsLost.Add(1)
		}
	}
}

// carry takes one order to its node, again and again until it is taken, refused or late. What a dispatch came to that the
// node did not take is told to the desk; an exit the desk gives again by itself; nobody needs a late position.
func (q *Queues) carry(ctx context.Context, e *errand) {
	if e.Kind == acd.OrderCallback {
		q.callBack(ctx, e)
		return
	}
	why, unsure := q.deliver(ctx, e)
	if why == "" {
		q.push.done.Add(1)
		return
	}
	if ctx.Err() != nil || e.void.Load() {
		return
	}
	level := slog.LevelDebug // mostly the caller is gone already
	if e.Kind == acd.OrderDispatch {
		level = slog.LevelInfo
	}
	q.log.Log(ctx, level, "an order of a queue was not carried out", "account", e.account, "queue", e.QueueID, "entry", e.EntryID, "node", e.Node,
		"order", e.ID, "kind", e.Kind, "why", why)
	if why == api.NoSuchCaller && (e.Kind == acd.OrderDispatch || e.Kind == acd.OrderExit) && q.gone(ctx, e) {
		return
	}
	if e.Kind == acd.OrderDispatch {
		q.failed(ctx, e.account, &e.Offer)
	}
	if e.Kind == acd.OrderDispatch && unsure { // it may ring, for nobody
		late := e.Order
		late.ID, late.Kind, late.Why = "late-"+e.ID, acd.OrderRescind, acd.WhyLease
		late.UntilMS = q.Now().Add(rescindTime).UnixMilli()
		q.push.add(e.account, late)
	}
}

// gone has a caller leave whom his node does not have, unless his session says that he waits: the node hears of him soon.
// True: he was gone.
func (q *Queues) gone(ctx context.Context, e *errand) bool {
	if q.Callers == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	waits, err := q.Callers.Waits(ctx, e.account, e.Token, e.EntryID)
	if err == nil && !waits {
		err = q.Leave(ctx, e.account, e.EntryID, e.Token, acd.LeftFailed)
	}
	if err != nil {
		q.log.Debug("whether a caller is gone is asked with the next order", "account", e.account, "entry", e.EntryID, "err", err)
	}
	return err == nil && !waits
}

// deliver says why the node did not take the order, "" when it did. unsure: it may have taken it, its answer did not come.
func (q *Queues) deliver(ctx context.Context, e *errand) (why string, unsure bool) {
	until := time.UnixMilli(e.UntilMS)
	if soon := q.Now().Add(dispatchTime); (e.Kind == acd.OrderDispatch || e.Kind == acd.OrderCallback) && until.After(soon) {
		until = soon
	}
	why = "too late when its turn came"
	for pause := firstPause; q.Now().Before(until) && !e.void.Load(); pause = min(2*pause, mostPause) {
		dir := q.directory()
		acct, n := dir.ByAccount(e.account), dir.NodeByName(e.Node)
		if acct == nil || n == nil {
			q.push.refused.Add(1)
			return "its account or node is gone", unsure
		}
		reply, err := q.try(ctx, acct, n, e, min(tryTime, until.Sub(q.Now())))
		switch {
		case err == nil && reply.OK:
			return "", false
		case err == nil:
			q.push.refused.Add(1)
			return reply.Error, false
		case brain.CodeOf(err) != brain.EUnavailable:
			q.push.refused.Add(1)
			return err.Error(), unsure
		}
		why, unsure = err.Error(), true
		select {
		case <-time.After(pause):
			q.push.again.Add(1)
		case <-ctx.Done():
			return why, unsure
		}
	}
	if !e.void.Load() {
		q.push.late.Add(1)
	}
	return why, unsure
}

func (q *Queues) try(ctx context.Context, acct *brain.AccountConfig, n *brain.Node, e *errand, patience time.Duration) (api.OpReply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	op := api.Op{ID: e.ID, Token: e.Token, EntryID: e.EntryID}
	switch e.Kind {
	case acd.OrderDispatch:
		d := q.dispatch(ctx, acct, &e.Order)
		if d.LeaseMS <= 0 {
			return api.OpReply{Error: "the time of the reservation is over"}, nil
		}
		op.Kind, op.Dispatch = api.OpDispatch, &d
	case acd.OrderRescind:
		op.Kind, op.Why = api.OpRescind, e.Why
		op.Dispatch = &api.Dispatch{ReservationID: e.Offer.ReservationID, Fence: e.Offer.Fence, UserID: e.Offer.UserID}
	case acd.OrderExit:
		op.Kind, op.Outcome = api.OpExit, e.Outcome
	case acd.OrderCallback:
		op.Kind, op.Callback = api.OpCallback, callOf(acct, &e.Order, q.Now())
	case acd.OrderPosition:
		if op.Kind, op.Files = api.OpPosition, q.place(ctx, acct, &e.Order); len(op.Files) == 0 {
			return api.OpReply{OK: true}, nil // nothing to hear
		}
	default:
		return api.OpReply{}, brain.Errorf(brain.EInternal, "an order %q is not known", e.Kind)
	}
	return q.nodes.Push(ctx, n, op)
}

// failed tells the desk that a dispatch came to nothing by no fault of the agent's.
func (q *Queues) failed(ctx context.Context, accountID string, o *acd.Offer) {
	ctx, cancel := context.WithTimeout(ctx, missTime)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		_, err := q.Miss(ctx, &api.Claim{AccountID: accountID, ReservationID: o.ReservationID, Fence: o.Fence, Cause: acd.MissFailed})
		if err == nil || brain.CodeOf(err) != brain.EUnavailable {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
