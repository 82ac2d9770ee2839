package balance

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// alarm is when a call wants something done by itself that changes it; false when never.
func (b *bill) alarm() (ms int64, ok bool) {
	ms, ok = b.want()
	if b.retryMS != 0 && (!ok || b.retryMS < ms) {
		return b.retryMS, true
	}
	return ms, ok
}

func (b *bill) want() (ms int64, ok bool) {
	switch {
	case b.waitMS != 0:
		return b.waitMS, true
	case b.forgetMS != 0 && b.done():
		return b.forgetMS, true
	case b.chain.phase == reserving:
		return b.chain.AskedMS + GrantWait.Milliseconds(), true
	}
	sec, granted := b.chain.Granted()
	switch {
	case !granted:
		return 0, false
	case b.startMS == 0 || b.ending || sec >= b.chain.MostSec:
		return b.last(), true
	case b.triedSec != sec:
		return b.startMS + max(sec*1000-ExtendBefore.Milliseconds(), sec*500), true
	}
	end := b.startMS + sec*1000 - EndLead.Milliseconds()
	if b.chain.phase == extending { // a reseller has not said yet whether there is more, as when the word of the answer came late
		end = max(end, b.triedMS+GrantWait.Milliseconds())
	}
	return end, true
}

// last is when a call is over though nobody has told: its edge itself ends it once it has lasted as long as it may.
func (b *bill) last() int64 {
	return max(b.heardMS, b.startMS, b.chain.AskedMS) + b.chain.MostSec*1000 + StartWait.Milliseconds()
}

// done tells whether all wallets have heard of the end of a call.
func (b *bill) done() bool { return b.chain.Closed() && len(b.old) == 0 }

// tick does everything that is due.
func (p *Payer) tick(nowMS int64) (changed bool) {
	due := slices.DeleteFunc(p.ripe(nowMS), func(b *bill) bool {
		at, ok := b.alarm()
		return !ok || at > nowMS
	})
	slices.SortFunc(due, func(a, b *bill) int { return strings.Compare(a.token, b.token) })
	for _, b := range due {
		if at, ok := b.want(); ok && at <= nowMS {
			p.wake(nowMS, b)
		}
		p.advance(nowMS, b)
		p.keep(nowMS, b)
	}
	return len(due) > 0
}

// wake does what a call's alarm is for.
func (p *Payer) wake(nowMS int64, b *bill) {
	sec, granted := b.chain.Granted()
	switch {
	case b.waitMS != 0: // answered it was, for nobody knows how long
		b.chain.Answered(0, 0)
		b.chain.End(false, 0)
		b.waitMS, b.forgetMS = 0, nowMS+Remember.Milliseconds()
	case b.chain.phase == reserving:
		b.chain.End(false, 0)
	case !granted: // over: it is forgotten
	case nowMS >= b.last():
		p.vanished(nowMS, b, 0)
	case b.triedSec != sec:
		b.triedSec, b.triedMS = sec, nowMS
		p.extend(nowMS, b, sec)
	default:
		p.extend(nowMS, b, sec)
		now, _ := b.chain.Granted()
		b.ending = now <= sec
	}
}

// extend asks for as much again as at first, beyond what is held, or beyond now when the word of the answer came late. It tells of no talk: that
// nobody has told of the end does not prove that the call is up.
func (p *Payer) extend(nowMS int64, b *bill, sec int64) {
	b.chain.Answered(0, max(sec, (nowMS-b.startMS)/1000)+b.stepSec)
	p.advance(nowMS, b)
}

// Due gives the op of what is due; it is to be written down and applied at the same time; nil when there is none. Tasks that nobody has
// confirmed are given again.
func (p *Payer) Due(nowMS int64) (op []byte) {
	for _, b := range p.ripe(nowMS) {
		if at, ok := b.alarm(); ok && at <= nowMS {
			op = []byte{kindTick}
			continue
		}
		p.remind(nowMS, b)
	}
	return op
}

// Deadline is when Due or Doubtful has something to give next, in epoch milliseconds; false when never.
func (p *Payer) Deadline() (ms int64, ok bool) {
	if len(p.due) > 0 {
		ms, ok = p.due[0].dueMS, true
	}
	if leases := p.wallet.leases; len(leases) > 0 && (!ok || leases[0].leaseMS < ms) {
		return leases[0].leaseMS, true
	}
	return ms, ok
}

