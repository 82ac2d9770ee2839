package bench

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/queue"
)

// The centre that is measured: agents in two of its queues each.
const (
	agents    = 2_000
	queues    = 10
	centreID  = "acc_01J8ZCCENTRE"
	centreDay = int64(1_800_000_000_000) // epoch milliseconds, where a machine alone begins
)

// desk is what is measured: the queues of one account. join returns the agents who are to be rung at once.
type desk interface {
	join(ctx context.Context, j *acd.Join) ([]ring, error)
	leave(ctx context.Context, entry string) error
	claim(ctx context.Context, r ring) error
	confirm(ctx context.Context, r ring) error
}

// ring is an agent who is rung for a caller.
type ring struct {
	entry, reservation string
	fence              int64
}

// centre plays callers and agents of a desk.
type centre struct {
	desk   desk
	rung   chan ring   // and not taken up yet
	talks  chan string // entries, the longest first
	joined atomic.Int64
	close  func()
}

func newCentre() *centre {
	return &centre{rung: make(chan ring, 2*agents), talks: make(chan string, 2*agents), close: func() {}}
}

func (c *centre) join(ctx context.Context) error {
	n := int(c.joined.Add(1))
	id := "b2jk7zqy4xnd5tv" + strconv.Itoa(n) + "-1"
	rings, err := c.desk.join(ctx, &acd.Join{EntryID: id, Token: id[:len(id)-2], CallID: "3848276298220188511@192.0.2.10", Node: "node-1",
		QueueID: queueName(n % queues), CallerNumber: "+4930" + strconv.Itoa(n%50_000), Priority: n % 3})
	for _, r := range rings {
		c.rung <- r
	}
	return err
}

func queueName(i int) string { return "que_01J8ZC" + strconv.Itoa(i) }
func agentName(i int) string { return fmt.Sprintf("usr_01J8ZC%06d", i) }

// centreRows is the configuration of the account.
func centreRows() brain.AccountRows {
	rows := brain.AccountRows{Account: brain.Account{ID: centreID, Status: brain.StatusActive, Language: "en"}}
	for i := range queues {
		rows.Queues = append(rows.Queues, brain.Queue{ID: queueName(i), AccountID: centreID, Name: "queue" + strconv.Itoa(i), Strategy: acd.LongestIdle, AgentRingTimeoutSec: 20,
			PriorityAgeSec: 60, TierEscalationSec: 30, StickySec: 3600, AnnouncePosition: true, AnnounceFirstSec: 15, AnnounceIntervalSec: 30, ServiceLevelSec: 20, EWTAHTSec: 240})
	}
	for i := range agents {
		rows.Users = append(rows.Users, brain.SIPUser{ID: agentName(i), AccountID: centreID, Username: strconv.Itoa(10_000 + i), Status: brain.StatusActive,
			IsAgent: true, AutoReadyOnLogin: true, AutoQueueLogin: true})
		for tier := 1; tier <= 2; tier++ {
			rows.Assignments = append(rows.Assignments, brain.AgentQueueAssignment{ID: fmt.Sprint("aqa_", i, "_", tier), AccountID: centreID, UserID: agentName(i),
				QueueID: queueName((i + tier - 1) % queues), TierLevel: tier, Position: i, Mode: acd.ModeStatic})
		}
	}
	return rows
}

// registrations is the op that brings a phone of each agent up.
func registrations(nowMS int64) []byte {
	var up []presence.Event
	for i := range agents {
		up = append(up, presence.Event{UserID: agentName(i), Event: api.Event{Type: api.EventContactSaved, TimeMS: nowMS, AOR: "sip:" + strconv.Itoa(10_000+i) + "@example.com",
			Contact: "sip:" + strconv.Itoa(10_000+i) + "@192.0.2.7", ExpiresS: 86_400}})
	}
	return presence.AppendEvents(nil, "node-1", up)
}

// --- the machine alone

// machineDesk is the machine of the account and whatever comes of its alarms, for one caller. A millisecond passes with
// each caller who joins.
type machineDesk struct {
	c      *centre
	m      *presence.Machine
	now    int64
	events int
	buf    []byte
}

