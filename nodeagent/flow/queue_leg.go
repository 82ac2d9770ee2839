package flow

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// legPrefix begins the names of agents' channels: FreeSWITCH brings an agent who has answered here, and the sweep tells
// them from all others by it.
const legPrefix = "leg-"

// withheld is the number of a caller who does not show his.
const withheld = "anonymous"

// Times of an agent's leg.
const (
	attendTime   = 5 * time.Second        // from the answer until FreeSWITCH has brought the leg, or its caller's runner is there
	tryAgain     = 200 * time.Millisecond // a channel's name is free some time after its end
	fewTries     = 3
	maxTries     = 10
	killEvery    = 50 * time.Millisecond
	lookEvery    = 500 * time.Millisecond // at a leg whose end nobody tells
	keyTone      = "tone_stream://%(200,0,800)"
	keyToneEvery = 4 * time.Second // until the agent presses 1
	deskTimeout  = 3 * time.Second // one question
	missPatience = 20 * time.Second
)

// Causes of a miss, as the desk knows them.
const (
	missNoAnswer    = "no_answer"
	missBusy        = "busy"
	missDeclined    = "declined"
	missUnreachable = "unreachable"
	missFailed      = "failed"
)

// misses maps the causes with which FreeSWITCH gives up a leg. Any other one is the platform's own fault.
var misses = map[string]string{
	"NO_ANSWER":                missNoAnswer,
	"ALLOTTED_TIMEOUT":         missNoAnswer,
	"PROGRESS_TIMEOUT":         missNoAnswer,
	"RECOVERY_ON_TIMER_EXPIRE": missNoAnswer, // 408
	"USER_BUSY":                missBusy,
	"CALL_REJECTED":            missDeclined,
	"NO_USER_RESPONSE":         missUnreachable, // 480: no device is there
	"USER_NOT_REGISTERED":      missUnreachable,
	"UNALLOCATED_NUMBER":       missUnreachable,
	"NO_ROUTE_DESTINATION":     missUnreachable,
	"INCOMPATIBLE_DESTINATION": missUnreachable,
}

// stop is why a leg is ended from here: what the agent's phone is told, and what the desk.
type stop struct {
	cause string // FreeSWITCH's name, "" = the leg goes on
	miss  string // "" = the desk knows
}

func (s stop) Error() string { return "ended: " + s.cause }

// Reasons to end a leg. FreeSWITCH makes "completed elsewhere" of LOSE_RACE, so that no phone shows a missed call.
var (
	stopCaller   = stop{cause: "ORIGINATOR_CANCEL"}
	stopLost     = stop{cause: "LOSE_RACE"}
	stopTime     = stop{cause: "NO_ANSWER", miss: missNoAnswer}
	stopFailed   = stop{cause: "NORMAL_CLEARING", miss: missFailed}
	stopKnown    = stop{cause: "NORMAL_CLEARING"}
	stopPassedOn = stop{}
)

// stopFor is how a leg ends whose reservation does not hold.
func stopFor(why string) stop {
	switch why {
	case "lost":
		return stopLost
	case "caller_gone":
		return stopCaller
	}
	return stopKnown
}

// leg is one agent being rung for a caller, until the two talk: dialed, answered, whispered to, confirmed by key 1,
// claimed at the desk, granted, bridged. It may end at any of these.
type leg struct {
	e      *entry
	d      api.Dispatch
	uuid   string // its channel
	callID string // its dialog
	until  time.Time
	log    *slog.Logger

	job      *dialing      // run's own
	stopping chan struct{} // closed by stop
	visit    chan visit    // FreeSWITCH brought the answered leg
	settled  chan bool     // the runner says whether they talk; has room

	mu   sync.Mutex
	why  *stop
	hung bool   // the agent has hung up
	law  string // what the agent's phone speaks
}

// visit is the connection of a leg that was answered; done ends it.
type visit struct {
	ch      Channel
	connect Event
	done    chan struct{}
}

func newLeg(e *entry, d api.Dispatch) *leg {
	owner := fnv.New32a()
	_, _ = owner.Write([]byte(e.k.account)) // never fails; reservations are unique in an account
	return &leg{
		e: e, d: d, uuid: legPrefix + d.ReservationID + "-" + strconv.FormatUint(uint64(owner.Sum32()), 36), callID: newID() + "@sipio.invalid",
		until: time.Now().Add(time.Duration(d.LeaseMS) * time.Millisecond),
		log:   e.k.log.With("reservation", d.ReservationID, "agent", d.UserID), stopping: make(chan struct{}), visit: make(chan visit), settled: make(chan bool, 1),
	}
}

func (l *leg) claim() api.Claim {
	return api.Claim{AccountID: l.e.k.account, ReservationID: l.d.ReservationID, Fence: l.d.Fence}
}

// stop ends the leg, if nothing has ended it before.
func (l *leg) stop(why stop) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == nil {
		l.why = &why
		close(l.stopping)
	}
}

// stopped is why the leg was stopped; for good nothing, and the leg goes on, when this process ends.
func (l *leg) stopped() stop {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == nil {
		return stopPassedOn
	}
	return *l.why
}

// run takes the leg from the first order to the talk, or to its end.
func (l *leg) run(ctx context.Context) {
	c := l.e.of
	c.mu.Lock()
	c.legs[l.uuid] = l
	c.mu.Unlock()
	l.job = l.originate(ctx)
	l.e.k.legs.Go(func() { l.e.k.fetch(ctx, l.d.Whisper) }) // so that it is here when the agent answers
	end := l.serve(ctx)
	c.mu.Lock()
	if c.legs[l.uuid] == l { // not one of the same name that began since, for the call's next runner
		delete(c.legs, l.uuid)
	}
	c.mu.Unlock()
	if end.cause != "" {
		l.e.of.hangUp(ctx, l.uuid, end.cause, l.job)
	}
	l.e.ended(l)
	if end.miss != "" {
		l.miss(ctx, end.miss)
	}
}

