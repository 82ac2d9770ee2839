// Package queue carries what the queues of accounts decide: it brings callers, agents and answers to the account's live
// object, wherever that is served, and takes its orders to the nodes. Who is rung for whom is decided in brain/acd.
package queue

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

// Desks reaches the queues of every account.
type Desks interface {
	// Do runs an op of brain/acd and returns when the journal has it. brain.EUnavailable: ask again later; it is done once.
	Do(ctx context.Context, accountID string, op []byte) (reply []byte, err error)
	// Ask answers a question about queues or agents.
	Ask(ctx context.Context, accountID string, q presence.Question) (presence.Desk, error)
}

// Nodes carries out ops on the nodes.
type Nodes interface {
	// Push has a node carry out an op. brain.EUnavailable: again, with the same id; brain.EInvalid: it cannot be asked at all.
	Push(ctx context.Context, n *brain.Node, op api.Op) (api.OpReply, error)
}

// Sounds turns a sound into objects of the media store.
type Sounds interface {
	Resolve(ctx context.Context, acct *brain.AccountConfig, s brain.Sound) ([]api.MediaRef, error)
}

// Callers knows the sessions of callers.
type Callers interface {
	// Waits tells whether a caller's session has that place in a queue. brain.EUnavailable: ask again later.
	Waits(ctx context.Context, accountID, token, entryID string) (bool, error)
}

// Queues serves the queues of all accounts. Make it with New, before the first shard is served; Run does what goes on
// beside; Close ends what is on its way to nodes.
type Queues struct {
	Now      func() time.Time
	Callers  Callers  // asked about callers whom their node does not have; nil: they leave as their session says, or never
	Sessions Sessions // told where callers are sent; nil: nobody is

	desks     Desks
	directory func() brain.Directory
	nodes     Nodes
	sounds    Sounds
	log       *slog.Logger
	setups    setups
	push      pusher
	records   chan record
	changed   chan string // accounts whose configuration has changed

	joins, joinsOut, claims, lost, misses, recorded, recordsLost atomic.Int64
}

// New makes the queues of a brain.
func New(desks Desks, directory func() brain.Directory, nodes Nodes, sounds Sounds, log *slog.Logger) *Queues {
	q := &Queues{Now: time.Now, desks: desks, directory: directory, nodes: nodes, sounds: sounds, log: log,
		records: make(chan record, maxRecords), changed: make(chan string, maxChanged)}
	q.push.carry = q.carry
	q.push.ctx, q.push.stop = context.WithCancel(context.Background())
	return q
}

// Close gives up what is on its way to nodes. Who owns the accounts next gives the orders again that still matter.
func (q *Queues) Close() { q.push.close() }

// Run writes down what callers went through and keeps queues in use up with the configuration, until ctx ends.
func (q *Queues) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { q.writeRecords(ctx) })
	both.Go(func() { q.follow(ctx) })
	both.Wait()
}

// Counts are totals since the process began, by name.
func (q *Queues) Counts() map[string]int64 {
	return map[string]int64{
		"queue_joins": q.joins.Load(), "queue_joins_out": q.joinsOut.Load(), "queue_claims": q.claims.Load(), "queue_claims_lost": q.lost.Load(),
		"queue_misses": q.misses.Load(), "queue_records": q.recorded.Load(), "queue_records_lost": q.recordsLost.Load(),
		"queue_orders_done": q.push.done.Load(), "queue_orders_refused": q.push.refused.Load(), "queue_orders_late": q.push.late.Load(),
		"queue_orders_dropped": q.push.dropped.Load(), "queue_orders_again": q.push.again.Load(),
	}
}

// Join asks for a caller's place and gives the agents to be rung at once. Asked again it says how the caller stands.
// brain.EUnavailable: again later.
func (q *Queues) Join(ctx context.Context, accountID string, j *acd.Join) (joined acd.Joined, ring []api.Dispatch, err error) {
	acct, err := q.account(accountID)
	if err != nil {
		return joined, nil, err
	}
	err = q.current(ctx, acct, func(version int64) []byte { return acd.AppendJoin(nil, j, version) }, func(reply []byte) (stale bool, err error) {
		joined, stale, err = acd.ReadJoined(reply)
		return stale, err
	})
	if err != nil {
		return acd.Joined{}, nil, err
	}
	if q.joins.Add(1); joined.Outcome != "" {
		q.joinsOut.Add(1)
	}
	for i := range joined.Offers {
		o := dispatchOf(j, &joined.Offers[i])
		if d := q.dispatch(ctx, acct, &o); d.LeaseMS > 0 {
			ring = append(ring, d)
		} else { // its order says that it failed
			q.push.add(accountID, o)
		}
	}
	return joined, ring, nil
}

// Ring has agents rung whom a Join gave, when no reply takes them to the caller's node. It does not wait.
func (q *Queues) Ring(accountID string, j *acd.Join, offers []acd.Offer) {
	for i := range offers {
		q.push.add(accountID, dispatchOf(j, &offers[i]))
	}
}

