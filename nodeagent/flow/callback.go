package flow

import (
	"context"
	"encoding/base64"
	"hash/fnv"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// backPrefix begins the names of the channels of people who are called back. They are legs that the media server makes, and
// once they are answered calls like those that come in.
const backPrefix = "cb-"

// maxCallbacks bounds the people who are being called at once.
const maxCallbacks = 256

// missCaller is the cause of a miss when somebody who is called back does not take the call.
const missCaller = "caller"

// callable is a number that may stand in an order of FreeSWITCH's and in a SIP address.
var callable = regexp.MustCompile(`^[A-Za-z0-9+*_.-]{1,64}$`)

// callback is one call to somebody who keeps his place in a queue, until he has answered it.
type callback struct {
	of    *Calls
	op    api.Op
	call  api.CallbackCall
	uuid  string // its channel: the same for a reservation, so that FreeSWITCH makes one only
	until time.Time
}

// Callback calls somebody who keeps his place in a queue. It answers when that has begun. Who answers is a call like any
// other, with a session of its own that asks him for a key; of anybody else the desk hears why. The same reservation again
// is not called again.
func (c *Calls) Callback(ctx context.Context, op api.Op) (api.OpReply, error) {
	b, err := c.newCallback(op)
	if err != nil {
		return api.OpReply{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.callbacks[b.uuid] != nil || c.back[b.uuid]:
		return api.OpReply{}, nil
	case len(c.callbacks) >= maxCallbacks:
		return api.OpReply{}, errBusyHere
	case len(c.back) >= maxPast:
		clear(c.back)
	}
	c.callbacks[b.uuid], c.back[b.uuid] = b, true
	go b.run(context.WithoutCancel(ctx))
	return api.OpReply{}, nil
}

func (c *Calls) newCallback(op api.Op) (*callback, error) {
	cb := op.Callback
	switch {
	case c.cfg.Desk == nil:
		return nil, errNoCaller
	case cb == nil || op.Token == "" || op.EntryID == "" || cb.AccountID == "" || cb.QueueID == "" || cb.Fence <= 0 || cb.RingMS <= 0,
		!reservationID.MatchString(cb.ReservationID), !callable.MatchString(cb.Number):
		return nil, errNotWhole
	}
	owner := fnv.New32a()
	_, _ = owner.Write([]byte(cb.AccountID)) // never fails; reservations are unique in an account
	return &callback{of: c, op: op, call: *cb, uuid: backPrefix + cb.ReservationID + "-" + strconv.FormatUint(uint64(owner.Sum32()), 36),
		until: time.Now().Add(time.Duration(cb.RingMS)*time.Millisecond + orderTimeout)}, nil
}

// run has FreeSWITCH make the call, and tells the desk when nobody took it. From the answer on the dialplan looks after it,
// as after any call.
func (b *callback) run(ctx context.Context) {
	c := b.of
	defer func() {
		c.mu.Lock()
		delete(c.callbacks, b.uuid)
		c.mu.Unlock()
	}()
	dialing, cancel := context.WithDeadline(ctx, b.until)
	_, err := c.cfg.Switch.Job(dialing, "originate "+b.dialString())
	cancel()
	cause := ""
	switch {
	case err == nil:
	case isRefusal(err) && !isDouble(err):
		cause = missFailed
		if _, his := misses[said(err)]; his {
			cause = missCaller
		}
		c.log.Info("somebody who is called back does not take the call", "reservation", b.call.ReservationID, "account", b.call.AccountID, "cause", said(err))
	default: // it was made by the process before this one, or the connection to FreeSWITCH broke: nobody tells its end
		cause = b.watch(ctx)
	}
	if cause != "" {
		b.miss(ctx, cause)
	}
}

// watch waits for the end of a call that nobody tells: why it was in vain, "" = it was answered, or nothing is known of it.
// FreeSWITCH may be about to make its channel, so one look that does not find it proves nothing.
func (b *callback) watch(ctx context.Context) (cause string) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for rang, missed := false, false; time.Now().Before(b.until); <-look.C {
		there, err := b.of.exists(ctx, b.uuid)
		switch {
		case err != nil:
		case !there && rang:
			return missCaller
		case !there && missed:
			return missFailed
		case !there:
			missed = true
		default:
			rang = true
			if how, err := b.of.variable(ctx, b.uuid, "endpoint_disposition"); err == nil && how == "ANSWER" {
				return ""
			}
		}
	}
	return ""
}

// dialString are the arguments of originate: one leg to Kamailio, which knows where it rings, and the dialplan of calls for
// whoever answers. What the call is about stands in the variables that the headers of a call that comes in make; Kamailio
// hands no header of ours on.
func (b *callback) dialString() string {
	cb := &b.call
	vars := url.Values{}
	for name, value := range map[string]string{
		"callback_entry": b.op.EntryID, "callback_reservation": cb.ReservationID, "callback_fence": strconv.FormatInt(cb.Fence, 10),
		"caller_number": cb.Number, "caller_name": cb.CallerName, "label": cb.Label, "direction": "internal",
	} {
		if value != "" {
			vars.Set(name, value)
		}
	}
	o := outgoing{
		uuid: b.uuid, callID: newID() + "@sipio.invalid", laws: "PCMA,PCMU", limit: int((cb.RingMS+999)/1000) + 1, // it may fire a second early
		kind: "number", id: cb.Number, token: b.op.Token, account: cb.AccountID, number: cb.FromNumber, name: cb.FromName,
		more: []string{
			"sip_h_" + api.HeaderApp + "=" + word("queue/"+cb.QueueID),
			"sip_h_" + api.HeaderVars + "=" + base64.RawURLEncoding.EncodeToString([]byte(vars.Encode())),
		},
		then: "call XML sipio",
	}
	return o.dialString(b.of.cfg.Proxy)
}

// miss tells the desk that nobody took the call. When no brain can be told, the lease of its agent says it.
func (b *callback) miss(ctx context.Context, cause string) {
	b.of.missBack(ctx, api.Claim{AccountID: b.call.AccountID, ReservationID: b.call.ReservationID, Fence: b.call.Fence, Cause: cause})
}

func (c *Calls) missBack(ctx context.Context, claim api.Claim) {
	ctx, cancel := context.WithTimeout(ctx, missPatience)
	defer cancel()
	if _, err := c.askDesk(ctx, claim, c.cfg.Desk.Miss); err != nil {
		c.log.Warn("the desk does not hear that nobody was called back", "reservation", claim.ReservationID, "account", claim.AccountID, "error", err)
	}
}

// unserved tells the desk of somebody who was called back and has answered, and whose call ends without a session, which
// would have told it. Of any other call there is nothing to tell. Nobody waits for it: when this process ends, the lease says it.
func (k *call) unserved(ctx context.Context) {
	vars := k.start.Vars
	fence, err := strconv.ParseInt(vars["callback_fence"], 10, 64)
	switch {
	case !k.isBack(), k.begun, k.of.cfg.Desk == nil, k.account == "", err != nil, fence <= 0, !reservationID.MatchString(vars["callback_reservation"]):
		return
	}
	go k.of.missBack(context.WithoutCancel(ctx), api.Claim{AccountID: k.account, ReservationID: vars["callback_reservation"], Fence: fence, Cause: missFailed})
}

// isBack tells whether the caller is somebody who was called back.
func (k *call) isBack() bool { return strings.HasPrefix(k.uuid, backPrefix) }

// ringing tells whether a channel is that of somebody who is being called back and has not answered: its own time ends it.
func (r channelRow) ringing() bool {
	return strings.HasPrefix(r.UUID, backPrefix) && (r.State == "CS_INIT" || r.State == "CS_ROUTING" && r.Application == "" || r.State == "CS_CONSUME_MEDIA")
}

// ofCaller tells whether a channel is a caller's: one that came in, or who was called back and has answered. Legs that a dial
// made go with their caller.
func (r channelRow) ofCaller() bool {
	return r.UUID != "" && (r.Direction == "inbound" || strings.HasPrefix(r.UUID, backPrefix) && !r.ringing())
}
