package sim

import (
	"bytes"
	"fmt"

	"github.com/sipio/sipio/brain/balance"
)

// till is the live object of an account's wallet, with the journal that survives its owners.
type till struct {
	m      *market
	id     string
	above  *till
	rates  []balance.Rate
	hands  int
	richMS int64 // when money came in last

	log      []balanceOp
	snapshot []byte // with all of log before from
	from     int
	lastMS   int64

	skew    int64
	down    bool
	life    int
	payer   *balance.Payer
	pending []balanceOp
	gate    []func()
	planned bool
}

type balanceOp struct {
	at int64
	op []byte
}

// clock never goes back, from one owner to the next either.
func (t *till) clock() int64 {
	t.lastMS = max(t.lastMS, t.m.now+t.skew)
	return t.lastMS
}

func (t *till) topup(micros int64) {
	t.hands++
	t.richMS = t.m.now
	t.do(balance.AppendOp(nil, &balance.Op{Kind: balance.TopUp, ID: fmt.Sprint("hand", t.hands), AskedMS: t.m.now, Micros: micros}), nil)
}

// do applies an op; done hears the reply, and tasks leave, once it is written. What is held never takes the balance below the limit.
func (t *till) do(op []byte, done func(reply []byte)) {
	if t.down {
		return
	}
	t.m.ops++
	before := t.payer.Wallet().Balance()
	now := t.clock()
	reply, changed, err := t.payer.Apply(now, op)
	if err != nil {
		t.m.broken("%s refuses an op: %w", t.id, err)
		return
	}
	if b := t.payer.Wallet().Balance(); b.HeldMicros > before.HeldMicros && b.AvailableMicros < 0 {
		t.m.broken("%s holds %d with a balance of %d", t.id, b.HeldMicros, b.BalanceMicros)
	}
	if changed {
		t.pending = append(t.pending, balanceOp{now, bytes.Clone(op)})
	}
	if done != nil {
		t.written(func() { done(reply) })
	}
	t.collect()
	t.soon()
}

// collect has the tasks of an owner leave once everything so far is written.
func (t *till) collect() {
	for _, task := range t.payer.Tasks() {
		t.written(func() { t.m.carry(t, task) })
	}
}

func (t *till) written(do func()) {
	t.gate = append(t.gate, do)
	t.soon()
}

func (t *till) soon() {
	if t.planned {
		return
	}
	t.planned = true
	life := t.life
	t.m.after(t.m.between(1, 8), func() {
		if t.life != life || t.down {
			return
		}
		t.planned = false
		t.log, t.pending = append(t.log, t.pending...), nil
		gate := t.gate
		t.gate = nil
		for _, leave := range gate {
			leave()
		}
	})
}

// crash kills the owner with all that it had not written. Another follows, which must come to the same.
func (t *till) crash() {
	if t.down {
		return
	}
	same := len(t.pending) == 0
	was := t.payer.AppendSnapshot(nil)
	t.down, t.planned, t.pending, t.gate = true, false, nil, nil
	t.life++
	t.m.after(t.m.between(100, 5*second), func() {
		t.down, t.skew = false, t.m.between(-5*second, 5*second)
		t.payer = t.replay()
		is := t.payer.AppendSnapshot(nil)
		if same && !bytes.Equal(was, is) {
			t.m.broken("%s: the journal replays to another wallet", t.id)
		}
		if len(t.log)-t.from > 10 {
			t.snapshot, t.from = is, len(t.log)
		}
		t.payer.Resume(t.clock())
		t.collect()
	})
}

func (t *till) replay() *balance.Payer {
	p := balance.NewPayer(t.id)
	if t.snapshot != nil {
		var err error
		if p, err = balance.RestorePayer(t.id, t.snapshot); err != nil {
			t.m.broken("%s: a snapshot is not restored: %w", t.id, err)
			return balance.NewPayer(t.id)
		}
	}
	for _, e := range t.log[t.from:] {
		if _, changed, err := p.Apply(e.at, e.op); err != nil || !changed {
			t.m.broken("%s: a written op changes nothing: %v", t.id, err)
		}
	}
	return p
}

// carry does a task: orders and their answers are lost, late and repeated; a node is told to end a call, if that reaches it.
func (m *market) carry(t *till, task balance.Task) {
	switch task.Kind {
	case balance.TaskOrder:
		m.order(t, task.Chain, task.Order, nil)
	case balance.TaskEnd:
		c := m.byToken[task.Token]
		if !task.Again {
			m.checkPoor(c)
		}
		if c.toldToEnd = true; !m.bad(30) {
			m.after(m.between(5, 100), func() { m.hangUp(c) })
		}
	case balance.TaskUnpaid:
		m.broken("%s: %v could not be charged for %s", t.id, task.Unpaid, task.Token)
	}
}

// order gives an order to its wallet and tells the owner what that says; done hears what he makes of it.
func (m *market) order(t *till, chain string, o balance.Order, done func(balance.Paid)) {
	deliver := func() {
		m.byID[o.AccountID].do(o.Op, func(reply []byte) {
			y, err := balance.ReadReply(reply)
			if err != nil {
				m.broken("a reply is not read: %w", err)
			}
			if m.bad(6) {
				return
			}
			m.after(m.between(1, 40), func() {
				t.do(balance.AppendAnswer(nil, &balance.Answer{Chain: chain, Level: o.Level, Kind: o.Kind, Op: o.Op, Reply: y}), m.paid(done))
			})
		})
	}
	if m.bad(8) {
		m.after(m.between(second, 4*minute), deliver)
	}
	if !m.bad(6) {
		m.after(m.between(1, 40), deliver)
	}
}

func (m *market) paid(done func(balance.Paid)) func([]byte) {
	return func(reply []byte) {
		p, err := balance.ReadPaid(reply)
		if err != nil {
			m.broken("a reply is not read: %w", err)
		}
		if done != nil {
			done(p)
		}
	}
}

// checkPoor holds that a call is told to end only when somebody has no money for it, but for some that has just come. Of one whose answer came late a
// reseller who is silent has few seconds left to say so.
func (m *market) checkPoor(c *outing) {
	if m.now-c.heardMS < minute {
		return
	}
	for t := c.till; t != nil; t = t.above {
		if t.down || m.now-t.richMS < minute || t.payer.Wallet().Balance().AvailableMicros < 2_500_000 {
			return
		}
	}
	m.broken("%s is told to end and there is money: %s", c.token, c)
}