// Doubt is a call that nobody has told of for long.
type Doubt struct {
	Token, Node string
	AskedMS     int64 // by the node's clock
}

// Doubtful lists calls that nobody has told of for long, for whoever knows which calls there are: he answers by Renew, or by a word that
// they are gone. The others that pay here are customers' calls: their own payers see to them.
func (p *Payer) Doubtful(nowMS int64) (list []Doubt) {
	for _, id := range p.wallet.Doubtful(nowMS, MaxExpire) {
		token, _, _ := strings.Cut(id, ".")
		if b := p.bills[token]; b != nil && !b.over() && b.endedMS == 0 {
			list = append(list, Doubt{token, b.node, b.chain.AskedMS - b.skewMS})
		} else {
			p.wallet.Renew(nowMS, id)
		}
	}
	return list
}

// Renew tells that a call is up, or is being set up.
func (p *Payer) Renew(nowMS int64, token string) {
	if b := p.bills[token]; b != nil {
		p.wallet.Renew(nowMS, b.chain.Token)
	}
}

// Resume is to be called after Restore and replay: leases begin anew, and what there is to do is given again.
func (p *Payer) Resume(nowMS int64) {
	p.wallet.Resume(nowMS)
	p.tasks = nil
	all := slices.Clone(p.due)
	slices.SortFunc(all, func(a, b *bill) int { return strings.Compare(a.token, b.token) })
	for _, b := range all {
		if b.done() && len(b.chain.Unpaid()) > 0 {
			p.tasks = append(p.tasks, b.unpaid(b.chain))
		}
		b.againMS, b.ends = 0, 0
		p.remind(nowMS, b)
	}
}

// remind gives the tasks of a call when their time has come, and sets its alarm.
func (p *Payer) remind(nowMS int64, b *bill) {
	tasks := b.outside(p.wallet.account)
	switch {
	case len(tasks) == 0:
		b.againMS = 0
	case b.againMS <= nowMS:
		p.tasks = append(p.tasks, tasks...)
		pause := again
		if tasks[0].Kind == TaskEnd { // there is no order besides
			pause = min(again<<min(b.ends, 10), seldom)
		}
		if tasks[len(tasks)-1].Kind == TaskEnd {
			b.ends++
		}
		b.againMS = nowMS + pause.Milliseconds()
	}
	p.place(b)
}

// outside is what is to be done outside for a call. The order of a hold is not: whoever asked waits for it and carries it.
func (b *bill) outside(own string) (tasks []Task) {
	for _, c := range b.chains() {
		if o, ok := c.Next(); ok && o.AccountID != own && o.Kind != Hold {
			tasks = append(tasks, Task{Kind: TaskOrder, Token: b.token, CallID: b.callID, Chain: c.Token, Order: o})
		}
	}
	if b.ending && !b.over() {
		tasks = append(tasks, Task{Kind: TaskEnd, Token: b.token, CallID: b.callID, Node: b.node, Again: b.ends > 0})
	}
	return tasks
}

// place puts a call where its alarm belongs.
func (p *Payer) place(b *bill) {
	at, ok := b.alarm()
	if b.againMS != 0 && (!ok || b.againMS < at) {
		at, ok = b.againMS, true
	}
	switch b.dueMS = at; {
	case !ok && b.index >= 0:
		heap.Remove(&p.due, b.index)
	case ok && b.index < 0:
		heap.Push(&p.due, b)
	case ok:
		heap.Fix(&p.due, b.index)
	}
}

// ripe lists the calls whose alarm has come, in any order.
func (p *Payer) ripe(nowMS int64) (list []*bill) {
	for open := []int{0}; len(open) > 0; {
		i := open[len(open)-1]
		if open = open[:len(open)-1]; i < len(p.due) && p.due[i].dueMS <= nowMS {
			list, open = append(list, p.due[i]), append(open, 2*i+1, 2*i+2)
		}
	}
	return list
}

// billHeap orders calls by their alarms.
type billHeap []*bill

func (h billHeap) Len() int { return len(h) }
func (h billHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].dueMS, h[j].dueMS), strings.Compare(h[i].token, h[j].token)) < 0
}
func (h billHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for container/heap.
func (h *billHeap) Push(x any) {
	b := x.(*bill)
	b.index = len(*h)
	*h = append(*h, b)
}

// Pop takes the last off.
func (h *billHeap) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	b.index = -1
	return b
}