func newMachineCentre(b *testing.B) *centre {
	b.Helper()
	c := newCentre()
	d := &machineDesk{c: c, m: presence.New(centreID), now: centreDay}
	c.desk = d
	_, err := d.desk(acd.AppendSetup(nil, centreSetup()))
	if err == nil {
		_, err = d.do(registrations(d.now))
	}
	for i := range agents {
		if err == nil {
			_, err = d.desk(acd.AppendAgent(nil, &acd.AgentOp{UserID: agentName(i), Action: acd.ActionLogin}, 1))
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// centreSetup is the same configuration as a desk is told of it.
func centreSetup() *acd.Setup {
	s := &acd.Setup{Version: 1}
	for i := range queues {
		s.Queues = append(s.Queues, acd.Queue{ID: queueName(i), Strategy: acd.LongestIdle, RingMS: 20_000, MaxQueued: -1, PriorityAgeMS: 60_000, TierEscalationMS: 30_000,
			StickyMS: 3_600_000, Announce: true, AnnounceFirstMS: 15_000, AnnounceEveryMS: 30_000, ServiceLevelMS: 20_000, EWTAHTMS: 240_000})
	}
	for i := range agents {
		s.Agents = append(s.Agents, acd.Agent{UserID: agentName(i), AutoReady: true, AutoQueueLogin: true, Memberships: []acd.Membership{
			{QueueID: queueName(i % queues), Tier: 1, Position: i, Mode: acd.ModeStatic}, {QueueID: queueName((i + 1) % queues), Tier: 2, Position: i, Mode: acd.ModeStatic}}})
	}
	return s
}

// do applies an op, takes what is to be done, and runs the alarms that are due.
func (d *machineDesk) do(op []byte) (reply []byte, err error) {
	reply, changed, err := d.m.Apply(d.now, op)
	d.events++
	if err == nil && !changed {
		err = fmt.Errorf("op %d of the desk changed nothing", op[1])
	}
	d.take()
	for ms, ok := d.m.Deadline(); err == nil && ok && ms <= d.now; ms, ok = d.m.Deadline() {
		due := d.m.Due(d.now)
		if due == nil {
			break
		}
		_, _, err = d.m.Apply(d.now, due)
		d.events++
		d.take()
	}
	return reply, err
}

func (d *machineDesk) desk(op []byte) ([]byte, error) {
	d.buf = presence.AppendACD(d.buf[:0], op)
	return d.do(d.buf)
}

func (d *machineDesk) take() {
	for _, o := range d.m.Effects().Orders {
		if o.Kind == acd.OrderDispatch {
			d.c.rung <- ring{o.EntryID, o.Offer.ReservationID, o.Offer.Fence}
		}
	}
}

func (d *machineDesk) join(_ context.Context, j *acd.Join) (rings []ring, err error) {
	d.now++
	reply, err := d.desk(acd.AppendJoin(nil, j, 1))
	if err != nil {
		return nil, err
	}
	joined, _, err := acd.ReadJoined(reply)
	for _, o := range joined.Offers {
		rings = append(rings, ring{j.EntryID, o.ReservationID, o.Fence})
	}
	return rings, err
}

func (d *machineDesk) leave(_ context.Context, entry string) error {
	_, err := d.desk(acd.AppendLeave(nil, entry, "", acd.LeftAnswered))
	return err
}

func (d *machineDesk) claim(_ context.Context, r ring) error {
	return d.verdict(acd.AppendClaim(nil, r.reservation, r.fence))
}

func (d *machineDesk) confirm(_ context.Context, r ring) error {
	return d.verdict(acd.AppendConfirm(nil, r.reservation, r.fence))
}

func (d *machineDesk) verdict(op []byte) error {
	reply, err := d.desk(op)
	if err != nil {
		return err
	}
	v, err := acd.ReadVerdict(reply)
	return granted(api.ClaimReply{Granted: v.Granted, Why: v.Why}, err)
}

func granted(v api.ClaimReply, err error) error {
	if err == nil && !v.Granted {
		err = fmt.Errorf("a reservation does not hold: %s", v.Why)
	}
	return err
}

// --- the whole brain behind its endpoints

// brainDesk is the queues of a brain. A node takes its orders at once.
type brainDesk struct{ q *queue.Queues }

// centreDirectory knows the account and its node.
type centreDirectory struct {
	brain.Directory
	acct *brain.AccountConfig
}

func (d centreDirectory) ByAccount(string) *brain.AccountConfig { return d.acct }
func (d centreDirectory) NodeByName(name string) *brain.Node    { return &brain.Node{Name: name} }

// Push is the node.
func (c *centre) Push(_ context.Context, _ *brain.Node, op api.Op) (api.OpReply, error) {
	if op.Kind == api.OpDispatch {
		c.rung <- ring{op.EntryID, op.Dispatch.ReservationID, op.Dispatch.Fence}
	}
	return api.OpReply{ID: op.ID, OK: true}, nil
}

func newBrainCentre(b *testing.B, logs shardLogs) *centre {
	b.Helper()
	c := newCentre()
	dir := centreDirectory{acct: brain.NewAccountConfig(1, centreRows())}
	h := actor.NewHost(logsOf(logs))
	live := &actor.Live{Host: h}
	q := queue.New(&actor.Desks{Live: live}, func() brain.Directory { return dir }, c, stillSounds{}, quiet)
	h.Effects = q.Effects
	ownAll(b, h)
	running, stop := context.WithCancel(b.Context())
	go q.Run(running)
	c.desk = brainDesk{q}
	c.close = func() {
		stop()
		q.Close()
		shut(h)
	}
	_, err := live.Do(b.Context(), centreID, actor.ClassStep, registrations(time.Now().UnixMilli()))
	for i := range agents {
		if err == nil {
			_, err = q.Act(b.Context(), centreID, api.AgentRequest{UserID: agentName(i), Action: acd.ActionLogin})
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (d brainDesk) join(ctx context.Context, j *acd.Join) (rings []ring, err error) {
	_, list, err := d.q.Join(ctx, centreID, j)
	for i := range list {
		rings = append(rings, ring{j.EntryID, list[i].ReservationID, list[i].Fence})
	}
	return rings, err
}

func (d brainDesk) leave(ctx context.Context, entry string) error {
	return d.q.Leave(ctx, centreID, entry, "", acd.LeftAnswered)
}

func (d brainDesk) claim(ctx context.Context, r ring) error {
	return granted(d.q.Claim(ctx, &api.Claim{AccountID: centreID, ReservationID: r.reservation, Fence: r.fence}))
}

func (d brainDesk) confirm(ctx context.Context, r ring) error {
	return granted(d.q.Confirm(ctx, &api.Claim{AccountID: centreID, ReservationID: r.reservation, Fence: r.fence}))
}
