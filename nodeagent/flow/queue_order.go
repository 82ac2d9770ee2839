package flow

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Refusals of an order about a caller in a queue. Their text is for operators.
var (
	errNoCaller = errors.New(api.NoSuchCaller)
	errServed   = errors.New("the caller is with an agent")
	errLeft     = errors.New("the caller leaves the queue")
	errBusyHere = errors.New("too much is going on for that caller")
	errNotWhole = errors.New("the order is not whole")
	errTooLate  = errors.New("the time of the reservation is over")
)

// reservationID is what a reservation may be called: it is a word of FreeSWITCH's commands.
var reservationID = regexp.MustCompile(`^[A-Za-z0-9]{1,40}$`)

// entry returns the place of a caller that this node serves.
func (c *Calls) entry(op api.Op) (*entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[op.EntryID]
	if e == nil || e.k.token != op.Token {
		return nil, errNoCaller
	}
	return e, nil
}

// Dispatch rings an agent for a caller. It answers when that has begun; the desk hears what became of it.
func (c *Calls) Dispatch(_ context.Context, op api.Op) (api.OpReply, error) {
	e, err := c.entry(op)
	if err == nil && op.Dispatch == nil {
		err = errNotWhole
	}
	switch {
	case err == nil:
		err = e.dispatch(*op.Dispatch)
	case errors.Is(err, errNoCaller) && op.Dispatch != nil: // refused, he is not to be rung by an answer that still names him
		c.rescindEarly(op.EntryID, op.Dispatch.ReservationID)
	}
	return api.OpReply{}, err
}

// Rescind lets an agent go who is rung, or was not bridged yet. One who is not there any more is no error; one who is
// not there yet is not rung later: the order to ring him travels another way.
func (c *Calls) Rescind(_ context.Context, op api.Op) (api.OpReply, error) {
	e, err := c.entry(op)
	if err == nil && op.Dispatch == nil {
		err = errNotWhole
	}
	switch {
	case err == nil:
		e.rescind(op.Dispatch.ReservationID, op.Why)
	case errors.Is(err, errNoCaller) && op.Dispatch != nil:
		c.rescindEarly(op.EntryID, op.Dispatch.ReservationID)
	}
	return api.OpReply{}, err
}

// Position tells a caller his place, unless he is being put through.
func (c *Calls) Position(_ context.Context, op api.Op) (api.OpReply, error) {
	e, err := c.entry(op)
	if err != nil {
		return api.OpReply{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.over || e.exit != "":
		return api.OpReply{}, errLeft
	case e.won != nil:
		return api.OpReply{}, errServed
	case len(e.say) >= maxSaid:
		return api.OpReply{}, errBusyHere
	}
	e.say = append(e.say, op.Files)
	e.wake()
	return api.OpReply{}, nil
}

// Exit ends a caller's waiting.
func (c *Calls) Exit(_ context.Context, op api.Op) (api.OpReply, error) {
	e, err := c.entry(op)
	if err == nil && op.Outcome == "" {
		err = errNotWhole
	}
	if err != nil {
		return api.OpReply{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.won != nil {
		return api.OpReply{}, errServed
	}
	if e.exit == "" {
		e.exit = op.Outcome
	}
	e.wake()
	return api.OpReply{}, nil
}

// dispatch begins to ring an agent. The same reservation again is not rung again.
func (e *entry) dispatch(d api.Dispatch) error {
	if !reservationID.MatchString(d.ReservationID) || d.UserID == "" {
		return errNotWhole
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.legs[d.ReservationID] != nil || e.past[d.ReservationID]:
		return nil
	case e.over || e.exit != "":
		return errLeft
	case e.won != nil:
		return errServed
	case d.LeaseMS <= 0:
		return errTooLate
	case len(e.legs) >= maxLegs:
		return errBusyHere
	}
	l := newLeg(e, d)
	e.legs[d.ReservationID] = l
	e.start(l)
	return nil
}

// rescindEarly notes a reservation that does not hold any more, of a caller whose place is not here yet.
func (c *Calls) rescindEarly(entryID, reservation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rescinded) >= maxPast {
		clear(c.rescinded)
	}
	if list := c.rescinded[entryID]; len(list) < maxLegs {
		c.rescinded[entryID] = append(list, reservation)
	}
}

// rescind lets an agent go.
func (e *entry) rescind(reservation, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch l := e.legs[reservation]; l {
	case nil:
		e.passed(reservation)
	case e.won: // may be heard already
	default:
		l.stop(stopFor(why))
	}
}

// wins makes a leg the one whose agent talks to the caller. False: he has left, or talks to another.
func (e *entry) wins(l *leg) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.exit != "" || e.won != nil {
		return false
	}
	e.won = l
	e.wake()
	return true
}

// waits says that the talk of the leg that won did not come about: the caller waits on.
func (e *entry) waits() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.won = nil
}

// ended notes that a reservation is over.
func (e *entry) ended(l *leg) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.legs, l.d.ReservationID)
	e.passed(l.d.ReservationID)
	e.wake()
}

// passed notes that a reservation is not to be rung, or not again.
func (e *entry) passed(reservation string) {
	if len(e.past) >= maxPast {
		clear(e.past)
	}
	e.past[reservation] = true
}

// askAll has every caller in a queue ask what is to be done now, one after the other.
func (c *Calls) askAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := time.Duration(0)
	for _, e := range c.entries {
		time.AfterFunc(n*askApart, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.ask = e.won == nil
			e.wake()
		})
		n++
	}
}
