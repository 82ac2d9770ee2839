package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/balance"
)

// DefaultPayerCalls are those of one run of RunPayer.
const DefaultPayerCalls = 60

// RunPayer plays calls through the wallets that own their chains, from one seed: forwards that miss and overflow to somebody inside or to another
// number, over several trunks; questions, orders and words that are lost, late, repeated and in any order; operators who take the
// places of live calls away, nodes that fall silent, and owners that die. An error names the seed and what does not hold.
func RunPayer(seed uint64, calls int) (ops int, err error) {
	m := newMarket(seed)
	m.after(1, func() { m.traffic(calls) })
	for m.stormy && m.fault == nil {
		m.step()
	}
	if m.fault == nil {
		m.playFor(30 * minute)
	}
	if m.fault == nil {
		m.checkEnd()
	}
	if m.fault != nil {
		return m.ops, fmt.Errorf("seed %d, step %d, at %d ms: %w", seed, m.steps, m.now-begin, m.fault)
	}
	return m.ops, nil
}

// market is accounts that pay for their calls, and the calls.
type market struct {
	stage
	tills   []*till
	byID    map[string]*till
	calls   []*outing
	byToken map[string]*outing
	ops     int
}

// newMarket makes a reseller with two customers, and an account of the platform's own.
func newMarket(seed uint64) *market {
	m := &market{stage: newStage(seed, 0x70), byID: map[string]*till{}, byToken: map[string]*outing{}}
	for i := range 4 {
		t := &till{m: m, id: fmt.Sprint("acc_", i)}
		t.payer = balance.NewPayer(t.id)
		if i == 1 || i == 2 {
			t.above = m.tills[0]
		}
		for _, number := range []string{"1", "2", "3"} {
			t.rates = append(t.rates, balance.Rate{Prefix: number, Terms: balance.Terms{ConnectMicros: m.between(0, 1) * m.between(0, 20_000),
				PerMinuteMicros: m.between(1, 20) * 10_000, FirstSec: int32([]int{1, 6, 60}[m.rng.IntN(3)]), NextSec: int32([]int{1, 6, 60}[m.rng.IntN(3)])}})
		}
		m.tills, m.byID[t.id] = append(m.tills, t), t
		t.topup(m.between(1, 20) * 500_000)
	}
	m.after(tick, m.tickLoop)
	m.after(m.between(5*second, 20*second), m.trouble)
	return m
}

func (m *market) traffic(left int) {
	if left == 0 {
		m.stormy = false
		return
	}
	m.dial(m.tills[1+m.rng.IntN(3)])
	if m.chance(8) {
		m.tills[m.rng.IntN(4)].topup(m.between(1, 4) * 500_000)
	}
	m.after(m.between(100, 6*second), func() { m.traffic(left - 1) })
}

// trouble kills an owner now and then, as long as the storm lasts.
func (m *market) trouble() {
	if m.stormy {
		m.tills[m.rng.IntN(4)].crash()
		m.after(m.between(5*second, 40*second), m.trouble)
	}
}

// tickLoop gives every owner its deadline, settles its doubts, and looks whether live calls are paid for.
func (m *market) tickLoop() {
	for _, t := range m.tills {
		if t.down {
			continue
		}
		for range 20 { // as a shard does it: until nothing is due
			if op := t.payer.Due(t.clock()); op != nil {
				t.do(op, nil)
			}
		}
		for _, d := range t.payer.Doubtful(t.clock()) {
			m.settleDoubt(t, d)
		}
		t.collect()
	}
	for _, c := range m.calls {
		m.checkLive(c)
	}
	m.after(tick, m.tickLoop)
}

// settleDoubt says what presence says: by the reports of the call's node, when it is heard of at all.
func (m *market) settleDoubt(t *till, d balance.Doubt) {
	c := m.byToken[d.Token]
	switch {
	case m.now < c.silentTo:
		t.payer.Renew(t.clock(), d.Token)
	case c.over:
		t.do(balance.AppendWords(nil, []balance.Word{{Token: d.Token, Kind: balance.WordGone}}), nil)
	default:
		t.payer.Renew(t.clock(), d.Token)
		m.lost(c)
	}
}

// lost tells that a call has lost its place, or never had one, and was up a moment ago.
func (m *market) lost(c *outing) {
	c.till.do(balance.AppendWords(nil, []balance.Word{{Token: c.token, Kind: balance.WordUp, TimeMS: m.now + c.skew}}), nil)
}

// charges are what a wallet has charged for each call, by its movements, which must come to its balance.
func (m *market) charges(t *till) map[string]int64 {
	sum, of := int64(0), map[string]int64{}
	for after, more := int64(0), true; more; {
		page := t.payer.Wallet().Statement(after, 0)
		for _, v := range page.Movements {
			if sum += v.Micros; v.Kind == balance.Settle {
				token, _, _ := strings.Cut(v.ID, ".")
				of[token] -= v.Micros
			}
		}
		after, more = page.Next, page.More
	}
	if b := t.payer.Wallet().Balance(); b.BalanceMicros != sum {
		m.broken("%s: the movements come to %d, the balance is %d", t.id, sum, b.BalanceMicros)
	}
	return of
}

// checkEnd holds the end to the truth: each talk outside was charged once at every level, by its number's rate, and nothing else was; nothing
// is held; a day later nothing is remembered.
func (m *market) checkEnd() {
	want := map[*till]map[string][2]int64{}
	for _, c := range m.calls {
		for t := c.till; t != nil; t = t.above {
			if want[t] == nil {
				want[t] = map[string][2]int64{}
			}
			want[t][c.token] = c.cost(t)
		}
	}
	for _, t := range m.tills {
		charged := m.charges(t)
		for _, token := range slices.Sorted(maps.Keys(want[t])) {
			if w := want[t][token]; charged[token] < w[0] || charged[token] > w[1] {
				m.broken("%s paid %d for %s, want %d to %d: %s", t.id, charged[token], token, w[0], w[1], m.byToken[token])
			}
			delete(charged, token)
		}
		if len(charged) > 0 {
			m.broken("%s paid for %v", t.id, charged)
		}
		if b := t.payer.Wallet().Balance(); b.HeldMicros != 0 || b.Calls != 0 {
			m.broken("in the calm %s holds %d for %v", t.id, b.HeldMicros, t.payer.Wallet().Holds())
		}
	}
	m.now += balance.Remember.Milliseconds()
	for _, t := range m.tills {
		if op := t.payer.Due(t.clock()); op != nil {
			t.do(op, nil)
		}
		if n := t.payer.Len(); n > 0 {
			m.broken("%s remembers %d calls a day later", t.id, n)
		}
	}
}