// ringTime is how long the agent's phone rings: never longer than the reservation holds.
func (l *leg) ringTime() time.Duration {
	ms := l.d.LeaseMS
	if l.d.RingMS > 0 {
		ms = min(ms, l.d.RingMS)
	}
	return time.Duration(ms) * time.Millisecond
}

// originate has FreeSWITCH dial the agent and bring the leg here when it is answered.
func (l *leg) originate(ctx context.Context) *dialing {
	return l.e.of.originate(ctx, l.outgoing(), l.ringTime())
}

// outgoing is the leg to be made. FreeSWITCH's own limit may fire a second early, and only catches what ours misses. The number
// is not what the channel says of the caller: the queue's label is in the name.
func (l *leg) outgoing() outgoing {
	k := l.e.k
	return outgoing{
		uuid: l.uuid, callID: l.callID, laws: l.e.laws, limit: int(l.ringTime()/time.Second) + 3, kind: "agent", id: l.d.UserID,
		token: k.token, account: k.account, number: l.d.CallerNumber, name: l.d.CallerName, more: idle,
		then: "'&socket(" + l.e.of.cfg.Listen + " async full)'",
	}
}

// serve waits for the answer and does what comes then. It returns how the leg is to end.
func (l *leg) serve(ctx context.Context) stop {
	limit := time.NewTimer(l.ringTime())
	defer limit.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	done, tries, again := l.job.done, 0, (<-chan time.Time)(nil)
	w := watch{gone: stop{miss: missFailed}, late: stopTime}
	for {
		select {
		case v := <-l.visit:
			defer close(v.done)
			return l.answered(ctx, v)
		case <-done:
			done = nil
			switch err := l.job.err; {
			case err == nil: // FreeSWITCH brings it
				limit.Reset(attendTime)
				w = watch{on: true, gone: stop{miss: missDeclined}, late: stopFailed}
			case isDouble(err) && tries < maxTries && l.givesWay(ctx, tries):
				tries++
				again = time.After(tryAgain)
			case isRefusal(err) && !isDouble(err):
				return l.notTaken(err)
			default: // it has rung since before this agent, or the connection to FreeSWITCH broke: nobody tells its end
				w = watch{on: true, gone: stop{miss: missFailed}, late: stopFailed}
			}
		case <-again:
			l.job = l.originate(ctx)
			done = l.job.done
		case <-look.C:
			if w.over(l.e.of.exists(ctx, l.uuid)) {
				return w.gone
			}
		case <-limit.C:
			return w.late
		case <-l.stopping:
			return l.stopped()
		case <-ctx.Done():
			return l.stopped()
		}
	}
}

// watch is what is made of a leg whose end nobody tells.
type watch struct {
	on         bool
	gone, late stop // it is not there any more; its time is over
}

// over takes what FreeSWITCH says of the channel, and tells whether the leg has ended. One that was seen has rung.
func (w *watch) over(there bool, err error) bool {
	if !w.on || err != nil {
		return false
	}
	if there && w.gone.miss == missFailed {
		w.gone.miss, w.late = missNoAnswer, stopTime
	}
	return !there
}

// givesWay tells that the channel of that name is going. One that an agent answered for a process that has died since is
// hung up, unless FreeSWITCH brings it in the time of a few tries. False: it rings, and may be answered yet.
func (l *leg) givesWay(ctx context.Context, tries int) bool {
	c := l.e.of
	if there, err := c.exists(ctx, l.uuid); err != nil || !there {
		return err == nil
	}
	if how, err := c.variable(ctx, l.uuid, "endpoint_disposition"); err != nil || how != "ANSWER" {
		return false
	}
	if tries == fewTries {
		if _, err := c.order(ctx, "uuid_kill "+l.uuid+" "+stopFailed.cause); err != nil {
			l.log.Warn("a leg of a process that has died could not be hung up", "channel", l.uuid, "error", err)
		}
	}
	return true
}

// notTaken is the end of a leg that nobody took.
func (l *leg) notTaken(err error) stop {
	cause := said(err)
	miss, known := misses[cause]
	if !known {
		miss = missFailed
		l.log.Warn("an agent could not be rung", "cause", cause)
	}
	return stop{miss: miss}
}

// miss tells the desk that the agent was not reached, once also when the call has ended. When no brain can be told, the
// lease says it.
func (l *leg) miss(ctx context.Context, cause string) {
	claim := l.claim()
	claim.Cause = cause
	desk := l.e.of.cfg.Desk
	once, cancel := context.WithTimeout(context.WithoutCancel(ctx), deskTimeout)
	_, err := desk.Miss(once, claim)
	cancel()
	if err != nil {
		ctx, cancel := context.WithTimeout(ctx, missPatience)
		defer cancel()
		_, err = l.e.of.askDesk(ctx, claim, desk.Miss)
	}
	if err != nil {
		l.log.Warn("the desk does not hear that an agent was not reached", "cause", cause, "error", err)
	}
}

// askDesk asks until a brain answers, or ctx ends.
func (c *Calls) askDesk(ctx context.Context, claim api.Claim, ask func(context.Context, api.Claim) (api.ClaimReply, error)) (api.ClaimReply, error) {
	for wait := retryFirst; ; wait = min(2*wait, time.Second) {
		asking, cancel := context.WithTimeout(ctx, deskTimeout)
		reply, err := ask(asking, claim)
		cancel()
		if err == nil {
			return reply, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return api.ClaimReply{}, errors.Join(fmt.Errorf("no brain answers: %w", ctx.Err()), err)
		}
	}
}