// dispatchOf is the order to ring an agent whom a Join gave, as the desk would give it.
func dispatchOf(j *acd.Join, o *acd.Offer) acd.Order {
	return acd.Order{ID: acd.OrderDispatch + "-" + o.ReservationID, Kind: acd.OrderDispatch, EntryID: j.EntryID, Token: j.Token, Node: j.Node, QueueID: j.QueueID,
		Offer: *o, CallerNumber: j.CallerNumber, CallerName: j.CallerName, Label: j.Label, UntilMS: o.UntilMS}
}

// Leave ends the place of a call, whatever became of it; outcome is one of the values of brain/acd. A place that is another
// call's by now, or kept by one who has hung up, stays; token "" = whichever has it. Again it changes nothing.
func (q *Queues) Leave(ctx context.Context, accountID, entryID, token, outcome string) error {
	_, err := q.desks.Do(ctx, accountID, acd.AppendLeave(nil, entryID, token, outcome))
	return err
}

// Callback has a caller keep his place while he hangs up. why says in a word that he cannot: he is with an agent, has no
// place any more, or another one for which his number is called. Again it changes nothing.
func (q *Queues) Callback(ctx context.Context, accountID string, c *acd.Callback) (why string, err error) {
	reply, err := q.verdict(ctx, accountID, acd.AppendCallback(nil, c))
	if err != nil || reply.Granted {
		return "", err
	}
	return reply.Why, nil
}

// Claim asks whether the agent who has answered may have the caller.
func (q *Queues) Claim(ctx context.Context, c *api.Claim) (api.ClaimReply, error) {
	q.claims.Add(1)
	reply, err := q.verdict(ctx, c.AccountID, acd.AppendClaim(nil, c.ReservationID, c.Fence))
	if err == nil && !reply.Granted {
		q.lost.Add(1)
	}
	return reply, err
}

// Confirm says that the two talk.
func (q *Queues) Confirm(ctx context.Context, c *api.Claim) (api.ClaimReply, error) {
	return q.verdict(ctx, c.AccountID, acd.AppendConfirm(nil, c.ReservationID, c.Fence))
}

// Miss says that the agent was not reached, and why.
func (q *Queues) Miss(ctx context.Context, c *api.Claim) (api.ClaimReply, error) {
	q.misses.Add(1)
	return q.verdict(ctx, c.AccountID, acd.AppendMiss(nil, c.ReservationID, c.Fence, c.Cause))
}

func (q *Queues) verdict(ctx context.Context, accountID string, op []byte) (api.ClaimReply, error) {
	reply, err := q.desks.Do(ctx, accountID, op)
	if err != nil {
		return api.ClaimReply{}, err
	}
	v, err := acd.ReadVerdict(reply)
	return api.ClaimReply{Granted: v.Granted, Why: v.Why}, err
}

// Act changes what an agent wants. why says in a word that it was refused, and nothing has changed.
func (q *Queues) Act(ctx context.Context, accountID string, req api.AgentRequest) (why string, err error) {
	acct, err := q.account(accountID)
	if err != nil {
		return "", err
	}
	wish := acd.AgentOp{UserID: req.UserID, Action: req.Action, Reason: req.Reason, QueueID: req.QueueID}
	err = q.current(ctx, acct, func(version int64) []byte { return acd.AppendAgent(nil, &wish, version) }, func(reply []byte) (stale bool, err error) {
		why, stale, err = acd.ReadAgent(reply)
		return stale, err
	})
	return why, err
}

// Agents lists the agents of an account by username, or only one, with their figures of a period; 0 = the last 24 hours.
func (q *Queues) Agents(ctx context.Context, accountID, userID string, fromMS, toMS int64) ([]api.AgentState, error) {
	acct, err := q.account(accountID)
	if err != nil {
		return nil, err
	}
	desk, err := q.ask(ctx, acct, presence.Question{What: "agents", ID: userID, FromMS: fromMS, ToMS: toMS})
	for i := range desk.Agents {
		a := &desk.Agents[i]
		if u := acct.Users[a.UserID]; u != nil {
			a.Username, a.Name = u.Username, u.DisplayName
		}
	}
	slices.SortFunc(desk.Agents, func(a, b api.AgentState) int {
		return cmp.Or(strings.Compare(a.Username, b.Username), strings.Compare(a.UserID, b.UserID))
	})
	return desk.Agents, err
}

// States lists the queues of an account, or only one, with their figures of a period, 0 = the last 24 hours, and with the callers who
// wait when entries is set.
func (q *Queues) States(ctx context.Context, accountID, queueID string, fromMS, toMS int64, entries bool) ([]api.QueueState, error) {
	acct, err := q.account(accountID)
	if err != nil {
		return nil, err
	}
	desk, err := q.ask(ctx, acct, presence.Question{What: "queues", ID: queueID, FromMS: fromMS, ToMS: toMS, Entries: entries})
	return desk.Queues, err
}

func (q *Queues) account(id string) (*brain.AccountConfig, error) {
	acct := q.directory().ByAccount(id)
	if acct == nil {
		return nil, brain.Errorf(brain.ENotFound, "there is no account %s", id)
	}
	return acct, nil
}
